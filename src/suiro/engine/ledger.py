"""Hashes of the rows of both sides of a comparison, kept on disk: what differs is found among them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from suiro.model.canonical import KEY_DIGITS, ROW_DIGITS
from suiro.model.summary import MODULUS
from suiro.spi.context import Context

LEAST_MEMORY: Final = 128 * 2**20  #: bytes that joins of any size need


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """How many rows the table lacks, holds with other values, and holds too many."""

    missing: int
    different: int
    extra: int


class Ledger:
    """Two lists of pairs, `source` and `target`: the hash of a row's key, and its own. Used by a thread for each."""

    def __init__(self, context: Context) -> None:
        import duckdb  # on use: it takes long to import

        folder = tempfile.mkdtemp(prefix="verify-", dir=context.workdir)
        memory = max(context.memory_bytes // 2, LEAST_MEMORY)
        config: dict[str, Any] = {"threads": 1, "memory_limit": f"{memory}B", "temp_directory": folder}
        self._db = duckdb.connect(f"{folder}/hashes.duckdb", config=config)
        self._db.execute("CREATE TABLE source (k UUID, r UUID); CREATE TABLE target (k UUID, r UUID)")
        self._takes_back = context.on_cancel(self._db.interrupt)

    def close(self) -> None:
        """Let go of it."""
        self._takes_back()
        self._db.close()

    def pen(self) -> Any:
        """A DuckDB cursor for one thread."""
        return self._db.cursor()

    def add(self, side: str, pen: Any, rows: pa.RecordBatch, key: str, row: str) -> None:
        """Add rows; the two expressions over their columns give the hashes, as hexadecimal digits."""
        pen.register("batch", rows)
        pen.execute(f"INSERT INTO {side} SELECT CAST({key} AS UUID), CAST({row} AS UUID) FROM batch")
        pen.unregister("batch")

    def buckets(self, side: str, pen: Any, number: int) -> dict[int, tuple[int, int]]:
        """As `Hashed.buckets`, of all the rows of a side."""
        digits = f"substr(replace(substr(CAST(r AS VARCHAR), 1, {ROW_DIGITS + 2}), '-', ''), 1, {ROW_DIGITS})"
        total = f"sum(CAST('0x' || {digits} AS BIGINT))"
        asked = f"SELECT {_bucket(number)}, count(*), {total} FROM {side} GROUP BY 1"
        found = pen.execute(asked).fetchall()
        return {int(bucket): (int(rows), int(total) % MODULUS) for bucket, rows, total in found}

    def compare(self, number: int, buckets: Sequence[int]) -> Numbers:
        """Find the keys whose rows differ, in these buckets; `keys` and `found` tell more of them."""
        self._db.execute("CREATE OR REPLACE TEMP TABLE looked (b BIGINT)")
        self._db.register("batch", pa.table({"b": pa.array(buckets, pa.int64())}))
        self._db.execute("INSERT INTO looked SELECT b FROM batch")
        self._db.unregister("batch")
        looked = f"WHERE {_bucket(number)} IN (FROM looked) GROUP BY k, r"
        counted = " ".join(
            f"{name} AS (SELECT k, r, count(*) AS n FROM {side} {looked}),"
            for name, side in (("s", "source"), ("t", "target"))
        )
        self._db.execute(
            f"CREATE OR REPLACE TABLE found AS WITH {counted} "
            "pairs AS (SELECT coalesce(s.k, t.k) AS k, coalesce(s.n, 0) AS here, coalesce(t.n, 0) AS there "
            "FROM s FULL JOIN t ON s.k = t.k AND s.r = t.r), "
            "sums AS (SELECT k, sum(here) AS here, sum(there) AS there, sum(greatest(here - there, 0)) AS lacking, "
            "sum(greatest(there - here, 0)) AS over FROM pairs GROUP BY k) "
            "SELECT k, here, there, lacking - least(lacking, over) AS missing, least(lacking, over) AS different, "
            "over - least(lacking, over) AS extra FROM sums WHERE lacking + over > 0"
        )
        asked = ", ".join(f"coalesce(sum({kind}), 0)" for kind in ("missing", "different", "extra"))
        missing, different, extra = map(int, self._db.execute(f"SELECT {asked} FROM found").fetchall()[0])
        return Numbers(missing=missing, different=different, extra=extra)

    def keys(self, condition: str, most: int | None = None) -> list[str]:
        """The hashes of keys that were found, in hexadecimal digits; `condition` on what was counted of them."""
        limit = "" if most is None else f" LIMIT {most}"
        asked = f"SELECT replace(CAST(k AS VARCHAR), '-', '') FROM found WHERE {condition} ORDER BY k{limit}"
        return [str(key) for (key,) in self._db.execute(asked).fetchall()]

    def ask(self, rows: pa.RecordBatch, expressions: Mapping[str, str]) -> pa.Table:
        """Expressions over the columns of some rows, in their order."""
        self._db.register("batch", rows)
        listed = ", ".join(f"{expression} AS {name}" for name, expression in expressions.items())
        found: pa.Table = self._db.sql(f"SELECT {listed} FROM batch").to_arrow_table()
        self._db.unregister("batch")
        return found


def bucket_of(key: str, number: int) -> int:
    """The bucket of a key's hash, in hexadecimal digits."""
    return int(key[:KEY_DIGITS], 16) % number


def _bucket(number: int) -> str:
    return f"CAST('0x' || substr(CAST(k AS VARCHAR), 1, {KEY_DIGITS}) AS BIGINT) % {number}"
