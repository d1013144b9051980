"""Suiro's home folder."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`SUIRO_HOME`, or `~/.suiro`; made if it isn't there."""
    folder = Path(os.environ.get("SUIRO_HOME") or Path.home() / ".suiro")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder
