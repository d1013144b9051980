"""A connector's visiting card: what the catalogue, the command line and the console know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from suiro.spi.application import Application
from suiro.spi.destination import Destination
from suiro.spi.signing import SignIn
from suiro.spi.source import Source


class ConnectorConfig(BaseModel):
    """A connection's settings. Every field has a title and a description; secrets are SecretStr.

    `json_schema_extra={"uri": ...}` on a field says which part of a URI fills it: "host", "port", "user",
    "password", "path" (the path without its leading slash for network systems) or "location" (all after `//`);
    other fields are filled from the URI's query by their names.
    """

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    def identity(self) -> str:
        """What makes two connections the same system and database; no secrets, no tuning settings.

        Part of every marker's key: it must not change when a password or an option does.
        """
        raise TypeError(f"{type(self).__name__} must say what identifies a connection")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connector:
    """One system that Suiro reads from, writes to, or both."""

    name: str  #: as in YAML and file names: "postgres"
    title: str  #: as people write it: "PostgreSQL"
    config: type[ConnectorConfig]
    schemes: tuple[str, ...]  #: of URIs: ("postgresql", "postgres")
    source: type[Source[Any]] | None = None
    destination: type[Destination[Any]] | None = None
    application: type[Application[Any]] | None = None  #: takes rows back, one by one or in bulk jobs; holds no tables
    sign_in: SignIn | None = None  #: where somebody at a browser can sign in for a connection
    files_as: str | None = None  #: the format of files that its rows are wanted in, where nobody names one
    stability: Literal["alpha", "beta", "stable"] = "alpha"
