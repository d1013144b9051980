"""The systems of the founding story in tests: stand-ins of two services, a PostgreSQL database, Suiro homes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest
from psycopg.rows import dict_row

from salesforce_calls import Calls, Clock
from shell import Said
from suiro.cli.main import main
from suiro.sandbox.server import Running

SIZES = {
    "Account": 10, "Attachment": 2, "Campaign": 4, "Contact": 40, "Lead": 120, "Opportunity": 10, "User": 4,
    "Wide__c": 3, "customers": 80, "orders": 40, "products": 8,
}  # fmt: skip
OBJECTS = (  #: what the stand-in of Salesforce lets anybody query
    "Account", "Attachment", "Campaign", "Contact", "Lead", "Opportunity", "Organization", "TaskStatus", "User",
    "Wide__c",
)  # fmt: skip


class Home:
    """A Suiro home that may outlive a test; runs commands of `suiro` in this process, as `Shell` does."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """`settings`: of Suiro, beside its home."""
        self.folder, self.settings = folder, {"SUIRO_HOME": str(folder / "home"), **settings}

    def __call__(self, *arguments: str) -> Said:
        code, out, err = 0, io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name in [name for name in os.environ if name.startswith(("SUIRO_", "PG"))]:
                patch.delenv(name)
            for name, value in self.settings.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["suiro", *arguments])
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
        assert "Traceback" not in err.getvalue(), err.getvalue()
        return Said(code, out.getvalue(), " ".join(err.getvalue().split()))

    @contextmanager
    def start(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command in a process of its own, ended with the context."""
        known = {name: value for name, value in os.environ.items() if not name.startswith(("SUIRO_", "PG"))}
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-m", "suiro.cli.main", *arguments],
            env=known | self.settings,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def apply(self, **documents: Mapping[str, Any]) -> Said:
        """Store connections and jobs; they must be good."""
        said = self.apply_any(**documents)
        assert said.code == 0, said.err
        return said

    def apply_any(self, **documents: Mapping[str, Any]) -> Said:
        """`suiro apply` of a file with these connections and jobs."""
        self.folder.mkdir(exist_ok=True)
        file = self.folder / "story.yaml"
        file.write_text(json.dumps(documents, ensure_ascii=False), "utf-8")  # which is YAML, too
        return self("apply", str(file))

    def run(self, job: str, *arguments: str) -> dict[str, Any]:
        """`suiro run`; it must succeed, and every receipt be equal."""
        said = self("run", job, *arguments, "--json")
        assert said.code == 0, (said.out, said.err)
        found: dict[str, Any] = said.json
        for task in found["tasks"]:
            assert task["status"] == "succeeded" and task["receipt"]["equal"], task
            assert task["receipt"]["adds_up"], task
        return found


class Town:
    """Running stand-ins of Salesforce and BigCommerce, and a database."""

    def __init__(self, sandbox: Running, url: str) -> None:
        self.ways = sandbox.connections()
        self.crm, self.shop_url, self.url = Calls(sandbox, Clock()), sandbox.urls["bigcommerce"], url

    def close(self) -> None:
        self.crm.session.close()

    def connections(self) -> dict[str, dict[str, Any]]:
        """The story's three connections, as YAML has them."""
        crm, shop = self.ways["salesforce"]["soap"], self.ways["bigcommerce"]["full"]
        return {"crm": dict(crm), "shop": dict(shop), "pg": {"type": "postgres", **self.login()}}

    def login(self) -> dict[str, Any]:
        """Host, port, user, password and database."""
        at = urlsplit(self.url)
        return {
            "host": at.hostname, "port": at.port, "user": at.username, "password": at.password,
            "database": at.path.strip("/"),
        }  # fmt: skip

    def records(self, name: str) -> list[dict[str, Any]]:
        """All records of an object, as Salesforce's stand-in keeps them."""
        return _lines(f"{self.crm.url}/_sandbox/records/{name}")

    def customers(self) -> list[dict[str, Any]]:
        """All customers of the shop."""
        return _lines(f"{self.shop_url}/_sandbox/records/customers")

    def change_customers(self, **numbers: int) -> dict[str, list[int]]:
        """Let customers change and come; their ids."""
        answer = httpx2.post(f"{self.shop_url}/_sandbox/changes", json={"resource": "customers", **numbers})
        found: dict[str, list[int]] = answer.raise_for_status().json()
        return found

    def session(self) -> psycopg.Connection:
        """The database, by a client that isn't ours."""
        return psycopg.connect(self.url)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """What the database answers."""
        with self.session() as session:
            return session.execute(sql.encode()).fetchall()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """What the database answers, by column."""
        with self.session() as session, session.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql.encode()).fetchall()

    def execute(self, *statements: str) -> None:
        """Change the database as its owner does."""
        with self.session() as session:
            for statement in statements:
                session.execute(statement.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """The first runs of two jobs, what the services held then, and what the tables held afterwards."""

    crm: dict[str, Any]
    shop: dict[str, Any]
    leads: list[dict[str, Any]]
    lead_rows: list[dict[str, Any]]
    customers: list[dict[str, Any]]
    customer_rows: list[dict[str, Any]]


def arrive(home: Home, town: Town) -> Arrived:
    """Leads, contacts and customers into tables of the database that weren't there before."""
    follow = {"read": "incremental", "write": "merge"}
    crm = [{"stream": name, "key": ["Id"], "cursor": "SystemModstamp", **follow} for name in ("Lead", "Contact")]
    shop = [{"stream": "customers", "key": ["id"], "cursor": "date_modified", **follow}]
    home.apply(
        jobs={
            "crm_to_pg": {"source": "crm", "destination": "pg", "type": "standard", "tasks": crm},
            "shop_to_pg": {"source": "shop", "destination": "pg", "tasks": shop},
        }
    )
    leads, customers = town.records("Lead"), town.customers()
    runs = [home.run(job) for job in ("crm_to_pg", "shop_to_pg")]
    lead_rows, customer_rows = (town.rows(f'SELECT * FROM "{table}"') for table in ("Lead", "customers"))
    return Arrived(
        crm=runs[0],
        shop=runs[1],
        leads=leads,
        lead_rows=lead_rows,
        customers=customers,
        customer_rows=customer_rows,
    )


def _lines(address: str) -> list[dict[str, Any]]:
    answer = httpx2.get(address).raise_for_status()
    return [json.loads(line, parse_float=Decimal) for line in answer.text.splitlines()]
