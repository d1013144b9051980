"""Secrets with a name, as records that never hold them."""

from __future__ import annotations

from typing import Any

from suiro.app.metadata import Metadata


def records(metadata: Metadata) -> list[dict[str, Any]]:
    """Names and times, by name."""
    return [
        {"name": one.name, "set": True, "created_at": one.created_at, "updated_at": one.updated_at}
        for one in metadata.secrets.all()
    ]


def put(name: str, text: str, metadata: Metadata) -> dict[str, Any]:
    """Keep a secret, new or in place of the one of that name; its record."""
    metadata.secrets.set(name, text)
    return next(one for one in records(metadata) if one["name"] == name)
