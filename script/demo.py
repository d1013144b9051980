"""The demonstration: every flight that left New York in 2013, carried through files, a warehouse and a database.

script/demo --flights runs it. Suiro is run as a user would, as a command; the figures printed are those of this run.
Exit codes: 0 all arrived, 1 something failed or a receipt is not equal, 69 the data can't be fetched.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from demo_data import ROWS, Unreached, fetch, unpack
from demo_database import Application, application

UNREACHED = 69  #: exit code when the data can't be fetched

INCREMENTAL = (
    *("--read", "incremental", "--cursor", "changed_at"),
    *("--write", "merge", "--key", "carrier,flight,origin,time_hour"),
)
LATER = "2014-01-02 09:00:00.000000+00:00"
TOUCHED = (
    "ALTER TABLE flights ADD COLUMN changed_at {timestamp}",
    "UPDATE flights SET changed_at = time_hour",
)
CHANGES = (
    f"UPDATE flights SET arr_delay = 72, changed_at = '{LATER}' "
    "WHERE carrier = 'HA' AND flight = 51 AND month = 1 AND day = 9",
    "INSERT INTO flights SELECT year + 1, month, day, dep_time, sched_dep_time, dep_delay, arr_time, sched_arr_time, "
    f"arr_delay, carrier, flight, tailnum, origin, dest, air_time, distance, hour, minute, {{next_year}}, '{LATER}' "
    "FROM flights WHERE carrier IN ('HA', 'F9') AND month = 1 AND day = 1",
)
SUMS = "SELECT count(*) AS flights, sum(arr_delay) AS minutes_late FROM {table}"
QUESTION = """\
SELECT a.name AS airline, count(f.arr_delay) AS arrivals, round(avg(f.arr_delay), 1) AS mean_delay,
       round(avg(f.arr_delay) FILTER (WHERE w.wind_speed >= 20), 1) AS in_strong_wind
FROM live_flights f JOIN airlines a USING (carrier) LEFT JOIN weather w USING (origin, time_hour)
GROUP BY a.name ORDER BY mean_delay DESC LIMIT 5"""


class Broken(Exception):
    """Something that ends the demonstration, in a sentence."""


@dataclass(slots=True, kw_only=True)
class Step:
    """One command and what came of it. `seconds`: from its start to its end, Python's own start included."""

    title: str
    command: str
    seconds: float
    rows: int = 0
    receipt: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    found: list[dict[str, Any]] = field(default_factory=list)


class Demonstration:
    """Commands run one after the other in a Suiro home of their own. Prose goes to stdout, with `quiet` nowhere."""

    def __init__(self, home: Path, *, quiet: bool) -> None:
        self.steps: list[Step] = []
        self._quiet = quiet
        self.environment = os.environ | {"SUIRO_HOME": str(home)}

    def say(self, text: str = "") -> None:
        """A line for the reader."""
        if not self._quiet:
            print(text, flush=True)

    def copy(self, title: str, *arguments: str, expect: dict[str, int]) -> Step:
        """`suiro copy`; Broken unless every stream of `expect` arrived with so many rows and an equal receipt."""
        step, told = self._suiro(title, "copy", *arguments)
        step.run = json.loads(told)
        for task in step.run["tasks"]:
            self.say(f"  {task['table']:<13}{_told(task)}")
        tasks = {task["table"]: task for task in step.run["tasks"]}
        step.rows = sum(task["rows_read"] for task in tasks.values())
        wrong = [name for name, task in tasks.items() if not _is_proved(task)]
        step.receipt = f"NOT EQUAL: {', '.join(wrong)}" if wrong else _receipts(tasks)
        if wrong:
            raise Broken(f"{title}: the receipt of {', '.join(wrong)} is not equal")
        found = {name: task["receipt"]["source_rows"] for name, task in tasks.items()}
        if found != expect:
            raise Broken(f"{title}: {found} rows arrived, not {expect}")
        return step

    def sql(self, title: str, connection: str, statement: str) -> Step:
        """`suiro sql`; its rows in `found`."""
        step, told = self._suiro(title, "sql", connection, statement)
        step.found = json.loads(told)
        step.rows = len(step.found)
        return step

    def _suiro(self, title: str, *arguments: str) -> tuple[Step, str]:
        command = shlex.join(["suiro", *arguments])
        self.say(f"\n$ {command}")
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "suiro.cli.main", *arguments, "--json"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        step = Step(title=title, command=command, seconds=round(time.monotonic() - started, 3))
        self.steps.append(step)
        if done.returncode != 0:
            step.receipt = f"failed, exit code {done.returncode}"
            raise Broken(f"{command} failed with exit code {done.returncode}:\n{done.stderr}{done.stdout}")
        return step, done.stdout


def _is_proved(task: dict[str, Any]) -> bool:
    receipt = task["receipt"]
    return bool(task["status"] == "succeeded" and receipt and receipt["equal"] and receipt["adds_up"])


def _told(task: dict[str, Any]) -> str:
    receipt = task["receipt"]
    if receipt is None:
        return str(task["error"])
    kinds = ("inserted", "updated", "unchanged", "superseded", "deduplicated")
    became = ", ".join(f"{receipt[kind]:,} {kind}" for kind in kinds if receipt[kind])
    verdict = "equal" if receipt["equal"] else "NOT EQUAL"
    return (
        f"{task['rows_read']:>9,} rows read, {became or 'nothing new'}; receipt {verdict}: "
        f"{receipt['source_rows']:,} rows and {len(receipt['compared'])} columns compared"
    )


def _receipts(tasks: dict[str, dict[str, Any]]) -> str:
    return "equal" if len(tasks) == 1 else f"equal, all {len(tasks)} tables"


# -- the story ---------------------------------------------------------------------------------------------------------


def tell(demonstration: Demonstration, data: Path, database: Application) -> None:
    """All steps; Broken at the first that isn't as it must be."""
    demo, name = demonstration, database.title
    demo.environment |= database.environment
    demo.say("\n1. Files into the embedded warehouse (DuckDB). CSV as it is, one of them zipped; NA means NULL.")
    demo.copy("files -> warehouse", f"file://{quote(str(data))}?null_strings=NA", "warehouse", "--all", expect=ROWS)

    demo.say(f"\n2. The warehouse into {name}, which from now on plays an application's database.")
    demo.copy(f"warehouse -> {name}", "warehouse", database.uri, "--all", expect=ROWS)

    demo.say("\n3. The application notes when a row was last changed; that column tells new rows from old.")
    for statement in database.spelled(TOUCHED):
        demo.say(f"   {statement}")
    database.execute(TOUCHED)
    back = (database.uri, "warehouse", "--stream", "flights", "--table", "live_flights", *INCREMENTAL)
    demo.copy(f"{name} -> warehouse, merge", *back, expect={"live_flights": ROWS["flights"]})

    demo.say("\n4. A delay is corrected and three flights of the new year come in; then the same command again.")
    for statement in database.spelled(CHANGES):
        demo.say(f"   {statement}")
    changed = database.execute(CHANGES)
    again = demo.copy(f"again, after {changed} changes", *back, expect={"live_flights": changed})
    receipt = again.run["tasks"][0]["receipt"]
    if (receipt["updated"], receipt["inserted"]) != (1, changed - 1):
        raise Broken(f"one row was changed and {changed - 1} were added, but the receipt says {receipt}")
    again.receipt += f": {receipt['updated']} updated, {receipt['inserted']} inserted"

    demo.say("\n5. Both sides are asked the same.")
    there = demo.sql(f"a sum in {name}", database.uri, SUMS.format(table="flights"))
    demo.say(f"  {_row(there)}")
    here = demo.sql("the same in the warehouse", "warehouse", SUMS.format(table="live_flights"))
    demo.say(f"  {_row(here)}")
    if _row(there) != _row(here):
        raise Broken(f"{name} and the warehouse differ")

    demo.say("\n6. A question to the warehouse: who was late, and what did wind of 20 miles an hour or more do to it?")
    answer = demo.sql("a question over three tables", "warehouse", QUESTION)
    if not answer.found:
        raise Broken("the question found no airline")
    airline, *columns = answer.found[0]
    demo.say(f"  {airline:<30}{'  '.join(columns)}")
    for row in answer.found:
        demo.say(f"  {row[airline]:<30}{'  '.join(str(row[column]).rjust(len(column)) for column in columns)}")


def _row(step: Step) -> str:
    return ", ".join(f"{name}: {int(str(value)):,}" for row in step.found for name, value in row.items())


def summary(steps: list[Step]) -> list[str]:
    """The table at the end."""
    width = max(len(step.title) for step in steps)
    lines = [f"{'step':<{width}}  {'rows':>8}  {'seconds':>7}  receipt"]
    return lines + [f"{s.title:<{width}}  {s.rows:>8,}  {s.seconds:>7.1f}  {s.receipt}".rstrip() for s in steps]


def as_json(demonstration: Demonstration, database: str, seconds: float, error: str | None) -> dict[str, Any]:
    """The whole run as plain data: `run` is what `suiro copy --json` said, `rows_found` what `suiro sql` said."""
    steps = [
        {
            "step": step.title,
            "command": step.command,
            "rows": step.rows,
            "seconds": step.seconds,
            "receipt": step.receipt,
            "run": step.run,
            "rows_found": step.found,
        }
        for step in demonstration.steps
    ]
    return {"ok": error is None, "error": error, "database": database, "seconds": round(seconds, 3), "steps": steps}


def arguments() -> argparse.Namespace:
    """The options."""
    home = os.environ.get("SUIRO_DEMO_HOME") or str(Path.home() / ".cache" / "suiro-demo")
    parser = argparse.ArgumentParser(
        prog="script/demo --flights", description="Carries all flights of 2013 through Suiro."
    )
    parser.add_argument("--home", type=Path, default=Path(home), help="where the data is kept (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the warehouse, to ask it more")
    parser.add_argument("--no-postgres", dest="postgres", action="store_false", help="use SQLite in its place")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, and nothing else there")
    return parser.parse_args()


def main() -> int:
    """Run everything; the exit code."""
    asked = arguments()
    started = time.monotonic()
    home = asked.home.expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=home))
    demo = Demonstration(folder / "suiro", quiet=asked.json)
    error: str | None = None
    code, title = 0, ""
    try:
        archive = fetch(home, demo.say)
        unpack(archive, folder / "data")
        demo.say(f"export SUIRO_HOME={shlex.quote(str(folder / 'suiro'))}   # suiro is .venv/bin/suiro")
        with application(folder, demo.say, postgres=asked.postgres) as database:
            title = database.title
            tell(demo, folder / "data", database)
    except (Broken, Unreached) as problem:
        error, code = str(problem), UNREACHED if isinstance(problem, Unreached) else 1
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - started
    if asked.json:
        print(json.dumps(as_json(demo, title, seconds, error), ensure_ascii=False))
    elif demo.steps:
        print("", *summary(demo.steps), sep="\n")
    if error is not None:
        print(f"\n{error}", file=sys.stderr)
        return code
    demo.say(f"\nEverything arrived, in {seconds:.0f} s.")
    if asked.keep:
        demo.say(f"Kept: SUIRO_HOME={shlex.quote(str(folder / 'suiro'))} .venv/bin/suiro streams warehouse")
    return 0


if __name__ == "__main__":
    sys.exit(main())
