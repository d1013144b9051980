"""Reading files: streams from folders and patterns, whole or only what is new.

Incremental reads carry files that are new or changed (by name, size and time of modification), oldest first, with a
checkpoint after each. Two contents of one size and one time can't be told apart.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from suiro.model.change import Change, Checkpoint, Rejected, Rows
from suiro.model.errors import ConfigError, DataError, SuiroError, TransientError
from suiro.model.rejected import RejectedRow
from suiro.model.schema import Position, ReadMode, Stream
from suiro.spi.context import Context
from suiro.spi.source import Read, Source
from suiro.toolkit.files import formats, storage
from suiro.toolkit.files.content import parts
from suiro.toolkit.files.csv import CsvProfile
from suiro.toolkit.files.formats import Profile
from suiro.toolkit.files.listing import FileItem, Location, streams
from suiro.toolkit.files.names import name_pattern
from suiro.toolkit.files.position import Carried
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.storage import Stamp

_FITTING = (pa.ArrowInvalid, pa.ArrowNotImplementedError)
S = TypeVar("S", bound=FileSettings)


class FilesSource(Source[S]):
    """Reads the files of one location."""

    def __init__(self, config: S, context: Context) -> None:
        super().__init__(config, context)
        self._profiles: dict[Path, tuple[Stamp, list[Profile]]] = {}

    def location(self) -> Location:
        """Where the files are."""
        raise TypeError(f"{type(self).__name__} must say where its files are")

    def check(self) -> None:
        """Find a folder, or at least one file where the location names files, and be allowed to read."""
        location = self.location()
        found = [item for items in self._listed().values() for item in items]
        if not found and (location.pattern or location.file):
            raise ConfigError(
                f"no file to read at {location}", hint="Check the location, or set the format of other names."
            )
        for item in found[:100]:
            with storage.opened(item.path):
                pass

    def discover(self) -> Iterator[Stream]:
        """Every stream with its columns. A file that can't be read becomes a note; reading it raises."""
        for name, items in self._listed().items():
            yield self._stream(name, items)

    def find(self, name: str) -> Stream:
        """As Source.find; looks into the files of that stream alone. DataError names a file that can't be read."""
        items = self._listed().get(name)
        return super().find(name) if items is None else self._stream(name, items, refuses=True)

    def read(self, read: Read, since: Position | None) -> Iterator[Change]:
        """The rows of every file that `since` doesn't hold, oldest file first; a Checkpoint after each file."""
        (selection,) = read.selections
        stream = selection.stream
        if selection.where is not None:
            raise ConfigError("files can't be asked with a condition", hint="Leave out `where`.")
        if selection.read_mode is ReadMode.LOG:
            raise ConfigError("files have no change log", hint="Read in full or incrementally.")
        items = self._listed().get(stream.name, [])
        if not items:
            raise ConfigError(f"no file of the stream {stream.name} is there any more at {self.location()}")
        carried = Carried(since)
        pending = [item for item in items if not carried.holds(item)]
        if not pending:
            yield Checkpoint(position=carried.position())
        for number, item in enumerate(pending, 1):
            wrong = list[RejectedRow]() if selection.rejects else None
            for batch in self._rows(item, selection.columns, stream.schema, wrong):
                self.context.check_cancelled()
                yield Rows(stream=stream.name, data=batch)
                yield from _rejected(stream.name, wrong)
            yield from _rejected(stream.name, wrong)
            carried.add(item)
            carried.fold(items, pending[number:])
            yield Checkpoint(position=carried.position())

    def _listed(self) -> dict[str, list[FileItem]]:
        any_name = self.config.format != "guess"
        named = name_pattern(self.config.file_names) if self.config.file_names else None
        listed = streams(self.location(), table_per=self.config.table_per, any_name=any_name, named=named)
        if not self.config.start_after:
            return listed
        after = os.path.abspath(os.path.expanduser(self.config.start_after))
        later = {name: [item for item in items if str(item.path) > after] for name, items in listed.items()}
        return {name: items for name, items in later.items() if items}

    def _stream(self, name: str, items: list[FileItem], *, refuses: bool = False) -> Stream:
        """The stream; files that can't be read are noted in a listing, and refused where it's about this stream."""
        notes: list[str] = []
        profiles: list[Profile] = []
        for item in items:
            self.context.check_cancelled()
            try:
                found = self._profiled(item)
                profiles += found
                notes += [
                    known.found.broken for known in found if isinstance(known.found, CsvProfile) and known.found.broken
                ]
            except (DataError, ConfigError) as error:
                if refuses:
                    raise
                notes.append(error.message)
        schema = self._with_own(formats.union(profiles, name), name)
        modes = frozenset({ReadMode.FULL, ReadMode.INCREMENTAL})
        return Stream(name=name, schema=schema, read_modes=modes, notes=tuple(notes))

    def _with_own(self, schema: pa.Schema, name: str) -> pa.Schema:
        own = {
            self.config.file_name_column: pa.string(),
            self.config.modified_column: pa.timestamp("us", "UTC"),
            self.config.file_date_column: pa.date32(),
        }
        for column, type_ in own.items():
            if column in schema.names:
                raise ConfigError(f"{name} has a column {column} of its own", hint="Choose another name.")
            if column:
                schema = schema.append(pa.field(column, type_))
        return schema

    def _profiled(self, item: FileItem) -> list[Profile]:
        stamp, known = self._profiles.get(item.path, (None, []))
        if stamp != item.stamp:
            with self._still(item):
                workdir = self.context.workdir
                known = [formats.profile(part, self.config, workdir) for part in parts(item, self.config)]
            self._profiles[item.path] = (item.stamp, known)
        return known

    def _rows(
        self, item: FileItem, columns: tuple[str, ...], schema: pa.Schema, rejects: list[RejectedRow] | None
    ) -> Iterator[pa.RecordBatch]:
        wanted = pa.schema([schema.field(name) for name in columns])
        own = (self.config.file_name_column, self.config.modified_column, self.config.file_date_column)
        inner = [name for name in columns if name not in own]
        for known in self._profiled(item):
            with self._still(item):
                for batch in formats.batches(known, inner, schema, self.config, self.context.workdir, rejects):
                    yield self._complete(batch, known, wanted) if len(inner) < len(columns) else batch

    def _complete(self, batch: pa.RecordBatch, known: Profile, wanted: pa.Schema) -> pa.RecordBatch:
        item = known.part.item
        modified = datetime.fromtimestamp(item.stamp.modified // 10**9, UTC).replace(
            microsecond=item.stamp.modified // 1000 % 10**6
        )
        own: dict[str, Any] = {self.config.file_name_column: known.part.label, self.config.modified_column: modified}
        if self.config.file_date_column:
            own[self.config.file_date_column] = _date_in(item.path.name, self.config.file_names)
        arrays = [
            pa.repeat(pa.scalar(own[f.name], f.type), batch.num_rows) if f.name in own else batch.column(f.name)
            for f in wanted
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=wanted)

    @contextmanager
    def _still(self, item: FileItem) -> Iterator[None]:
        """Whatever goes wrong in here, or nothing: when the file is another than was listed, that is the reason."""
        try:
            yield
        except _FITTING as error:
            self._unchanged(item)
            raise TransientError(
                f"{item.name} holds values that the types found before don't: it changed or came after them",
                hint="Run again; the types are found anew.",
            ) from error
        except SuiroError:
            self._unchanged(item)
            raise
        self._unchanged(item)

    def _unchanged(self, item: FileItem) -> None:
        if storage.stamp(item.path) != item.stamp:
            raise TransientError(
                f"{item.name} changed while it was read", hint="Run again when whoever writes it is done."
            )


def _date_in(name: str, file_names: str) -> date:
    """The date in a file's name; DataError where it is none of the calendar."""
    found = name_pattern(file_names).fullmatch(name)
    said = found["date"] if found is not None else ""
    try:
        return date(int(said[:4]), int(said[4:6]), int(said[6:]))
    except ValueError as error:
        raise DataError(f"{name} holds no date of the calendar where its name tells one") from error


def _rejected(stream: str, wrong: list[RejectedRow] | None) -> Iterator[Rejected]:
    """What couldn't be read since the last call."""
    if wrong:
        yield Rejected(stream, tuple(wrong))
        wrong.clear()
