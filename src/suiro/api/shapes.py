"""Shapes of answers: strict records, moments, pages."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict, PlainSerializer

from suiro.model.errors import ConfigError

T = TypeVar("T")

Moment = Annotated[datetime, PlainSerializer(lambda at: at.isoformat(), return_type=str)]  #: as the command line has it
Cursor = Annotated[str | None, Query(description="The `next` of the page before; left out for the first page.")]
Limit = Annotated[int, Query(ge=1, le=200, description="How many items at most.")]


class Shape(BaseModel):
    """A JSON object; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid")


class Page(Shape, Generic[T]):
    """Some of a list."""

    items: list[T]
    next: str | None  #: the cursor of the page after this one; null at the end


class Failure(Shape):
    """What stood in the way: a stable code, what was seen, what to do."""

    code: str
    message: str
    hint: str | None = None


def page(
    items: Sequence[dict[str, Any]], key: Callable[[dict[str, Any]], str], cursor: str | None, limit: int
) -> dict[str, Any]:
    """The items whose key sorts behind the cursor's, up to `limit`. ConfigError for a cursor that no page had."""
    after = None if cursor is None else _read(cursor)
    rest = [one for one in items if after is None or key(one) > after]
    more = len(rest) > limit
    return {"items": rest[:limit], "next": _written(key(rest[limit - 1])) if more else None}


def _written(key: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([key]).encode()).rstrip(b"=").decode()


def _read(cursor: str) -> str:
    try:
        (key,) = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, str):
        raise ConfigError("the list can't go on from this cursor", hint="Begin at the first page.")
    return key
