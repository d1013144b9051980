"""Tests of stored connections: kept as given, changed by one at a time, renamed everywhere, deleted when unused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from suiro.model.errors import ConfigError, UserError
from suiro.store.connections import Connections, StoredConnection, new_id
from suiro.store.database import Database
from suiro.store.jobs import Jobs
from suiro.store.runs import Runs, TaskToRun


def put(database: Database, name: str, **changes: Any) -> StoredConnection:
    given = {"id": new_id(), "connector": "postgres", "settings": {"port": 5432}, "secrets": {"password": "s1.x"}}
    return Connections(database).put(**{**given, "name": name, **changes})


def test_a_connection_is_kept_as_it_was_given(database: Database) -> None:
    stored = put(database, "接続", settings={"host": "h", "ports": [1, 2], "ssl": None})
    assert Connections(database).get("接続") == stored
    assert (stored.settings, stored.secrets) == ({"host": "h", "ports": [1, 2], "ssl": None}, {"password": "s1.x"})
    assert (stored.version, stored.created_at) == (1, stored.updated_at)
    assert "s1.x" not in repr(stored)


def test_all_are_found_by_name(database: Database) -> None:
    for name in ("b", "a", "C"):
        put(database, name)
    assert [found.name for found in Connections(database).all()] == ["C", "a", "b"]


def test_a_change_needs_the_version_seen_last(database: Database) -> None:
    first = put(database, "db")
    second = put(database, "db", id=first.id, settings={}, version=1)
    assert (second.version, second.settings, second.created_at) == (2, {}, first.created_at)
    assert second.updated_at > first.updated_at
    with pytest.raises(UserError, match=r"connection 'db' was changed meanwhile: .* version 1, the newest is 2"):
        put(database, "db", id=first.id, version=1)
    assert Connections(database).get("db") == second


def test_of_two_changes_at_once_one_is_refused(database: Database) -> None:
    first = put(database, "db")

    def change(port: int) -> str:
        try:
            put(database, "db", id=first.id, settings={"port": port}, version=1)
        except UserError:
            return "refused"
        return "done"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(change, range(4))) == ["done", "refused", "refused", "refused"]
    assert Connections(database).get("db").version == 2


def test_a_name_is_taken_once(database: Database) -> None:
    put(database, "db")
    other = put(database, "other")
    with pytest.raises(ConfigError, match="there is a connection 'db' already"):
        put(database, "db")
    with pytest.raises(ConfigError, match="there is a connection 'db' already"):
        Connections(database).rename("other", "db")
    assert Connections(database).get("other") == other


@pytest.mark.parametrize("name", ["", "  ", "a\0b", "a\nb", "\ud800"])
def test_a_name_that_cannot_be_seen_is_refused(database: Database, name: str) -> None:
    with pytest.raises(ConfigError, match="a connection can't be called"):
        put(database, name)


def test_an_unknown_name_is_told_with_names_like_it(database: Database) -> None:
    put(database, "warehouse")
    for call in (Connections(database).get, Connections(database).delete):
        with pytest.raises(ConfigError, match="there is no connection 'warehose'") as error:
            call("warehose")
        assert error.value.hint == "Did you mean warehouse?"


def test_what_was_deleted_meanwhile_is_not_changed(database: Database) -> None:
    first = put(database, "db")
    Connections(database).delete("db")
    with pytest.raises(ConfigError, match="the connection 'db' is gone"):
        put(database, "db", id=first.id, version=1)


def test_a_connection_that_jobs_use_stays_and_the_jobs_are_named(database: Database) -> None:
    put(database, "db")
    Jobs(database).put(name="out", source="db", destination="warehouse")
    Jobs(database).put(name="in", source="files", destination="db")
    with pytest.raises(UserError, match="connection 'db' is used by the jobs in, out"):
        Connections(database).delete("db")
    Jobs(database).delete("in")
    with pytest.raises(UserError, match="connection 'db' is used by the job out"):
        Connections(database).delete("db")
    Jobs(database).delete("out")
    Connections(database).delete("db")
    assert Connections(database).all() == ()


def test_a_new_name_reaches_jobs_and_what_is_still_to_do(database: Database) -> None:
    first = put(database, "db")
    jobs, runs = Jobs(database), Runs(database)
    jobs.put(name="out", source="db", destination="files")
    jobs.put(name="in", source="files", destination="db")
    runs.create("r", [TaskToRun(task=name, settings={}, source="db", destination="db") for name in "ab"], trigger="u")
    claimed = runs.claim("me", 60)
    assert claimed is not None
    renamed = Connections(database).rename("db", "store")
    assert (renamed.id, renamed.version, renamed.secrets) == (first.id, 2, first.secrets)
    assert (jobs.get("out").source, jobs.get("in").destination) == ("store", "store")
    assert [(task.source, task.destination) for task in runs.task_runs("r")] == [("store", "store")] * 2
    with pytest.raises(ConfigError):
        Connections(database).get("db")
