"""Column types of the metadata database: times in UTC and plain data as JSON, the same on both systems."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator

from suiro.model.errors import InternalError

BigNumber: Final = BigInteger().with_variant(Integer(), "sqlite")  #: 64 bits on both; SQLite numbers only INTEGER keys


class Utc(TypeDecorator[datetime]):
    """A moment with microseconds: aware, in UTC. SQLite keeps it as text without its zone, which sorts as time does."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a moment without a zone (InternalError)."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise InternalError("a time without a zone was to be stored")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Plain(TypeDecorator[Any]):
    """Plain data as JSON: what comes back is equal to what was given, but for tuples, which come back as lists.

    Kept as text: a JSON column of SQLite would turn a lone number into a float.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Refuse what JSON would change or can't hold (InternalError naming its type, never the value)."""
        return None if value is None else json.dumps(plain(value), separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Read it back."""
        return None if value is None else json.loads(value)


def plain(value: Any) -> Any:
    """The same data as dicts with text keys, lists, texts, numbers, booleans and None; InternalError for all else."""
    match value:
        case None | bool() | int() | str():
            return value
        case float() if math.isfinite(value):
            return value
        case Mapping() if all(isinstance(key, str) for key in value):
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
    raise InternalError(f"a value of type {type(value).__name__} is no plain data and can't be stored as JSON")
