"""Tests of whole jobs from Salesforce into the embedded warehouse: a log with deletes, keys compared, faults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from salesforce_org import Org, digest
from shell import Shell
from suiro.sandbox.server import Running

AHEAD = [timedelta(0)]  #: of the sandbox's clock


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with Running(only=["salesforce"], sizes={"Lead": 400}, now=lambda: datetime.now(UTC) + AHEAD[0]) as running:
        yield running


def run(suiro: Shell, org: Org, folder: Path, **task: Any) -> dict[str, Any]:
    """Apply the job with this one task, and run it; what became of the task."""
    document = {
        "connections": {"crm": org.ways["refresh_token"]},
        "jobs": {"leads": {"source": "crm", "destination": "warehouse", "tasks": [{"stream": "Lead", **task}]}},
    }
    file = folder / "job.yaml"
    file.write_text(json.dumps(document), "utf-8")
    applied = suiro("apply", str(file))
    assert applied.code == 0, applied.err
    ran = suiro("run", "leads", "--json")
    assert ran.code == 0, ran.err + ran.out
    (told,) = ran.json["tasks"]
    found: dict[str, Any] = told
    assert found["receipt"] is None or found["receipt"]["equal"]
    return found


def table(suiro: Shell, columns: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = suiro("sql", "warehouse", f"SELECT {columns} FROM leads", "--json").json
    return found


def test_a_log_brings_changes_and_takes_deletes_along(suiro: Shell, org: Org, tmp_path: Path) -> None:
    task = {"table": "leads", "read": "log", "write": "merge", "key": ["Id"], "deletes": "soft"}
    ids = sorted(one["Id"] for one in org.records("Lead"))
    assert run(suiro, org, tmp_path, **task)["rows_written"] == len(ids)
    org.control("DELETE", f"records/Lead?ids={ids[0]}&purge=true")
    org.control("DELETE", f"records/Lead?ids={ids[1]}")
    source = org.source()
    source._org.ask("PATCH", source._org.path(f"sobjects/Lead/{ids[2]}"), json={"City": "Suiro"})
    AHEAD[0] += timedelta(minutes=3)
    second = run(suiro, org, tmp_path, **task)
    assert second["rows_deleted"] == 2
    rows = table(suiro, "Id, City, _suiro_deleted_at IS NOT NULL AS gone")
    assert sorted(row["Id"] for row in rows if row["gone"]) == ids[:2]
    assert [row["City"] for row in rows if row["Id"] == ids[2]] == ["Suiro"]
    there = [row for row in rows if not row["gone"]]
    assert digest(there, ["Id", "City"]) == digest(org.records("Lead"), ["Id", "City"])


def test_an_incremental_read_finds_deletes_by_comparing_all_keys(suiro: Shell, org: Org, tmp_path: Path) -> None:
    how = {"read": "incremental", "write": "merge", "key": ["Id"], "cursor": "SystemModstamp", "deletes": "hard"}
    task = {"table": "leads", "columns": {"Id": "Id", "Name": "Name", "SystemModstamp": "SystemModstamp"}, **how}
    run(suiro, org, tmp_path, **task)
    before = org.records("Lead")
    org.control("DELETE", f"records/Lead?ids={before[0]['Id']}")
    assert run(suiro, org, tmp_path, **task)["rows_deleted"] == 1
    assert digest(table(suiro, "Id, Name"), ["Id", "Name"]) == digest(org.records("Lead"), ["Id", "Name"])


def test_a_job_meets_faults_and_its_table_equals_the_store(suiro: Shell, org: Org, tmp_path: Path) -> None:
    kinds = ["429", "500", "503", "drop", "lost", "expired_token", "duplicate_page"]
    org.control("PUT", "faults", {"seed": 11, "rate": 0.05, "kinds": kinds})
    org.settings(page_rows=40)
    run(suiro, org, tmp_path, table="leads", read="full", write="replace")
    org.control("PUT", "faults", {})
    columns = ["Id", "Name", "Email", "NumberOfEmployees", "Description", "IsConverted"]
    assert digest(table(suiro, ", ".join(columns)), columns) == digest(org.records("Lead"), columns)
