"""Routes under `/_sandbox/` for tests: settings, records as they are kept, objects of one's own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from suiro.sandbox.salesforce.api import refuse_constant
from suiro.sandbox.salesforce.errors import Refusal, RowRefusal
from suiro.sandbox.salesforce.fields import COMPOUNDS, DECIMALS, TEXTS, Field, Sobject
from suiro.sandbox.salesforce.ingesting import Ingesting
from suiro.sandbox.salesforce.jobs import Jobs
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.sessions import Sessions, Usage
from suiro.sandbox.salesforce.soql.scope import value_sql
from suiro.sandbox.salesforce.values import HIGHEST_DIGIT, Part, joined, json_sql, keep
from suiro.sandbox.salesforce.writing import delete_records

LINES = 1000


class Wrong(Exception):
    """A control request that makes no sense: 400 with a sentence."""


class Control:
    """The routes and their handlers."""

    def __init__(self, org: Org, sessions: Sessions, usage: Usage, jobs: Jobs, ingesting: Ingesting) -> None:
        self._org = org
        self._jobs = jobs
        self._ingesting = ingesting
        self._sessions = sessions
        self._usage = usage

    def routes(self) -> list[Route]:
        return [
            Route("/_sandbox/settings", self._settings, methods=["GET", "PUT"]),
            Route("/_sandbox/records/{object}", self._dump, methods=["GET"]),
            Route("/_sandbox/records/{object}", self._post, methods=["POST"]),
            Route("/_sandbox/records/{object}", self._delete, methods=["DELETE"]),
            Route("/_sandbox/objects/{object}", self._define, methods=["PUT"]),
            Route("/_sandbox/jobs", self._list_jobs, methods=["GET"]),
            Route("/_sandbox/sessions", self._end_sessions, methods=["DELETE"]),
            Route("/_sandbox/usage", self._reset_usage, methods=["DELETE"]),
        ]

    async def _settings(self, request: Request) -> Response:
        """GET: all; PUT: those given are changed."""
        if request.method == "PUT":
            try:
                changes = json.loads(await request.body())
                await run_in_threadpool(self._org.set, changes)
            except (ValidationError, ValueError, TypeError) as error:
                return wrong(str(error))
        return JSONResponse(self._org.settings.model_dump(mode="json"))

    async def _dump(self, request: Request) -> Response:
        """The records as the store has them, by number, one JSON object a line; `?deleted=true`: deleted ones too.

        All fields but compounds, also those that are hidden; times end in +0000; bytes are hexadecimal.
        """
        try:
            found = self._find(request)
        except Wrong as error:
            return wrong(str(error))
        deleted = request.query_params.get("deleted") == "true"
        return StreamingResponse(self._lines(found, deleted), media_type="application/x-ndjson")

    async def _post(self, request: Request) -> Response:
        """Put records straight into the store: JSON lines, nothing validated, nothing added but ids where there are."""
        body = await request.body()
        try:
            found = self._find(request)
            made = await run_in_threadpool(self._put, found, body)
        except (Wrong, RowRefusal) as error:
            return wrong(str(error))
        return JSONResponse({"made": made})

    async def _delete(self, request: Request) -> Response:
        """`?ids=a,b` are deleted; with `purge=true` for good."""
        try:
            found = self._find(request)
        except Wrong as error:
            return wrong(str(error))
        ids = [one for one in request.query_params.get("ids", "").split(",") if one]
        purge = request.query_params.get("purge") == "true"
        return JSONResponse({"deleted": await run_in_threadpool(self._remove, found, ids, purge)})

    async def _define(self, request: Request) -> Response:
        """An object with just these fields, empty: `{"fields": [{"name", "type", ...as describe}], "bulk": ...}`."""
        try:
            told = json.loads(await request.body())
            found = await run_in_threadpool(self._org.define, request.path_params["object"], told)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return wrong(f"no object: {error}")
        return JSONResponse({"name": found.name, "fields": [one.described() for one in found.fields.values()]})

    async def _list_jobs(self, request: Request) -> Response:
        """All jobs of Bulk API 2.0 there are; for ingest jobs, how many rows were uploaded."""
        return JSONResponse(await run_in_threadpool(self._told_jobs))

    async def _end_sessions(self, request: Request) -> Response:
        """All sessions end."""
        return JSONResponse({"ended": await run_in_threadpool(self._sessions.end_all)})

    async def _reset_usage(self, request: Request) -> Response:
        """Requests of the day are counted anew."""
        self._usage.reset()
        return JSONResponse({"used": 0})

    # --- parts ---

    def _told_jobs(self) -> list[dict[str, Any]]:
        told = []
        for job in self._jobs.all():
            one = {"id": job.id, "kind": job.kind, "state": job.state, **job.told}
            if job.kind == "ingest":
                try:
                    one["rows"] = self._ingesting.rows(job)
                except Refusal:
                    one["rows"] = None
            told.append(one)
        return told

    def _find(self, request: Request) -> Sobject:
        found = self._org.find(request.path_params["object"])
        if found is None:
            raise Wrong(f"there is no object {request.path_params['object']}")
        return found

    def _lines(self, found: Sobject, deleted: bool) -> Iterator[bytes]:
        parts: list[str | Part] = []
        for one in found.fields.values():
            if one.type not in COMPOUNDS:
                parts += [f'{"," if parts else "{"}"{one.name}":', Part(sql=dumped(one))]
        where = "" if deleted else "WHERE t._deleted = 0"
        sql = f'SELECT {joined([*parts, "}"])} FROM "{found.name}" t {where} ORDER BY t._row'
        with self._org.reading() as connection:
            rows = connection.execute(sql)
            while lines := rows.fetchmany(LINES):
                yield "".join(f"{line}\n" for (line,) in lines).encode()

    def _put(self, found: Sobject, body: bytes) -> int:
        rows = []
        for number, line in enumerate(body.splitlines(), 1):
            if not line.strip():
                continue
            try:
                told = json.loads(line, parse_float=str, parse_constant=refuse_constant)
                rows.append({name: value for key, given in told.items() for name, value in [raw(found, key, given)]})
            except (ValueError, Wrong, RowRefusal) as error:
                raise Wrong(f"line {number}: {error}") from None
        try:
            with self._org.writing() as connection:
                return self._org.insert_raw(connection, found, rows)
        except sqlite3.IntegrityError as error:
            raise Wrong(f"nothing was put: {error}") from None

    def _remove(self, found: Sobject, ids: list[str], purge: bool) -> int:
        key = next((one.name for one in found.fields.values() if one.name.lower() == "id"), None)
        if key is None:
            return 0
        with self._org.writing() as connection:
            numbers = [
                number
                for (number,) in connection.execute(
                    f'SELECT _row FROM "{found.name}" WHERE "{key}" IN (SELECT value FROM json_each(?))',
                    (json.dumps(ids),),
                )
            ]
            delete_records(self._org, connection, found, numbers, purge=purge)
        return len(numbers)


def dumped(one: Field) -> str:
    """SQL for a field of a dump."""
    value = value_sql(one, "t")
    return f"ifnull('\"' || hex({value}) || '\"', 'null')" if one.type == "base64" else json_sql(one, value)


def raw(found: Sobject, name: str, value: Any) -> tuple[str, Any]:
    """Column and kept value of what a test gives; texts and ids as they are."""
    one = found.find(name)
    if one is None:
        raise Wrong(f"{found.name} has no field {name}")
    if one.name == "IsDeleted":
        return "_deleted", int(bool(value))
    if not one.kept:
        raise Wrong(f"{name} is computed")
    if value is None:
        return one.name, None
    if one.type in TEXTS | {"id", "reference"}:
        return one.name, str(value)
    if one.type not in DECIMALS:
        return one.name, keep(one, value)
    try:
        number = Decimal(str(value)).scaleb(one.scale)
    except InvalidOperation:
        raise Wrong(f"{name}: no number") from None
    if number.adjusted() > HIGHEST_DIGIT or number != int(number) or abs(number) >= 2**63:
        raise Wrong(f"{name}: {value} has more digits than the field")
    return one.name, int(number)


def wrong(message: str) -> Response:
    """A control request that makes no sense."""
    return JSONResponse({"error": message}, 400)
