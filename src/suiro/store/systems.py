"""The systems that hold a metadata database, by its address."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote

from sqlalchemy import Engine

from suiro.model.errors import ConfigError, SuiroError


class System(Protocol):
    """What `Database` needs to know of a system."""

    name: str  #: the database in words, without secrets
    errors: tuple[type[Exception], ...]  #: the driver's

    def engine(self) -> Engine:
        """A pool of connections, none open yet."""

    def reading(self, engine: Engine) -> Engine:
        """The same pool, for transactions that see one moment and write nothing."""

    def prepare(self, engine: Engine) -> None:
        """Make ready what must be before the tables are; ConfigError where that can't be."""

    def translate(self, error: BaseException) -> SuiroError | None:
        """The error of ours for one of the driver's; None for what only a bug of ours can cause."""


def system_of(url: str) -> System:
    """The system of an address, `sqlite:///path` or `postgresql://...`; ConfigError for any other."""
    scheme, _, rest = url.partition("://")
    if scheme in ("postgresql", "postgres"):
        from suiro.store.postgres import PostgresSystem

        return PostgresSystem(url)
    path = unquote(rest.removeprefix("/"))
    if scheme == "sqlite" and rest.startswith("/") and path and path != ":memory:":
        from suiro.store.sqlite import SqliteSystem

        return SqliteSystem(Path(path))
    raise ConfigError(
        f"no metadata database can be at an address that begins with {scheme}:",
        hint="Write sqlite:///path or postgresql://user:password@host:5432/database.",
    )


def sqlite_url(path: Path) -> str:
    """The address of a metadata database in this file."""
    return "sqlite:///" + quote(str(path))
