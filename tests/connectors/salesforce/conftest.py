"""Fixtures of the tests of the Salesforce connector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from salesforce_org import Org
from suiro.sandbox.server import Running


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """A sandbox with few records."""
    with Running(only=["salesforce"], sizes={"Lead": 1500}) as running:
        yield running


@pytest.fixture
def org(running: Running, tmp_path: Path) -> Iterator[Org]:
    """The sandbox without faults and with its first settings; sources on it are closed after the test."""
    org = Org(running, tmp_path)
    org.control("PUT", "faults", {})
    before = org.control("GET", "settings")
    yield org
    org.control("PUT", "faults", {})
    org.control("PUT", "settings", before)
    org.close()
