"""Bulk API 2.0, query: a job's results are a file, told in pages."""

from __future__ import annotations

import base64
import binascii
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import Response, StreamingResponse

from suiro.sandbox.salesforce.api import Api, Call, json_response
from suiro.sandbox.salesforce.errors import Refusal
from suiro.sandbox.salesforce.jobs import Job, Jobs
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.soql.compile import Compiled, Ways, compile_query, refuse_in_bulk
from suiro.sandbox.salesforce.soql.parse import parse
from suiro.sandbox.salesforce.values import CsvStyle

if TYPE_CHECKING:
    from suiro.model.schema import Json

DELIMITERS = {"COMMA": ",", "TAB": "\t", "PIPE": "|", "SEMICOLON": ";", "CARET": "^", "BACKQUOTE": "`"}
LINE_ENDS = {"LF": "\n", "CRLF": "\r\n"}
#: The index of the results knows where each of so many rows begins.
BLOCK = 500
CHUNK_BYTES = 512 * 1024
PAGES_AT_ONCE = 5


class BulkQuery:
    """Handlers of `/jobs/query`, and the work itself."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self.jobs: Jobs

    def add_to(self, api: Api) -> None:
        api.add("/jobs/query", {"POST": self.create, "GET": self.list})
        api.add("/jobs/query/{id}", {"GET": self.read, "PATCH": self.abort, "DELETE": self.delete})
        api.add("/jobs/query/{id}/results", {"GET": self.results})
        api.add("/jobs/query/{id}/resultPages", {"GET": self.pages})

    def create(self, call: Call) -> Response:
        """200 and the job, UploadComplete [DOC query_walkthrough]."""
        body = call.object()
        if body.get("operation") not in ("query", "queryAll") or not isinstance(body.get("query"), str):
            raise Refusal(400, "INVALIDJOB", "operation must be query or queryAll, and query a text")
        told = {
            "operation": body["operation"],
            "query": body["query"],
            "version": call.version,
            **csv_options(body),
        }
        compiled = self._compiled(told)
        if self.jobs.made_since("query", self._org.now().timestamp() - 86400) >= self._org.settings.daily_query_jobs:
            raise Refusal(400, "LIMIT_EXCEEDED", "Too many query jobs in 24 hours")
        told["object"] = compiled.object.name
        return json_response(described(self.jobs.make("query", told, "UploadComplete"), fresh=True))

    def list(self, call: Call) -> Response:
        jobs: list[Json] = [described(job) for job in self.jobs.known("query")]
        return json_response({"done": True, "nextRecordsUrl": None, "records": jobs})

    def read(self, call: Call) -> Response:
        return json_response(described(self.jobs.find("query", call.path["id"])))

    def abort(self, call: Call) -> Response:
        if call.object().get("state") != "Aborted":
            raise Refusal(400, "INVALIDJOBSTATE", "A query job's state can only become Aborted")
        return json_response(described(self.jobs.abort(self.jobs.find("query", call.path["id"]))))

    def delete(self, call: Call) -> Response:
        self.jobs.delete(self.jobs.find("query", call.path["id"]))
        return Response(status_code=204)

    def results(self, call: Call) -> Response:
        """A page of CSV; `Sforce-Locator` tells the next, and is the text `null` on the last [DOC]."""
        job = self._complete(call)
        total = int(job.progress.get("rows", 0))
        start = self._start(call.query.get("locator"), total)
        asked = call.query.get("maxRecords", "")
        if asked and (not asked.isdecimal() or int(asked) < 1):
            raise Refusal(400, "INVALID_REQUEST", "maxRecords must be a positive number")
        most = self._org.settings.results_rows
        size = min(int(asked), most) if asked else most
        if call.duplicate_page and start > 0:
            # A fault of the sandbox: the page before once more, as a page of its own.
            start, end = max(0, start - size), start
        else:
            end = min(start + size, total)
        results = Results(self.jobs.folder(job.id))
        head = str(job.progress["header"]).encode()
        first, last = results.position(start, total), results.position(end, total)
        headers = {
            "Sforce-Locator": locator(end) if end < total else "null",
            "Sforce-NumberOfRecords": str(end - start),
            "Content-Length": str(len(head) + last - first),
        }
        return StreamingResponse(results.bytes(head, first, last), headers=headers, media_type="text/csv")

    def pages(self, call: Call) -> Response:
        """Up to five URIs to download from side by side [DOC query_get_parallel_job_results]."""
        job = self._complete(call)
        total = int(job.progress.get("rows", 0))
        begin, step = self._start(call.query.get("locator"), total), self._org.settings.results_rows
        starts = list(range(begin, max(total, 1), step))
        root = f"/services/data/v{call.version}/jobs/query/{job.id}"
        listed: list[Json] = [
            {"resultUrl": f"{root}/results?locator={locator(start)}"} for start in starts[:PAGES_AT_ONCE]
        ]
        more = starts[PAGES_AT_ONCE:]
        following: dict[str, Json] = {"nextRecordUrl": f"{root}/resultPages?locator={locator(more[0])}"} if more else {}
        return json_response({"resultPages": listed, **following, "done": not more})

    # --- work ---

    def work(self, job: Job) -> None:
        """Write the results: the records as they are at one moment."""
        compiled = self._compiled(job.told)
        settings = self._org.settings
        style = CsvStyle(
            delimiter=DELIMITERS[job.told["columnDelimiter"]],
            line_end=LINE_ENDS[job.told["lineEnding"]],
            utc=settings.csv_utc,
            doubles=settings.csv_numbers == "double",
        )
        rows = self._write_results(job, compiled, style)
        header = style.delimiter.join(f'"{name}"' for name in compiled.names) + style.line_end
        self.jobs.progress(job.id, {"rows": rows, "header": header})

    def over(self, job: Job) -> None:
        """A job that didn't end well keeps no results."""
        if job.state != "JobComplete":
            for path in self.jobs.folder(job.id).glob("results.*"):
                path.unlink(missing_ok=True)

    def _write_results(self, job: Job, compiled: Compiled, style: CsvStyle) -> int:
        folder = self.jobs.folder(job.id)
        index = array("Q", [0])
        rows = size = 0
        with self._org.reading() as connection, open(folder / "results.csv", "wb") as file:
            connection.text_factory = bytes
            try:
                found = connection.execute(compiled.csv_rows_sql(style), compiled.where_parameters)
                while lines := found.fetchmany(BLOCK):
                    block = b"".join([line for (line,) in lines])
                    file.write(block)
                    rows, size = rows + len(lines), size + len(block)
                    index.append(size)
                    if rows % (BLOCK * 20) == 0:
                        self.jobs.check(job.id)
            finally:
                connection.text_factory = str
        with open(folder / "results.index", "wb") as file:
            index.tofile(file)
        return rows

    def _compiled(self, told: dict[str, Any] | Any) -> Compiled:
        """The query in SQL. Refusal: Bulk can't do it [1.4]."""
        query = parse(told["query"])
        found = self._org.find(query.object)
        if found is not None and not found.queryable:
            raise Refusal(400, "API_ERROR", f"Entity '{found.name}' does not support query")
        if found is not None and not found.bulk:
            raise Refusal(400, "INVALIDENTITY", f"Entity '{found.name}' is not supported by the Bulk API.")
        ways = Ways(version=told["version"], deleted=told["operation"] == "queryAll")
        compiled = compile_query(self._org, query, ways)
        refuse_in_bulk(query, compiled)
        return compiled

    def _complete(self, call: Call) -> Job:
        """A job whose results are there. 409: another API version [DOC]; the other refusal's code is unverified."""
        job = self.jobs.find("query", call.path["id"])
        if float(job.told["version"]) != float(call.version):
            message = f"The job was made with API version {job.told['version']}"
            raise Refusal(409, "API_VERSION_MISMATCH", message)
        if job.state != "JobComplete":
            raise Refusal(400, "INVALIDJOBSTATE", f"There are no results: the job is {job.state}")
        return job

    def _start(self, text: str | None, total: int) -> int:
        if not text:
            return 0
        try:
            start = int(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (ValueError, binascii.Error):
            start = -1
        if not 0 <= start <= total:
            raise Refusal(400, "INVALID_LOCATOR", f"Invalid locator: {text[:40]}")
        return start


class Results:
    """A job's results on disk."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "results.csv"
        self._index = array("Q")
        path = folder / "results.index"
        with open(path, "rb") as file:
            self._index.fromfile(file, os.path.getsize(path) // self._index.itemsize)

    def position(self, row: int, total: int) -> int:
        """Where a row begins, in bytes; after the last, where the file ends."""
        if row >= total:
            return self._index[-1]
        block, rest = divmod(row, BLOCK)
        begin = self._index[block]
        if rest == 0:
            return begin
        with open(self._path, "rb") as file:
            file.seek(begin)
            data = file.read(self._index[block + 1] - begin)
        return begin + after_rows(data, rest)

    def bytes(self, head: bytes, first: int, last: int) -> Iterator[bytes]:
        """The header, and the file from `first` to `last`."""
        with open(self._path, "rb") as file:
            file.seek(first)
            left = last - first
            chunk = head
            while chunk:
                yield chunk
                chunk = file.read(min(CHUNK_BYTES, left))
                left -= len(chunk)


def after_rows(data: bytes, rows: int) -> int:
    """Where so many rows end: each at a line feed before which the quotes are even."""
    at = begin = 0
    for _ in range(rows):
        quotes = 1
        while quotes % 2:
            feed = data.index(b"\n", at)
            quotes = data.count(b'"', begin, feed)
            at = feed + 1
        begin = at
    return at


def locator(row: int) -> str:
    """Where a page begins, for nobody to read."""
    return base64.urlsafe_b64encode(str(row).encode()).decode().rstrip("=")


def csv_options(body: dict[str, Any]) -> dict[str, str]:
    """How a job's CSV is written. Refusal INVALIDJOB (code unverified): it can't be."""
    told = {
        "columnDelimiter": str(body.get("columnDelimiter") or "COMMA"),
        "lineEnding": str(body.get("lineEnding") or "LF"),
    }
    right = told["columnDelimiter"] in DELIMITERS and told["lineEnding"] in LINE_ENDS
    if not right or str(body.get("contentType") or "CSV") != "CSV":
        raise Refusal(400, "INVALIDJOB", "contentType must be CSV, with a known columnDelimiter and lineEnding")
    return told


def described(job: Job, *, fresh: bool = False) -> dict[str, Json]:
    """A query job as it is told: a new one without its progress."""
    told = job.described()
    if fresh:
        return told | {"state": "UploadComplete"}
    told |= {
        "jobType": "V2Query",
        "numberRecordsProcessed": int(job.progress.get("rows", 0)),
        "retries": 0,
        "totalProcessingTime": int(job.progress.get("milliseconds", 0)),
        "isPkChunkingSupported": True,
    }
    if job.progress.get("error"):
        told["errorMessage"] = job.progress["error"]
    return told
