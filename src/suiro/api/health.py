"""Whether the server is alive, whether it is ready, and its numbers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from suiro.api.metrics import MEDIA_TYPE
from suiro.api.routes import Serving
from suiro.api.shapes import Shape

router = APIRouter(tags=["health"])


class Alive(Shape):
    """The process answers."""

    status: str


class Ready(Shape):
    """What of the server doesn't work; empty when it is ready."""

    status: str
    failing: dict[str, str]


@router.get("/healthz", summary="Whether the process answers")
async def healthz() -> Alive:
    """Nothing is looked at: an answer is the answer."""
    return Alive(status="alive")


@router.get(
    "/readyz",
    summary="Whether the store, the scheduler and the runner are at work",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Something isn't; `failing` says what and why."}},
)
def readyz(server: Serving) -> JSONResponse:
    """200 if everything is at work."""
    failing = server.failing()
    found = Ready(status="failing" if failing else "ready", failing=failing)
    return JSONResponse(found.model_dump(), 503 if failing else 200)


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus's text format."}},
)
def metrics(request: Request) -> Any:
    """Runs, task runs, rows, bytes and requests."""
    return Response(request.app.state.meters.text(), media_type=MEDIA_TYPE)
