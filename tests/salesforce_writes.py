"""Write-backs to a sandbox of Salesforce in tests: applications on it, journals, rows in an object's types."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa

from salesforce_org import Org
from suiro.app.opened import configure
from suiro.connectors.salesforce import connector
from suiro.connectors.salesforce.application import SalesforceApplication
from suiro.connectors.salesforce.config import SalesforceConfig
from suiro.model.schema import Json
from suiro.model.writeback import Action, Order, Outcome, RowResult
from suiro.testing.context import LocalContext

BY_JOBS = {"bulk_from": 1}  #: options by which few rows go in jobs, too
FIELDS = [
    {"name": "Id", "type": "id", "length": 18, "nillable": False, "idLookup": True, "defaultedOnCreate": True},
    {"name": "Name", "type": "string", "length": 80, "createable": True, "updateable": True},
    {"name": "Score__c", "type": "double", "precision": 18, "scale": 8, "createable": True, "updateable": True},
    {
        "name": "Ext__c", "type": "string", "length": 40, "externalId": True, "unique": True, "createable": True,
        "updateable": True,
    },
]  # fmt: skip


def token(org: Org) -> str:
    """An access token for a session of its own."""
    way = org.ways["client_credentials"]
    form = {"grant_type": "client_credentials", "client_id": way["client_id"], "client_secret": way["client_secret"]}
    found: str = httpx2.post(f"{org.url}/services/oauth2/token", data=form).json()["access_token"]
    return found


def prefix(org: Org, name: str) -> str:
    """What the ids of an object's records begin with."""
    answer = httpx2.get(f"{org.url}/services/data/v67.0/sobjects/", headers={"Authorization": f"Bearer {token(org)}"})
    return next(one["keyPrefix"] for one in answer.json()["sobjects"] if one["name"] == name)


class Notes:
    """A journal in a file: notes that outlive the process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def notes(self) -> Sequence[dict[str, Json]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def note(self, said: dict[str, Json]) -> None:
        with self.path.open("a") as out:
            out.write(json.dumps(said) + "\n")
            out.flush()
            os.fsync(out.fileno())


class Writer:
    """An application on a sandbox, closed by `close`, and journals of its own."""

    def __init__(self, org: Org, folder: Path, context: LocalContext | None = None, **settings: Any) -> None:
        self.org, self.context = org, context or org.context()
        self.application = SalesforceApplication(configuration(org, **settings), self.context)
        self._folder, self._journals = folder, 0

    def close(self) -> None:
        self.application.close()

    def journal(self) -> Notes:
        """One that holds nothing yet."""
        self._journals += 1
        return Notes(self._folder / f"{id(self)}-{self._journals}.jsonl")

    def rows(self, name: str, **columns: Sequence[Any]) -> pa.RecordBatch:
        """Rows in the types of an object's fields; `__` at the front of a name stands for nothing, dots for two."""
        _, types = self.application.describe(name)
        return typed(types, columns)

    def apply(
        self, action: Action, name: str, rows: pa.RecordBatch, journal: Notes | None = None, **order: Any
    ) -> list[RowResult]:
        """The answers, in the order of the rows."""
        if action in (Action.UPDATE, Action.DELETE):
            order.setdefault("by", "Id")
        found = self.application.apply(
            Order(object=name, action=action, **order), rows, self.journal() if journal is None else journal
        )
        return sorted(found, key=lambda result: result.row)

    def present(self, name: str, by: str, keys: Sequence[Any], *fields: str) -> list[dict[str, Any]]:
        """What the records hold, as plain rows."""
        _, types = self.application.describe(name)
        found = self.application.present(name, by, pa.array(keys, types.field(by).type), fields)
        return [row for batch in found for row in batch.to_pylist()]


def configuration(org: Org, **settings: Any) -> SalesforceConfig:
    """How to reach the sandbox."""
    given = {name: value for name, value in org.ways["client_credentials"].items() if name != "type"}
    config = configure(connector, {**given, **settings})
    assert isinstance(config, SalesforceConfig)
    return config


def typed(types: pa.Schema, columns: dict[str, Sequence[Any]]) -> pa.RecordBatch:
    """Columns in the types of fields."""
    schema = pa.schema([types.field(name) for name in columns])
    arrays = [pa.array(values, field.type) for values, field in zip(columns.values(), schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def outcomes(results: Sequence[RowResult]) -> list[Outcome]:
    """Of each row."""
    assert [result.row for result in results] == list(range(len(results)))
    return [result.outcome for result in results]
