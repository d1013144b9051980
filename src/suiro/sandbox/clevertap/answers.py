"""Forms in which the project answers, and days as it understands them."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from starlette.responses import Response

TOO_MANY: Final = "Too many concurrent requests"


class Wrong(Exception):
    """A request that the project refuses."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.error, self.status = error, status


def as_json(body: Any, status: int = 200) -> Response:
    """A body of JSON."""
    return Response(json.dumps(body, ensure_ascii=False, separators=(",", ":")), status, media_type="application/json")


def failed(error: str, status: int = 200, **more: Any) -> Response:
    """A refusal."""
    return as_json({"status": "fail", "error": error, **more}, status)


def day(said: Any) -> date:
    """`20231231`, as a number or text."""
    text = str(said)
    try:
        if len(text) != 8:
            raise ValueError(text)
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError as error:
        raise Wrong("Invalid date. Use YYYYMMDD.") from error  # unverified wording


def span(body: dict[str, Any], zone: ZoneInfo) -> tuple[int, int]:
    """From the first second of `from` to before the first one after `to`, both whole days of the project's."""
    if "from" not in body or "to" not in body:
        raise Wrong("from and to are required")  # unverified wording
    first, last = day(body["from"]), day(body["to"]) + timedelta(days=1)
    if last <= first:
        raise Wrong("from is after to")  # unverified wording
    begins = datetime(first.year, first.month, first.day, tzinfo=zone)
    ends = datetime(last.year, last.month, last.day, tzinfo=zone)
    return int(begins.timestamp()), int(ends.timestamp())


def local(at: int, zone: ZoneInfo) -> datetime:
    """A moment by the project's clock."""
    return datetime.fromtimestamp(at, zone)


def ts(at: int, zone: ZoneInfo) -> int:
    """A moment as downloads tell it: a number yyyyMMddHHmmss in the project's zone, without the zone."""
    return int(f"{local(at, zone):%Y%m%d%H%M%S}")
