"""A plan on its way into the ledger: rows gathered into batches, and what people are told of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from suiro.engine.writeback.ledger import Ledger
from suiro.engine.writeback.present import one_batch
from suiro.model.cells import cell_text, cell_texts
from suiro.model.journal import REFUSED, Kept, Part, Plan
from suiro.model.writeback import Order

SAMPLES: Final = 5  #: rows that stand for others of their kind
_MOST_REASONS: Final = 200  #: that are told apart
_MOST_CHARACTERS: Final = 200  #: of a value that is shown

Slot = tuple[Part, str, tuple[str, ...]]  #: batches are of one part, one action and one set of fields


@dataclass(slots=True)
class _Waiting:
    order: Order | None
    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0


class Builder:
    """Gathers rows by what is to be done with them, into batches of as many as the application takes, or bytes."""

    def __init__(self, ledger: Ledger, plan: Plan, most_rows: Callable[[Order], int], most_bytes: int) -> None:
        self._ledger, self.plan = ledger, plan
        self._most_rows, self._most_bytes = most_rows, most_bytes
        self._waiting: dict[Slot, _Waiting] = {}

    def add(self, part: Part, order: Order | None, data: pa.RecordBatch) -> None:
        """Rows of one part, one order, with one set of columns."""
        if not data.num_rows:
            return
        slot = (part, "" if order is None else order.action.value, tuple(data.schema.names))
        waiting = self._waiting.setdefault(slot, _Waiting(order))
        most = self._most_rows(order) if order is not None else 50_000
        while data.num_rows:
            room = max(most - waiting.rows, 1)
            some, data = data.slice(0, room), data.slice(room)
            waiting.batches.append(some)
            waiting.rows += some.num_rows
            waiting.bytes += some.nbytes
            if waiting.rows >= most or waiting.bytes >= self._most_bytes:
                self._flush(slot)
                waiting = self._waiting[slot] = _Waiting(order)
        while sum(each.bytes for each in self._waiting.values()) > 2 * self._most_bytes:
            self._flush(max(self._waiting, key=lambda each: self._waiting[each].bytes))

    def finish(self) -> None:
        """Put what waits into the ledger."""
        for slot in list(self._waiting):
            self._flush(slot)

    def _flush(self, slot: Slot) -> None:
        waiting = self._waiting.pop(slot)
        if waiting.rows:
            whole = one_batch(waiting.batches, waiting.batches[0].schema)
            self._ledger.batches.add(self.plan.id, slot[0], waiting.order, whole)


@dataclass(slots=True)
class Telling:
    """What a plan tells people: counts, the fields that change with some rows, reasons of refusal, warnings."""

    counts: dict[str, int] = field(default_factory=dict)
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[tuple[str, str | None], dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, list[str]] = field(default_factory=dict)  #: some keys of each kind of row
    warnings: list[str] = field(default_factory=list)

    def count(self, kind: str, number: int = 1) -> None:
        """So many more rows of a kind."""
        self.counts[kind] = self.counts.get(kind, 0) + int(number)

    def name(self, kind: str, keys: Sequence[str | None]) -> None:
        """Some keys of rows of a kind."""
        there = self.keys.setdefault(kind, [])
        there += [shown(key) or "NULL" for key in keys[: max(SAMPLES - len(there), 0)]]

    def changed(
        self, name: str, rows: Sequence[int], keys: Sequence[str | None], before: pa.Array, after: pa.Array
    ) -> None:
        """The field changes in these rows."""
        if not rows:
            return
        there = self.fields.setdefault(name, {"rows": 0, "samples": []})
        there["rows"] += len(rows)
        for row in rows[: max(SAMPLES - len(there["samples"]), 0)]:
            texts = {"before": shown(cell_text(before.slice(row, 1))), "after": shown(cell_text(after.slice(row, 1)))}
            there["samples"].append({"key": keys[row], **texts})

    def refused(self, code: str, message: str, name: str | None, keys: Sequence[str | None]) -> None:
        """Rows are refused for one reason."""
        slot = (code, name)
        if slot not in self.reasons and len(self.reasons) >= _MOST_REASONS:
            slot, message = ("OTHER", None), "other reasons"
        there = self.reasons.setdefault(slot, {"message": message, "rows": 0, "keys": []})
        there["rows"] += len(keys)
        there["keys"] += [key or "NULL" for key in keys[: max(SAMPLES - len(there["keys"]), 0)]]

    def as_plain(self) -> dict[str, Any]:
        """All of it as plain data."""
        reasons = [{"code": code, "field": name, **said} for (code, name), said in self.reasons.items()]
        return {
            "counts": self.counts,
            "fields": self.fields,
            "keys": self.keys,
            "reasons": sorted(reasons, key=lambda said: -said["rows"]),
            "warnings": self.warnings,
        }


def shown(text: str | None) -> str | None:
    """A value as it is shown: cut where it is long."""
    return text if text is None or len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."


def row_texts(rows: pa.RecordBatch) -> list[str]:
    """Each row as a JSON object of texts by column."""
    columns = {name: cell_texts(rows.column(name)) for name in rows.schema.names}
    return [
        json.dumps({name: shown(texts[at]) for name, texts in columns.items()}, ensure_ascii=False)
        for at in range(rows.num_rows)
    ]


def kept_aside(rows: Sequence[Mapping[str, Any]], kind: Kept) -> pa.RecordBatch:
    """Rows as `REFUSED`, from what is said of each; what isn't said is NULL."""
    columns = [[row.get(name) for row in rows] for name in REFUSED.names]
    columns[REFUSED.get_field_index("kind")] = [kind.value] * len(rows)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, REFUSED, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=REFUSED)
