"""Values of columns of time that a task adds."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.added import PER_SECOND, AddedTime, Unit
from suiro.model.clock import MOMENT, Clock, moments, zone_of
from suiro.model.errors import ConfigError, DataError
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY, is_text, logical_type

_MICROS: Final = PER_SECOND[Unit.MICRO]


def own_name(name: str) -> str:
    """What an added column is called beside the stream's own columns; the table calls it `name`."""
    return f"{name} (added)"


class Adder:
    """Makes one added column, batch after batch. `source` is the field of the column that it is made from, if any.

    ConfigError if that column holds no time. `began` is when the run did, aware.
    """

    def __init__(self, name: str, said: AddedTime, source: pa.Field | None, began: datetime) -> None:
        self._name, self._said, self._began, self._rows = name, said, began, 0
        self._source = source
        self._clock = Clock(said.format, said.zone) if said.format is not None else None
        zone_of(said.zone)
        if source is not None:
            self._check(source)
        self.field = pa.field(own_name(name), MOMENT if said.whole is None else pa.int64())

    @property
    def source(self) -> str | None:
        """The stream's column that it is made from."""
        return self._said.column

    def apply(self, values: pa.Array | None, rows: int) -> pa.Array:
        """The values for so many rows; NULL where the column is. DataError naming the column that has no such time."""
        if values is None:
            return self._fixed(rows)
        try:
            micros, per = self._counted(values)
            return _in_unit(micros, per, self._said.whole)
        except pa.ArrowInvalid as error:
            assert self._source is not None
            raise DataError(
                f"column {self._source.name} holds a time that {self._name} can't be made from",
                hint="Correct it at the source, or take the time from another column.",
                column=self._source.name,
            ) from error

    def _check(self, field: pa.Field) -> None:
        kind, text = field.type, self._clock is not None
        timed = pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_date(kind)
        if is_text(kind) if text else timed:
            return
        wanted = "text" if text else "a long or a timestamp"
        raise ConfigError(
            f"{self._name} is to be made from {field.name}, which is {logical_type(field) or kind} and not {wanted}",
            hint="Choose a column of whole numbers or timestamps" + ("; leave the format out." if text else "."),
        )

    def _counted(self, values: pa.Array) -> tuple[pa.Array, int]:
        """Whole numbers, and how many of them make a second."""
        kind = values.type
        if pa.types.is_integer(kind):
            return values.cast(pa.int64()), PER_SECOND[self._said.unit]
        if self._clock is not None:
            found = moments(values.cast(pa.string()), self._clock)
            if found.null_count != values.null_count:
                raise pa.ArrowInvalid("a text that is no time")
            return found.cast(pa.int64()), _MICROS
        _refuse_infinity(values)
        if getattr(kind, "tz", None) is None and self._said.zone != "UTC":
            values = pc.assume_timezone(values.cast(pa.timestamp("us")), self._said.zone)
        micros = values.cast(pa.timestamp("us", getattr(values.type, "tz", None)))
        return micros.cast(pa.int64()), _MICROS

    def _fixed(self, rows: int) -> pa.Array:
        start = self._said.start or self._began
        first = pa.scalar(start, MOMENT).cast(pa.int64()).as_py()
        if self._said.stop is None:
            micros = pa.repeat(pa.scalar(first, pa.int64()), rows)
        else:
            seconds = int((self._said.stop - start).total_seconds()) + 1
            micros = pa.array([first + (self._rows + i) % seconds * _MICROS for i in range(rows)], pa.int64())
        self._rows += rows
        return _in_unit(micros, _MICROS, self._said.whole)


def _refuse_infinity(values: pa.Array) -> None:
    ends = pc.min_max(values.view(pa.int32() if pa.types.is_date32(values.type) else pa.int64()))
    endless = DATE_INFINITY if pa.types.is_date32(values.type) else TIMESTAMP_INFINITY
    if ends["max"].as_py() == endless or ends["min"].as_py() == -endless:
        raise pa.ArrowInvalid("infinity")


def _in_unit(numbers: pa.Array, per: int, whole: Unit | None) -> pa.Array:
    """Numbers of which `per` make a second, in another unit: cut down, or multiplied. ArrowInvalid past 64 bits."""
    wanted = _MICROS if whole is None else PER_SECOND[whole]
    if wanted > per:
        numbers = pc.multiply_checked(numbers, wanted // per)
    elif wanted < per:
        by = per // wanted
        cut = pc.divide(numbers, by)
        low = pc.less(pc.subtract(numbers, pc.multiply(cut, by)), 0)
        numbers = pc.subtract(cut, low.cast(pa.int64()))
    return numbers if whole is not None else numbers.cast(MOMENT)
