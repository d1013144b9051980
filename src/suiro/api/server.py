"""The application: all operations together, behind the gates."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp

from suiro import __version__
from suiro.api import (
    connections,
    connectors,
    docs,
    documents,
    events,
    health,
    jobs,
    positions,
    problems,
    runs,
    secrets,
    tokens,
    writebacks,
)
from suiro.api.gates import Gates
from suiro.api.metrics import Meters
from suiro.app.server import Server

OPENAPI: Final = "/api/openapi.json"
_ABOUT: Final = (
    "Suiro carries data between systems and proves that it arrived. Every request under /api/v1 needs a token "
    "(Authorization: Bearer suiro_...); errors are problem documents (RFC 9457) with a stable code."
)
_NOUNS: Final = (connectors, connections, jobs, positions, runs, writebacks, documents, events, secrets, tokens)


def application(server: Server) -> ASGIApp:
    """What answers the requests of this server."""
    app = FastAPI(
        title="Suiro", version=__version__, description=_ABOUT, openapi_url=OPENAPI, docs_url=None, redoc_url=None
    )
    app.state.server, app.state.meters = server, Meters(server)
    problems.install(app)
    app.include_router(health.router)
    app.include_router(docs.router)
    for noun in _NOUNS:
        app.include_router(noun.routes.router)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return Gates(app, server, app.state.meters)


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = made["components"]["schemas"]
        said = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= {**said.pop("$defs", {}), problems.Problem.__name__: said}
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = made
    return app.openapi_schema
