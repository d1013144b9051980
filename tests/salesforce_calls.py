"""Calls to the Salesforce sandbox as tests make them: over HTTP, in the service's own words."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from suiro.sandbox.server import Running

VERSION = "64.0"


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, **span: float) -> None:
        self.ahead += timedelta(**span)


class Calls:
    """A signed-in client of one sandbox."""

    def __init__(self, sandbox: Running, clock: Clock) -> None:
        self.sandbox, self.clock = sandbox, clock
        self.url = sandbox.urls["salesforce"]
        self.ways = sandbox.connections()["salesforce"]
        self.session = requests.Session()
        self.sign_in()

    def sign_in(self) -> str:
        way = self.ways["client_credentials"]
        token = self.token(
            grant_type="client_credentials", client_id=way["client_id"], client_secret=way["client_secret"]
        )
        self.session.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
        return str(token.json()["access_token"])

    def token(self, *, prefix: str = "", **form: str) -> requests.Response:
        return requests.post(f"{self.url}{prefix}/services/oauth2/token", data=form, timeout=30)

    def call(self, method: str, path: str, version: str = VERSION, **options: Any) -> requests.Response:
        """A call under a version, or to a path that begins with a slash."""
        url = f"{self.url}{path}" if path.startswith("/") else f"{self.url}/services/data/v{version}/{path}"
        return self.session.request(method, url, timeout=30, **options)

    def get(self, path: str, version: str = VERSION, **options: Any) -> requests.Response:
        return self.call("GET", path, version, **options)

    def ask(self, soql: str, *, version: str = VERSION, resource: str = "query", **headers: str) -> requests.Response:
        return self.get(resource, version, params={"q": soql}, headers=headers)

    def rows(self, soql: str, **options: str) -> list[dict[str, Any]]:
        """All records of a query, over all pages, without their attributes."""
        answer = self.ask(soql, **options).json()
        assert isinstance(answer, dict), answer
        found = list(answer["records"])
        while not answer["done"]:
            answer = self.get(answer["nextRecordsUrl"]).json()
            found += answer["records"]
        return [{name: value for name, value in one.items() if name != "attributes"} for one in found]

    def column(self, soql: str) -> list[Any]:
        """The first field of all records."""
        return [next(iter(row.values())) for row in self.rows(soql)]

    def new(self, name: str = "Lead", **values: Any) -> str:
        """A new record's id."""
        given = {"LastName": "Test", "Company": "Test Inc", **values} if name == "Lead" else values
        made = self.call("POST", f"sobjects/{name}", json=given)
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def kept(self, name: str, *, deleted: bool = False) -> list[dict[str, Any]]:
        """The store's own records."""
        dump = requests.get(f"{self.url}/_sandbox/records/{name}?deleted={str(deleted).lower()}", timeout=30)
        return [json.loads(line) for line in dump.text.splitlines()]

    def set(self, **settings: Any) -> None:
        answer = requests.put(f"{self.url}/_sandbox/settings", json=settings, timeout=30)
        assert answer.status_code == 200, answer.text

    def faults(self, **plan: Any) -> None:
        answer = requests.put(f"{self.url}/_sandbox/faults", json=plan, timeout=30)
        assert answer.status_code == 200, answer.text

    def counted(self) -> dict[str, dict[str, int]]:
        told: dict[str, dict[str, int]] = requests.get(f"{self.url}/_sandbox/requests", timeout=30).json()
        return told

    # --- jobs ---

    def query_job(self, soql: str, operation: str = "query", **options: str) -> str:
        made = self.call("POST", "jobs/query", json={"operation": operation, "query": soql, **options})
        assert made.status_code == 200, made.text
        return str(made.json()["id"])

    def finished(self, kind: str, identity: str) -> dict[str, Any]:
        """The job when it is over."""
        for _ in range(2000):
            job: dict[str, Any] = self.get(f"jobs/{kind}/{identity}").json()
            if job["state"] in ("JobComplete", "Failed", "Aborted"):
                return job
            time.sleep(0.01)
        raise AssertionError(f"job {identity} doesn't end: {job}")

    def bulk_rows(self, soql: str, operation: str = "query", most: int = 0) -> list[dict[str, str]]:
        """All rows of a query job, page by page."""
        identity = self.query_job(soql, operation)
        assert self.finished("query", identity)["state"] == "JobComplete"
        params: dict[str, Any] = {"maxRecords": most} if most else {}
        rows: list[dict[str, str]] = []
        while True:
            page = self.get(f"jobs/query/{identity}/results", params=params)
            found = read_csv(page.content)
            assert len(found) == int(page.headers["Sforce-NumberOfRecords"])
            rows += found
            if page.headers["Sforce-Locator"] == "null":
                return rows
            params["locator"] = page.headers["Sforce-Locator"]

    def ingest(self, operation: str, data: str | bytes, name: str = "Lead", **options: str) -> dict[str, Any]:
        """An ingest job with its data, when it is over."""
        identity = self.open_job(operation, name, **options)
        self.upload(identity, data)
        self.close_job(identity)
        return self.finished("ingest", identity)

    def open_job(self, operation: str, name: str = "Lead", **options: str) -> str:
        made = self.call("POST", "jobs/ingest", json={"operation": operation, "object": name, **options})
        assert made.status_code == 200, made.text
        return str(made.json()["id"])

    def upload(self, identity: str, data: Any) -> requests.Response:
        body = data.encode() if isinstance(data, str) else data
        return self.call("PUT", f"jobs/ingest/{identity}/batches", data=body, headers={"Content-Type": "text/csv"})

    def close_job(self, identity: str) -> requests.Response:
        return self.call("PATCH", f"jobs/ingest/{identity}", json={"state": "UploadComplete"})

    def results(self, identity: str, kind: str) -> list[dict[str, str]]:
        """`successfulResults`, `failedResults` or `unprocessedrecords` of a job."""
        return read_csv(self.get(f"jobs/ingest/{identity}/{kind}").content)


def read_csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def csv_text(header: str, rows: Sequence[Sequence[str]]) -> str:
    """Rows as plain CSV."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows([header.split(","), *rows])
    return buffer.getvalue()


def error(answer: requests.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.json()[0]["errorCode"]
