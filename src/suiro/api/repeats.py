"""Requests that may be sent again: those with an Idempotency-Key are done once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from suiro.api.gates import TOKEN
from suiro.api.problems import Refused
from suiro.api.routes import known
from suiro.app import once as acts
from suiro.app.metadata import Metadata
from suiro.app.once import Asked, Seed, UnderWay

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="A text of your own, new for each new request. The same request with the same key is answered "
        "again for a day, and not done again.",
    ),
]


class Once:
    """The request that is being answered, with its key if it has one."""

    def __init__(self, metadata: Metadata, asked: Asked | None) -> None:
        self.metadata, self._asked = metadata, asked

    def answer(self, act: Callable[[Seed], dict[str, Any]], shape: type[BaseModel], status: int) -> Response:
        """What `act` tells, in that shape; or what was answered before."""

        def done(seed: Seed) -> str:
            return shape.model_validate(act(seed)).model_dump_json(exclude_unset=True, by_alias=True)

        found = acts.once(self._asked, self.metadata, done, status)
        if isinstance(found, UnderWay):
            raise Refused(
                409,
                "request_under_way",
                "the same request is still being answered",
                hint="Send it again.",
                headers={"Retry-After": str(min(2, max(1, round(found.retry_after))))},
            )
        return Response(found.text, found.status, media_type="application/json")

    def run(self, begin: Callable[[str], Any], shape: type[BaseModel]) -> Response:
        """The run that `begin` begins under the id that it is given."""
        return self.answer(lambda seed: acts.began(seed.run, lambda: begin(seed.run), self.metadata), shape, 202)


async def _once(request: Request, key: Key = None) -> Once:
    metadata = known(request)
    if key is None:
        return Once(metadata, None)
    body = hashlib.sha256(await request.body()).hexdigest()
    owner, path = request.scope[TOKEN].id, f"{request.scope['path']}?{request.scope['query_string'].decode('latin-1')}"
    return Once(metadata, Asked(owner=owner, key=key, method=request.method, path=path, body=body))


Repeatable = Annotated[Once, Depends(_once)]
