"""Writing tables as files into a folder.

What makes a publish one act: new files are made in `.suiro/staging`, read back and compared. Then it is announced, in
`.suiro/coming`, where the markers will stand once the file is in its place; one rename puts it there, and with it the
markers moved: whoever comes next settles what was announced. A file of an append is named by the task's key and the
number of its loads, so that a load that is repeated writes the same file.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import pyarrow as pa

from suiro.model.errors import ConfigError, Fenced, InternalError
from suiro.model.job import TaskKey
from suiro.model.naming import join_name
from suiro.model.receipt import Entered
from suiro.model.schema import Table
from suiro.model.selection import Deletes, WriteMode, WriteSpec
from suiro.model.summary import EMPTY, Summary
from suiro.spi.context import Context
from suiro.spi.destination import (
    Atomicity,
    Capabilities,
    Claim,
    Destination,
    Marker,
    Published,
    Stage,
    Staged,
)
from suiro.spi.powers import ReadsStaged
from suiro.toolkit.files import storage
from suiro.toolkit.files.held import held_rows
from suiro.toolkit.files.listing import Location
from suiro.toolkit.files.markers import Coming, Kept, Markers
from suiro.toolkit.files.names import file_stem, stream_stem, take_apart
from suiro.toolkit.files.publish import Builder, Measuring, Next, refuse_differences, refuse_other_form
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.stages import SPOOL, DirectStage, KeyedSpool, leave, refuse_wrong
from suiro.toolkit.files.tables import TableFiles, evolved
from suiro.toolkit.files.writers import extension, refuse_types
from suiro.toolkit.lease import FileLease

S = TypeVar("S", bound=FileSettings)

RESTORES = frozenset(
    {"date", "timestamp", "timestamptz", "time", "timetz", "interval", "json", "jsonb", "uuid", "numeric", "money"}
    | {"varchar", "char", "text", "name", "xml", "inet", "cidr", "macaddr", "macaddr8", "bit", "varbit", "hstore"}
    | {"tsvector", "tsquery", "[]", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"}
)


class FilesDestination(Destination[S], ReadsStaged):
    """Holds tables in one folder."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        write_modes=dict.fromkeys((WriteMode.APPEND, WriteMode.REPLACE, WriteMode.MERGE), Atomicity.DETERMINISTIC_NAME),
        deletes=frozenset({Deletes.SKIP, Deletes.HARD}),
        max_identifier=1_000,
        folds_case=False,
        restores=RESTORES,
    )

    def __init__(self, config: S, context: Context) -> None:
        super().__init__(config, context)
        self._known: TableFiles | None = None
        self._leases: dict[str, FileLease] = {}
        self._staging: list[Path] = []
        self._stages: list[Stage] = []
        self._numbers = itertools.count(1)

    def location(self) -> Location:
        """Where the tables are."""
        raise TypeError(f"{type(self).__name__} must say where its tables are")

    @property
    def _tables(self) -> TableFiles:
        if self._known is None:
            location = self.location()
            if location.pattern:
                raise ConfigError(f"{location} is a pattern", hint="Name a folder, or one file, to write to.")
            if self.config.encoding not in ("guess", "utf-8") or self.config.header == "no":
                raise ConfigError("tables are written in UTF-8 and with a header", hint="Leave out these settings.")
            folder, file = _folder_and_file(location)
            only = join_name([stream_stem(file)]) if file else ""
            self._known = TableFiles(folder, extension(self.config, file), self.config, self.context.workdir, only)
        return self._known

    @property
    def _markers(self) -> Markers:
        return Markers(self._tables.inside)

    def check(self) -> None:
        """Make a file in the folder and remove it."""
        storage.prove_writable(self._tables.folder)

    def inspect(self, name: str) -> Table | None:
        """The table as its files stand."""
        return self._tables.inspect(name)

    def claim(self, key: TaskKey, run: str) -> Claim:
        """Take the lease file, raise the epoch, drop what older epochs staged."""
        storage.make_folder(self._tables.folder)
        digest = key.digest()
        if digest not in self._leases:
            lease = FileLease(self._tables.inside / "leases" / f"{digest}.lock", key.table, run)
            lease.take()
            self._leases[digest] = lease
        with self._markers.locked([digest, _lock_of(key.table)], self.context):
            self._settle(key.table)
            epoch = self._markers.raise_epoch(key, run)
            storage.remove_folder(self._tables.inside / "staging" / digest)
            kept = self._markers.read(key)
        position = kept.position if kept and self._tables.exists(key.table) else None
        return Claim(key=key, run=run, epoch=epoch, position=position)

    def stage(
        self, table: Table, spec: WriteSpec, claim: Claim, *, truncates: bool = False, keys: bool = False
    ) -> Stage:
        """A file of this claim's own: the one to be published, or a spool where rows are matched by key."""
        if keys or spec.mode is WriteMode.HISTORY:
            raise ConfigError("files take neither histories nor key snapshots", hint="Load into a database.")
        refuse_wrong(table, spec)
        refuse_other_form(self._tables, table.name, spec.mode)
        refuse_types(table.schema, self._tables.extension)
        folder = self._tables.inside / "staging" / claim.key.digest() / str(claim.epoch)
        self._staging.append(folder)
        direct = spec.mode is WriteMode.REPLACE or (spec.mode is WriteMode.APPEND and not spec.skip_existing)
        path = folder / f"{next(self._numbers)}{self._tables.extension if direct else SPOOL}"
        staged = Staged(table=table, spec=spec, claim=claim, location=str(path), rows=0, truncates=truncates)
        if not direct:
            return self._kept_track_of(KeyedSpool(path, staged))
        schema = table.schema
        if spec.mode is WriteMode.REPLACE and (there := self._tables.inspect(table.name)):
            schema = evolved(table.name, there.schema, schema)
        return self._kept_track_of(DirectStage(path, staged, schema, self.config))

    def _kept_track_of(self, stage: Stage) -> Stage:
        self._stages.append(stage)
        return stage

    def read_staged(self, staged: Staged) -> Iterator[pa.RecordBatch]:
        """The rows as a file of the tables' format gives them back."""
        yield from held_rows(self._tables, self.config, staged)

    def publish(self, staged: Sequence[Staged], markers: Sequence[Marker], expect: Summary | None) -> Published:
        """Make the next files, compare, rename each into place, move the markers."""
        names = [item.claim.key.digest() for item in staged] + [marker.key.digest() for marker in markers]
        names += [_lock_of(item.table.name) for item in staged]
        with self._markers.locked(names, self.context):
            self._fence(staged)
            for item in staged:
                self._settle(item.table.name)
            counts, found, coming = self._made(staged, expect)
            if expect is not None:
                refuse_differences(expect, found, "what was staged")
            self._enter(coming, markers)
        for item in staged:
            self._drop(item)
        return Published(
            found=found,
            inserted=counts.inserted,
            updated=counts.updated,
            unchanged=counts.unchanged,
            superseded=counts.superseded,
            deleted=counts.deleted,
            removed=counts.removed,
        )

    def close(self) -> None:
        """Drop what wasn't published, let go of the leases."""
        for stage in self._stages:
            stage.abort()
        for folder in self._staging:
            storage.remove_folder(folder)
            storage.remove_if_empty(folder.parent)
        for lease in self._leases.values():
            lease.release()
        self._leases = {}

    def _fence(self, staged: Sequence[Staged]) -> None:
        for item in staged:
            epoch = self._markers.epoch(item.claim.key)
            if epoch != item.claim.epoch:
                raise Fenced(
                    f"another run took over {item.table.name} (epoch {epoch}, this one has {item.claim.epoch})",
                    hint="Let that run end; this one published nothing.",
                )
            if not Path(item.location).exists():
                raise InternalError(f"the rows staged for {item.table.name} were published already, or dropped")

    def _made(self, staged: Sequence[Staged], expect: Summary | None) -> tuple[Entered, Summary, list[Next]]:
        counts, found, coming = Entered(), EMPTY, []
        by_table: dict[str, list[Staged]] = {}
        for item in staged:
            by_table.setdefault(item.table.name, []).append(item)
        ranged = [name for name, c in expect.columns.items() if c.least is not None] if expect else []
        for items in by_table.values():
            key = tuple(dict.fromkeys([*ranged, *items[0].spec.key, *items[0].table.primary_key]))
            measuring = Measuring(columns=bool(expect and expect.columns), key=key)
            builder = Builder(self._tables, self.config, self.context, measuring)
            coming.append(builder.build(items, self._part(items[0].claim.key)))
            counts.add(builder.counts)
            found = found + builder.found
        return counts, found, coming

    def _kept(self, key: TaskKey) -> Kept | None:
        return self._markers.read(key) if self._tables.exists(key.table) else None

    def _part(self, key: TaskKey) -> str:
        """The same for a load that is repeated, another for the next."""
        return f"{key.digest()[:16]}-{self._loads(key):06}{self._tables.extension}"

    def _enter(self, coming: Sequence[Next], markers: Sequence[Marker]) -> None:
        """Each file into its place; markers of its table move by that very rename (see `Markers.announce`)."""
        left = {m.key.digest(): (m.key.table, Kept(position=m.position, loads=self._loads(m.key) + 1)) for m in markers}
        for item in coming:
            own = {digest: kept for digest, (table, kept) in left.items() if table == item.table}
            if item.path is None:
                continue
            left = {digest: there for digest, there in left.items() if digest not in own}
            path = self._tables.path_of(item.table, item.part)
            announced = Coming(
                stem=self._tables.stem(item.table),
                file=str(path.relative_to(self._tables.folder)),
                stamp=storage.stamp(item.path),
                takes_away=item.takes_away,
                markers=own,
            )
            self._markers.announce(announced)
            self._tables.place(item.path, item.table, item.note, item.part)
            self._settle(item.table)
        for marker in markers:
            if marker.key.digest() in left:
                self._markers.write(marker.key, left[marker.key.digest()][1])

    def _settle(self, table: str) -> None:
        """Finish what a rename began, if it was done, or forget it."""
        coming = self._markers.announced(self._tables.stem(table))
        if coming is None:
            return
        path = self._tables.folder / coming.file
        in_place = path.exists() and storage.stamp(path) == coming.stamp
        for part in coming.takes_away if in_place else ():
            self._tables.take_away(table, part)
        self._markers.settle(coming, in_place=in_place)

    def _loads(self, key: TaskKey) -> int:
        kept = self._kept(key)
        return kept.loads if kept else 0

    def _drop(self, item: Staged) -> None:
        path = Path(item.location)
        folder = path.parent
        for left in folder.glob(f"{path.name.split('.', 1)[0]}[.-]*") if folder.exists() else []:
            storage.remove(left)
        leave(path)


def _lock_of(table: str) -> str:
    return f"table-{file_stem(table)}"


def _folder_and_file(location: Location) -> tuple[Path, str]:
    """A location that isn't there yet is a file when its name ends in a format, else a folder."""
    if not location.file:
        return location.folder, ""
    if take_apart(location.file).format:
        return location.folder, location.file
    path = location.folder / location.file
    if path.exists():
        raise ConfigError(f"{path} is a file, not a folder", hint="Name a folder for the tables.")
    return path, ""
