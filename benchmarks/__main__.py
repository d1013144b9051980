"""The benchmark's command line: what script/bench runs."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
from pathlib import Path
from typing import Any

import profiles
import report
from arena import ROOT, Arena, tell
from candidates import versions
from mariadb_side import why_no_mariadb
from routes import ROUTES, Route, chosen
from runner import Options, run_route


def arguments() -> argparse.Namespace:
    """The options, with their defaults."""
    listed = "\n".join(f"  {route.name:3} {route.title}" for route in ROUTES)
    parser = argparse.ArgumentParser(
        prog="script/bench",
        description="Measures Suiro, the physical limits and other tools side by side.",
        epilog=f"routes:\n{listed}\n\nexample: script/bench --only 1,5 --rows 100000 --repeat 3 --no-peers",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", help="routes, with commas between them; all by default")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of lineitem; crm has half (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each candidate (default: %(default)s)")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="only Suiro and the limits")
    parser.add_argument("--skip", action="append", default=[], help="leave out candidates whose names start so")
    parser.add_argument("--profile", action="store_true", help="run Suiro once more on each route, under py-spy")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one command (default: %(default)s)")
    parser.add_argument("--document", action="store_true", help="put the tables into docs/performance.md too")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "benchmarks/results", help="folder of the report (default: %(default)s)"
    )
    options = parser.parse_args()
    if options.rows < 20 or options.repeat < 1:
        parser.error("--rows must be 20 or more and --repeat 1 or more")
    return options


def main() -> None:
    """Run the benchmark and write the report; its Markdown goes to stdout too."""
    asked = arguments()
    routes = _possible(chosen(asked.only), asked)
    options = Options(repeat=asked.repeat, peers=asked.peers, skip=tuple(asked.skip), timeout=asked.timeout)
    about = _about(asked)
    outcomes = []
    with Arena(asked.rows) as arena:
        with arena.source() as session:
            about["servers"] = [f"PostgreSQL {session.info.parameter_status('server_version')}"]
        for route in routes:
            outcomes.append(run_route(arena, route, options))
            if asked.profile:
                about["profiles"][route.name] = profiles.profile(arena, route, options)
        if arena.mariadb_version:
            about["servers"].append(f"MariaDB {arena.mariadb_version}")
    about["load_average_at_end"] = [round(load, 2) for load in os.getloadavg()]
    page = report.as_markdown(outcomes, about)
    asked.results.mkdir(parents=True, exist_ok=True)
    name = f"{about['date']}-{about['commit']}"
    (asked.results / f"{name}.json").write_text(report.as_json(outcomes, about), encoding="utf-8")
    (asked.results / f"{name}.md").write_text(page, encoding="utf-8")
    if asked.document:
        report.document(ROOT / "docs/performance.md", outcomes, about)
    print(page)
    tell(f"written: {name}.json and {name}.md in {asked.results}")


def _possible(routes: tuple[Route, ...], asked: argparse.Namespace) -> tuple[Route, ...]:
    """Those that this machine has the servers for. SystemExit if one that can't be measured was asked for."""
    lacking = why_no_mariadb()
    if not lacking or not any(route.way.is_of_mariadb for route in routes):
        return routes
    if asked.only:
        raise SystemExit(lacking)
    left = tuple(route for route in routes if not route.way.is_of_mariadb)
    tell(f"left out: {', '.join(route.name for route in routes if route not in left)}; {lacking}")
    return left


def _about(asked: argparse.Namespace) -> dict[str, Any]:
    commit, changed = report.commit()
    given = [f"--only {asked.only}"] * bool(asked.only) + [f"--rows {asked.rows} --repeat {asked.repeat}"]
    given += [f"--skip '{name}'" for name in asked.skip]
    given += ["--no-peers"] * (not asked.peers) + ["--profile"] * asked.profile
    ours = {name: importlib.metadata.version(name) for name in ("suiro", "pyarrow", "numpy", "psycopg", "asyncpg")}
    return {
        "date": report.now().date().isoformat(),
        "commit": commit,
        "changed": changed,
        "command": f"script/bench {' '.join(given)}",
        "rows": asked.rows,
        "repeat": asked.repeat,
        "machine": report.machine(),
        "versions": ours | ({f"{name} (peers)": found for name, found in versions().items()} if asked.peers else {}),
        "profiles": {},
    }


if __name__ == "__main__":
    main()
