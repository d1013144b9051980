"""The catalogue as users see it."""

from __future__ import annotations

from dataclasses import dataclass

from suiro import catalog


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
        Entry(
            name=found.name,
            title=found.title,
            schemes=found.schemes,
            source=found.source is not None,
            destination=found.destination is not None,
            application=found.application is not None,
            stability=found.stability,
        )
        for found in catalog.everything()
        if search.lower() in found.name.lower() or search.lower() in found.title.lower()
    ]
