"""The next state of tables, made beside them and compared before it takes their place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from suiro.model.change import OP, SEQ
from suiro.model.errors import ConfigError, VerificationFailed
from suiro.model.receipt import Entered
from suiro.model.schema import Table
from suiro.model.selection import WriteMode
from suiro.model.summary import EMPTY, Summary, summarise_batch
from suiro.spi.context import Context
from suiro.spi.destination import Staged
from suiro.toolkit.files import formats, storage
from suiro.toolkit.files.merge import Merge, without_existing
from suiro.toolkit.files.schemas import Note, read_note, write_note
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.stages import SPOOL
from suiro.toolkit.files.tables import StoredFile, TableFiles, evolved
from suiro.toolkit.files.writers import writer
from suiro.toolkit.spool import spooled


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """A finished file, to be put in the place of `table` (or be its part `part`). `path` None: nothing to put."""

    table: str
    path: Path | None
    note: Note
    part: str = ""
    takes_away: tuple[str, ...] = ()  #: parts that go


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """How summaries are made: with columns or rows alone, and of which columns the range."""

    columns: bool
    key: tuple[str, ...]

    def of(self, batches: Iterable[pa.RecordBatch], names: Sequence[str]) -> Summary:
        """The summary of these columns."""
        total = EMPTY
        for batch in batches:
            total = total + summarise_batch(batch.select(names), columns=self.columns, key=self.key)
        return total


class Builder:
    """Makes the next file of one table from what is staged for it."""

    def __init__(self, tables: TableFiles, settings: FileSettings, context: Context, measuring: Measuring) -> None:
        self._tables, self._settings, self._context, self._measuring = tables, settings, context, measuring
        self.counts = Entered()
        self.found = EMPTY

    def build(self, staged: Sequence[Staged], part: str) -> Next:
        """The table's next file. `part`: its name where the table is appended to."""
        table, mode = staged[0].table.name, staged[0].spec.mode
        refuse_other_form(self._tables, table, mode)
        if mode is WriteMode.APPEND:
            return self._appended(staged, part)
        return self._single(staged)

    def _appended(self, staged: Sequence[Staged], part: str) -> Next:
        name = staged[0].table.name
        files = self._tables.files(name)
        there = self._tables.inspect(name)
        schema = staged[0].table.schema
        for item in staged[1:]:
            schema = evolved(name, schema, item.table.schema)
        if there is not None:
            evolved(name, there.schema, schema)
        last = max((i for i, item in enumerate(staged) if item.truncates), default=None)
        away: tuple[str, ...] = ()
        if last is not None:
            away = tuple(file.part.item.name for file in files if file.part.item.name != part)
            self.counts.removed += sum(self._tables.count(f) for f in files if f.part.item.name in away)
            for item in staged[:last]:
                self.counts.inserted += item.rows
                self.counts.removed += item.rows
                self._measure(item)
        entering = list(staged if last is None else staged[last:])
        if there is not None and not away and not any(item.rows for item in entering) and _adds_nothing(there, schema):
            for item in entering:
                self._measure(item)
            return Next(table=name, path=None, note=Note(schema=schema))
        note = Note(schema=schema, primary_key=staged[-1].table.primary_key)
        path = self._entered(entering, schema, [f for f in files if f.part.item.name not in (*away, part)])
        return Next(table=name, path=path, note=note, part=part, takes_away=away)

    def _entered(self, staged: list[Staged], schema: pa.Schema, files: list[StoredFile]) -> Path:
        """One file with the rows of all these; the very file that was staged where that will do."""
        (first, *others) = staged
        if not others and self._is_ready(first, schema):
            path = Path(first.location)
            self._measure(first)
            self.counts.inserted += first.rows
            return path
        path = self._beside(first)
        with _Writing(self, path, schema) as out:
            for item in staged:
                self._measure(item)
                old = self._old(files, schema) if item.spec.skip_existing else None
                rows = self._rows(item, schema) if old is None else self._fresh(item, old, schema)
                before = out.rows
                for batch in rows:
                    out.write(batch)
                self.counts.inserted += out.rows - before
                self.counts.superseded += item.rows - (out.rows - before)
        return path

    def _fresh(self, item: Staged, old: _Old, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        there = old.schema
        wanted = evolved(item.table.name, there, item.table.schema)
        memory, workdir = self._context.memory_bytes // 2, self._context.workdir

        def known(columns: list[str] | None) -> Iterator[pa.RecordBatch]:
            return old.rows(wanted, columns)

        rows = without_existing(known, lambda: self._rows(item, item.table.schema), wanted, item.spec.skip_existing,
                                workdir, memory)  # fmt: skip
        for batch in rows:
            yield formats.fitted(batch, schema)

    def _old(self, files: list[StoredFile], schema: pa.Schema) -> _Old:
        there = schema
        for file in files:
            there = evolved("the table", file.note.schema, there)
        return _Old(self._tables, files, there)

    def _single(self, staged: Sequence[Staged]) -> Next:
        name = staged[0].table.name
        there = self._tables.inspect(name)
        schema = there.schema if there else staged[0].table.schema
        for item in staged:
            schema = evolved(name, schema, item.table.schema)
        key = (there.primary_key if there else ()) or staged[-1].table.primary_key
        state = self._tables.files(name)
        made: Path | None = None
        for number, item in enumerate(staged):
            replaces = item.spec.mode is WriteMode.REPLACE
            if item.truncates or (replaces and not number):
                self.counts.removed += sum(self._tables.count(file) for file in state)
                state = []
            if replaces and not state and self._is_ready(item, schema):
                made = Path(item.location)
                self._measure(item)
                self.counts.inserted += item.rows
            else:
                made = self._rewritten(state, item, schema)
            state = [self._intermediate(made, schema)]
        assert made is not None
        rows = self._tables.count(state[0])
        return Next(table=name, path=made, note=Note(schema=schema, primary_key=key, rows=rows))

    def _intermediate(self, path: Path, schema: pa.Schema) -> StoredFile:
        note_path = path.with_name(f"{path.name}.json")
        write_note(note_path, storage.stamp(path), Note(schema=schema))
        return self._tables.stored(path, note_path)

    def _rewritten(self, state: list[StoredFile], item: Staged, schema: pa.Schema) -> Path:
        """A new file with the state's rows and those of one stage."""
        path = self._beside(item)
        self._measure(item)

        def old(columns: list[str] | None) -> Iterator[pa.RecordBatch]:
            return _Old(self._tables, state, schema).rows(schema, columns)

        with _Writing(self, path, schema) as out:
            if item.spec.mode is WriteMode.MERGE:
                merge = Merge(
                    old=old,
                    new=lambda: self._staged_rows(item),
                    schema=schema,
                    columns=list(item.table.schema.names),
                    spec=item.spec,
                    workdir=self._context.workdir,
                    memory=self._context.memory_bytes // 2,
                )
                self.counts.add(merge.into(out.write))
            else:
                for batch in old(None):
                    out.write(batch)
                for batch in self._rows(item, schema):
                    out.write(batch)
                self.counts.inserted += item.rows
        return path

    def _beside(self, item: Staged) -> Path:
        staging = Path(item.location)
        return staging.with_name(f"{staging.name.split('.', 1)[0]}-next{self._tables.extension}")

    def _is_ready(self, item: Staged, schema: pa.Schema) -> bool:
        if item.location.endswith(SPOOL) or item.spec.skip_existing:
            return False
        path = Path(item.location)
        note = read_note(path.with_name(f"{path.name}.json"), storage.stamp(path))
        return note is not None and bool(note.schema.equals(schema, check_metadata=True))

    def _stored(self, item: Staged) -> StoredFile:
        path = Path(item.location)
        return self._tables.stored(path, path.with_name(f"{path.name}.json"))

    def _staged_rows(self, item: Staged) -> Iterator[pa.RecordBatch]:
        """The rows as staged, `_op` included."""
        if item.location.endswith(SPOOL):
            return spooled(item)[1]
        stored = self._stored(item)
        return self._tables.rows(stored, stored.note.schema)

    def _rows(self, item: Staged, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in self._staged_rows(item):
            names = [n for n in batch.schema.names if n in schema.names and n not in _marks(item)]
            yield formats.fitted(batch.select(names), schema)

    def _measure(self, item: Staged) -> None:
        """Add up the rows in the types that they came in, whatever the table's are."""
        schema = item.table.schema
        rows = (formats.fitted(self._watched(batch), schema) for batch in self._staged_rows(item))
        self.found = self.found + self._measuring.of(rows, schema.names)

    def _watched(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        self._context.check_cancelled()
        return batch

    def written(self, path: Path, schema: pa.Schema, expect: Summary) -> None:
        """Read a new file back; VerificationFailed where it isn't what went into it."""
        note_path = path.with_name(f"{path.name}.json")
        write_note(note_path, storage.stamp(path), Note(schema=schema))
        stored = self._tables.stored(path, note_path)
        found = self._measuring.of(self._tables.rows(stored, schema), schema.names)
        refuse_differences(expect, found, "the file that was written")

    @property
    def measuring(self) -> Measuring:
        """How summaries are made here."""
        return self._measuring

    @property
    def settings(self) -> FileSettings:
        """How files are written here."""
        return self._settings


class _Writing:
    """A new file, read back and compared with what went into it when it is done; removed on errors."""

    def __init__(self, builder: Builder, path: Path, schema: pa.Schema) -> None:
        self._builder, self._path, self._schema = builder, path, schema
        self._writer = writer(path, schema, builder.settings)
        self._written = EMPTY

    @property
    def rows(self) -> int:
        """How many were written."""
        return self._writer.rows

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows."""
        self._writer.write(batch)
        self._written = self._written + self._builder.measuring.of([batch], self._schema.names)

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._writer.abort()
            return
        self._writer.close()
        self._builder.written(self._path, self._schema, self._written)


class _Old:
    """Rows of several files as those of one table."""

    def __init__(self, tables: TableFiles, files: list[StoredFile], schema: pa.Schema) -> None:
        self._tables, self._files, self.schema = tables, files, schema

    def rows(self, schema: pa.Schema, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        """Some columns of all rows, or all."""
        for file in self._files:
            yield from self._tables.rows(file, schema, columns)


def _adds_nothing(there: Table, schema: pa.Schema) -> bool:
    return bool(evolved(there.name, there.schema, schema).equals(there.schema))


def _marks(item: Staged) -> set[str]:
    return {OP, SEQ} - set(item.table.schema.names)


def refuse_differences(expect: Summary, found: Summary, what: str) -> None:
    """VerificationFailed with what differs, if anything does."""
    differences = expect.differences(found)
    if differences:
        raise VerificationFailed(
            f"{what} is not what was read: {'; '.join(differences)}",
            hint="Nothing was published; run again.",
            differences=differences,
        )


def refuse_other_form(tables: TableFiles, table: str, mode: WriteMode) -> None:
    """ConfigError where the table exists in the form that this write mode doesn't have."""
    if mode is WriteMode.APPEND and tables.has_single(table):
        raise ConfigError(
            f"{table} is one file ({tables.single(table).name}), and append needs a folder of files",
            hint="Replace or merge it, or append to another table.",
        )
    if mode is not WriteMode.APPEND and tables.has_many(table):
        raise ConfigError(
            f"{table} is a folder of files that were appended, and {mode} needs one file",
            hint=f"Append to it, write to another table, or remove {tables.many(table)} first.",
        )
