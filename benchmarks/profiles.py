"""The profile of Suiro on a route: where its threads spend their time, as py-spy sees it."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

import data
from arena import ROOT, Arena, tell
from candidates import OURS, PEERS, suiro_command
from routes import Way
from runner import Options

if TYPE_CHECKING:
    from routes import Route

SAMPLES_PER_SECOND = 200
LINES = 15
PACKAGES = 8
LEAST = 0.01  # of all samples
LINE_NUMBER = re.compile(r":\d+\)$")
NATIVE = "(native threads)"


def profile(arena: Arena, route: Route, options: Options) -> list[str]:
    """Run Suiro once more under py-spy; Markdown lines.

    It samples all threads that are not idle; what native code does counts for the Python function that called it.
    """
    tell(f"== profile of {route.name}")
    program = PEERS / "bin/py-spy"
    if not program.exists():
        return [f"py-spy is not installed: {program.relative_to(ROOT)}"]
    arena.fill(route)
    place = arena.place(f"profile {OURS}", route.way)
    environment = arena.environment(place)
    command = suiro_command(route, place)
    if route.way is Way.CHANGES_TO_TABLE:
        subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, check=False)
        with arena.source() as session:
            data.change(session, options.repeat)
    stacks = place.folder / "stacks"
    spy = [str(program), "record", "--rate", str(SAMPLES_PER_SECOND), "--format", "raw", "--output", str(stacks), "--"]
    done = subprocess.run(
        [*spy, *command], cwd=place.folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not stacks.exists():
        said = arena.scrub((done.stderr or done.stdout).strip()[-400:])
        lines = [f"py-spy or the command ended with exit code {done.returncode}: {said}"]
    else:
        lines = [arena.scrub(line) for line in summary(stacks.read_text())]
    arena.drop(place)
    return lines


def summary(stacks: str) -> list[str]:
    """Markdown lines: what is imported, and the functions with the most samples, their own and those below them."""
    importing: Counter[str] = Counter()
    own: Counter[str] = Counter()
    below: Counter[str] = Counter()
    for line in filter(str.strip, stacks.splitlines()):
        stack, _, count = line.rpartition(" ")
        frames = [LINE_NUMBER.sub(")", frame) for frame in stack.split(";")] if stack.strip() else [NATIVE]
        if any("importlib._bootstrap" in frame for frame in frames):
            importing[_imported(frames)] += int(count)
            continue
        own[frames[-1]] += int(count)
        for frame in set(frames):
            below[frame] += int(count)
    total = importing.total() + own.total()
    packages = ", ".join(f"{name} {count / total:.0%}" for name, count in importing.most_common(PACKAGES))
    shown = [name for name, count in own.most_common(LINES) if count / total >= LEAST]
    shown += [name for name, _ in below.most_common(LINES * 2) if name not in shown and "(suiro/" in name]
    lines = [
        f"{total} samples of busy threads, {SAMPLES_PER_SECOND} a second in each thread. "
        f"{importing.total() / total:.0%} of them fell into imports ({packages}); the others:",
        "",
        "| function | own | with what it calls |",
        "|---|---|---|",
    ]
    return lines + [f"| `{name}` | {own[name] / total:.0%} | {below[name] / total:.0%} |" for name in shown]


def _imported(frames: list[str]) -> str:
    """The package whose module is being executed, or looked for, in this stack."""
    modules = [frame.partition("<module> (")[2] for frame in frames if frame.startswith("<module> (")]
    return modules[-1].partition("/")[0].rstrip(")").removesuffix(".py") if modules else "others"
