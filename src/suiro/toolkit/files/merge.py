"""Staged rows merged into a table's file, or left out of an append, by key and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.change import OP
from suiro.model.receipt import Entered
from suiro.model.selection import Deletes, WriteSpec
from suiro.toolkit.files import storage
from suiro.toolkit.files.formats import fitted
from suiro.toolkit.files.keyed import KeyTables, mask_of, numbered, rank, row_bytes

Rows = Callable[[], Iterator[pa.RecordBatch]]
Write = Callable[[pa.RecordBatch], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """A merge of `new` rows (as staged: the load's columns, perhaps with `_op`) into `old` rows of `schema`.

    `old` and `new` are read more than once. `columns` are those that the load has.
    """

    old: Callable[[list[str] | None], Iterator[pa.RecordBatch]]  #: some columns, or all (None)
    new: Rows
    schema: pa.Schema
    columns: list[str]
    spec: WriteSpec
    workdir: Path
    memory: int

    def into(self, write: Write) -> Entered:
        """Write the merged rows: the old ones that stay in their order, then the new ones in theirs."""
        keys = KeyTables(self.workdir, self.memory)
        try:
            arrived, skipped = self._take_in(keys)
            stretches = keys.stretches("idx", arrived + skipped)
            there = self._match(keys, arrived)
            kept_values = self._kept_path()
            self._write_old(keys, write, kept_values, keys.stretches("pos", there))
            self._write_new(keys, write, kept_values, stretches)
            return self._counts(keys, arrived, skipped, stretches)
        finally:
            keys.close()
            storage.remove(self._kept_path())

    def _kept_path(self) -> Path:
        return self.workdir / "kept-values.arrow"

    @property
    def _lacking(self) -> list[str]:
        """The table's columns that the load doesn't have: updated rows keep their values."""
        return [name for name in self.schema.names if name not in self.columns]

    def _take_in(self, keys: KeyTables) -> tuple[int, int]:
        """The new rows' keys. How many count, and how many are deletes to skip."""
        arrived = skipped = 0
        table = pa.schema([self.schema.field(name) for name in self.spec.key])
        if not self.spec.order_by:
            keys.run("CREATE TABLE incoming (idx BIGINT, key BLOB, del BOOLEAN)")
        for at, batch in numbered(self.new()):
            deletes = pc.equal(batch.column(OP), "d") if OP in batch.schema.names else pa.repeat(False, batch.num_rows)
            columns = {
                "idx": pa.array(range(at, at + batch.num_rows), pa.int64()),
                "key": row_bytes(fitted(batch, table), table),
                "del": deletes,
            }
            if self.spec.order_by:
                columns["ord"] = rank(batch.column(self.spec.order_by), batch.schema.field(self.spec.order_by))
            rows = pa.table(columns)
            if self.spec.deletes is Deletes.SKIP:
                rows = rows.filter(pc.invert(deletes))
            skipped += batch.num_rows - len(rows)
            arrived += len(rows)
            keys.add("incoming", {name: rows.column(name) for name in rows.column_names})
        if self.spec.order_by and not arrived + skipped:
            keys.run("CREATE TABLE incoming (idx BIGINT, key BLOB, del BOOLEAN, ord BIGINT)")
        return arrived, skipped

    def _match(self, keys: KeyTables, arrived: int) -> int:
        """Which new rows win, and which old ones they replace. How many old ones there are."""
        parts = keys.parts("incoming", arrived)
        keys.run("CREATE TABLE winner (key BLOB, idx BIGINT, del BOOLEAN)")
        for part in parts:
            winners = f"SELECT key, max(idx), arg_max(del, idx) FROM incoming WHERE {part} GROUP BY key"
            if self.spec.order_by:
                place = "row_number() OVER (PARTITION BY key ORDER BY ord DESC NULLS LAST, idx DESC) AS place"
                winners = f"SELECT key, idx, del FROM (SELECT *, {place} FROM incoming WHERE {part}) WHERE place = 1"
            keys.run(f"INSERT INTO winner {winners}")
        keys.run("DROP TABLE incoming")
        keys.run("CREATE TABLE present (pos BIGINT, key BLOB)")
        table = pa.schema([self.schema.field(name) for name in self.spec.key])
        there = 0
        for at, batch in numbered(self.old(list(self.spec.key))):
            places = pa.array(range(at, at + batch.num_rows), pa.int64())
            keys.add("present", {"pos": places, "key": row_bytes(batch, table)})
            there = at + batch.num_rows
        keys.run("CREATE TABLE matched (pos BIGINT, idx BIGINT, del BOOLEAN)")
        for part in parts:
            sides = [f"(SELECT * FROM {name} WHERE {part})" for name in ("present", "winner")]
            keys.run(f"INSERT INTO matched SELECT pos, idx, del FROM {sides[0]} JOIN {sides[1]} USING (key)")
        keys.run("DROP TABLE present")
        keys.run("CREATE TABLE before (idx BIGINT, digest VARCHAR, place BIGINT)")
        keys.run("CREATE TABLE after (idx BIGINT, digest VARCHAR)")
        return there

    def _write_old(self, keys: KeyTables, write: Write, kept_values: Path, stretches: list[str]) -> None:
        """Old rows without a new one; of the others, the digests and the values that stay."""
        matched = keys.aligned([f"SELECT pos, idx, del FROM matched WHERE {some} ORDER BY pos" for some in stretches])
        lacking = pa.schema([self.schema.field(name) for name in self._lacking])
        own = pa.schema([self.schema.field(name) for name in self.columns])
        place = 0
        with (
            storage.told(kept_values, "write to"),
            pa.OSFile(str(kept_values), "wb") as file,
            pa.ipc.new_file(file, lacking) as kept,
        ):
            for at, batch in numbered(self.old(None)):
                found = matched.upto(at + batch.num_rows)
                if not len(found):
                    write(batch)
                    continue
                gone = mask_of(found.column("pos"), at, batch.num_rows)
                write(batch.filter(pc.invert(gone)))
                same = batch.filter(gone)
                places = pa.array(range(place, place + same.num_rows), pa.int64())
                values = row_bytes(same, own)
                columns = {"idx": found.column("idx"), "row": values, "place": places}
                keys.add("before", columns, "idx, md5(row), place")
                place += same.num_rows
                if len(lacking):
                    kept.write_batch(same.select(lacking.names))

    def _write_new(self, keys: KeyTables, write: Write, kept_values: Path, stretches: list[str]) -> None:
        winners = keys.aligned(
            [
                f"SELECT w.idx, b.place FROM (SELECT * FROM winner WHERE {some}) w "
                f"LEFT JOIN (SELECT idx, max(place) AS place FROM before WHERE {some} GROUP BY idx) b USING (idx) "
                "WHERE NOT w.del ORDER BY w.idx"
                for some in stretches
            ]
        )
        own = pa.schema([self.schema.field(name) for name in self.columns])
        with pa.memory_map(str(kept_values)) as file:
            kept = pa.ipc.open_file(file).read_all() if self._lacking else None
            for at, batch in numbered(self.new()):
                found = winners.upto(at + batch.num_rows)
                if not len(found):
                    continue
                rows = fitted(batch, own).filter(mask_of(found.column("idx"), at, batch.num_rows))
                keys.add("after", {"idx": found.column("idx"), "row": row_bytes(rows, own)}, "idx, md5(row)")
                write(self._completed(rows, kept, found.column("place")))

    def _completed(self, rows: pa.RecordBatch, kept: pa.Table | None, places: pa.ChunkedArray) -> pa.RecordBatch:
        if kept is None:
            return fitted(rows, self.schema)
        values = kept.take(places).combine_chunks()
        arrays = [
            rows.column(name) if name in self.columns else _whole(values.column(name), self.schema.field(name).type)
            for name in self.schema.names
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _counts(self, keys: KeyTables, arrived: int, skipped: int, stretches: list[str]) -> Entered:
        winners = keys.number("SELECT count(*) FROM winner")
        deleted = keys.number("SELECT count(*) FROM winner WHERE del")
        matched = keys.number("SELECT count(*) FROM matched WHERE NOT del")
        there = same = 0
        for some in stretches:
            there += keys.number(f"SELECT count(DISTINCT idx) FROM matched WHERE NOT del AND {some}")
            sides = [f"(SELECT * FROM {name} WHERE {some})" for name in ("after", "before")]
            equal = f"FROM {sides[0]} a JOIN {sides[1]} b USING (idx) WHERE a.digest = b.digest"
            same += keys.number(f"SELECT count(DISTINCT a.idx) {equal}")
        return Entered(
            inserted=winners - deleted - there,
            updated=there - same,
            unchanged=same + skipped,
            superseded=arrived - winners,
            deleted=deleted,
            removed=keys.number("SELECT count(*) FROM matched WHERE del") + matched - there,
        )


def _whole(column: pa.ChunkedArray, type_: pa.DataType) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return column.combine_chunks() if column.num_chunks else pa.nulls(0, type_)


def without_existing(
    old: Callable[[list[str] | None], Iterator[pa.RecordBatch]],
    new: Rows,
    schema: pa.Schema,
    columns: tuple[str, ...],
    workdir: Path,
    memory: int,
) -> Iterator[pa.RecordBatch]:
    """The new rows whose values in `columns` no old row has."""
    keys = KeyTables(workdir, memory)
    table = pa.schema([schema.field(name) for name in columns])
    try:
        keys.run("CREATE TABLE present (pos BIGINT, key BLOB)")
        keys.run("CREATE TABLE incoming (pos BIGINT, key BLOB)")
        stop = 0
        for name, rows in (("present", old(list(columns))), ("incoming", new())):
            number, stop = stop, 0
            for at, batch in numbered(rows):
                places = pa.array(range(at, at + batch.num_rows), pa.int64())
                keys.add(name, {"pos": places, "key": row_bytes(fitted(batch, table), table)})
                stop = at + batch.num_rows
        keys.run("CREATE TABLE fresh (pos BIGINT)")
        for part in keys.parts("present", number):
            sides = [f"(SELECT * FROM {name} WHERE {part})" for name in ("incoming", "present")]
            keys.run(f"INSERT INTO fresh SELECT pos FROM {sides[0]} ANTI JOIN {sides[1]} USING (key)")
        fresh = keys.aligned(
            [f"SELECT pos FROM fresh WHERE {some} ORDER BY pos" for some in keys.stretches("pos", stop)]
        )
        for at, batch in numbered(new()):
            found = fresh.upto(at + batch.num_rows)
            if len(found):
                yield batch.filter(mask_of(found.column("pos"), at, batch.num_rows))
    finally:
        keys.close()
