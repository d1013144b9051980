"""The steps before which a process may die: what drivers and files do is seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

BEGINNING = """
import sys
from suiro.testing.faults import STEPS, Clock, hook
seen = []
hook(lambda *what: seen.append(what), STEPS)
target = sys.argv[1]
def count(act):
    before = len(seen)
    act()
    return len(seen) - before
"""


def run(script: str, target: Path | str = "") -> subprocess.CompletedProcess[str]:
    """In a process of its own, since hooks stay."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run(
        [sys.executable, "-c", BEGINNING + script, str(target)], capture_output=True, text=True, check=False, env=env
    )


def steps(script: str, target: Path | str = "") -> list[int]:
    done = run(script, target)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def test_each_statement_of_sqlite_is_a_step(tmp_path: Path) -> None:
    script = """
import sqlite3
c = sqlite3.connect(target)
print(count(lambda: c.execute("CREATE TABLE t (a)")))
print(count(lambda: c.executemany("INSERT INTO t VALUES (?)", [(1,), (2,), (3,)])))
print(count(c.commit))
print(count(lambda: c.executescript("DELETE FROM t; SELECT 1;")))
"""
    assert steps(script, tmp_path / "a.db") == [1, 4, 1, 2]


def test_each_call_of_duckdb_is_a_step(tmp_path: Path) -> None:
    script = """
import duckdb
c = duckdb.connect(target)
print(count(lambda: c.execute("CREATE TABLE t (a int)")))
print(count(c.begin))
print(count(lambda: c.cursor().execute("INSERT INTO t VALUES (1)")))
print(count(c.commit))
print(count(c.close))
"""
    assert steps(script, tmp_path / "a.duckdb") == [1] * 5


def test_what_is_done_to_files_is_a_step(tmp_path: Path) -> None:
    script = """
import os, pathlib
folder = pathlib.Path(target)
print(count(lambda: (folder / "a").write_text("x")))
print(count(lambda: (folder / "a").replace(folder / "b")))
print(count(lambda: (folder / "b").rename(folder / "a")))
print(count(lambda: (folder / "a").read_text()))
print(count(lambda: (folder / "a").unlink()))
print(count((folder / "d").mkdir))
"""
    assert steps(script, tmp_path) == [1, 1, 1, 0, 1, 1]


def test_round_trips_to_postgresql_are_steps(postgres_url: str) -> None:
    script = (
        """
import psycopg
with psycopg.connect(target) as c:
    print(count(lambda: c.execute("CREATE TABLE t (a int)")) > 0)
    print(count(c.commit) > 0)
    with c.cursor() as cursor:
        def copy():
            with cursor.copy("COPY t FROM STDIN") as rows:
                rows.write_row((1,))
        print(count(copy) > 1)
    with c.transaction():
        print(count(lambda: c.execute("INSERT INTO t VALUES (2)")) > 0)
""".replace("print(", "print(1 * (")
        .replace("> 0)", "> 0))")
        .replace("> 1)", "> 1))")
    )
    assert steps(script, postgres_url) == [1] * 4


def test_a_call_of_a_class_that_is_not_written_in_python_is_a_step() -> None:
    script = """
import collections
hook(lambda *what: seen.append(what), ["collections:OrderedDict.popitem"])
print(count(collections.OrderedDict(a=1).popitem))
"""
    assert steps(script) == [1]


@pytest.mark.parametrize("at", [1, 3])
def test_a_clock_kills_before_its_step(at: int, tmp_path: Path) -> None:
    script = f"""
clock = Clock()
clock.arm({at})
for n in range(1, 5):
    clock.step()
    print(n, flush=True)
"""
    done = run(script, tmp_path)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.split() == [str(n) for n in range(1, at)]
