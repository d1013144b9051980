"""A connection that can be opened: a connector with its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from suiro.app.connector_settings import known_settings
from suiro.model.errors import ConfigError
from suiro.spi.application import Application
from suiro.spi.connector import Connector, ConnectorConfig
from suiro.spi.context import Context
from suiro.spi.destination import Destination
from suiro.spi.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A connector plus a user's settings. `name` is as the user wrote it, without secrets."""

    name: str
    connector: Connector
    config: ConnectorConfig

    def source(self, context: Context) -> Source[Any]:
        """Open it for reading."""
        if self.connector.source is None:
            raise ConfigError(f"{self.connector.title} can't be read from", hint="Choose another source.")
        return self.connector.source(self.config, context)

    def destination(self, context: Context, source: Connection | None = None) -> Destination[Any]:
        """Open it for writing. `source` is where rows come from: some are wanted in files of a format of their own."""
        if self.connector.destination is None and self.connector.application is not None:
            raise ConfigError(
                f"{self.connector.title} is an application: its records are written by jobs alone, which are planned "
                "first and can be undone",
                hint="Write a job with write: update, for example; docs/guide/write-back.md shows how.",
            )
        if self.connector.destination is None:
            raise ConfigError(f"{self.connector.title} can't be written to", hint="Choose another destination.")
        config, wanted = self.config, None if source is None else source.connector.files_as
        if wanted is not None and getattr(config, "written_as", None) == "guess":
            config = config.model_copy(update={"written_as": wanted})
        return self.connector.destination(config, context)

    def application(self, context: Context) -> Application[Any]:
        """Open it for writing its records."""
        if self.connector.application is None:
            raise ConfigError(f"{self.connector.title} is no application", hint="Choose another destination.")
        return self.connector.application(self.config, context)


def configure(connector: Connector, given: Mapping[str, Any]) -> ConnectorConfig:
    """The connector's settings from these values; ConfigError names the first that is wrong."""
    try:
        return connector.config.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(at) for at in first["loc"]) or "the settings"
        said = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"{connector.title}: {where}: {said[:1].lower()}{said[1:]}", hint=known_settings(connector)
        ) from error
