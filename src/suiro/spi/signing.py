"""A user's consent: how a connection is signed in for by somebody at a browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from suiro.spi.context import Context


class SigningIn(Protocol):
    """One consent that is asked for. The service sends the browser to a redirect address with its answer."""

    @property
    def url(self) -> str:
        """The service's page, where the user consents."""

    @property
    def state(self) -> str:
        """What the answer's `state` must be; any other answer is none to this consent."""

    def accept(self, answer: Mapping[str, str]) -> None:
        """Take the answer (the query of the redirect address), and keep in `context.grants` what it brings.

        AuthError if the user or the service refused, or the answer is none to this consent.
        """


SignIn = Callable[[Any, Context, str], SigningIn]  #: from a connection's settings, a context and the redirect address
