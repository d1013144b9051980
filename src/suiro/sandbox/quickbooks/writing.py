"""Writing objects: create, update whole or in part, delete; as one request or in a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from suiro.sandbox.quickbooks.answers import Body, Refused, missing
from suiro.sandbox.quickbooks.entities import NAMED, NAMES, TRANSACTIONS, key_of, name_of
from suiro.sandbox.quickbooks.grammar import parsed
from suiro.sandbox.quickbooks.records import Kept, Records

GONE: Final = " (deleted)"  #: what stands behind the name of an object that became inactive [REC]
_KEPT: Final = frozenset({"Id", "SyncToken", "MetaData", "domain", "sparse", "Active", "status"})
MOST_AT_ONCE: Final = 30


class Writing:
    """The changes that a client asks for."""

    def __init__(self, records: Records, now: Callable[[], datetime]) -> None:
        self._records, self._now = records, now

    def write(self, entity: str, given: Mapping[str, Any], operation: str | None) -> Kept:
        """Create, update or delete; the object as it is then."""
        with self._records.writing():
            if operation == "delete":
                return self._deleted(entity, given)
            return self._updated(entity, given) if given.get("Id") else self._created(entity, given)

    def batch(self, asked: Mapping[str, Any], query: Callable[[str], Body], tell: Callable[[Kept], Body]) -> Body:
        """Up to 30 operations, each with its own answer or fault [REC]."""
        items = asked.get("BatchItemRequest", [])
        if len(items) > MOST_AT_ONCE:
            raise Refused(400, "1040", "Batch size exceeded", f"The most are {MOST_AT_ONCE} (code unverified)")
        answers = []
        for item in items:
            answer: Body = {"bId": item.get("bId")}
            try:
                if "Query" in item:
                    answer["QueryResponse"] = query(str(item["Query"]))
                else:
                    entity = next(name for name in item if name not in ("bId", "operation"))
                    kept = self.write(entity, item[entity], item.get("operation"))
                    answer[key_of(entity)] = _stub(kept) if kept.gone else tell(kept)
            except Refused as refused:
                answer["Fault"] = refused.fault()
            answers.append(answer)
        return {"BatchItemResponse": answers}

    def _created(self, entity: str, given: Mapping[str, Any]) -> Kept:
        body = {name: value for name, value in given.items() if name not in _KEPT}
        self._check_name(entity, body, 0)
        if entity in TRANSACTIONS and not body.get("TotalAmt") and "Line" in body:
            body["TotalAmt"] = sum_of(body["Line"])
        if entity == "Invoice":
            body["Balance"] = body.get("TotalAmt", 0)
        if entity in NAMED:
            body.setdefault("FullyQualifiedName", body.get(NAMED[entity]))
        now = self._time()
        kept = Kept(entity=entity, id=self._records.upcoming(entity), created=now, updated=now, body=body)
        self._records.put([kept])
        if entity == "Payment":
            self._settle(body, now)
        return kept

    def _updated(self, entity: str, given: Mapping[str, Any]) -> Kept:
        kept = self._current(entity, given)
        body = {name: value for name, value in given.items() if name not in _KEPT}
        if given.get("sparse"):
            body = {**kept.body, **body}
        active = bool(given.get("Active", kept.active if given.get("sparse") else True))
        name = name_of(entity)
        if entity in NAMES and name in body:
            plain = str(body[name]).removesuffix(GONE)
            body[name] = plain if active else f"{plain}{GONE}"
        self._check_name(entity, body, kept.id)
        changed = replace(kept, body=body, active=active, token=kept.token + 1, updated=self._time())
        self._records.put([changed])
        return changed

    def _deleted(self, entity: str, given: Mapping[str, Any]) -> Kept:
        kept = self._current(entity, given)
        if entity in NAMES:
            detail = "Operation delete is not supported: make it inactive (words unverified)"
            raise Refused(400, "500", "Unsupported Operation", detail)
        gone = replace(kept, gone=True, token=kept.token + 1, updated=self._time(), body={})
        self._records.put([gone])
        return gone

    def _current(self, entity: str, given: Mapping[str, Any]) -> Kept:
        """The object to change, if the client knows its last version."""
        kept = self._records.get(entity, given.get("Id", ""))
        if kept is None:
            raise missing(entity, str(given.get("Id")))
        if str(given.get("SyncToken")) != str(kept.token):
            detail = f"Stale Object Error : You and somebody else were working on this at the same time. {entity}"
            raise Refused(400, "5010", "Stale Object Error", detail)
        return kept

    def _check_name(self, entity: str, body: Mapping[str, Any], own: int) -> None:
        """No two of a list have one name [REC]."""
        name = body.get(NAMED.get(entity, "")) if entity in NAMED else None
        if name is None:
            return
        where = f"json_extract(body, '$.{NAMED[entity]}') = ? AND id != ? AND active = 1"
        if self._records.number(entity, where, [name, own]):
            detail = f"The name supplied already exists. : {name}"
            raise Refused(400, "6240", "Duplicate Name Exists Error", detail)

    def _settle(self, payment: Mapping[str, Any], now: int) -> None:
        """A payment lowers the balances of the invoices that it is for."""
        for line in payment.get("Line", ()):
            for linked in line.get("LinkedTxn", ()):
                invoice = self._records.get("Invoice", linked.get("TxnId"))
                if linked.get("TxnType") == "Invoice" and invoice is not None:
                    balance = round(invoice.body.get("Balance", 0) - line.get("Amount", 0), 2)
                    body = {**invoice.body, "Balance": balance}
                    self._records.put([replace(invoice, body=body, token=invoice.token + 1, updated=now)])

    def _time(self) -> int:
        return int(self._now().timestamp())


def sum_of(lines: Any) -> float:
    """The amount of a form's lines; a line that is a subtotal doesn't count."""
    return float(round(sum(one.get("Amount", 0) for one in lines if one.get("DetailType") != "SubTotalLineDetail"), 2))


def _stub(kept: Kept) -> Body:
    """What the answer to a delete tells."""
    return {"domain": "QBO", "status": "Deleted", "Id": str(kept.id)}


def queried(records: Records, text: str, tell: Callable[[Kept], Body], *, again: bool) -> Body:
    """What a query answers. `again`: its first objects come once more at the end."""
    query = parsed(text)
    where, given = query.sql()
    if query.count:
        return {"totalCount": records.number(query.entity, where, given)}
    limit = (query.most, query.start - 1)
    found = records.find(query.entity, where, given, order=query.order_sql(), limit=limit)
    told = [tell(one) for one in [*found, *(found[:2] if again else ())]]
    if not told:
        return {}  # the member is missing, not empty [CLIENT]
    return {key_of(query.entity): told, "startPosition": query.start, "maxResults": len(told)}
