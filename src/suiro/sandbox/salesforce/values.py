"""Values: how the store keeps them, and how CSV and JSON write them. What is written is built by SQLite itself."""

from __future__ import annotations

import base64
import binascii
import math
import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from suiro.sandbox.salesforce.errors import RowRefusal
from suiro.sandbox.salesforce.fields import DECIMALS, INTEGERS, REFERENCES, TEXTS, Field
from suiro.sandbox.salesforce.ids import full_id

if TYPE_CHECKING:
    from suiro.model.schema import Json

Kept = None | int | str | bytes

EMAIL = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+\.[^@\s,;<>\".]{2,}")
TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,3}))?)?Z?")
DATETIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(?:Z|([+-])(\d\d):?(\d\d))?)?"
)
#: Of one call of format().
MOST_ARGUMENTS = 100
#: Doubles from here on are written with an exponent in CSV [WEB forcedotcom/dataloader#1204, forcedotcom/cli#3367].
EXPONENT_FROM = 10_000_000
EXPONENT_BELOW = Decimal("0.001")
#: No number that is kept has a digit above this power of ten.
HIGHEST_DIGIT = 40


def column_type(field: Field) -> str:
    """The column that keeps a field. Decimals are whole numbers of their last place, so that they stay exact."""
    if field.type in DECIMALS | INTEGERS | {"boolean"}:
        return "INTEGER"
    return "BLOB" if field.type == "base64" else "TEXT"


def moment(at: datetime) -> str:
    """A time as the store keeps it: UTC, milliseconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def written(kept: str) -> str:
    """A kept time as JSON has it: `+0000`, no colon [REC]."""
    return f"{kept[:-1]}+0000"


# --- in ---------------------------------------------------------------------------------------------------------------


def keep(field: Field, value: Json) -> Kept:
    """What the store keeps of a value that JSON or CSV gave. RowRefusal says why not."""
    if value is None:
        return None
    if field.type in TEXTS:
        return text_kept(field, value)
    if field.type in DECIMALS:
        return decimal_kept(field, value)
    return KEEPERS[field.type](field, value)


def wrong_type(field: Field, value: Json) -> RowRefusal:
    """A value that isn't of the field's type (code and words unverified)."""
    return RowRefusal(
        "INVALID_TYPE_ON_FIELD_IN_RECORD",
        f"{field.label}: value not of required type: {value}",
        [field.name],
    )


def text_kept(field: Field, value: Json) -> str | None:
    """A text, checked as the field demands."""
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong_type(field, value)
        value = str(value)
    if value == "":
        return None
    if field.length and len(value) > field.length:
        raise RowRefusal(
            "STRING_TOO_LONG",
            f"{field.label}: data value too large: {value[:40]} (max length={field.length})",
            [field.name],
        )
    if field.type == "email" and EMAIL.fullmatch(value) is None:
        raise RowRefusal("INVALID_EMAIL_ADDRESS", f"{field.label}: invalid email address: {value}", [field.name])
    chosen = value.split(";") if field.type == "multipicklist" else [value]
    if field.restricted and any(one not in field.values or one in field.inactive for one in chosen):
        raise RowRefusal(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            f"{field.label}: bad value for restricted picklist field: {value}",
            [field.name],
        )
    return value


def decimal_kept(field: Field, value: Json) -> int:
    """A decimal as a whole number of its last place. Digits beyond the field's are rounded half up (unverified)."""
    try:
        number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        raise wrong_type(field, value) from None
    if not number.is_finite():
        raise wrong_type(field, value)
    huge = number.adjusted() > HIGHEST_DIGIT
    kept = 0 if huge else math.floor(abs(number).scaleb(field.scale) + Decimal("0.5"))
    if huge or (field.precision and kept >= 10**field.precision):
        raise RowRefusal(
            "NUMBER_OUTSIDE_VALID_RANGE", f"{field.label}: value outside of valid range: {value}", [field.name]
        )
    return -kept if number < 0 else kept


def integer_kept(field: Field, value: Json) -> int:
    bits = 63 if field.type == "long" else 31
    try:
        number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        raise wrong_type(field, value) from None
    huge = not number.is_finite() or number.adjusted() > HIGHEST_DIGIT
    if huge or number != int(number) or not -(2**bits) <= number < 2**bits:
        raise wrong_type(field, value)
    return int(number)


def boolean_kept(field: Field, value: Json) -> int:
    """true, false, 1, 0 [DOC datafiles_csv_valid_record_rows]."""
    known = {"true": 1, "false": 0, "1": 1, "0": 0}
    found = known.get(str(value).lower())
    if found is None:
        raise wrong_type(field, value)
    return found


def date_kept(field: Field, value: Json) -> str:
    try:
        return date.fromisoformat(str(value)[:10]).isoformat()
    except ValueError:
        raise wrong_type(field, value) from None


def datetime_kept(field: Field, value: Json) -> str:
    found = read_moment(str(value))
    if found is None:
        raise wrong_type(field, value)
    return found


def read_moment(text: str) -> str | None:
    """A time of ISO 8601, with or without zone (then UTC), as the store keeps it. None: it is none."""
    match = DATETIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    try:
        at = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
        ) + timedelta(milliseconds=int(f"{fraction or '0':0<3}"[:3]))
        if sign:
            shift = timedelta(hours=int(hours), minutes=int(minutes))
            at = at - shift if sign == "+" else at + shift
    except (ValueError, OverflowError):
        return None
    return f"{at.year:04}" + at.strftime("-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def time_kept(field: Field, value: Json) -> str:
    match = TIME.fullmatch(str(value))
    if match is None or int(match[1]) > 23 or int(match[2]) > 59 or int(match[3] or 0) > 59:
        raise wrong_type(field, value)
    return f"{match[1]}:{match[2]}:{match[3] or '00'}.{match[4] or '0':0<3}Z"


def id_kept(field: Field, value: Json) -> str:
    found = full_id(str(value))
    if found is None:
        raise RowRefusal("MALFORMED_ID", f"{field.label}: id value of incorrect type: {value}", [field.name])
    return found


def bytes_kept(field: Field, value: Json) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except binascii.Error:
        raise wrong_type(field, value) from None


KEEPERS: dict[str, Callable[[Field, Json], Kept]] = {
    "int": integer_kept,
    "long": integer_kept,
    "boolean": boolean_kept,
    "date": date_kept,
    "datetime": datetime_kept,
    "time": time_kept,
    "id": id_kept,
    "reference": id_kept,
    "base64": bytes_kept,
}

# --- out --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """SQL whose text goes into a longer one. `doubled`: its double quotes are doubled; it must not be NULL then."""

    sql: str
    doubled: bool = False


def joined(parts: Sequence[str | Part]) -> str:
    """SQL that joins literal texts and values. NULL counts as empty. SQLite's format() is the quickest way."""
    calls: list[str] = []
    pattern, arguments = "", []
    for part in parts:
        if isinstance(part, str):
            pattern += part.replace("%", "%%")
            continue
        pattern += "%w" if part.doubled else "%s"
        arguments.append(part.sql)
        if len(arguments) == MOST_ARGUMENTS:
            calls.append(f"format({', '.join([quoted(pattern), *arguments])})")
            pattern, arguments = "", []
    calls.append(f"format({', '.join([quoted(pattern), *arguments])})")
    return f"({' || '.join(calls)})"


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvStyle:
    """How a job's CSV is written."""

    delimiter: str = ","
    line_end: str = "\n"
    utc: str = "Z"
    doubles: bool = True  #: numbers as doubles are told, else plain digits


def csv_part(field: Field, value: str, style: CsvStyle) -> Part:
    """A value between its quotes in CSV: all values quoted, NULL is empty."""
    if field.type in DECIMALS and not style.doubles:
        return Part(sql=f"sf_number({value}, {field.scale})" if field.scale else value)
    if field.type in DECIMALS:
        large = f"sf_double({value}, {field.scale})"
        if field.scale:
            return Part(sql=large)
        small = f"abs({value}) < {EXPONENT_FROM} THEN {value} || '.0'"
        return Part(sql=f"CASE WHEN {value} IS NULL THEN NULL WHEN {small} ELSE {large} END")
    if field.type in INTEGERS | REFERENCES | {"date", "time"}:
        return Part(sql=value)
    if field.type == "datetime":
        return Part(sql=value if style.utc == "Z" else f"replace({value}, 'Z', {quoted(style.utc)})")
    if field.type == "boolean":
        return Part(sql=f"CASE {value} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END")
    return Part(sql=f"ifnull({value}, '')", doubled=True)


def json_sql(field: Field, value: str) -> str:
    """SQL for a value as JSON."""
    if field.type in DECIMALS:
        return f"ifnull({f'sf_number({value}, {field.scale})' if field.scale else value}, 'null')"
    if field.type in INTEGERS:
        return f"ifnull({value}, 'null')"
    if field.type == "datetime":
        return f"""ifnull('"' || substr({value}, 1, 23) || '+0000"', 'null')"""
    if field.type == "boolean":
        return f"CASE {value} WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE 'null' END"
    if field.type in REFERENCES | {"date", "time"}:
        return f"""ifnull('"' || {value} || '"', 'null')"""
    return f"json_quote({value})"


def plain_number(kept: int, scale: int) -> str:
    """A kept decimal in plain digits, without zeros at the end."""
    if not scale:
        return str(kept)
    digits = f"{abs(kept):0{scale + 1}}"
    tail = digits[-scale:].rstrip("0")
    return f"{'-' if kept < 0 else ''}{digits[:-scale]}{f'.{tail}' if tail else ''}"


def double_text(kept: int, scale: int) -> str:
    """A kept decimal as CSV has doubles: `23.0`, and `1.39E8` from 10 million on; the store's digits, all of them."""
    number = Decimal(kept).scaleb(-scale)
    if number == 0 or EXPONENT_BELOW <= abs(number) < EXPONENT_FROM:
        text = plain_number(kept, scale)
        return text if "." in text else f"{text}.0"
    digits = str(abs(kept)).rstrip("0")
    exponent = len(str(abs(kept))) - 1 - scale
    return f"{'-' if kept < 0 else ''}{digits[0]}.{digits[1:] or '0'}E{exponent}"


def add_functions(connection: sqlite3.Connection) -> None:
    """What the SQL of this module calls."""
    connection.create_function(
        "sf_number", 2, lambda v, s: None if v is None else plain_number(v, s), deterministic=True
    )
    connection.create_function(
        "sf_double", 2, lambda v, s: None if v is None else double_text(v, s), deterministic=True
    )
