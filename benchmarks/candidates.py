"""Who runs on a route: the physical limit, Suiro and the peers, each as one command."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path

from arena import ROOT, Place
from limits import Limits, shell
from routes import Route, Way

LIMIT = "limit"
OURS = "suiro"
PEERS = ROOT / ".venv-bench"
SCRIPTS = ROOT / "benchmarks" / "peers"

Command = Callable[[Place, datetime], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to travel a route.

    `command` gets the run's place and, on routes of changes, a moment between the rows that were copied before and
    those that changed since; only `told_since` uses it. `first` copies the whole table before, where it differs.
    """

    name: str
    command: Command
    first: Command | None = None
    told_since: bool = False
    needs_table: bool = False  #: the table is made for it beforehand
    needs_key: bool = False  #: and has its primary key
    env: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""  #: why it can't run here
    note: str = ""


def candidates(route: Route, psql: Path, *, peers: bool) -> list[Candidate]:
    """All candidates of a route, the limit first."""
    found = [_limit(route, psql), _suiro(route)]
    if peers:
        found += [*_dlt(route), _sling(route), _ingestr(route), *_duckdb(route)]
    return found


# --- the limit --------------------------------------------------------------------------------------------------------


def _limit(route: Route, psql: Path) -> Candidate:
    limits = Limits(table=route.table, psql=psql)
    match route.way:
        case Way.TABLE_TO_TABLE:
            return Candidate(name=LIMIT, command=limits.copy, needs_table=True)
        case Way.TABLE_TO_PARQUET:
            return Candidate(name=LIMIT, command=limits.to_file)
        case Way.CSV_TO_TABLE:
            return Candidate(name=LIMIT, command=limits.from_csv, needs_table=True)
        case Way.CHANGES_TO_TABLE:
            return Candidate(
                name=LIMIT,
                command=limits.merge,
                first=limits.copy,
                told_since=True,
                needs_table=True,
                needs_key=True,
            )
        case Way.MARIADB_TO_TABLE:
            return Candidate(name=LIMIT, command=limits.from_mariadb, needs_table=True)
        case Way.TABLE_TO_MARIADB:
            return Candidate(name=LIMIT, command=limits.to_mariadb, needs_table=True)


# --- Suiro ------------------------------------------------------------------------------------------------------------


def suiro_command(route: Route, place: Place) -> list[str]:
    """What a user types."""
    name = route.table.name
    command = [str(ROOT / ".venv/bin/suiro"), "copy"]
    match route.way:
        case Way.CSV_TO_TABLE:
            command += [f"file://{place.csv}", place.target, "--stream", name]
        case Way.TABLE_TO_PARQUET:
            command += [place.source, f"file://{place.output()}/?format=parquet", "--stream", f"public.{name}"]
        case Way.TABLE_TO_TABLE | Way.CHANGES_TO_TABLE:
            command += [place.source, place.target, "--stream", f"public.{name}"]
        case Way.MARIADB_TO_TABLE:
            command += [f"{place.source}?sslmode=disable", place.target, "--stream", name]
        case Way.TABLE_TO_MARIADB:
            command += [place.source, f"{place.target}?sslmode=disable", "--stream", f"public.{name}"]
    return [*command, *route.options, "--json"]


def _suiro(route: Route) -> Candidate:
    missing = "" if (ROOT / ".venv/bin/suiro").exists() else "there is no .venv/bin/suiro"
    return Candidate(name=OURS, command=lambda place, since: suiro_command(route, place), missing=missing)


# --- the peers --------------------------------------------------------------------------------------------------------


def _plain(address: str) -> str:
    """The address with the option that keeps a program in Go from trying TLS."""
    return f"{address}?{'sslmode=disable' if address.startswith('postgresql:') else 'tls=false'}"


def _stored(route: Route, address: str) -> str:
    """The table's whole name at an address: in schema public, or in MariaDB's database."""
    schema = address.rpartition("/")[2] if address.startswith("mysql:") else "public"
    return f"{schema}.{route.table.name}"


def _python(script: str, *arguments: str) -> list[str]:
    return [str(PEERS / "bin/python"), str(SCRIPTS / script), *arguments]


def _dlt(route: Route) -> list[Candidate]:
    """Its two fast ways: connectorx with Parquet through ADBC, and SQLAlchemy with CSV. DuckDB reads its CSV files."""
    from_csv = route.way is Way.CSV_TO_TABLE
    to_files = route.way is Way.TABLE_TO_PARQUET
    merging = ("--cursor", route.table.cursor, "--key", ",".join(route.table.key))

    def way(backend: str, form: str) -> Command:
        def command(place: Place, since: datetime) -> list[str]:
            return _python(
                "dlt_copy.py",
                *("--source", str(place.csv) if from_csv else place.source),
                *("--target", str(place.output()) if to_files else place.target),
                *("--table", route.table.name, "--backend", backend, "--format", form),
                *(merging if route.way is Way.CHANGES_TO_TABLE else ()),
            )

        return command

    missing = _missing(PEERS / "bin/python")
    if from_csv:
        ways = {"dlt (DuckDB, CSV)": ("pyarrow", "csv"), "dlt (DuckDB, Parquet)": ("pyarrow", "parquet")}
    elif to_files:
        ways = {"dlt (pyarrow)": ("pyarrow", "parquet"), "dlt (connectorx)": ("connectorx", "parquet")}
    elif route.way is Way.TABLE_TO_MARIADB:  # its destination sqlalchemy inserts rows by parameters
        ways = {"dlt (connectorx, INSERT)": ("connectorx", "parquet")}
    elif route.way is Way.MARIADB_TO_TABLE:
        ways = {"dlt (connectorx, Parquet)": ("connectorx", "parquet")}
    else:
        ways = {"dlt (pyarrow, CSV)": ("pyarrow", "csv"), "dlt (connectorx, Parquet)": ("connectorx", "parquet")}
    return [Candidate(name=name, command=way(*how), missing=missing) for name, how in ways.items()]


def _sling(route: Route) -> Candidate:
    name = route.table.name
    program = _sling_program()

    def command(place: Place, since: datetime) -> list[str]:
        command = [str(program), "run"]
        if route.way is Way.CSV_TO_TABLE:
            command += ["--src-stream", f"file://{place.csv}"]
        else:
            command += ["--src-conn", _plain(place.source), "--src-stream", _stored(route, place.source)]
        if route.way is Way.TABLE_TO_PARQUET:
            command += ["--tgt-object", f"file://{place.output()}/{name}.parquet"]
        else:
            command += ["--tgt-conn", _plain(place.target), "--tgt-object", _stored(route, place.target)]
        if route.way is Way.CHANGES_TO_TABLE:
            key = ",".join(route.table.key)
            return [*command, "--mode", "incremental", "--primary-key", key, "--update-key", route.table.cursor]
        return [*command, "--mode", "full-refresh"]

    to_files = route.way is Way.TABLE_TO_PARQUET
    return Candidate(
        name="sling",
        command=command,
        # Without it sling downloads the DuckDB command line to write Parquet; with it, it writes by itself.
        env={"SLING_DUCKDB_COMPUTE": "false"} if to_files else {},
        note="with SLING_DUCKDB_COMPUTE=false: its own Parquet writer, nothing downloaded" if to_files else "",
        missing=_missing(program),
    )


@cache
def _sling_program() -> Path:
    found = list(PEERS.glob("lib/python*/site-packages/sling_linux_amd64/bin/sling-linux-amd64"))
    return found[0] if found else PEERS / "bin/sling"


def _ingestr(route: Route) -> Candidate:
    name = route.table.name
    program = PEERS / "bin/ingestr"

    def ingest(place: Place, since: datetime | None) -> list[str]:
        command = [str(program), "ingest", "--yes", "--progress", "log", "--no-load-timestamp"]
        if route.way is Way.CSV_TO_TABLE:
            command += ["--source-uri", f"csv://{place.folder}/{name}.csv", "--source-table", name]
        else:
            command += ["--source-uri", _plain(place.source), "--source-table", _stored(route, place.source)]
        if route.way is Way.TABLE_TO_PARQUET:
            command += ["--dest-uri", f"parquet://{place.output()}/{name}.parquet", "--dest-table", name]
        else:
            command += ["--dest-uri", _plain(place.target), "--dest-table", _stored(route, place.target)]
        if route.way is Way.CHANGES_TO_TABLE:
            key = ",".join(route.table.key)
            command += ["--incremental-strategy", "merge", "--primary-key", key]
            command += ["--incremental-key", route.table.cursor]
            command += ["--interval-start", since.strftime("%Y-%m-%dT%H:%M:%S")] if since else []
        if route.way is Way.CSV_TO_TABLE:
            plain = shlex.quote(f"{place.folder}/{name}.csv")
            return shell(f"gunzip -c {shlex.quote(str(place.csv))} > {plain} && {shlex.join(command)}")
        return command

    note = ""
    if route.way is Way.CSV_TO_TABLE:
        note = "reads no compressed files: gunzip into a file first, which is part of its time"
    elif route.way is Way.CHANGES_TO_TABLE:
        note = "keeps no position: told with --interval-start where to begin, else it reads the whole table"
    return Candidate(
        name="ingestr",
        command=ingest,
        first=lambda place, since: ingest(place, None),
        told_since=True,
        note=note,
        missing=_missing(program),
    )


def _duckdb(route: Route) -> list[Candidate]:
    """Only where its extension does the whole work in one statement."""
    if route.way not in {Way.TABLE_TO_TABLE, Way.TABLE_TO_PARQUET}:
        return []

    def command(place: Place, since: datetime) -> list[str]:
        to_files = route.way is Way.TABLE_TO_PARQUET
        target = f"{place.output()}/{route.table.name}.parquet" if to_files else place.target
        arguments = ("--source", place.source, "--target", target, "--table", route.table.name)
        return _python("duckdb_copy.py", *arguments)

    missing = _missing(PEERS / "bin/python")
    if not missing and not list(PEERS.glob("lib/python*/site-packages/duckdb_extension_postgres_scanner")):
        missing = "its PostgreSQL extension isn't installed"
    return [Candidate(name="DuckDB", command=command, missing=missing)]


def _missing(program: Path) -> str:
    return "" if program.exists() else f"not installed: {program.relative_to(ROOT)}"


def versions() -> dict[str, str]:
    """The peers' versions, as their packages tell."""
    python = PEERS / "bin/python"
    if not python.exists():
        return {}
    ask = (
        "import importlib.metadata as m\n"
        "for name in ('dlt','connectorx','adbc-driver-postgresql','pyarrow','sling-linux-amd64','ingestr','duckdb',\n"
        "             'pymysql'):\n"
        "    print(name, m.version(name))"
    )
    told = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=False).stdout
    return dict(line.split(" ", 1) for line in told.splitlines())
