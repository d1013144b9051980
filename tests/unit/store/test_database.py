"""Tests of the metadata database: opening, migrating, refusing, and what its columns keep."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError

from suiro.model.errors import AuthError, ConfigError, ConnectionLost, InternalError, SuiroError, TransientError
from suiro.store import migrations, sqlite
from suiro.store.columns import Plain, plain
from suiro.store.database import Database, open_database
from suiro.store.systems import sqlite_url
from suiro.store.tables import job, metadata, task

OPEN = """
import sys
from suiro.store.database import open_database
sys.stdin.readline()
open_database(sys.argv[1]).close()
print("alembic" in sys.modules)
"""


def schema(database: Database) -> dict[str, Any]:
    """All that a system tells of its tables, in words."""
    with database.read() as connection:
        seen = inspect(connection)
        sqlite = database.engine.dialect.name == "sqlite"
        partial = (
            "SELECT tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
            if sqlite
            else ("SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = current_schema()")
        )
        conditions: dict[str, list[str]] = {}
        for table, definition in connection.execute(text(partial)):
            conditions.setdefault(table, []).append(definition)
        return {
            table: str(
                [
                    [(c["name"], str(c["type"]), c["nullable"]) for c in seen.get_columns(table)],
                    sorted(re.sub(r"<[^<]*TextClause[^>]*>", "", str(index)) for index in seen.get_indexes(table)),
                    sorted(conditions.get(table, ())),
                    sorted(map(str, seen.get_foreign_keys(table))),
                    sorted(map(str, seen.get_unique_constraints(table))),
                    sorted(c["name"] or "" for c in seen.get_check_constraints(table)),
                    seen.get_pk_constraint(table),
                ]
            )
            for table in seen.get_table_names()
        }


def new_job(id: str) -> dict[str, Any]:
    at = datetime.now(UTC)
    return {
        "id": id,
        "name": id,
        "source": "a",
        "destination": "b",
        "type": "standard",
        "settings": {},
        "version": 1,
        "created_at": at,
        "updated_at": at,
    }


def test_the_newest_revision_is_the_one_that_the_program_knows() -> None:
    config = Config()
    config.set_main_option("script_location", "suiro.store:migrations")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [migrations.HEAD]
    assert all(migrations.is_ours(script.revision) for script in scripts.walk_revisions())


def test_the_migrated_schema_is_that_of_the_tables(database: Database) -> None:
    with database.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_migrated_schema_has_what_alembic_does_not_compare(database: Database, database_url: str) -> None:
    """Checks, conditions of indexes: equal to those of tables that SQLAlchemy makes itself."""
    migrated = schema(database)
    with database.begin() as connection:
        migrations.downgrade(connection, "base")
        metadata.create_all(connection)
    made = schema(database)
    assert {name: made[name] for name in metadata.tables} == {name: migrated[name] for name in metadata.tables}


def test_down_to_nothing_and_up_again(database: Database) -> None:
    before = schema(database)
    with database.begin() as connection:
        migrations.downgrade(connection, "base")
    assert set(schema(database)) == {"alembic_version"}
    database.prepare()
    assert schema(database) == before


def test_a_migration_that_fails_leaves_nothing(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = migrations.upgrade

    def broken(connection: Connection) -> None:
        whole(connection)
        raise InternalError("of the test's making")

    monkeypatch.setattr(migrations, "upgrade", broken)
    with pytest.raises(InternalError):
        open_database(database_url)
    monkeypatch.undo()
    left = Database(database_url)
    assert schema(left) == {}
    left.prepare()
    assert "run" in schema(left)
    left.close()


def test_processes_that_open_at_once_find_it_ready_and_later_ones_need_no_alembic(database_url: str) -> None:
    openers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", OPEN, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for opener in openers:  # all have started; now they go
        assert opener.stdin is not None
        opener.stdin.write("go\n")
        opener.stdin.flush()
    ends = [(*opener.communicate(timeout=120), opener.returncode) for opener in openers]
    assert [(errors, code) for _, errors, code in ends] == [("", 0)] * 4
    assert "True\n" in {told for told, _, _ in ends}
    again = subprocess.run(
        [sys.executable, "-c", OPEN, database_url], input="go\n", capture_output=True, text=True, check=True
    )
    assert again.stdout == "False\n"


def test_a_schema_newer_than_the_program_is_refused(database: Database, database_url: str) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    said = f"newer Suiro: its schema is 9999, this program knows up to {migrations.HEAD}"
    with pytest.raises(ConfigError, match=said):
        open_database(database_url)


def test_a_database_of_another_program_is_refused(database_url: str) -> None:
    other = Database(database_url)
    with other.begin() as connection:
        connection.execute(text("CREATE TABLE job (id integer)"))
    with pytest.raises(ConfigError, match="tables of another program: job"):
        other.prepare()
    with other.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num varchar(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('4f2ba78c')"))
    with pytest.raises(ConfigError, match="another program's tables"):
        other.prepare()
    other.close()


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, and they are long enough to be read as a header" * 20)
    with pytest.raises(ConfigError, match=r"notes\.txt is no SQLite database"):
        open_database(sqlite_url(path))
    assert path.read_text().startswith("these are notes")


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        open_database(sqlite_url(tmp_path / "nowhere" / "suiro.db"))


@pytest.mark.parametrize("name", ["odd %41 #?&=;.db", "水路.db", "a'b\"c.db"])
def test_the_file_may_have_any_name_and_is_its_owners_alone(tmp_path: Path, name: str) -> None:
    open_database(sqlite_url(tmp_path / name)).close()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("url", ["mysql://u:pw@h/db", "suiro.db", "sqlite://", "sqlite:///:memory:", "sqlite:///"])
def test_other_addresses_are_refused_without_their_secrets(url: str) -> None:
    with pytest.raises(ConfigError, match="no metadata database can be at") as error:
        open_database(url)
    assert "pw" not in error.value.message


def test_a_broken_address_is_refused_without_its_secrets() -> None:
    with pytest.raises(ConfigError, match="no PostgreSQL address") as error:
        open_database("postgresql://user:pw%zz@host/db")
    assert "pw" not in error.value.message


def test_a_server_that_does_not_answer_is_told() -> None:
    with pytest.raises(ConnectionLost, match=r"can't reach the metadata database db at 127\.0\.0\.1:1: ") as error:
        open_database("postgresql://user:pw@127.0.0.1:1/db")
    assert "\n" not in error.value.message and "pw" not in error.value.message


def test_a_wrong_password_and_a_missing_database_are_told_apart(postgres_url: str) -> None:
    place = postgres_url.partition("@")[2]
    with pytest.raises(AuthError, match="password authentication failed") as error:
        open_database(f"postgresql://suiro_admin:wrong-pw@{place}")
    assert "wrong-pw" not in error.value.message
    with pytest.raises(ConfigError, match="there is no such database"):
        open_database(postgres_url.rpartition("/")[0] + "/nothing")


def test_a_server_that_ends_a_session_is_met_again_by_the_next_transaction(postgres_url: str) -> None:
    database, other = open_database(postgres_url), open_database(postgres_url)
    end_all = text(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pytest.raises(ConnectionLost), database.begin() as connection:
        with other.begin() as admin:
            admin.execute(end_all)
        connection.execute(text("SELECT 1"))
    with other.begin() as admin:
        admin.execute(end_all)
    with database.begin() as connection:
        assert connection.execute(text("SELECT 1")).scalar() == 1
    database.close()
    other.close()


def test_a_writer_waits_for_another_and_a_reader_for_nobody(database: Database) -> None:
    first_is_in, order = threading.Event(), []

    def second() -> None:
        first_is_in.wait()
        with database.begin() as connection:
            connection.execute(insert(job).values(new_job("second")))
        order.append("second")

    with ThreadPoolExecutor() as pool:
        with database.begin() as connection:
            connection.execute(insert(job).values(new_job("first")))
            done = pool.submit(second)
            first_is_in.set()
            with database.read() as reading:
                assert "first" not in reading.execute(select(job.c.id)).scalars().all()
            order.append("first")
        done.result()
    assert order[0] == "first" or database.engine.dialect.name == "postgresql"  # other rows: no need to wait there
    with database.read() as reading:
        assert set(reading.execute(select(job.c.id)).scalars()) == {"first", "second"}


def test_a_reader_sees_one_moment(database: Database) -> None:
    with database.read() as reading:
        assert reading.execute(select(job.c.id)).all() == []
        with database.begin() as connection:
            connection.execute(insert(job).values(new_job("late")))
        assert reading.execute(select(job.c.id)).all() == []


def test_a_database_that_another_program_holds_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAIT_SECONDS", 0.2)
    url = sqlite_url(tmp_path / "suiro.db")
    database, other = open_database(url), open_database(url)
    with database.begin(), pytest.raises(TransientError, match="busy"), other.begin():
        raise AssertionError("two writers at once")
    database.close()
    other.close()


def test_what_is_written_after_it_was_opened_once_more_is_not_lost(tmp_path: Path) -> None:
    """POSIX takes a file's locks away from a process that closes it anywhere; others would then take it for unused."""
    url = sqlite_url(tmp_path / "suiro.db")
    counts = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM t').fetchone()[0])"

    def seen_by_another_process() -> int:
        asked = [sys.executable, "-c", counts, tmp_path / "suiro.db"]
        return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)

    with closing(open_database(url)) as first:
        with first.begin() as writing:
            writing.execute(text("CREATE TABLE t (a)"))
        for number in range(1, 4):
            open_database(url).close()
            seen_by_another_process()
            with first.begin() as writing:
                writing.execute(text("INSERT INTO t VALUES (1)"))
            assert seen_by_another_process() == number


def test_foreign_keys_hold_again_after_opening(database: Database) -> None:
    row = {"job_id": "none", "name": "t", "ordinal": 0, "settings": {}, "generation": 0}
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(insert(task).values(**row, known_since=datetime.now(UTC)))


def test_times_come_back_as_the_same_moment_in_utc(database: Database) -> None:
    tokyo = timezone(timedelta(hours=9))
    at = datetime(2026, 11, 22, 8, 30, 0, 123456, tzinfo=tokyo)
    with database.begin() as connection:
        connection.execute(insert(job).values({**new_job("j"), "created_at": at}))
    with database.read() as connection:
        found = connection.execute(select(job.c.created_at)).scalar_one()
    assert found == at
    assert found.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    naive = datetime.now(UTC).replace(tzinfo=None)
    with pytest.raises(Exception, match="without a zone"), database.begin() as connection:
        connection.execute(insert(job).values({**new_job("j"), "created_at": naive}))


def plain_data() -> st.SearchStrategy[Any]:
    characters = st.text(st.characters())  # with NUL and halves of surrogate pairs
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | characters
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(characters, inner), max_leaves=10)


@given(plain_data())
def test_plain_data_is_kept_as_it_is(value: Any) -> None:
    column = Plain()
    dialect: Any = None
    stored = column.process_bind_param(value, dialect)
    found = column.process_result_value(stored, dialect)
    assert json.dumps(found) == json.dumps(value)
    assert stored is None or stored.isascii()


def test_plain_data_comes_back_from_the_database(database: Database) -> None:
    odd = {"水路": ["\0", "\ud800", 2**70, 0.1, -0.0, None, True], "": {"deep": [[]]}}
    with database.begin() as connection:
        connection.execute(insert(job).values({**new_job("j"), "settings": odd, "schedule": None}))
    with database.read() as connection:
        assert connection.execute(select(job.c.settings, job.c.schedule)).one() == (odd, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: "a"}, {"a": object()}, b"x", {"a": {1}}])
def test_what_json_would_change_is_refused(value: Any) -> None:
    with pytest.raises(SuiroError, match="no plain data"):
        plain(value)
