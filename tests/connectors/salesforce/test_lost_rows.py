"""Tests that rows which Salesforce announces and doesn't send are noticed, on a little server that does so."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from salesforce_org import carried, select
from suiro.app.opened import configure
from suiro.connectors.salesforce import connector
from suiro.connectors.salesforce.source import SalesforceSource
from suiro.model.errors import ConnectionLost, DataError
from suiro.testing.context import LocalContext

FIELDS = [{"name": "Id", "type": "id", "length": 18, "sortable": True, "filterable": True}]
ROWS = [f"00Q5g000000000{number}AAA" for number in range(3)]


class Careless(BaseHTTPRequestHandler):
    """Knows the object Lead with three records, and tells of them what the test says."""

    told: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.removeprefix("/services/data/v67.0/")
        told, headers = self.told, {}
        body: Any = {"sobjects": [{"name": "Lead", "queryable": True}]}
        if path.endswith("describe"):
            body = {"name": "Lead", "queryable": True, "fields": FIELDS}
        elif path.endswith("results"):
            headers = {"Content-Type": "text/csv", **told["headers"]}
            body = "\n".join(f'"{row}"' for row in ["Id", *told["rows"]]) + "\n"
        elif path.startswith("jobs/query"):
            body = {"id": "750", "state": "JobComplete", "numberRecordsProcessed": told["total"]}
        elif path == "query":
            records = [{"attributes": {"type": "Lead"}, "Id": row} for row in told["rows"]]
            body = {"totalSize": told["total"], "done": told.get("done", True), "records": records}
            if not body["done"]:
                body["nextRecordsUrl"] = "/services/data/v67.0/query"
        self.answer(200, body, headers)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200, {"id": "750", "state": "UploadComplete"}, {})

    def do_DELETE(self) -> None:
        self.answer(204, "", {})

    def answer(self, status: int, body: Any, headers: dict[str, str]) -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture
def careless() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Careless)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def read(url: str, folder: Path, api: str, told: dict[str, Any]) -> list[str]:
    Careless.told = {"rows": ROWS, "total": 3, "headers": {}, **told}
    given = {"base_url": url, "access_token": "t", "api": api}
    source = SalesforceSource(configure(connector, given), LocalContext(run="r", workdir=folder))  # type: ignore[arg-type]
    try:
        return [row["Id"] for row in carried(source, select(source, "Lead"))[0]]
    finally:
        source.close()


def headers(locator: str, number: int) -> dict[str, Any]:
    return {"headers": {"Sforce-Locator": locator, "Sforce-NumberOfRecords": str(number)}}


def test_what_is_told_and_sent_alike_is_read(careless: str, tmp_path: Path) -> None:
    assert read(careless, tmp_path, "bulk", headers("null", 3)) == ROWS
    assert read(careless, tmp_path, "bulk", {}) == ROWS, "an absent locator ends the result, too"
    assert read(careless, tmp_path, "rest", {}) == ROWS


@pytest.mark.parametrize("told", [headers("null", 4), {**headers("null", 3), "total": 4}, {"total": 2}])
def test_a_bulk_result_of_another_number_of_rows_is_no_end(careless: str, tmp_path: Path, told: dict[str, Any]) -> None:
    with pytest.raises(ConnectionLost, match="3 came"):
        read(careless, tmp_path, "bulk", told)


@pytest.mark.parametrize("told", [{"total": 4}, {"total": 2}])
def test_a_query_of_another_number_of_rows_is_no_end(careless: str, tmp_path: Path, told: dict[str, Any]) -> None:
    with pytest.raises(ConnectionLost, match="sent 3"):
        read(careless, tmp_path, "rest", told)


def test_a_query_that_leads_to_the_same_page_for_ever_ends(careless: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="again and again"):
        read(careless, tmp_path, "rest", {"done": False})
