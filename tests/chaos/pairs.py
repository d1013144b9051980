"""Two runs of one task at the same time, in processes of their own, one of them asleep in the middle of its load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from suiro.app.runs import Copy, Copying
from suiro.engine.carry import Attempt
from suiro.model.job import Task
from suiro.model.schema import ReadMode
from suiro.model.selection import WriteMode

SECONDS = 60.0


class Process:
    """One copy of one stream. `sleeps`: it stops, as by SIGSTOP, just before it publishes its first load."""

    def __init__(self, source: str, destination: str, task: Mapping[str, Any], run: str, *, sleeps: bool) -> None:
        said = {"source": source, "destination": destination, "task": dict(task), "run": run, "sleeps": sleeps}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.pairs", json.dumps(said)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
            stdout=subprocess.PIPE,
            text=True,
        )

    def sleep(self) -> None:
        """Wait until it sleeps."""
        until = time.monotonic() + SECONDS
        process = psutil.Process(self._process.pid)
        while process.status() != psutil.STATUS_STOPPED:
            assert self._process.poll() is None, "it ended before it slept"
            assert time.monotonic() < until, "it never slept"
            time.sleep(0.02)

    def wake(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def ended(self) -> dict[str, Any]:
        """Wait for its end: status, the error's code and message, loads published, rows written."""
        said, _ = self._process.communicate(timeout=SECONDS)
        found: dict[str, Any] = json.loads(said)
        return found

    def close(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def copied(said: Mapping[str, Any]) -> dict[str, Any]:
    """Carry the copy in this process."""
    if said["sleeps"]:
        act = Attempt._act

        def asleep(self: Attempt, *arguments: Any) -> None:
            Attempt._act = act  # type: ignore[method-assign]
            os.kill(os.getpid(), signal.SIGSTOP)
            act(self, *arguments)

        Attempt._act = asleep  # type: ignore[method-assign]
    task = {**said["task"]}
    stream = task.pop("stream")
    task["write"] = WriteMode(task["write"])
    task["read"] = ReadMode(task.get("read", "full"))
    task["key"] = tuple(task["key"]) if "key" in task else None
    copy = Copy(
        source=said["source"],
        destination=said["destination"],
        streams=(stream,),
        task=Task(stream="", **task),
        run=said["run"],
    )
    (done,) = Copying(copy).run().tasks
    return {
        "status": done.status.value,
        "code": done.error.code if done.error else "",
        "said": done.error.message if done.error else "",
        "loads": done.loads,
        "rows": done.rows_written,
        "notes": list(done.notes),
    }


if __name__ == "__main__":
    print(json.dumps(copied(json.loads(sys.argv[1]))))
