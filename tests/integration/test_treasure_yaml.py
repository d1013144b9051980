"""What a load.yml needs, said in the YAML of any job: names, times that are added, declared columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from shell import Shell

TASK = """\
      - stream: users
        most_rejected: 50%
        rename: {id: user_id}
        add_time: {time: {column: at, to: sec}, loaded: {}, day: {value: "2026-01-31T00:00:00+09:00", to: milli}}
"""


def write(folder: Path, task: str = TASK) -> str:
    (folder / "users-1.csv").write_text("id;name;at\n1;a;2026/01/31\n2;b;2026/02/31\n3;;2026/03/31\n")
    columns = (
        '[{name: id, type: long}, {name: name}, {name: at, type: timestamp, format: "%Y/%m/%d", timezone: Asia/Tokyo}]'
    )
    (folder / "job.yaml").write_text(
        f"connections:\n  drop: {{type: files, location: {folder}/users-*.csv, columns: {columns}}}\n"
        f"jobs:\n  users:\n    source: drop\n    destination: warehouse\n    tasks:\n{task}"
    )
    return str(folder / "job.yaml")


def ask(home: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home / "warehouse.duckdb")) as db:
        return db.sql(sql).fetchall()


def test_a_job_renames_adds_times_and_declares_columns(suiro: Shell, tmp_path: Path, suiro_home: Path) -> None:
    applied = suiro("apply", write(tmp_path))
    assert applied.code == 0, applied.err
    done = suiro("run", "users", "--json")
    assert done.code == 3, done.out
    assert ask(
        suiro_home, "SELECT user_id, name, time, day, loaded > TIMESTAMPTZ '2026-01-01' FROM users ORDER BY 1"
    ) == [
        (1, "a", 1769785200, 1769785200000, True),
        (3, None, 1774882800, 1769785200000, True),
    ]
    ((column, row),) = ask(suiro_home, "SELECT column_name, row FROM _suiro_rejected")
    assert column == "at" and "2026/02/31" in row
    again = suiro("retry", done.json["run"], "--rejected", "--json")
    assert again.json["tasks"][0]["rows_written"] == 0
    assert ask(suiro_home, "SELECT count(*) FROM users") == [(2,)]
    (tmp_path / "out.yaml").write_text(suiro("export").out)
    assert "Everything is as the files say" in suiro("apply", str(tmp_path / "out.yaml"), "--plan").err


def test_what_cannot_be_is_refused(suiro: Shell, tmp_path: Path) -> None:
    for task, words in (
        (TASK.replace("id: user_id", "ID: user_id"), "users has no column ID"),
        (TASK.replace("{column: at, to: sec}", "{column: name, to: sec}"), "name, which is string and not a long"),
        (TASK.replace("{column: at, to: sec}", "{column: att}"), "made from att, which is no column"),
        (TASK.replace("loaded: {}", "user_id: {}"), "two columns are to be called user_id"),
    ):
        assert suiro("apply", write(tmp_path, task)).code == 0
        said = suiro("run", "users")
        assert said.code == 2 and words in said.err, said.err
    for task, words in (
        (TASK.replace("loaded: {}", "loaded: {vlaue: 1}"), "Did you mean value?"),
        (TASK.replace("loaded: {}", "loaded: {until: '2026-01-01'}"), "until has its place beside value"),
        (TASK.replace("loaded: {}", "loaded: {value: soon}"), "'soon' is no time"),
    ):
        said = suiro("apply", write(tmp_path, task))
        assert said.code == 2 and words in said.err, said.err


def test_declared_columns_in_a_uri_and_files_left_out(suiro: Shell, tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "users-2.csv").write_text("x;y;z\n")
    columns = '[{"name":"a"},{"name":"b"},{"name":"c"}]'
    uri = f"file://{tmp_path}/users-*.csv?columns={columns}&header=no&start_after={tmp_path}/users-1.csv"
    assert suiro("preview", uri, "users", "--json").json == [{"a": "x", "b": "y", "c": "z"}]
    wrong = suiro("preview", uri.replace('"a"', '"b"'), "users")
    assert wrong.code == 2 and "two columns have one name" in wrong.err
