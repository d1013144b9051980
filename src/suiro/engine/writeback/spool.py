"""The rows of a plan on disk, and which of them are new, changed, doubled or gone against what is known."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from suiro.engine.ledger import LEAST_MEMORY
from suiro.engine.writeback.rows import Hasher, Piece
from suiro.engine.writeback.shape import Shape
from suiro.engine.writeback.values import Reasons
from suiro.model.journal import Kept
from suiro.spi.context import Context

_HEX: Final = "replace(CAST({} AS VARCHAR), '-', '')"


class Fate(StrEnum):
    """How a row stands against what is known."""

    REFUSED = "refused"  #: by ourselves, before anything is sent
    DUPLICATE = "duplicate"  #: another row has its key
    UNCHANGED = "unchanged"  #: it was sent last, as it is
    HELD = "held"  #: the application refused it, as it is
    UNKNOWN = "unknown"  #: it was sent, and what became of it isn't known
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """Rows of one piece, with what is known of them: columns `k`, `h`, `hash`, `record`, `own`, `fate`."""

    piece: int
    rows: pa.RecordBatch
    known: pa.Table


class Spool:
    """Takes pieces in, then what is known, then sorts. Everything but a piece at a time lies on disk."""

    def __init__(self, shape: Shape, context: Context) -> None:
        import duckdb  # on use: it takes long to import

        self._folder = Path(tempfile.mkdtemp(prefix="writeback-", dir=context.workdir))
        memory = max(context.memory_bytes // 2, LEAST_MEMORY)
        config: dict[str, Any] = {"threads": 1, "memory_limit": f"{memory}B", "temp_directory": str(self._folder)}
        self._db = duckdb.connect(str(self._folder / "keys.duckdb"), config=config)
        self._db.execute(
            "CREATE TABLE rows (piece INTEGER, row INTEGER, k UUID, h UUID, fine BOOLEAN);"
            "CREATE TABLE sent (k UUID, hash UUID, record VARCHAR, own BOOLEAN);"
            "CREATE TABLE aside (k UUID, hash UUID, kind VARCHAR)"
        )
        self._takes_back = context.on_cancel(self._db.interrupt)
        self.hasher = Hasher(shape, self._db)
        self._writer = pa.ipc.new_file(str(self._folder / "rows.arrow"), shape.schema)
        self._reasons: list[Reasons] = []
        self.pieces = self.read = self.filtered = self.bytes = 0

    def close(self) -> None:
        """Let go of it."""
        self._takes_back()
        self._writer.close()
        self._db.close()

    def add(self, piece: Piece) -> None:
        """Take rows in."""
        self.filtered += piece.filtered
        self.read += piece.rows.num_rows + piece.filtered
        self.bytes += piece.rows.nbytes
        if not piece.rows.num_rows:
            return
        k, h = self.hasher.rows(piece.rows)
        self._reasons.append(piece.reasons)
        self._writer.write_batch(piece.rows)
        count = piece.rows.num_rows
        self._insert(
            "rows",
            {
                "piece": pa.array(np.full(count, self.pieces), pa.int32()),
                "row": pa.array(np.arange(count), pa.int32()),
                "k": k,
                "h": h,
                "fine": pa.array(piece.reasons.fine),
            },
        )
        self.pieces += 1

    def know(self, sent: Iterator[pa.RecordBatch], aside: Iterator[pa.RecordBatch]) -> None:
        """Take in what is known, and compare; no more rows come."""
        self._writer.close()
        for batch in sent:
            self._insert("sent", {name: batch.column(name) for name in ("k", "hash", "record", "own")})
        for batch in aside:
            self._insert("aside", {name: batch.column(name) for name in ("k", "hash", "kind")})
        cases = (
            f"WHEN NOT fine THEN '{Fate.REFUSED}' WHEN number > 1 THEN '{Fate.DUPLICATE}' "
            f"WHEN s.hash = h THEN '{Fate.UNCHANGED}' "
            f"WHEN a.kind = '{Kept.REFUSED}' AND a.hash = h THEN '{Fate.HELD}' "
            f"WHEN a.kind = '{Kept.UNKNOWN}' THEN '{Fate.UNKNOWN}' ELSE '{Fate.CANDIDATE}' "
        )
        self._db.execute(
            "CREATE TABLE sorted AS SELECT piece, row, r.k, h, s.hash, s.record, s.own, a.hash AS aside, "
            f"CASE {cases} END AS fate "
            "FROM (SELECT *, count(*) OVER (PARTITION BY k) AS number FROM rows) r "
            "LEFT JOIN sent s ON s.k = r.k LEFT JOIN aside a ON a.k = r.k"
        )
        self._db.execute("DROP TABLE rows")
        self._file = pa.memory_map(str(self._folder / "rows.arrow"))
        self._stored = pa.ipc.open_file(self._file)

    def count(self, fate: Fate) -> int:
        """How many rows stand so."""
        return self._number(f"SELECT count(*) FROM sorted WHERE fate = '{fate}'")

    def sorted(self, *fates: Fate) -> Iterator[Sorted]:
        """The rows that stand so, piece by piece, as they were read."""
        listed = ", ".join(f"'{fate}'" for fate in fates)
        columns = f"row, {_HEX.format('k')} AS k, {_HEX.format('h')} AS h, {_HEX.format('hash')} AS hash, record, own, "
        for number in range(self.pieces):
            asked = f"SELECT {columns} {_HEX.format('aside')} AS aside, fate FROM sorted "
            known = self._db.sql(f"{asked} WHERE piece = {number} AND fate IN ({listed}) ORDER BY row").to_arrow_table()
            if known.num_rows:
                rows = self._stored.get_batch(number).take(known.column("row").combine_chunks())
                yield Sorted(piece=number, rows=rows, known=known)

    def reason(self, piece: int, row: int) -> tuple[str, str, str | None]:
        """Why a row is refused before it is sent: a code, a sentence, a field."""
        return self._reasons[piece].of(row)

    def gone(self) -> Iterator[pa.RecordBatch]:
        """What was sent once and is no longer among the rows: columns `k`, `hash`, `record`."""
        asked = (
            f"SELECT {_HEX.format('k')} AS k, {_HEX.format('hash')} AS hash, record FROM sent "
            "WHERE own AND k NOT IN (SELECT k FROM sorted) ORDER BY sent.k"
        )
        with self._db.cursor() as pen:  # its own: others ask while it is read
            yield from pen.sql(asked).to_arrow_reader(10_000)

    def forgotten(self) -> pa.RecordBatch:
        """What is to be kept aside no more, the column `k`: refused by ourselves, gone, or sent as it is by now."""
        left = f"SELECT k FROM sorted WHERE fate <> '{Fate.UNCHANGED}'"
        asked = (
            f"SELECT {_HEX.format('k')} AS k FROM aside WHERE kind = '{Kept.CHECKED}' "
            f"OR (kind = '{Kept.REFUSED}' AND k NOT IN ({left}))"
        )
        table = self._db.sql(asked).to_arrow_table().combine_chunks()
        return pa.RecordBatch.from_arrays([_whole(table.column("k"))], names=["k"])

    def managed(self) -> int:
        """How many records hold what was sent to them."""
        return self._number("SELECT count(*) FROM sent WHERE own")

    def _number(self, asked: str) -> int:
        ((found,),) = self._db.execute(asked).fetchall()
        return int(found)

    def _insert(self, table: str, columns: dict[str, pa.Array]) -> None:
        self._db.register("batch", pa.table(columns))
        self._db.execute(f"INSERT INTO {table} SELECT * FROM batch")
        self._db.unregister("batch")


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)
