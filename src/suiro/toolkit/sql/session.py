"""Sessions: an embedded database opened for a moment, and its tables as they stand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from suiro.model.schema import Table
from suiro.model.types import storage
from suiro.toolkit.sql.dialect import Dialect


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A table as it stands. `table` tells its columns as `stage` takes them; `types` the columns' declared types.

    `unique` are the sets of columns that a constraint or an index makes unique, compared as `Merge` compares them;
    `generated` the columns that can't be written.
    """

    parts: tuple[str, ...]
    table: Table
    types: dict[str, str]
    unique: tuple[frozenset[str], ...] = ()
    generated: frozenset[str] = frozenset()


class Session(ABC):
    """An open database. Driver errors come out as errors of ours; nothing is visible to others before `commit`."""

    dialect: ClassVar[Dialect]
    stage: ClassVar[str]  #: the temporary table of staged rows, as SQL names it
    decided: ClassVar[str]  #: the temporary table of a merge's decisions
    kept: ClassVar[str]  #: the temporary table of rows that a merge rewrites

    @abstractmethod
    def run(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run a statement; the number of rows it changed, where it changes rows."""

    @abstractmethod
    def ask(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run a query with a small result."""

    @abstractmethod
    def fill(self, table: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
        """Add rows of these columns to a table named in SQL, as they are; how many there were."""

    @abstractmethod
    def rows(self, table: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The table's columns of that schema, in its types."""

    @abstractmethod
    def standing(self, parts: tuple[str, ...]) -> Standing | None:
        """The table as it stands, or None. ConfigError if the name belongs to something else."""

    @abstractmethod
    def exists(self, parts: tuple[str, ...]) -> bool:
        """Whether there is a table of that name."""

    @abstractmethod
    def held_by(self, standing: Standing) -> tuple[str, ...]:
        """What would be lost or broken if the table were made anew, in words: "view v", "index i"."""

    @abstractmethod
    def create(self, parts: tuple[str, ...], schema: pa.Schema, key: tuple[str, ...]) -> None:
        """Make a table, with a primary key where one is given; and its schema, where that is missing."""

    @abstractmethod
    def add(self, standing: Standing, field: pa.Field) -> None:
        """Add a column, NULL in the rows that are there."""

    @abstractmethod
    def widen(self, standing: Standing, fields: Sequence[pa.Field]) -> None:
        """Give columns wider types; values, constraints and what depends on the table stay. SchemaConflict if not."""

    @abstractmethod
    def rekey(self, standing: Standing, key: tuple[str, ...]) -> None:
        """Give a table that Suiro made another key; values and what depends on the table stay."""

    def parts_of(self, rows: int) -> int:
        """In how many parts so many staged rows are matched with a table's, so that each fits the memory there is."""
        return 1

    @abstractmethod
    def begin(self) -> None:
        """Begin the transaction that excludes other writers."""

    @abstractmethod
    def commit(self) -> None:
        """Make everything since `begin` visible."""

    @abstractmethod
    def close(self) -> None:
        """Close the database; what wasn't committed is undone."""


def conformed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in the types of this schema, which hold its values exactly."""
    arrays = [conformed_column(batch.column(one.name), one.type) for one in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def conformed_column(array: pa.Array, type_: pa.DataType) -> pa.Array:
    """The column in this type, which holds its values exactly."""
    if array.type == type_:
        return array
    plain = (array.storage if isinstance(array, pa.ExtensionArray) else array).cast(storage(type_))
    return pa.ExtensionArray.from_storage(type_, plain) if isinstance(type_, pa.BaseExtensionType) else plain


def folded(name: str) -> str:
    """ASCII letters in lower case: names that differ by no more are one in embedded databases."""
    return name.translate(_LOWER)


_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
