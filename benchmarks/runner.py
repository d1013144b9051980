"""The running of a route: every candidate in turn, as often as asked, each copy checked."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import checks
import data
import psycopg
import pymysql
from arena import SOURCE, Arena, Place, tell
from candidates import LIMIT, OURS, Candidate, Command, candidates
from measure import Measured, measure
from routes import Route, Way

if TYPE_CHECKING:
    from datetime import datetime

SAID_LINES = 4  # of what a failed command said last
SAID_LENGTH = 700  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measured command and what became of it. `wrong` is empty when the copy is right."""

    measured: Measured
    wrong: str
    shape: checks.Shape | None
    said: dict[str, Any] | None  #: the JSON that Suiro prints


@dataclass(slots=True, kw_only=True)
class Entry:
    """A candidate's runs on a route; `failed` is why there are no more of them."""

    candidate: Candidate
    command: str = ""
    runs: list[Run] = field(default_factory=list)
    first: Run | None = None  #: routes of changes: the copy before, not part of any figure
    failed: str = ""

    @property
    def right(self) -> list[Run]:
        """The runs whose copy was right."""
        return [run for run in self.runs if not run.wrong]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A route's entries, and the rows that each of its runs carried."""

    route: Route
    rows: int
    entries: list[Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What holds for all routes."""

    repeat: int
    peers: bool
    skip: tuple[str, ...] = ()  #: candidates whose names start so are left out
    timeout: float  #: seconds for one command


def run_route(arena: Arena, route: Route, options: Options) -> Outcome:
    """Run the route's candidates interleaved; each round starts with another one of them."""
    tell(f"== {route.name}: {route.title}")
    arena.fill(route)
    entries = [Entry(candidate=found) for found in candidates(route, arena.psql, peers=options.peers)]
    for entry in entries:
        entry.failed = entry.candidate.missing
        if entry.candidate.name.startswith(options.skip):
            entry.failed = "left out with --skip"
        if entry.failed:
            tell(f"   {entry.candidate.name}: {entry.failed}")
    runner = ChangesRunner if route.way is Way.CHANGES_TO_TABLE else CopyRunner
    rows = runner(arena, route, options).run(entries)
    return Outcome(route=route, rows=rows, entries=entries)


def rounds(entries: list[Entry], repeat: int) -> list[tuple[int, list[Entry]]]:
    """The order of the runs: in every round all of them, beginning with the next."""
    return [(turn, entries[turn % len(entries) :] + entries[: turn % len(entries)]) for turn in range(repeat)]


class CopyRunner:
    """Routes that copy everything: a fresh database and folder for every run."""

    def __init__(self, arena: Arena, route: Route, options: Options) -> None:
        self.arena = arena
        self.route = route
        self.options = options
        self.expected = checks.Digest(rows=0, hash=0)

    def run(self, entries: list[Entry]) -> int:
        """Run all of them; the number of rows that each run carries."""
        self.expect()
        for turn, order in rounds(entries, self.options.repeat):
            for entry in order:
                if not entry.failed:
                    place = self.prepare(entry.candidate)
                    entry.runs.append(self.go(entry, entry.candidate.command, place, data.CHANGES_START))
                    self.arena.drop(place)
                    self.judge(entry, entry.runs[-1], turn)
        return self.expected.rows

    def expect(self) -> None:
        """Digest the source as it is now. MariaDB's rows are PostgreSQL's: SystemExit if they aren't."""
        with self.arena.source() as session:
            self.expected = checks.digest(session, self.route.table, f"public.{self.route.table.name}")
        if self.route.way is Way.MARIADB_TO_TABLE:
            place = self.arena.place("source of MariaDB", self.route.way)
            with self.arena.server.connect(place.database) as session:
                name = checks.import_mariadb(session, self.route.table, self.arena.mariadb, SOURCE)
                found = checks.digest(session, self.route.table, name)
            self.arena.drop(place)
            if found != self.expected:
                raise SystemExit("the rows in MariaDB are not those of PostgreSQL that it was filled with")

    def prepare(self, candidate: Candidate) -> Place:
        """An empty place, with the table where the candidate needs it."""
        place = self.arena.place(candidate.name, self.route.way)
        if candidate.needs_table and self.route.way is Way.TABLE_TO_MARIADB:
            ddl = self.route.table.mariadb_ddl(self.route.table.name, key=candidate.needs_key)
            self.arena.mariadb.server.execute(ddl, place.database)
        elif candidate.needs_table:
            with self.arena.server.connect(place.database) as session:
                ddl = self.route.table.ddl(f"public.{self.route.table.name}", key=candidate.needs_key)
                session.execute(ddl.encode())
        return place

    def go(self, entry: Entry, how: Command, place: Place, since: datetime) -> Run:
        """Measure one command and check what it left."""
        command = how(place, since)
        entry.command = self.arena.scrub(_joined(command))
        self.arena.settle()
        measured = measure(
            command,
            env={**self.arena.environment(place), **entry.candidate.env},
            folder=place.folder,
            servers=self.arena.server_pids,
            timeout=self.options.timeout,
        )
        if measured.code != 0:
            return Run(measured=measured, wrong=self._failure(measured), shape=None, said=_said(entry, measured))
        wrong, shape = self._check(entry.candidate, place)
        said = _said(entry, measured)
        return Run(measured=measured, wrong=wrong or self._detour(said), shape=shape, said=said)

    def judge(self, entry: Entry, run: Run, turn: int) -> None:
        """Tell what became of a run; a candidate whose copy is wrong doesn't run again on this route."""
        entry.failed = run.wrong
        took = f"{run.measured.wall_seconds:.2f} s, {run.measured.peak_bytes / 1e6:.0f} MB"
        tell(f"   {turn + 1} {entry.candidate.name}: {took}{', ' + run.wrong if run.wrong else ''}")

    def _check(self, candidate: Candidate, place: Place) -> tuple[str, checks.Shape | None]:
        table, shape = self.route.table, None
        try:
            with self.arena.server.connect(place.database) as session:
                if self.route.way is Way.TABLE_TO_MARIADB:
                    shape = checks.mariadb_shape(table, self.arena.mariadb, place.database)
                    name = checks.import_mariadb(session, table, self.arena.mariadb, place.database)
                elif self.route.way is not Way.TABLE_TO_PARQUET:
                    name = checks.locate(session, table)
                    shape = checks.shape(session, table, name)
                elif candidate.name == LIMIT:
                    name = checks.import_copy_file(session, table, place.output() / f"{table.name}.copy")
                else:
                    name = checks.import_parquet(session, table, place.output())
                found = checks.digest(session, table, name)
        except (checks.Unchecked, psycopg.Error, pymysql.MySQLError, ValueError, OSError, KeyError) as error:
            return self.arena.scrub(f"wrong copy: {error}".strip()), shape
        if found.rows != self.expected.rows:
            return f"wrong copy: {found.rows} rows instead of {self.expected.rows}", shape
        return ("" if found == self.expected else "wrong copy: the values are not the source's"), shape

    def _detour(self, said: dict[str, Any] | None) -> str:
        """Why Suiro's run measured something else than this route, if it did."""
        ways = {str(task.get("path")) for task in said.get("tasks", [])} if said else set()
        if all((way == "arrow") == self.route.through_arrow for way in ways):
            return ""
        return f"a right copy, but by way of {', '.join(sorted(ways))}, which is not what this route measures"

    def _failure(self, measured: Measured) -> str:
        lines = [line.strip() for line in (measured.stderr.strip() or measured.stdout).splitlines() if line.strip()]
        said = "\n".join(lines[-SAID_LINES:])[-SAID_LENGTH:]
        late = " after the time limit" if measured.code == -9 else ""
        return self.arena.scrub(f"exit code {measured.code}{late}: {said}")


class ChangesRunner(CopyRunner):
    """The route of changes: each candidate copies all once; then, in every round, a tenth changes and all catch up."""

    def run(self, entries: list[Entry]) -> int:
        """Run all of them; the number of rows that change in a round."""
        self.expect()
        places = {id(entry): self._copy_first(entry) for entry in entries if not entry.failed}
        changed = 0
        for turn, order in rounds(entries, self.options.repeat):
            with self.arena.source() as session:
                changed = data.change(session, turn)
            self.expect()
            for entry in order:
                if not entry.failed:
                    self._catch_up(entry, places[id(entry)], turn)
        for place in places.values():
            self.arena.drop(place)
        return changed

    def _copy_first(self, entry: Entry) -> Place:
        place = self.prepare(entry.candidate)
        how = entry.candidate.first or entry.candidate.command
        entry.first = self.go(entry, how, place, data.CHANGES_START)
        self.judge(entry, entry.first, -1)
        return place

    def _catch_up(self, entry: Entry, place: Place, turn: int) -> None:
        with self.arena.server.connect(place.database) as session:
            session.execute("VACUUM ANALYZE")
        entry.runs.append(self.go(entry, entry.candidate.command, place, data.changed_since(turn)))
        self.judge(entry, entry.runs[-1], turn)


def _joined(command: list[str]) -> str:
    if command[0] == "bash":
        return command[-1].removeprefix("set -o pipefail; ")
    return " ".join(command)


def _said(entry: Entry, measured: Measured) -> dict[str, Any] | None:
    if entry.candidate.name != OURS:
        return None
    try:
        said = json.loads(measured.stdout)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None
