"""The sandbox: local stand-ins of services, served by a process of their own."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from suiro.model.errors import Cancelled, ConfigError, InternalError

_COMMAND: Final = (sys.executable, "-m", "suiro.sandbox", "--json")
_WRONG_USE: Final = 2  #: the process's exit code
_STOPPED: Final = (0, -signal.SIGINT, -signal.SIGTERM)  #: exit codes of one that was told to end: Ctrl-C reaches it too
_END_SECONDS: Final = 10.0  #: it ends by itself within this time, or is killed
_LOOK_SECONDS: Final = 0.2  #: between two looks whether to stop
_AGAIN_SECONDS: Final = 0.5  #: between two signals
_log = logging.getLogger("suiro.sandbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the stand-ins are to be like. Without services: all; without a folder: what they keep is thrown away."""

    only: tuple[str, ...] = ()
    folder: Path | None = None
    seed: int = 1
    sizes: Mapping[str, int] = field(default_factory=dict)  #: records that are made at first, by kind
    ports: Mapping[str, int] = field(default_factory=dict)  #: by service; 0 or none: any that is free

    def arguments(self) -> list[str]:
        """As the process takes them."""
        given = ["--seed", str(self.seed)]
        given += ["--only", ",".join(self.only)] if self.only else []
        given += [] if self.folder is None else ["--folder", str(self.folder)]
        for option, numbers in (("--size", self.sizes), ("--port", self.ports)):
            for name, number in numbers.items():
                given += [option, f"{name}={number}"]
        return given


class Sandbox:
    """Stand-ins that answer as long as the context is entered.

    Entering: ConfigError for a service, kind or port that can't be; Cancelled if it was stopped meanwhile.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._process: subprocess.Popen[str] | None = None
        self._told: deque[str] = deque(maxlen=20)
        self._stopped, self._answers = False, threading.Event()
        self.services: Mapping[str, Any] = {}  #: base URL and ways to sign in, by service: see `as_yaml`

    def __enter__(self) -> Sandbox:
        self._process = process = subprocess.Popen(
            [*_COMMAND, *self._asked.arguments()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read_out, self._read_errors)]
        for reader in self._readers:
            reader.start()
        try:
            while not self._answers.wait(_LOOK_SECONDS):
                if self._stopped:
                    raise Cancelled("the sandbox was stopped")
            if not self.services:
                told = process.wait() in _STOPPED or self._stopped  # Ctrl-C ends a Python that begins with any code
                raise Cancelled("the sandbox was stopped") if told else self._ended(process)
        except BaseException:
            self._end(process)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._process is not None
        self._end(self._process)

    def stop(self) -> None:
        """Have `wait` return soon; from any thread, or a signal's handler."""
        self._stopped = True

    def wait(self) -> None:
        """Until `stop`, or until the process is told to end otherwise; InternalError if it ends of something else."""
        assert self._process is not None
        while not self._stopped and not _over(self._process, _LOOK_SECONDS):
            pass
        if not self._stopped and self._process.returncode != 0:
            raise self._ended(self._process)

    def as_yaml(self) -> str:
        """The connections as YAML that `suiro apply` reads: `SERVICE` by its first way to sign in, or `SERVICE_WAY`."""
        from suiro.app.apply import as_yaml  # on use: it takes long to import

        found = {}
        for service, said in self.services.items():
            for number, (way, settings) in enumerate(said["connections"].items()):
                found[f"{service}_{way}".replace("-", "_") if number else service] = settings
        return as_yaml({"connections": found})

    def _ended(self, process: subprocess.Popen[str]) -> Exception:
        """Why the process ended by itself."""
        code = process.wait()
        self._join()
        if code == _WRONG_USE and self._told:
            return ConfigError(f"the sandbox didn't start: {self._told[-1]}", hint="suiro sandbox --help")
        said = f": {self._told[-1]}" if self._told else ""
        return InternalError(f"the sandbox ended with exit code {code}{said}")

    def _end(self, process: subprocess.Popen[str]) -> None:
        """End the process: by itself where Ctrl-C reached it too, else by a signal; one that it misses is repeated."""
        over = self._stopped and _over(process, _AGAIN_SECONDS)
        deadline = time.monotonic() + _END_SECONDS
        while not over and time.monotonic() < deadline:
            process.terminate()
            over = _over(process, _AGAIN_SECONDS)
        process.kill()
        process.wait()
        self._join()
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        process.stderr.close()

    def _join(self) -> None:
        for reader in self._readers:
            reader.join()

    def _read_out(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
            if line:
                self.services = json.loads(line)["services"]
        finally:
            self._answers.set()

    def _read_errors(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        for line in self._process.stderr:
            self._told.append(line.rstrip())
            if self.services:
                _log.warning("%s", line.rstrip())


def _over(process: subprocess.Popen[str], seconds: float) -> bool:
    """Whether the process ends within so many seconds."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is not None
