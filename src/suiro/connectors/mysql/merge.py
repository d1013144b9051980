"""A merge into a table of a server: how its SQL compares and joins, and the way that a merge takes there."""

from __future__ import annotations

import re

from suiro.connectors.mysql.dialect import DIALECT
from suiro.connectors.mysql.exact import run_exactly
from suiro.connectors.mysql.session import Session
from suiro.connectors.mysql.standing import Standing, columns_sql, folded, quote
from suiro.model.change import OP, SEQ
from suiro.model.errors import SchemaConflict
from suiro.model.receipt import Entered
from suiro.model.selection import Deletes
from suiro.spi.destination import Staged
from suiro.toolkit.sql.merge import ARRIVAL, Merge, count

_EXACT = ("_nopad_bin", "_0900_bin", "binary")  #: ends of collations in which nothing but itself is equal


def merge(session: Session, staged: Staged, stage: Standing, target: Standing) -> Entered:
    """Merge staged rows into a table that has their columns; what became of them."""
    logs = stage.column(OP) is not None
    if not logs and _is_simple(target, staged.spec.key):
        return _upsert(session, staged, stage, target)
    return _decide(session, staged, stage, target, logs=logs)


def _is_simple(target: Standing, key: tuple[str, ...]) -> bool:
    """Whether a row with a known key can clash with nothing else: the key is unique, exactly compared, and alone."""
    found = target.unique_key(key)
    return found is not None and len(target.uniques) == 1 and not target.others_unique and _is_exact(target, key)


def _is_exact(target: Standing, key: tuple[str, ...]) -> bool:
    columns = [column for name in key if (column := target.column(name)) is not None]
    return all(column.collation is None or column.collation.endswith(_EXACT) for column in columns)


def _upsert(session: Session, staged: Staged, stage: Standing, target: Standing) -> Entered:
    key, names = staged.spec.key, staged.table.schema.names
    superseded = _drop_superseded(session, staged, stage)
    others = [name for name in names if folded(name) not in {folded(k) for k in key}]
    same = f"{target.sql}.{quote(key[0])}"  # the staging table has a column of that name, too
    sets = ", ".join(f"{quote(n)} = VALUES({quote(n)})" for n in others) or f"{same} = {same}"
    changed, said = run_exactly(
        session,
        f"INSERT INTO {target.sql} ({columns_sql(names)}) SELECT {columns_sql(names)} FROM {stage.sql} "
        f"ORDER BY {columns_sql(key)} ON DUPLICATE KEY UPDATE {sets}",
        doing=f"merging into {target.name}",
    )
    rows, updated = _records(said)
    inserted = changed - 2 * updated
    return Entered(inserted=inserted, updated=updated, unchanged=rows - inserted - updated, superseded=superseded)


def _records(said: bytes) -> tuple[int, int]:
    """Of the INSERT just done: how many rows it had, and how many of them changed another row."""
    found = re.search(rb"Records: (\d+)  Duplicates: (\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)  # of no row the server says nothing


def _drop_superseded(session: Session, staged: Staged, stage: Standing) -> int:
    """Leave one staged row for each key, the last."""
    key = columns_sql(staged.spec.key)
    if not session.ask(f"SELECT 1 FROM {stage.sql} GROUP BY {key} HAVING COUNT(*) > 1 LIMIT 1"):
        return 0
    order, by = "", staged.spec.order_by
    if by:
        order = f"CASE WHEN {quote(by)} IS NULL THEN 1 ELSE 0 END, {quote(by)} DESC, "
    ranked = (
        f"SELECT {key}, {ARRIVAL}, ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {order}{ARRIVAL} DESC) "
        f"AS _suiro_rank FROM {stage.sql}"
    )
    same = " AND ".join(f"s.{quote(name)} = r.{quote(name)}" for name in (*staged.spec.key, ARRIVAL))
    return session.run(f"DELETE s FROM {stage.sql} AS s JOIN ({ranked}) AS r ON {same} WHERE r._suiro_rank > 1")


def _decide(session: Session, staged: Staged, stage: Standing, target: Standing, *, logs: bool) -> Entered:
    spec, names = staged.spec, {folded(name) for name in staged.table.schema.names}
    by = SEQ if logs and stage.column(SEQ) is not None else spec.order_by
    unique = target.unique_key(spec.key) is not None and _is_exact(target, spec.key)
    merging = Merge(
        dialect=DIALECT,
        target=target.sql,
        stage=stage.sql,
        schema=staged.table.schema,
        key=spec.key,
        decided=quote(stage.parts[0], "_suiro_decided"),
        unique=unique,
        hint=hint(target, spec.key),
        order=f"s.{quote(by)}" if by else None,
        deletes=spec.deletes,
        log=logs,
    )
    session.run(merging.decide(), doing=f"merging into {target.name} by CREATE TEMPORARY TABLES")
    decided = [
        (str(what), int(n), None if there is None else int(there))
        for what, n, there in session.ask(merging.decisions())
    ]
    skipped = int(session.ask(merging.skipped())[0][0]) if logs and spec.deletes is Deletes.SKIP else 0
    left = [column.name for column in target.columns if folded(column.name) not in names and not column.generated]
    if left and any(what == "r" for what, _, _ in decided):
        raise SchemaConflict(
            f"{target.name} holds several rows with one key, and columns that the stream doesn't fill",
            hint="Make the key unique in the table, or load into another one.",
        )
    for act in merging.statements([what for what, _, _ in decided]):
        run_exactly(session, act, doing=f"merging into {target.name}")
    session.run(merging.forget())
    return count(staged.rows, skipped, decided)


def hint(target: Standing, key: tuple[str, ...]) -> str:
    """Keys compared once more as the table's own collations do, so that its indexes are used."""
    found = []
    for name in key:
        column = target.column(name)
        if column is not None and column.collation is not None and not column.collation.endswith(_EXACT):
            mine = (
                f"s.{quote(name)}"
                if column.charset == "utf8mb4"
                else f"CONVERT(s.{quote(name)} USING {column.charset})"
            )
            found.append(f"t.{quote(name)} = {mine} COLLATE {column.collation}")
    return " AND ".join(found)
