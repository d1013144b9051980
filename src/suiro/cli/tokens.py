"""Commands about tokens that open the API: create, list, revoke."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from suiro.app import tokens
from suiro.app.metadata import metadata
from suiro.cli.connections import Json
from suiro.cli.output import print_json, print_table, tell
from suiro.model.access import Scope

token = typer.Typer(help="Tokens that open the server's API.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="What it is called in lists.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(token, name="token")


@token.command("create", epilog="Example: suiro token create ci --scope operate --expires 90d")
def create(
    name: Name,
    scope: Annotated[
        Scope, typer.Option(help="read: look; operate: also run, cancel, retry and write back; admin: everything.")
    ] = Scope.READ,
    expires: Annotated[str | None, typer.Option(help="After so long: 12h, 90d. Without it: never.")] = None,
    json: Json = False,
) -> None:
    """Make a token and print it, this once: only a hash of it is kept."""
    made = tokens.create(name, scope, metadata(), expires=expires)
    if json:
        print_json({"token": made.text, **asdict(made.stored)})
        return
    print(made.text)
    until = "" if made.stored.expires_at is None else f" until {made.stored.expires_at:%Y-%m-%d %H:%M} UTC"
    tell(f"{name} may {scope.value}{until}. Keep the token: it is not shown again.")


@token.command("list", epilog="Example: suiro token list")
def list_tokens(json: Json = False) -> None:
    """List tokens by name, with their scopes and when they were used last."""
    found = metadata().tokens.all()
    if json:
        print_json([asdict(one) for one in found])
        return
    rows = [[one.name, one.scope.value, one.created_at, one.expires_at, one.used_at] for one in found]
    print_table(["name", "scope", "made (UTC)", "expires", "used"], rows)


@token.command("revoke", epilog="Example: suiro token revoke ci")
def revoke(name: Name) -> None:
    """Forget a token: whoever has it is refused from now on."""
    metadata().tokens.revoke(name)
    tell(f"{name} is revoked.")
