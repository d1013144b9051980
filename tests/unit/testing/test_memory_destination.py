"""The memory destination keeps the contract: the suite passes on it."""

from __future__ import annotations

from unit.testing.memory_suite import MemorySuite


class TestMemoryDestination(MemorySuite):
    """On a store of each test's own."""
