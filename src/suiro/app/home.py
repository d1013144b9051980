"""Suiro's home folder and what lives in it."""

from __future__ import annotations

import os
from pathlib import Path

WAREHOUSE = "warehouse"  #: the name of the connection to the embedded warehouse


def home() -> Path:
    """`SUIRO_HOME`, or `~/.suiro`; made if it isn't there."""
    folder = Path(os.environ.get("SUIRO_HOME") or Path.home() / ".suiro")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def warehouse() -> Path:
    """The embedded warehouse's database file."""
    return home() / "warehouse.duckdb"
