"""The work of an ingest job: rows of CSV are written 200 at once, each with a line in the results."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from suiro.sandbox.salesforce.bulk_ingest import DATA, UNPROCESSED
from suiro.sandbox.salesforce.bulk_query import DELIMITERS, LINE_ENDS
from suiro.sandbox.salesforce.errors import Refusal, RowRefusal
from suiro.sandbox.salesforce.fields import Field, Sobject
from suiro.sandbox.salesforce.jobs import Job, Jobs
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.rows import Operation, Targets, csv_value
from suiro.sandbox.salesforce.writing import MOST_ROWS, Writing, Written

#: Rows that are written in one transaction; the results and the progress go with it.
STEP_ROWS = MOST_ROWS * 5
MOST_CHARACTERS, MOST_FIELDS, MOST_RECORD = 32_000, 5_000, 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the data: its cells, or why they can't be read."""

    cells: list[str]
    refusal: RowRefusal | None = None


class Ingesting:
    """Works off ingest jobs."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self.jobs: Jobs

    def work(self, job: Job) -> None:
        """Write all rows. Goes on where it was left: what was written, told and counted is one transaction."""
        folder = self.jobs.folder(job.id)
        found = self._org.find(job.told["object"])
        assert found is not None
        external = found.fields[job.told["external"]] if job.told["external"] else None
        with open_data(folder) as file:
            lines = read_lines(file, job)
            header = next(lines, Line(cells=[])).cells
            self._check_header(job, found, external, header)
            done = int(job.progress.get("processed", 0))
            success, failure = begin(folder, header, job)
            rest = islice(lines, done, self._recorded(job))
            while step := list(islice(rest, self._step(job, done))):
                self.jobs.check(job.id)
                done += len(step)
                self._write(job, found, external, header, step, success, failure)
        if self._org.settings.job_end != "JobComplete":
            self._keep_unprocessed(job)
        elif self._org.settings.unrecorded_counted:
            self.jobs.progress(job.id, {"processed": self.rows(job)})

    def rows(self, job: Job) -> int:
        """How many rows the job's data has."""
        with open_data(self.jobs.folder(job.id)) as file:
            return max(0, sum(1 for _ in read_lines(file, job)) - 1)

    def _recorded(self, job: Job) -> int | None:
        """Up to which row the data is looked at; None: to its end."""
        left_out = self._org.settings.unrecorded_rows
        return max(0, self.rows(job) - left_out) if left_out else None

    def over(self, job: Job) -> None:
        """Rows that were never looked at are kept when a job is aborted or fails; one that is complete has none.

        Rows for which the day had no batches left are told nowhere [DOC bulk_api_2_limits].
        """
        folder = self.jobs.folder(job.id)
        if not (folder / "successful.csv").exists():
            with open_data(folder) as file:
                header = next(read_lines(file, job), Line(cells=[])).cells
            begin(folder, header, job)
        if not (folder / UNPROCESSED).exists():
            self._keep_unprocessed(job)

    def _step(self, job: Job, done: int) -> int:
        """How many rows are written next: all, but for jobs that are to end early or have no batches left."""
        settings = self._org.settings
        most = STEP_ROWS
        if settings.job_end != "JobComplete":
            most = min(most, settings.job_fails_after_rows - done)
        batches = settings.daily_batches - self._batches(job)
        return max(0, min(most, batches * settings.batch_rows - done))

    def _batches(self, job: Job) -> int:
        """Batches that other jobs of the last 24 hours took."""
        with self._org.reading() as connection:
            row = connection.execute(
                "SELECT total(json_extract(progress, '$.batches')) FROM _jobs WHERE made >= ? AND id != ?",
                (self._org.now().timestamp() - 86400, job.id),
            ).fetchone()
        return int(row[0])

    def _check_header(self, job: Job, found: Sobject, external: Field | None, header: Sequence[str]) -> None:
        """Refusal ends the job: InvalidBatch (its words unverified)."""
        operation: Operation = job.told["operation"]
        if len(header) > MOST_FIELDS or len(set(map(str.lower, header))) != len(header):
            raise Refusal(400, "InvalidBatch", "InvalidBatch : Field names must be few and different")
        folded = {name.lower() for name in header}
        if operation in ("delete", "hardDelete") and folded - {"id"}:
            raise Refusal(400, "InvalidBatch", "InvalidBatch : delete batches must contain only ids")
        key = external.name if external is not None else ("Id" if operation != "insert" else None)
        if header and key is not None and key.lower() not in folded:
            raise Refusal(400, "InvalidBatch", f"InvalidBatch : Field name not found : {key}")
        targets = Targets(self._org, found, operation, external)
        for name in header:
            try:
                targets.find(name)
            except RowRefusal as refusal:
                if refusal.code == "INVALID_FIELD":
                    raise Refusal(400, "InvalidBatch", f"InvalidBatch : Field name not found : {name}") from None

    def _write(
        self,
        job: Job,
        found: Sobject,
        external: Field | None,
        header: Sequence[str],
        step: Sequence[Line],
        success: Path,
        failure: Path,
    ) -> None:
        """Write some rows, their results and the job's progress, all or nothing."""
        told: dict[Path, list[list[str]]] = {success: [], failure: []}
        with self._org.writing() as connection:
            writing = Writing(self._org, connection, found, job.told["operation"], external)
            for begin_at in range(0, len(step), MOST_ROWS):
                lines = step[begin_at : begin_at + MOST_ROWS]
                good = [line for line in lines if line.refusal is None]
                answers = iter(writing.write([given(header, line) for line in good]))
                for line in lines:
                    answer = line.refusal or next(answers)
                    if isinstance(answer, Written):
                        told[success].append([answer.id, str(answer.created).lower(), *line.cells])
                    else:
                        cells = [*line.cells, *[""] * len(header)][: len(header)]
                        told[failure].append([self._id(header, line), answer.text(), *cells])
            progress = self.jobs.find("ingest", job.id).progress
            sizes = {path.name: append(path, rows, job) for path, rows in told.items()}
            processed = int(progress.get("processed", 0)) + len(step)
            self.jobs.progress(
                job.id,
                {
                    "processed": processed,
                    "failed": int(progress.get("failed", 0)) + len(told[failure]),
                    "batches": -(-processed // self._org.settings.batch_rows),
                    "sizes": sizes,
                },
            )

    def _id(self, header: Sequence[str], line: Line) -> str:
        """The record's id where the row names it."""
        names = [name.lower() for name in header]
        return line.cells[names.index("id")] if "id" in names and len(line.cells) == len(header) else ""

    def _keep_unprocessed(self, job: Job) -> None:
        """The rows that come after those that were looked at."""
        folder = self.jobs.folder(job.id)
        done = int(self.jobs.find("ingest", job.id).progress.get("processed", 0))
        path = folder / f"{UNPROCESSED}.{threading.get_ident()}"
        with open_data(folder) as file, open(path, "w", encoding="utf-8", newline="") as out:
            lines = read_lines(file, job)
            header = next(lines, Line(cells=[])).cells
            write_csv(out, job, [header] if header else [])
            if job.state != "JobComplete":
                write_csv(out, job, (line.cells for line in islice(lines, done, None)))
        path.rename(folder / UNPROCESSED)


def open_data(folder: Path) -> io.TextIOBase:
    """The job's data; nothing where none was sent."""
    path = folder / DATA
    if not path.exists():
        return io.StringIO("")
    return open(path, encoding="utf-8-sig", errors="strict", newline="")


def read_lines(file: io.TextIOBase, job: Job) -> Iterator[Line]:
    """The header and the rows. Refusal ends the job: bytes that are no UTF-8, or other line ends than it was told."""
    delimiter, line_end = DELIMITERS[job.told["columnDelimiter"]], LINE_ENDS[job.told["lineEnding"]]
    kept: list[str] = []

    def remembered() -> Iterator[str]:
        for number, text in enumerate(file):
            if number == 0 and text.endswith("\n") and text.endswith("\r\n") != (line_end == "\r\n"):
                name = job.told["lineEnding"]
                message = f"InvalidBatch : LineEnding is invalid on user data. Current LineEnding setting is {name}"
                raise Refusal(400, "InvalidBatch", message)
            kept.append(text)
            yield text

    reader = csv.reader(remembered(), delimiter=delimiter, strict=True)
    width = None
    while True:
        kept.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError:
            raise Refusal(400, "InvalidBatch", "InvalidBatch : the data isn't UTF-8") from None
        except csv.Error as error:
            raw = "".join(kept).rstrip("\r\n")
            yield Line(cells=[raw], refusal=RowRefusal("INVALID_CSV", f"the row can't be read: {error}"))
            continue
        if not cells:
            continue
        width = width or len(cells)
        yield Line(cells=cells, refusal=unfit(cells, width))


def unfit(cells: list[str], width: int) -> RowRefusal | None:
    """Why a row can't be taken whatever its fields are (codes unverified)."""
    if len(cells) != width:
        return RowRefusal("INVALID_CSV", f"the row has {len(cells)} columns, the header {width}")
    if any(cell[:1].isspace() and cell.lstrip().startswith('"') for cell in cells):
        # [DOC datafiles_csv_valid_record_rows]: values aren't trimmed, a space beside a quote is an error.
        return RowRefusal("INVALID_CSV", "a space stands beside a double quote")
    if max(map(len, cells)) > MOST_CHARACTERS or sum(map(len, cells)) > MOST_RECORD:
        return RowRefusal(
            "STRING_TOO_LONG", f"a field has more than {MOST_CHARACTERS} characters, or the record too many"
        )
    return None


def given(header: Sequence[str], line: Line) -> dict[str, str | None]:
    """What a row says: empty cells say nothing."""
    told = {}
    for name, cell in zip(header, line.cells, strict=True):
        says, value = csv_value(cell)
        if says:
            told[name] = value
    return told


def begin(folder: Path, header: Sequence[str], job: Job) -> tuple[Path, Path]:
    """The files of results with their headers; cut to what was told before the service ended."""
    success, failure = folder / "successful.csv", folder / "failed.csv"
    sizes = job.progress.get("sizes", {})
    for path, first in ((success, ["sf__Id", "sf__Created"]), (failure, ["sf__Id", "sf__Error"])):
        if path.name in sizes:
            with open(path, "r+b") as file:
                file.truncate(int(sizes[path.name]))
        else:
            path.unlink(missing_ok=True)
            append(path, [[*first, *header]], job)
    return success, failure


def append(path: Path, rows: list[list[str]], job: Job) -> int:
    """Add rows to a file of results, the last first: their order isn't that of the data. Returns its size."""
    buffer = io.StringIO(newline="")
    write_csv(buffer, job, reversed(rows))
    with open(path, "ab") as file:
        file.write(buffer.getvalue().encode())
        return file.tell()


def write_csv(out: io.TextIOBase, job: Job, rows: Iterable[Sequence[str]]) -> None:
    """Rows as the job's CSV: all values quoted."""
    delimiter, line_end = DELIMITERS[job.told["columnDelimiter"]], LINE_ENDS[job.told["lineEnding"]]
    csv.writer(out, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL).writerows(rows)
