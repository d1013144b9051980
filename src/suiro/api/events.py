"""Changes of runs as a stream of server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import Header
from fastapi.responses import StreamingResponse

from suiro.api.routes import Routes, Serving
from suiro.app.server import Server

routes = Routes("events")
MEDIA_TYPE: Final = "text/event-stream"
_LOOK_SECONDS: Final = 0.25
_BEAT_SECONDS: Final = 15.0
_LONGEST_SECONDS: Final = 600.0  #: then a listener comes back, and shows its token again


@routes.get(
    "/events",
    None,
    "Follow changes of runs",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
            "description": "Events `run` and `task` (JSON objects); `ready` first, or `reset` if some were missed.",
        }
    },
)
async def events(
    server: Serving, last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=100)] = None
) -> Any:
    """As server-sent events. Listen first, then look at runs. A comment every 15 s says that it is alive.

    The stream ends after ten minutes, or with the server: come back with Last-Event-ID, and nothing is missed.
    """
    return StreamingResponse(_stream(server, last), media_type=MEDIA_TYPE, headers={"X-Accel-Buffering": "no"})


async def _stream(server: Server, last: str | None) -> AsyncIterator[str]:
    feed, until = server.feed, time.monotonic() + _LONGEST_SECONDS
    with feed.listening(last) as (number, whole):
        while not feed.looks and not server.stopping.is_set():
            await asyncio.sleep(_LOOK_SECONDS / 10)
        yield f"retry: 2000\nid: {feed.mark(number)}\nevent: {'ready' if whole else 'reset'}\ndata: {{}}\n\n"
        told = time.monotonic()
        while not server.stopping.is_set() and time.monotonic() < until:
            for event in feed.after(number):
                number = event.number
                data = json.dumps(event.data, ensure_ascii=False)
                yield f"id: {event.id}\nevent: {event.kind}\ndata: {data}\n\n"
                told = time.monotonic()
            if time.monotonic() - told > _BEAT_SECONDS:
                told = time.monotonic()
                yield ": alive\n\n"
            await asyncio.sleep(_LOOK_SECONDS)
