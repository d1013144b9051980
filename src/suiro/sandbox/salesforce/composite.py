"""Collections: up to 200 records in one request, an answer for each in their order."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from suiro.sandbox.salesforce.api import Api, Call, json_response
from suiro.sandbox.salesforce.errors import Refusal, RowRefusal
from suiro.sandbox.salesforce.fields import Field, Sobject
from suiro.sandbox.salesforce.ids import full_id
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.rows import Operation, flat
from suiro.sandbox.salesforce.writing import MOST_ROWS, Writing, Written

if TYPE_CHECKING:
    from suiro.model.schema import Json

ROLLED_BACK = RowRefusal("ALL_OR_NONE_OPERATION_ROLLED_BACK", "Record rolled back because not all records were valid")
HALTED = RowRefusal("PROCESSING_HALTED", "The transaction was halted because another record had an error")


class RolledBack(Exception):
    """Not all rows could be taken, and all or none was asked for."""

    def __init__(self, answers: list[Written | RowRefusal]) -> None:
        super().__init__()
        self.answers = answers


class Collections:
    """Handlers of `/composite/sobjects`."""

    def __init__(self, org: Org) -> None:
        self._org = org

    def add_to(self, api: Api) -> None:
        api.add("/composite/sobjects", {"POST": self.insert, "PATCH": self.update, "DELETE": self.delete})
        api.add("/composite/sobjects/{object}/{field}", {"PATCH": self.upsert})

    def insert(self, call: Call) -> Response:
        return self._mixed(call, "insert")

    def update(self, call: Call) -> Response:
        return self._mixed(call, "update")

    def upsert(self, call: Call) -> Response:
        """By an external id, from version 46 on [DOC collections-upsert]."""
        found = self._org.find(call.path["object"])
        key = self._org.seen(found, call.path["field"]) if found is not None else None
        if found is None or key is None or not (key.external_id or key.id_lookup) or call.number < 46:
            message = f"Provided external ID field does not exist or is not accessible: {call.path['field']}"
            raise Refusal(404, "NOT_FOUND", message)
        records, all_or_none = self._asked(call)
        operation: Operation = "update" if key.type == "id" else "upsert"
        answers = self._run([(found, operation, flat(one), key) for one in records], all_or_none)
        return json_response([item(one, tells_created=True) for one in answers])

    def delete(self, call: Call) -> Response:
        """`?ids=a,b&allOrNone=true` [1.6]."""
        ids = [one for one in call.query.get("ids", "").split(",") if one]
        self._few(ids)
        plan: list[tuple[Sobject | None, Operation, dict[str, Any], Field | None]] = []
        for one in ids:
            identity = full_id(one) or one
            plan.append((self._org.by_prefix(identity), "delete", {"Id": identity}, None))
        answers = self._run(plan, call.query.get("allOrNone", "").lower() == "true")
        return json_response([item(one) for one in answers])

    def _mixed(self, call: Call, operation: Operation) -> Response:
        records, all_or_none = self._asked(call)
        plan: list[tuple[Sobject | None, Operation, dict[str, Any], Field | None]] = []
        for one in records:
            kind = one.get("attributes", {})
            name = kind.get("type") if isinstance(kind, dict) else None
            if not isinstance(name, str):
                raise Refusal(400, "INVALID_INPUT", "Each record needs its type: attributes.type")
            plan.append((self._org.find(name), operation, with_id(flat(one)), None))
        return json_response([item(one) for one in self._run(plan, all_or_none)])

    def _asked(self, call: Call) -> tuple[list[dict[str, Any]], bool]:
        body = call.object()
        records = body.get("records")
        if not isinstance(records, list) or not all(isinstance(one, dict) for one in records):
            raise Refusal(400, "INVALID_INPUT", "records must be a list of records")
        self._few(records)
        return records, bool(body.get("allOrNone", False))

    def _few(self, rows: Sequence[object]) -> None:
        if len(rows) > MOST_ROWS:
            message = f"record limit reached. cannot submit more than {MOST_ROWS} records in this operation"
            raise Refusal(400, "EXCEEDED_ID_LIMIT", message)

    def _run(
        self,
        plan: Sequence[tuple[Sobject | None, Operation, Mapping[str, Json], Field | None]],
        all_or_none: bool,
    ) -> list[Written | RowRefusal]:
        try:
            with self._org.writing() as connection:
                answers = self._in_order(connection, plan)
                if all_or_none and any(isinstance(one, RowRefusal) for one in answers):
                    raise RolledBack(answers)
        except RolledBack as back:
            return rolled_back(back.answers)
        return answers

    def _in_order(
        self,
        connection: sqlite3.Connection,
        plan: Sequence[tuple[Sobject | None, Operation, Mapping[str, Json], Field | None]],
    ) -> list[Written | RowRefusal]:
        """Write rows of one object together; answers in the order of the request."""
        answers: dict[int, Written | RowRefusal] = {}
        kinds = {found.name: (found, operation, key) for found, operation, _, key in plan if found is not None}
        for name, (found, operation, key) in kinds.items():
            places = [n for n, (one, *_) in enumerate(plan) if one is not None and one.name == name]
            written = Writing(self._org, connection, found, operation, key).write([plan[n][2] for n in places])
            answers |= dict(zip(places, written, strict=True))
        unknown = RowRefusal("INVALID_TYPE", "sObject type is not supported")
        return [answers.get(n, unknown) for n in range(len(plan))]


def with_id(row: dict[str, Any]) -> dict[str, Any]:
    """The record's id under its own name, however it was written."""
    return {("Id" if name.lower() == "id" else name): value for name, value in row.items()}


def rolled_back(answers: list[Written | RowRefusal]) -> list[Written | RowRefusal]:
    """What the others are told: those before the first error were rolled back, those after it never began [1.6]."""
    first = next(n for n, one in enumerate(answers) if isinstance(one, RowRefusal))
    return [
        one if isinstance(one, RowRefusal) else (ROLLED_BACK if n < first else HALTED) for n, one in enumerate(answers)
    ]


def item(answer: Written | RowRefusal, *, tells_created: bool = False) -> Json:
    """One answer: failed ones have no id [REC]."""
    if isinstance(answer, RowRefusal):
        return answer.item()
    told: dict[str, Json] = {"id": answer.id, "success": True, "errors": []}
    return {**told, "created": answer.created} if tells_created else told
