"""Receipts: what was proved about a task run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much a receipt compares."""

    ROWS = "rows"  #: the number of rows
    SUMS = "sums"  #: and for each column the values that aren't NULL, sums, float bits, bytes; key ranges
    HASH = "hash"  #: and every value: the rows staged are read back, their hashes compared with those of rows in flight

    @property
    def adds_up_columns(self) -> bool:
        """Whether columns are compared by their sums, whatever else is."""
        return self is not Level.ROWS


class Basis(StrEnum):
    """Where the source's side of a receipt was computed."""

    SNAPSHOT = "source snapshot"  #: by the source system itself, in the snapshot that the rows were read from
    IN_FLIGHT = "rows in flight"  #: from the rows as they passed through, after mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """A column whose type the destination doesn't have. `lossy`: values may differ from the source's."""

    column: str
    source_type: str
    table_type: str
    lossy: bool = False


@dataclass(slots=True, kw_only=True)
class Entered:
    """What became of staged rows; they add up: staged = inserted + updated + unchanged + superseded + deleted.

    `removed` are rows of the table that a delete or a replace took away, marked, or (in a history) ended.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    deleted: int = 0
    removed: int = 0

    def add(self, other: Entered) -> None:
        """Take over another account."""
        for name, number in other.as_dict().items():
            setattr(self, name, getattr(self, name) + number)

    def as_dict(self) -> dict[str, int]:
        """The counts by name, as `Published` has them."""
        return {name: getattr(self, name) for name in Entered.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The account of one task run.

    It adds up: read = filtered + deduplicated + rejected + staged, and
    staged = inserted + updated + unchanged + superseded + deleted.
    `table_rows` are the staged rows as the destination counted them inside the publishing transaction;
    `superseded` rows gave way to a later one with the same key, or were there already.
    """

    level: Level
    basis: Basis
    equal: bool
    source_rows: int
    table_rows: int | None
    read: int
    filtered: int = 0
    deduplicated: int = 0
    rejected: int = 0
    staged: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    superseded: int = 0
    deleted: int = 0
    compared: tuple[str, ...] = ()  #: columns compared by more than their number of values
    differences: tuple[str, ...] = ()
    truncated: int = 0  #: values, not rows, that a mask cut short, as was asked
    casts: tuple[Cast, ...] = ()

    @property
    def adds_up(self) -> bool:
        """Whether every row read is accounted for, and every row staged."""
        carried = self.inserted + self.updated + self.unchanged + self.superseded + self.deleted
        return self.read == self.filtered + self.deduplicated + self.rejected + self.staged and self.staged == carried
