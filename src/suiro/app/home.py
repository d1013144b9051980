"""Suiro's home folder and what lives in it."""

from __future__ import annotations

import os
from pathlib import Path

from suiro.toolkit.home import home

__all__ = ["METADATA", "WAREHOUSE", "has_metadata", "home", "warehouse"]

METADATA = "suiro.db"  #: the metadata database's file in Suiro's home
WAREHOUSE = "warehouse"  #: the name of the connection to the embedded warehouse


def warehouse() -> Path:
    """The embedded warehouse's database file."""
    return home() / "warehouse.duckdb"


def has_metadata() -> bool:
    """Whether there is a metadata database: `SUIRO_METADATA_URL` names one, or it was made in Suiro's home."""
    return bool(os.environ.get("SUIRO_METADATA_URL")) or (home() / METADATA).exists()
