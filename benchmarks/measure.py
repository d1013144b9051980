"""The measuring of one command: wall time, processor time of its processes and of the server, and peak memory."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SAMPLE_SECONDS = 0.03
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one command took. A command that ran into the time limit has the code -9."""

    wall_seconds: float
    client_cpu_seconds: float  #: user and system, of the command and all its children
    server_cpu_seconds: float  #: user and system, of the database servers' processes meanwhile
    peak_bytes: int  #: see Watch
    code: int
    stdout: str
    stderr: str


def measure(
    command: Sequence[str | Path], *, env: Mapping[str, str], folder: Path, servers: Sequence[int], timeout: float
) -> Measured:
    """Run the command in the folder, from its start to its end. `servers` are the process ids of the servers."""
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        before = server_cpu_seconds(servers)
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        watch = Watch(process.pid, started + timeout)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        watch.stop()
        server_cpu = server_cpu_seconds(servers) - before
    return Measured(
        wall_seconds=wall,
        client_cpu_seconds=usage.ru_utime + usage.ru_stime,
        server_cpu_seconds=server_cpu,
        peak_bytes=watch.peak_bytes,
        code=process.returncode,
        stdout=(folder / "stdout").read_text("utf-8", errors="replace"),
        stderr=(folder / "stderr").read_text("utf-8", errors="replace"),
    )


class Watch:
    """A thread that samples the memory of a process and its descendants, and ends them when their time is over.

    `peak_bytes` is the larger of two figures: the highest sum of resident memory over the tree in one sample (pages
    that processes share count in each), and the highest VmHWM of a single process, which the kernel keeps between the
    samples. The ru_maxrss of wait4 would not do: it starts with the memory of the process that forked.
    """

    def __init__(self, pid: int, deadline: float) -> None:
        self.peak_bytes = 0
        self._pid = pid
        self._deadline = deadline
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the sampling; `peak_bytes` is final then."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            sizes = [size for pid in tree(self._pid) if (size := memory(pid))]
            total = sum(now for now, _ in sizes)
            self.peak_bytes = max(self.peak_bytes, total, *(highest for _, highest in sizes), 0)
            if time.perf_counter() > self._deadline:
                os.killpg(self._pid, signal.SIGKILL)
                return


def tree(pid: int) -> Iterator[int]:
    """The process and its living descendants."""
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for task in tasks:
        try:
            children = (task / "children").read_text()
        except OSError:
            continue
        for child in children.split():
            yield from tree(int(child))


def memory(pid: int) -> tuple[int, int] | None:
    """Resident bytes now and at most so far; None when the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return None
    sizes = dict(line.split(":", 1) for line in lines if line.startswith(("VmRSS:", "VmHWM:")))
    if len(sizes) < 2:
        return None
    now, highest = (1024 * int(sizes[name].split()[0]) for name in ("VmRSS", "VmHWM"))
    return now, highest


def server_cpu_seconds(servers: Sequence[int]) -> float:
    """User and system time so far of the servers' processes.

    PostgreSQL waits for each session's process that ends: from then on its time counts among that of the children.
    MariaDB's sessions are threads, whose time counts with their process.
    """
    ticks = 0
    for server in servers:
        ticks += sum(_ticks(server))
        ticks += sum(sum(_ticks(child)[:2]) for child in tree(server) if child != server)
    return ticks / TICKS


def _ticks(pid: int) -> list[int]:
    """utime, stime, cutime and cstime."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return [0, 0, 0, 0]
    return [int(field) for field in stat.rpartition(")")[2].split()[11:15]]
