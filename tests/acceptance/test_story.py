"""The whole story as `suiro demo` tells it: leads and customers in, scored, scores written back, and undone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from servers import PostgresServer

COMMANDS = (
    "apply demo.yaml",
    "run crm_to_warehouse",
    "run shop_to_warehouse",
    "run score_leads",
    "writeback plan scores_to_crm",
    "writeback apply",
    "writeback undo",
)
LEADS, CUSTOMERS = 60, 40


def demo(*arguments: str) -> subprocess.Popen[str]:
    """`suiro demo` with little data, as a process."""
    little = ("--leads", f"{LEADS}", "--customers", f"{CUSTOMERS}")
    return subprocess.Popen(
        [sys.executable, "-m", "suiro.cli.main", "demo", *little, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The story as data, the folder where that one kept everything, the story in prose, and its database."""

    data: dict[str, Any]
    kept: Path
    prose: str
    url: str


@pytest.fixture(scope="module")
def told(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Told twice at once: as data on the embedded warehouse, in prose on PostgreSQL."""
    url, kept = postgres.create_database(), tmp_path_factory.mktemp("demo") / "kept"
    telling = [demo("--json", "--folder", str(kept)), demo("--postgres", url)]
    try:
        said = [process.communicate(timeout=280) for process in telling]
    finally:
        for process in telling:
            process.kill()
    for process, (_, errors) in zip(telling, said, strict=True):
        assert (process.returncode, errors) == (0, ""), errors
    yield Told(data=json.loads(said[0][0]), kept=kept, prose=said[1][0], url=url)
    postgres.drop_database(url)


def score(leads: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The scores by the leads' ids."""
    return {id_: lead["LeadScore__c"] for id_, lead in leads.items()}


def test_the_story_is_told_as_data_on_the_embedded_warehouse(told: Told) -> None:
    steps = told.data["steps"]
    assert all(step["command"].startswith(f"suiro {wanted}") for step, wanted in zip(steps, COMMANDS, strict=True))
    assert {step["exit_code"] for step in steps} == {0}
    crm, shop, scoring, plan, apply, undo = (step["result"] for step in steps[1:])
    for run in (crm, shop, scoring, apply, undo):
        assert run["status"] == "succeeded"
        for task in run["tasks"]:
            assert task["receipt"]["equal"] and task["receipt"]["adds_up"], task
    assert [task["rows_written"] for task in crm["tasks"]] == [LEADS]
    assert shop["tasks"][0]["rows_written"] == CUSTOMERS

    scored = told.data["scored"]
    assert scored == scoring["tasks"][0]["rows_written"] == LEADS / 2
    (planned,) = plan["plans"]
    assert (planned["planned"]["read"], planned["planned"]["update"]) == (scored, scored)
    assert planned["fields"]["LeadScore__c"]["rows"] == scored
    (written,) = apply["tasks"]
    assert (written["rows_read"], written["rows_written"], written["rows_rejected"]) == (scored, scored, 0)
    assert (written["receipt"]["level"], written["receipt"]["source_rows"]) == ("hash", scored)
    assert undo["tasks"][0]["rows_written"] == scored

    before, after, undone = (told.data[moment] for moment in ("before", "after", "undone"))
    assert len(before) == LEADS and set(score(before).values()) == {None}
    changed = {id_: value for id_, value in score(after).items() if value is not None}
    assert len(changed) == scored and all(0 < Decimal(value) <= 100 for value in changed.values())
    assert undone == before
    assert (told.kept / "warehouse.duckdb").exists()


def test_the_story_is_told_to_people_on_postgresql(told: Told) -> None:
    places = [told.prose.index(f"$ suiro {command}") for command in COMMANDS]
    assert places == sorted(places)
    runs = re.findall(r"^Run \S+: (\w+) in", told.prose, re.MULTILINE)
    receipts = re.findall(r"^  Receipt \((\w+)\): ([\w ]+), ", told.prose, re.MULTILINE)
    assert runs == ["succeeded"] * 5
    assert receipts == [("sums", "equal")] * 4 + [("hash", "equal")] * 2

    scored = LEADS // 2
    assert f"LeadScore__c: {scored} records change" in told.prose and f"{scored} to update" in told.prose
    assert re.findall(r"^  Lead: (.*)$", told.prose, re.MULTILINE) == [f"{scored} updated"] * 2
    tables = re.split(r"^(?:The leads in Salesforce|And after).*:$", told.prose, flags=re.MULTILINE)[1:]
    shown = [re.findall(r"^  00Q\w{15}\s+(\d+|-)  \S+@\S+", table, re.MULTILINE) for table in tables]
    assert [set(rows) == {"-"} for rows in shown] == [True, False, True]
    assert all(len(rows) == 8 for rows in shown) and "-" not in shown[1]
    assert told.prose.endswith(f"{scored} of {LEADS} leads were scored, and all {LEADS} are as they were again.\n")

    with psycopg.connect(told.url) as session:
        counted = session.execute(
            "SELECT (SELECT count(*) FROM leads), (SELECT count(*) FROM shop_customers), "
            '(SELECT count("LeadScore__c") FROM lead_reverse)'
        )
        assert counted.fetchone() == (LEADS, CUSTOMERS, scored)
