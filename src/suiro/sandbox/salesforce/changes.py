"""getDeleted and getUpdated: what changed in a span of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from starlette.responses import Response

from suiro.sandbox.salesforce.api import Api, Call, json_response
from suiro.sandbox.salesforce.errors import Refusal, not_found
from suiro.sandbox.salesforce.fields import Sobject
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.values import moment, read_moment, written

MOST_DAYS = 15


class Changes:
    """Handlers of `/sobjects/X/deleted` and `/updated` [DOC resources-getdeleted]."""

    def __init__(self, org: Org) -> None:
        self._org = org

    def add_to(self, api: Api) -> None:
        api.add("/sobjects/{object}/deleted", {"GET": self.deleted})
        api.add("/sobjects/{object}/updated", {"GET": self.updated})

    def deleted(self, call: Call) -> Response:
        found, start, end = self._asked(call)
        with self._org.reading() as connection:
            rows = connection.execute(
                "SELECT id, at FROM _deletions WHERE object = ? AND at >= ? AND at < ? ORDER BY at, id",
                (found.name, max(start, self._earliest(found)), end),
            ).fetchall()
        self._few(len(rows))
        return json_response(
            {
                "deletedRecords": [{"id": identity, "deletedDate": written(at)} for identity, at in rows],
                "earliestDateAvailable": written(self._earliest(found)),
                "latestDateCovered": written(self._covered(end)),
            }
        )

    def updated(self, call: Call) -> Response:
        """Live records that were written in the span; formulas that changed by themselves are no writes."""
        found, start, end = self._asked(call)
        seen = f" AND _visible <= {self._org.milliseconds()}"
        with self._org.reading() as connection:
            ids = [
                identity
                for (identity,) in connection.execute(
                    f"""SELECT "Id" FROM "{found.name}" WHERE _deleted = 0 AND "SystemModstamp" >= ?
                        AND "SystemModstamp" < ?{seen} ORDER BY "SystemModstamp", _row""",
                    (start, end),
                )
            ]
        self._few(len(ids))
        return json_response({"ids": list(ids), "latestDateCovered": written(self._covered(end))})

    def _asked(self, call: Call) -> tuple[Sobject, str, str]:
        """Object and span, floored to the minute. Refusal INVALID_REPLICATION_DATE (code unverified)."""
        found = self._org.find(call.path["object"])
        if found is None:
            raise not_found()
        if not found.replicateable or "Id" not in found.fields or "SystemModstamp" not in found.fields:
            raise Refusal(400, "INVALID_TYPE", f"{found.name} can't be replicated")
        start, end = self._minute(call, "start"), self._minute(call, "end")
        if end - start < timedelta(minutes=1):
            raise Refusal(400, "INVALID_REPLICATION_DATE", "endDate must be at least one minute after startDate")
        if self._org.now() - start > timedelta(days=MOST_DAYS, minutes=1):
            raise Refusal(400, "INVALID_REPLICATION_DATE", f"startDate must be within the last {MOST_DAYS} days")
        return found, moment(start), moment(end)

    def _minute(self, call: Call, name: str) -> datetime:
        # A plus that wasn't encoded arrives as a space.
        found = read_moment(call.query.get(name, "").replace(" ", "+"))
        if found is None:
            raise Refusal(400, "INVALID_REPLICATION_DATE", f"{name} must be a time of ISO 8601")
        return datetime.fromisoformat(found[:-1]).replace(second=0, microsecond=0, tzinfo=UTC)

    def _earliest(self, found: Sobject) -> str:
        """Where the delete log begins: 15 days ago, later where it was trimmed."""
        oldest = (self._org.now() - timedelta(days=MOST_DAYS)).replace(second=0, microsecond=0)
        trimmed = self._org.settings.deleted_from.get(found.name)
        return moment(max(oldest, trimmed)) if trimmed is not None else moment(oldest)

    def _covered(self, end: str) -> str:
        """Up to where the answer is complete: the end of the span, but not later than now."""
        behind = timedelta(seconds=self._org.settings.covered_behind_seconds)
        return min(end, moment((self._org.now() - behind).replace(second=0, microsecond=0)))

    def _few(self, number: int) -> None:
        if number > self._org.settings.most_changed_ids:
            most = self._org.settings.most_changed_ids
            raise Refusal(400, "EXCEEDED_ID_LIMIT", f"more than {most} ids in this span of time")
