"""What happens to staged rows inside the publishing transaction, mode by mode."""

from __future__ import annotations

from dataclasses import dataclass, field

import psycopg
import pyarrow as pa

from suiro.connectors.postgres.dialect import DIALECT, exactly
from suiro.connectors.postgres.session import Session
from suiro.connectors.postgres.stage import changes
from suiro.connectors.postgres.swap import reason_not_to, swap
from suiro.connectors.postgres.tables import (
    Relation,
    column_definitions,
    columns_sql,
    find_relation,
    has_unique_key,
    is_referenced,
    primary_key,
    quote,
)
from suiro.connectors.postgres.versions import add_versions, become_history, take_away, version_key
from suiro.model.change import OP, SEQ
from suiro.model.errors import ConfigError, DataError, SchemaConflict
from suiro.model.receipt import Entered
from suiro.model.selection import VALID_FROM, Deletes, Replace, WriteMode
from suiro.spi.destination import Staged
from suiro.toolkit.sql.merge import ARRIVAL, Merge, count


@dataclass(slots=True, kw_only=True)
class Entry:
    """One staged segment entering its table, in the transaction that `session` is in.

    `stage` is the staging table, `made` whether the target, where it exists, was made by Suiro.
    """

    session: Session
    staged: Staged
    stage: Relation
    home: tuple[str, str]  #: schema and name of the table
    made: bool
    counts: Entered = field(default_factory=Entered)
    notes: list[str] = field(default_factory=list)

    @property
    def schema(self) -> str:
        """The table's schema."""
        return self.home[0]

    @property
    def name(self) -> str:
        """The table's name, in its schema."""
        return self.home[1]

    def enter(self, *, replaces: bool) -> None:
        """Do it. `replaces`: this is the first segment of a replace."""
        target = find_relation(self.session, self.schema, self.name)
        if target is not None and target.kind not in "rp":
            raise ConfigError(
                f"{self.name} is no table: rows can't be loaded into it", hint="Choose another table name."
            )
        self._check_key()
        if self.staged.keys:
            self.counts = Entered(unchanged=self.staged.rows)
            if target is not None:
                self.counts = take_away(self.session, self.staged, self.stage, target)
        elif target is None:
            self._make()
        elif replaces:
            self._replace(target)
        else:
            if self.staged.truncates:
                self.counts.removed = self._count(target)
                self._empty(target)
            self._add(target)

    # -- a table that isn't there yet --------------------------------------------------------------------------------

    def _make(self) -> None:
        """The staging table itself becomes the table, unless it holds a log."""
        if self._logs or not self._logged() or self.staged.spec.mode is WriteMode.HISTORY:
            fields = column_definitions(list(self.staged.table.schema))
            self.session.execute(f"CREATE TABLE {quote(self.schema, self.name)} ({fields})".encode())
            made = self._target()
            if self.staged.spec.key:
                self._add_primary_key(made)
            self.made = True
            self._add(made)
            return
        stage, rows = self.stage, self.staged.rows
        if self.staged.spec.mode is WriteMode.MERGE:
            self.counts.superseded = self._drop_superseded()
            self.session.execute(f"ALTER TABLE {stage.sql} DROP COLUMN {quote(ARRIVAL)}".encode())
        if self.staged.spec.key:
            self._add_primary_key(stage)
        self.session.execute(f"ALTER TABLE {stage.sql} RENAME TO {quote(self.name)}".encode())
        if stage.schema != self.schema:
            moved = f"ALTER TABLE {quote(stage.schema, self.name)} SET SCHEMA {quote(self.schema)}"
            self.session.execute(moved.encode())
        self.counts.inserted = rows - self.counts.superseded

    def _drop_superseded(self) -> int:
        spec, sql = self.staged.spec, self.stage.sql
        keys = columns_sql(spec.key)
        order = f"{quote(spec.order_by)} DESC NULLS LAST, " if spec.order_by else ""
        doubled = f"SELECT EXISTS (SELECT FROM {sql} GROUP BY {keys} HAVING count(*) > 1)"
        found = self.session.execute(doubled.encode()).fetchone()
        if not (found and found[0]):
            return 0
        ranked = (
            f"SELECT ctid AS at, row_number() OVER (PARTITION BY {keys} ORDER BY {order}{ARRIVAL} DESC) AS n FROM {sql}"
        )
        done = self.session.execute(f"DELETE FROM {sql} s USING ({ranked}) r WHERE r.n > 1 AND s.ctid = r.at".encode())
        return done.rowcount

    def _add_primary_key(self, relation: Relation) -> None:
        try:
            self.session.execute(
                f"ALTER TABLE {relation.sql} ADD CONSTRAINT {quote(_key_name(self.name))} "
                f"PRIMARY KEY ({columns_sql(self._constraint)})".encode()
            )
        except psycopg.errors.UniqueViolation as error:
            raise self._doubled() from error

    @property
    def _constraint(self) -> tuple[str, ...]:
        key = self.staged.spec.key
        return version_key(key) if self.staged.spec.mode is WriteMode.HISTORY else key

    def _doubled(self) -> DataError:
        return DataError(
            f"rows with equal values in the key {', '.join(self.staged.spec.key)} can't all enter {self.name}",
            hint="Choose a key that identifies every row, or write with merge to keep the last of each.",
        )

    # -- replace -----------------------------------------------------------------------------------------------------

    def _replace(self, target: Relation) -> None:
        self.session.execute(f"LOCK TABLE {target.sql} IN ACCESS EXCLUSIVE MODE".encode())
        self.counts.removed = self._count(target)
        reason = "truncate was asked for"
        if self.staged.spec.replace is Replace.AUTO:
            reason = reason_not_to(self.session, target, self.made) or ""
            if not reason and any(self.stage.column(column.name) is None for column in target.columns):
                reason = "its columns changed while rows were staged"
        if not reason and self._logged() and self.stage.schema == target.schema:
            swap(self.session, target, self.stage.name)
            if self.staged.spec.key and not has_unique_key(self.session, self._target().oid, self.staged.spec.key):
                self._add_primary_key(self._target())
            self.counts.inserted = self.staged.rows
            return
        if reason:
            self.notes.append(f"{self.name} was emptied and filled in one transaction, because {reason}.")
        self._evolve(target)
        if is_referenced(self.session, target.oid):
            self._exchange(target)
        else:
            self._empty(target)
            self._insert(target)

    def _empty(self, target: Relation) -> None:
        """Take all rows away: by TRUNCATE where the user may, else by DELETE."""
        row = self.session.execute("SELECT has_table_privilege(%s, 'TRUNCATE')", (target.oid,)).fetchone()
        truncates = bool(row and row[0]) and not is_referenced(self.session, target.oid)
        self.session.execute(f"{'TRUNCATE' if truncates else 'DELETE FROM'} {target.sql}".encode())

    def _exchange(self, target: Relation) -> None:
        """Other tables' foreign keys point here: rows that stay are updated in place, the others deleted and added."""
        key = self.staged.spec.key or primary_key(self.session, target.oid)
        if not key or not has_unique_key(self.session, target.oid, key):
            raise SchemaConflict(
                f"foreign keys of other tables point to {self.name}, and it has no key to exchange its rows by",
                hint="Give it a primary key and name it as the key, or write with merge.",
            )
        names = self.staged.table.schema.names
        same = " AND ".join(f"t.{quote(k)} = s.{quote(k)}" for k in key)
        gone = f"DELETE FROM {target.sql} t WHERE NOT EXISTS (SELECT FROM {self.stage.sql} s WHERE {same})"
        self.session.execute(gone.encode())
        update, differs = _set_clause(self.staged.table.schema, key, "t", "excluded")
        try:
            self.session.execute(
                f"INSERT INTO {target.sql} AS t ({columns_sql(names)}) {_OVERRIDING}SELECT {columns_sql(names)} "
                f"FROM {self.stage.sql} ON CONFLICT ({columns_sql(key)}) {_conflict(update, differs)}".encode()
            )
        except psycopg.errors.CardinalityViolation as error:
            raise self._doubled() from error
        self.counts.inserted = self.staged.rows

    # -- append and merge --------------------------------------------------------------------------------------------

    def _add(self, target: Relation) -> None:
        self._evolve(target)
        match self.staged.spec.mode:
            case WriteMode.MERGE:
                self._merge(self._target())
            case WriteMode.HISTORY:
                self._add_versions(self._target(), starts=target.column(VALID_FROM) is None)
            case _:
                self._insert(target)

    def _add_versions(self, target: Relation, *, starts: bool) -> None:
        become_history(self.session, self.staged, target, starts=starts, made=self.made)
        if self.made and not has_unique_key(self.session, target.oid, self._constraint):
            self._add_primary_key(target)
        removed, self.counts = self.counts.removed, add_versions(self.session, self.staged, self.stage, target)
        self.counts.removed += removed

    def _insert(self, target: Relation) -> None:
        names, skip = self.staged.table.schema.names, self.staged.spec.skip_existing
        where = ""
        if skip:
            same = " AND ".join(f"t.{quote(n)} IS NOT DISTINCT FROM s.{quote(n)}" for n in skip)
            where = f" WHERE NOT EXISTS (SELECT FROM {target.sql} t WHERE {same})"
        done = self.session.execute(
            f"INSERT INTO {target.sql} ({columns_sql(names)}) {_OVERRIDING}"
            f"SELECT {columns_sql(names, 's.')} FROM {self.stage.sql} s{where}".encode()
        )
        self.counts.inserted = done.rowcount
        self.counts.superseded = self.staged.rows - done.rowcount

    def _merge(self, target: Relation) -> None:
        key = self.staged.spec.key
        self.session.execute(f"ANALYZE {self.stage.sql} ({columns_sql(key)})".encode())
        self.session.execute(f"SET LOCAL work_mem = '{_SORT_MEMORY}'".encode())
        unique = has_unique_key(self.session, target.oid, key)
        if not unique and self.made:
            self._add_primary_key(target)
            unique = True
        if unique and not self._logs:
            self._upsert(target)
            return
        if not unique:
            self.session.execute(f"LOCK TABLE {target.sql} IN SHARE ROW EXCLUSIVE MODE".encode())
        self._merge_by_decisions(target, unique=unique)

    def _upsert(self, target: Relation) -> None:
        schema, spec = self.staged.table.schema, self.staged.spec
        names, key = schema.names, columns_sql(spec.key)
        order = f"{quote(spec.order_by)} DESC NULLS LAST, " if spec.order_by else ""
        update, differs = _set_clause(schema, spec.key, "t", "excluded")
        row = self.session.execute(
            f"WITH s AS MATERIALIZED (SELECT DISTINCT ON ({key}) {columns_sql(names)} FROM {self.stage.sql} "
            f"ORDER BY {key}, {order}{ARRIVAL} DESC), "
            f"done AS (INSERT INTO {target.sql} AS t ({columns_sql(names)}) {_OVERRIDING}"
            f"SELECT {columns_sql(names)} FROM s ORDER BY {key} "
            f"ON CONFLICT ({key}) {_conflict(update, differs)} RETURNING (t.xmax = 0) AS fresh) "
            "SELECT (SELECT count(*) FROM s), count(*) FILTER (WHERE fresh), count(*) FILTER (WHERE NOT fresh) "
            "FROM done".encode()
        ).fetchone()
        assert row is not None
        distinct, inserted, updated = row
        self.counts.inserted, self.counts.updated = inserted, updated
        self.counts.unchanged = distinct - inserted - updated
        self.counts.superseded = self.staged.rows - distinct

    def _merge_by_decisions(self, target: Relation, *, unique: bool) -> None:
        spec = self.staged.spec
        by = SEQ if self._logs and self.stage.column(SEQ) else spec.order_by
        merge = Merge(
            dialect=DIALECT,
            target=target.sql,
            stage=self.stage.sql,
            schema=self.staged.table.schema,
            key=spec.key,
            decided=quote("_suiro_decided"),
            unique=unique,
            order=f"s.{quote(by)}" if by else None,
            deletes=spec.deletes,
            log=self._logs,
        )
        self.session.execute(merge.decide().encode())
        decided = [
            (str(what), int(n), there) for what, n, there in self.session.execute(merge.decisions().encode()).fetchall()
        ]
        skipped = 0
        if self._logs and spec.deletes is Deletes.SKIP:
            row = self.session.execute(merge.skipped().encode()).fetchone()
            skipped = int(row[0]) if row else 0
        others = [column.name for column in target.columns if column.name not in merge.schema.names]
        if others and any(what == "r" for what, _, _ in decided):
            raise SchemaConflict(
                f"{self.name} holds several rows with one key, and columns that the stream doesn't fill",
                hint="Make the key unique in the table, or load into another one.",
            )
        for act in merge.statements([what for what, _, _ in decided]):
            inserts = act.startswith("INSERT")
            self.session.execute((act.replace(" SELECT ", f" {_OVERRIDING}SELECT ", 1) if inserts else act).encode())
        self.session.execute(f"DROP TABLE {quote('_suiro_decided')}".encode())
        removed, self.counts = self.counts.removed, count(self.staged.rows, skipped, decided)
        self.counts.removed += removed

    # -- the rest ----------------------------------------------------------------------------------------------------

    @property
    def _logs(self) -> bool:
        return self.stage.column(OP) is not None

    def _target(self) -> Relation:
        target = find_relation(self.session, self.schema, self.name)
        assert target is not None
        return target

    def _evolve(self, target: Relation) -> None:
        for staged_field in self.staged.table.schema:
            column = target.column(staged_field.name)
            if column is not None and column.generated:
                raise SchemaConflict(
                    f"column {column.name} of {self.name} is generated by the database and can't be loaded",
                    hint="Leave the column out, or give it another name in the table.",
                )
        for statement in changes(target, list(self.staged.table.schema)):
            self.session.execute(statement.encode())

    def _check_key(self) -> None:
        for name in self.staged.spec.key:
            asked = f"SELECT EXISTS (SELECT FROM {self.stage.sql} WHERE {quote(name)} IS NULL)"
            row = self.session.execute(asked.encode()).fetchone()
            if row and row[0]:
                raise DataError(
                    f"rows have NULL in the key column {name}",
                    hint="A key must identify every row: choose other key columns, or filter those rows out.",
                )

    def _logged(self) -> bool:
        row = self.session.execute("SELECT relpersistence FROM pg_class WHERE oid = %s", (self.stage.oid,)).fetchone()
        return bool(row and row[0] == "p")

    def _count(self, relation: Relation) -> int:
        row = self.session.execute(f"SELECT count(*) FROM {relation.sql}".encode()).fetchone()
        return int(row[0]) if row else 0


_SORT_MEMORY = "64MB"  #: for sorting the staged rows by their key
_OVERRIDING = "OVERRIDING SYSTEM VALUE "


def _key_name(table: str) -> str:
    return table.encode()[:58].decode(errors="ignore") + "_pkey"


def _set_clause(schema: pa.Schema, key: tuple[str, ...], old: str, new: str) -> tuple[str, str]:
    others = [f for f in schema if f.name not in key]
    sets = ", ".join(f"{quote(f.name)} = {new}.{quote(f.name)}" for f in others)
    mine = ", ".join(exactly(f, f"{old}.{quote(f.name)}") for f in others)
    theirs = ", ".join(exactly(f, f"{new}.{quote(f.name)}") for f in others)
    return sets, f"({mine}) IS DISTINCT FROM ({theirs})"


def _conflict(sets: str, differs: str) -> str:
    return f"DO UPDATE SET {sets} WHERE {differs}" if sets else "DO NOTHING"
