"""Tokens that open this API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Path
from pydantic import Field

from suiro.api.problems import found
from suiro.api.repeats import Repeatable
from suiro.api.routes import Known, Routes
from suiro.api.shapes import Cursor, Limit, Moment, Page, Shape, page
from suiro.app import tokens
from suiro.model.access import Scope

routes = Routes("tokens")


class Token(Shape):
    """What may be told of a token. `used_at` is up to a minute behind."""

    id: str
    name: str
    scope: Scope
    created_at: Moment
    expires_at: Moment | None
    used_at: Moment | None


class NewToken(Token):
    """With the token itself, which is told this once."""

    token: str


class TokenToCreate(Shape):
    """A token as it shall be."""

    name: str = Field(min_length=1, max_length=200)
    scope: Scope = Scope.READ
    expires: str | None = Field(None, description="After so long, as in 12h or 90d; without it never.")


@routes.get("/tokens", Page[Token], "List tokens")
def list_tokens(known: Known, cursor: Cursor = None, limit: Limit = 100) -> Any:
    """By name, expired ones too."""
    return page([asdict(one) for one in known.tokens.all()], lambda one: str(one["name"]), cursor, limit)


@routes.change("POST", "/tokens", NewToken, "Make a token", status=201)
def create_token(body: TokenToCreate, known: Known, once: Repeatable) -> Any:
    """The answer holds it; it is kept nowhere."""

    def made(seed: Any) -> dict[str, Any]:
        new = tokens.create(body.name, body.scope, known, expires=body.expires, seed=seed.secret)
        return {**asdict(new.stored), "token": new.text}

    return once.answer(made, NewToken, 201)


@routes.change("DELETE", "/tokens/{name}", None, "Revoke a token", status=204)
def revoke_token(name: Annotated[str, Path(description="The token's name.")], known: Known) -> None:
    """Whoever has it is refused from now on."""
    with found():
        known.tokens.revoke(name)
