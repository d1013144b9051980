"""Histories and key snapshots on a server: what staged versions and keys do to a table."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from suiro.connectors.mysql.ddl import Change, field_of
from suiro.connectors.mysql.dialect import DIALECT, exactly
from suiro.connectors.mysql.exact import run_exactly
from suiro.connectors.mysql.merge import hint
from suiro.connectors.mysql.session import Session
from suiro.connectors.mysql.stage import version_key
from suiro.connectors.mysql.standing import Standing, UniqueKey, columns_sql, folded, is_referenced, quote
from suiro.model.change import OP, SEQ
from suiro.model.errors import DataError, SchemaConflict
from suiro.model.receipt import Entered
from suiro.model.selection import VALID_FROM, Deletes
from suiro.model.types import is_time
from suiro.spi.destination import Staged
from suiro.toolkit.sql import history
from suiro.toolkit.sql.absent import Absent
from suiro.toolkit.sql.history import History


def given_up(session: Session, staged: Staged, target: Standing) -> list[UniqueKey]:
    """The unique keys that a table of ours loses when it becomes a history; SchemaConflict where it can't."""
    key, name = set(map(folded, staged.spec.key)), staged.table.name
    narrow = [unique for unique in target.uniques if set(map(folded, unique.columns)) <= key]
    if narrow and (target.mark is None or target.column(VALID_FROM) is not None):
        raise SchemaConflict(
            f"{name} can't hold two rows with one key, and a history keeps every version",
            hint="Load the history into another table, or drop the constraint.",
        )
    if narrow and is_referenced(session, target.parts):
        raise SchemaConflict(
            f"foreign keys of other tables point to {name}, so its key can't be given up for a history",
            hint="Load the history into another table.",
        )
    return narrow


def keyed_anew(target: Standing, key: Sequence[str], given: Sequence[UniqueKey]) -> list[Change]:
    """The clauses by which a table of ours that becomes a history gets a key that it can have."""
    if target.mark is None or not _indexable(target, key):
        return []
    drops = ["DROP PRIMARY KEY" if one.primary else f"DROP INDEX {quote(one.name)}" for one in given]
    adds = f"ADD UNIQUE KEY ({columns_sql(version_key(key))})"
    return [Change(clause=clause) for clause in (*drops, adds)]


def start(session: Session, staged: Staged, target: Standing) -> None:
    """Make what the table holds the first versions of its rows; SchemaConflict where they can't be put in order."""
    column = target.column(staged.spec.order_by) if staged.spec.order_by else None
    time = field_of(column) if column is not None else None
    statements = _history(staged, target, target, log=False)
    doubled = SchemaConflict(
        f"{staged.table.name} holds several rows with one key, and nothing tells which came first",
        hint="Name the cursor that tells their time, or load the history into another table.",
    )
    begin = statements.start(time if time is not None and is_time(time) else None)
    try:
        run_exactly(session, begin, doing=f"making {target.name} a history")
    except DataError as error:
        if "Duplicate entry" not in error.message:
            raise
        raise doubled from error
    if session.ask(_doubled(staged, target)):
        raise doubled


def _doubled(staged: Staged, target: Standing) -> str:
    """A row if two versions of one key begin at one moment, keys compared exactly, whatever the table's collations."""
    keys = [exactly(staged.table.schema.field(name), quote(name)) for name in staged.spec.key]
    by = ", ".join([*keys, quote(VALID_FROM)])
    return f"SELECT 1 FROM {target.sql} GROUP BY {by} HAVING COUNT(*) > 1 LIMIT 1"


def add_versions(session: Session, staged: Staged, stage: Standing, target: Standing) -> Entered:
    """Let the staged versions into the history."""
    log, doing = stage.column(OP) is not None, f"adding versions to {target.name}"
    statements = _history(staged, stage, target, log=log)
    skipped = 0
    if log and staged.spec.deletes is Deletes.SKIP:
        ((skipped,),) = session.ask(statements.skipped())
    session.run(statements.decide(), doing=f"{doing} by CREATE TEMPORARY TABLES")
    decisions = [(str(what), int(number)) for what, number in session.ask(statements.decisions())]
    for act in statements.statements([what for what, _ in decisions]):
        run_exactly(session, act, doing=doing)
    session.run(statements.forget())
    return history.count(staged.rows, int(skipped), decisions)


def take_away(session: Session, staged: Staged, stage: Standing, target: Standing) -> Entered:
    """Delete, mark or end the rows whose key a key snapshot lacks; UserError if they are too many."""
    absent = Absent(dialect=DIALECT, target=target.sql, stage=stage.sql, schema=staged.table.schema, spec=staged.spec)
    ((there, gone),) = session.ask(absent.present(), doing=f"comparing the keys of {target.name}")
    absent.check(staged.table.name, int(there), int(gone))
    removed = run_exactly(session, absent.act(), doing=f"taking rows of {target.name} away")[0] if gone else 0
    return Entered(unchanged=staged.rows, removed=removed)


def _indexable(target: Standing, key: Sequence[str]) -> bool:
    """Whether an index takes the key's columns whole, in their types."""
    columns = [column for name in key if (column := target.column(name)) is not None]
    return not any(word in column.declared for column in columns for word in ("blob", "text", "json"))


def _history(staged: Staged, stage: Standing, target: Standing, *, log: bool) -> History:
    by = SEQ if log and stage.column(SEQ) is not None else staged.spec.order_by
    return History(
        dialect=DIALECT,
        target=target.sql,
        stage=stage.sql,
        schema=pa.schema(list(staged.table.schema)),
        key=staged.spec.key,
        decided=quote(stage.parts[0], "_suiro_decided"),
        hint=hint(target, staged.spec.key),
        indexable=_indexable(target, staged.spec.key),
        order=f"s.{quote(by)}" if by else None,
        deletes=staged.spec.deletes,
        log=log,
    )
