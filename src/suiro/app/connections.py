"""Connections: from what a user writes to a connector with its settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from suiro import catalog
from suiro.app.connection_strings import is_connection_string, prefix_of, properties, settings_from
from suiro.app.connector_settings import flat_settings, known_settings, put, uri_parts
from suiro.app.home import WAREHOUSE, has_metadata, warehouse
from suiro.app.lending import LentContext
from suiro.app.opened import Connection, configure
from suiro.model.errors import ConfigError
from suiro.model.schema import Stream
from suiro.spi.connector import Connector
from suiro.toolkit.sql.server import ServerConfig

_USUAL = "postgres"  #: the connector of connection strings that name none
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://(.*)", flags=re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A connection that was reached, and sentences for the user about it."""

    connection: Connection
    notes: tuple[str, ...]


def connection(text: str) -> Connection:
    """What a user means by `text`: a URI, a connection string, or the name of a connection.

    ConfigError says what is wrong with it.
    """
    found = _SCHEME.fullmatch(text)
    if found is not None:
        return _from_uri(found.group(1).lower(), found.group(2))
    if is_connection_string(text):
        return _from_properties(text)
    if text == WAREHOUSE:
        connector = catalog.find("duckdb")
        path = uri_parts(connector.config)["location"]
        return Connection(name=WAREHOUSE, connector=connector, config=configure(connector, {path: str(warehouse())}))
    found_stored = _stored(text)
    if found_stored is not None:
        return found_stored
    shown = repr(text) if re.fullmatch(r"[\w .-]*", text) else "what was given"
    raise ConfigError(
        f"{shown} is neither a URI nor the name of a connection",
        hint=f"Write for example postgresql://user@host/database, or {WAREHOUSE} for the embedded warehouse.",
    )


def connection_of(said: Mapping[str, Any]) -> Connection:
    """A connection by its settings, or by its `text`, as the process that carries gets to know it."""
    if "text" in said:
        return connection(said["text"])
    connector = catalog.find(said["connector"])
    return Connection(name=said["name"], connector=connector, config=configure(connector, dict(said["settings"])))


def _stored(name: str) -> Connection | None:
    """The stored connection of that name; without a metadata database there is none."""
    if not has_metadata():
        return None
    from suiro.app import metadata, stored  # on use: most copies name no stored connection

    known = metadata.metadata()
    found = next((one for one in known.connections.all() if one.name == name), None)
    return None if found is None else stored.opened(found, known)


def check(text: str) -> Checked:
    """Reach the system as a source, or as a destination if it is only that. Raises what stands in the way."""
    found = connection(text)
    notes: tuple[str, ...] = ()
    with LentContext("check") as context:
        if found.connector.source is not None:
            with closing(found.source(context)) as source:
                source.check()
                notes = tuple(source.remarks())
        elif found.connector.application is not None:
            with closing(found.application(context)) as application:
                application.check()
        else:
            with closing(found.destination(context)) as destination:
                destination.check()
    # A server's host key may be known only now, since it was reached.
    told = found.config.notes() if isinstance(found.config, ServerConfig) else ()
    return Checked(connection=found, notes=(*told, *notes))


@contextmanager
def streams(text: str) -> Iterator[Iterator[Stream]]:
    """The streams of a source, as they are found."""
    with LentContext("streams") as context, closing(connection(text).source(context)) as source:
        yield source.discover()


def _from_uri(scheme: str, rest: str) -> Connection:
    connector = catalog.for_scheme(scheme)
    before, _, query = rest.partition("?")
    parts, known = uri_parts(connector.config), flat_settings(connector.config)
    given = _location(parts, before) if "location" in parts else _network(parts, scheme, before)
    if rest.endswith("?") and not query and "location" in parts:
        raise ConfigError("the URI ends in ?, behind which settings were to be", hint=_wildcard(parts).rstrip())
    for name, value in parse_qsl(query, keep_blank_values=True, strict_parsing=False):
        if name not in known:
            raise ConfigError(
                f"{connector.title} has no setting {name!r}", hint=_wildcard(parts) + known_settings(connector)
            )
        put(given, known[name], value)
    return Connection(name=_shown(scheme, rest), connector=connector, config=configure(connector, given))


def _from_properties(text: str) -> Connection:
    scheme, rest = prefix_of(text)
    connector = catalog.find(_USUAL) if scheme is None else catalog.for_scheme(scheme)
    given = settings_from(connector, properties(rest))
    return Connection(name=_named(connector, given), connector=connector, config=configure(connector, given))


def _named(connector: Connector, given: dict[str, Any]) -> str:
    """A URI of what identifies the connection, and nothing else of what was given."""
    parts = uri_parts(connector.config)
    if "location" in parts:
        return f"{connector.schemes[0]}://{given.get(parts['location'], '')}"
    host, port, user, path = (given.get(parts.get(part, "")) for part in ("host", "port", "user", "path"))
    shown = f"{connector.schemes[0]}://{f'{user}@' if user else ''}{host or 'localhost'}"
    return shown + (f":{port}" if port else "") + (f"/{path}" if path else "")


def _wildcard(parts: dict[str, str]) -> str:
    """A hint for patterns of file names; empty where there are none."""
    return "For a ? in a path, the wildcard for one character, write %3F. " if "location" in parts else ""


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
        "host": unquote(url.netloc.rpartition("@")[2].partition(":")[0])
        if "%" in (url.hostname or "")
        else url.hostname,
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


def _host(url: SplitResult) -> str | None:
    """The host; a path of a Unix socket (%2F...) as it is written, while names are in lower case."""
    if "%" not in (url.hostname or ""):
        return url.hostname
    return unquote(url.netloc.rpartition("@")[2].partition(":")[0])


_FORM = "Write scheme://user:password@host:port/database?setting=value, special characters as %XX."


def _shown(scheme: str, rest: str) -> str:
    """The URI without its password and its query, where secrets may be."""
    before = rest.partition("?")[0]
    user, at, host = before.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}"
