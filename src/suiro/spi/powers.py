"""Optional powers: what some connectors can do beyond the contract, each a small class to inherit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from suiro.model.canonical import Form
from suiro.model.change import Checkpoint
from suiro.model.schema import Stream, Table
from suiro.model.selection import Selection, WriteSpec
from suiro.model.summary import Summary
from suiro.spi.destination import Claim, Staged
from suiro.spi.source import Read


class Summarises(ABC):
    """A source that counts and adds up inside the system."""

    @abstractmethod
    def summarise(self, read: Read, *, columns: bool, key: tuple[str, ...]) -> Summary:
        """The summary (see model/summary) of all that `read` yields in a full read, in the read's own snapshot.

        Called between `plan` and `close`, perhaps in another thread while the rows are being read.
        """

    def steady(self, selection: Selection) -> bool:
        """Whether the rows surely are the same when they are asked for again in one snapshot; by default yes.

        If not (a view may call a clock, and take long), the rows in flight are added up instead.
        """
        return True


class Queries(ABC):
    """A system that runs SQL itself. Sources with it take `Selection.where`."""

    @property
    def sql_dialect(self) -> str:
        """The system's SQL as sqlglot calls it; empty where sqlglot doesn't know it."""
        return ""

    @abstractmethod
    def query(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Run one statement; yield its rows, at least one batch (empty, for its schema) if it returns rows.

        Columns of one name get distinct ones. UserError with the system's message when the SQL is wrong.
        """


class OffersQueries(Queries):
    """A system whose queries can be read as if they were streams."""

    @abstractmethod
    def stream_of(self, sql: str, name: str, known: Mapping[str, pa.Field]) -> Stream:
        """The rows of one SELECT as a stream called `name`, which `plan`, `read` and other powers take as any other.

        Types are as exact as those of tables. `known` are fields of result columns that pass a stream's column on
        unchanged: they say more than the system may know of a result. Columns keep the names that the system gives
        them, doubled ones too. QueryError, with the place in `sql` where the system tells it, when the SQL is wrong.
        """

    @abstractmethod
    def sql_name(self, stream: Stream) -> str:
        """The stream as a query names it after FROM, whole and quoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A wire format as one system speaks it: two systems that name the same columns and types understand each other."""

    format: str  #: "postgresql binary COPY"
    columns: tuple[tuple[str, str], ...]  #: name and type, as the format needs them equal


class SharesFormat(ABC):
    """A source that hands out rows in a wire format, for full reads."""

    @abstractmethod
    def wire(self, selection: Selection) -> Wire | None:
        """The format and its columns for this selection, or None where it can't."""

    @abstractmethod
    def read_raw(self, read: Read) -> Iterator[bytes | memoryview | Checkpoint]:
        """Yield the format's bytes in pieces of any length; the last item is a Checkpoint."""


class RawStage(ABC):
    """Takes one stream of bytes in a wire format; otherwise as Stage."""

    @abstractmethod
    def write(self, data: bytes | memoryview) -> None:
        """Add the next piece."""

    @abstractmethod
    def seal(self) -> Staged:
        """As Stage.seal; `rows` as the destination counted them."""

    @abstractmethod
    def abort(self) -> None:
        """As Stage.abort."""


class TakesFormat(ABC):
    """A destination that stages rows in a wire format."""

    @abstractmethod
    def takes(self, wire: Wire, table: Table) -> bool:
        """Whether bytes of `wire` give exactly the rows that Arrow would; `table` as it shall be staged."""

    @abstractmethod
    def stage_raw(self, table: Table, spec: WriteSpec, claim: Claim, wire: Wire) -> RawStage:
        """As Destination.stage."""


class ReadsStaged(ABC):
    """A destination that reads back what it holds of sealed rows, before they are published."""

    @abstractmethod
    def read_staged(self, staged: Staged) -> Iterator[pa.RecordBatch]:
        """The sealed rows of one segment, key snapshots too, as the system holds them, in any order.

        Columns by the names of `staged.table.schema` and, of log reads, `_op` and `_seq`; in types of the system's
        own that `staged.table.schema` can be cast from. Nothing of what is staged changes. Called after `seal` and
        before `publish`, perhaps more than once. DataError names a column that holds no value of its type.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashing:
    """Which rows are hashed, and by which columns, in this order; see model/canonical."""

    selection: Selection  #: read in full; its columns are those of `forms`, in the stream's order
    forms: Mapping[str, Form]
    key: tuple[str, ...]  #: some of them


class Hashed(ABC):
    """Rows of a stream, hashed by the system that holds them; all that one object tells is of one snapshot."""

    @abstractmethod
    def buckets(self, number: int) -> dict[int, tuple[int, int]]:
        """By bucket that isn't empty, of so many: how many rows it has, and their checksum."""

    @abstractmethod
    def rows(self, number: int, buckets: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Of the rows of some buckets the hashes of their keys and their own: text columns `k` and `r`."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the snapshot."""


class Checksums(Queries):
    """A source that writes values as canonical text, and hashes them, inside the system."""

    @abstractmethod
    def hashes(self, stream: Stream, column: str, form: Form) -> bool:
        """Whether it writes this column in this form."""

    @abstractmethod
    def hashed(self, hashing: Hashing) -> Hashed:
        """Open a snapshot of the rows. DataError from its calls if the system can't hash one of them."""

    @abstractmethod
    def in_buckets(self, hashing: Hashing, number: int, buckets: Sequence[int], keys: Sequence[str]) -> str:
        """The condition, for `Selection.where`, on rows of these buckets; and, if any are given, of these keys' hashes.

        It doesn't hold the selection's own condition.
        """
