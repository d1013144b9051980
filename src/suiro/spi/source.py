"""What a source must be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel

from suiro.model.change import Change
from suiro.model.errors import ConfigError, InternalError
from suiro.model.naming import split_name
from suiro.model.schema import Json, Position, Stream
from suiro.model.selection import Selection
from suiro.spi.context import Context

C = TypeVar("C", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One part of a reading: the unit of parallelism and of retry.

    Reads of one `phase` may run side by side; a phase starts when the one before is done. `bounds` is this
    part's share in the source's own words; with `key` and the selections' names it can be serialised.
    """

    key: str
    selections: tuple[Selection, ...]
    phase: int = 0
    bounds: Mapping[str, Json] = field(default_factory=dict)


class Source(ABC, Generic[C]):
    """Reads streams. Synchronous: the engine brings the threads, one per read.

    Errors: ConfigError and AuthError from `check`, `discover` and `plan`; TransientError anywhere (the engine
    starts anew from the last published position); DataError and ResyncRequired from `read`.
    """

    def __init__(self, config: C, context: Context) -> None:
        self.config = config
        self.context = context

    @abstractmethod
    def check(self) -> None:
        """Reach the system with these settings, or raise. Reads no rows; changes nothing."""

    def remarks(self) -> Sequence[str]:
        """After `check`: sentences for the user about what these credentials lack."""
        return ()

    @abstractmethod
    def discover(self) -> Iterator[Stream]:
        """Yield every stream these credentials can read."""

    @abstractmethod
    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        """Yield what changed since `since` (None: everything), then stop; the last change is a Checkpoint.

        Yield a Checkpoint wherever stopping would lose nothing. When the generator is closed early, let go of
        what was opened.
        """

    @property
    def takes_ranges(self) -> bool:
        """Whether `start`, `stop` and `window` of a Selection are followed."""
        return False

    def find(self, name: str) -> Stream:
        """The stream of that name; ConfigError names those that come near."""
        names = []
        for stream in self.discover():
            if stream.name == name:
                return stream
            names.append(stream.name)
        raise ConfigError(f"there is no stream {name!r} here", hint=_near(name, names))

    def plan(self, selections: Sequence[Selection]) -> Sequence[Read]:
        """Split the work into parts; may create what reading needs (a snapshot, a replication slot)."""
        return [Read(key=s.stream.name, selections=(s,)) for s in selections]

    def join(self, parts: Sequence[Position]) -> Position:
        """The parts' last positions made into the task's one position."""
        if len(parts) != 1:
            raise InternalError(f"{type(self).__name__} read {len(parts)} parts and can't join them")
        return parts[0]

    def acknowledge(self, upto: Position) -> None:
        """`upto` is durable in the destination: the source may forget what came before."""
        return None

    def close(self) -> None:
        """Let go of connections. Called once, also after an error."""
        return None


def _near(name: str, names: Sequence[str]) -> str:
    last = split_name(name)[-1].lower()
    near = [n for n in names if last in n.lower() or n.lower() in name.lower()][:5] or list(names[:5])
    return f"Streams are, for example: {', '.join(near)}." if near else "These credentials see no streams at all."
