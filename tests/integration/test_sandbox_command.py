"""The command `suiro sandbox`: a process that serves until it is told to end, and leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from ruamel.yaml import YAML

from shell import Shell

SERVICE = "bigcommerce"


@contextmanager
def command(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`suiro sandbox` for one service as a process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "suiro.cli.main", "sandbox", "--only", SERVICE, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def served(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it says once it answers."""
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(process.stdout.readline())["services"][SERVICE]
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_until_it_is_told_to_end_and_leaves_nothing_behind(number: signal.Signals) -> None:
    with command("--json") as process:
        said = served(process)
        assert httpx2.get(f"{said['url']}/_sandbox/requests").status_code == 200
        assert all(way["base_url"] == said["url"] for way in said["connections"].values())
        (serving,) = psutil.Process(process.pid).children()
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # as Ctrl-C does: to both processes
        else:
            process.send_signal(number)
        assert process.wait(20) == 0
        assert not serving.is_running()
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(said["url"])


def test_the_connections_are_yaml_on_stdout_and_prose_goes_to_stderr() -> None:
    with command() as process:
        assert process.stderr is not None
        prose, rest = process.stderr.readline(), process.stderr.readline()
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=20)
    found = YAML(typ="safe").load(io.StringIO(text))["connections"]
    assert found[SERVICE]["type"] == SERVICE and found[SERVICE]["base_url"] in prose
    assert all(name.startswith(SERVICE) for name in found)
    assert "Ctrl-C" in rest


def test_what_lies_in_a_folder_is_gone_on_with(tmp_path: Path) -> None:
    ways = []
    for _ in range(2):
        with command("--json", "--folder", str(tmp_path), "--seed", "7") as process:
            said = served(process)
            ways.append({name: {**way, "base_url": ""} for name, way in said["connections"].items()})
            process.terminate()
            process.wait(20)
    assert ways[0] == ways[1] and list(tmp_path.rglob("*"))


def test_a_process_that_dies_is_told() -> None:
    with command("--json") as process:
        served(process)
        (serving,) = psutil.Process(process.pid).children()
        serving.kill()
        assert process.wait(20) == 1
        assert process.stderr is not None and "the sandbox ended with exit code -9" in process.stderr.read()


@pytest.mark.parametrize("later", [0.0, 0.15, 0.3])
def test_it_can_be_ended_before_it_answers(later: float) -> None:
    with command("--json", "--size", "customers=20000") as process:
        deadline = time.monotonic() + 20
        while not psutil.Process(process.pid).children() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(later)
        os.killpg(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "nosuch"], "there is no sandbox of 'nosuch'"),
        (["--size", "Nosuch=5"], "there is no size of 'Nosuch' to set"),
        (["--port", "nosuch=0"], "there is no port of 'nosuch' to set"),
        (["--size", "Lead"], "--size 'Lead' is not NAME=NUMBER"),
        (["--port", f"{SERVICE}=x"], "is not NAME=NUMBER"),
    ],
)
def test_what_can_not_be_is_told(suiro: Shell, arguments: list[str], said: str) -> None:
    ended = suiro("sandbox", *arguments)
    assert ended.code == 2 and said in ended.err
