"""The application in memory as an installed package, for the tests' own process and those that it starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from suiro import catalog


def install_memory_application(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the test ends the catalogue knows `memory_application`, here and in processes that are started."""
    about = folder / "plugin" / "memory_application-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: memory-application\nVersion: 1\n")
    point = "memory_application = suiro.testing.memory_application:connector"
    (about / "entry_points.txt").write_text(f"[suiro.connectors]\n{point}\n")
    monkeypatch.syspath_prepend(str(about.parent))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(about.parent), os.environ.get("PYTHONPATH", "")]))
    # The catalogue remembers what is installed: it is to look anew, now and after the test.
    monkeypatch.setattr(catalog, "_installed", catalog._installed.__wrapped__)
    monkeypatch.setattr(catalog, "names", catalog.names.__wrapped__)
