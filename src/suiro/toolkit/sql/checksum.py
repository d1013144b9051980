"""Checksums computed by systems that speak SQL: each says how it writes values, the statements are made here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import pyarrow as pa

from suiro.model.canonical import BETWEEN, FRAMED, KEY_DIGITS, NULL, ROW_DIGITS, Form
from suiro.model.errors import DataError, InternalError
from suiro.model.schema import Stream
from suiro.model.summary import MODULUS
from suiro.spi.powers import Checksums, Hashed, Hashing
from suiro.spi.source import C
from suiro.toolkit.sql.source import Parameters, SqlSource, check_condition, enclosed

UNHASHED: Final = 10**40  #: more than any sum of hashes' numbers
_SCHEMA: Final = pa.schema([("k", pa.string()), ("r", pa.string())])


@dataclass(frozen=True, slots=True, kw_only=True)
class HashSql:
    """How a system writes the parts of a hash; expressions in, expressions out.

    `joined` puts `|` between texts, of which none is NULL; `text` makes a text of a number; `framed` puts its length
    in bytes and a colon before a text. `number` is that of the first so many hexadecimal digits. `totals` are sums to
    ask for, and what each counts in the whole; a row that couldn't be hashed makes them UNHASHED at least. `fence`
    stands after a subquery that isn't to be worked out once for each use of its columns.
    """

    joined: Callable[[Sequence[str]], str]
    text: Callable[[str], str]
    framed: Callable[[str], str]
    number: Callable[[str, int], str]
    md5: Callable[[str], str] = lambda text: f"md5({text})"
    totals: Callable[[str], Sequence[tuple[str, int]]] = lambda number: [(f"sum({number})", 1)]
    fence: str = ""

    def item(self, expression: str, form: Form) -> str:
        """A column's part in its row's text."""
        text = self.framed(expression) if form in FRAMED else self.text(expression)
        return f"coalesce({text}, '{NULL}')"

    def bucket(self, key: str, number: int) -> str:
        """The bucket of a key's hash."""
        return f"mod({self.number(key, KEY_DIGITS)}, {number})"


class Snapshot(ABC):
    """One state of a system, for several questions."""

    @abstractmethod
    def ask(self, sql: str, parameters: Parameters) -> Iterator[Sequence[Sequence[Any]]]:
        """The rows of a SELECT, some at a time, with memory bounded."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""


class HashingSource(SqlSource[C], Checksums):
    """Hashes rows by SQL."""

    hash_sql: ClassVar[HashSql]

    @abstractmethod
    def canonical(self, stream: Stream, column: str, form: Form) -> str | None:
        """The expression that gives a column's canonical text, or a number written so; None where there is none."""

    @abstractmethod
    def snapshot(self) -> Snapshot:
        """Open one."""

    def hashes(self, stream: Stream, column: str, form: Form) -> bool:
        """Whether there is an expression for it."""
        return self.canonical(stream, column, form) is not None

    def hashed(self, hashing: Hashing) -> Hashed:
        """The rows in a snapshot of their own."""
        return _SqlHashed(self.hash_sql, *self._hashes(hashing), snapshot=self.snapshot())

    def in_buckets(self, hashing: Hashing, number: int, buckets: Sequence[int], keys: Sequence[str]) -> str:
        """By the key's hash."""
        key = self.hash_sql.md5(self._text(hashing, hashing.key))
        condition = f"{self.hash_sql.bucket(key, number)} IN ({_listed(buckets)})"
        return condition if not keys else f"{condition} AND {key} IN ({', '.join(map(_quoted, keys))})"

    def _text(self, hashing: Hashing, columns: Sequence[str]) -> str:
        items = []
        for name in columns:
            expression = self.canonical(hashing.selection.stream, name, hashing.forms[name])
            if expression is None:
                raise InternalError(f"the column {name} has no canonical text here")
            items.append(self.hash_sql.item(expression, hashing.forms[name]))
        return self.hash_sql.joined(items)

    def _hashes(self, hashing: Hashing) -> tuple[str, list[object]]:
        """The SELECT of both hashes of every row, and its parameters."""
        selection = hashing.selection
        conditions, parameters = [], []
        if selection.where is not None:
            check_condition(selection.where, self.dialect)
            conditions.append(enclosed(selection.where))
        for condition, bound in self._range(selection, first=True):
            conditions.append(condition)
            parameters += bound
        whole, key = self._text(hashing, list(hashing.forms)), self._text(hashing, hashing.key)
        md5 = self.hash_sql.md5
        sql = f"SELECT {md5(key)} AS k, {md5(whole)} AS r FROM {self.relation(selection.stream)}"
        return sql + (f" WHERE {' AND '.join(conditions)}" if conditions else ""), parameters


class _SqlHashed(Hashed):
    """Answers by statements over the SELECT of all hashes."""

    def __init__(self, sql: HashSql, select: str, parameters: Parameters, *, snapshot: Snapshot) -> None:
        self._sql, self._select, self._parameters, self._snapshot = sql, select, parameters, snapshot

    def buckets(self, number: int) -> dict[int, tuple[int, int]]:
        totals = self._sql.totals(self._sql.number("r", ROW_DIGITS))
        sums = ", ".join(sum_ for sum_, _ in totals)
        asked = f"SELECT {self._sql.bucket('k', number)} AS b, count(*), {sums}"
        found = {}
        for bucket, rows, *parts in self._ask(f"{asked} FROM ({self._select}{self._sql.fence}) AS h GROUP BY 1"):
            if bucket is None or None in parts or max(parts) >= UNHASHED:
                raise DataError(
                    "the server can't hash all rows: some are longer than the texts that it makes",
                    hint="Allow it longer packets (max_allowed_packet), or leave wide columns out with columns.",
                )
            total = sum(int(part) * each for part, (_, each) in zip(parts, totals, strict=True))
            found[int(bucket)] = (int(rows), total % MODULUS)
        return found

    def rows(self, number: int, buckets: Sequence[int]) -> Iterator[pa.RecordBatch]:
        where = f"{self._sql.bucket('k', number)} IN ({_listed(buckets)})"
        asked = f"SELECT k, r FROM ({self._select}) AS h WHERE {where}"
        with closing(self._snapshot.ask(asked, self._parameters)) as blocks:  # type: ignore[type-var]
            for block in blocks:
                columns = [pa.array(list(values), pa.string()) for values in zip(*block, strict=True)]
                yield pa.RecordBatch.from_arrays(columns, schema=_SCHEMA)

    def close(self) -> None:
        self._snapshot.close()

    def _ask(self, sql: str) -> Iterator[Sequence[Any]]:
        with closing(self._snapshot.ask(sql, self._parameters)) as blocks:  # type: ignore[type-var]
            for block in blocks:
                yield from block


def joined_by_function(texts: Sequence[str], most: int = 90) -> str:
    """`concat_ws` over texts; over texts of texts where there are more than a function takes."""
    while len(texts) > most:
        parts = range(0, len(texts), most)
        texts = [joined_by_function(texts[start : start + most]) for start in parts]
    return f"concat_ws('{BETWEEN}', {', '.join(texts)})"


def joined_by_operator(texts: Sequence[str]) -> str:
    """Texts and `|` joined by the SQL standard's operator, in a tree that isn't deep."""
    if len(texts) == 1:
        return texts[0]
    half = len(texts) // 2
    return f"({joined_by_operator(texts[:half])} || '{BETWEEN}' || {joined_by_operator(texts[half:])})"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _quoted(digits: str) -> str:
    if not digits.isalnum():
        raise InternalError("a hash has hexadecimal digits alone")
    return f"'{digits}'"
