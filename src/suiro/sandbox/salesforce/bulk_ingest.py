"""Bulk API 2.0, ingest: jobs are made, given their data, and closed; results are told as CSV."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from suiro.sandbox.salesforce.api import ROOT, Api, Call, json_response
from suiro.sandbox.salesforce.bulk_query import CHUNK_BYTES, csv_options
from suiro.sandbox.salesforce.errors import Refusal
from suiro.sandbox.salesforce.jobs import OVER, POLL_SECONDS, Job, Jobs
from suiro.sandbox.salesforce.org import Org

if TYPE_CHECKING:
    from suiro.model.schema import Json

OPERATIONS = ("insert", "update", "upsert", "delete", "hardDelete")
#: Payloads with fewer characters may come with the job itself [1.5].
MULTIPART_CHARACTERS = 100_000
DATA = "data.csv"
#: The last file that is written when a job is over.
UNPROCESSED = "unprocessed.csv"
TIDY_SECONDS = 30.0


class BulkIngest:
    """Handlers of `/jobs/ingest`."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self.jobs: Jobs

    def add_to(self, api: Api) -> None:
        api.add("/jobs/ingest", {"POST": self.create, "GET": self.list})
        api.add("/jobs/ingest/{id}", {"GET": self.read, "PATCH": self.change, "DELETE": self.delete})
        api.add("/jobs/ingest/{id}/successfulResults", {"GET": self.successful})
        api.add("/jobs/ingest/{id}/failedResults", {"GET": self.failed})
        # Clients write it both ways [CLIENT jsforce, simple-salesforce].
        api.add("/jobs/ingest/{id}/unprocessedrecords", {"GET": self.unprocessed})
        api.add("/jobs/ingest/{id}/unprocessedRecords", {"GET": self.unprocessed})

        async def upload(request: Request) -> Response:
            return await self._upload(api, request)

        api.routes.append(Route(f"{ROOT}/jobs/ingest/{{id}}/batches", upload, methods=["PUT"]))

    def create(self, call: Call) -> Response:
        """200 and the job: Open, or UploadComplete where the data came with it as a multipart body."""
        kind = call.headers.get("content-type", "")
        if kind.startswith("multipart/form-data"):
            body, content = multipart(kind, call.body)
            job = self.jobs.make("ingest", self._told(call, body), "Open")
            (self.jobs.folder(job.id) / DATA).write_bytes(content)
            self.jobs.progress(job.id, {"uploaded": True})
            return json_response(described(self.jobs.close_upload(job)))
        return json_response(described(self.jobs.make("ingest", self._told(call, call.object()), "Open")))

    def list(self, call: Call) -> Response:
        jobs: list[Json] = [described(job) for job in self.jobs.known("ingest")]
        return json_response({"done": True, "nextRecordsUrl": None, "records": jobs})

    def read(self, call: Call) -> Response:
        return json_response(described(self.jobs.find("ingest", call.path["id"])))

    def change(self, call: Call) -> Response:
        """UploadComplete begins the work, Aborted ends it [DOC close-job]."""
        job, state = self.jobs.find("ingest", call.path["id"]), call.object().get("state")
        if state == "Aborted":
            return json_response(described(self.jobs.abort(job)))
        if state != "UploadComplete" or job.state != "Open":
            raise Refusal(400, "INVALIDJOBSTATE", f"The job is {job.state}; it can't become {state}")
        return json_response(described(self.jobs.close_upload(job)))

    def delete(self, call: Call) -> Response:
        self.jobs.delete(self.jobs.find("ingest", call.path["id"]))
        return Response(status_code=204)

    def successful(self, call: Call) -> Response:
        return self._results(call, "successful.csv")

    def failed(self, call: Call) -> Response:
        return self._results(call, "failed.csv")

    def unprocessed(self, call: Call) -> Response:
        return self._results(call, UNPROCESSED)

    # --- parts ---

    def _told(self, call: Call, body: dict[str, Any]) -> dict[str, Any]:
        """What a job is made with. Refusal INVALIDJOB (code unverified), INVALIDENTITY [CLIENT]."""
        operation, external = body.get("operation"), body.get("externalIdFieldName")
        if operation not in OPERATIONS:
            raise Refusal(400, "INVALIDJOB", f"operation must be one of {', '.join(OPERATIONS)}")
        found = self._org.find(str(body.get("object")))
        if found is None:
            raise Refusal(400, "INVALIDENTITY", f"Unable to find object: {body.get('object')}")
        if not found.bulk or not found.writable:
            raise Refusal(400, "INVALIDENTITY", f"Entity '{found.name}' is not supported by the Bulk API.")
        if (operation == "upsert") != (external is not None):
            raise Refusal(400, "INVALIDJOB", "externalIdFieldName is for upsert, and only for it")
        if external is not None:
            key = self._org.seen(found, str(external))
            if key is None or not (key.external_id or key.id_lookup):
                raise Refusal(400, "INVALIDJOB", f"Invalid external ID field: {external}")
            external = key.name
        return {
            "operation": operation,
            "object": found.name,
            "external": external,
            "version": call.version,
            **csv_options(body),
        }

    async def _upload(self, api: Api, request: Request) -> Response:
        """201 without a body; once for each job [1.5]."""
        call = await api.read(request, body=False)
        admitted = await run_in_threadpool(api.answer, self._admit, call)
        if admitted.status_code != 201:
            return admitted
        path = self.jobs.folder(call.path["id"]) / f"{DATA}.{id(request)}"
        most, size = self._org.settings.most_upload_bytes, 0
        try:
            with open(path, "wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    if size <= most:
                        file.write(chunk)
        except ClientDisconnect:
            path.unlink(missing_ok=True)
            raise
        if size > most:
            path.unlink()
            refusal = Refusal(400, "FILE_TOO_LARGE", f"The data has more than {most} bytes")  # code unverified
            return json_response(refusal.body(), 400)
        kept = await run_in_threadpool(self._keep, call.path["id"], path)
        return admitted if kept else json_response(twice().body(), 400)

    def _admit(self, call: Call) -> Response:
        job = self.jobs.find("ingest", call.path["id"])
        if job.state != "Open":
            raise Refusal(400, "INVALIDJOBSTATE", f"The job takes no data: it is {job.state}")
        if job.progress.get("uploaded"):
            raise twice()
        return Response(status_code=201)

    def _keep(self, identity: str, path: Path) -> bool:
        """Make an upload the job's data. False: another one was quicker."""
        with self._org.writing():
            job = self.jobs.find("ingest", identity)
            if job.progress.get("uploaded") or job.state != "Open":
                path.unlink()
                return False
            path.rename(path.with_name(DATA))
            self.jobs.progress(identity, {"uploaded": True})
        return True

    def _results(self, call: Call, name: str) -> Response:
        """A file of results. Refusal INVALIDJOBSTATE (code unverified): the job isn't over."""
        job = self.jobs.find("ingest", call.path["id"])
        if job.state not in OVER:
            raise Refusal(400, "INVALIDJOBSTATE", f"There are no results: the job is {job.state}")
        folder = self.jobs.folder(job.id)
        path, until = folder / name, time.monotonic() + TIDY_SECONDS
        while not (folder / UNPROCESSED).exists() and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        size = path.stat().st_size if path.exists() else 0
        headers = {"Content-Length": str(size)}
        return StreamingResponse(content(path, size), headers=headers, media_type="text/csv")


def content(path: Path, size: int) -> Iterator[bytes]:
    """The bytes of a file that there may not be."""
    if size:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


def twice() -> Refusal:
    """Data was sent a second time (code unverified)."""
    return Refusal(400, "INVALIDJOBSTATE", "Found multiple contents for the job: data can be sent only once")


def multipart(kind: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The parts `job` and `content` of a multipart body. Refusal INVALIDJOB (code unverified)."""
    boundary = re.search(r'boundary="?([^";]+)"?', kind)
    found: dict[str, bytes] = {}
    for part in body.split(b"--" + boundary[1].encode()) if boundary else ():
        head, _, data = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        if name:
            found[name[1].decode(errors="replace")] = data.removesuffix(b"\r\n")
    try:
        job = json.loads(found["job"])
        if not isinstance(job, dict) or len(found["content"].decode()) >= MULTIPART_CHARACTERS:
            raise ValueError
    except (KeyError, ValueError):
        message = (
            f"A multipart body has a part 'job' and a part 'content' of fewer than {MULTIPART_CHARACTERS} characters"
        )
        raise Refusal(400, "INVALIDJOB", message) from None
    return job, found["content"]


def described(job: Job) -> dict[str, Json]:
    """An ingest job as it is told; `contentUrl` has no slash in front [1.5]."""
    told: dict[str, Json] = {
        **job.described(),
        "jobType": "V2Ingest",
        "contentUrl": f"services/data/v{job.told['version']}/jobs/ingest/{job.id}/batches",
        "numberRecordsProcessed": int(job.progress.get("processed", 0)),
        "numberRecordsFailed": int(job.progress.get("failed", 0)),
        "retries": 0,
        "totalProcessingTime": int(job.progress.get("milliseconds", 0)),
        "apiActiveProcessingTime": int(job.progress.get("milliseconds", 0)),
        "apexProcessingTime": 0,
    }
    if job.told.get("external"):
        told["externalIdFieldName"] = job.told["external"]
    if job.progress.get("error"):
        told["errorMessage"] = job.progress["error"]
    return told
