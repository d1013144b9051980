"""Write-backs over HTTP: planned, looked at row by row, applied, and taken back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from applications import install_memory_application
from served import Api, Served
from suiro.testing.memory_application import MemoryOrg
from writing_back import FACTS, LEAD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.crossed("metadata_url")

TASK = {"stream": "leads", "table": "Lead", "write": "update", "key": ["id"], "columns": {"id": "Id", "score": "Score"}}


@pytest.fixture
def org(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryOrg:
    """Thirty leads without a score, of which the application refuses one, and a table with their scores."""
    install_memory_application(tmp_path, monkeypatch)
    made = MemoryOrg(tmp_path / "org.db")
    made.make("Lead", LEAD, FACTS)
    ids = made.put("Lead", [{"Ext__c": f"k{n}", "Company": f"Co {n}"} for n in range(30)])
    with closing(sqlite3.connect(tmp_path / "wh.sqlite")) as session:
        session.execute("CREATE TABLE leads (id TEXT PRIMARY KEY, score NUMERIC)")
        session.executemany("INSERT INTO leads VALUES (?, ?)", [(id_, n + 0.5) for n, id_ in enumerate(ids)])
        session.execute("INSERT INTO leads VALUES ('nobody', 1.5)")
        session.commit()
    return made


@pytest.fixture
def ready(org: MemoryOrg, suiro_home: Path, metadata_url: str | None, tmp_path: Path) -> Iterator[Api]:
    with Served(suiro_home, metadata_url) as served:
        api = Api(served.client())
        api("PUT", "/connections/wh", {"connector": "sqlite", "settings": {"path": str(tmp_path / "wh.sqlite")}})
        crm = {"path": str(tmp_path / "org.db"), "most_rows": 50}
        api("PUT", "/connections/crm", {"connector": "memory_application", "settings": crm})
        api("PUT", "/jobs/scores", {"document": {"source": "wh", "destination": "crm", "tasks": [TASK]}})
        yield api


def test_a_plan_is_made_looked_at_applied_and_taken_back(ready: Api, org: MemoryOrg) -> None:
    (planned,) = ready("POST", "/writebacks/plan", {"job": "scores"})["plans"]
    assert planned["error"] is None and planned["plan"]["planned"]["update"] == 30, planned
    id_ = planned["plan"]["plan"]
    rows, cursor = [], "0"
    while cursor is not None:
        page = ready("GET", f"/writebacks/plans/{id_}/rows", params={"limit": 12, "cursor": cursor})
        rows, cursor = rows + page["items"], page["next"]
    assert len(rows) == 30 and {row["action"] for row in rows} == {"update"}
    assert sorted(row["fields"]["Score"]["after"] for row in rows)[:2] == ["0.50", "1.50"]
    assert {row["Score"] for row in org.rows("Lead")} == {None}

    key = {"headers": {"Idempotency-Key": "apply"}}
    begun = ready("POST", "/writebacks/apply", {"what": id_}, **key)
    assert ready("POST", "/writebacks/apply", {"what": id_}, **key) == begun
    done = ready.follow(begun["run"])
    assert done["tasks"][0]["rows_written"] == 30 and done["trigger"] == "approval", done
    assert done["tasks"][0]["writeback"]["state"] == "applied"
    assert {row["Score"] for row in org.rows("Lead")} == {Decimal(n) + Decimal("0.5") for n in range(30)}

    (rejected,) = ready("GET", f"/writebacks/rejected/{begun['run']}")["tasks"]
    assert rejected["task"] == done["tasks"][0]["task"]
    undone = ready.follow(ready("POST", "/writebacks/undo", {"run": begun["run"]})["run"])
    assert (undone["status"], undone["tasks"][0]["rows_written"]) == ("succeeded", 30), undone
    assert {row["Score"] for row in org.rows("Lead")} == {None}
    assert ready("POST", "/writebacks/undo", {"run": "gone"}, status=422)["code"] == "config_error"


def test_the_plan_of_a_job_tells_what_its_write_backs_would_do(ready: Api) -> None:
    (planned,) = ready("POST", "/jobs/scores/plan")["tasks"]
    assert (planned["kind"], planned["error"], planned["plan"]["planned"]["update"]) == ("write-back", None, 30)
    assert (
        "has no write-back" in ready("POST", "/writebacks/plan", {"job": "scores", "task": "x"}, status=422)["detail"]
    )


def test_a_plan_beyond_its_limits_waits_and_is_approved(ready: Api, org: MemoryOrg) -> None:
    careful: dict[str, Any] = {**TASK, "most_changed": "5"}
    ready("PUT", "/jobs/scores", {"document": {"source": "wh", "destination": "crm", "tasks": [careful]}})
    waiting = ready.follow(ready("POST", "/jobs/scores/runs", {})["run"])
    assert waiting["status"] == "waiting", waiting
    done = ready.follow(ready("POST", "/writebacks/apply", {"what": waiting["run"]})["run"])
    assert done["tasks"][0]["rows_written"] == 30 and done["retry_of"] == waiting["run"]
    assert ready("GET", f"/runs/{waiting['run']}")["status"] == "approved"
    assert None not in {row["Score"] for row in org.rows("Lead")}
    again = ready.follow(ready("POST", "/writebacks/resend", {"what": "scores"})["run"])
    assert again["status"] in ("succeeded", "warning"), again
