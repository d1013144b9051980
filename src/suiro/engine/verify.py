"""The account of a task run: every row read and every row staged, and what was compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from suiro.model.receipt import Basis, Cast, Entered, Level, Receipt
from suiro.model.schema import Table
from suiro.model.summary import EMPTY, Summary
from suiro.model.types import is_text, logical_base, logical_type
from suiro.spi.destination import Published

_TEXTS = frozenset({"varchar", "char", "bpchar"})


@dataclass(slots=True, kw_only=True)
class Counts:
    """Rows by what became of them, on their way and in the table."""

    read: int = 0
    filtered: int = 0
    deduplicated: int = 0
    rejected: int = 0
    staged: int = 0
    source_rows: int = 0
    table_rows: int = 0
    bytes: int = 0
    entered: Entered = field(default_factory=Entered)

    def add(self, other: Counts) -> None:
        """Take over another account."""
        for name in ("read", "filtered", "deduplicated", "rejected", "staged", "source_rows", "table_rows", "bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.entered.add(other.entered)


class Account:
    """Keeps the counts of published loads apart from those of the load under way, which a failure discards."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.basis = Basis.IN_FLIGHT
        self.done, self.pending = Counts(), Counts()
        self.loads = 0
        self.casts: tuple[Cast, ...] = ()
        self.compared: set[str] = set()
        self.notes: list[str] = []

    def forget_pending(self) -> None:
        """The load under way came to nothing."""
        self.pending = Counts()

    def nothing_new(self) -> None:
        """The load under way holds no row and is not published; what was read stays in the account."""
        self.done.add(self.pending)
        self.pending = Counts()

    def truncated(self, dropped: int) -> None:
        """Rows staged before a truncate at the source are gone there too."""
        self.pending.staged -= dropped
        self.pending.filtered += dropped

    def published(self, expect: Summary, result: Published, beside: Entered) -> None:
        """The load under way is published, and with it rows of other tables, which aren't this account's."""
        others = beside.as_dict()
        self.pending.entered = Entered(**{name: getattr(result, name) - others[name] for name in others})
        self._close(expect, result.found, beside.inserted + beside.deleted)
        self.note(result.notes)

    def note(self, sentences: Iterable[str]) -> None:
        """Take sentences into the record, each once."""
        self.notes += [said for said in sentences if said not in self.notes]

    def keys_compared(self, keys: int, result: Published) -> None:
        """All keys of the source were compared with the table's."""
        self.done.entered.removed += result.removed
        self.notes.append(f"All {keys:,} keys were compared; {result.removed:,} rows are no longer at the source.")
        self.note(result.notes)

    def published_unheard(self, expect: Summary, beside: Entered) -> None:
        """The load under way is published, but the destination's answer was lost with the connection."""
        self.pending.entered.inserted = self.pending.staged
        staged = self.pending.staged
        self._close(expect, EMPTY, beside.inserted + beside.deleted)
        self.done.table_rows += staged + beside.inserted + beside.deleted
        self.notes.append(
            "The connection broke while a load was published; its marker shows that it was. "
            "Its rows are counted as inserted."
        )

    def receipt(self, *, equal: bool, differences: tuple[str, ...] = ()) -> Receipt:
        """The receipt of all published loads, or of the load that was refused."""
        counts = Counts()
        counts.add(self.done)
        if differences:
            counts.add(self.pending)
        return Receipt(
            level=self.level,
            basis=self.basis,
            equal=equal,
            source_rows=counts.source_rows,
            table_rows=None if differences else counts.table_rows,
            read=counts.read,
            filtered=counts.filtered,
            deduplicated=counts.deduplicated,
            rejected=counts.rejected,
            staged=counts.staged,
            inserted=counts.entered.inserted,
            updated=counts.entered.updated,
            unchanged=counts.entered.unchanged,
            superseded=counts.entered.superseded,
            deleted=counts.entered.deleted,
            compared=tuple(sorted(self.compared)),
            differences=differences,
            casts=self.casts,
        )

    def _close(self, expect: Summary, found: Summary, beside: int = 0) -> None:
        self.pending.source_rows, self.pending.table_rows = expect.rows - beside, found.rows - beside
        self.done.add(self.pending)
        self.pending = Counts()
        self.loads += 1
        self.compared |= {
            name
            for name, column in expect.columns.items()
            if column.measure and name in found.columns and found.columns[name].measure == column.measure
        }


def represented(stream: pa.Schema, table: Table, mapping: Mapping[str, str]) -> tuple[Cast, ...]:
    """The columns that hold values of a type the table lacks as their text."""
    casts = []
    for source_name, name in mapping.items():
        at = table.schema.get_field_index(name)
        logical = logical_type(stream.field(source_name))
        if at < 0 or logical is None:
            continue
        field = table.schema.field(at)
        plain_text = is_text(field.type) and not isinstance(field.type, pa.BaseExtensionType)
        if plain_text and logical_type(field) is None and logical_base(stream.field(source_name)) not in _TEXTS:
            casts.append(Cast(column=name, source_type=logical, table_type=str(field.type)))
    return tuple(casts)
