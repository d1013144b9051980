"""Credentials that sign requests: API keys, basic, bearer tokens. Those that change by themselves are in `oauth`."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection
from typing import Protocol

import httpx2


class Auth(Protocol):
    """Signs requests; safe to use from several threads."""

    def sign(self, request: httpx2.Request) -> None:
        """Put the credentials into a request that is about to be sent; may fetch or renew them first."""

    def renewed(self, request: httpx2.Request) -> bool:
        """The service says that the credentials which signed this request are no longer good.

        Whether there are newer ones now, so that it is worth while to sign and send again.
        """

    def secrets(self) -> Collection[str]:
        """What must appear in no error, log or record; asked anew each time."""


class Open:
    """No credentials at all."""

    def sign(self, request: httpx2.Request) -> None:
        return None

    def renewed(self, request: httpx2.Request) -> bool:
        return False

    def secrets(self) -> Collection[str]:
        return ()


class ApiKey(Open):
    """One secret in a header or, where `query` names it, in a parameter of the URL."""

    def __init__(self, key: str, *, header: str | None = None, query: str | None = None) -> None:
        if (header is None) == (query is None):
            raise TypeError("an API key goes into a header or into the query")
        self._key, self._header, self._query = key, header, query

    def sign(self, request: httpx2.Request) -> None:
        if self._header is not None:
            request.headers[self._header] = self._key
        elif self._query is not None:
            request.url = request.url.copy_set_param(self._query, self._key)

    def secrets(self) -> Collection[str]:
        return (self._key,)


class Bearer(ApiKey):
    """A token that stays as it is."""

    def __init__(self, token: str, *, scheme: str = "Bearer") -> None:
        super().__init__(f"{scheme} {token}", header="Authorization")
        self._token = token

    def secrets(self) -> Collection[str]:
        return (self._token,)


class Basic(ApiKey):
    """A user's name and password."""

    def __init__(self, user: str, password: str) -> None:
        pair = b64encode(f"{user}:{password}".encode()).decode()
        super().__init__(f"Basic {pair}", header="Authorization")
        self._said = (password, pair)

    def secrets(self) -> Collection[str]:
        return self._said
