"""Single records: made, read, changed, upserted by an external id, deleted."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from suiro.sandbox.salesforce.api import Api, Call, json_response, json_text
from suiro.sandbox.salesforce.errors import Refusal, RowRefusal, not_found
from suiro.sandbox.salesforce.fields import Field, Sobject
from suiro.sandbox.salesforce.ids import full_id
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.rows import Operation, flat
from suiro.sandbox.salesforce.soql.compile import Ways, compile_query
from suiro.sandbox.salesforce.soql.tree import Path, Query
from suiro.sandbox.salesforce.values import keep
from suiro.sandbox.salesforce.writing import Writing, Written

if TYPE_CHECKING:
    from suiro.model.schema import Json

#: From here on an upsert that updates answers 200 with a body; before, 204 without [1.6].
UPSERT_TELLS_FROM = 46
MISSING = {"INVALID_CROSS_REFERENCE_KEY": "NOT_FOUND", "ENTITY_IS_DELETED": "ENTITY_IS_DELETED"}


class Records:
    """Handlers of `/sobjects/...`."""

    def __init__(self, org: Org) -> None:
        self._org = org

    def add_to(self, api: Api) -> None:
        api.add("/sobjects/{object}", {"GET": self.about, "POST": self.create})
        api.add("/sobjects/{object}/{id}", {"GET": self.read, "PATCH": self.update, "DELETE": self.delete})
        api.add(
            "/sobjects/{object}/{field}/{value:path}",
            {"GET": self.read_by, "PATCH": self.upsert, "DELETE": self.delete_by},
        )

    def about(self, call: Call) -> Response:
        """The object in short, and what was seen of it last (empty here)."""
        found = self._object(call)
        return json_response({"objectDescribe": found.described(call.version), "recentItems": []})

    def create(self, call: Call) -> Response:
        """201 with id and Location [REC]."""
        found = self._object(call)
        written = self._write(found, "insert", flat(call.object()))
        url = f"/services/data/v{call.version}/sobjects/{found.name}/{written.id}"
        body: Json = {"id": written.id, "success": True, "errors": []}
        return json_response(body, 201, {"Location": url})

    def read(self, call: Call) -> Response:
        found = self._object(call)
        return json_text(self._record(call, found, self._number(found, call.path["id"])))

    def read_by(self, call: Call) -> Response:
        """A record by an external id, or the bytes of a binary field."""
        found = self._object(call)
        binary = self._org.seen(found, call.path["value"])
        if full_id(call.path["field"]) is not None and binary is not None and binary.type == "base64":
            return self._bytes(found, binary, self._number(found, call.path["field"]))
        numbers = self._by_key(found, self._key(found, call), call.path["value"])
        if len(numbers) > 1:
            return self._ambiguous(call, found, numbers)
        if not numbers:
            raise not_found()
        return json_text(self._record(call, found, numbers[0]))

    def update(self, call: Call) -> Response:
        """204 [1.6]."""
        found = self._object(call)
        row = flat(call.object())
        if any(name.lower() == "id" for name in row):
            raise Refusal(400, "INVALID_FIELD", "The Id field should not be specified in the sobject data.")
        self._write(found, "update", {**row, "Id": self._id(call.path["id"])})
        return Response(status_code=204)

    def delete(self, call: Call) -> Response:
        """204 [1.6]."""
        found = self._object(call)
        self._write(found, "delete", {"Id": self._id(call.path["id"])})
        return Response(status_code=204)

    def delete_by(self, call: Call) -> Response:
        found = self._object(call)
        numbers = self._by_key(found, self._key(found, call), call.path["value"])
        if len(numbers) > 1:
            return self._ambiguous(call, found, numbers)
        if not numbers:
            raise not_found()
        self._write(found, "delete", {"Id": self._identity(found, numbers[0])})
        return Response(status_code=204)

    def upsert(self, call: Call) -> Response:
        """201 where it makes a record, 200 or 204 where it updates, 300 where the key is not unique [1.6]."""
        found, value = self._object(call), call.path["value"]
        if value.endswith(".inc"):
            raise not_found()  # [DOC dome-upsert]
        key = self._key(found, call)
        row = flat(call.object())
        for name in row:
            if name.lower() in ("id", key.name.lower()):
                raise Refusal(400, "INVALID_FIELD", f"The {name} field should not be specified in the sobject data.")
        numbers = self._by_key(found, key, value)
        if len(numbers) > 1:
            return self._ambiguous(call, found, numbers)
        only = call.query.get("updateOnly", "").lower() == "true"
        if only and not numbers:
            raise not_found()
        if key.type == "id":
            if not numbers:
                raise not_found()
            written = self._write(found, "update", {**row, "Id": self._id(value)})
        else:
            written = self._write(found, "upsert", {**row, key.name: value}, key)
        body: Json = {"id": written.id, "success": True, "errors": [], "created": written.created}
        if written.created:
            return json_response(body, 201)
        return json_response(body) if call.number >= UPSERT_TELLS_FROM else Response(status_code=204)

    # --- parts ---

    def _object(self, call: Call) -> Sobject:
        found = self._org.find(call.path["object"])
        if found is None:
            raise not_found()
        return found

    def _key(self, found: Sobject, call: Call) -> Field:
        """A field that finds records: `externalId` or `idLookup` [1.6]."""
        key = self._org.seen(found, call.path["field"])
        if key is None or not (key.external_id or key.id_lookup):
            message = f"Provided external ID field does not exist or is not accessible: {call.path['field']}"
            raise Refusal(404, "NOT_FOUND", message)
        return key

    def _id(self, text: str) -> str:
        identity = full_id(text)
        if identity is None:
            raise not_found()
        return identity

    def _write(
        self, found: Sobject, operation: Operation, row: Mapping[str, Json], key: Field | None = None
    ) -> Written:
        """Write one record. Refusal: 400 with the reason, 404 where there is no record."""
        if not found.writable:
            raise Refusal(405, "METHOD_NOT_ALLOWED", f"{found.name} can't be written")
        with self._org.writing() as connection:
            (answer,) = Writing(self._org, connection, found, operation, key).write([row])
        if isinstance(answer, RowRefusal):
            if answer.code in MISSING and not answer.fields:
                code = MISSING[answer.code]
                raise not_found() if code == "NOT_FOUND" else Refusal(404, code, answer.message, fields=[])
            raise Refusal(400, answer.code, answer.message, fields=answer.fields)
        return answer

    def _number(self, found: Sobject, text: str) -> int:
        identity = self._id(text)
        with self._org.reading() as connection:
            row = connection.execute(
                f'SELECT _row, _deleted FROM "{found.name}" WHERE "Id" = ?', (identity,)
            ).fetchone()
        if row is None:
            raise not_found()
        if row[1]:
            raise Refusal(404, "ENTITY_IS_DELETED", "entity is deleted", fields=[])
        return int(row[0])

    def _identity(self, found: Sobject, number: int) -> str:
        with self._org.reading() as connection:
            row = connection.execute(f'SELECT "Id" FROM "{found.name}" WHERE _row = ?', (number,)).fetchone()
        return str(row[0])

    def _by_key(self, found: Sobject, key: Field, text: str) -> list[int]:
        """The numbers of the live records with a key's value; the case counts only where the field says so."""
        try:
            value: Any = keep(key, text)
        except RowRefusal:
            return []
        with self._org.reading() as connection:
            return [
                int(number)
                for (number,) in connection.execute(
                    f'SELECT _row FROM "{found.name}" WHERE "{key.name}"{key.collation} = ? AND _deleted = 0', (value,)
                )
            ]

    def _ambiguous(self, call: Call, found: Sobject, numbers: list[int]) -> Response:
        """300 with the records' URLs; nothing is written [1.6]."""
        root = f"/services/data/v{call.version}/sobjects/{found.name}"
        return json_response([f"{root}/{self._identity(found, number)}" for number in numbers], 300)

    def _record(self, call: Call, found: Sobject, number: int) -> str:
        """A record as JSON: the fields that were asked for, or all that one may see."""
        asked = call.query.get("fields")
        names = (
            asked.split(",") if asked else [n for n, one in found.fields.items() if not self._org.hidden(found, one)]
        )
        select = tuple(Path(names=tuple(name.split(".")), at=0) for name in names)
        query = Query(text=",".join(names), select=select, object=found.name, object_at=0)
        compiled = compile_query(self._org, query, Ways(version=call.version))
        with self._org.reading() as connection:
            row = connection.execute(compiled.records_sql(), (json.dumps([number]),)).fetchone()
        return str(row[1])

    def _bytes(self, found: Sobject, binary: Field, number: int) -> Response:
        with self._org.reading() as connection:
            content = read_bytes(connection, found, binary, number)
        return Response(content, media_type="application/octet-stream")


def read_bytes(connection: sqlite3.Connection, found: Sobject, binary: Field, number: int) -> bytes:
    """What a binary field holds."""
    row = connection.execute(f'SELECT "{binary.name}" FROM "{found.name}" WHERE _row = ?', (number,)).fetchone()
    return bytes(row[0] or b"")
