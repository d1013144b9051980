"""Mapping on real systems: computed, retyped and masked columns, proposed names, and tables that are the user's own."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from mariadb import MariaDBServer, database_of
from suiro.app.mapping import Naming, Rules, mask_key_of
from suiro.app.names import names_of
from suiro.app.runs import Copy, Copying
from suiro.app.tasks import masks_of
from suiro.cli.main import main
from suiro.model.errors import ConfigError, SuiroError
from suiro.model.job import Task
from suiro.model.masking import MaskKey
from suiro.model.naming import NamePolicy
from suiro.model.run import TaskRun
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, WriteMode

SECRET = "a secret of enough bytes for masks"
KEY = MaskKey(SECRET.encode())
ODD = "顧客管理(営業支援パック)"
PEOPLE = [(1, "ann@x.org", "Ann", "090-1234-5678", "long " * 9), (2, None, "Bo", None, None)]


def carried(source: str, destination: str, stream: str, rules: Rules | None = None, **task: Any) -> TaskRun:
    """Copy one stream; what came of it."""
    asked = Copy(
        source=source,
        destination=destination,
        streams=(stream,),
        task=Task(stream="", **task),
        mapping=rules or Rules(),
    )
    (done,) = Copying(asked).run().tasks
    return done


def succeeded(source: str, destination: str, stream: str, rules: Rules | None = None, **task: Any) -> TaskRun:
    """Copy one stream, which succeeds and whose receipt adds up."""
    done = carried(source, destination, stream, rules, **task)
    assert done.error is None, done.error
    assert done.receipt is not None and done.receipt.equal and done.receipt.adds_up
    return done


def planned(source: str, destination: str, stream: str, rules: Rules | None = None, **task: Any) -> dict[str, Any]:
    """The plan for one stream."""
    asked = Copy(
        source=source,
        destination=destination,
        streams=(stream,),
        task=Task(stream="", **task),
        mapping=rules or Rules(),
    )
    (found,) = Copying(asked).plan()
    return found


def hash_of(text: str) -> str:
    return hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


def _postgres(request: pytest.FixtureRequest, folder: Path) -> str:
    url: str = request.getfixturevalue("postgres_url")
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE people (id int PRIMARY KEY, email text, name text, phone varchar(20), note text)")
        cursor.executemany("INSERT INTO people VALUES (%s, %s, %s, %s, %s)", PEOPLE)
    return url


def _sqlite(request: pytest.FixtureRequest, folder: Path) -> str:
    with sqlite3.connect(folder / "s.db") as db:
        db.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT, phone TEXT, note TEXT)")
        db.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", PEOPLE)
    db.close()
    return f"sqlite://{folder}/s.db"


def _duckdb(request: pytest.FixtureRequest, folder: Path) -> str:
    with duckdb.connect(str(folder / "s.duckdb")) as db:
        db.execute("CREATE TABLE people (id int PRIMARY KEY, email text, name text, phone text, note text)")
        db.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?)", PEOPLE)
    return f"duckdb://{folder}/s.duckdb"


def _files(request: pytest.FixtureRequest, folder: Path) -> str:
    rows = [",".join("" if cell is None else f'"{cell}"' for cell in row) for row in PEOPLE]
    (folder / "people.csv").write_text("\n".join(["id,email,name,phone,note", *rows]))
    return f"file://{folder}/people.csv"


SOURCES: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "postgres": _postgres,
    "sqlite": _sqlite,
    "duckdb": _duckdb,
    "files": _files,
}


@pytest.fixture(params=SOURCES)
def people(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of each kind of source in turn, all with the stream people."""
    return SOURCES[request.param](request, tmp_path)


@pytest.fixture
def warehouse(suiro_home: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    """Asks the embedded warehouse."""

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(suiro_home / "warehouse.duckdb"), read_only=True) as db:
            return db.execute(sql).fetchall()

    return ask


def all_text(folder: Path) -> bytes:
    """Everything in the files of a folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


# -- masks -------------------------------------------------------------------------------------------------------------


def test_masks_are_the_same_from_every_source(people: str, warehouse: Callable[[str], list[tuple[Any, ...]]]) -> None:
    masks = masks_of("id=hash,email=hash,name=tokenise,phone=mask:4,note=truncate:6")
    done = succeeded(people, "warehouse", "people", masks=masks, mask_key=KEY)
    rows = warehouse("SELECT id, email, name, phone, note FROM people ORDER BY note NULLS LAST")
    assert [row[:2] for row in rows] == [(hash_of("1"), hash_of("ann@x.org")), (hash_of("2"), None)]
    assert re.fullmatch("[A-Z][a-z]{2}", rows[0][2]) and re.fullmatch("[A-Z][a-z]", rows[1][2])
    assert [row[3:] for row in rows] == [("*********5678", "long l"), (None, None)]
    assert "1 values of note were cut to 6 characters." in done.notes
    assert done.receipt is not None and done.receipt.truncated == 1
    assert done.receipt is not None and done.receipt.basis.value == "rows in flight"


def test_conditions_and_computed_columns_see_the_values_as_they_are(
    people: str, warehouse: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    masks = masks_of("email=hash,whole=hash,name=null")
    rules = Rules(computed={"whole": "name || '/' || email", "origin": "'crm'", "phone": "upper(name)"})
    succeeded(
        people, "warehouse", "people", rules, masks=masks, mask_key=KEY, where="email = 'ann@x.org'", drop=("note",)
    )
    assert warehouse("SELECT id, email, name, whole, origin, phone FROM people") == [
        (1, hash_of("ann@x.org"), None, hash_of("Ann/ann@x.org"), "crm", "ANN")
    ]
    succeeded(
        people, "warehouse", "people", table="p2", masks=masks_of("email=hash"), mask_key=KEY, where="name = 'Bo'"
    )
    assert warehouse("SELECT id, name, email FROM p2") == [(2, "Bo", None)]


def test_a_masked_key_merges_follows_its_source_and_forgets_deleted_rows(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (id int PRIMARY KEY, at timestamptz NOT NULL, name text)")
        connection.execute("INSERT INTO people SELECT g, to_timestamp(g), 'n' || g FROM generate_series(1, 50) g")
        follows: dict[str, Any] = {
            "table": "masked",
            "read": ReadMode.INCREMENTAL,
            "cursor": "at",
            "write": WriteMode.MERGE,
            "deletes": Deletes.HARD,
            "masks": masks_of("id=hash"),
            "mask_key": KEY,
        }
        succeeded(postgres_url, postgres_url, "people", **follows)
        connection.execute("INSERT INTO people VALUES (51, to_timestamp(51), 'new'); DELETE FROM people WHERE id = 7")
        done = succeeded(postgres_url, postgres_url, "people", **follows)
        assert done.rows_read < 10 and done.rows_deleted == 1
        ids = [row[0] for row in connection.execute("SELECT id FROM masked")]
        assert sorted(ids) == sorted(hash_of(str(n)) for n in range(1, 52) if n != 7)
        with_other_key = {**follows, "mask_key": MaskKey(b"another key of enough bytes")}
        assert succeeded(postgres_url, postgres_url, "people", **with_other_key).rows_read == 50


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"masks": masks_of("id=null"), "write": WriteMode.MERGE}, "belongs to the key"),
        ({"masks": masks_of("emali=hash")}, "no column of the table"),
        ({"masks": masks_of("email=hash")}, "needs a key"),
        ({"masks": masks_of("id=hash"), "mask_key": KEY, "cursor": "id"}, "is the cursor"),
        ({"types": {"email": "number of sorts"}}, "can't become number of sorts"),
        ({"types": {"name": "integer, b text"}}, "can't become"),
        ({"drop": ("nothing",)}, "no column nothing"),
    ],
)
def test_masks_and_types_that_make_no_sense_are_refused(
    request: pytest.FixtureRequest, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    done = carried(_sqlite(request, tmp_path), "warehouse", "people", **options)
    assert done.error is not None and said in done.error.message and done.error.hint


def test_nothing_of_a_masked_value_is_kept_or_said(
    request: pytest.FixtureRequest, tmp_path: Path, suiro_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows are rejected by a type that one of them doesn't fit; its masked columns are nowhere."""
    source = _sqlite(request, tmp_path)
    masks = masks_of("email=hash,phone=mask:4,note=null")
    done = carried(
        source, "warehouse", "people", types={"name": "integer"}, masks=masks, mask_key=KEY, most_rejected=10
    )
    assert done.error is None and done.rows_rejected == 2
    told = repr(done) + caplog.text
    kept = all_text(suiro_home)
    for value in ("ann@x.org", "090-1234", SECRET):
        assert value not in told and value.encode() not in kept


def test_a_line_that_is_no_row_is_rejected_without_what_it_holds(
    request: pytest.FixtureRequest, tmp_path: Path, suiro_home: Path
) -> None:
    """Nobody knows which of its values belong to a masked column."""
    source = _files(request, tmp_path)
    with (tmp_path / "people.csv").open("a") as file:
        file.write("\n3,secret@x.org,more,fields,than,the,others\n")
    masks = masks_of("email=hash")
    done = carried(source, "warehouse", "people", masks=masks, mask_key=KEY, most_rejected=5)
    assert done.error is None and (done.rows_written, done.rows_rejected) == (2, 1)
    with duckdb.connect(str(suiro_home / "warehouse.duckdb"), read_only=True) as db:
        assert db.execute("SELECT row FROM _suiro_rejected").fetchall() == [(None,)]
    assert b"secret@x.org" not in all_text(suiro_home) and "secret@" not in repr(done)


def test_rejected_rows_are_kept_masked_and_carried_again_as_they_are(
    request: pytest.FixtureRequest, tmp_path: Path, postgres_url: str
) -> None:
    source = _sqlite(request, tmp_path)
    with sqlite3.connect(tmp_path / "s.db") as db:
        db.execute("INSERT INTO people VALUES (70000, 'ann@x.org', 'Cy', NULL, NULL)")
    db.close()
    task: dict[str, Any] = {
        "existing": True,
        "write": WriteMode.MERGE,
        "masks": masks_of("email=hash"),
        "mask_key": KEY,
        "where": "email = 'ann@x.org'",
        "columns": {"id": "id", "email": "email"},
        "most_rejected": 5,
    }
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (id smallint PRIMARY KEY, email text)")
        assert carried(source, postgres_url, "people", **task).rows_rejected == 1
        kept = connection.execute("SELECT row FROM _suiro_rejected").fetchall()
        assert [json.loads(row) for (row,) in kept] == [{"id": "70000", "email": hash_of("ann@x.org")}]
        connection.execute("ALTER TABLE people ALTER id TYPE int")
        assert succeeded(source, postgres_url, "people", **task, retry=True).rows_written == 1
        assert connection.execute("SELECT count(*) FROM _suiro_rejected").fetchone() == (0,)
        assert connection.execute("SELECT id, email FROM people ORDER BY id").fetchall() == [
            (1, hash_of("ann@x.org")),
            (70000, hash_of("ann@x.org")),
        ]


def test_the_columns_of_a_statement_are_masked_by_their_names_in_the_table(
    people: str, warehouse: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    statement = "REPLICATE t SELECT id, lower(name) AS who, email FROM people WHERE email = 'ann@x.org'"
    task = Task(stream="", masks=masks_of("who=mask:1,email=hash"), mask_key=KEY)
    asked = Copy(source=people, destination="warehouse", streams=(), statements=(statement,), task=task)
    assert Copying(asked).plan()[0]["columns"][1]["mask"] == "mask:1"
    (done,) = Copying(asked).run().tasks
    assert done.error is None and warehouse("SELECT id, who, email FROM t") == [(1, "**n", hash_of("ann@x.org"))]
    named = Copy(
        source=people,
        destination="warehouse",
        streams=(),
        statements=(statement,),
        task=task,
        mapping=Rules(naming=Naming(prefix="p_")),
    )
    with pytest.raises(ConfigError, match="--prefix"):
        Copying(named).run()


def test_the_key_comes_from_the_environment_or_a_file_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MASKS", f"{SECRET}\n")
    (tmp_path / "key").write_text(f"{SECRET}\n")
    keys = [mask_key_of("env:MASKS"), mask_key_of(f"file:{tmp_path}/key")]
    assert [key.fingerprint for key in keys] == [KEY.fingerprint] * 2
    for wrong in (SECRET, "env:NOT_THERE", f"file:{tmp_path}/missing", "env:"):
        with pytest.raises(ConfigError) as refused:
            mask_key_of(wrong)
        assert SECRET not in refused.value.message and refused.value.hint


# -- columns -----------------------------------------------------------------------------------------------------------


def test_columns_are_retyped_exactly_or_not_at_all(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE s (id int PRIMARY KEY, amount text, tags inet[])")
        connection.execute("INSERT INTO s VALUES (1, '12.50', '{10.0.0.1}'), (2, NULL, NULL)")
        succeeded(postgres_url, postgres_url, "s", table="t", types={"amount": "decimal(12,2)", "id": "bigint"})
        found = connection.execute(
            "SELECT string_agg(format_type(atttypid, atttypmod), ' ' ORDER BY attnum) FROM pg_attribute "
            "WHERE attrelid = 't'::regclass AND attnum > 0"
        ).fetchone()
        assert found == ("bigint numeric(12,2) inet[]",)
        connection.execute("INSERT INTO s VALUES (3, '1.2345')")
        done = carried(postgres_url, postgres_url, "s", table="t", types={"amount": "decimal(12,2)"})
        assert done.error is not None and "amount" in done.error.message and "1.2345" not in done.error.message


def test_computed_columns_go_with_incremental_reads_and_new_columns(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE s (id int PRIMARY KEY, a text); INSERT INTO s VALUES (1, 'x'), (2, 'y')")
        rules = Rules(computed={"b": "upper(a)", "1": "'one'"})
        follows: dict[str, Any] = {"table": "t", "read": ReadMode.INCREMENTAL, "cursor": "id"}
        succeeded(postgres_url, postgres_url, "s", rules, **follows)
        connection.execute("ALTER TABLE s ADD COLUMN c int; INSERT INTO s VALUES (3, 'z', 9)")
        done = succeeded(postgres_url, postgres_url, "s", rules, **follows)
        assert done.rows_written == 1 and done.rows_read <= 2
        assert connection.execute('SELECT id, a, b, "1", c FROM t ORDER BY id').fetchall() == [
            (1, "x", "X", "one", None),
            (2, "y", "Y", "one", None),
            (3, "z", "Z", "one", 9),
        ]


# -- names -------------------------------------------------------------------------------------------------------------


def test_proposed_names_are_shown_edited_and_kept(postgres_url: str, suiro_home: Path) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f'CREATE TABLE "{ODD}" ("氏名" text, "電話番号" text, "Id" int PRIMARY KEY)')
        connection.execute(f"INSERT INTO \"{ODD}\" VALUES ('山田', '03', 1)")
        rules = Rules(naming=Naming(policy=NamePolicy.ASCII, prefix="crm_", schema="lake"))
        plan = planned(postgres_url, postgres_url, ODD, rules)
        assert plan["table"] == "lake.crm_kokyaku_kanri_eigyo_shien_pakku" and not plan["exists"]
        assert [c["name"] for c in plan["columns"]] == ["shimei", "denwa_bango", "id"]
        assert connection.execute("SELECT to_regnamespace('lake')").fetchone() == (None,)
        file = Path(plan["names_file"])
        assert file.parent == suiro_home / "names" and "顧客管理" in file.name
        text = file.read_text("utf-8").replace("shimei", "full_name  # as the CRM calls it")
        file.write_text(text, "utf-8")
        connection.execute(f'ALTER TABLE "{ODD}" ADD COLUMN "会社名" text; ALTER TABLE "{ODD}" ADD "full name" int')
        succeeded(postgres_url, postgres_url, ODD, rules)
        found = connection.execute("SELECT * FROM lake.crm_kokyaku_kanri_eigyo_shien_pakku")
        assert found.description is not None
        *known, last = [column.name for column in found.description]
        assert known == ["full_name", "denwa_bango", "id", "kaisha_mei"]
        assert last.startswith("full_name_") and found.fetchall() == [("山田", "03", 1, None, None)]
        after = file.read_text("utf-8")
        assert after.startswith(text.rstrip("\n")) and "# as the CRM calls it" in after
        succeeded(postgres_url, postgres_url, ODD, rules)
        assert file.read_text("utf-8") == after


def test_tables_of_one_source_with_one_reading_stay_apart_and_policies_are_not_mixed(suiro_home: Path) -> None:
    first = names_of("s", "橋", ["川"], NamePolicy.ASCII)
    second = names_of("s", "箸", ["皮", "川"], NamePolicy.ASCII)
    assert (first.table, second.table[:6]) == ("hashi", "hashi_") and second.columns["皮"] == "kawa"
    assert second.columns["川"].startswith("kawa_")
    assert names_of("other", "箸", [], NamePolicy.ASCII).table == "hashi"
    with pytest.raises(ConfigError, match="policy ascii"):
        names_of("s", "橋", ["川"], NamePolicy.SNAKE)


@pytest.mark.parametrize("text", ["columns: [", "just words", "table: 1\nsource: s", "source: s\ntable:\n", "\tx: 1"])
def test_a_file_of_names_that_can_t_be_read_is_named_and_left_alone(suiro_home: Path, text: str) -> None:
    file = names_of("s", "orders", ["id"], NamePolicy.SNAKE).file
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        names_of("s", "orders", ["id", "name"], NamePolicy.SNAKE)
    assert str(file) in refused.value.message and refused.value.hint and file.read_text() == text


def test_processes_that_propose_names_at_once_damage_nothing(suiro_home: Path) -> None:
    """Each adds columns of its own to one file; all of them are there in the end."""
    code = (
        "import sys\nfrom suiro.app.names import names_of\nfrom suiro.model.naming import NamePolicy\n"
        "for n in range(15):\n    names_of('s', 'orders', [f'c{sys.argv[1]} {n}'], NamePolicy.SNAKE)"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    wanted = [f"c{process} {n}" for process in range(3) for n in range(15)]
    before = names_of("s", "orders", [], NamePolicy.SNAKE).file.read_text()
    assert names_of("s", "orders", wanted, NamePolicy.SNAKE).columns == {w: w.replace(" ", "_") for w in wanted}
    assert names_of("s", "orders", [], NamePolicy.SNAKE).file.read_text() == before


# -- a table of the user's own -----------------------------------------------------------------------------------------

_EXISTING = {
    "postgres": (
        "CREATE TABLE regions (r text PRIMARY KEY); INSERT INTO regions VALUES ('jp');"
        "CREATE TABLE mine (nr smallint PRIMARY KEY, total int NOT NULL, region text NOT NULL DEFAULT 'jp' REFERENCES "
        "regions, name varchar(5)); CREATE VIEW v AS SELECT * FROM mine; INSERT INTO mine VALUES (9, 9, 'jp', 'old')"
    ),
    "duckdb": (
        "CREATE TABLE regions (r text PRIMARY KEY); INSERT INTO regions VALUES ('jp');"
        "CREATE TABLE mine (nr smallint PRIMARY KEY, total int NOT NULL, region text NOT NULL DEFAULT 'jp' REFERENCES "
        "regions, name varchar); INSERT INTO mine VALUES (9, 9, 'jp', 'old')"
    ),
    "mysql": (
        "CREATE TABLE regions (r varchar(9) PRIMARY KEY); INSERT INTO regions VALUES ('jp');"
        "CREATE TABLE mine (nr smallint PRIMARY KEY, total int NOT NULL, region varchar(9) NOT NULL DEFAULT 'jp', name "
        "varchar(5), FOREIGN KEY (region) REFERENCES regions (r)); INSERT INTO mine VALUES (9, 9, 'jp', 'old')"
    ),
    "sqlite": (
        "CREATE TABLE regions (r text PRIMARY KEY); INSERT INTO regions VALUES ('jp');"
        "CREATE TABLE mine (nr INTEGER PRIMARY KEY, total INT NOT NULL, region TEXT NOT NULL DEFAULT 'jp' REFERENCES "
        "regions, name TEXT); INSERT INTO mine VALUES (9, 9, 'jp', 'old')"
    ),
}


class Mine:
    """A destination with the user's table `mine`."""

    def __init__(self, kind: str, url: str, path: Path, server: MariaDBServer | None = None) -> None:
        self.kind, self.url, self._path, self._server = kind, url, path, server
        self.run(_EXISTING[kind])

    def run(self, sql: str) -> None:
        match self.kind:
            case "postgres":
                with psycopg.connect(self.url) as connection:
                    connection.execute(sql.encode())
            case "duckdb":
                with duckdb.connect(str(self._path)) as db:
                    db.execute(sql)
            case "mysql":
                for statement in filter(str.strip, sql.split(";")):
                    self._mysql(statement)
            case _:
                with sqlite3.connect(self._path) as lite:
                    lite.executescript(sql)
                lite.close()

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        match self.kind:
            case "postgres":
                with psycopg.connect(self.url) as connection:
                    return connection.execute(sql.encode()).fetchall()
            case "duckdb":
                with duckdb.connect(str(self._path)) as db:
                    return db.execute(sql).fetchall()
            case "mysql":
                return self._mysql(sql)
            case _:
                with sqlite3.connect(self._path) as lite:
                    rows = lite.execute(sql).fetchall()
                lite.close()
                return rows

    def _mysql(self, sql: str) -> list[tuple[Any, ...]]:
        assert self._server is not None
        with self._server.connect(database_of(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            connection.commit()
            return list(cursor.fetchall())

    def shape(self) -> list[tuple[Any, ...]]:
        """What the catalogue says of the table: its identity, columns, types and defaults."""
        return self.ask(
            {
                "postgres": "SELECT attrelid::int8, attname, atttypid::int8, atttypmod, attnotnull FROM pg_attribute "
                "WHERE attrelid = 'mine'::regclass ORDER BY attnum",
                "duckdb": "SELECT sql FROM duckdb_tables() WHERE table_name = 'mine'",
                "mysql": "SELECT t.CREATE_TIME, c.COLUMN_NAME, c.COLUMN_TYPE, c.COLUMN_DEFAULT FROM "
                "information_schema.TABLES t JOIN information_schema.COLUMNS c USING (TABLE_SCHEMA, TABLE_NAME) WHERE "
                "TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'mine' ORDER BY ORDINAL_POSITION",
                "sqlite": "SELECT sql, rootpage FROM sqlite_master WHERE name = 'mine'",
            }[self.kind]
        )


@pytest.fixture(params=_EXISTING)
def mine(request: pytest.FixtureRequest, tmp_path: Path) -> Mine:
    """Each kind of destination in turn."""
    if request.param == "postgres":
        return Mine("postgres", request.getfixturevalue("postgres_url"), tmp_path)
    if request.param == "mysql":
        server = request.getfixturevalue("mariadb")
        return Mine("mysql", request.getfixturevalue("mariadb_url"), tmp_path, server)
    path = tmp_path / f"mine.{request.param}"
    return Mine(request.param, f"{request.param}://{path}", path)


@pytest.fixture
def orders(tmp_path: Path) -> str:
    """Orders in a file of DuckDB: exact decimals, long names."""
    with duckdb.connect(str(tmp_path / "orders.duckdb")) as db:
        db.execute("CREATE TABLE orders (id int PRIMARY KEY, total decimal(12,2), name text)")
        db.execute("INSERT INTO orders VALUES (1, 10.00, 'ann'), (2, 20.00, 'bo')")
    return f"duckdb://{tmp_path}/orders.duckdb"


LOADED: dict[str, Any] = {"table": "mine", "existing": True, "columns": {"id": "nr", "total": "total", "name": "name"}}
ALL = "SELECT nr, total, region, name FROM mine ORDER BY nr"


@pytest.mark.parametrize("write", [WriteMode.REPLACE, WriteMode.APPEND, WriteMode.MERGE])
def test_a_table_of_the_user_s_is_loaded_and_stays_as_it_is(mine: Mine, orders: str, write: WriteMode) -> None:
    before = mine.shape()
    assert planned(orders, mine.url, "orders", **LOADED, write=write)["misfits"] == []
    succeeded(orders, mine.url, "orders", **LOADED, write=write)
    succeeded(orders, mine.url, "orders", **LOADED, write=WriteMode.MERGE)
    old = [] if write is WriteMode.REPLACE else [(9, 9, "jp", "old")]
    assert mine.ask(ALL) == [(1, 10, "jp", "ann"), (2, 20, "jp", "bo"), *old]
    assert mine.shape() == before


def test_a_value_that_doesn_t_fit_stops_the_run_or_is_rejected_and_is_never_rounded(mine: Mine, orders: str) -> None:
    with duckdb.connect(orders.removeprefix("duckdb://")) as db:
        db.execute("INSERT INTO orders VALUES (3, 30.50, 'cy')")
    done = carried(orders, mine.url, "orders", **LOADED, write=WriteMode.MERGE)
    assert done.error is not None and "total" in done.error.message and "30.5" not in done.error.message
    assert mine.ask(ALL) == [(9, 9, "jp", "old")]
    done = carried(orders, mine.url, "orders", **LOADED, write=WriteMode.MERGE, most_rejected=5)
    assert done.error is None and done.rows_rejected == 1
    assert mine.ask(ALL) == [(1, 10, "jp", "ann"), (2, 20, "jp", "bo"), (9, 9, "jp", "old")]


def test_all_that_doesn_t_fit_is_listed_before_anything_is_read(mine: Mine, orders: str) -> None:
    mine.run("DROP VIEW v" if mine.kind == "postgres" else "SELECT 1")
    mine.run("DROP TABLE mine")
    mine.run("CREATE TABLE mine (nr INTEGER PRIMARY KEY, total DATE, must INTEGER NOT NULL, may INTEGER)")
    options = {"table": "mine", "existing": True, "columns": {"id": "nr", "total": "total", "name": "name"}}
    wrong = planned(orders, mine.url, "orders", **options)["misfits"]
    assert "Column total is date" in wrong[0] and "no column name" in wrong[1]
    assert "Column must must have a value" in wrong[2]
    done = carried(orders, mine.url, "orders", **options)
    assert done.error is not None and done.rows_read == 0
    assert all(sentence in done.error.message for sentence in wrong)


def test_a_table_that_isn_t_there_and_columns_that_are_generated_are_misfits(postgres_url: str, orders: str) -> None:
    assert planned(orders, postgres_url, "orders", existing=True)["misfits"] == ["There is no table orders."]
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE VIEW v AS SELECT 1 AS id")
    with pytest.raises(ConfigError, match="v is no table but a view"):
        planned(orders, postgres_url, "orders", existing=True, table="v")
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, total numeric, name varchar(2), "
            "twice numeric GENERATED ALWAYS AS (total * 2) STORED, nr int GENERATED BY DEFAULT AS IDENTITY NOT NULL)"
        )
    plan = planned(orders, postgres_url, "orders", existing=True)
    assert plan["misfits"] == ["Column id is generated by the database: drop it."]
    masks = masks_of("name=truncate:2")
    succeeded(orders, postgres_url, "orders", existing=True, drop=("id",), masks=masks)
    with psycopg.connect(postgres_url) as connection:
        found = connection.execute("SELECT total::text, name, twice::text FROM orders ORDER BY 1").fetchall()
    assert found == [("10.00", "an", "20.00"), ("20.00", "bo", "40.00")]


# -- the command line --------------------------------------------------------------------------------------------------


def test_the_command_line_maps_masks_and_plans(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    warehouse: Callable[[str], list[tuple[Any, ...]]],
) -> None:
    source = _sqlite(request, tmp_path)
    monkeypatch.setenv("MASKS", SECRET)
    asked = ["copy", source, "warehouse", "--stream", "people", "--set", "kind='person'", "--set", "both=name || id"]
    asked += ["--type", "id=bigint", "--drop", "note", "--mask", "email=hash,phone=mask:4", "--mask-key", "env:MASKS"]
    asked += ["--names", "snake", "--prefix", "crm_", "--schema", "lake"]
    code, out, _ = _run(capsys, monkeypatch, *asked, "--plan")
    assert code == 0 and "masked: hash" in out and "masked: mask:4" in out and "names are kept in" in out
    assert SECRET not in out
    code, out, _ = _run(capsys, monkeypatch, *asked, "--json")
    assert code == 0 and SECRET not in out and json.loads(out)["status"] == "succeeded"
    rows = warehouse('SELECT id, email, phone, kind, "both" FROM lake.crm_people ORDER BY id')
    assert rows == [(1, hash_of("ann@x.org"), "*********5678", "person", "Ann1"), (2, None, None, "person", "Bo2")]
    code, out, _ = _run(capsys, monkeypatch, "copy", source, "warehouse", "--stream", "people", "--existing", "--plan")
    assert code == 1 and "doesn't fit: There is no table people." in out
    for wrong in (["--set", "x"], ["--mask", "a"], ["--mask", "a=b"], ["--drop", ","], ["--mask-key", SECRET]):
        code, _, err = _run(capsys, monkeypatch, "copy", source, "warehouse", "--stream", "people", *wrong)
        assert code == 2 and SECRET not in err


def _run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["suiro", *arguments])
    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except SuiroError as error:  # pragma: no cover - main turns all of them into exit codes
        raise AssertionError(error.message) from error
    said = capsys.readouterr()
    return code, said.out, said.err
