"""Requests to QuickBooks: queries page by page, the log of changed data, reports; and what its refusals mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from suiro.connectors.quickbooks.entities import CHANGED, DELETED, RECURRING, SIZE
from suiro.connectors.quickbooks.objects import cells, flat, lines, template, told
from suiro.model.errors import AuthError, RateLimited, ResyncRequired, TransientError
from suiro.toolkit.http.answers import Answer, Answers, Meaning, Reaction
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.pages import PageNumbers, Params
from suiro.toolkit.http.patience import Patience
from suiro.toolkit.http.records import JsonRecords, Page
from suiro.toolkit.http.resources import Resource
from suiro.toolkit.http.walk import Came, Walk

_THROTTLED: Final = "The company's quota is used up: of apps with a monthly one, perhaps until the next month."
ANSWERS: Final = Answers(
    meanings=(
        Meaning(code=frozenset({"3001", "003001"}), reaction=Reaction.PAUSE, error=RateLimited, hint=_THROTTLED),
        Meaning(
            code=frozenset({"3200", "003200"}),
            reaction=Reaction.RENEW,
            error=AuthError,
            hint="Sign in again: suiro authorize, or a new token.",
        ),
    ),
    codes=("code",),
    messages=("Detail", "detail", "Message", "message"),
    within=("Fault", "fault", "Error", "error"),
    refusals=("Fault", "fault"),
    trace="intuit_tid",
)


class Reports(Walk):
    """Goes through one report."""

    def _read(self, reader: JsonRecords, answer: Answer, given: Mapping[str, Any] | None = None) -> Page:
        return reader.page(lines(list(cells(told(answer)))), given)


class Queries(Walk):
    """Goes through one entity: pages are parts of a query's text."""

    def __init__(self, http: HttpClient, resource: Resource, custom: Sequence[str]) -> None:
        super().__init__(http, resource, None, workers=1)
        self._custom = custom
        self._size = resource.pages.size if isinstance(resource.pages, PageNumbers) else SIZE

    def probe(self, patience: Patience) -> None:
        self._ask({"most": 1}, self._resource.params, patience=patience)

    def _ask(self, paged: Params | str, params: Params, *, key: Any = None, patience: Patience | None = None) -> Answer:
        asked = {**params, **paged} if not isinstance(paged, str) else params
        size = int(asked.get("most", self._size))
        since = f"MetaData.LastUpdatedTime >= '{asked['since']}'" if "since" in asked else ""
        where = " AND ".join(str(one) for one in (asked.get("where"), since) if one)
        order = f" ORDERBY {asked['order']}" if "order" in asked else ""
        start = (int(asked.get("page", 1)) - 1) * size + 1
        query = f"SELECT * FROM {self._resource.name}{' WHERE ' if where else ''}{where}{order}"
        how: dict[str, Any] = {"label": f"/query of {self._resource.name}"}
        if patience is not None:
            how["patience"] = patience
        said = {"query": f"{query} STARTPOSITION {start} MAXRESULTS {size}", "minorversion": asked["minorversion"]}
        return self._http.get(self._resource.path, params=said, **how)

    def _read(self, reader: JsonRecords, answer: Answer, given: Mapping[str, Any] | None = None) -> Page:
        return reader.page(lines(self._flat(_objects(_answered(answer, "QueryResponse")))), given)

    def _flat(self, objects: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        wrapped = self._resource.name == RECURRING
        return [flat(template(one) if wrapped else one, self._custom) for one in objects]

    def changed(self, reader: JsonRecords, since: datetime) -> Came:
        """All that changed since a moment, deletes among it. ResyncRequired where that is too much for one answer."""
        name, minor = self._resource.name, self._resource.params["minorversion"]
        asked = {"entities": name, "changedSince": since.isoformat(timespec="seconds"), "minorversion": minor}
        answer = self._http.get("/cdc", params=asked, label=f"/cdc of {name}")
        parts = _answered(answer, "CDCResponse")
        found = [one for part in parts for response in part.get("QueryResponse", ()) for one in _objects(response)]
        if len(found) >= SIZE:
            raise ResyncRequired(
                f"{len(found):,} objects of {name} changed since {since:%Y-%m-%d %H:%M} UTC, and QuickBooks tells of "
                "no more at once: deletes among the others can't be known",
                hint="Resync the task and run it more often; or read it incrementally, with deletes by comparing keys.",
            )
        gone = {one["Id"]: one for one in found if str(one.get("status")).lower() == "deleted"}
        there = {one["Id"]: one for one in self._still_there(sorted(gone))}  # some are told as deleted, and aren't
        live = [one for one in found if one["Id"] not in gone]
        records = self._flat([*live, *there.values()])
        for id_, one in gone.items():
            if id_ not in there:
                records.append({"Id": id_, CHANGED: one.get("MetaData", {}).get("LastUpdatedTime"), DELETED: True})
        page = reader.page(lines(records))
        return Came(batch=page.batch, rejected=page.rejected, headers=answer.headers)

    def _still_there(self, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The objects of these ids, as far as a query finds them."""
        for first in range(0, len(ids), 100):
            among = ", ".join(f"'{id_}'" for id_ in ids[first : first + 100])
            where = " AND ".join(filter(None, (f"Id IN ({among})", str(self._resource.params.get("where", "")))))
            answer = self._ask({"most": SIZE}, {**self._resource.params, "where": where})
            yield from _objects(_answered(answer, "QueryResponse"))


def _answered(answer: Answer, member: str) -> Any:
    body = told(answer)
    if not isinstance(body, dict) or member not in body:
        raise TransientError(f"an answer of {len(answer.content):,} bytes was to hold {member} and doesn't")
    return body[member]


def _objects(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of a response; without any, their member is missing."""
    return [one for held in response.values() if isinstance(held, list) for one in held]
