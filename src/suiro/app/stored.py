"""Stored connections: settings with their secrets sealed, and opened again when they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from suiro import catalog
from suiro.app.connection_strings import properties, settings_from
from suiro.app.documents import near
from suiro.app.metadata import Metadata
from suiro.app.opened import Connection, configure
from suiro.app.references import has_reference, resolved
from suiro.model.errors import ConfigError
from suiro.spi.connector import Connector
from suiro.store.connections import StoredConnection, bound_to, new_id

PARALLEL: Final = "parallel"  #: a connection's own key: how many task runs may use it at once, over all runs
KEPT: Final = "${kept}"  #: in a document: the secret that the store has already


def opened(found: StoredConnection, metadata: Metadata) -> Connection:
    """A connection that can be used: its secrets unsealed, its references looked up."""
    connector = catalog.find(found.connector)
    return Connection(name=found.name, connector=connector, config=configure(connector, ready(found, metadata)))


def ready(found: StoredConnection, metadata: Metadata) -> dict[str, Any]:
    """All settings of a connection as its connector takes them: secrets in clear, references looked up."""
    settings = {name: value for name, value in settings_of(found, metadata).items() if name != PARALLEL}
    return dict(resolved(settings, metadata.secrets.get))


def limits(metadata: Metadata) -> dict[str, int]:
    """How many task runs may use a connection at once, for those that say so."""
    return {one.name: int(one.settings[PARALLEL]) for one in metadata.connections.all() if PARALLEL in one.settings}


def settings_of(found: StoredConnection, metadata: Metadata) -> dict[str, Any]:
    """All settings of a connection, secrets in clear, references as they were written."""
    settings = _copied(found.settings)
    for path, token in found.secrets.items():
        _place(settings, path.split("."), metadata.keys.unseal(token, bound_to(found.id, path)))
    return settings


def put(name: str, connector: str, settings: Mapping[str, Any], metadata: Metadata) -> StoredConnection:
    """Store a connection, new or changed. ConfigError if the connector doesn't take the settings."""
    kept = {found.name: found for found in metadata.connections.all()}.get(name)
    whole = checked(name, connector, settings, kept, metadata)
    id_ = new_id() if kept is None else kept.id
    plain, tokens = _copied(whole), {}
    for path in secret_paths(catalog.find(connector).config, whole):
        text = _taken(plain, path.split("."))
        if has_reference(text):
            _place(plain, path.split("."), text)
        else:
            tokens[path] = metadata.keys.seal(text, bound_to(id_, path))
    return metadata.connections.put(
        id=id_,
        name=name,
        connector=connector,
        settings=plain,
        secrets=tokens,
        version=None if kept is None else kept.version,
    )


def checked(
    name: str, connector: str, settings: Mapping[str, Any], kept: StoredConnection | None, metadata: Metadata
) -> dict[str, Any]:
    """The settings with kept secrets in their places, if the connector takes them.

    Settings that refer to something which isn't there now are only checked by name.
    """
    found = catalog.find(connector)
    most = settings.get(PARALLEL, 1)
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        raise ConfigError(f"connection {name}: {PARALLEL} {most!r} is no number", hint="Write 1 or more.")
    settings = _spelled_out(found, settings)
    known = {field.alias or at: field for at, field in found.config.model_fields.items()}
    for key in settings:
        if key not in known and key != PARALLEL:
            raise ConfigError(f"connection {name}: {found.title} has no setting {key!r}", hint=near(key, known))
    whole = _copied(settings)
    before = {} if kept is None else settings_of(kept, metadata)
    for path in list(_texts(whole)):
        if _at(whole, path.split(".")) == KEPT:
            value = _at(before, path.split("."))
            if value is None:
                raise ConfigError(f"connection {name}: no {path} is kept", hint="Write it, or a reference to it.")
            _place(whole, path.split("."), value)
    try:
        complete = resolved(whole, metadata.secrets.get)
    except ConfigError:
        return whole
    try:
        configure(found, {key: value for key, value in complete.items() if key != PARALLEL})
    except ConfigError as error:
        raise ConfigError(f"connection {name}: {error.message}", hint=error.hint) from error
    return whole


def _spelled_out(connector: Connector, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, those of a `connection_string` by their own names."""
    rest = {name: value for name, value in settings.items() if name != "connection_string"}
    text = settings.get("connection_string")
    return rest if text is None else {**settings_from(connector, properties(str(text))), **rest}


def shown(found: StoredConnection) -> dict[str, Any]:
    """The settings as a document: secrets that the store keeps are `${kept}`."""
    settings = _copied(found.settings)
    for path in found.secrets:
        _place(settings, path.split("."), KEPT)
    return settings


def secret_paths(config: type[BaseModel], settings: Mapping[str, Any]) -> list[str]:
    """Which of the settings given are secrets; `ssh.password` for one inside another."""
    found = []
    for name, field in config.model_fields.items():
        key = field.alias or name
        value = settings.get(key)
        if value is None:
            continue
        if any(issubclass(kind, SecretStr) for kind in _kinds(field)):
            found.append(key)
        for kind in _kinds(field):
            if issubclass(kind, BaseModel) and isinstance(value, Mapping):
                found += [f"{key}.{inner}" for inner in secret_paths(kind, value)]
    return found


def _kinds(field: FieldInfo) -> Iterator[type]:
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type):
            yield kind


def _copied(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) if isinstance(value, Mapping) else value for name, value in settings.items()}


def _texts(settings: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _texts(value, f"{before}{name}.")
        elif isinstance(value, str):
            yield before + name


def _at(settings: Mapping[str, Any], path: list[str]) -> Any:
    found: Any = settings
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _place(settings: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        settings = settings.setdefault(part, {})
    settings[path[-1]] = value


def _taken(settings: dict[str, Any], path: list[str]) -> str:
    for part in path[:-1]:
        settings = settings[part]
    return str(settings.pop(path[-1]))
