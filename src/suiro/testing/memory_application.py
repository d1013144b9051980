"""An application with a SQLite file behind it: the contract kept in the plainest way, to read and to test with.

Several processes may use one file. `MemoryOrg` is the file as its owner sees it: it makes objects and records and looks
into them by its own means.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from pydantic import Field

from suiro.model.cells import cell_array, cell_texts
from suiro.model.errors import ConfigError, InternalError
from suiro.model.schema import Json
from suiro.model.writeback import Action, ObjectFacts, Order, Outcome, RowResult
from suiro.spi.application import Application, Journal
from suiro.spi.connector import Connector, ConnectorConfig
from suiro.spi.context import Context
from suiro.testing.memory_org import LOCKED, MemoryOrg, Refused

__all__ = ["MemoryApplication", "MemoryApplicationConfig", "MemoryOrg", "connector"]

_TRIES = 5  #: of a row that is locked


class MemoryApplicationConfig(ConnectorConfig):
    """Where the records are, and how the application behaves."""

    path: Path = Field(title="File", description="The SQLite file.", json_schema_extra={"uri": "location"})
    name: str = Field(default="", title="Name", description="Tells one application from another; else the file does.")
    most_rows: int = Field(default=1000, title="Rows", description="Rows that one sending takes.")
    at_once: int = Field(default=100, title="Rows at once", description="Rows of one request.")
    slow: float = Field(default=0.0, title="Slow", description="Seconds that every step takes.")
    dies: Path | None = Field(
        default=None,
        title="Dies",
        description="A file that holds a number: the process dies before its so manieth step, once.",
    )

    def identity(self) -> str:
        """The name, or the file."""
        return f"memory_application:{self.name or self.path}"


class MemoryApplication(Application[MemoryApplicationConfig]):
    """Records of a `MemoryOrg`. Inserts go by jobs with ids, all else by requests of a few rows, which may be repeated.

    `on_step` is called before and after whatever outlives the process.
    """

    on_step: ClassVar[Callable[[], None]] = staticmethod(lambda: None)

    def __init__(self, config: MemoryApplicationConfig, context: Context) -> None:
        super().__init__(config, context)
        self._org = MemoryOrg(config.path)

    def check(self) -> None:
        """There is a file."""
        if not self.config.path.exists():
            raise ConfigError(f"there is no file {self.config.path}", hint="Make it with MemoryOrg.")

    def objects(self) -> Sequence[str]:
        """Their names."""
        return self._org.objects()

    def describe(self, object_: str) -> tuple[ObjectFacts, pa.Schema]:
        """As the org was told."""
        found = self._org.described(object_)
        if found is None:
            near = [name for name in self._org.objects() if object_.lower()[:3] in name.lower()]
            known = ", ".join(near or self._org.objects())
            raise ConfigError(f"there is no object {object_!r}", hint=f"Objects are, for example: {known}.")
        return found

    def most_rows(self, order: Order) -> int:
        """The same for every order."""
        return self.config.most_rows

    def present(self, object_: str, by: str, keys: pa.Array, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Records by a key, some at a time."""
        facts, types = self.describe(object_)
        names = list(dict.fromkeys([by, facts.record_id, *fields]))
        schema = pa.schema([types.field(name) for name in names])
        texts = [text for text in cell_texts(keys) if text is not None]
        for start in range(0, len(texts), 1000):
            self.context.check_cancelled()
            self._step()
            found = self._org.find(object_, by, texts[start : start + 1000])
            columns = [cell_array([row.get(field.name) for row in found], field.type) for field in schema]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def apply(self, order: Order, rows: pa.RecordBatch, journal: Journal) -> Iterator[RowResult]:
        """Inserts in a job whose id is noted before it is filled; all else at once."""
        facts, types = self.describe(order.object)
        self._check(order, facts, types, rows)
        texts = {name: cell_texts(rows.column(name)) for name in rows.schema.names}
        values = [{name: column[at] for name, column in texts.items()} for at in range(rows.num_rows)]
        if order.action is Action.INSERT:
            yield from self._job(order, values, journal)
            return
        for start in range(0, len(values), self.config.at_once):
            self.context.check_cancelled()
            yield from self._request(order, values[start : start + self.config.at_once], start)

    def close(self) -> None:
        """Let go of the file."""
        self._org.close()

    def _check(self, order: Order, facts: ObjectFacts, types: pa.Schema, rows: pa.RecordBatch) -> None:
        if order.action not in facts.actions:
            raise ConfigError(f"{order.object} takes no {order.action}", hint="Ask for the right.")
        for field in rows.schema:
            if field.name not in types.names or types.field(field.name).type != field.type:
                raise InternalError(f"{order.object} has no field {field.name} of type {field.type}")
        by = {Action.UPDATE: facts.record_id, Action.DELETE: facts.record_id, Action.UPSERT: order.by}.get(order.action)
        if by is not None and by not in rows.schema.names:
            raise InternalError(f"an order to {order.action} came without {by}")
        if order.action is Action.UPSERT and (order.by is None or not facts.fields[order.by].external_id):
            raise ConfigError(f"{order.by} is no external id of {order.object}", hint="Choose another field.")

    def _job(self, order: Order, values: list[dict[str, str | None]], journal: Journal) -> Iterator[RowResult]:
        notes = journal.notes()
        if notes:
            job = str(notes[-1]["job"])
        else:
            self._step()
            job = self._org.open_job()
            self._step()
            journal.note({"job": job})
        self._step()
        self._org.fill_job(job, order.object, values)
        self._step()
        for result in self._org.finish_job(job):
            yield _as_result(result)
        self._step()

    def _request(self, order: Order, values: Sequence[Mapping[str, str | None]], start: int) -> Iterator[RowResult]:
        waiting = dict(enumerate(values, start))
        for attempt in range(_TRIES):
            self._step()
            answers = self._org.act(order, list(waiting.values()))
            self._step()
            again = {}
            for (row, value), answer in zip(waiting.items(), answers, strict=True):
                if isinstance(answer, Refused) and answer.code == LOCKED and attempt < _TRIES - 1:
                    again[row] = value
                else:
                    yield _result(row, answer)
            if not again:
                return
            waiting = again
            self.context.wait(0.001)

    def _step(self) -> None:
        type(self).on_step()
        if self.config.slow:
            self.context.wait(self.config.slow)
        if self.config.dies is not None and self.config.dies.exists():
            left = int(self.config.dies.read_text()) - 1
            if left:
                self.config.dies.write_text(str(left))
                return
            self.config.dies.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def _result(row: int, answer: Refused | tuple[str, bool]) -> RowResult:
    if isinstance(answer, Refused):
        return RowResult(
            row=row, outcome=Outcome.REFUSED, code=answer.code, message=answer.message, fields=answer.fields
        )
    record, created = answer
    return RowResult(row=row, outcome=Outcome.DONE, record=record, created=created)


def _as_result(said: Mapping[str, Json]) -> RowResult:
    found: dict[str, Any] = json.loads(json.dumps(said))
    return RowResult(**{**found, "outcome": Outcome(found["outcome"]), "fields": tuple(found.get("fields", ()))})


connector = Connector(
    name="memory_application",
    title="Memory application",
    config=MemoryApplicationConfig,
    schemes=("memory-application",),
    application=MemoryApplication,
)
