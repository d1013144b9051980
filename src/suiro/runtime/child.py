"""The child process: carries one task run after the other, as its supervisor says over a pipe.

Lines of JSON, both ways. The supervisor writes `{"carry": spec}` and `{"cancel": true}`; the child answers with
`{"progress": ...}` and `{"log": [time, level, text]}` while it works and ends each task run with `{"done": result}`.
What it asks meanwhile is in questions.py. When the supervisor is gone the pipe ends, and so does the child, at once.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from queue import SimpleQueue
from typing import Any, BinaryIO

from suiro.engine.accounts import Accounts
from suiro.engine.context import RunContext
from suiro.model.errors import Cancelled
from suiro.model.run import Progress
from suiro.runtime.questions import Asker

ORPHANED = 70  #: exit code of a child whose supervisor is gone
_TELL_SECONDS = 0.5  #: between two lines of progress

Spec = Mapping[str, Any]
Carry = Callable[[Spec, RunContext, Callable[[Progress], None]], Mapping[str, Any]]
Lend = Callable[[Spec, Accounts], RunContext]


def serve(carry: Carry, lend: Lend) -> None:
    """Carry what comes over stdin until it ends, and end the process.

    `lend` makes a context from a spec and the accounts that the supervisor keeps.
    stdout belongs to the supervisor: whatever else would print to it goes to stderr.
    """
    told = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    worker = _Worker(told)
    threading.Thread(target=worker.listen, args=(sys.stdin.buffer,), name="suiro-listener", daemon=True).start()
    logging.getLogger("suiro").addHandler(_Relay(worker.tell))
    logging.getLogger("suiro").setLevel(logging.INFO)
    worker.tell({"ready": os.getpid()})
    while (spec := worker.next()) is not None:
        with lend(spec, worker.accounts) as context:
            worker.begin(context)
            done = carry(spec, context, worker.progress)
        worker.begin(None)
        worker.tell({"done": done})
    logging.shutdown()
    os._exit(0)  # the listener still holds stdin, which an orderly end would wait for


class _Worker:
    """The child's side of the pipe."""

    def __init__(self, told: BinaryIO) -> None:
        self._told, self._lock = told, threading.Lock()
        self._specs: SimpleQueue[Spec | None] = SimpleQueue()
        self._context: RunContext | None = None
        self._cancelled = False
        self._last = 0.0
        self._asker = Asker(self.tell)
        self.accounts = self._asker.accounts(self._wait)

    def listen(self, lines: BinaryIO) -> None:
        """Take what the supervisor says; its end is the end of this process."""
        for line in lines:
            said = json.loads(line)
            if "carry" in said:
                self._cancelled = False
                self._specs.put(said["carry"])
            elif "answer" in said:
                self._asker.answered(said["answer"])
            elif "cancel" in said:
                self._cancelled = True
                if self._context is not None:
                    self._context.cancel()
            elif "leave" in said:
                self._specs.put(None)
        os._exit(ORPHANED)

    def next(self) -> Spec | None:
        """The next task run; None: there will be none."""
        return self._specs.get()

    def begin(self, context: RunContext | None) -> None:
        """A task run begins, or has ended."""
        self._context = context
        if context is not None and self._cancelled:  # the word came before the context was there
            context.cancel()

    def progress(self, now: Progress) -> None:
        """Tell how far the task run is, not too often."""
        at = time.monotonic()
        if at - self._last >= _TELL_SECONDS or now.publishing or now.comparing:
            self._last = at
            self.tell({"progress": asdict(now)})

    def tell(self, said: Mapping[str, Any]) -> None:
        """One line to the supervisor."""
        line = json.dumps(said, default=str).encode() + b"\n"
        with self._lock:
            try:
                self._told.write(line)
            except OSError:
                os._exit(ORPHANED)

    def _wait(self, seconds: float) -> None:
        """Sleep; Cancelled if the task run under way is cancelled meanwhile."""
        context = self._context
        if context is None:
            raise Cancelled("the task run has ended")
        context.wait(seconds)


class _Relay(logging.Handler):
    """Sends the log to the supervisor."""

    def __init__(self, tell: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self._tell({"log": [record.created, record.levelname.lower(), text]})
