"""What all conformance suites are made of: a folder for each test, and what the test opened, closed after it."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import pytest

from suiro.testing.context import LocalContext


class Closes(Protocol):
    """A source, a destination or an application."""

    def close(self) -> None:
        """Let go of connections."""


T = TypeVar("T", bound=Closes)


class Harness(ABC, Generic[T]):
    """Opens what is tested."""

    folder: Path

    @abstractmethod
    def make(self) -> T:
        """A new one, on the system of this test; `context()` gives it a context."""

    @pytest.fixture(autouse=True)
    def _suite(self, tmp_path: Path) -> Iterator[None]:
        self.prepare(tmp_path / "suite")
        yield
        self.finish()

    def prepare(self, folder: Path) -> None:
        """Begin a test in an empty folder."""
        folder.mkdir()
        self.folder = folder
        self._opened: list[T] = []
        self._numbers = itertools.count(1)

    def finish(self) -> None:
        """Close what the test opened."""
        while self._opened:
            self._opened.pop().close()

    def context(self) -> LocalContext:
        """A context with a run id and a workdir of its own."""
        run = f"run{next(self._numbers)}"
        return LocalContext(run=run, workdir=self.folder / f"work-{run}")

    def open(self) -> T:
        """One that is closed after the test, unless the test did."""
        opened = self.make()
        self._opened.append(opened)
        return opened
