"""The commands of write-backs over real warehouses and both metadata databases, carried in processes of their own."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import psycopg
import pytest

from applications import install_memory_application
from shell import Said, Shell
from suiro.testing.memory_application import MemoryOrg
from writing_back import FACTS, LEAD

PLACES = [("sqlite", "duckdb"), ("postgres", "postgres")]  #: of metadata and rows


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_memory_application(tmp_path, monkeypatch)


class Warehouse:
    """A table of leads with their scores, and an application that lacks these."""

    def __init__(self, suiro: Shell, folder: Path, kind: str, url: str | None) -> None:
        self._suiro, self.folder, self._kind, self._url = suiro, folder, kind, url
        self.org = MemoryOrg(folder / "org.db")
        self.org.make("Lead", LEAD, FACTS, refuses={"Company": ["Refused"]})
        self.dies = folder / "dies"

    def execute(self, *statements: str) -> None:
        if self._kind == "postgres":
            with psycopg.connect(str(self._url)) as session:
                for statement in statements:
                    session.execute(statement.encode())
        elif self._kind == "duckdb":
            with duckdb.connect(str(self.folder / "wh.duckdb")) as session:
                for statement in statements:
                    session.execute(statement)
        else:
            with closing(sqlite3.connect(self.folder / "wh.sqlite")) as session:
                for statement in statements:
                    session.execute(statement)
                session.commit()

    def fill(self, number: int) -> None:
        """As many leads, each with a record in the application."""
        ids = self.org.put("Lead", [{"Ext__c": f"k{n}", "Company": f"Co {n}"} for n in range(number)])
        rows = ", ".join(f"('{id_}', 'k{n}', 'Co {n}', {n}.5)" for n, id_ in enumerate(ids))
        self.execute(
            "CREATE TABLE lead_reverse (id varchar(20) PRIMARY KEY, ext varchar(20), company varchar(80), "
            "score numeric(8,2))",
            *([f"INSERT INTO lead_reverse VALUES {rows}"] if number else []),
        )

    def apply(self, task: str, *, rows: int = 50, slow: float = 0.0) -> Said:
        """Store a job with one task, or several lines of them."""
        if self._kind == "postgres":
            found = urlsplit(str(self._url))
            here = (
                f"{{type: postgres, host: {found.hostname}, port: {found.port}, database: {found.path.strip('/')}, "
                f"user: {found.username}, password: '{found.password}'}}"
            )
        else:
            here = f"{{type: {self._kind}, path: '{self.folder}/wh.{self._kind}'}}"
        path = self.folder / "job.yaml"
        there = f"path: '{self.folder}/org.db', most_rows: {rows}, dies: '{self.dies}', slow: {slow}"
        path.write_text(
            f"connections:\n  wh: {here}\n  crm: {{type: memory_application, {there}}}\n"
            f"jobs:\n  scores:\n    source: wh\n    destination: crm\n    tasks:\n      - {task}\n"
        )
        return self._suiro("apply", str(path))

    def scores(self) -> dict[str, Decimal | None]:
        return {row["Ext__c"]: row["Score"] for row in self.org.rows("Lead")}


Warehouses = Callable[[], Warehouse]
UPDATE = "{stream: lead_reverse, table: Lead, write: update, key: [id], columns: {id: Id, score: Score}}"
COLUMNS = "columns: {ext: Ext__c, company: Company, score: Score}"
UPSERT = f"{{stream: lead_reverse, table: Lead, write: upsert, key: [ext], {COLUMNS}}}"


@pytest.fixture
def quick(suiro: Shell, tmp_path: Path) -> Warehouse:
    """Rows in SQLite, metadata too."""
    return Warehouse(suiro, tmp_path, "sqlite", None)


@pytest.fixture(params=PLACES, ids="-".join)
def warehouse(
    suiro: Shell, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Warehouse:
    metadata, kind = request.param
    if metadata == "postgres":
        monkeypatch.setenv("SUIRO_METADATA_URL", request.getfixturevalue("postgres18_url"))
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else None
    return Warehouse(suiro, tmp_path, kind, url)


def test_scores_are_planned_written_and_taken_back(suiro: Shell, warehouse: Warehouse, tmp_path: Path) -> None:
    warehouse.fill(120)
    assert warehouse.apply(UPDATE).code == 0
    before = warehouse.org.rows("Lead")
    rows = tmp_path / "changes.jsonl"
    planned = suiro("writeback", "plan", "scores", "--json", "--rows", str(rows))
    (plan,) = planned.json["plans"]
    assert (planned.code, plan["planned"]["update"], plan["state"]) == (0, 120, "planned")
    assert plan["fields"]["Score"]["rows"] == 120
    changes = [json.loads(line) for line in rows.read_text().splitlines()]
    assert (len(changes), changes[0]["fields"]) == (120, {"Score": {"before": None, "after": "0.50"}})
    assert warehouse.org.rows("Lead") == before
    shown = suiro("writeback", "plan", "scores")
    assert "120 to update" in shown.err and "NULL -> '0.50'" in shown.out

    done = suiro("run", "scores", "--json")
    (task,) = done.json["tasks"]
    assert (done.code, done.json["status"], task["rows_read"], task["rows_written"]) == (0, "succeeded", 120, 120)
    assert task["receipt"]["equal"] and task["receipt"]["adds_up"] and task["receipt"]["level"] == "hash"
    assert warehouse.scores() == {f"k{n}": Decimal(f"{n}.50") for n in range(120)}
    again = suiro("run", "scores", "--json").json["tasks"][0]
    assert (again["rows_written"], again["writeback"]["planned"]["unchanged"]) == (0, 120)
    warehouse.execute("UPDATE lead_reverse SET score = 999 WHERE ext = 'k7'")
    assert suiro("run", "scores", "--json").json["tasks"][0]["rows_written"] == 1

    last = suiro("runs", "scores", "--json").json[0]["run"]
    undone = suiro("writeback", "undo", last, "--json")
    assert (undone.code, undone.json["tasks"][0]["rows_written"]) == (0, 1)
    assert undone.json["notes"] == [f"Undoes run {last}."]
    warehouse.org.set("Lead", before[3]["Id"], Score=Decimal(1))
    first = suiro("writeback", "undo", done.json["run"])
    assert first.code == 3 and "k3" not in first.out
    assert "changed since by somebody else (Score)" in first.err
    after = warehouse.org.rows("Lead")
    assert [row for n, row in enumerate(after) if n != 3] == [row for n, row in enumerate(before) if n != 3]
    assert after[3]["Score"] == Decimal(1)


def test_a_write_back_beyond_its_limit_waits_for_approval(suiro: Shell, quick: Warehouse) -> None:
    warehouse = quick
    warehouse.fill(20)
    assert warehouse.apply(UPDATE.replace("}}", "}, most_changed: 50%}")).code == 0
    waiting = suiro("run", "scores", "--json")
    assert (waiting.code, waiting.json["status"], waiting.json["tasks"][0]["status"]) == (4, "waiting", "waiting")
    run, plan = waiting.json["run"], waiting.json["tasks"][0]["writeback"]["plan"]
    assert set(warehouse.scores().values()) == {None}
    assert [found["status"] for found in suiro("runs", "--json").json] == ["waiting"]
    shown = suiro("show", run)
    assert "waits for approval" in shown.err and plan in shown.err
    assert suiro("writeback", "plan", "scores").code == 4

    done = suiro("writeback", "apply", run, "--json")
    assert (done.code, done.json["tasks"][0]["rows_written"]) == (0, 20)
    assert (done.json["trigger"], done.json["retry_of"]) == ("approval", run)
    assert [found["status"] for found in suiro("runs", "--json").json] == ["succeeded", "approved"]
    refused = suiro("writeback", "apply", plan)
    assert refused.code == 1 and "was applied already" in refused.err
    assert suiro("run", "scores", "--json").json["tasks"][0]["rows_written"] == 0
    assert "no plan that waits" in suiro("writeback", "apply", done.json["run"]).err


def test_rejected_rows_are_listed_kept_and_sent_again(suiro: Shell, quick: Warehouse) -> None:
    warehouse = quick
    warehouse.fill(10)
    warehouse.execute(
        "UPDATE lead_reverse SET company = 'Refused' WHERE ext = 'k1'",
        f"UPDATE lead_reverse SET company = '{'x' * 30}' WHERE ext = 'k2'",
    )
    warehouse.apply(UPSERT)
    done = suiro("run", "scores", "--json")
    (task,) = done.json["tasks"]
    assert (done.code, done.json["status"], task["rows_written"], task["rows_rejected"]) == (3, "warning", 8, 2)
    reasons = {reason["code"]: reason["rows"] for reason in task["writeback"]["reasons"]}
    assert reasons == {"VALIDATION": 1, "STRING_TOO_LONG": 1}
    (listed,) = suiro("writeback", "rejected", "scores", "--json").json["tasks"]
    assert {(row["key"], row["code"], row["kind"]) for row in listed["rows"]} == {
        ("k1", "VALIDATION", "refused"),
        ("k2", "STRING_TOO_LONG", "checked"),
    }
    assert "k1\tVALIDATION" in suiro("writeback", "rejected", done.json["run"]).out
    second = suiro("run", "scores", "--json").json["tasks"][0]
    assert (second["rows_written"], second["rows_rejected"], second["writeback"]["done"]) == (0, 2, {})
    warehouse.org.make("Lead", LEAD, FACTS)
    again = suiro("writeback", "rejected", "scores", "--resend", "--json")
    assert (again.code, again.json["tasks"][0]["rows_written"], again.json["tasks"][0]["rows_rejected"]) == (3, 1, 1)
    warehouse.execute("UPDATE lead_reverse SET company = 'Short' WHERE ext = 'k2'")
    assert suiro("run", "scores").code == 0
    assert suiro("writeback", "rejected", "scores", "--json").json["tasks"][0]["rows"] == []


def test_a_query_is_written_back_in_the_types_that_are_asked_for(suiro: Shell, warehouse: Warehouse) -> None:
    warehouse.fill(10)
    chosen = "SELECT ext AS [Ext__c], company AS [Company], score * 2 AS [Score] FROM [lead_reverse] WHERE score > 4"
    sql = f"sql: 'REPLICATE [Lead] {chosen}'"
    assert warehouse.apply(f"{{{sql}, write: upsert, key: [Ext__c], types: {{Score: 'numeric(18,2)'}}}}").code == 0
    done = suiro("run", "scores", "--json")
    assert done.code == 0, done.json["tasks"][0]["error"]
    assert (done.json["tasks"][0]["rows_read"], done.json["tasks"][0]["rows_written"]) == (6, 6)
    assert warehouse.scores()["k9"] == Decimal("19.00") and warehouse.scores()["k3"] is None


@pytest.mark.parametrize(("mode", "step"), [("insert", 4), ("insert", 7), ("upsert", 8), ("mirror", 11)])
def test_a_process_that_is_killed_is_replaced_and_nothing_is_doubled(
    suiro: Shell, quick: Warehouse, mode: str, step: int
) -> None:
    quick.fill(0)
    quick.execute(*(f"INSERT INTO lead_reverse VALUES ('{n}', 'n{n}', 'New {n}', {n})" for n in range(60)))
    quick.apply(UPSERT.replace("upsert", mode), rows=25)
    quick.dies.write_text(str(step))
    done = suiro("run", "scores", "--json")
    assert (done.code, done.json["status"], done.json["tasks"][0]["attempts"]) == (0, "succeeded", 2)
    assert not quick.dies.exists()
    assert done.json["tasks"][0]["receipt"]["adds_up"]
    assert Counter(row["Ext__c"] for row in quick.org.rows("Lead")) == {f"n{n}": 1 for n in range(60)}
    assert suiro("run", "scores", "--json").json["tasks"][0]["rows_written"] == 0
    suiro("writeback", "undo", done.json["run"], "--delete-inserted")
    assert quick.org.rows("Lead") == []


def test_the_whole_command_killed_in_the_middle_and_run_again_doubles_nothing(suiro: Shell, quick: Warehouse) -> None:
    quick.fill(0)
    quick.execute(*(f"INSERT INTO lead_reverse VALUES ('{n}', 'n{n}', 'New {n}', {n})" for n in range(300)))
    quick.apply(UPSERT.replace("upsert", "insert"), rows=20)
    going = subprocess.Popen(
        [sys.executable, "-m", "suiro.cli.main", "run", "scores", "--json"], stdout=subprocess.DEVNULL
    )
    while len(quick.org.acts()) < 40:
        assert going.poll() is None
        time.sleep(0.02)
    going.kill()
    going.wait()
    _end_leases()
    done = suiro("run", "scores", "--json")
    assert done.code == 0, done.out
    first, second = suiro("runs", "scores", "--json").json[::-1]
    assert (first["status"], second["run"]) == ("succeeded", done.json["run"])  # it was carried to its end first
    assert Counter(row["Ext__c"] for row in quick.org.rows("Lead")) == {f"n{n}": 1 for n in range(300)}
    assert len(quick.org.acts()) == 300


def test_a_write_back_is_cancelled_and_gone_on_with(suiro: Shell, quick: Warehouse) -> None:
    quick.fill(0)
    quick.execute(*(f"INSERT INTO lead_reverse VALUES ('{n}', 'n{n}', 'New {n}', {n})" for n in range(300)))
    quick.apply(UPSERT.replace("upsert", "insert"), rows=10, slow=0.05)
    ended: list[Said] = []
    going = subprocess.Popen(
        [sys.executable, "-m", "suiro.cli.main", "run", "scores", "--json"], stdout=subprocess.PIPE
    )
    while len(quick.org.acts()) < 50:
        assert going.poll() is None
        time.sleep(0.02)
    busy = suiro("writeback", "apply", "scores")
    assert busy.code == 1 and "is running already" in busy.err
    (run,) = suiro("runs", "--json").json
    assert suiro("cancel", run["run"]).code == 0
    out, _ = going.communicate(timeout=60)
    assert (going.returncode, json.loads(out)["status"]) == (130, "cancelled")
    sent = len(quick.org.acts())
    assert 50 <= sent < 300
    ended.append(suiro("writeback", "undo", run["run"], "--delete-inserted", "--json"))
    assert (ended[0].code, quick.org.rows("Lead")) == (0, [])


def test_two_runs_of_one_write_back_take_turns(suiro: Shell, quick: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    quick.fill(30)
    quick.apply(UPDATE)
    from suiro.app.ledgers import ledger_name, ledgers
    from suiro.app.metadata import metadata

    job = metadata().jobs.get("scores")
    name = ledger_name(job, job.tasks[0])
    monkeypatch.setattr("suiro.store.ledger.PATIENCE", 0.2)
    with ledgers().held(name, "another run"):
        busy = suiro("writeback", "plan", "scores")
    assert busy.code == 1 and "at work on this write-back: another run" in busy.err
    assert suiro("writeback", "plan", "scores").code == 0


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (UPDATE.replace("update", "append"), "must say how its records are written"),
        (UPDATE.replace("write: update, ", ""), "must say how its records are written"),
        (UPDATE.replace("write: update", "write: update, read: incremental"), "read has no place in a write-back"),
        (UPDATE.replace("write: update", "write: update, schema: x"), "schema has no place in a write-back"),
        (UPDATE.replace("update", "mirror, limit: 5"), "a mirror with a limit"),
        (UPDATE.replace("write: update", "write: update, most_changed: many"), "is no number of rows"),
        (UPDATE.replace("write: update", "write: updat"), "jobs.scores.tasks.0.write"),
        (UPDATE.replace("write: update", "write: update, nulls: keep"), "nulls"),
    ],
)
def test_a_write_back_that_cannot_be_is_refused_when_it_is_stored(
    suiro: Shell, quick: Warehouse, task: str, said: str
) -> None:
    refused = quick.apply(task)
    assert refused.code == 2 and said in refused.err


def test_settings_of_write_backs_have_no_place_in_other_tasks(suiro: Shell, quick: Warehouse) -> None:
    quick.apply(UPDATE)
    path = quick.folder / "tables.yaml"
    for said, message in (
        ("write: upsert, key: [id]", "is for applications, and SQLite holds tables"),
        ("nulls: skip", "nulls has its place in write-backs alone"),
        ("most_deleted: 20", "most_deleted 20 is no share"),
    ):
        path.write_text(
            "jobs:\n  t: {source: wh, destination: wh, tasks: [{stream: lead_reverse, table: t, " + said + "}]}\n"
        )
        refused = suiro("apply", str(path))
        assert refused.code == 2 and message in refused.err


def test_other_commands_say_that_an_application_needs_a_job(suiro: Shell, quick: Warehouse) -> None:
    quick.fill(1)
    quick.apply(UPDATE)
    assert suiro("check", "crm").code == 0
    copied = suiro("copy", "wh", "crm", "--stream", "lead_reverse")
    assert copied.code == 2 and "records are written by jobs alone" in copied.err
    assert "write: update" in copied.err
    for what in ("nothing", "plan-nothing"):
        assert suiro("writeback", "apply", what).code == 2
    assert suiro("writeback", "plan", "nothing").code == 2
    assert "Did you mean Lead?" in suiro("writeback", "plan", "scores", "--task", "Lea").err


def test_what_is_exported_can_be_applied_again(suiro: Shell, quick: Warehouse, tmp_path: Path) -> None:
    quick.apply(
        UPDATE.replace(
            "write: update", "write: mirror, nulls: skip, conflicts: send, most_changed: 10%, most_deleted: 5"
        )
    )
    (tmp_path / "out.yaml").write_text(suiro("export").out)
    assert "Everything is as the files say" in suiro("apply", str(tmp_path / "out.yaml")).err
    assert "most_deleted: '5'" in (tmp_path / "out.yaml").read_text()


def test_a_plan_that_cannot_be_made_tells_why(suiro: Shell, quick: Warehouse) -> None:
    quick.fill(1)
    quick.apply(UPSERT.replace("ext: Ext__c", "ext: Email"))
    refused = suiro("writeback", "plan", "scores")
    assert refused.code == 2 and "no external id" in refused.err and "External ids of Lead: Ext__c" in refused.err
    assert suiro("run", "scores").code == 2


def _end_leases() -> None:
    """As if so much time had passed since a runner died."""
    from sqlalchemy import text

    from suiro.app.metadata import metadata

    with metadata().database.begin() as connection:
        connection.execute(text("UPDATE attempt SET lease_until = started_at WHERE ended_at IS NULL"))
