"""The command `suiro authorize`."""

from __future__ import annotations

import os
import sys
import webbrowser
from typing import Annotated

import typer

from suiro.app import authorizing
from suiro.app.connections import connection
from suiro.cli.connections import Json
from suiro.cli.output import print_json, tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("authorize", epilog="Example: suiro authorize crm")(authorize)


def authorize(
    conn: Annotated[str, typer.Argument(metavar="CONN", help="The name of a connection, or a URI.")],
    redirect: Annotated[
        str, typer.Option(help="Where the service sends the browser back; the app must know it.")
    ] = authorizing.REDIRECT,
    paste: Annotated[
        bool, typer.Option("--paste", help="The browser is on another machine: paste the address where it ends.")
    ] = False,
    browser: Annotated[bool, typer.Option(help="Open the page in this machine's browser.")] = True,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the sign-in.")] = 300,
    json: Json = False,
) -> None:
    """Sign in for a connection at a browser (OAuth); what the service grants is kept, sealed, and renewed by itself."""

    def show(url: str) -> None:
        tell(f"The app at the service must have the callback address {redirect}")
        tell(f"Open this page and consent:\n\n{url}\n")
        if browser and not paste and _has_browser():
            webbrowser.open(url)

    found = connection(conn)
    if paste:
        authorizing.pasted(found, redirect, show, _asked)
    else:
        authorizing.received(found, redirect, timeout, show)
    if json:
        print_json({"connection": found.name, "connector": found.connector.name, "authorized": True})
    else:
        tell(f"{found.name}: signed in. suiro check tries it.")


def _asked() -> str:
    if sys.stdin.isatty():
        tell("Then paste the address that the browser shows:")
    return sys.stdin.readline()


def _has_browser() -> bool:
    """Whether a browser would open in a window; one in the terminal would be in the way."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
