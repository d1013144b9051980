"""Tests of leases: one holder at a time, and its death sets free."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from suiro.model.errors import ConfigError, TransientError
from suiro.toolkit.lease import FileLease

HOLD = """
import sys
from pathlib import Path
from suiro.toolkit.lease import FileLease
held = FileLease(Path(sys.argv[1]), "t", "theirs")
held.take()
print("held", flush=True)
sys.stdin.read()
"""


def lease(path: Path, run: str = "mine") -> FileLease:
    return FileLease(path, "t", run)


def test_a_second_holder_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "t.lock"
    first = lease(path, "first")
    first.take()
    with pytest.raises(TransientError, match=rf"another run is loading t \(run first, process {os.getpid()}\)"):
        lease(path).take()
    first.release()
    second = lease(path)
    second.take()
    second.release()


def test_release_leaves_no_file_and_is_harmless_when_nothing_is_held(tmp_path: Path) -> None:
    path = tmp_path / "t.lock"
    held = lease(path)
    held.release()
    held.take()
    held.release()
    held.release()
    assert list(tmp_path.iterdir()) == []


def test_a_refused_lease_leaves_the_holders_files_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.lock"
    first, second = lease(path, "first"), lease(path)
    first.take()
    with pytest.raises(TransientError):
        second.take()
    second.release()
    with pytest.raises(TransientError, match="run first"):
        lease(path).take()
    first.release()


def test_the_death_of_the_holder_sets_free(tmp_path: Path) -> None:
    path = tmp_path / "t.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TransientError, match=f"run theirs, process {holder.pid}"):
            lease(path).take()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        mine = lease(path)
        mine.take()
        mine.release()


def test_of_many_threads_one_at_a_time_holds_it_while_the_folder_comes_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "t.lock"
    inside, most, taken = 0, 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most, taken
        for _ in range(20):
            held = lease(path)
            try:
                held.take()
            except TransientError:
                continue
            with guard:
                inside, taken = inside + 1, taken + 1
                most = max(most, inside)
            with guard:
                inside -= 1
            held.release()
            try:
                path.parent.rmdir()
            except OSError:
                continue

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert taken > 0


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't write beside t"):
        lease(tmp_path / "file" / "t.lock").take()
