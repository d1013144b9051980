"""Columns on their way through the filters of a load.yml: what becomes of each, and which times are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, assert_never

import pyarrow as pa

from suiro.app.documents import TimeDocument, near
from suiro.app.treasure.kinds import TIMES, kind_of
from suiro.app.treasure.load_yml import LoadYml, Path_
from suiro.app.treasure.renaming import renamed
from suiro.app.treasure.sections import AddTime, ColumnFilter, FromValue, IntercomIn, RemoveColumns, Rename
from suiro.model.added import PER_SECOND, Unit
from suiro.model.clock import Clock, zone_of
from suiro.model.errors import ConfigError

_KNOWN_AS = {"external_id": "user_id"}  #: names of columns of Intercom's users in Treasure Data
TIME = "time"  #: the column that every table of Treasure Data has


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as it stands after some filters: `source` is the stream's, unless `time` makes it."""

    name: str
    kind: str  #: Treasure Data's type
    source: str | None = None
    time: TimeDocument | None = None


@dataclass(slots=True, kw_only=True)
class Columns:
    """All columns, in their order. `chosen`: a filter said which stay, so that none comes of itself."""

    load: LoadYml
    all: list[Column]
    chosen: bool = False
    notes: list[str] = field(default_factory=list)

    def named(self, name: str, at: Path_) -> Column:
        """The column of that name; ConfigError at the key that names it."""
        for column in self.all:
            if column.name == name:
                return column
        raise self.load.wrong(at, f"there is no column {name!r}", near(name, [column.name for column in self.all]))

    def filtered(self) -> None:
        """Take all filters, in their order."""
        for i, one in enumerate(self.load.filters):
            at: Path_ = ("filters", i)
            match one:
                case Rename():
                    self._rename(one, at)
                case RemoveColumns():
                    self._remove(one, at)
                case ColumnFilter():
                    self._choose(one, at)
                case AddTime():
                    self._add(one, at)
                case _:
                    assert_never(one)

    def partitioned(self, time_column: str | None) -> None:
        """Give the table its time: seconds since 1970 from that column, the first there is, or the time of the load."""
        out = self.load.out
        asked = time_column or out.time_column
        column: Column | None
        if asked is not None:
            column = self._asked(asked, ("out", "time_column") if time_column is None else None)
        else:
            named = [column for column in self.all if column.name == TIME]
            column = named[0] if named else next((c for c in self.all if c.kind in TIMES), None)
        if column is None:
            self.notes.append("No column is a long or a timestamp: time is the time of the load.")
        elif column.kind not in TIMES:
            said = f"column {column.name} is a {column.kind}, and time is taken from a long or a timestamp"
            raise ConfigError(
                said, hint="Name another column with --time-column, or add a time with an add_time filter."
            )
        elif asked is None and column.name != TIME:
            self.notes.append(
                f"time is taken from {column.name}, the first long or timestamp; --time-column names another."
            )
        made = self._seconds(column)
        if column is not None and column.name == TIME and column.time is not None:
            self.all[self.all.index(column)] = replace(column, time=made, kind="long")
            return
        if column is not None and made is None:
            return
        if column is not None:
            self.all = [
                c for c in self.all if c.name != TIME or c.source is not None
            ]  # one that a filter added gives way
        self._put(TIME, made or TimeDocument(to=Unit.SECOND), "long")

    def _asked(self, name: str, at: Path_ | None) -> Column:
        if at is not None:
            return self.named(name, at)
        for column in self.all:
            if column.name == name:
                return column
        raise ConfigError(
            f"--time-column: there is no column {name!r}", hint=near(name, [column.name for column in self.all])
        )

    def _seconds(self, column: Column | None) -> TimeDocument | None:
        """The column's time in seconds since 1970; None where it is that already, or there is no column."""
        out = self.load.out
        if column is None:
            return None
        if column.time is not None:
            return column.time.model_copy(update={"to": Unit.SECOND})
        if column.name == TIME and column.kind == "long" and out.unix_timestamp_unit is Unit.SECOND:
            return None
        zone = out.default_timezone
        return TimeDocument(column=column.source, unit=out.unix_timestamp_unit, timezone=zone, to=Unit.SECOND)

    # -- filters -----------------------------------------------------------------------------------------------------

    def _rename(self, said: Rename, at: Path_) -> None:
        for old in said.columns:
            self.named(old, (*at, "columns", old))
        names = [said.columns.get(column.name, column.name) for column in self.all]
        for i, rule in enumerate(said.rules):
            try:
                names = renamed(names, rule)
            except ConfigError as error:
                raise self.load.wrong((*at, "rules", i), error.message, error.hint or "") from error
        self.all = [replace(column, name=name) for column, name in zip(self.all, names, strict=True)]
        doubled = [name for name in names if names.count(name) > 1]
        if doubled:
            hint = "Give each its own name, or add the rule unique_number_suffix."
            raise self.load.wrong(at, f"two columns are to be called {doubled[0]}", hint)

    def _remove(self, said: RemoveColumns, at: Path_) -> None:
        if bool(said.remove) == bool(said.keep):
            raise self.load.wrong(at, "remove_columns takes either remove or keep", "Write one of the two.")
        key = "remove" if said.remove else "keep"
        asked = said.remove or said.keep
        for i, name in enumerate(asked):
            if not said.accept_unmatched_columns:
                self.named(name, (*at, key, i))
        self.chosen = self.chosen or key == "keep"
        self.all = [column for column in self.all if (column.name in asked) == (key == "keep")]

    def _choose(self, said: ColumnFilter, at: Path_) -> None:
        if bool(said.columns) == bool(said.drop_columns):
            raise self.load.wrong(at, "column takes either columns or drop_columns", "Write one of the two.")
        if said.drop_columns:
            gone = [self.named(one.name, (*at, "drop_columns", i, "name")) for i, one in enumerate(said.drop_columns)]
            self.all = [column for column in self.all if column not in gone]
            return
        kept: list[Column] = []
        for i, one in enumerate(said.columns):
            column = self.named(one.src or one.name, (*at, "columns", i, "src" if one.src else "name"))
            if column.source is not None and column.source in [other.source for other in kept]:
                raise self.load.wrong((*at, "columns", i), f"{column.name} is taken twice", "Copy it in a query.")
            kept.append(replace(column, name=one.name))
        self.all, self.chosen = kept, True

    def _add(self, said: AddTime, at: Path_) -> None:
        if (said.from_column is None) == (said.from_value is None):
            raise self.load.wrong(at, "add_time takes either from_column or from_value", "Write one of the two.")
        to = said.to_column
        as_: Any = to.unix_timestamp_unit if to.type == "long" else "timestamp"
        if said.from_value is not None:
            self._put(to.name, self._value(said.from_value, as_, (*at, "from_value")), to.type)
            return
        assert said.from_column is not None
        given = said.from_column
        column = self.named(given.name, (*at, "from_column", "name"))
        if column.time is not None:
            self._put(to.name, column.time.model_copy(update={"to": as_}), to.type)
            return
        if column.kind not in (*TIMES, "string"):
            said_ = f"column {column.name} is a {column.kind}, and a time is taken from a long, a timestamp or a string"
            raise self.load.wrong((*at, "from_column", "name"), said_, "Name another column.")
        format_ = given.timestamp_format or "%Y-%m-%d %H:%M:%S %z" if column.kind == "string" else None
        if given.timestamp_format is not None and format_ is None:
            said_ = f"column {column.name} is a {column.kind}, which has no format"
            raise self.load.wrong((*at, "from_column", "timestamp_format"), said_, "Leave the format out.")
        time = TimeDocument(
            column=column.source, unit=given.unix_timestamp_unit, format=format_, timezone=given.timezone, to=as_
        )
        self._put(to.name, time, to.type)

    def _value(self, said: FromValue, as_: Any, at: Path_) -> TimeDocument:
        match said.mode:
            case "upload_time":
                return TimeDocument(to=as_)
            case "fixed_time":
                return TimeDocument(value=self._moment(said, said.value, (*at, "value")), to=as_)
            case "incremental_time":
                start, stop = (
                    self._moment(said, text, (*at, key)) for key, text in (("from", said.from_), ("to", said.to))
                )
                if stop < start:
                    raise self.load.wrong((*at, "to"), "the end is before the beginning", "Write from, then to.")
                return TimeDocument(value=start, until=stop, to=as_)

    def _moment(self, said: FromValue, text: str | int | datetime | None, at: Path_) -> str:
        if isinstance(text, datetime):
            return (text if text.tzinfo else text.replace(tzinfo=zone_of(said.timezone))).isoformat()
        if text is None:
            raise self.load.wrong(at[:-1], f"{said.mode} needs {at[-1]}", "Write the time.")
        if isinstance(text, int):
            return datetime.fromtimestamp(text / PER_SECOND[said.unix_timestamp_unit], UTC).isoformat()
        found = Clock(said.timestamp_format, said.timezone).read(text)
        if found is None:
            raise self.load.wrong(at, f"{text!r} isn't of the form {said.timestamp_format}", "Set timestamp_format.")
        return found.isoformat()

    def _put(self, name: str, time: TimeDocument, kind: str) -> None:
        """Add a column; one that has its name has `_` put behind."""
        taken = [column.name for column in self.all]
        if name in taken:
            other = f"{name}_"
            while other in taken:
                other += "_"
            self.notes.append(f"The column {name} is called {other}, to make room for the time that is added.")
            self.all = [replace(c, name=other) if c.name == name else c for c in self.all]
        self.all.append(Column(name=name, kind=kind, time=time))


def columns_of(load: LoadYml, schema: pa.Schema, kinds: Sequence[tuple[str, str]] = ()) -> Columns:
    """A stream's columns before any filter. `kinds` are types that the file gives columns instead of their own."""
    given = dict(kinds)
    known = _KNOWN_AS if isinstance(load.input, IntercomIn) and load.input.target == "users" else {}
    all_ = [Column(name=known.get(f.name, f.name), kind=given.get(f.name, kind_of(f)), source=f.name) for f in schema]
    return Columns(load=load, all=all_)
