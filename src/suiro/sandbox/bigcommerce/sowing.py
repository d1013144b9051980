"""Where first records go: many at once, each with its id, parent and time of change."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from typing import Final, Protocol

from suiro.sandbox.bigcommerce.records import Row, Writer

DAY: Final = 86_400
YEAR: Final = 365 * DAY
AT_ONCE: Final = 5_000


class Ground(Protocol):
    """What takes new records: a Writer one by one, a Sowing many at once."""

    def add(self, kind: str, row: Row, *, parent: int = 0, modified: int = 0) -> Row:
        """Keep a new record; it is given back with its id."""
        ...

    def upcoming(self, kind: str) -> int:
        """The id that the next record of a kind gets."""
        ...


class Sowing:
    """Gathers new records and keeps them in bulk. Ids count up from `first`, or from 1."""

    def __init__(self, writer: Writer, now: datetime) -> None:
        self._writer = writer
        self._ids: Counter[str] = Counter()
        self._waiting: dict[str, list[tuple[Row, int, int]]] = defaultdict(list)
        self._number = 0
        self.now = int(now.timestamp())  #: what is made at first lies before it

    def first(self, kind: str, id: int) -> None:
        """Let the ids of a kind begin with another number."""
        self._ids[kind] = id - 1

    def add(self, kind: str, row: Row, *, parent: int = 0, modified: int = 0) -> Row:
        """Keep a new record; it is given back with its id."""
        self._ids[kind] += 1
        whole = {**row, "id": self._ids[kind]}
        self._waiting[kind].append((whole, parent, modified))
        self._number += 1
        if self._number >= AT_ONCE:
            self.flush()
        return whole

    def upcoming(self, kind: str) -> int:
        """The id that the next record of a kind gets."""
        return self._ids[kind] + 1

    def flush(self) -> None:
        """Hand what was gathered to the store."""
        for kind, rows in self._waiting.items():
            self._writer.fill(kind, rows)
        self._waiting.clear()
        self._number = 0


def spread(i: int, n: int, first: int, last: int) -> int:
    """The moment of the i-th of n things that happen evenly between two moments."""
    return first + (last - first) * i // max(n, 1)
