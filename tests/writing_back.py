"""A warehouse in memory, an application with a file behind it, a ledger, and write-backs between them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from suiro.engine.context import Budgets, RunContext
from suiro.engine.writeback.carrying import Asked, write_back
from suiro.engine.writeback.ledger import Ledger
from suiro.engine.writeback.planning import plan_writes
from suiro.engine.writeback.task import Sides, WriteBack
from suiro.model.job import Task
from suiro.model.journal import Plan
from suiro.model.run import TaskRun
from suiro.model.writeback import FieldFacts, WriteBackMode
from suiro.store.ledger import Ledgers
from suiro.store.systems import sqlite_url
from suiro.testing.memory import MemorySource, MemorySourceConfig, MemoryStreams
from suiro.testing.memory_application import MemoryApplication, MemoryApplicationConfig, MemoryOrg

LEAD = pa.schema(
    [
        ("Id", pa.string()),
        ("Ext__c", pa.string()),
        ("Email", pa.string()),
        ("Company", pa.string()),
        ("Status", pa.string()),
        ("Score", pa.decimal128(18, 2)),
        ("Rank", pa.int64()),
        ("Seen", pa.timestamp("us", "UTC")),
    ]
)
FACTS = [
    FieldFacts(name="Id", label="Id", creatable=False, updatable=False),
    FieldFacts(name="Ext__c", label="External", external_id=True, unique=True),
    FieldFacts(name="Email", label="E-mail"),
    FieldFacts(name="Company", label="Company", required=True, most_characters=20, empty_is_null=True),
    FieldFacts(name="Status", label="Status", choices=("New", "Open", "Won")),
    FieldFacts(name="Score", label="Score"),
    FieldFacts(name="Rank", label="Rank"),
    FieldFacts(name="Seen", label="Seen"),
]
ROWS = pa.schema(
    [
        ("id", pa.string()),
        ("company", pa.string()),
        ("status", pa.string()),
        ("score", pa.float64()),
        ("rank", pa.int64()),
    ]
)
NAMES = {"company": "Company", "status": "Status", "score": "Score", "rank": "Rank"}


class World:
    """One write-back from the stream `rows` to the object `Lead`."""

    def __init__(
        self,
        folder: Path,
        *,
        trims: Sequence[str] = (),
        refuses: Mapping[str, Sequence[str]] | None = None,
        most_rows: int = 1000,
        name: str = "",
        ledger_url: str | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.org = MemoryOrg(folder / "org.db")
        self.org.make("Lead", LEAD, FACTS, trims=trims, refuses=refuses)
        self.streams = MemoryStreams(batch_rows=7)
        self.fill([])
        self.ledgers = Ledgers(ledger_url or sqlite_url(folder / "suiro.db"), folder / "writebacks")
        self.config = MemoryApplicationConfig(path=folder / "org.db", name=name, most_rows=most_rows, at_once=3)
        self.numbers = itertools.count(1)
        self.around: Callable[[Ledger], Ledger] = lambda ledger: ledger

    def fill(self, rows: list[tuple[Any, ...]], schema: pa.Schema = ROWS, key: tuple[str, ...] = ()) -> None:
        """What the warehouse holds."""
        columns = [pa.array([row[at] for row in rows], field.type) for at, field in enumerate(schema)]
        self.streams.fill("rows", pa.table(columns, schema=schema), key)

    def work(self, mode: str = "upsert", **said: Any) -> WriteBack:
        """Rows by `id`, which is the external id, or in an update the record's own."""
        mode = WriteBackMode(mode)
        name = "Id" if mode in (WriteBackMode.UPDATE, WriteBackMode.DELETE) else "Ext__c"
        columns = {"id": name} if mode is WriteBackMode.DELETE else {"id": name, **NAMES}
        task = {"key": ("id",), "columns": columns} | {
            n: said.pop(n) for n in ("key", "columns", "where", "limit", "types", "generation") if n in said
        }
        return WriteBack(task=Task(stream="rows", **task), object="Lead", mode=mode, **said)

    @contextmanager
    def ledger(self, run: str = "test") -> Iterator[Ledger]:
        with self.ledgers.held("job-1", run) as opened:
            yield self.around(opened)

    def context(self, run: str) -> RunContext:
        context = RunContext(run, budgets=Budgets(connector=2**26))
        context.wait = lambda seconds: context.check_cancelled()  # type: ignore[method-assign]
        return context

    def sides(self, context: RunContext) -> Sides:
        return Sides(
            source=lambda: MemorySource(MemorySourceConfig(system=self.streams), context),
            application=lambda: MemoryApplication(self.config, context),
            identity=self.config.identity(),
        )

    def run(
        self, work: WriteBack | None = None, *, run: str | None = None, **asked: Any
    ) -> tuple[TaskRun, dict[str, Any]]:
        run = run or f"run{next(self.numbers)}"
        with self.context(run) as context:
            wanted = work or self.work()
            return write_back(wanted, self.sides(context), lambda: self.ledger(run), context, Asked(run=run, **asked))

    def plan(self, work: WriteBack | None = None) -> Plan:
        with self.context("plan") as context, self.ledger() as ledger:
            application = MemoryApplication(self.config, context)
            return plan_writes(work or self.work(), self.sides(context), application, ledger, context, lambda *_: None)

    def leads(self, *names: str) -> list[tuple[Any, ...]]:
        """The records, without their ids, by the external id."""
        wanted = names or ("Ext__c", "Company", "Status", "Score", "Rank")
        found = [tuple(row[name] for name in wanted) for row in self.org.rows("Lead")]
        return sorted(found, key=repr)

    def sent(self) -> list[tuple[Any, ...]]:
        """What the ledger knows as sent."""
        with self.ledger() as ledger:
            scopes = {plan.scope for plan in ledger.plans.all()}
            rows = [row for scope in scopes for batch in ledger.known.sent(scope) for row in batch.to_pylist()]
        return sorted((row["k"], row["hash"], row["own"]) for row in rows)
