"""Children and their supervisor: real processes that work, crash, hang and grow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psutil
import pytest

from suiro.runtime import supervisor
from suiro.runtime.supervisor import Child, Line, Word

WORK = """
import logging, os, signal, sys, time
from suiro.engine.context import RunContext
from suiro.model.run import Progress
from suiro.runtime.child import serve

def carry(spec, context, told):
    act, rest = spec["act"], spec.get("rest")
    if act == "echo":
        print("this is no word to the supervisor")
        told(Progress(stream="s", rows=rest, bytes=1, total_rows=None, publishing=True))
        logging.getLogger("suiro.run").warning("echoed %s", rest)
    elif act == "die":
        os.kill(os.getpid(), rest)
    elif act == "leave":
        os._exit(rest)
    elif act == "obey":
        told(Progress(stream="s", rows=7, bytes=1, total_rows=None, publishing=True))
        context.cancelled or context._cancelled.wait(30)
    elif act == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    elif act == "grow":
        held = []
        while True:
            held.append(bytearray(os.urandom(1 << 20)) * 20)
            time.sleep(0.05)
    return {"act": act, "rest": rest, "cancelled": context.cancelled, "pid": os.getpid()}

serve(carry, lambda spec, accounts: RunContext("run", accounts=accounts))
"""


class Told:
    """What the child's side told, and what it gets to hear."""

    def __init__(self, *words: Word) -> None:
        self.words = list(words)
        self.progress: list[Mapping[str, Any] | None] = []
        self.lines: list[Line] = []

    def beat(self, progress: Mapping[str, Any] | None) -> Word:
        self.progress.append(progress)
        return self.words.pop(0) if self.words else Word()

    def log(self, lines: Sequence[Line]) -> None:
        self.lines += lines


@pytest.fixture
def child() -> Iterator[Child]:
    found = Child([sys.executable, "-c", WORK], beat_seconds=0.1)
    yield found
    found.kill()


def test_one_process_carries_one_task_run_after_the_other(child: Child) -> None:
    told = Told()
    first = child.carry({"act": "echo", "rest": 1}, beat=told.beat, log=told.log)
    second = child.carry({"act": "echo", "rest": 2}, beat=told.beat, log=told.log)
    assert first.result is not None and second.result is not None
    assert (first.result["rest"], second.result["rest"]) == (1, 2)
    assert first.result["pid"] == second.result["pid"] != os.getpid()
    assert [line[1:] for line in told.lines] == [("warning", "echoed 1"), ("warning", "echoed 2")]
    pid = child.pid
    assert pid is not None
    child.close()
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize(
    ("act", "rest", "said"),
    [("die", signal.SIGKILL, "signal 9"), ("die", signal.SIGSEGV, "signal 11"), ("leave", 3, "exit code 3")],
)
def test_a_crash_ends_one_task_run_and_the_next_gets_a_new_process(
    child: Child, act: str, rest: int, said: str
) -> None:
    told = Told()
    died = child.carry({"act": act, "rest": int(rest)}, beat=told.beat, log=told.log)
    assert died.result is None and died.died is not None and said in died.died
    again = child.carry({"act": "echo", "rest": 1}, beat=told.beat, log=told.log)
    assert again.result is not None


def test_a_cancelled_child_ends_its_work_by_itself(child: Child) -> None:
    told = Told(Word(), Word(cancel=True))
    done = child.carry({"act": "obey"}, beat=told.beat, log=told.log)
    assert done.result is not None and done.result["cancelled"]


def test_a_task_run_can_be_cancelled_from_another_thread(child: Child) -> None:
    told = Told()
    threading.Timer(0.5, child.cancel).start()
    done = child.carry({"act": "obey"}, beat=told.beat, log=told.log)
    assert done.result is not None and done.result["cancelled"]
    after = child.carry({"act": "echo"}, beat=told.beat, log=told.log)
    assert after.result is not None and not after.result["cancelled"]


def test_a_child_that_does_not_obey_is_killed(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "OBEY_SECONDS", 0.3)
    monkeypatch.setattr(supervisor, "LEAVE_SECONDS", 0.3)
    told = Told(Word(cancel=True))
    started = time.monotonic()
    done = child.carry({"act": "hang"}, beat=told.beat, log=told.log)
    assert done.stopped == "cancelled" and child.pid is None
    assert time.monotonic() - started < 20


def test_a_fenced_child_is_killed_at_once(child: Child) -> None:
    told = Told(Word(), Word(fenced=True))
    assert child.carry({"act": "hang"}, beat=told.beat, log=told.log).stopped == "fenced"
    assert child.pid is None


def test_a_child_that_takes_too_much_memory_is_killed(child: Child) -> None:
    told = Told()
    done = child.carry({"act": "grow"}, beat=told.beat, log=told.log, memory=400 * 2**20)
    assert done.stopped == "memory"


def test_progress_reaches_the_heartbeat(child: Child) -> None:
    told = Told(*[Word()] * 20, Word(cancel=True))
    child.carry({"act": "obey"}, beat=told.beat, log=told.log)
    assert any(progress is not None and progress["rows"] == 7 for progress in told.progress)


def test_a_child_whose_supervisor_is_killed_ends_at_once() -> None:
    starter = (
        "import sys, time\n"
        "from suiro.runtime.supervisor import Child, Word\n"
        f"child = Child([sys.executable, '-c', {WORK!r}], beat_seconds=0.1)\n"
        "def beat(progress):\n"
        "    print(child.pid, flush=True)\n"
        "    return Word()\n"
        "child.carry({'act': 'hang'}, beat=beat, log=print)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert psutil.pid_exists(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    pytest.fail("the child outlived its supervisor")
