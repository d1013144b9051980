"""Tests of stored jobs: tasks keep their identity, changes come one by one, runs outlive their job."""

from __future__ import annotations

from typing import Any

import pytest

from suiro.model.errors import ConfigError, UserError
from suiro.store.database import Database
from suiro.store.jobs import Jobs, JobType, StoredJob, TaskDefinition
from suiro.store.runs import Runs, TaskToRun


def put(database: Database, *tasks: str, **changes: Any) -> StoredJob:
    definitions = [TaskDefinition(name=name, settings={"stream": name}) for name in tasks]
    given = {"name": "copy", "source": "crm", "destination": "warehouse", "tasks": definitions}
    return Jobs(database).put(**{**given, **changes})


def test_a_job_is_kept_as_it_was_given(database: Database) -> None:
    schedule = {"cron": "10 0 * * *", "timezone": "Asia/Tokyo"}
    stored = put(database, "b", "a", type=JobType.ALL, settings={"parallel": 2, "exclude": ["x*"]}, schedule=schedule)
    assert Jobs(database).get("copy") == stored
    assert (stored.source, stored.destination, stored.type) == ("crm", "warehouse", JobType.ALL)
    assert (stored.settings, stored.schedule) == ({"parallel": 2, "exclude": ["x*"]}, schedule)
    assert [(task.name, task.ordinal, task.settings, task.generation) for task in stored.tasks] == [
        ("b", 0, {"stream": "b"}, 0),
        ("a", 1, {"stream": "a"}, 0),
    ]
    assert {task.known_since for task in stored.tasks} == {stored.created_at}
    assert put(database, name="bare").schedule is None


def test_all_are_found_by_name_each_with_its_tasks(database: Database) -> None:
    put(database, "x", name="two")
    put(database, "y", "z", name="one")
    assert [(job.name, [task.name for task in job.tasks]) for job in Jobs(database).all()] == [
        ("one", ["y", "z"]),
        ("two", ["x"]),
    ]


def test_tasks_that_stay_keep_their_identity_and_generation(database: Database) -> None:
    a, b = put(database, "a", "b").tasks
    assert (Jobs(database).bump_generation("copy", "b"), Jobs(database).bump_generation("copy", "b")) == (1, 2)
    changed = put(database, "b", "c", "a", version=1, source="shop")
    assert [(task.id, task.name, task.ordinal, task.generation, task.known_since) for task in changed.tasks[::2]] == [
        (b.id, "b", 0, 2, b.known_since),
        (a.id, "a", 2, 0, a.known_since),
    ]
    assert changed.tasks[1].id not in (a.id, b.id)
    assert (changed.version, changed.source, changed.created_at) == (2, "shop", a.known_since)


def test_a_task_that_comes_back_is_the_same_with_its_history(database: Database) -> None:
    a, b = (one := put(database, "a", "b")).tasks
    runs = Runs(database)
    Jobs(database).bump_generation("copy", "b")
    runs.create("r", [TaskToRun(task="b", settings={}, source="x", destination="y")], trigger="user", job="copy")
    assert runs.save_position(one.id, "b", {"lsn": 7}, "r")
    without = put(database, "a", version=1)
    assert [task.id for task in without.tasks] == [a.id]
    assert runs.task_runs("r")[0].task_id == b.id
    again = put(database, "b", version=2)
    assert [(task.id, task.generation, task.known_since) for task in again.tasks] == [(b.id, 1, b.known_since)]
    position = runs.position("copy", "b")
    assert position is not None and position.position == {"lsn": 7}


def test_a_change_needs_the_version_seen_last(database: Database) -> None:
    put(database, "a")
    put(database, "a", version=1)
    with pytest.raises(UserError, match="job 'copy' was changed meanwhile"):
        put(database, "b", version=1)
    assert [task.name for task in Jobs(database).get("copy").tasks] == ["a"]


def test_wrong_names_are_told(database: Database) -> None:
    put(database, "a")
    with pytest.raises(ConfigError, match="there is a job 'copy' already"):
        put(database)
    with pytest.raises(ConfigError, match="the job 'two' has two tasks 'a'"):
        put(database, "a", "a", name="two")
    with pytest.raises(ConfigError, match="a task can't be called"):
        put(database, "a\n", name="two")
    with pytest.raises(ConfigError, match="there is no job 'cop'") as error:
        Jobs(database).get("cop")
    assert error.value.hint == "Did you mean copy?"
    for call in (Jobs(database).delete, lambda name: put(database, name=name, version=1)):
        with pytest.raises(ConfigError, match="there is no job 'two'"):
            call("two")
    with pytest.raises(ConfigError, match="the job 'copy' has no task 'b'"):
        Jobs(database).bump_generation("copy", "b")


def test_a_task_that_begins_anew_has_no_position(database: Database) -> None:
    stored = put(database, "a", "b")
    runs = Runs(database)
    for name in "ab":
        assert runs.save_position(stored.id, name, [name], "r")
    Jobs(database).bump_generation("copy", "a")
    assert runs.position("copy", "a") is None
    kept = runs.position("copy", "b")
    assert kept is not None and kept.position == ["b"]


def test_runs_stay_with_a_job_that_is_renamed_and_outlive_it(database: Database) -> None:
    jobs, runs = Jobs(database), Runs(database)
    stored = put(database, "a")
    tasks = [TaskToRun(task="a", settings={}, source="x", destination="y")]
    runs.create("first", tasks, trigger="user", job="copy")
    renamed = jobs.rename("copy", "carry")
    assert (renamed.id, renamed.version, renamed.tasks) == (stored.id, 2, stored.tasks)
    runs.create("second", tasks, trigger="user", job="carry")
    assert [(run.id, run.job) for run in runs.list(job="carry").runs] == [("second", "carry"), ("first", "copy")]
    assert runs.list(job="copy").runs == ()
    jobs.delete("carry")
    assert [(run.id, run.job_id) for run in runs.list(job="carry").runs] == [("second", None)]
    assert [(task.task, task.task_id) for task in runs.task_runs("first")] == [("a", None)]
    assert not runs.save_position(stored.id, "a", {}, "second")
    put(database, "a", name="carry")
    runs.create("third", tasks, trigger="user", job="carry")
    assert [run.id for run in runs.list(job="carry").runs] == ["third", "second"]


def test_a_taken_name_is_not_given_again(database: Database) -> None:
    put(database, "a")
    put(database, "a", name="other")
    with pytest.raises(ConfigError, match="there is a job 'copy' already"):
        Jobs(database).rename("other", "copy")
    assert Jobs(database).rename("other", "other").version == 2
