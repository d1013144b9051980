"""Many scores into an application (a hundred thousand with SUIRO_EVERY_STEP=1): counted, killed, taken back."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from applications import install_memory_application
from deaths import EVERY
from shell import Shell
from suiro.testing.memory_application import MemoryOrg
from writing_back import FACTS, LEAD

ROWS = 100_000 if EVERY else 20_000
INVALID = ROWS // 100
VALID = ROWS - INVALID


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_memory_application(tmp_path, monkeypatch)


def test_many_rows_with_one_in_a_hundred_invalid_are_counted_exactly_and_taken_back(
    suiro: Shell, tmp_path: Path
) -> None:
    org = MemoryOrg(tmp_path / "org.db")
    org.make("Lead", LEAD, FACTS, refuses={"Company": ["Refused"]})
    ids = org.put("Lead", [{"Ext__c": f"k{n}", "Company": "Old"} for n in range(ROWS)])
    before = org.rows("Lead")
    with duckdb.connect(str(tmp_path / "wh.duckdb")) as db:
        db.execute("CREATE TABLE ids (n INTEGER, id VARCHAR)")
        (tmp_path / "ids.csv").write_text("".join(f"{n},{id_}\n" for n, id_ in enumerate(ids)))
        db.execute(f"COPY ids FROM '{tmp_path}/ids.csv'")
        # One in two hundred is refused by the application, one in two hundred before it is sent.
        company = "CASE n % 200 WHEN 0 THEN 'Refused' WHEN 100 THEN repeat('x', 21) ELSE 'New ' || n END"
        db.execute(f"CREATE TABLE scored AS SELECT id, {company} AS company, n / 4 AS score, n AS rank FROM ids")
    columns = "{id: Id, company: Company, score: Score, rank: Rank}"
    (tmp_path / "job.yaml").write_text(
        f"connections:\n  wh: {{type: duckdb, path: '{tmp_path}/wh.duckdb'}}\n"
        f"  crm: {{type: memory_application, path: '{tmp_path}/org.db', dies: '{tmp_path}/dies', "
        f"most_rows: {ROWS // 10}, at_once: {ROWS // 50}}}\n"
        "jobs:\n  scores: {source: wh, destination: crm, tasks: [{stream: scored, table: Lead, write: update, "
        f"key: [id], columns: {columns}}}]}}\n"
    )
    assert suiro("apply", str(tmp_path / "job.yaml")).code == 0
    (tmp_path / "dies").write_text("260" if EVERY else "130")  # in the middle of the batches
    done = suiro("run", "scores", "--json")
    (task,) = done.json["tasks"]
    assert (done.code, task["attempts"], task["error"]) == (3, 2, None)
    found = task["writeback"]
    assert (task["rows_read"], task["rows_written"], task["rows_rejected"]) == (ROWS, VALID, INVALID)
    assert (found["done"]["sent"], found["done"]["updated"], found["done"]["refused"]) == (
        ROWS - INVALID // 2,
        VALID,
        INVALID // 2,
    )
    assert {r["code"]: r["rows"] for r in found["reasons"]} == {
        "VALIDATION": INVALID // 2,
        "STRING_TOO_LONG": INVALID // 2,
    }
    assert task["receipt"]["equal"] and task["receipt"]["adds_up"] and task["receipt"]["table_rows"] == VALID
    after = org.rows("Lead")
    invalid = {n for n in range(ROWS) if n % 100 == 0}
    for n, (was, now) in enumerate(zip(before, after, strict=True)):
        wanted = {"Company": f"New {n}", "Score": Decimal(n) / 4, "Rank": n}
        assert now == (was if n in invalid else {**was, **wanted})

    with duckdb.connect(str(tmp_path / "wh.duckdb")) as db:
        db.execute("UPDATE scored SET score = 7 WHERE rank % 1000 = 1")
    sent = len(org.acts())
    second = suiro("run", "scores", "--json").json["tasks"][0]
    assert (second["rows_written"], second["rows_rejected"]) == (ROWS // 1000, INVALID)
    assert len(org.acts()) - sent == ROWS // 1000
    assert suiro("writeback", "undo", suiro("runs", "--json").json[0]["run"]).code == 0
    assert org.rows("Lead") == after

    org.set("Lead", ids[3], Rank=-1)
    org.remove("Lead", ids[5])
    undone = suiro("writeback", "undo", done.json["run"], "--json")
    (task,) = undone.json["tasks"]
    assert (undone.code, task["rows_written"], task["rows_rejected"]) == (3, VALID - 1, 2)
    conflicts = {(c["key"], json.dumps(c["fields"])) for c in task["writeback"]["conflicts"]}
    assert conflicts == {(ids[3], '["Rank"]'), (ids[5], "[]")}
    expected = [{**row, "Rank": -1} if n == 3 else row for n, row in enumerate(before) if n != 5]
    assert org.rows("Lead") == expected
    assert Counter(row["Ext__c"] for row in expected).most_common(1)[0][1] == 1
