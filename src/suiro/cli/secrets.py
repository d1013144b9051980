"""Commands about secrets that connections refer to: set, list, delete."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from suiro.app.metadata import metadata
from suiro.cli.connections import Json
from suiro.cli.output import print_json, print_table, tell
from suiro.model.errors import ConfigError

secret = typer.Typer(help="Keep secrets that connections refer to.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="What connections call it: ${secret:NAME}.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(secret, name="secret")


@secret.command("set", epilog="Example: suiro secret set pg_password < password.txt")
def set_secret(name: Name) -> None:
    """Keep a secret, sealed; it is read from stdin, or asked for."""
    text = typer.prompt("Secret", hide_input=True) if sys.stdin.isatty() else sys.stdin.read().rstrip("\r\n")
    if not text:
        raise ConfigError("the secret is empty", hint="Pipe it in, or type it when asked.")
    metadata().secrets.set(name, text)
    tell(f"{name} is kept.")


@secret.command("list", epilog="Example: suiro secret list")
def list_secrets(json: Json = False) -> None:
    """List the names of secrets, and when each was set."""
    found = metadata().secrets.all()
    if json:
        print_json([{"name": one.name, "updated_at": one.updated_at} for one in found])
    else:
        print_table(["name", "set (UTC)"], [[one.name, one.updated_at] for one in found])


@secret.command("delete", epilog="Example: suiro secret delete pg_password")
def delete_secret(name: Name) -> None:
    """Forget a secret."""
    metadata().secrets.delete(name)
    tell(f"{name} is forgotten.")
