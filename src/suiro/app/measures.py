"""What the server counts: rows and bytes of task runs that ended here, requests; and what the store holds."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from suiro.app.metadata import Metadata
from suiro.store.counts import open_task_runs, runs_by_state

_COUNTED: Final = ("rows_read", "rows_written", "rows_deleted", "rows_rejected", "bytes")
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  #: seconds


class Measures:
    """Numbers that only rise, since the server was started. For all its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._carried: Counter[str] = Counter()
        self._ends: Counter[str] = Counter()

    def ended(self, result: Mapping[str, Any]) -> None:
        """A task run ended here with that result."""
        with self._lock:
            self._ends[str(result.get("status"))] += 1
            for name in _COUNTED:
                self._carried[name] += int(result.get(name) or 0)

    def carried(self) -> dict[str, int]:
        """Rows read, written, deleted and rejected, and bytes, of task runs that ended here."""
        with self._lock:
            return {name: self._carried[name] for name in _COUNTED}

    def ends(self) -> dict[str, int]:
        """Task runs that ended here, by their status."""
        with self._lock:
            return dict(self._ends)


def runs(metadata: Metadata) -> dict[str, int]:
    """How many runs are kept, by state."""
    return runs_by_state(metadata.database)


def task_runs(metadata: Metadata) -> dict[str, int]:
    """How many task runs are queued, and how many are running."""
    return open_task_runs(metadata.database)
