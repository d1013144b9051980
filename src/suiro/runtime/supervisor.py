"""The supervisor of one child process: heartbeat, cancel, memory, log, and the end of whoever doesn't obey."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Literal

import psutil

from suiro.runtime.questions import Books, Desk

BEAT_SECONDS = 5.0  #: between two heartbeats
OBEY_SECONDS = 10.0  #: a cancelled child ends by itself within this time, or is terminated,
LEAVE_SECONDS = 5.0  #: and within this time more, or is killed;
RENEW_SECONDS = 60.0  #: one that renews a grant has so much longer: what it is given then must not be lost
_LOOK_SECONDS = 0.2  #: between two looks at the child's memory
_TELL_SECONDS = 1.0  #: how long a line to the child waits for another one that it doesn't take

Line = tuple[float, str, str]  #: Unix time, level, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What a heartbeat brings back."""

    fenced: bool = False  #: another attempt took over: nothing of this one counts any more
    cancel: bool = False  #: the user stopped the run


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a task run ended in its child. Exactly one of the three is there."""

    result: Mapping[str, Any] | None = None
    died: str | None = None  #: the child ended without a word: a crash, or killed from outside
    stopped: Literal["fenced", "cancelled", "memory"] | None = None  #: the supervisor ended it


class Child:
    """A child process that carries task runs one after the other; started when it is first needed.

    `command` starts it, `beat_seconds` is the time between heartbeats; its questions about accounts are answered from
    `books`. For one thread, but for `cancel`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        beat_seconds: float = BEAT_SECONDS,
        books: Books | None = None,
    ) -> None:
        self._command, self._env, self._beat_seconds = list(command), env, beat_seconds
        self._books = books
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: threading.Thread | None = None
        self._desk: Desk | None = None
        self._writing = threading.Lock()
        self._said: SimpleQueue[Mapping[str, Any] | None] = SimpleQueue()
        self._asked_to_cancel = threading.Event()
        self._cancelled_at: float | None = None
        self._progress: Mapping[str, Any] | None = None
        self._lines: list[Line] = []
        self._told: Callable[[Mapping[str, Any]], None] | None = None
        self.peak = 0  #: the most bytes that the process had resident in the task run under way, or the last one

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def carry(
        self,
        spec: Mapping[str, Any],
        *,
        beat: Callable[[Mapping[str, Any] | None], Word],
        log: Callable[[Sequence[Line]], None],
        told: Callable[[Mapping[str, Any]], None] | None = None,
        memory: int | None = None,
    ) -> Outcome:
        """Carry one task run to its end.

        `beat` gets the newest progress, now and then, and says whether to go on; `told` gets all progress at once;
        `log` gets lines of the child's log. `memory`: the most bytes that the process may have resident; past it the
        child is killed.
        """
        self._told = told
        self._asked_to_cancel.clear()
        self._cancelled_at, self._progress, self._lines = None, None, []
        self.peak = 0
        process = self._started()
        try:
            if not self._write(process, {"carry": spec}):
                return self._dead(process)
            return self._watched(process, beat, log, memory)
        except BaseException:
            self.kill()
            raise
        finally:
            self._relay(log)

    def cancel(self) -> None:
        """Stop the task run under way; from any thread."""
        self._asked_to_cancel.set()

    def close(self) -> None:
        """Let the child go; it is killed if it stays."""
        if self._process is not None and self._write(self._process, {"leave": True}):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(LEAVE_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the process at once."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdin is not None
            with self._writing, suppress(OSError):  # an answer on its way meets a broken pipe
                process.stdin.close()
            assert self._listener is not None
            self._listener.join(LEAVE_SECONDS)

    def _watched(
        self,
        process: subprocess.Popen[bytes],
        beat: Callable[[Mapping[str, Any] | None], Word],
        log: Callable[[Sequence[Line]], None],
        memory: int | None,
    ) -> Outcome:
        next_beat = time.monotonic() + self._beat_seconds
        while True:
            outcome = self._heard(process)
            if outcome is not None:
                return outcome
            self.peak = max(self.peak, _resident(process.pid))
            if memory is not None and self.peak > memory:
                return self._ended("memory")
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + self._beat_seconds
                self._relay(log)
                word = beat(self._progress)
                if word.fenced:
                    return self._ended("fenced")
                if word.cancel:
                    self._asked_to_cancel.set()
            if self._asked_to_cancel.is_set() and not self._obeys(process):
                return self._ended("cancelled")

    def _heard(self, process: subprocess.Popen[bytes]) -> Outcome | None:
        """Take one thing that the child says, if it says something soon."""
        try:
            said = self._said.get(timeout=_LOOK_SECONDS)
        except Empty:
            return None
        match said:
            case None:
                return self._dead(process) if self._cancelled_at is None else self._ended("cancelled")
            case {"done": result}:
                return Outcome(result=result)
            case {"progress": progress}:
                self._progress = progress
                if self._told is not None:
                    self._told(progress)
            case {"log": [at, level, text]}:
                self._lines.append((at, level, text))
        return None

    def _obeys(self, process: subprocess.Popen[bytes]) -> bool:
        """Have a cancelled child end by itself, or else by a signal; False once its time is over."""
        now = time.monotonic()
        if self._cancelled_at is None:
            self._cancelled_at = now
            self._write(process, {"cancel": True})
        renewing = self._desk is not None and self._desk.renewing
        patience = OBEY_SECONDS + (RENEW_SECONDS if renewing else 0.0)
        if now - self._cancelled_at > patience:
            process.terminate()
        return now - self._cancelled_at <= patience + LEAVE_SECONDS

    def _ended(self, why: Literal["fenced", "cancelled", "memory"]) -> Outcome:
        self.kill()
        return Outcome(stopped=why)

    def _dead(self, process: subprocess.Popen[bytes]) -> Outcome:
        with suppress(subprocess.TimeoutExpired):
            process.wait(LEAVE_SECONDS)
        self.kill()
        code = process.returncode
        said = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return Outcome(died=f"the process that carried it {said}")

    def _relay(self, log: Callable[[Sequence[Line]], None]) -> None:
        lines, self._lines = self._lines, []
        if lines:
            log(lines)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.kill()
            self._said = SimpleQueue()
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self._env, bufsize=0
            )
            process = self._process
            self._desk = Desk(self._books, lambda said: self._write(process, said))
            self._listener = threading.Thread(target=_listen, args=(process, self._said, self._desk), daemon=True)
            self._listener.name = "suiro-child-listener"
            self._listener.start()
        return self._process

    def _write(self, process: subprocess.Popen[bytes], said: Mapping[str, Any]) -> bool:
        """Whether the child could be told; from any thread."""
        assert process.stdin is not None
        data = memoryview(json.dumps(said, default=str).encode() + b"\n")
        if not self._writing.acquire(timeout=_TELL_SECONDS):
            return False
        try:
            while data:
                data = data[process.stdin.write(data) :]
        except (OSError, ValueError):  # it is gone, or its pipe is closed
            return False
        finally:
            self._writing.release()
        return True


def _listen(process: subprocess.Popen[bytes], said: SimpleQueue[Mapping[str, Any] | None], desk: Desk) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            word = json.loads(line)
            if "ask" in word:
                desk.put(word["ask"])
            else:
                said.put(word)
    said.put(None)
    desk.end()


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
