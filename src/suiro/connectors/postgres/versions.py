"""Histories and key snapshots: what staged versions and keys do to a table, inside the publishing transaction."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pyarrow as pa

from suiro.connectors.postgres.dialect import DIALECT
from suiro.connectors.postgres.session import Session
from suiro.connectors.postgres.tables import Relation, columns_sql, quote, unique_keys
from suiro.model.change import OP, SEQ
from suiro.model.errors import SchemaConflict
from suiro.model.receipt import Entered
from suiro.model.selection import VALID_FROM, Deletes
from suiro.model.types import is_time
from suiro.spi.destination import Staged
from suiro.toolkit.sql import history
from suiro.toolkit.sql.absent import Absent
from suiro.toolkit.sql.history import History

_DECIDED = quote("_suiro_decided")
_NARROW = """
SELECT conname FROM pg_constraint c WHERE conrelid = %s AND contype IN ('p', 'u') AND NOT EXISTS (
    SELECT FROM unnest(conkey) k JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k
    WHERE a.attname <> ALL(%s))
"""


def version_key(key: Sequence[str]) -> tuple[str, ...]:
    """What identifies one version of a row in a history."""
    return (*key, VALID_FROM)


def add_versions(session: Session, staged: Staged, stage: Relation, target: Relation) -> Entered:
    """Let the staged versions into the history."""
    log = stage.column(OP) is not None
    statements = _history(staged, stage, target, log=log)
    session.execute(f"LOCK TABLE {target.sql} IN SHARE ROW EXCLUSIVE MODE".encode())
    session.execute(f"ANALYZE {stage.sql} ({columns_sql(staged.spec.key)})".encode())
    skipped = _number(session, statements.skipped()) if log and staged.spec.deletes is Deletes.SKIP else 0
    session.execute(statements.decide().encode())
    decisions = [(str(what), int(n)) for what, n in session.execute(statements.decisions().encode()).fetchall()]
    for act in statements.statements([what for what, _ in decisions]):
        session.execute(act.encode())
    session.execute(statements.forget().encode())
    return history.count(staged.rows, skipped, decisions)


def become_history(session: Session, staged: Staged, target: Relation, *, starts: bool, made: bool) -> None:
    """Make the table able to hold several versions of a row; `starts`: what it holds becomes the first versions.

    SchemaConflict where a constraint that isn't ours forbids it.
    """
    spec, name = staged.spec, staged.table.name
    try:
        for (constraint,) in session.execute(_NARROW, (target.oid, list(spec.key))).fetchall() if made else ():
            session.execute(f"ALTER TABLE {target.sql} DROP CONSTRAINT {quote(constraint)}".encode())
    except psycopg.errors.DependentObjectsStillExist as error:
        raise SchemaConflict(
            f"foreign keys of other tables point to {name}, so its key can't be given up for a history",
            hint="Load the history into another table.",
        ) from error
    if any(set(names) <= set(spec.key) for _, names in unique_keys(session, target.oid)):
        raise SchemaConflict(
            f"{name} can't hold two rows with one key, and a history keeps every version",
            hint="Load the history into another table, or drop the constraint.",
        )
    if not starts:
        return
    column = target.column(spec.order_by) if spec.order_by else None
    time = column.field() if column is not None else None
    statements = _history(staged, target, target, log=False)
    session.execute(statements.start(time if time is not None and is_time(time) else None).encode())
    if session.execute(statements.doubled().encode()).fetchone():
        raise SchemaConflict(
            f"{name} holds several rows with one key, and nothing tells which came first",
            hint="Name the cursor that tells their time, or load the history into another table.",
        )


def take_away(session: Session, staged: Staged, stage: Relation, target: Relation) -> Entered:
    """Delete, mark or end the rows whose key a key snapshot lacks; UserError if they are too many."""
    session.execute(f"ANALYZE {stage.sql}".encode())
    absent = Absent(dialect=DIALECT, target=target.sql, stage=stage.sql, schema=staged.table.schema, spec=staged.spec)
    row = session.execute(absent.present().encode()).fetchone()
    assert row is not None
    absent.check(staged.table.name, *row)
    removed = session.execute(absent.act().encode()).rowcount if row[1] else 0
    return Entered(unchanged=staged.rows, removed=removed)


def _history(staged: Staged, stage: Relation, target: Relation, *, log: bool) -> History:
    by = SEQ if log and stage.column(SEQ) else staged.spec.order_by
    return History(
        dialect=DIALECT,
        target=target.sql,
        stage=stage.sql,
        schema=pa.schema(list(staged.table.schema)),
        key=staged.spec.key,
        decided=_DECIDED,
        order=f"s.{quote(by)}" if by else None,
        deletes=staged.spec.deletes,
        log=log,
    )


def _number(session: Session, sql: str) -> int:
    row = session.execute(sql.encode()).fetchone()
    return int(row[0]) if row else 0
