"""What Salesforce answers for a row, and which of the rows it is about.

Sources: "Get Failed Record Results" in Salesforce's Bulk API 2.0 Developer Guide; "Collections" in its REST API
Developer Guide.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

from suiro.connectors.salesforce.describe import ID
from suiro.connectors.salesforce.ids import id_key
from suiro.connectors.salesforce.wire import NOTHING, Written
from suiro.model.writeback import Action, Order, Outcome, RowResult

#: Reasons that pass by themselves. Known of the first: the guide's; the others are unverified.
PASSING: Final = frozenset({"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "QUERY_TIMEOUT", "TooManyLockFailure"})
_GONE: Final = "ENTITY_IS_DELETED"
_DECIMAL: Final = re.compile(r"-?\d+\.\d+")
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_BARE: Final = re.compile(r"[A-Z]+(_[A-Z0-9]+)+")  #: a code that stands alone


def done(order: Order, row: int, record: str | None, *, created: bool) -> RowResult:
    """It was done."""
    created = created or order.action is Action.INSERT
    return RowResult(row=row, outcome=Outcome.DONE, record=record or None, created=created)


def refused(order: Order, row: int, code: str | None, message: str | None, fields: Sequence[str] = ()) -> RowResult:
    """It was not done, for a reason; what is deleted already counts as done."""
    if order.action is Action.DELETE and code == _GONE:
        return RowResult(row=row, outcome=Outcome.DONE)
    return RowResult(row=row, outcome=Outcome.REFUSED, code=code, message=message, fields=tuple(fields))


def is_passing(result: RowResult) -> bool:
    """Whether the same row may be taken a little later."""
    return result.outcome is Outcome.REFUSED and result.code in PASSING


def given_up(result: RowResult) -> RowResult:
    """A row that wasn't taken however often it was tried: nothing was done, and another day it may be."""
    return replace(result, outcome=Outcome.UNPROCESSED)


def of_error(order: Order, row: int, error: Mapping[str, Any]) -> RowResult:
    """What one error of a collection's answer says."""
    fields = [str(name) for name in error.get("fields") or ()]
    return refused(order, row, error.get("statusCode") or error.get("errorCode"), error.get("message"), fields)


def of_text(order: Order, row: int, text: str | None, known: Collection[str]) -> RowResult:
    """What an error of a bulk job says: `CODE:message:Field,Other --`, the fields among those known."""
    said = (text or "").strip().removesuffix("--").rstrip()
    code, colon, rest = said.partition(":")
    if not (_CODE if colon else _BARE).fullmatch(code):
        return refused(order, row, None, said or None)
    message, colon, names = rest.rpartition(":")
    fields = [name.strip() for name in names.split(",") if name.strip()]
    if not colon or not all(name in known for name in fields):
        message, fields = rest, []
    return refused(order, row, code, message.strip() or None, fields)


@dataclass(frozen=True, slots=True)
class Told:
    """A row of a result set: which one, its record's id, and what else is said."""

    key: bytes
    record: str | None
    said: str | None


class Matcher:
    """Finds the rows of a job in its result sets, by the key that the order has or else by all that they hold.

    Rows of equal content stand for one another. What isn't found as it was written is looked for loosely: lines may
    end in any way, keys be in capitals, and numbers have other zeros behind the point.
    """

    def __init__(self, order: Order, written: Written, rows: Sequence[int]) -> None:
        by = ID if order.action in (Action.UPDATE, Action.DELETE) else order.by
        self._exact, self._loose = (_id, _id) if by == ID else (_digest, _loose_key)
        if order.action is Action.INSERT:
            self.columns, self._loose = written.headers, _loose_lines
            contents = written.contents(rows)
        else:
            assert by is not None
            self.columns = [by]
            texts = written.column(by).texts.to_pylist()
            contents = [[texts[row]] for row in rows]
        self._exactly: dict[bytes, list[int]] = {}
        self._loosely: dict[bytes, list[int]] = {}
        self._left = dict.fromkeys(rows)
        for row, cells in zip(reversed(rows), reversed(contents), strict=True):
            self._exactly.setdefault(self._exact(cells), []).append(row)
            self._loosely.setdefault(self._loose(cells), []).append(row)

    def told(self, cells: Sequence[str | None], record: str | None, said: str | None) -> Told:
        """A row of a result set, small enough to be kept until all have come; `cells` are those of `columns`."""
        exact = self._exact(cells)
        return Told(exact if exact in self._exactly else self._loose(cells), record, said)

    def take(self, key: bytes) -> int | None:
        """The row that is meant, once; None where there is none (any more)."""
        for places in (self._exactly, self._loosely):
            rows = places.get(key, [])
            while rows:
                row = rows.pop()
                if row in self._left:
                    del self._left[row]
                    return row
        return None

    @property
    def left(self) -> list[int]:
        """The rows that weren't found."""
        return list(self._left)


def _id(cells: Sequence[str | None]) -> bytes:
    return id_key(cells[0] or "").encode()


def _digest(cells: Iterable[str | None]) -> bytes:
    digest = blake2b(digest_size=16)
    for cell in cells:
        digest.update(b"" if cell is None or cell == NOTHING else cell.encode())
        digest.update(b"\x1f")
    return digest.digest()


def _loose_lines(cells: Sequence[str | None]) -> bytes:
    return _digest("\n".join((cell or "").splitlines()) for cell in cells)


def _loose_key(cells: Sequence[str | None]) -> bytes:
    text = (cells[0] or "").strip().lower()
    return _digest([text.rstrip("0").rstrip(".") if _DECIMAL.fullmatch(text) else text])
