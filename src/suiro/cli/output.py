"""What the command line prints: JSON and tables to stdout, prose and progress to stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from datetime import time as clock
from functools import cache
from typing import TYPE_CHECKING, Any

from suiro.app.runs import Told
from suiro.model.errors import SuiroError
from suiro.model.receipt import Level, Receipt
from suiro.model.run import Progress, Run, TaskRun

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


@cache
def console(*, stderr: bool) -> Console:
    """Where people read. Rich is imported on use: a run that answers machines needs none of it."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=True)


def tell(text: str, style: str | None = None) -> None:
    """A line of prose on stderr."""
    console(stderr=True).print(text, style=style, markup=False, highlight=False)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=plain) + "\n")


def plain(value: Any) -> Any:
    """Values that JSON lacks, as text."""
    match value:
        case datetime() | date() | clock():
            return value.isoformat()
        case bytes():
            return value.hex()
        case timedelta():
            return value.total_seconds()
        case _:
            return str(value)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on stdout; NULL is shown as such."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console(stderr=False).print(table)


def _cell(value: Any) -> Text:
    from rich.text import Text

    if value is None:
        return Text("NULL", style="dim")
    return Text(str(value if isinstance(value, (str, int, float)) else plain(value)))


def print_pushed(plan: dict[str, Any]) -> None:
    """What of a query's plan the source does, and what is left; nothing where there is no query."""
    for part in plan.get("pushed", ()):
        print(f"  in the source: {part}")
    if plan.get("residual"):
        print(f"  then {plan['residual']}")


def said(column: dict[str, Any]) -> str:
    """What a plan does to a column: it is added or widened, its values are masked."""
    return ", ".join(filter(None, [column["change"], f"masked: {column['mask']}" if "mask" in column else None]))


def print_fit(plan: dict[str, Any]) -> None:
    """Where the plan's names are kept, and what keeps the stream out of an existing table."""
    if "names_file" in plan:
        print(f"  names are kept in {plan['names_file']}; edit them there")
    for sentence in plan.get("misfits", ()):
        print(f"  doesn't fit: {sentence}")


def print_error(error: SuiroError) -> None:
    """One sentence, and what to do."""
    tell(f"Error: {error.message}", "red")
    if error.hint:
        tell(error.hint)


def print_run(run: Run, word: str | None = None) -> None:
    """The result in prose, to stderr; `word`: what the run's state is called, if not as its status."""
    for task in run.tasks:
        if task.error is not None:
            word = "Cancelled" if task.status.value == "cancelled" else "Failed"
            tell(f"{word}: {task.stream}: {task.error.message}", "red")
            for difference in task.receipt.differences if task.receipt else ():
                tell(f"  {difference}")
            if task.error.hint:
                tell(f"  {task.error.hint}")
            continue
        tell(f"{task.stream} -> {task.table}: {_told(task)}")
        if task.receipt is not None:
            tell(f"  {_receipt(task.receipt)}")
        for note in task.notes:
            tell(f"  {note}")
    tell(f"Run {run.id}: {word or run.status.value} in {run.seconds:.1f} s")


def _told(task: TaskRun) -> str:
    rate = task.rows_read / task.seconds if task.seconds else 0
    return (
        f"{task.rows_read:,} rows read, {task.rows_written:,} written, {_size(task.bytes)} in {task.seconds:.1f} s "
        f"({rate:,.0f} rows/s{'' if task.path == 'arrow' else ', as ' + task.path})"
    )


def _receipt(receipt: Receipt) -> str:
    kinds = ("inserted", "updated", "unchanged", "superseded", "deleted", "filtered", "deduplicated", "rejected")
    parts = [f"{getattr(receipt, kind):,} {kind}" for kind in kinds if getattr(receipt, kind)] or ["nothing new"]
    verdict = "equal" if receipt.equal else "NOT EQUAL"
    how = "compared by hash" if receipt.level is Level.HASH else "added up"
    compared = f", {len(receipt.compared)} columns {how}" if receipt.compared else ""
    cut = f"; {receipt.truncated:,} values cut short" if receipt.truncated else ""
    casts = f"; as text: {', '.join(c.column for c in receipt.casts)}" if receipt.casts else ""
    return (
        f"Receipt ({receipt.level.value}): {verdict}, {receipt.source_rows:,} rows against {receipt.table_rows or 0:,}"
        f"{compared}, by {receipt.basis.value}; {', '.join(parts)}{cut}{casts}"
    )


def _size(number: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return ""


@contextmanager
def progress(quiet: bool) -> Iterator[Told | None]:
    """A line that tells how far a run is: live on a terminal, every five seconds elsewhere."""
    if quiet:
        yield None
        return
    if not console(stderr=True).is_terminal:
        yield _Lines(5.0)
        return
    with console(stderr=True).status("starting") as status:
        yield _Lines(0.1, status.update)


class _Lines:
    """Tells progress at most every `seconds`."""

    def __init__(self, seconds: float, show: Any = None) -> None:
        self._seconds, self._show = seconds, show or tell
        self._stream, self._started = "", time.monotonic()
        self._last = self._seen = self._started

    def __call__(self, now: Progress) -> None:
        clock_now = time.monotonic()
        if now.stream != self._stream:
            self._stream, self._started = now.stream, self._seen
        self._seen = clock_now
        if clock_now - self._last < self._seconds:
            return
        self._last = clock_now
        self._show(self._text(now, max(clock_now - self._started, 0.001)))

    def _text(self, now: Progress, seconds: float) -> str:
        if now.publishing:
            return f"{now.stream}: {_size(now.bytes)} staged, comparing and publishing"
        if now.comparing:
            return f"{now.stream}: {_size(now.bytes)} staged, comparing what is read back"
        text = f"{now.stream}: {_size(now.bytes)}, {_size(now.bytes / seconds)}/s"
        if now.rows is not None:
            text = f"{now.stream}: {now.rows:,} rows, {_size(now.bytes)}, {now.rows / seconds:,.0f} rows/s"
            if now.total_rows and now.total_rows > now.rows > 0:
                left = (now.total_rows - now.rows) * seconds / now.rows
                text += f", about {left:.0f} s left ({100 * now.rows // now.total_rows} %)"
        return text
