"""Secrets that connections refer to: named, never shown."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path
from pydantic import Field

from suiro.api.problems import found
from suiro.api.routes import Known, Routes
from suiro.api.shapes import Cursor, Limit, Moment, Page, Shape, page
from suiro.app import named_secrets

routes = Routes("secrets")


class Secret(Shape):
    """What may be told of a secret."""

    name: str
    set: bool
    created_at: Moment
    updated_at: Moment


class SecretToPut(Shape):
    """A secret."""

    value: str = Field(min_length=1, json_schema_extra={"writeOnly": True, "format": "password"})


@routes.get("/secrets", Page[Secret], "List secrets")
def list_secrets(known: Known, cursor: Cursor = None, limit: Limit = 100) -> Any:
    """By name; their values are never told."""
    return page(named_secrets.records(known), lambda one: str(one["name"]), cursor, limit)


@routes.change("PUT", "/secrets/{name}", Secret, "Keep a secret, new or in place of another")
def put_secret(
    name: Annotated[str, Path(pattern=r"^[^{}:/\s]+$", description="As in ${secret:NAME}.")],
    body: SecretToPut,
    known: Known,
) -> Any:
    """It is sealed before it is stored."""
    return named_secrets.put(name, body.value, known)


@routes.change("DELETE", "/secrets/{name}", None, "Forget a secret", status=204)
def delete_secret(name: str, known: Known) -> None:
    """Connections that refer to it can't be opened any more."""
    with found():
        known.secrets.delete(name)
