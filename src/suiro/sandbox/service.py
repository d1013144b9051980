"""The contract of a stand-in: what the server and the faults around it ask of a service."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

MESSAGES = {429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}


class Service(ABC):
    """A stand-in of one service. Its handlers may be called from several threads at once.

    `folder` is the service's own, and is there; what the service keeps lies in it. A state that lies there already is
    gone on with: then `seed` and `sizes` change nothing. `sizes` says how many records of a kind are made at first.
    """

    name: ClassVar[str]
    #: The kinds of records whose number can be chosen, and how many are made by default.
    default_sizes: ClassVar[Mapping[str, int]] = {}
    #: Templates of routes whose answers come in pages, and which understand `request.state.duplicate_page`: rows of a
    #: page that was given before are given once more, and none is lost.
    paged_routes: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, folder: Path, *, seed: int, sizes: Mapping[str, int], now: Callable[[], datetime]) -> None:
        self.folder = folder
        self.seed = seed
        self.sizes = {**self.default_sizes, **{kind: n for kind, n in sizes.items() if kind in self.default_sizes}}
        self.now = now

    @abstractmethod
    def app(self) -> Starlette:
        """The service's routes, with those of its own under `/_sandbox/` (records, settings); without faults."""

    @abstractmethod
    def connections(self, base_url: str) -> Mapping[str, Mapping[str, str]]:
        """Ways to sign in, by name; each is the settings of a Suiro connection, `type` and `base_url` among them."""

    def fault(self, status: int, request: Request) -> Response:
        """What the service answers when it refuses a request with 429, 500 or 503 that it didn't look at."""
        return PlainTextResponse(MESSAGES[status], status)

    def expire(self, headers: Headers) -> bool:
        """Make the token that a request brings invalid from now on. False: it brings none, or it can't expire."""
        return False

    def close(self) -> None:
        """Let go of files. Called once, after the last request."""
        return None
