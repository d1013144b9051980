"""Leases on this machine: a lock file that its holder's death sets free at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

from filelock import FileLock, Timeout

from suiro.model.errors import ConfigError, TransientError


class FileLease:
    """Held from `take` until `release` or the death of the process. Works between threads, processes and containers."""

    def __init__(self, path: Path, what: str, run: str) -> None:
        self._path, self._what, self._run = path, what, run
        self._lock = FileLock(path, is_singleton=False, thread_local=False)

    def take(self) -> None:
        """Take the lease, or raise TransientError naming the run and process that hold it."""
        try:
            self._acquire()
            self._note.write_text(json.dumps({"run": self._run, "pid": os.getpid()}))
        except Timeout:
            raise TransientError(
                f"another run is loading {self._what} ({self._holder()})",
                hint="Wait until it is done, or cancel it, and run again.",
            ) from None
        except OSError as error:
            self.release()
            raise ConfigError(
                f"can't write beside {self._what}: {error.strerror}", hint=f"Give write access to {self._path.parent}."
            ) from error

    def _acquire(self) -> None:
        """Holders that let go may take the folder away at any moment: then it is made once more."""
        for left in reversed(range(20)):
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire(timeout=0.1, poll_interval=0.02)
            except (FileNotFoundError, FileExistsError):
                if not left:
                    raise
            else:
                return

    def release(self) -> None:
        """Let go and leave no file behind. Harmless when not held."""
        if self._lock.is_locked:
            self._note.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)  # whoever waits for this file sees that it is gone, and makes a new one
            self._lock.release()

    @property
    def _note(self) -> Path:
        return self._path.with_suffix(".holder")

    def _holder(self) -> str:
        try:
            said = json.loads(self._note.read_text())
            return f"run {said['run']}, process {said['pid']}"
        except (OSError, ValueError, KeyError):
            return "it has just begun"
