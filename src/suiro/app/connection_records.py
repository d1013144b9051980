"""Stored connections as records without secrets, and changed by such records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from suiro import catalog
from suiro.app import stored
from suiro.app.home import WAREHOUSE
from suiro.app.metadata import Metadata
from suiro.app.references import has_reference
from suiro.model.errors import ConfigError
from suiro.store.connections import StoredConnection
from suiro.store.names import changed_meanwhile, not_there

_REFERENCE: Final = re.compile(r"\$\{(?:env|file|secret):[^}]+\}")
_BUILT_IN: Final = {
    "name": WAREHOUSE,
    "connector": "duckdb",
    "settings": {},
    "built_in": True,
    "version": 0,
    "created_at": None,
    "updated_at": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """A connection that was stored, and whether it is new."""

    record: dict[str, Any]
    new: bool


def records(metadata: Metadata) -> list[dict[str, Any]]:
    """All connections by name, the embedded warehouse among them."""
    using = _using(metadata)
    found = [_record(one, using) for one in metadata.connections.all()]
    return sorted([*found, {**_BUILT_IN, "used_by": using.get(WAREHOUSE, [])}], key=lambda one: str(one["name"]))


def record(name: str, metadata: Metadata) -> dict[str, Any]:
    """One connection; in a secret's place is `{"set": true}`, with the reference if it is one. ConfigError: none."""
    if name == WAREHOUSE:
        return {**_BUILT_IN, "used_by": _using(metadata).get(WAREHOUSE, [])}
    return _record(metadata.connections.get(name), _using(metadata))


def refuse_unknown(name: str, metadata: Metadata) -> None:
    """ConfigError if no connection has that name: neither a URI nor a connection string is one."""
    if name != WAREHOUSE:
        metadata.connections.get(name)


def put(
    name: str, connector: str, settings: Mapping[str, Any], metadata: Metadata, *, version: int | None = None
) -> Put:
    """Store a connection, new or changed. A secret's `{"set": true}` keeps what is stored.

    `version`: the one that the change is of; UserError if somebody changed it since. ConfigError for settings that the
    connector doesn't take, and for the embedded warehouse.
    """
    _refuse_built_in(name)
    kept = {one.name: one for one in metadata.connections.all()}.get(name)
    if version is not None and kept is None:
        raise not_there("connection", name)
    if version is not None and kept is not None and kept.version != version:
        raise changed_meanwhile("connection", name, version, kept.version)
    settings = _with_secrets(connector, settings)
    found = stored.put(name, connector, settings, metadata)
    return Put(record=_record(found, _using(metadata)), new=kept is None)


def patch(name: str, changes: Mapping[str, Any], metadata: Metadata, *, version: int | None = None) -> dict[str, Any]:
    """Change some settings of a connection (RFC 7396: null takes one away). Errors as in `put`; ConfigError: none."""
    _refuse_built_in(name)
    found = metadata.connections.get(name)
    whole = _merged(record(name, metadata)["settings"], changes)
    return put(name, found.connector, whole, metadata, version=found.version if version is None else version).record


def delete(name: str, metadata: Metadata) -> None:
    """Forget a connection. UserError if a job uses it; ConfigError if there is none."""
    _refuse_built_in(name)
    metadata.connections.delete(name)


def _refuse_built_in(name: str) -> None:
    if name == WAREHOUSE:
        raise ConfigError(f"{WAREHOUSE} is the embedded warehouse's name", hint="It needs no settings.")


def _using(metadata: Metadata) -> dict[str, list[str]]:
    """The jobs that use each connection."""
    found: dict[str, list[str]] = {}
    for job in metadata.jobs.all():
        for name in {job.source, job.destination}:
            found.setdefault(name, []).append(job.name)
    return found


def _record(found: StoredConnection, using: Mapping[str, list[str]]) -> dict[str, Any]:
    settings = _copied(found.settings)
    for path in {*found.secrets, *_secrets_of(found)}:
        *holders, last = path.split(".")
        at = settings
        for holder in holders:
            at = at.setdefault(holder, {})
        at[last] = _hidden(at.get(last))
    return {
        "name": found.name,
        "connector": found.connector,
        "settings": settings,
        "built_in": False,
        "version": found.version,
        "created_at": found.created_at,
        "updated_at": found.updated_at,
        "used_by": using.get(found.name, []),
    }


def _secrets_of(found: StoredConnection) -> list[str]:
    """The secrets among the settings; of a connector that isn't installed any more, what refers to something."""
    try:
        return stored.secret_paths(catalog.find(found.connector).config, found.settings)
    except ConfigError:
        return [name for name, value in found.settings.items() if has_reference(value)]


def _hidden(value: object) -> dict[str, Any]:
    named = isinstance(value, str) and _REFERENCE.fullmatch(value) is not None
    return {"set": True, **({"reference": value} if named else {})}


def _with_secrets(connector: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with what `_hidden` shows turned back: into references, or what is kept."""
    whole = _copied(settings)
    for path in stored.secret_paths(catalog.find(connector).config, whole):
        *holders, last = path.split(".")
        at = whole
        for holder in holders:
            at = at[holder]
        said = at[last]
        if isinstance(said, Mapping) and said.get("set") is True and set(said) <= {"set", "reference"}:
            at[last] = said.get("reference", stored.KEPT)
        elif not isinstance(said, str):
            raise ConfigError(f"{path} is no text", hint='Write the secret, a reference to it, or {"set": true}.')
    return whole


def _merged(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(before)
    for name, value in changes.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, Mapping) and "set" not in value:
            inner = found.get(name)
            found[name] = _merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            found[name] = value
    return found


def _copied(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) if isinstance(value, Mapping) else value for name, value in settings.items()}
