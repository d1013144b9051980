"""Files whose names tell their stream: names read from both ends, dates in them, a first line that is no row."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from clevertap_calls import Project, open_project
from shell import Shell
from suiro.toolkit.files.names import name_pattern

NAMES = "{}-{}-{stream}-{date}-{}-{}.csv.gz"
TODAY = "1663664837-1663785000-Order-Placed-20220921-0-0"


def export(folder: Path, name: str, text: str = "identity,amount\na,1\n") -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(gzip.compress(text.encode(), mtime=0))


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    with open_project() as one:
        yield one


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        (f"{TODAY}.csv.gz", "Order-Placed"),
        ("1-2-Charged-20220921-0-0.csv.gz", "Charged"),
        ("1-2-2024-Sale-20220921-10-1.csv.gz", "2024-Sale"),  # digits at its beginning
        ("1-2-Sale-20240101-20220921-0-0.csv.gz", "Sale-20240101"),  # another date in it
        ("1-2-v2.0-20220921-0-0.csv.gz", "v2.0"),
        ("1-2-20220921-0-0.csv.gz", None),  # no event
        ("1-2-Charged-2022-0-0.csv.gz", None),
        ("1-2-Charged-20220921-0-0.csv", None),
        ("notes.txt", None),
    ],
)
def test_names_are_read_from_both_ends(name: str, stream: str | None) -> None:
    found = name_pattern(NAMES).fullmatch(name)
    assert (found["stream"] if found else None) == stream


def test_each_event_is_a_stream_and_other_files_are_passed_over(suiro: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in (
        TODAY,
        "1-2-Order-Placed-20220922-0-0",
        "1-2-Pre-Order-Placed-20220922-0-0",
        "1-2-Charged-20220922-0-0",
    ):
        export(folder, f"{name}.csv.gz")
    (folder / "manifest.json").write_text("{}")
    listed = suiro("streams", f"file://{folder}/?file_names={quote(NAMES)}", "--json").json
    assert {one["name"] for one in listed} == {"Order-Placed", "Pre-Order-Placed", "Charged"}
    by_wildcard = suiro("streams", f"file://{folder}/*-202209*.csv.gz?file_names={quote(NAMES)}", "--json").json
    assert len(by_wildcard) == 3


def test_the_date_in_a_name_becomes_a_column(suiro: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for day in ("20220921", "20220922"):
        export(folder, f"1-2-Charged-{day}-0-0.csv.gz")
    uri = f"file://{folder}/?file_names={quote(NAMES)}&file_date_column=day&file_name_column=file"
    assert suiro("copy", uri, "warehouse", "--all").code == 0
    said = suiro("sql", "warehouse", "SELECT day, file FROM Charged ORDER BY day", "--json").json
    assert [(row["day"], row["file"]) for row in said] == [
        ("2022-09-21", "1-2-Charged-20220921-0-0.csv.gz"), ("2022-09-22", "1-2-Charged-20220922-0-0.csv.gz"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (f"file_names={quote('{}-{}.csv')}", "must hold {stream} once"),
        (f"file_names={quote('{stream}-{what}.csv')}", "{what} is none of"),
        (f"file_names={quote('{stream}.csv')}&file_date_column=day", "needs {date}"),
    ],
)
def test_a_pattern_that_makes_no_sense_is_refused(suiro: Shell, tmp_path: Path, settings: str, said: str) -> None:
    ended = suiro("streams", f"file://{tmp_path}/?{settings}")
    assert ended.code == 2 and said in ended.err


def test_a_name_with_a_date_that_is_none_is_named(suiro: Shell, tmp_path: Path) -> None:
    export(tmp_path / "in", "1-2-Charged-20229921-0-0.csv.gz")
    ended = suiro("copy", f"file://{tmp_path}/in/?file_names={quote(NAMES)}&file_date_column=day", "warehouse", "--all")
    assert ended.code == 1 and "20229921" in ended.err and "calendar" in ended.err


@pytest.mark.parametrize("name", ["orders-?.csv", "orders-?"])
def test_a_question_mark_in_a_uri_is_written_as_percent_3f(suiro: Shell, tmp_path: Path, name: str) -> None:
    for letter in "ab":
        (tmp_path / f"orders-{letter}.csv").write_text("n\n1\n")
    ended = suiro("streams", f"file://{tmp_path}/{name}")
    assert ended.code == 2 and "write %3F" in ended.err
    found = suiro("preview", f"file://{tmp_path}/orders-%3F.csv", "orders", "--json")
    assert found.code == 0 and len(found.json) == 2


def test_runs_that_overlap_and_columns_that_come_are_merged_by_key(
    suiro: Shell, project: Project, tmp_path: Path
) -> None:
    """A recurring export tells some days twice; each file is read once, and each event is one row."""
    project.reset()
    folder, event = tmp_path / "exports", "Order Placed"
    days = sorted({str(one["ts"])[:8] for one in project.records(event)})
    project.export(folder, events=[event], days=days[:-2], run=1)
    uri = f"file://{folder}/?file_names={quote(NAMES)}"
    how = ("--all", "--table", "orders", "--read", "incremental", "--write", "merge", "--key", "eventProps.order")
    assert suiro("copy", uri, "warehouse", *how).code == 0
    project.export(folder, events=[event], days=days[-4:], run=2)
    told = suiro("copy", uri, "warehouse", *how, "--json")
    assert told.code == 0, told.err
    (task,) = told.json["tasks"]
    wanted = Counter(one["event_props"]["order"] for one in project.records(event))
    late = [one for one in project.records(event) if str(one["ts"])[:8] in days[-4:]]
    assert task["rows_read"] == len(late)  # files that were carried aren't opened again
    rows = suiro(
        "sql", "warehouse", 'SELECT "eventProps.order" AS n, "eventProps.channel" AS c FROM orders', "--json"
    ).json
    assert Counter(int(row["n"]) for row in rows) == wanted
    assert {row["c"] for row in rows} == {None, "mail", "shop"}
    assert suiro("copy", uri, "warehouse", *how, "--json").json["tasks"][0]["rows_read"] == 0


def test_lines_of_json_behind_the_events_name(suiro: Shell, project: Project, tmp_path: Path) -> None:
    project.reset()
    days = sorted({str(one["ts"])[:8] for one in project.records("Charged")})
    project.export(tmp_path / "exports", events=["Charged"], days=days, format="json")
    names = quote(NAMES.replace("csv", "json"))
    refused = suiro("copy", f"file://{tmp_path}/exports/?file_names={names}", "warehouse", "--all")
    assert refused.code != 0
    uri = f"file://{tmp_path}/exports/?file_names={names}&skip_rows=1"
    assert suiro("copy", uri, "warehouse", "--all").code == 0
    rows = suiro("sql", "warehouse", "SELECT ts, eventProps FROM Charged", "--json").json
    kept = Counter((one["ts"], one["event_props"]["order"]) for one in project.records("Charged"))
    found = [row["eventProps"] for row in rows]
    props = [json.loads(one) if isinstance(one, str) else one for one in found]
    assert Counter((row["ts"], one["order"]) for row, one in zip(rows, props, strict=True)) == kept


def test_a_wrong_line_is_told_by_its_number_in_the_file(suiro: Shell, tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text('Charged\n{"a":1}\nwrong\n')
    ended = suiro("copy", f"file://{tmp_path}/e.jsonl?skip_rows=1", "warehouse", "--all")
    assert ended.code == 1 and "line 3" in ended.err


def test_rows_that_come_again_in_another_file_are_told_by_a_hash_where_they_have_no_key(
    suiro: Shell, tmp_path: Path
) -> None:
    export(tmp_path / "in", "1-2-Charged-20220921-0-0.csv.gz", "ts,who,amount\n1,a,5\n2,,6\n")
    export(tmp_path / "in", "1-3-Charged-20220921-0-0.csv.gz", "ts,who,amount,plan\n1,a,5,pro\n2,,6,\n3,b,5,pro\n")
    uri, key = f"file://{tmp_path}/in/?file_names={quote(NAMES)}", "row_key=md5(concat_ws('|', ts, who, amount))"
    ended = suiro("copy", uri, "warehouse", "--stream", "Charged", "--set", key, "--write", "merge", "--key", "row_key")
    assert ended.code == 0, ended.err
    rows = suiro("sql", "warehouse", "SELECT ts, who, plan FROM Charged ORDER BY ts", "--json").json
    assert [(row["ts"], row["who"], row["plan"]) for row in rows] == [(1, "a", "pro"), (2, None, None), (3, "b", "pro")]
