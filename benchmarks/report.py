"""The report of a benchmark: one JSON file with everything, one Markdown page with the medians."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from arena import ROOT
from candidates import LIMIT, OURS

if TYPE_CHECKING:
    from runner import Entry, Outcome, Run

MEMORY_AIM_MB = 300
START, END = "<!-- the last run -->", "<!-- end of the last run -->"
HEAD = (
    *("candidate", "wall s", "from - to", "ratio", "against Suiro"),
    *("CPU s client", "CPU s server", "memory MB", "table", "copy"),
)


def commit() -> tuple[str, bool]:
    """The short hash of the checkout, and whether files differ from it; `uncommitted` where there is none."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-c", f"safe.directory={ROOT}", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    head = git("rev-parse", "--short", "HEAD")
    if head.returncode != 0:
        return "uncommitted", True
    return head.stdout.strip(), bool(git("status", "--porcelain").stdout.strip())


def machine() -> dict[str, Any]:
    """Cores, memory and versions."""
    cpus = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    total = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cores": os.cpu_count(),
        "processor": cpus[0] if cpus else platform.machine(),
        "memory_gib": round(int(total[1]) / (1 << 20), 1) if total else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def as_json(outcomes: list[Outcome], about: dict[str, Any]) -> str:
    """Every run of every candidate, medians and ratios with them."""
    routes = [
        {
            "route": outcome.route.name,
            "title": outcome.route.title,
            "limit": outcome.route.limit,
            "rows": outcome.rows,
            "aims": aims(outcome),
            "candidates": [_entry_as_json(outcome, entry) for entry in outcome.entries],
        }
        for outcome in outcomes
    ]
    return json.dumps(about | {"routes": routes}, indent=1, ensure_ascii=False) + "\n"


def _entry_as_json(outcome: Outcome, entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.candidate.name,
        "command": entry.command,
        "note": entry.candidate.note,
        "failed": entry.failed,
        "median": medians(entry),
        "ratio_to_limit": ratio(outcome, LIMIT, entry),
        "times_ours": times_ours(outcome, entry),
        "first_run": _run_as_json(entry.first) if entry.first else None,
        "runs": [_run_as_json(run) for run in entry.runs],
    }


def _run_as_json(run: Run) -> dict[str, Any]:
    return {
        "wall_seconds": round(run.measured.wall_seconds, 3),
        "client_cpu_seconds": round(run.measured.client_cpu_seconds, 3),
        "server_cpu_seconds": round(run.measured.server_cpu_seconds, 3),
        "peak_mb": round(run.measured.peak_bytes / 1e6, 1),
        "exit_code": run.measured.code,
        "copy": run.wrong or "equal by count and hash",
        "shape": asdict(run.shape) if run.shape else None,
        "told": [_told(task) for task in run.said.get("tasks", [])] if run.said else None,
    }


def _told(task: dict[str, Any]) -> dict[str, Any]:
    """What Suiro itself says of a task: no names, no values."""
    receipt = task.get("receipt") or {}
    kept = ("level", "basis", "equal", "adds_up", "source_rows", "table_rows", "inserted", "updated")
    return {
        "seconds": task.get("seconds"),
        "path": task.get("path"),
        "receipt": {name: receipt[name] for name in kept if name in receipt},
    }


def medians(entry: Entry) -> dict[str, float] | None:
    """Over the runs whose copy was right; None when there is none. The peak is the highest of all."""
    runs = [run.measured for run in entry.right]
    if not runs:
        return None
    return {
        "wall_seconds": round(median(run.wall_seconds for run in runs), 3),
        "client_cpu_seconds": round(median(run.client_cpu_seconds for run in runs), 3),
        "server_cpu_seconds": round(median(run.server_cpu_seconds for run in runs), 3),
        "peak_mb": round(max(run.peak_bytes for run in runs) / 1e6, 1),
    }


def find(outcome: Outcome, name: str) -> Entry | None:
    """The candidate of that name."""
    return next((entry for entry in outcome.entries if entry.candidate.name == name), None)


def ratio(outcome: Outcome, of: str, to: Entry | None) -> float | None:
    """Median wall time of one candidate divided by that of another."""
    one = find(outcome, of)
    above, below = medians(one) if one else None, medians(to) if to else None
    return round(above["wall_seconds"] / below["wall_seconds"], 2) if above and below else None


def times_ours(outcome: Outcome, entry: Entry) -> float | None:
    """Its median wall time divided by Suiro's: above 1, Suiro is faster."""
    return ratio(outcome, entry.candidate.name, find(outcome, OURS))


def aims(outcome: Outcome) -> list[dict[str, Any]]:
    """What Suiro aims at on this route, what was seen, and whether that is enough (None: not measured)."""
    ours = find(outcome, OURS)
    found: list[dict[str, Any]] = []
    if outcome.route.aim is not None:
        seen = ratio(outcome, LIMIT, ours)
        met = None if seen is None else seen >= outcome.route.aim
        found.append({"aim": f"at least {outcome.route.aim:.2f} of the limit", "seen": seen, "met": met})
    for entry in outcome.entries:
        name = entry.candidate.name
        if name.startswith(outcome.route.beats):
            seen = times_ours(outcome, entry)
            found.append({"aim": f"ahead of {name}", "seen": seen, "met": None if seen is None else seen > 1})
        elif name.startswith(outcome.route.equals):
            seen = times_ours(outcome, entry)
            found.append({"aim": f"not behind {name}", "seen": seen, "met": None if seen is None else seen >= 1})
    middle = medians(ours) if ours else None
    peak = middle["peak_mb"] if middle else None
    met = None if peak is None else peak <= MEMORY_AIM_MB
    found.append({"aim": f"at most {MEMORY_AIM_MB} MB of memory", "seen": peak, "met": met})
    return found


def as_markdown(outcomes: list[Outcome], about: dict[str, Any]) -> str:
    """The page that is read."""
    at = about["machine"]
    lines = [
        f"# Benchmark of {about['date']}, commit {about['commit']}{' with changes' if about['changed'] else ''}",
        "",
        f"`{about['command']}`",
        "",
        f"{at['cores']} cores ({at['processor']}), {at['memory_gib']} GiB, {at['system']}, Python {at['python']}, "
        f"{', '.join(about['servers'])}. Load average when it started {at['load_average'][0]}, "
        f"when it ended {about['load_average_at_end'][0]}.",
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in about["versions"].items()) + ".",
        "",
        f"Medians of {about['repeat']} interleaved runs, whole commands, the interpreter's start included; memory is",
        "the highest of all. *Ratio* is the limit's wall time divided by the candidate's: 1 is the limit.",
        "*Against Suiro* is the candidate's wall time divided by Suiro's: above 1, Suiro is faster. Every copy was",
        "compared with the source by count and by a hash of all values.",
    ]
    for outcome in outcomes:
        lines += ["", *_route_lines(outcome)]
    lines += ["", "## Aims", "", "| route | aim | seen | |", "|---|---|---|---|"]
    words = {True: "met", False: "**missed**", None: "not measured"}
    for outcome in outcomes:
        lines += [
            f"| {outcome.route.name} | {aim['aim']} | {_plain(aim['seen'])} | {words[aim['met']]} |"
            for aim in aims(outcome)
        ]
    for name, found in about["profiles"].items():
        lines += ["", f"## Profile of route {name}", "", *found]
    return "\n".join(lines) + "\n"


def slowest(outcomes: list[Outcome]) -> str | None:
    """The name of the route on which Suiro is farthest from the limit."""
    found = [(seen, outcome.route.name) for outcome in outcomes if (seen := ratio(outcome, LIMIT, find(outcome, OURS)))]
    return min(found)[1] if found else None


def document(page: Path, outcomes: list[Outcome], about: dict[str, Any]) -> None:
    """Put this run's tables, and the profile of the slowest route only, into a page between its two marks."""
    worst = slowest(outcomes)
    profiles = {name: lines for name, lines in about["profiles"].items() if name == worst}
    tables = as_markdown(outcomes, {**about, "profiles": profiles}).replace("\n#", "\n##").removeprefix("# ")
    before, _, rest = page.read_text("utf-8").partition(f"{START}\n")
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{page} lacks the lines {START} and {END}")
    page.write_text(f"{before}{START}\n\n### {tables}\n{END}{after}", "utf-8")


def _route_lines(outcome: Outcome) -> list[str]:
    route = outcome.route
    lines = [
        f"## {route.name}. {route.title}",
        "",
        f"{outcome.rows:,} rows. The limit: {route.limit}. {route.note}".strip(),
        "",
        f"| {' | '.join(HEAD)} |",
        "|" + "---|" * len(HEAD),
    ]
    notes = []
    for entry in outcome.entries:
        lines.append(_entry_line(outcome, entry))
        if entry.candidate.note:
            notes.append(f"* {entry.candidate.name}: {entry.candidate.note}.")
        if entry.failed:
            notes.append(f"* {entry.candidate.name} has no figures: {_one_line(entry.failed)}")
    return [*lines, *([""] if notes else []), *notes]


def _entry_line(outcome: Outcome, entry: Entry) -> str:
    middle = medians(entry)
    if middle is None:
        return f"| {entry.candidate.name} | | | | | | | | | none, see below |"
    walls = [round(run.measured.wall_seconds, 3) for run in entry.right]
    seen = entry.right[-1].shape
    table = f"{seen.types_kept}/{seen.columns} types{', key' if seen.key else ''}" if seen else ""
    cells = [
        entry.candidate.name,
        f"{middle['wall_seconds']:.2f}",
        f"{min(walls):.2f} - {max(walls):.2f}",
        _plain(ratio(outcome, LIMIT, entry)),
        _plain(times_ours(outcome, entry)),
        f"{middle['client_cpu_seconds']:.2f}",
        f"{middle['server_cpu_seconds']:.2f}",
        f"{middle['peak_mb']:.0f}",
        table,
        f"equal, {len(walls)} of {len(entry.runs)}",
    ]
    return f"| {' | '.join(cells)} |"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _one_line(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", " ".join(text.split())).replace("|", "\\|")


def now() -> datetime:
    """The moment, in UTC."""
    return datetime.now(UTC)
