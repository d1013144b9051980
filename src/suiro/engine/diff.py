"""A stream and a table compared: checksums of buckets of rows first, then the rows of those that differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from suiro.engine.canonical import Writer
from suiro.engine.ledger import Ledger, Numbers, bucket_of
from suiro.engine.sides import MOST_NAMED, Side
from suiro.model.cells import cell_text
from suiro.spi.context import Context

MOST_LOOKED_AT: Final = 1_000_000  #: rows of either side whose hashes are fetched
_EACH: Final = 2_000  #: rows that a bucket has, about
_LARGE: Final = 50_000  #: rows of a bucket, in the mean, above which the buckets are made anew
_FEWEST, _USUAL, _MOST = 64, 1_024, 65_536  #: buckets


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRow:
    """A row that differs. `columns` are those that do; `values` the source's and the table's texts of them."""

    key: Mapping[str, str | None]
    columns: tuple[str, ...] = ()
    values: Mapping[str, tuple[str | None, str | None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The rows that differ in one way: how many, and some of them."""

    number: int
    rows: tuple[NamedRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a comparison found. Not `whole`: too much differs, and the numbers are of the rows that were looked at."""

    source_rows: int
    table_rows: int
    missing: Kind
    different: Kind
    extra: Kind
    whole: bool
    looked_at: int  #: rows of the larger side, among those whose bucket differs
    buckets: int
    differing: int  #: buckets
    seconds: Mapping[str, float]  #: that each side took for its checksums

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differing


class Comparison:
    """Compares two sides; afterwards it knows the keys that differ, until it is closed. `names`: of both sides' keys.

    `columns` goes from the source's names to the table's, for all columns that are compared.
    """

    def __init__(
        self, source: Side, target: Side, columns: Mapping[str, str], context: Context, tell: Callable[[str], None]
    ) -> None:
        self.source, self.target, self._columns = source, target, columns
        self._context, self._tell = context, tell
        self.ledger = Ledger(context)
        self.number, self.looked = 0, list[int]()

    def close(self) -> None:
        """Forget what was found."""
        self.let_go()
        self.ledger.close()

    def let_go(self) -> None:
        """Let go of both sides' snapshots."""
        self.source.let_go()
        self.target.let_go()

    def run(self, *, buckets: int | None, most: int, values: bool) -> Findings:
        """Compare; name up to `most` rows of each kind, with their values if wanted."""
        self._tell("adding up checksums of both sides")
        here, there, seconds = self._checksums(buckets)
        rows = [sum(count for count, _ in found.values()) for found in (here, there)]
        differing = sorted(bucket for bucket in here.keys() | there.keys() if here.get(bucket) != there.get(bucket))
        self.looked, looked_at = _within_bound(differing, here, there)
        numbers = Numbers(missing=0, different=0, extra=0)
        if self.looked:
            self._tell(f"looking for the rows that differ, in {len(self.looked):,} of {self.number:,} buckets")
            self._both(lambda side: side.gather(self.ledger, self.number, self.looked))
            numbers = self.ledger.compare(self.number, self.looked)
        self.let_go()
        return Findings(
            source_rows=rows[0],
            table_rows=rows[1],
            missing=self._kind("missing", numbers.missing, most, values),
            different=self._kind("different", numbers.different, most, values),
            extra=self._kind("extra", numbers.extra, most, values),
            whole=len(self.looked) == len(differing),
            looked_at=looked_at,
            buckets=self.number,
            differing=len(differing),
            seconds=seconds,
        )

    # -- both sides --------------------------------------------------------------------------------------------------

    def _checksums(self, buckets: int | None) -> tuple[Any, Any, dict[str, float]]:
        estimates = [side.hashing.selection.stream.rows for side in (self.source, self.target)]
        self.number = buckets or _buckets_for(max((rows for rows in estimates if rows is not None), default=None))
        seconds: dict[str, float] = {}

        def add_up(side: Side) -> dict[int, tuple[int, int]]:
            started = time.monotonic()
            found = side.buckets(self.ledger, self.number)
            seconds[side.name] = time.monotonic() - started
            return found

        here, there = self._both(add_up)
        rows = max(sum(count for count, _ in found.values()) for found in (here, there))
        if here != there and buckets is None and rows > _LARGE * self.number:
            self.number = _buckets_for(rows)
            here, there = self._both(lambda side: side.buckets(self.ledger, self.number))
        return here, there, seconds

    def _both(self, act: Callable[[Side], Any]) -> tuple[Any, Any]:
        with ThreadPoolExecutor(2, thread_name_prefix="suiro-verify") as pool:
            found = [pool.submit(act, side) for side in (self.source, self.target)]
            return found[0].result(), found[1].result()

    # -- rows by name ------------------------------------------------------------------------------------------------

    def _kind(self, kind: str, number: int, most: int, values: bool) -> Kind:
        if not number or not most:
            return Kind(number=number)
        keys = self.ledger.keys(f"{kind} > 0", min(most, MOST_NAMED))
        here = self._described(self.source, keys) if kind != "extra" else {}
        there = self._described(self.target, keys) if kind != "missing" else {}
        rows = [_named(here.get(key), there.get(key), values) for key in keys if key in here or key in there]
        return Kind(number=number, rows=tuple(rows))

    def _described(self, side: Side, keys: Sequence[str]) -> dict[str, _Described]:
        """The rows with these keys as they are now, by the keys' hashes; columns by the source's names."""
        mine = list(self._columns) if side is self.source else list(self._columns.values())
        buckets = sorted({bucket_of(key, self.number) for key in keys})
        found = {}
        for batch, hashes in side.rows_of(self.ledger, keys, self.number, buckets, ()):
            writer = Writer(batch.schema, side.hashing.forms, side.hashing.key)
            places = {f"t{number}": text for number, text in enumerate(writer.texts)}
            texts = self.ledger.ask(writer.plain(batch), places).to_pylist()
            at = {name: f"t{number}" for number, name in enumerate(side.hashing.forms)}
            for number, key in enumerate(hashes):
                row = batch.slice(number, 1)
                found[key] = _Described(
                    key=self._key_of(side, row),
                    texts={name: texts[number][at[own]] for name, own in zip(self._columns, mine, strict=True)},
                    row=pa.RecordBatch.from_arrays([row.column(own) for own in mine], names=list(self._columns)),
                )
        return found

    def _key_of(self, side: Side, row: pa.RecordBatch) -> dict[str, str | None]:
        pairs = zip(self.source.hashing.key, side.hashing.key, strict=True)
        return {name: cell_text(row.column(own)) for name, own in pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Described:
    """A row: its key, its canonical texts, and itself, by the source's names."""

    key: Mapping[str, str | None]
    texts: Mapping[str, str | None]
    row: pa.RecordBatch


def _named(here: _Described | None, there: _Described | None, values: bool) -> NamedRow:
    """What is told of a row of both sides, or of one."""
    known = here or there
    assert known is not None
    named = NamedRow(key=known.key)
    if here is not None and there is not None:
        columns = tuple(name for name, text in here.texts.items() if there.texts[name] != text)
        named = replace(named, columns=columns)
    if not values:
        return named
    shown = named.columns if here is not None and there is not None else tuple(known.texts)
    return replace(named, values={name: (_cell(here, name), _cell(there, name)) for name in shown})


def _cell(row: _Described | None, name: str) -> str | None:
    return None if row is None else cell_text(row.row.column(name))


def _within_bound(
    differing: Sequence[int], here: Mapping[int, tuple[int, int]], there: Mapping[int, tuple[int, int]]
) -> tuple[list[int], int]:
    """The buckets, from the first, that have no more rows than are looked at; and how many these are."""
    looked, total = list[int](), 0
    for bucket in differing:
        rows = max(here.get(bucket, (0, 0))[0], there.get(bucket, (0, 0))[0])
        if total + rows > MOST_LOOKED_AT:
            break
        looked.append(bucket)
        total += rows
    return looked, total


def _buckets_for(rows: int | None) -> int:
    return _USUAL if rows is None else min(max(rows // _EACH, _FEWEST), _MOST)
