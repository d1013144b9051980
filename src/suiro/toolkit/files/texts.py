"""Text as people and programs write it in CSV files: which kind it is, and its values."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from suiro.model.errors import DataError
from suiro.model.types import is_text
from suiro.toolkit.files.guess import Guess, Kind
from suiro.toolkit.files.numerals import numbers, shaped_like_dates
from suiro.toolkit.files.scalars import from_text
from suiro.toolkit.files.settings import FileSettings

_FLOAT = r"^(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?|-?inf|nan|-?Infinity|NaN)$"
_BOOLEAN = r"^(?:true|false|True|False|TRUE|FALSE)$"
_DATE = r"^[0-9]{4}(?:-[0-9]{2}-[0-9]{2}|/[0-9]{1,2}/[0-9]{1,2})$"
_TIME = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
_ZONE = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)"
_ISO_TIMESTAMP = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_TIME}$"
_ISO_TIMESTAMPTZ = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{_TIME}{_ZONE}$"
_TIMESTAMP = r"^[0-9]{4}/[0-9]{1,2}/[0-9]{1,2} [0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?$"
_CLOCK = r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?$"
_HEAD = 32  #: values that are tried before all of them
_BLANK = pa.scalar("")  # made once: pyarrow looks for pandas whenever it makes one
_INT64 = pa.scalar(2**63 - 1, pa.decimal128(38, 0))


def guess(values: pa.Array, known: Kind, settings: FileSettings) -> Guess:
    """What these values (text, NULL where there is none) are. `known` is tried first."""
    blank = pc.equal(values, _BLANK)
    plain = not pc.any(blank).as_py()
    if not plain:
        values = values.filter(pc.invert(blank))
    if values.null_count:
        values = values.drop_null()
    if not len(values):
        return Guess(plain=plain)
    head = values.slice(0, _HEAD)
    for kind in _order(known, settings):
        if len(values) > _HEAD and kind is not Kind.FLOAT and _TESTS[kind](head, settings) is None:
            continue
        found = _TESTS[kind](values, settings)
        if found is not None:
            found.plain = found.plain and plain
            return found
    return Guess(kind=Kind.TEXT)


def _order(known: Kind, settings: FileSettings) -> list[Kind]:
    """The kind that fitted last first; with formats of the user's own (perhaps %Y%m%d), dates before numbers."""
    kinds = list(_TESTS)
    if settings.timestamp_formats:
        kinds.sort(key=lambda kind: kind not in (Kind.TIMESTAMP, Kind.TIMESTAMPTZ))
    if settings.date_formats:
        kinds.sort(key=lambda kind: kind is not Kind.DATE)
    if known in _TESTS and not (settings.date_formats or settings.timestamp_formats):
        kinds.sort(key=lambda kind: kind is not known)
    return kinds


def convert(values: pa.Array, type_: pa.DataType, settings: FileSettings) -> pa.Array:
    """The values in a type that `guess` found for them, empty text as NULL. ArrowInvalid where they don't fit."""
    if is_text(type_):
        return values if type_ == pa.string() else values.cast(type_)
    values = _without_blank(values)
    if pa.types.is_decimal(type_) or pa.types.is_floating(type_):
        return _pointed(values, settings).cast(type_)
    if pa.types.is_date32(type_):
        return _dates(values, settings)
    if pa.types.is_timestamp(type_):
        return _timestamps(values, settings, type_)
    if pa.types.is_time(type_):
        return from_text(values, pa.field("", type_))
    return pc.utf8_lower(values).cast(type_) if pa.types.is_boolean(type_) else values.cast(type_)


def _without_blank(values: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(values, _BLANK), pa.scalar(None, values.type), values)


def _fits(values: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


def _pointed(values: pa.Array, settings: FileSettings) -> pa.Array:
    return values if settings.decimal_point == "." else pc.replace_substring(values, ",", ".")


def _integer(values: pa.Array, settings: FileSettings) -> Guess | None:
    found = numbers(values)
    if found is None or found.pointed:
        return None
    past = False
    if found.digits > 18:
        past = found.digits > 19 or bool(pc.any(pc.greater(pc.abs(values.cast(pa.decimal128(38, 0))), _INT64)).as_py())
    return Guess(kind=Kind.INTEGER, whole=found.whole, digits=found.digits, past_int64=past)


def _decimal(values: pa.Array, settings: FileSettings) -> Guess | None:
    plain = settings.decimal_point == "."
    if not plain and pc.any(pc.match_substring(values, ".")).as_py():
        return None
    found = numbers(_pointed(values, settings))
    if found is None:
        return None
    return Guess(
        kind=Kind.DECIMAL, whole=found.whole, scale=found.scale, digits=found.digits, past_int64=True, plain=plain
    )


def _float(values: pa.Array, settings: FileSettings) -> Guess | None:
    values = _pointed(values, settings)
    if not _fits(values, _FLOAT):
        return None
    if not pc.any(pc.match_substring_regex(values, "^-?[0-9.]+[eE]")).as_py():
        return None
    finite = values.filter(pc.match_substring_regex(values, "^-?[0-9]"))
    if not pc.all(pc.is_finite(finite.cast(pa.float64()))).as_py():
        return None
    mantissas = numbers(pc.replace_substring_regex(finite, "[eE].*$", ""))
    plain = settings.decimal_point == "."
    return Guess(kind=Kind.FLOAT, digits=mantissas.digits if mantissas else 0, past_int64=True, plain=plain)


def _boolean(values: pa.Array, settings: FileSettings) -> Guess | None:
    return Guess(kind=Kind.BOOLEAN) if _fits(values, _BOOLEAN) else None


def _date(values: pa.Array, settings: FileSettings) -> Guess | None:
    if settings.date_formats:
        return Guess(kind=Kind.DATE, plain=False) if _tried(lambda: _dates(values, settings)) else None
    if shaped_like_dates(values):
        return Guess(kind=Kind.DATE) if _tried(lambda: _checked_years(values).cast(pa.date32())) else None
    if not _fits(values, _DATE) or not _tried(lambda: _dates(values, settings)):
        return None
    return Guess(kind=Kind.DATE, plain=False)


def _timestamp(values: pa.Array, settings: FileSettings) -> Guess | None:
    type_ = pa.timestamp("us")
    if not settings.timestamp_formats and not _fits(values, f"{_ISO_TIMESTAMP}|{_TIMESTAMP}"):
        return None
    if not _tried(lambda: _timestamps(values, settings, type_)):
        return None
    return Guess(kind=Kind.TIMESTAMP, plain=not settings.timestamp_formats and _fits(values, _ISO_TIMESTAMP))


def _timestamptz(values: pa.Array, settings: FileSettings) -> Guess | None:
    type_ = pa.timestamp("us", "UTC")
    if not settings.timestamp_formats and not _fits(values, _ISO_TIMESTAMPTZ):
        return None
    if not _tried(lambda: _timestamps(values, settings, type_)):
        return None
    return Guess(kind=Kind.TIMESTAMPTZ, plain=not settings.timestamp_formats)


def _time(values: pa.Array, settings: FileSettings) -> Guess | None:
    return Guess(kind=Kind.TIME, plain=False) if _fits(values, _CLOCK) else None


_TESTS: dict[Kind, Callable[[pa.Array, FileSettings], Guess | None]] = {
    Kind.INTEGER: _integer,
    Kind.DECIMAL: _decimal,
    Kind.FLOAT: _float,
    Kind.BOOLEAN: _boolean,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.TIMESTAMP: _timestamp,
    Kind.TIMESTAMPTZ: _timestamptz,
}


def _tried(act: Callable[[], pa.Array]) -> bool:
    try:
        act()
    except (pa.ArrowInvalid, DataError):
        return False
    return True


def _dates(values: pa.Array, settings: FileSettings) -> pa.Array:
    iso = _as_iso(values)
    if not settings.date_formats:
        return _checked_years(iso).cast(pa.date32())

    def parsed(text: str) -> date:
        return _first(text, settings.date_formats).date()

    return _by_value(values, iso, _DATE, parsed, pa.date32())


def _timestamps(values: pa.Array, settings: FileSettings, type_: pa.DataType) -> pa.Array:
    iso = _as_iso(values)
    if not settings.timestamp_formats:
        return _checked_years(iso).cast(type_)

    def parsed(text: str) -> datetime:
        found = _first(text, settings.timestamp_formats)
        if (found.tzinfo is None) != (type_.tz is None):
            raise pa.ArrowInvalid("some values have a zone and some have not")
        return found.astimezone(UTC) if type_.tz else found

    pattern = _ISO_TIMESTAMPTZ if type_.tz else f"{_ISO_TIMESTAMP}|{_TIMESTAMP}"
    return _by_value(values, iso, pattern, parsed, type_)


def _by_value(
    values: pa.Array, iso: pa.Array, pattern: str, parse: Callable[[str], date], type_: pa.DataType
) -> pa.Array:
    """ISO values by Arrow, others one by one (each distinct value once)."""
    coded = pc.dictionary_encode(values)
    distinct = coded.dictionary
    at_once = pc.match_substring_regex(distinct, pattern)
    isos = _as_iso(distinct)
    out = [
        _checked_years(isos.slice(i, 1)).cast(type_)[0].as_py() if fits else parse(text)
        for i, (text, fits) in enumerate(zip(distinct.to_pylist(), at_once.to_pylist(), strict=True))
    ]
    return pa.array(out, type_).take(coded.indices)


def _as_iso(values: pa.Array) -> pa.Array:
    """`2024/1/5 9:30` as `2024-01-05 09:30`; others as they are."""
    if not pc.any(pc.match_substring(values, "/")).as_py():
        return values
    values = pc.replace_substring_regex(values, r"^([0-9]{4})/([0-9]{1,2})/([0-9])($|[T ])", r"\1/\2/0\3\4")
    values = pc.replace_substring_regex(values, r"^([0-9]{4})/([0-9])/", r"\1/0\2/")
    values = pc.replace_substring_regex(values, r"^([0-9]{4})/([0-9]{2})/([0-9]{2})", r"\1-\2-\3")
    return pc.replace_substring_regex(values, r"^([0-9]{4}-[0-9]{2}-[0-9]{2}) ([0-9]):", r"\1 0\2:")


def _checked_years(values: pa.Array) -> pa.Array:
    if pc.any(pc.starts_with(values, "0000")).as_py():
        raise pa.ArrowInvalid("there is no year 0")
    return values


def _first(text: str, formats: tuple[str, ...]) -> datetime:
    for format_ in formats:
        try:
            return datetime.strptime(text, format_)  # noqa: DTZ007  (a zone is what the format says)
        except ValueError:
            continue
    raise pa.ArrowInvalid("a value fits none of the formats")
