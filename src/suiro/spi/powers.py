"""Optional powers: what some connectors can do beyond the contract, each a small class to inherit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

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
