"""What a ledger knows of rows: the hashes that were sent last, and the rows that are kept aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
from sqlalchemy import Connection, Result, delete, func, insert, select

from suiro.store.database import moment
from suiro.store.ledger_session import LedgerSession
from suiro.store.ledger_tables import kept, sent

_AT_ONCE: Final = 20_000  #: rows in a batch that is read
_IN_ONE: Final = 500  #: keys that a condition lists
_SENT: Final = pa.schema([("k", pa.string()), ("hash", pa.string()), ("record", pa.string()), ("own", pa.bool_())])
_ASIDE: Final = pa.schema([("k", pa.string()), ("hash", pa.string()), ("kind", pa.string())])


class Known:
    """Hashes and rows by scope: what is known of one object by one key says nothing of another."""

    def __init__(self, session: LedgerSession) -> None:
        self._session = session

    def sent(self, scope: str) -> Iterator[pa.RecordBatch]:
        """All that was sent last: columns `k`, `hash`, `record`, `own`."""
        columns = (sent.c.k, sent.c.hash, sent.c.record, sent.c.own)
        with self._session.read() as connection:
            asked = select(*columns).where(sent.c.task == self._session.name, sent.c.scope == scope)
            yield from _batches(connection.execution_options(yield_per=_AT_ONCE).execute(asked), _SENT)

    def aside(self, scope: str) -> Iterator[pa.RecordBatch]:
        """All rows that are kept aside: columns `k`, `hash`, `kind`."""
        with self._session.read() as connection:
            asked = select(kept.c.k, kept.c.hash, kept.c.kind)
            asked = asked.where(kept.c.task == self._session.name, kept.c.scope == scope)
            yield from _batches(connection.execution_options(yield_per=_AT_ONCE).execute(asked), _ASIDE)

    def rejected(self, scope: str | None, run: str | None, limit: int) -> list[dict[str, Any]]:
        """Up to `limit` rows that are kept aside, of a scope and by a run, as plain data; the newest first."""
        names = ("key", "record", "kind", "code", "message", "fields", "row", "run", "kept_at")
        asked = select(*(kept.c[name] for name in names)).where(*self._of(scope, run))
        asked = asked.order_by(kept.c.kept_at.desc(), kept.c.key).limit(limit)
        with self._session.read() as connection:
            return [dict(row._mapping) for row in connection.execute(asked)]

    def reasons(self, scope: str | None, run: str | None) -> list[dict[str, Any]]:
        """Why rows are kept aside, and how many for each reason, most first; `message`: one of those that were told."""
        number = func.count()
        asked = select(kept.c.kind, kept.c.code, func.min(kept.c.message).label("message"), number.label("rows"))
        asked = asked.where(*self._of(scope, run)).group_by(kept.c.kind, kept.c.code).order_by(number.desc())
        with self._session.read() as connection:
            return [dict(row._mapping) for row in connection.execute(asked)]

    def count(self, scope: str) -> int:
        """How many records hold what was sent to them."""
        asked = select(func.count()).where(sent.c.task == self._session.name, sent.c.scope == scope, sent.c.own)
        with self._session.read() as connection:
            return int(connection.execute(asked).scalar_one())

    def _of(self, scope: str | None, run: str | None) -> list[Any]:
        found = [kept.c.task == self._session.name]
        if scope is not None:
            found.append(kept.c.scope == scope)
        if run is not None:
            found.append(kept.c.run == run)
        return found


def _batches(rows: Result[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for part in rows.partitions():
        columns = list(zip(*part, strict=True))
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def note_sent(connection: Connection, name: str, scope: str, changes: pa.RecordBatch, *, guarded: bool) -> None:
    """Take over what was sent (as model/journal's `SENT`); `guarded`: only where `was` is what is known now."""
    rows = changes.to_pylist()
    if guarded:
        rows = _still(connection, name, scope, rows)
    _forget(connection, sent, name, scope, [row["k"] for row in rows])
    _add(connection, sent, [_sent_row(name, scope, row) for row in rows if row["hash"] is not None])


def _sent_row(name: str, scope: str, row: Mapping[str, Any]) -> dict[str, Any]:
    rest = {column: row[column] for column in ("k", "hash", "record")}
    return {"task": name, "scope": scope, **rest, "own": bool(row["own"])}


def _still(connection: Connection, name: str, scope: str, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows whose `was` is what is known."""
    found: list[Mapping[str, Any]] = []
    for start in range(0, len(rows), _IN_ONE):
        some = rows[start : start + _IN_ONE]
        asked = select(sent.c.k, sent.c.hash).where(
            sent.c.task == name, sent.c.scope == scope, sent.c.k.in_([row["k"] for row in some])
        )
        now = {row.k: row.hash for row in connection.execute(asked)}
        found += [row for row in some if now.get(row["k"]) == row["was"]]
    return found


def keep_aside(connection: Connection, name: str, scope: str, run: str, rows: pa.RecordBatch) -> None:
    """Keep rows (as model/journal's `REFUSED`) aside, in the place of what was kept of them before."""
    at, found = moment(connection), rows.to_pylist()
    forget_aside(connection, name, scope, rows.column("k").to_pylist())
    unique = {row["k"]: {**row, "task": name, "scope": scope, "run": run, "kept_at": at} for row in found}
    _add(connection, kept, list(unique.values()))


def forget_aside(connection: Connection, name: str, scope: str, ks: Iterable[str]) -> None:
    """Keep these rows aside no more."""
    _forget(connection, kept, name, scope, list(ks))


def _forget(connection: Connection, table: Any, name: str, scope: str, ks: Sequence[str]) -> None:
    of_task = (table.c.task == name, table.c.scope == scope)
    for start in range(0, len(ks), _IN_ONE):
        connection.execute(delete(table).where(*of_task, table.c.k.in_(ks[start : start + _IN_ONE])))


def _add(connection: Connection, table: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)
