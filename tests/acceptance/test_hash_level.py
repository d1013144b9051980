"""Level `hash`: every value of what is staged is read back and compared, before anything is published."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from acceptance.test_types import DOCS, Outcome, World
from copying import copied, copy
from mariadb import MariaDBServer, database_of
from suiro.connectors.mysql.stage import MysqlStage
from suiro.connectors.postgres.stage import PostgresStage
from suiro.model.receipt import Basis, Level
from suiro.model.run import TaskRun
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, WriteMode
from suiro.toolkit.files.stages import DirectStage
from suiro.toolkit.spool import SpoolStage

if TYPE_CHECKING:
    from servers import PostgresServer
    from shell import Shell
    from suiro.spi.destination import Staged

Rows = list[tuple[Any, ...]]
HASH, SUMS = Level.HASH, Level.SUMS
TEXT_FILES = ("csv", "jsonl")


# -- every type --------------------------------------------------------------------------------------------------------


class HashedWorld(World):
    """Copies at level hash. Files of text have no types, so what comes back from them is another test's."""

    def hops(self, route: str) -> list[str]:
        text = [f"file://{self.folder}/{route}/?format={route}"]
        return [self.source, *text] if route in TEXT_FILES else super().hops(route)

    def carry(self, route: str, columns: list[str]) -> TaskRun:
        for number, (here, there) in enumerate(itertools.pairwise(self.hops(route))):
            options = {"columns": {c: c for c in ["id", *columns]}} if number == 0 else {}
            done = copy(here, there, "t" if number else "public.t", verify=HASH, **options)
            if done.error is not None:
                return done
            assert done.path == "arrow"
            assert done.receipt is not None and done.receipt.equal and done.receipt.level is HASH
            assert set(done.receipt.compared) == {"id", *columns}
        return done

    def _compare(self, found: dict[str, Outcome], left: dict[str, str]) -> None:
        if not (self.folder / "csv").exists() and not (self.folder / "jsonl").exists():
            super()._compare(found, left)


@pytest.mark.parametrize("route", ["PostgreSQL", "DuckDB", "SQLite", "MariaDB", "Parquet", *TEXT_FILES])
def test_every_type_that_arrives_at_level_sums_does_at_level_hash(
    route: str, postgres: PostgresServer, mariadb_url: str, tmp_path: Path
) -> None:
    source, back = postgres.create_database(), postgres.create_database()
    world = HashedWorld(source=source, back=back, folder=tmp_path, mariadb=mariadb_url)
    found = world.outcomes(route)  # a verification that failed is none of the outcomes it knows
    if route not in TEXT_FILES:
        (heading,) = [
            line
            for line in DOCS.read_text().splitlines()
            if line.startswith("## ") and f" {route}" in line and "passing" not in line
        ]
        page = DOCS.read_text().split(heading, 1)[1].split("## ", 1)[0]
        for outcome in found:
            assert f"| {outcome.case} | {outcome.told().replace('|', chr(92) + '|')} |" in page
    postgres.drop_database(source)
    postgres.drop_database(back)


# -- every way to write ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """A destination, and how to look into it."""

    kind: str
    url: str
    rows: Callable[[], Rows | None]  #: of the table `orders`, ordered: id, name; None where there is none


@pytest.fixture(params=["postgres", "duckdb", "sqlite", "mariadb", "parquet", "csv", "jsonl"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kind: str = request.param
    asked = "SELECT id, name FROM orders ORDER BY 1, 2"
    if kind == "postgres":
        url = request.getfixturevalue("postgres18_url")

        def rows() -> Rows | None:
            with psycopg.connect(url) as session:
                there = session.execute("SELECT to_regclass('orders')").fetchone()
                return None if there == (None,) else session.execute(asked.encode()).fetchall()

        return Place(kind, url, rows)
    if kind == "mariadb":
        url, server = request.getfixturevalue("mariadb_url"), request.getfixturevalue("mariadb")
        return Place(kind, url, lambda: _of_mariadb(server, database_of(url), asked))
    if kind in ("duckdb", "sqlite"):
        path = tmp_path / f"there.{kind}"
        return Place(kind, f"{kind}:///{path}", lambda: _of_file(kind, path, asked))
    folder = tmp_path / "files"
    return Place(kind, f"file://{folder}/?format={kind}", lambda: _of_folder(folder, kind))


def _of_mariadb(server: MariaDBServer, database: str, asked: str) -> Rows | None:
    if not server.execute("SHOW TABLES LIKE 'orders'", database):
        return None
    return [(int(one), name) for one, name in server.execute(asked, database)]


def _of_file(kind: str, path: Path, asked: str) -> Rows | None:
    with closing(duckdb.connect(str(path)) if kind == "duckdb" else sqlite3.connect(path)) as db:
        try:
            return list(db.execute(asked).fetchall())
        except (duckdb.CatalogException, sqlite3.OperationalError):
            return None


def _of_folder(folder: Path, kind: str) -> Rows | None:
    files = [*folder.glob(f"orders.{kind}"), *folder.glob(f"orders/*.{kind}")]
    reads = {"parquet": "read_parquet", "csv": "read_csv", "jsonl": "read_json"}[kind]
    quoted = ", allow_quoted_nulls = false" if kind == "csv" else ""
    found: Rows = []
    for file in files:
        with closing(duckdb.connect()) as db:
            db.execute("SET TimeZone = 'UTC'")
            found += db.execute(f"SELECT id, name FROM {reads}('{file}'{quoted})").fetchall()
    return sorted(found, key=repr) if files else None


@pytest.fixture
def source(postgres_url: str) -> Iterator[psycopg.Connection]:
    """Rows that differ in ways that sums can't tell: id 1 aa, id 2 bb."""
    with psycopg.connect(postgres_url, autocommit=True) as session:
        session.execute("CREATE TABLE orders (id int PRIMARY KEY, name text, price numeric(12,2), doc jsonb, n int)")
        session.execute("""INSERT INTO orders VALUES (1, 'aa', 1.10, '{"a": 1}', 1), (2, 'bb', 2.20, NULL, 2)""")
        yield session


def compared(done: TaskRun) -> None:
    assert done.error is None, done.error
    assert done.receipt is not None and done.receipt.equal and done.receipt.adds_up
    assert done.receipt.level is HASH
    assert {"id", "name", "price", "doc", "n"} <= set(done.receipt.compared)


@pytest.mark.parametrize("mode", list(WriteMode))
def test_every_write_mode_is_compared(
    mode: WriteMode, place: Place, source: psycopg.Connection, postgres_url: str
) -> None:
    if mode is WriteMode.HISTORY and place.kind in ("parquet", "csv", "jsonl"):
        pytest.skip("files take no histories")
    full = mode is WriteMode.REPLACE
    options: dict[str, Any] = {"write": mode, "verify": HASH, "read": ReadMode.FULL if full else ReadMode.INCREMENTAL}
    options |= {} if full else {"cursor": "n"}
    compared(copy(postgres_url, place.url, "orders", **options))
    source.execute(
        "INSERT INTO orders VALUES (3, '', -3.30, '[]', 3); UPDATE orders SET name = NULL, n = 4 WHERE id = 1"
    )
    compared(copy(postgres_url, place.url, "orders", **options))
    new = [(1, None), (2, "bb"), (3, "")]
    old = [(1, "aa")] if mode in (WriteMode.APPEND, WriteMode.HISTORY) else []
    assert sorted(place.rows() or [], key=repr) == sorted([*new, *old], key=repr)


@pytest.mark.parametrize("mode", [WriteMode.MERGE, WriteMode.HISTORY])
def test_keys_that_vanished_are_compared_before_rows_are_deleted(
    mode: WriteMode, place: Place, source: psycopg.Connection, postgres_url: str
) -> None:
    if place.kind in ("parquet", "csv", "jsonl"):
        pytest.skip("files take no key snapshots")
    options: dict[str, Any] = {"write": mode, "verify": HASH, "deletes": Deletes.HARD, "most_deleted": 1.0}
    compared(copy(postgres_url, place.url, "orders", **options))
    source.execute("DELETE FROM orders WHERE id = 2")
    done = copy(postgres_url, place.url, "orders", **options)
    compared(done)
    assert done.rows_deleted == 1
    assert any("keys were compared" in note for note in done.notes)


# -- what sums can't tell ----------------------------------------------------------------------------------------------

SWAPPED = "rows: each column holds the values that were read, but not in the same rows (hash)"
LETTER = "name: the values differ (hash)"
CHANGES = {SWAPPED: {"aa": "bb", "bb": "aa"}, LETTER: {"aa": "ab"}}


def alter(monkeypatch: pytest.MonkeyPatch, kind: type, act: Callable[[Any, Staged], None]) -> None:
    """Have something happen to what was sealed, before it is published."""
    original = kind.seal

    def sealed(self: Any) -> Staged:
        staged: Staged = original(self)
        act(self, staged)
        return staged

    monkeypatch.setattr(kind, "seal", sealed)


def altered(place: Place, changes: dict[str, str], request: pytest.FixtureRequest) -> tuple[type, Callable[..., None]]:
    """The kind of stage to watch, and what then changes names in it behind the destination's back."""
    cases = " ".join(f"WHEN '{old}' THEN '{new}'" for old, new in changes.items())
    update = f"name = CASE name {cases} ELSE name END"
    if place.kind == "postgres":

        def in_postgres(_: Any, staged: Staged) -> None:
            with psycopg.connect(place.url) as session:
                session.execute(f'UPDATE "{staged.location}" SET {update}'.encode())

        return PostgresStage, in_postgres
    if place.kind == "mariadb":
        server, database = request.getfixturevalue("mariadb"), database_of(place.url)
        return MysqlStage, lambda _, staged: server.execute(f"UPDATE `{staged.location}` SET {update}", database)
    if place.kind in ("duckdb", "sqlite"):
        return SpoolStage, lambda _, staged: _rewrite_spool(Path(staged.location), changes)
    return DirectStage, lambda _, staged: _rewrite_file(Path(staged.location), changes)


def _renamed(rows: pa.Table, changes: dict[str, str]) -> pa.Table:
    names = [changes.get(name, name) for name in rows.column("name").to_pylist()]
    return rows.set_column(rows.schema.get_field_index("name"), rows.schema.field("name"), pa.array(names))


def _rewrite_spool(path: Path, changes: dict[str, str]) -> None:
    with pa.ipc.open_stream(path.read_bytes()) as reader:
        rows = reader.read_all()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, rows.schema) as writer:
        writer.write_table(_renamed(rows, changes))


def _rewrite_file(path: Path, changes: dict[str, str]) -> None:
    if path.suffix == ".parquet":
        rows = pq.read_table(path)
        pq.write_table(_renamed(rows, changes), path)
        return
    text = path.read_text()
    for old, new in changes.items():
        text = text.replace(f'"{old}"', f'"~{new}"')
    path.write_text(text.replace('"~', '"'))


@pytest.mark.parametrize("difference", CHANGES)
def test_what_sums_let_pass_hashes_catch_and_the_old_table_stays(
    difference: str,
    place: Place,
    source: psycopg.Connection,
    postgres_url: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copied(postgres_url, place.url, "orders", verify=HASH)
    source.execute("INSERT INTO orders VALUES (3, 'cc', 3, NULL, 3)")
    with monkeypatch.context() as altering:
        alter(altering, *altered(place, CHANGES[difference], request))
        done = copy(postgres_url, place.url, "orders", verify=HASH)
        assert done.error is not None and done.error.code == "verification_failed", done
        assert done.receipt is not None and not done.receipt.equal and done.receipt.differences == (difference,)
        assert place.rows() == [(1, "aa"), (2, "bb")]
        passed = copy(postgres_url, place.url, "orders", verify=SUMS, cursor="id")  # through Arrow, as above
        assert passed.error is None, passed.error
    found = place.rows()
    assert found is not None and [name for _, name in found][:2] == [
        CHANGES[difference].get(n, n) for n in ("aa", "bb")
    ]
    copied(postgres_url, place.url, "orders", verify=HASH)
    assert place.rows() == [(1, "aa"), (2, "bb"), (3, "cc")]


def test_a_trigger_that_alters_what_enters_the_staging_table_is_caught(
    source: psycopg.Connection, postgres_url: str, postgres18_url: str
) -> None:
    assert source.info.dbname
    copied(postgres_url, postgres18_url, "orders", verify=HASH)
    with psycopg.connect(postgres18_url, autocommit=True) as there:
        there.execute("""
            CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.name := translate(NEW.name, 'a', 'x'); RETURN NEW; END $$""")
        there.execute("""
            CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE made record; BEGIN
              FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
                IF made.object_identity ~ '_suiro_stage_' AND made.command_tag = 'CREATE TABLE' THEN
                  EXECUTE format('CREATE TRIGGER m BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION meddle()',
                                 made.object_identity);
                END IF;
              END LOOP; END $$""")
        there.execute("CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch()")
    done = copy(postgres_url, postgres18_url, "orders", verify=HASH)
    assert done.receipt is not None and done.receipt.differences == (LETTER,)
    with psycopg.connect(postgres18_url) as there:
        assert there.execute("SELECT name FROM orders ORDER BY id").fetchall() == [("aa",), ("bb",)]
        left = "SELECT count(*) FROM pg_class WHERE starts_with(relname, '_suiro_stage_')"
        assert there.execute(left.encode()).fetchone() == (0,)


# -- what is said ------------------------------------------------------------------------------------------------------


def test_the_plan_and_the_receipt_say_what_the_level_does(
    source: psycopg.Connection, postgres_url: str, tmp_path: Path, suiro: Shell
) -> None:
    assert source.info.dbname
    there = f"duckdb:///{tmp_path}/x.duckdb"
    plan = suiro("copy", postgres_url, there, "--stream", "orders", "--verify", "hash", "--plan", "--json")
    assert "read back" in json.dumps(json.loads(plan.out))
    done = suiro("copy", postgres_url, there, "--stream", "orders", "--verify", "hash")
    assert done.code == 0 and "Receipt (hash): equal" in done.err and "5 columns compared by hash" in done.err


def test_rows_that_would_pass_as_they_are_go_through_arrow(
    source: psycopg.Connection, postgres_url: str, postgres18_url: str
) -> None:
    assert source.info.dbname
    assert copied(postgres_url, postgres18_url, "orders", verify=SUMS).path == "postgresql binary COPY"
    done = copied(postgres_url, postgres18_url, "orders", verify=HASH)
    assert done.path == "arrow" and any("through Arrow" in note for note in done.notes)
    assert done.receipt is not None and done.receipt.basis is Basis.IN_FLIGHT
    assert any("the source's own snapshot" in note for note in done.notes)
