"""Describe, for all objects and for one; and the limits of the org."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING

from starlette.responses import Response

from suiro.sandbox.salesforce.api import Api, Call, json_response, json_text
from suiro.sandbox.salesforce.errors import not_found
from suiro.sandbox.salesforce.fields import Sobject
from suiro.sandbox.salesforce.objects import CHILDREN
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.sessions import Usage

if TYPE_CHECKING:
    from suiro.model.schema import Json


class Describing:
    """Tells what the org has."""

    def __init__(self, org: Org, usage: Usage) -> None:
        self._org = org
        self._usage = usage

    def add_to(self, api: Api) -> None:
        api.add("", {"GET": self.resources})
        api.add("/sobjects", {"GET": self.all})
        api.add("/sobjects/{object}/describe", {"GET": self.one})
        api.add("/limits", {"GET": self.limits})

    def resources(self, call: Call) -> Response:
        """Where the version's resources are."""
        root = f"/services/data/v{call.version}"
        names = ("sobjects", "query", "queryAll", "composite", "limits", "jobs")
        return json_response({name: f"{root}/{name}" for name in names})

    def all(self, call: Call) -> Response:
        """The global describe [REC]."""
        told: dict[str, Json] = {
            "encoding": "UTF-8",
            "maxBatchSize": 200,
            "sobjects": [one.described(call.version) for one in self._org.objects()],
        }
        return self._conditional(call, told)

    def one(self, call: Call) -> Response:
        """Describe of one object, with ETag and Last-Modified; 304 where nothing changed [REC]."""
        found = self._org.find(call.path["object"])
        if found is None:
            raise not_found()
        return self._conditional(call, self.told(found, call.version))

    def told(self, found: Sobject, version: str) -> dict[str, Json]:
        """What describe tells: without the fields that field-level security hides."""
        seen = [one.described() for one in found.fields.values() if not self._org.hidden(found, one)]
        children: list[Json] = [
            {
                "cascadeDelete": False,
                "childSObject": child,
                "deprecatedAndHidden": False,
                "field": field,
                "junctionIdListNames": [],
                "junctionReferenceTo": [],
                "relationshipName": name,
                "restrictedDelete": False,
            }
            for name, child, field in CHILDREN.get(found.name, ())
        ]
        return {
            **found.described(version),
            "actionOverrides": [],
            "childRelationships": children,
            "compactLayoutable": True,
            "fields": list(seen),
            "namedLayoutInfos": [],
            "recordTypeInfos": [],
            "searchLayoutable": found.queryable,
            "sobjectDescribeOption": "FULL",
            "supportedScopes": [{"label": "All", "name": "everything"}],
        }

    def limits(self, call: Call) -> Response:
        """What is left of the org's allocations."""
        settings = self._org.settings
        with self._org.reading() as connection:
            since = self._org.now().timestamp() - 86400
            queries, batches = connection.execute(
                """SELECT count(*) FILTER (WHERE kind = 'query'), total(json_extract(progress, '$.batches'))
                   FROM _jobs WHERE made >= ?""",
                (since,),
            ).fetchone()
        told: dict[str, tuple[int, int]] = {
            "DailyApiRequests": (settings.daily_requests, self._usage.used()),
            "DailyBulkApiBatches": (settings.daily_batches, int(batches)),
            "DailyBulkV2QueryJobs": (settings.daily_query_jobs, int(queries)),
            "DailyBulkV2QueryFileStorageMB": (976_562, 0),
        }
        return json_response(
            {name: {"Max": most, "Remaining": max(0, most - used)} for name, (most, used) in told.items()}
        )

    def _conditional(self, call: Call, told: dict[str, Json]) -> Response:
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
        etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:8]}"'
        changed = datetime.fromisoformat(self._org.fact("described_at") or "1970-01-01T00:00:00+00:00")
        headers = {"ETag": etag, "Last-Modified": format_datetime(changed, usegmt=True)}
        if unchanged(call, etag, changed):
            return Response(status_code=304, headers=headers)
        return json_text(text, headers=headers)


def unchanged(call: Call, etag: str, changed: datetime) -> bool:
    """Whether a conditional request is answered with 304; If-None-Match goes first."""
    matches = call.headers.get("if-none-match")
    if matches is not None:
        return etag in (one.strip().removesuffix("--gzip") for one in matches.split(","))
    since = call.headers.get("if-modified-since")
    if since is None:
        return False
    try:
        return changed <= parsedate_to_datetime(since)
    except (TypeError, ValueError):
        return False
