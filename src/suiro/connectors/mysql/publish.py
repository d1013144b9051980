"""What happens to the staged rows of one table in a publish: built apart and renamed, or entered in a transaction.

A new table, and one that is replaced by a swap, is built under a name of Suiro's own and put in its place by one
RENAME TABLE. A table that stays is altered where it must be, and then filled in a transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from suiro.connectors.mysql.ddl import Change, Flavor, changes, need
from suiro.connectors.mysql.exact import run_exactly
from suiro.connectors.mysql.markers import Added
from suiro.connectors.mysql.merge import merge
from suiro.connectors.mysql.session import Session
from suiro.connectors.mysql.stage import BECOMES, make_table, mark_table, version_key
from suiro.connectors.mysql.standing import (
    Standing,
    UniqueKey,
    columns_sql,
    dependents,
    find,
    folded,
    is_referenced,
    quote,
    sees_triggers,
)
from suiro.connectors.mysql.versions import add_versions, given_up, keyed_anew, start, take_away
from suiro.model.change import OP
from suiro.model.errors import ConfigError, DataError, Fenced, SchemaConflict, SuiroError
from suiro.model.receipt import Entered
from suiro.model.selection import VALID_FROM, Replace, WriteMode
from suiro.spi.destination import Staged

_TRANSACTIONAL = frozenset({"innodb", "rocksdb", "tokudb", "ndbcluster"})


def reason_not_to(session: Session, table: Standing) -> str | None:
    """Why this table is emptied and filled rather than swapped, in words; None if nothing speaks against a swap."""
    if table.mark is None:
        return "Suiro didn't make it"
    if table.kind != "table":
        return "it keeps the history of its rows"
    found = dependents(session, table.parts)
    if found:
        return f"{found[0]} depends on it" if len(found) == 1 else f"{found[0]} and {len(found) - 1} more depend on it"
    if not sees_triggers(session, table.parts[0]):
        return "the user lacks the privilege TRIGGER, so triggers that a swap would lose can't be seen"
    return None


@dataclass(slots=True, kw_only=True)
class Segment:
    """One staged segment and its staging table."""

    staged: Staged
    stage: Standing


@dataclass(slots=True, kw_only=True)
class TableEntry:
    """All segments of one table. `home` is the database where a new table is built, `label` begins its name there."""

    session: Session
    flavor: Flavor
    parts: tuple[str, str]
    segments: Sequence[Segment]
    home: str
    label: str
    target: Standing | None = None
    built: tuple[str, str] | None = None
    counts: Entered = field(default_factory=Entered)
    notes: list[str] = field(default_factory=list)
    _alterations: list[Change] = field(default_factory=list)
    _given_up: list[UniqueKey] = field(default_factory=list)
    _starts: bool = False  #: the table becomes a history

    @property
    def first(self) -> Staged:
        """The first segment."""
        return self.segments[0].staged

    @property
    def _key(self) -> tuple[str, ...]:
        """The primary key of a table that is made."""
        spec = self.first.spec
        return version_key(spec.key) if spec.mode is WriteMode.HISTORY else spec.key

    @property
    def added(self) -> list[Added]:
        """The columns that the table gets, and the keys that it gives up for them."""
        names = tuple(change.adds for change in self._alterations if change.adds)
        return [Added(parts=self.parts, columns=names, keys=tuple(self._given_up))] if names else []

    def prepare(self, *, in_place: bool) -> None:
        """Look at the table and decide the way; what is built apart is built. Readers see no change.

        `in_place`: where the table is missing it is made empty instead, to be filled with those that stay.
        """
        self.target = find(self.session, self.parts)
        if self.target is None and in_place and not self.first.keys:
            make_table(self.session, self.parts, self.first.table, self._key, None)
            self.target = self._found(self.parts)
        if self.target is not None and "table" not in self.target.kind:
            raise ConfigError(
                f"{self.target.name} is a {self.target.kind}: rows can't be loaded into it",
                hint="Choose another table name.",
            )
        if self.target is None and self.first.keys:
            self.counts.unchanged += self.first.rows
            return
        if self.target is None or self._swaps(self.target):
            self._build()
            return
        if self.target.engine.lower() not in _TRANSACTIONAL:
            raise SchemaConflict(
                f"{self.target.name} is a table of {self.target.engine}, which has no transactions",
                hint="Convert it (ALTER TABLE ... ENGINE=InnoDB), or load into another table.",
            )
        if self.first.spec.mode is WriteMode.MERGE:
            self._alterations += self._keyed(self.target)
        if self.first.keys:
            return
        self._alterations += self._changes(self.target)
        if self.first.spec.mode is WriteMode.HISTORY:
            self._become_history(self.target)

    def alter(self) -> None:
        """Let the table hold what comes. Commits at once."""
        if self._alterations:
            clauses = ", ".join(change.clause for change in self._alterations)
            self.session.run(f"ALTER TABLE {quote(*self.parts)} {clauses}", doing=f"altering {self.parts[1]}")
            self.target = self._found(self.parts)

    def enter(self) -> None:
        """Enter the rows, in the transaction that the session is in."""
        if self.target is None:  # all that came is a key snapshot
            return
        if self._starts:
            start(self.session, self.first, self.target)
        for number, segment in enumerate(self.segments):
            if number == 0 and segment.staged.spec.mode is WriteMode.REPLACE:
                self._refill(segment)
            else:
                self._enter(segment, self.target)

    def mark(self, mark: str) -> None:
        """Have the table that was built say which publish it belongs to."""
        assert self.built is not None
        mark_table(self.session, self.built, "" if self.target is None else self.target.comment, mark)

    def renames(self, old: str) -> list[str]:
        """The parts of the RENAME TABLE that puts the table in its place, and the old one aside as `old`."""
        if self.built is None:
            return []
        aside = [] if self.target is None else [f"{self.target.sql} TO {quote(self.parts[0], old)}"]
        return [*aside, f"{quote(*self.built)} TO {quote(*self.parts)}"]

    # -- a table built apart -----------------------------------------------------------------------------------------

    def _swaps(self, target: Standing) -> bool:
        spec = self.first.spec
        if spec.mode is not WriteMode.REPLACE:
            return False
        reason = "truncate was asked for"
        if spec.replace is Replace.AUTO:
            reason = reason_not_to(self.session, target) or ""
            if reason and target.mark is not None:
                self.notes.append(f"{target.name} was emptied and filled, not made anew: {reason}.")
        return not reason

    def _build(self) -> None:
        first, target = self.segments[0], self.target
        if target is None:
            self._note_zones()
        else:
            self.counts.removed += self._count(target.parts)
        if first.stage.name.endswith(BECOMES) and first.stage.column(OP) is None and self._fits(first.stage):
            self.built = first.stage.parts
            self.counts.inserted += first.staged.rows
            rest = self.segments[1:]
        else:
            self.built = (self.home, f"{self.label}_b")
            make_table(self.session, self.built, first.staged.table, self._key, target)
            rest = self.segments
        for segment in rest:
            table = self._found(self.built)
            found = self._changes_for(segment, table)
            if found:
                self.session.run(f"ALTER TABLE {table.sql} {', '.join(change.clause for change in found)}")
                table = self._found(self.built)
            self._enter(segment, table)

    def _note_zones(self) -> None:
        found = [one.name for one in self.first.table.schema if pa.types.is_timestamp(one.type) and one.type.tz]
        if found:
            self.notes.append(f"{self.parts[1]} keeps {', '.join(found[:5])} as DATETIME(6) in UTC.")

    def _fits(self, stage: Standing) -> bool:
        """Whether the staging table was made like the table as it is now: nobody altered that meanwhile."""
        if self.target is None:
            return True
        theirs = {folded(column.name) for column in stage.columns}
        same = {key.columns for key in stage.uniques} == {key.columns for key in self.target.uniques}
        return same and all(folded(column.name) in theirs for column in self.target.columns)

    # -- a table that stays ------------------------------------------------------------------------------------------

    def _keyed(self, target: Standing) -> list[Change]:
        """A table of ours gets the key that it is merged by, where it can be had."""
        key = self.first.spec.key
        columns = [column for name in key if (column := target.column(name)) is not None]
        long = any(column.charset is not None or "blob" in column.declared for column in columns)
        if target.mark is None or target.uniques or len(columns) < len(key) or long:
            return []
        doubled = f"SELECT 1 FROM {target.sql} GROUP BY {columns_sql(key)} HAVING COUNT(*) > 1 LIMIT 1"
        empty = " OR ".join(f"{quote(name)} IS NULL" for name in key)
        if self.session.ask(doubled) or self.session.ask(f"SELECT 1 FROM {target.sql} WHERE {empty} LIMIT 1"):
            return []
        return [Change(clause=f"ADD PRIMARY KEY ({columns_sql(key)})")]

    def _become_history(self, target: Standing) -> None:
        """Have the table hold several versions of a row. What is added is announced, so that it can be taken back."""
        self._given_up = given_up(self.session, self.first, target)
        self._starts = target.column(VALID_FROM) is None
        if self._starts:
            self._alterations += keyed_anew(target, self.first.spec.key, self._given_up)

    def _changes(self, target: Standing) -> list[Change]:
        found: dict[str, Change] = {}
        for segment in self.segments:
            for change in self._changes_for(segment, target):
                found.setdefault(change.clause, change)
        added = [change.adds for change in found.values() if change.adds]
        if len(added) > len({folded(name) for name in added}):
            raise SchemaConflict(
                f"a column of {target.name} comes with several types in one load", hint="Run again in smaller loads."
            )
        return list(found.values())

    def _changes_for(self, segment: Segment, table: Standing) -> list[Change]:
        fields = list(segment.staged.table.schema)
        return changes(self.session, table, fields, self._longest(segment, table), self.flavor)

    def _longest(self, segment: Segment, table: Standing) -> dict[str, int]:
        """By column with a limit what decides whether it holds the values (see `ddl.need`), as the rows have it."""
        asked = {
            one.name: expression
            for one in segment.staged.table.schema
            if (column := table.column(one.name)) is not None and (expression := need(column, one)) is not None
        }
        if not asked:
            return {}
        ((*found,),) = self.session.ask(
            f"SELECT {', '.join(f'MAX({expression})' for expression in asked.values())} FROM {segment.stage.sql}"
        )
        return {name: int(value or 0) for name, value in zip(asked, found, strict=True)}

    def _refill(self, segment: Segment) -> None:
        """Take all rows away and enter the new ones; rows that other tables point to are changed in place."""
        assert self.target is not None
        self.counts.removed += self._count(self.parts)
        if is_referenced(self.session, self.parts):
            self._exchange(segment, self.target)
        else:
            self.session.run(f"DELETE FROM {self.target.sql}", doing=f"emptying {self.target.name}")
            self._insert(segment, self.target, skip=())

    def _exchange(self, segment: Segment, target: Standing) -> None:
        primary = next((key.columns for key in target.uniques if key.primary), ())
        key = segment.staged.spec.key or primary
        if not key or target.unique_key(key) is None:
            raise SchemaConflict(
                f"foreign keys of other tables point to {target.name}, and it has no key to exchange its rows by",
                hint="Give it a primary key and name it as the key, or write with merge.",
            )
        names = segment.staged.table.schema.names
        match = " AND ".join(f"t.{quote(name)} = s.{quote(name)}" for name in key)
        self.session.run(
            f"DELETE t FROM {target.sql} AS t LEFT JOIN {segment.stage.sql} AS s ON {match} "
            f"WHERE s.{quote(key[0])} IS NULL",
            doing=f"emptying {target.name}",
        )
        if self.session.ask(
            f"SELECT 1 FROM {segment.stage.sql} GROUP BY {columns_sql(key)} HAVING COUNT(*) > 1 LIMIT 1"
        ):
            raise self._doubled(segment.staged, key)
        sets = ", ".join(f"{quote(name)} = VALUES({quote(name)})" for name in names)
        run_exactly(
            self.session,
            f"INSERT INTO {target.sql} ({columns_sql(names)}) SELECT {columns_sql(names)} FROM {segment.stage.sql} "
            f"ON DUPLICATE KEY UPDATE {sets}",
            doing=f"filling {target.name}",
        )
        self.counts.inserted += segment.staged.rows

    # -- rows --------------------------------------------------------------------------------------------------------

    def _enter(self, segment: Segment, table: Standing) -> None:
        spec = segment.staged.spec
        if segment.staged.truncates:
            self.counts.removed += self._count(table.parts)
            self.session.run(f"DELETE FROM {table.sql}", doing=f"emptying {table.name}")
        if segment.staged.keys:
            self.counts.add(take_away(self.session, segment.staged, segment.stage, table))
        elif spec.mode is WriteMode.MERGE:
            self.counts.add(merge(self.session, segment.staged, segment.stage, table))
        elif spec.mode is WriteMode.HISTORY:
            self.counts.add(add_versions(self.session, segment.staged, segment.stage, table))
        else:
            self._insert(segment, table, skip=spec.skip_existing)

    def _insert(self, segment: Segment, table: Standing, *, skip: tuple[str, ...]) -> None:
        names, unknown = segment.staged.table.schema.names, ""
        if skip:  # a join can be made by hashing, a NOT EXISTS can't
            same = " AND ".join(f"t.{quote(name)} <=> s.{quote(name)}" for name in skip)
            known = f"SELECT 1 AS _suiro_known, {columns_sql(skip)} FROM {table.sql}"
            unknown = f" LEFT JOIN ({known}) AS t ON {same} WHERE t._suiro_known IS NULL"
        try:
            added, _ = run_exactly(
                self.session,
                f"INSERT INTO {table.sql} ({columns_sql(names)}) SELECT {columns_sql(names, 's.')} "
                f"FROM {segment.stage.sql} AS s{unknown}",
                doing=f"filling {self.parts[1]}",
            )
        except DataError as error:
            if segment.staged.spec.key and "Duplicate entry" in error.message:
                raise self._doubled(segment.staged, segment.staged.spec.key) from error
            raise
        self.counts.inserted += added
        self.counts.superseded += segment.staged.rows - added

    def _doubled(self, staged: Staged, key: Sequence[str]) -> SuiroError:
        return DataError(
            f"rows with equal values in the key {', '.join(key)} can't all enter {staged.table.name}",
            hint="Choose a key that identifies every row, or write with merge to keep the last of each.",
        )

    def _found(self, parts: tuple[str, str]) -> Standing:
        found = find(self.session, parts)
        if found is None:
            raise Fenced(f"{parts[1]} is gone: another run took over", hint="Run again.")
        return found

    def _count(self, parts: tuple[str, str]) -> int:
        ((rows,),) = self.session.ask(f"SELECT COUNT(*) FROM {quote(*parts)}")
        return int(rows)
