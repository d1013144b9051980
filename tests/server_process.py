"""A server of the tests' own as a process: started on a free port until it answers, and gone with who started it."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

START_SECONDS = 60
STOP_SECONDS = 10
_FOLDER_LENGTH = 80  # characters; a socket's path has room for 107

# Waits for the end of its standard input, which comes when the starting process ends, however it ends.
_WATCHMAN = """
read -r _
kill -"$3" "$1"
tries=100
while kill -0 "$1" && [ "$tries" -gt 0 ]; do sleep 0.1; tries=$((tries - 1)); done
kill -KILL "$1"
rm -rf "$2"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The system account that a server runs as: this process's own, or an ordinary one in root's place."""

    uid: int
    gid: int

    @classmethod
    def own(cls) -> Account:
        """Of this process."""
        return cls(uid=os.geteuid(), gid=os.getegid())

    @classmethod
    def ordinary(cls) -> Account:
        """PostgreSQL refuses to run as root: `postgres` where the machine has it, else `nobody`."""
        if os.geteuid() != 0:
            return cls.own()
        names = {entry.pw_name: entry for entry in pwd.getpwall()}
        entry = names.get("postgres") or names["nobody"]
        return cls(uid=entry.pw_uid, gid=entry.pw_gid)

    def options(self) -> dict[str, Any]:
        """What `subprocess` needs to start something as this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []} if os.geteuid() == 0 else {}

    def reaches(self, program: Path) -> bool:
        """Whether this account may run the program: no closed folder stands above it."""
        try:
            tried = subprocess.run([program, "--version"], cwd="/", capture_output=True, check=False, **self.options())
        except PermissionError:
            return False
        return tried.returncode == 0


class ServerProcess(ABC):
    """One server on 127.0.0.1 with a temporary folder of its own, which holds `server.log`."""

    stops_by: ClassVar[signal.Signals]  #: ends it soon and in order
    watchman_stops_by: ClassVar[str]  #: the same when the process that started it is gone: KILL, INT
    port_taken: ClassVar[str]  #: what its log says when another process took the port

    def __init__(self, account: Account) -> None:
        self.port = 0
        self.account = account
        self._owner = os.getpid()
        self._folder: Path | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._watchman: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Put into `folder` what the server needs for its first start."""

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """What starts it at `port`; settings that name the port are written here."""

    @abstractmethod
    def reachable(self) -> bool:
        """Whether it answers."""

    def environment(self) -> Mapping[str, str] | None:
        """Its environment; None: that of the tests."""
        return None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._server.pid if self._server else None

    @property
    def folder(self) -> Path:
        """The temporary folder."""
        assert self._folder is not None, "the server is not started"
        return self._folder

    def log(self) -> str:
        """The end of what the server wrote."""
        return (self.folder / "server.log").read_text(errors="replace")[-4000:]

    def start(self, port: int = 0) -> None:
        """Start until it answers, at `port` or a free one; RuntimeError with the end of its log if it never does."""
        atexit.register(self.stop)
        try:
            if self._folder is None:
                self._folder = _folder_of(self.account)
                self.prepare()
            for tries_left in (0,) if port else (2, 1, 0):
                self.port = port or _free_port()
                self._launch()
                if self._answers(last_try=tries_left == 0):
                    return
                self._dismiss_watchman()
        except BaseException:
            self.stop()
            raise

    def stop(self, *, keep: bool = False) -> None:
        """End it (SIGKILL after ten seconds) and remove every trace, but its folder to `keep`; harmless when ended."""
        atexit.unregister(self.stop)
        if os.getpid() != self._owner:
            return  # a fork of the process that started it
        self._dismiss_watchman()
        if self._server is not None:
            self._server.send_signal(self.stops_by)
            try:
                self._server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None
        if self._folder is not None and not keep:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def revive(self) -> bool:
        """Start it again, on another port, if it was killed; whether that was so."""
        if self._server is None or self._server.poll() is None:
            return False
        self._dismiss_watchman()
        self.start()
        return True

    def run(self, *command: str | Path) -> None:
        """Run a program of the server's to its end, as its account; RuntimeError with what it said if it fails."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            **self.account.options(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}{done.stderr}")

    def _launch(self) -> None:
        command = self.command()
        with (self.folder / "server.log").open("wb") as log:
            self._server = subprocess.Popen(
                command,
                **self.account.options(),
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C in the terminal is for the tests, which then stop the server
            )
        self._watchman = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHMAN, "watchman", str(self._server.pid), self.folder, self.watchman_stops_by],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _dismiss_watchman(self) -> None:
        if self._watchman is not None:
            self._watchman.kill()  # before its standard input ends
            self._watchman.communicate()
            self._watchman = None

    def _answers(self, *, last_try: bool) -> bool:
        """Wait for the first answer; false when the port was taken meanwhile and another try is left."""
        assert self._server is not None
        deadline = time.monotonic() + START_SECONDS
        while self._server.poll() is None and time.monotonic() < deadline:
            if self.reachable():
                return True
            time.sleep(0.02)
        if self.port_taken in self.log() and not last_try:
            return False
        raise RuntimeError(f"{type(self).__name__} did not start within {START_SECONDS} s; its log ends:\n{self.log()}")


def _folder_of(account: Account) -> Path:
    """A new temporary folder that the account owns and reaches, with a name short enough for a socket's path."""
    for parent in (tempfile.gettempdir(), "/tmp"):
        folder = Path(tempfile.mkdtemp(prefix="suiro-", dir=parent))
        os.chown(folder, account.uid, account.gid)
        entered = subprocess.run(
            ["/bin/sh", "-c", 'cd "$0"', folder], cwd="/", stderr=subprocess.DEVNULL, check=False, **account.options()
        )
        if entered.returncode == 0 and len(str(folder)) <= _FOLDER_LENGTH:
            return folder
        folder.rmdir()
    raise RuntimeError(f"no temporary folder that user {account.uid} can enter")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
