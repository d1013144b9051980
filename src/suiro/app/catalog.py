"""The catalogue as users see it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from suiro import catalog
from suiro.spi.connector import Connector


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One connector."""

    name: str
    title: str
    schemes: tuple[str, ...]
    source: bool
    destination: bool
    application: bool
    stability: str


def connectors(search: str = "") -> list[Entry]:
    """The connectors whose name or title holds `search`, in any case."""
    return [
        _entry(found)
        for found in catalog.everything()
        if search.lower() in found.name.lower() or search.lower() in found.title.lower()
    ]


def records(search: str = "") -> list[dict[str, Any]]:
    """The same as plain data, by name."""
    return sorted((asdict(entry) for entry in connectors(search)), key=lambda entry: str(entry["name"]))


def described(name: str) -> dict[str, Any]:
    """A connector with the JSON schema of its settings, secrets `writeOnly`. ConfigError: there is none."""
    found = catalog.find(name)
    return {**asdict(_entry(found)), "settings": found.config.model_json_schema(by_alias=True)}


def _entry(found: Connector) -> Entry:
    return Entry(
        name=found.name,
        title=found.title,
        schemes=found.schemes,
        source=found.source is not None,
        destination=found.destination is not None,
        application=found.application is not None,
        stability=found.stability,
    )
