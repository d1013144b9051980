"""Every PostgreSQL type, at its limits, there and back through every connector: equal, or refused by its name.

docs/types.md is what this test found; `SUIRO_WRITE_DOCS=1` writes it anew.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from copying import copy
from servers import PostgresServer
from suiro.model.run import TaskRun
from type_cases import CASES, sql_type

WRITES = bool(os.environ.get("SUIRO_WRITE_DOCS"))
DOCS = Path(__file__).parents[2] / "docs" / "types.md"
ROUTES = ("PostgreSQL, passing through", "PostgreSQL", "DuckDB", "SQLite", "MariaDB", "Parquet")


_SPELLED = {
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
}
#: types whose columns keep a whole table from passing through as binary COPY
_NOT_ON_THE_WIRE = ("name", "mood[]", "oid", "pair")
_REMARKS = {"PostgreSQL": ", through Arrow", "MariaDB": ", read with `tinyint1=boolean` and `time=clock`"}
#: what a cast to text adds to, or takes from, what the type's own output says
_PADDING = {"inet": "/(32|128)$", "character(5)": " +$"}


def _as_postgres_writes(text: str) -> str:
    """A date or time in ISO 8601, with years of any size, in PostgreSQL's words."""
    text = re.sub(r"(\.\d*?)0+(?=$|[Z+-])", r"\1", text.replace("T", " ")).replace("Z", "+00").replace("+00:00", "+00")
    text = re.sub(r"\.(?=$|[+-])", "", text)
    year = re.match(r"([+-]?)0*(\d+)(-\d\d-\d\d.*)", text)
    if year is None:
        return text
    sign, number, rest = year.groups()
    return f"{int(number) + 1:04d}{rest} BC" if sign == "-" else f"{int(number):04d}{rest}"


@dataclass
class Outcome:
    """What became of one type on one route."""

    case: str
    kept: str = ""  #: the type it has in the end, if its values are equal
    refused: str = ""

    def told(self) -> str:
        if self.refused:
            return self.refused if self.case in _NOT_ON_THE_WIRE else f"refused: {self.refused}"
        same = self.kept == _SPELLED.get(sql_type(self.case), sql_type(self.case)) or self.case in ("positive", "pair")
        return "equal" if same else f"equal, as {self.kept}"


@dataclass
class World:
    """A source database with a column for every case, and a place to go there and back."""

    source: str
    back: str
    folder: Path
    mariadb: str
    columns: dict[str, str] = field(default_factory=dict)  #: case -> column

    def __post_init__(self) -> None:
        self.columns = {case: f"c{number}" for number, case in enumerate(CASES)}
        rows = max(len(values) for values in CASES.values())
        with psycopg.connect(self.source) as connection:
            connection.execute(
                "CREATE TYPE mood AS ENUM ('sad', 'ご機嫌'); CREATE DOMAIN positive AS int CHECK (VALUE > 0)"
            )
            connection.execute("CREATE TYPE pair AS (a int, b text)")
            made = ", ".join(f"{column} {sql_type(case)}" for case, column in self.columns.items())
            connection.execute(f"CREATE TABLE t (id int PRIMARY KEY, {made})".encode())
            for row in range(rows):
                cells = {c: CASES[case][row] for case, c in self.columns.items() if row < len(CASES[case])}
                values = ", ".join([str(row), *cells.values()])
                connection.execute(f"INSERT INTO t (id, {', '.join(cells)}) VALUES ({values})".encode())
            connection.execute(f"INSERT INTO t (id) VALUES ({rows})".encode())
        with psycopg.connect(self.back) as connection:
            connection.execute("CREATE TYPE mood AS ENUM ('sad', 'ご機嫌')")

    def hops(self, route: str) -> list[str]:
        """The connections on the way, first and last are PostgreSQL."""
        middle = {
            "DuckDB": [f"duckdb://{self.folder}/t.duckdb"],
            "SQLite": [f"sqlite://{self.folder}/t.db"],
            "MariaDB": [f"{self.mariadb}?tinyint1=boolean&time=clock"],
            "Parquet": [f"file://{self.folder}/parquet/?format=parquet"],
        }
        return [self.source, *middle.get(route, []), self.back]

    def carry(self, route: str, columns: list[str]) -> TaskRun:
        """There and back; the first hop that fails, or the last."""
        for number, (here, there) in enumerate(itertools.pairwise(self.hops(route))):
            options = {"columns": {c: c for c in ["id", *columns]}} if number == 0 else {}
            through = route.endswith("through")
            cursor = None if through or number else "id"  # a cursor takes the way through Arrow
            done = copy(here, there, "public.t" if number == 0 else "t", cursor=cursor, **options)
            if done.error is not None:
                return done
            assert done.path == ("postgresql binary COPY" if through else "arrow")
        return done

    def outcomes(self, route: str) -> list[Outcome]:
        """Carry all columns; take out those that are refused, until the others arrive."""
        found = {case: Outcome(case=case) for case in self.columns}
        left = dict(self.columns)
        if route.endswith("through"):
            for case in _NOT_ON_THE_WIRE:
                found[case].refused = "a table with such a column goes through Arrow"
                del left[case]
        while True:
            done = self.carry(route, list(left.values()))
            if done.error is None:
                break
            assert done.error.code in ("data_error", "schema_conflict"), done.error
            named = re.search(r"\bc\d+\b", done.error.message)
            assert named is not None, f"the refusal names no column: {done.error.message}"
            case = next(c for c, column in left.items() if column == named.group())
            found[case].refused = re.sub(r"\s+", " ", done.error.message.replace(named.group(), "it")).strip()
            del left[case]
        self._compare(found, left)
        return list(found.values())

    def _compare(self, found: dict[str, Outcome], left: dict[str, str]) -> None:
        asked = ", ".join(f"{column}::text" for column in left.values())
        with psycopg.connect(self.source) as here, psycopg.connect(self.back) as there:
            for connection in (here, there):
                connection.execute("SET TimeZone = 'UTC'; SET IntervalStyle = 'postgres'")
            sent = here.execute(f"SELECT {asked} FROM t ORDER BY id".encode()).fetchall()
            types = dict(
                there.execute(
                    "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass"
                ).fetchall()
            )
            boolean = {case for case, column in left.items() if types[column] == "boolean"}
            got = there.execute(f"SELECT {asked} FROM t ORDER BY id".encode()).fetchall()
        for number, (case, column) in enumerate(left.items()):
            mine, theirs = [row[number] for row in sent], [row[number] for row in got]
            if trim := _PADDING.get(sql_type(case)):
                mine, theirs = [[v and re.sub(trim, "", v) for v in values] for values in (mine, theirs)]
            if sql_type(case).startswith(("date", "time")) and types[column] == "text":
                theirs = [v and _as_postgres_writes(v) for v in theirs]
                types[column] = "text, in ISO 8601"
            assert mine == theirs, f"{case} changed silently: {types[column]}"
            assert case in boolean or types[column], case
            found[case].kept = str(types[column])


@pytest.fixture
def world(postgres: PostgresServer, mariadb_url: str, tmp_path: Path) -> Iterator[World]:
    source, back = postgres.create_database(), postgres.create_database()  # the embedded 18 is built without XML
    yield World(source=source, back=back, folder=tmp_path, mariadb=mariadb_url)
    postgres.drop_database(source)
    postgres.drop_database(back)


def test_every_type_at_its_limits_comes_back_equal_or_is_refused_by_name(world: World) -> None:
    outcomes = {}
    for route in ROUTES:
        with psycopg.connect(world.back) as connection:
            connection.execute("DROP TABLE IF EXISTS t; DROP TABLE IF EXISTS _suiro_markers")
        outcomes[route] = world.outcomes(route)
    page = written(outcomes)
    if WRITES:
        DOCS.write_text(page, encoding="utf-8")
    assert DOCS.read_text(encoding="utf-8") == page, "docs/types.md is out of date: run with SUIRO_WRITE_DOCS=1"


def written(outcomes: dict[str, list[Outcome]]) -> str:
    """The page."""
    lines = [
        "# Types",
        "",
        "Written by tests/acceptance/test_types.py, which carries each type with values at its limits from one",
        "PostgreSQL database to another: directly (as binary COPY, or through Arrow), or by way of another system and",
        "back. *Equal* means: the values' text is the same in the end, and so is the type unless another is named.",
        "*Refused* means: the run fails with this sentence before anything is published; leave the column out, or see",
        "the connector's settings.",
        "",
        "`mood` is an enum that exists on both sides, `positive` a domain over integer, `pair` a composite type.",
        "",
    ]
    for route, found in outcomes.items():
        way = f"By way of {route} and back" if route in ROUTES[2:] else f"To {route}"
        lines += [
            f"## {way}{_REMARKS.get(route, '')}",
            "",
            "| type | outcome |",
            "|---|---|",
        ]
        lines += [f"| {outcome.case} | {outcome.told().replace('|', chr(92) + '|')} |" for outcome in found]
        lines.append("")
    return "\n".join(lines)
