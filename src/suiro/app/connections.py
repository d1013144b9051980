"""Connections: from what a user writes to a connector with its settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import ValidationError

from suiro import catalog
from suiro.app.home import WAREHOUSE, warehouse
from suiro.engine.context import RunContext
from suiro.model.errors import ConfigError
from suiro.model.schema import Stream
from suiro.spi.connector import Connector, ConnectorConfig
from suiro.spi.context import Context
from suiro.spi.destination import Destination
from suiro.spi.source import Source

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://(.*)", flags=re.DOTALL)


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

    def destination(self, context: Context) -> Destination[Any]:
        """Open it for writing."""
        if self.connector.destination is None:
            raise ConfigError(f"{self.connector.title} can't be written to", hint="Choose another destination.")
        return self.connector.destination(self.config, context)


def connection(text: str) -> Connection:
    """What a user means by `text`: a URI, or the name of a connection. ConfigError says what is wrong with it."""
    found = _SCHEME.fullmatch(text)
    if found is not None:
        return _from_uri(found.group(1).lower(), found.group(2))
    if text == WAREHOUSE:
        connector = catalog.find("duckdb")
        path = _parts(connector.config)["location"]
        return Connection(name=WAREHOUSE, connector=connector, config=configure(connector, {path: str(warehouse())}))
    raise ConfigError(
        f"{text!r} is neither a URI nor the name of a connection",
        hint=f"Write for example postgresql://user@host/database, or {WAREHOUSE} for the embedded warehouse.",
    )


def check(text: str) -> Connection:
    """Reach the system as a source, or as a destination if it is only that. Raises what stands in the way."""
    found = connection(text)
    with RunContext("check") as context:
        if found.connector.source is not None:
            with closing(found.source(context)) as source:
                source.check()
        else:
            with closing(found.destination(context)) as destination:
                destination.check()
    return found


@contextmanager
def streams(text: str) -> Iterator[Iterator[Stream]]:
    """The streams of a source, as they are found."""
    with RunContext("streams") as context, closing(connection(text).source(context)) as source:
        yield source.discover()


def _from_uri(scheme: str, rest: str) -> Connection:
    connector = catalog.for_scheme(scheme)
    before, _, query = rest.partition("?")
    parts = _parts(connector.config)
    given = _location(parts, before) if "location" in parts else _network(parts, scheme, before)
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=False):
        if name not in _settings(connector.config):
            known = ", ".join(sorted(_settings(connector.config)))
            raise ConfigError(f"{connector.title} has no setting {name!r}", hint=f"Its settings are: {known}.")
        given[name] = value
    return Connection(name=_shown(scheme, rest), connector=connector, config=configure(connector, given))


def configure(connector: Connector, given: dict[str, Any]) -> ConnectorConfig:
    """The connector's settings from these values; ConfigError names the first that is wrong."""
    try:
        return connector.config.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(at) for at in first["loc"]) or "the settings"
        raise ConfigError(
            f"{connector.title}: {where}: {first['msg'].lower()}",
            hint=f"Its settings are: {', '.join(sorted(_settings(connector.config)))}.",
        ) from error


def _settings(config: type[ConnectorConfig]) -> dict[str, str]:
    """The names of settings as users write them, and the fields behind them."""
    return {field.alias or name: name for name, field in config.model_fields.items()}


def _parts(config: type[ConnectorConfig]) -> dict[str, str]:
    """Which setting each part of a URI fills."""
    found = {}
    for name, field in config.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "uri" in extra:
            found[str(extra["uri"])] = field.alias or name
    return found


def _location(parts: dict[str, str], before: str) -> dict[str, Any]:
    path = unquote(before)
    return {parts["location"]: "/" + path.lstrip("/") if path.startswith("//") else path}


def _network(parts: dict[str, str], scheme: str, before: str) -> dict[str, Any]:
    try:
        url = urlsplit(f"{scheme}://{before}")
        port = url.port
    except ValueError as error:
        raise ConfigError(f"the URI {scheme}://... can't be read: {error}", hint=_FORM) from None
    if "#" in before:
        raise ConfigError(f"the URI {scheme}://... holds a #", hint="Write %23 for a # in a user name or password.")
    values = {
        "host": url.hostname,
        "port": port,
        "user": None if url.username is None else unquote(url.username),
        "password": None if url.password is None else unquote(url.password),
        "path": unquote(url.path.removeprefix("/")) or None,
    }
    given: dict[str, Any] = {}
    for part, value in values.items():
        if value is None:
            continue
        if part not in parts:
            raise ConfigError(f"{scheme}:// takes no {part}", hint="Leave it out.")
        given[parts[part]] = value
    return given


_FORM = "Write scheme://user:password@host:port/database?setting=value, special characters as %XX."


def _shown(scheme: str, rest: str) -> str:
    """The URI without its password and its query, where secrets may be."""
    before = rest.partition("?")[0]
    user, at, host = before.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}"
