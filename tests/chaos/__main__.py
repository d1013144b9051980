"""The chaos suite at length: `script/chaos` runs it and prints its tables."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from chaos import exam, memory, report, runners
from chaos.mutants import MUTANTS
from chaos.trials import Servers, graded, trials_of
from mariadb import MariaDBServer, installed_mariadb
from servers import PostgresServer, embedded_postgres, installed_postgres
from suiro.app.documents import bytes_of
from suiro.store.systems import sqlite_url

PARTS = ("trials", "mutants", "overlaps", "runners", "memory")


def main() -> int:
    """Run the parts asked for; 1 if a row was lost or doubled, or a mutant survived."""
    asked = argparse.ArgumentParser(prog="script/chaos", description=__doc__)
    asked.add_argument("--seed", default="1")
    asked.add_argument("--minutes", type=float, default=10, help="of trials")
    asked.add_argument("--runs", type=int, default=400, help="of the three runners, on each metadata store")
    asked.add_argument("--only", default=",".join(PARTS[:-1]))
    asked.add_argument("--rows", type=int, default=5_000_000, help="of the table whose memory is measured")
    asked.add_argument("--bounds", default="512MB,1GB")
    asked.add_argument("--routes", default="", help="only routes whose name holds this")
    options = asked.parse_args()
    parts = options.only.split(",")
    good = True
    with _folder() as folder:
        if "mutants" in parts:
            good &= mutants(options.seed)
        if "overlaps" in parts:
            good &= overlaps()
        with _servers() as servers:
            if "trials" in parts:
                good &= trials(servers, folder / "trials", options.seed, options.minutes)
            if "runners" in parts:
                good &= three_runners(servers, folder, options.seed, options.runs)
            if "memory" in parts:
                bounds = [bytes_of(text) for text in options.bounds.split(",")]
                good &= measured(servers, folder, options.rows, bounds, options.routes)
    return 0 if good else 1


def trials(servers: Servers, folder: Path, seed: str, minutes: float) -> bool:
    """Trials, one after the other, until the time is up."""
    until, grades = time.monotonic() + minutes * 60, []
    for trial in trials_of(seed):
        if time.monotonic() >= until:
            break
        place = folder / str(len(grades))
        grades.append(graded(trial, servers, place))
        shutil.rmtree(place)
        if not grades[-1].good:
            print(f"WRONG {grades[-1]}", flush=True)
    print(f"## {len(grades)} trials, seeds {seed}-1 to {seed}-{len(grades)}\n\n{report.chaos(grades)}\n", flush=True)
    return all(grade.good for grade in grades)


def mutants(seed: str) -> bool:
    """Each mutant sits the exam; so does the engine as it is."""
    logging.disable(logging.CRITICAL)
    sound, lines, caught = exam.failed(seed), [], 0
    for name, mutate in MUTANTS.items():
        with pytest.MonkeyPatch.context() as patch:
            mutate(patch)
            found = exam.failed(seed)
        caught += bool(found)
        by = ", ".join(said.partition(":")[0] for said in found)
        lines.append((name, (mutate.__doc__ or "").strip(), by or "**nothing: it survives**"))
    logging.disable(logging.NOTSET)
    print(f"## {caught} of {len(MUTANTS)} mutants caught; the engine as it is fails {sound or 'nothing'}\n")
    print(report.table("mutant | what it does | caught by", lines), flush=True)
    return caught == len(MUTANTS) and not sound


def overlaps() -> bool:
    """Every destination and write mode with two runs at once."""
    print("## Overlaps\n", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", str(Path(__file__).parent / "test_overlap.py")]
    return subprocess.run(command, env={**os.environ, "SUIRO_CHAOS_LONG": "1"}, check=False).returncode == 0


def three_runners(servers: Servers, folder: Path, seed: str, runs: int) -> bool:
    """Both metadata stores."""
    tallies = []
    for store in ("postgres", "sqlite"):
        place = folder / f"runners-{store}"
        (place / "home").mkdir(parents=True)
        url = servers.postgres.create_database() if store == "postgres" else sqlite_url(place / "home" / "suiro.db")
        os.environ |= {"SUIRO_HOME": str(place / "home"), "SUIRO_METADATA_URL": url}
        tallies.append(runners.played(store, url, place, servers.postgres, seed, runs, every=4))
    print(f"## Three runners\n\n{report.table(runners.HEAD, [tally.cells() for tally in tallies])}\n", flush=True)
    return all(tally.good for tally in tallies)


def measured(servers: Servers, folder: Path, rows: int, bounds: list[int], routes: str) -> bool:
    """Peak memory, route by route and bound by bound."""
    print(f"## Memory\n\n{memory.HEAD}", flush=True)
    good = True
    for name, route in memory.Routes(servers.postgres, servers.mariadb, folder, rows).all.items():
        if routes not in name or ("MariaDB" in name and servers.mariadb is None):
            continue
        for bound in bounds:
            found = route(bound)
            good &= found.ended == "succeeded"
            print(found.line(), flush=True)
    return good


@contextmanager
def _servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        bindir, program = installed_postgres() or embedded_postgres(), installed_mariadb()
        assert bindir is not None, "no PostgreSQL server"
        postgres = stack.enter_context(PostgresServer(bindir))
        yield Servers(postgres, stack.enter_context(MariaDBServer(program)) if program else None)


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="suiro-chaos-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
