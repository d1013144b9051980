"""Types of columns of text, found from all their values: the narrowest that holds each of them exactly.

Numbers without exponent are integers or decimals, never floats. Numbers with leading zeros (postal codes), with signs
`+` or thousands separators, dates that don't exist, and columns of mixed kinds stay text (JSON in JSON Lines).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import pyarrow as pa


class Kind(IntEnum):
    """What all values of a column are; numbers in the order in which one holds the other."""

    NULL = 0
    INTEGER = 1
    DECIMAL = 2
    FLOAT = 3
    BOOLEAN = 4
    DATE = 5
    TIMESTAMP = 6
    TIMESTAMPTZ = 7
    TIME = 8
    TEXT = 9
    JSON = 10


NUMBERS = (Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT)
_FROM_STRINGS = (Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.TEXT)
_DOUBLE_DIGITS = 17  #: a double keeps 15, and gives back any of its own values in 17


@dataclass(slots=True, kw_only=True)
class Guess:
    """What is known of a column after some of its values.

    `whole` and `scale` are the most digits before and after the point, `digits` the most of one number.
    """

    kind: Kind = Kind.NULL
    whole: int = 0
    scale: int = 0
    digits: int = 0
    past_int64: bool = False
    plain: bool = True  #: the CSV reader of Arrow parses every value itself
    mixed: Kind = Kind.TEXT  #: what holds values of kinds that have nothing in common

    def add(self, other: Guess) -> None:
        """Take in what is known of more values."""
        self.kind = self._joined(other.kind)
        self.whole, self.scale = max(self.whole, other.whole), max(self.scale, other.scale)
        self.digits = max(self.digits, other.digits)
        self.past_int64 = self.past_int64 or other.past_int64
        self.plain = self.plain and other.plain

    def _joined(self, kind: Kind) -> Kind:
        if self.kind == kind or kind is Kind.NULL:
            return self.kind
        if self.kind is Kind.NULL:
            return kind
        if self.kind in NUMBERS and kind in NUMBERS:
            return max(self.kind, kind)
        if self.kind in _FROM_STRINGS and kind in _FROM_STRINGS:
            return Kind.TEXT
        return self.mixed

    def type(self) -> pa.DataType:
        """The Arrow type that holds every value; precisions in steps of 18, 38 and 76 digits, so that tables rest."""
        match self.kind:
            case Kind.NULL | Kind.TEXT:
                return pa.string()
            case Kind.JSON:
                return pa.json_()
            case Kind.BOOLEAN:
                return pa.bool_()
            case Kind.DATE:
                return pa.date32()
            case Kind.TIME:
                return pa.time64("us")
            case Kind.TIMESTAMP:
                return pa.timestamp("us")
            case Kind.TIMESTAMPTZ:
                return pa.timestamp("us", "UTC")
            case Kind.FLOAT:
                return pa.float64() if self.digits <= _DOUBLE_DIGITS else self._as_mixed()
            case Kind.INTEGER if not self.past_int64:
                return pa.int64()
        return self._decimal()

    def _decimal(self) -> pa.DataType:
        digits = self.whole + self.scale
        if digits <= 38:
            return pa.decimal128(18 if digits <= 18 else 38, self.scale)
        return pa.decimal256(76, self.scale) if digits <= 76 else self._as_mixed()

    def _as_mixed(self) -> pa.DataType:
        return pa.json_() if self.mixed is Kind.JSON else pa.string()
