"""Files loaded as Treasure Data's commands load them: guess, preview, issue, and the job behind an issue."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from shell import Shell

USERS = (
    "id,name,created_at,price,active\n"
    '1,"a ""x""",2026-01-01 00:00:00,1.5,true\n'
    "2,日本,2026-01-02 12:34:56,2.25,false\n"
    '3,,2026-01-03 00:00:00,3,true\n4,"",2026-01-04 00:00:00,,\n'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file of users."""
    (tmp_path / "users-1.csv").write_text(USERS)
    return tmp_path


def seed(folder: Path, prefix: str = "users-", more: str = "") -> str:
    """A load.yml with nothing but the place of the files."""
    path = folder / "seed.yml"
    path.write_text(f"in:\n  type: file\n  path_prefix: {folder}/{prefix}\n{more}out:\n  mode: append\n")
    return str(path)


def guessed(suiro: Shell, folder: Path, prefix: str = "users-", more: str = "") -> Path:
    """The load.yml that guess makes of it."""
    out = folder / "load.yml"
    assert suiro("connector", "guess", seed(folder, prefix, more), "-o", str(out)).code == 0
    return out


def ask(home: Path, sql: str) -> list[tuple[Any, ...]]:
    """The embedded warehouse's answer."""
    with duckdb.connect(str(home / "warehouse.duckdb")) as db:
        return db.sql(sql).fetchall()


def issue(suiro: Shell, load: Path | str, *more: str) -> Any:
    """Issue a load into td_db.users."""
    return suiro("connector", "issue", str(load), "--database", "td_db", "--table", "users", *more)


def test_a_guess_completes_a_file_and_keeps_the_one_that_was_there(suiro: Shell, folder: Path) -> None:
    out = folder / "load.yml"
    out.write_text("old")
    said = suiro("connector", "guess", seed(folder), "-o", str(out))
    assert said.code == 0 and f"Created {out} file." in said.out and f"suiro connector preview {out}" in said.out
    assert (folder / "load.yml.0").read_text() == "old"
    text = out.read_text()
    for line in (
        "charset: UTF-8",
        "newline: LF",
        "delimiter: ','",
        "quote: '\"'",
        "escape: '\"'",
        "skip_header_lines: 1",
        "- {name: id, type: long}",
        "- {name: name, type: string}",
        "- {name: created_at, type: timestamp, format: '%Y-%m-%d %H:%M:%S'}",
        "- {name: price, type: double}",
        "- {name: active, type: boolean}",
        "type: add_time",
        "mode: append",
    ):
        assert line in text
    again = suiro("connector", "guess", str(out), "-o", str(folder / "again.json"))
    assert again.code == 0 and json.loads((folder / "again.json").read_text())["in"]["parser"]["type"] == "csv"


def test_a_guess_takes_what_is_said_and_finds_the_rest(suiro: Shell, folder: Path) -> None:
    (folder / "goods.tsv.gz").write_bytes(
        gzip.compress("番号;価格\n001;1.10\n002;12345678901234567890.5\n".encode("cp932"))
    )
    text = guessed(suiro, folder, "goods", "  parser: {type: csv, delimiter: ;}\n").read_text()
    for line in ("type: gzip", "charset: Windows-31J", "delimiter: ;", "{name: 番号, type: string}"):
        assert line in text
    assert "{name: 価格, type: string}" in text  # more digits than a double keeps
    said = suiro("connector", "guess", seed(folder, "goods"), "-g", "ltsv")
    assert said.code == 2 and "there is no parser ltsv to guess" in said.err
    said = suiro("connector", "guess", seed(folder, "none-"))
    assert said.code == 2 and "no file begins with" in said.err


def test_a_preview_prints_heads_with_types_and_changes_nothing(suiro: Shell, folder: Path, suiro_home: Path) -> None:
    load = guessed(suiro, folder)
    said = suiro("connector", "preview", str(load), "-n", "3")
    assert said.code == 0
    head = said.out.splitlines()[1]
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        "id:long",
        "name:string",
        "created_at:timestamp",
        "price:double",
        "active:boolean",
        "time:timestamp",
    ]
    assert '| 1       | "a \\"x\\""   | "2026-01-01 00:00:00.000000 UTC" | 1.5 ' in said.out
    assert '"日本"' in said.out and "| nil " in said.out and "3 rows in set" in said.out
    rows = suiro("connector", "preview", str(load), "--json").json
    assert [row["id:long"] for row in rows] == [1, 2, 3, 4]
    assert suiro("connector", "preview", str(load), "-f", "csv").out.startswith("id:long,name:string,")
    assert not (suiro_home / "warehouse.duckdb").exists()
    assert suiro("runs", "--json").json == []


def test_an_issue_needs_its_table_or_makes_it(suiro: Shell, folder: Path, suiro_home: Path) -> None:
    load = guessed(suiro, folder)
    refused = issue(suiro, load, "--time-column", "created_at")
    assert refused.code == 2
    assert "there is no table users in the database td_db of warehouse" in refused.err
    assert "--auto-create-table" in refused.err
    assert suiro("runs", "--json").json == []
    done = issue(suiro, load, "--time-column", "created_at", "--auto-create-table")
    assert done.code == 0, done.err
    first, second, _ = done.out.splitlines()
    job = first.split()[1]
    assert first == f"Job {job} is queued." and second == f"Use 'suiro td job {job}' to show the status."
    assert ask(suiro_home, "SELECT id, name, price, active, time FROM td_db.users ORDER BY id") == [
        (1, 'a "x"', 1.5, True, 1767225600),
        (2, "日本", 2.25, False, 1767357296),
        (3, None, 3.0, True, 1767398400),
        (4, "", None, None, 1767484800),
    ]
    shown = suiro("td", "job", job).out
    for line in ("Status    : success", "Database  : td_db", "Table     : users", "Records   : 4", "Rejected  : 0"):
        assert line in shown
    assert "Result    : equal, 4 rows against 4 (sums)" in shown
    assert suiro("td", "job", job, "--json").json["records"] == 4
    assert issue(suiro, load).code == 0  # appended again, for now the table is there
    assert ask(suiro_home, "SELECT count(*) FROM td_db.users") == [(8,)]
    unknown = suiro("td", "job", "20200101T000000-000000")
    assert unknown.code == 2 and "there is no run" in unknown.err


def test_rows_that_do_not_fit_are_kept_apart_or_stop_the_load(suiro: Shell, folder: Path, suiro_home: Path) -> None:
    load = guessed(suiro, folder)
    with (folder / "users-1.csv").open("a") as file:
        file.write("five,e,2026-01-05 00:00:00,1,true\n6,f,2026-02-30 00:00:00,1,true\n7,g,2026-01-07 00:00:00,1\n8,h")
        file.write(",2026-01-08 00:00:00,1,maybe\n9,i,2026-01-09 00:00:00,1,yes\n")
    done = issue(suiro, load, "--auto-create-table", "--time-column", "created_at")
    assert done.code == 3 and "Status     : warning" in done.out
    assert ask(suiro_home, "SELECT list(id ORDER BY id) FROM td_db.users") == [([1, 2, 3, 4, 9],)]
    kept = ask(suiro_home, "SELECT column_name, reason FROM td_db._suiro_rejected ORDER BY reason")
    assert kept == [
        (None, "users-1.csv, row 8: 4 values where there are 5 columns"),
        ("active", "users-1.csv: column active holds something that is no boolean"),
        ("created_at", "users-1.csv: column created_at holds something that is no timestamp"),
        ("id", "users-1.csv: column id holds something that is no long"),
    ]
    load.write_text(load.read_text().replace("mode: append", "mode: append\n  stop_on_invalid_record: true"))
    stopped = issue(suiro, load)
    assert stopped.code == 1 and "users-1.csv" in stopped.err
    assert ask(suiro_home, "SELECT count(*) FROM td_db.users") == [(5,)]


def test_json_lines_are_read_in_the_types_that_are_declared(suiro: Shell, folder: Path, suiro_home: Path) -> None:
    lines = [
        {"id": 1, "at": 1767225600, "tags": ["a", "b"], "name": "x"},
        {"id": "2", "at": 1767225601, "tags": {"k": 1.10}, "name": 5},
        {"id": 2.5, "at": 1767225602},
        {"id": 4, "at": 1767225603, "name": None},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + "\n{broken\n"
    (folder / "events.jsonl").write_text(text)
    load = folder / "load.yml"
    load.write_text(
        f"in:\n  type: file\n  path_prefix: {folder}/events\n  parser:\n    type: jsonl\n    columns:\n"
        "    - {name: id, type: long}\n    - {name: at, type: long}\n    - {name: tags, type: json}\n"
        "    - {name: name, type: string}\n"
    )
    done = issue(suiro, load, "--auto-create-table", "--time-column", "at")
    assert done.code == 3
    assert ask(suiro_home, "SELECT id, name, tags, time FROM td_db.users ORDER BY id") == [
        (1, "x", '["a", "b"]', 1767225600),
        (2, "5", '{"k": 1.1}', 1767225601),
        (4, None, None, 1767225603),
    ]
    kept = [row[0] for row in ask(suiro_home, "SELECT reason FROM td_db._suiro_rejected ORDER BY reason")]
    assert kept == ["events.jsonl, line 5: not JSON", "events.jsonl: column id holds something that is no long"]


def test_a_time_column_is_a_long_or_a_timestamp_or_the_first_such_or_the_load_time(
    suiro: Shell, folder: Path, suiro_home: Path
) -> None:
    load = guessed(suiro, folder)
    for column, kind in (("name", "string"), ("price", "double")):
        said = issue(suiro, load, "--time-column", column, "--auto-create-table")
        assert said.code == 2
        assert f"column {column} is a {kind}, and time is taken from a long or a timestamp" in said.err
    missing = issue(suiro, load, "--time-column", "craeted_at", "--auto-create-table")
    assert missing.code == 2 and "Did you mean created_at?" in missing.err
    load.write_text(load.read_text().split("filters:")[0])
    first = issue(suiro, load, "--auto-create-table")
    assert "time is taken from id, the first long or timestamp" in first.err
    assert ask(suiro_home, "SELECT list(time ORDER BY id) FROM td_db.users") == [([1, 2, 3, 4],)]
    text = load.read_text()
    load.write_text(
        text.replace("{name: id, type: long}", "{name: id, type: string}").replace(
            "{name: created_at, type: timestamp, format: '%Y-%m-%d %H:%M:%S'}", "{name: created_at, type: string}"
        )
    )
    none = suiro("connector", "issue", str(load), "--database", "td_db", "--table", "texts", "--auto-create-table")
    assert none.code == 0 and "No column is a long or a timestamp: time is the time of the load." in none.err
    ((least, most),) = ask(suiro_home, "SELECT min(time), max(time) FROM td_db.texts")
    assert least == most > 1767225600


def test_the_storage_zone_is_its_own_setting(suiro: Shell, folder: Path, suiro_home: Path) -> None:
    load = guessed(suiro, folder)
    text = load.read_text().split("filters:")[0]
    tokyo = text.replace("'%Y-%m-%d %H:%M:%S'", "'%Y-%m-%d %H:%M:%S', timezone: Asia/Tokyo")
    load.write_text(tokyo)
    issue(suiro, load, "--auto-create-table", "--time-column", "created_at")
    assert ask(suiro_home, "SELECT min(time) FROM td_db.users") == [(1767225600 - 9 * 3600,)]
    load.write_text(text.replace("mode: append", "mode: append\n  default_timezone: PST"))
    wrong = issue(suiro, load)
    assert wrong.code == 2 and "out.default_timezone" in wrong.err and "'PST' is no time zone" in wrong.err


def test_filters_rename_choose_and_add(suiro: Shell, folder: Path) -> None:
    load = guessed(suiro, folder)
    text = load.read_text().split("filters:")[0]

    def heads(filters: str) -> list[str]:
        load.write_text(f"{text}filters:\n{filters}")
        said = suiro("connector", "preview", str(load), "-n", "1", "--json")
        assert said.code == 0, said.err
        return list(said.json[0])

    assert heads("- {type: rename, columns: {id: user_id}, rules: [{rule: lower_to_upper}]}\n")[:2] == [
        "USER_ID:long",
        "NAME:string",
    ]
    assert heads("- {type: remove_columns, keep: [id, price]}\n") == ["id:long", "price:double"]
    assert heads("- {type: remove_columns, remove: [id, none], accept_unmatched_columns: true}\n")[0] == "name:string"
    assert heads("- {type: column, columns: [{name: n, src: name}, {name: id}]}\n") == ["n:string", "id:long"]
    assert heads("- {type: column, drop_columns: [{name: name}, {name: price}, {name: active}]}\n") == [
        "id:long",
        "created_at:timestamp",
    ]
    added = (
        "- {type: add_time, to_column: {name: created_at, type: long}, "
        "from_value: {value: '2026-01-01 00:00:00 UTC'}}\n"
    )
    assert heads(added)[-1] == "created_at:long" and "created_at_:timestamp" in heads(added)
    shown = suiro("connector", "preview", str(load), "-n", "1", "--json").json[0]
    assert shown["created_at:long"] == 1767225600
    counted = (
        "- {type: add_time, to_column: {name: t, type: long, unix_timestamp_unit: milli}, from_value: "
        "{mode: incremental_time, from: '2026-01-01 00:00:00 UTC', to: '2026-01-01 00:00:02 UTC'}}\n"
    )
    heads(counted)
    rows = suiro("connector", "preview", str(load), "--json").json
    start = 1767225600000
    assert [row["t:long"] for row in rows] == [start, start + 1000, start + 2000, start]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("path_prefix", "path_prefx", ["line 3", "in.path_prefx", "Did you mean path_prefix?"]),
        ("mode: append", "mod: append", ["out.mod", "Did you mean mode?"]),
        ("mode: append", "mode: upsert", ["out.mode", "there is no mode upsert", "merge"]),
        ("mode: append", "type: bigquery", ["out.type", "bigquery", "--destination"]),
        ("type: csv", "type: avro", ["in.parser.type", "there is no parser avro"]),
        ("charset: UTF-8", "charset: EBCDIC9", ["in.parser.charset", "EBCDIC9"]),
        ("allow_extra_columns: false", "allow_extra_columns: true", ["in.parser.allow_extra_columns", "rejected"]),
        ("trim_if_not_quoted: false", "trim_if_not_quoted: true", ["in.parser.trim_if_not_quoted"]),
        ("type: double", "type: float", ["in.parser.columns.3.type"]),
        ("%H:%M:%S'", "%H:%M:%K'", ["in.parser.columns.2", "unknown directive %K"]),
        ("type: add_time", "type: add_tme", ["filters.0.type", "there is no filter add_tme"]),
        ("out:", "outt:", ["there is no key 'outt'", "Did you mean out?"]),
        ("mode: append", "mode: append\n  merge_keys: [id]", ["out.merge_keys", "mode: merge"]),
    ],
)
def test_what_a_load_yml_cannot_say_is_told_with_its_line_and_key(
    suiro: Shell, folder: Path, old: str, new: str, words: list[str]
) -> None:
    load = guessed(suiro, folder)
    assert old in load.read_text()
    load.write_text(load.read_text().replace(old, new))
    said = issue(suiro, load, "--auto-create-table")
    assert said.code == 2, said.err
    for word in [str(load), "line ", *words]:
        assert word in said.err, said.err
    assert suiro("runs", "--json").json == []


def test_what_changes_nothing_is_said(suiro: Shell, folder: Path) -> None:
    load = guessed(suiro, folder)
    load.write_text(load.read_text().replace("exec: {}", "exec: {max_threads: 8}"))
    assert (
        "exec.max_threads changes nothing: a task is carried by one process"
        in suiro("connector", "preview", str(load)).err
    )


def test_an_escape_of_another_kind_is_refused_where_it_stands(suiro: Shell, folder: Path) -> None:
    load = guessed(suiro, folder)
    load.write_text(load.read_text().replace("escape: '\"'", "escape: '\\'"))
    assert issue(suiro, load, "--auto-create-table").code == 0
    (folder / "users-1.csv").write_text(USERS + '5,"a \\"b\\"",2026-01-05 00:00:00,1,true\n')
    said = issue(suiro, load)
    assert said.code == 1 and "a quote or itself is meant as an escape" in said.err


def test_folders_are_not_left_out_in_silence(suiro: Shell, folder: Path) -> None:
    load = guessed(suiro, folder)
    (folder / "users-old").mkdir()
    said = issue(suiro, load, "--auto-create-table")
    assert said.code == 2 and "users-old is a folder that begins so" in said.err
