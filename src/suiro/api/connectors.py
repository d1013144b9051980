"""The catalogue of connectors."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query

from suiro.api.problems import found
from suiro.api.routes import Routes
from suiro.api.shapes import Cursor, Limit, Page, Shape, page
from suiro.app import catalog

routes = Routes("connectors")


class Connector(Shape):
    """A system that connections are made to."""

    name: str
    title: str
    schemes: list[str]
    source: bool
    destination: bool
    application: bool
    stability: str


class Described(Connector):
    """With the JSON schema of its connections' settings; secrets are `writeOnly` in it."""

    settings: dict[str, Any]


@routes.get("/connectors", Page[Connector], "List connectors")
def list_connectors(
    search: Annotated[str, Query(max_length=100, description="Part of a name or title.")] = "",
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Any:
    """By name."""
    return page(catalog.records(search), lambda one: str(one["name"]), cursor, limit)


@routes.get("/connectors/{name}", Described, "Get one connector")
def get_connector(name: str) -> Any:
    """With what its connections' settings may be."""
    with found():
        return catalog.described(name)
