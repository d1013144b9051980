"""Signing in for a connection at a browser: what the service grants is kept, sealed, for all who use the connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from suiro.app.lending import LentContext
from suiro.app.opened import Connection
from suiro.model.errors import ConfigError
from suiro.model.schema import Json
from suiro.spi.context import Context, Grant, Grants
from suiro.spi.signing import SigningIn
from suiro.toolkit.http.loopback import Loopback, answer_in

REDIRECT: Final = "http://localhost:8182/callback"  #: the app must know it as one of its callback addresses

Shown = Callable[[str], None]


def received(found: Connection, redirect: str, seconds: float, show: Shown) -> None:
    """Sign in: `show` gets the page to open, and the browser that opens it comes back to this machine.

    ConfigError if nobody can sign in for this connection, UserError if nobody does within so many seconds; AuthError
    if the service refuses.
    """
    with AnewContext("authorize") as context, Loopback(redirect) as receiver:
        signing = _signing(found, context, receiver.redirect_uri)
        show(signing.url)
        signing.accept(receiver.wait(signing.state, seconds))


def pasted(found: Connection, redirect: str, show: Shown, ask: Callable[[], str]) -> None:
    """Sign in where the browser is on another machine: `ask` brings the address that it was sent to at the end."""
    with AnewContext("authorize") as context:
        signing = _signing(found, context, redirect)
        show(signing.url)
        answer = answer_in(urlsplit(ask().strip()).query)
        if "state" not in answer:
            raise ConfigError(
                "that address holds no answer", hint=f"Paste the whole address, which begins with {redirect}."
            )
        signing.accept(answer)


def _signing(found: Connection, context: Context, redirect: str) -> SigningIn:
    if found.connector.sign_in is None:
        raise ConfigError(
            f"nobody signs in at a browser for {found.connector.title}", hint="Give its credentials as settings."
        )
    return found.connector.sign_in(found.config, context, redirect)


class AnewContext(LentContext):
    """A context in which nothing was granted yet, and what is granted takes the place of what was, whatever it was."""

    @property
    def grants(self) -> Grants:
        return _Anew()


class _Anew:
    """Implements `spi.context.Grants`."""

    def load(self, key: str) -> Grant | None:
        return None

    def renew(self, key: str, seen: int, ask: Callable[[Grant | None], Mapping[str, Json]]) -> Grant:
        from suiro.app.metadata import metadata  # on use: it takes long to import

        kept = metadata().grants
        return kept.put(key, ask(None))
