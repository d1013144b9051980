"""The statements by which staged rows enter a table, for SQL systems that stage in a table.

The stage table has the staged columns, `_suiro_seq` (the order of arrival, from 0) and, for log reads, `_op`. A merge
first decides for each staged row what becomes of it, in a temporary table; the statements after it follow that, so
that the counts are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from suiro.model.change import OP
from suiro.model.receipt import Entered
from suiro.model.selection import DELETED_AT, Deletes
from suiro.toolkit.sql.dialect import Dialect

ARRIVAL = "_suiro_seq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Rows of `stage` that enter `target`; both named in SQL. `schema`: the columns that are written."""

    dialect: Dialect
    target: str
    stage: str
    schema: pa.Schema

    def append(self, skip_existing: tuple[str, ...] = ()) -> str:
        """Add the rows; without those whose values in these columns the table holds already."""
        names = self.dialect.columns(self.schema.names)
        read = self.dialect.columns(self.schema.names, "s.")
        sql = f"INSERT INTO {self.target} ({names}) SELECT {read} FROM {self.stage} AS s"
        if skip_existing:
            same = " AND ".join(self._compared(name, self.dialect.same) for name in skip_existing)
            sql += f" WHERE NOT EXISTS (SELECT 1 FROM {self.target} AS t WHERE {same})"
        return sql + self._in_order()

    def _in_order(self) -> str:
        return f" ORDER BY s.{ARRIVAL}" if self.dialect.inserts_in_order else ""

    def _compared(self, name: str, operator: str) -> str:
        return f"{self._matched('t', name)} {operator} {self._matched('s', name)}"

    def _matched(self, alias: str, name: str) -> str:
        return self.dialect.as_key(self.schema.field(name), f"{alias}.{self.dialect.quote(name)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge(Entry):
    """One row for each key, the last: the greatest by `order` (NULL is least), then the last to arrive.

    `order` is an expression over the stage table aliased s. `unique`: the table can't hold two rows with one key.
    `log`: the stage has `_op`. `decided` names the temporary table of decisions, `kept` that of rows to rewrite.
    `others` are the table's columns that aren't staged: what they hold stays. `hint` is a condition on s and t that
    rows with one key meet anyway, in words that let an index of the table be used.
    """

    key: tuple[str, ...]
    decided: str
    unique: bool
    kept: str = ""
    others: tuple[str, ...] = ()
    hint: str = ""
    order: str | None = None
    deletes: Deletes = Deletes.SKIP
    log: bool = False

    def deciding(self, parts: int) -> list[str]:
        """`decide` as several statements, each for a part of the keys, since one for all would need much memory."""
        if parts == 1:
            return [self.decide()]
        head = f"INSERT INTO {self.decided} "
        made, *rest = [self.decide(part, parts) for part in range(parts)]
        return [made, *(head + sql.partition(" AS ")[2] for sql in rest)]

    def decide(self, part: int = 0, parts: int = 1) -> str:
        """Make the table of decisions: for each last row its arrival, what becomes of it, and how many the key has.

        i: inserted; u: updates the table's one row; w: as u, by a new row, since an UPDATE would not write it;
        r: takes the place of several; n: equals what is there; d: deletes.
        """

        def within(alias: str) -> list[str]:
            keys = ", ".join(self._matched(alias, name) for name in self.key)
            return [f"{self.dialect.hashed}({keys}) % {parts} = {part}"] if parts > 1 else []

        same = " AND ".join([f"({self._equal(name)})" for name in self._values()] or ["1 = 1"])
        unseen = " OR ".join(self._unseen(name) for name in self._values() if self._is_unseen(name))
        there = f"t.{self.dialect.quote(self.key[0])}"
        delete = f"WHEN s.{self.dialect.quote(OP)} = 'd' THEN 'd' " if self.log else ""
        if self.unique:
            rewrite = f"WHEN {unseen} THEN 'w' " if unseen else ""
            what = f"CASE {delete}WHEN {there} IS NULL THEN 'i' WHEN {same} THEN 'n' {rewrite}ELSE 'u' END"
            count, group = f"CASE WHEN {there} IS NULL THEN 0 ELSE 1 END", ""
        else:
            count = f"count({there})"
            rewrite = f"WHEN max(CASE WHEN {unseen} THEN 1 ELSE 0 END) = 1 THEN 'w' " if unseen else ""
            what = (
                f"CASE {delete}WHEN {count} = 0 THEN 'i' WHEN {count} > 1 THEN 'r' "
                f"WHEN min(CASE WHEN {same} THEN 1 ELSE 0 END) = 1 THEN 'n' {rewrite}ELSE 'u' END"
            )
            group = f" GROUP BY s.{ARRIVAL}" + (f", s.{self.dialect.quote(OP)}" if self.log else "")
        keyed = f" (PRIMARY KEY ({ARRIVAL}))" if self.dialect.joins_to_change else ""
        return (
            f"CREATE TEMPORARY TABLE {self.decided}{keyed} AS SELECT s.{ARRIVAL} AS {ARRIVAL}, {what} AS _suiro_what, "
            f"{count} AS _suiro_there FROM {self.stage} AS s JOIN ({self._last(within('s'))}) AS l "
            f"ON l.{ARRIVAL} = s.{ARRIVAL} LEFT JOIN {self.target} AS t "
            f"ON {' AND '.join([self._match(), *within('t')])}{group}"
        )

    def decisions(self) -> str:
        """What was decided, how many times, and of how many rows in the table."""
        return f"SELECT _suiro_what, count(*), sum(_suiro_there) FROM {self.decided} GROUP BY _suiro_what"

    def skipped(self) -> str:
        """How many staged deletes are passed over."""
        return f"SELECT count(*) FROM {self.stage} AS s WHERE s.{self.dialect.quote(OP)} = 'd'"

    def statements(self, decided: Iterable[str]) -> list[str]:
        """The statements that carry out these decisions, in order."""
        found = []
        if "w" in decided and self.others:
            found.append(self._keep())
        if "d" in decided and self.deletes is Deletes.SOFT:
            found.append(self._mark())
        if self._goes() & set(decided):
            found.append(self._delete())
        if "u" in decided:
            found.append(self._update())
        if {"i", "r", "w"} & set(decided):
            letters = "ir" if self.others else "irw"
            found.append(self._inserting(*letters))
        if "w" in decided and self.others:
            found += [self._restore(), f"DROP TABLE {self.kept}"]
        return found

    def forget(self) -> str:
        """Drop the table of decisions."""
        return f"DROP {'TEMPORARY ' if self.dialect.joins_to_change else ''}TABLE {self.decided}"

    def _match(self) -> str:
        """That a staged row s and a row t of the table have one key."""
        return " AND ".join([*(self._compared(name, "=") for name in self.key), *([self.hint] if self.hint else [])])

    def _goes(self) -> set[str]:
        return {"r", "w"} if self.deletes is Deletes.SOFT else {"d", "r", "w"}

    def _mark(self) -> str:
        """Write into rows that a log says were deleted when that was; the first time stays."""
        at = self.dialect.quote(DELETED_AT)
        chosen = f"SELECT {self.dialect.columns([*self.key, DELETED_AT], 's.')} {self._chosen('d')}"
        if self.dialect.joins_to_change:
            joined = f"{self.target} AS t JOIN ({chosen}) AS s ON {self._match()}"
            return f"UPDATE {joined} SET t.{at} = s.{at} WHERE t.{at} IS NULL"
        return (
            f"UPDATE {self.target} AS t SET {at} = s.{at} FROM ({chosen}) AS s WHERE {self._match()} AND t.{at} IS NULL"
        )

    def _delete(self) -> str:
        if self.dialect.joins_to_change:
            chosen = f"SELECT {self.dialect.columns(self.key, 's.')} {self._chosen(*sorted(self._goes()))}"
            return f"DELETE t FROM {self.target} AS t JOIN ({chosen}) AS s ON {self._match()}"
        matched = [self.dialect.as_key(self.schema.field(name), self.dialect.quote(name)) for name in self.key]
        found = ", ".join(self._matched("s", name) for name in self.key)
        keys = matched[0] if len(matched) == 1 else f"({', '.join(matched)})"
        return f"DELETE FROM {self.target} WHERE {keys} IN (SELECT {found} {self._chosen(*sorted(self._goes()))})"

    def _update(self) -> str:
        quote = self.dialect.quote
        chosen = f"SELECT {self.dialect.columns(self.schema.names, 's.')} {self._chosen('u')}"
        if self.dialect.joins_to_change:
            sets = ", ".join(f"t.{quote(name)} = s.{quote(name)}" for name in self._values())
            return f"UPDATE {self.target} AS t JOIN ({chosen}) AS s ON {self._match()} SET {sets}"
        sets = ", ".join(f"{quote(name)} = s.{quote(name)}" for name in self._values())
        return f"UPDATE {self.target} AS t SET {sets} FROM ({chosen}) AS s WHERE {self._match()}"

    def _keep(self) -> str:
        """Complete rows, staged columns and others, of what an UPDATE would not write."""
        read = f"{self.dialect.columns(self.schema.names, 's.')}, {self.dialect.columns(self.others, 't.')}"
        chosen = f"SELECT {self.dialect.columns(self.schema.names, 's.')} {self._chosen('w')}"
        joined = f"FROM ({chosen}) AS s JOIN {self.target} AS t ON {self._match()}"
        return f"CREATE TEMPORARY TABLE {self.kept} AS SELECT {read} {joined}"

    def _restore(self) -> str:
        columns = self.dialect.columns([*self.schema.names, *self.others])
        return f"INSERT INTO {self.target} ({columns}) SELECT {columns} FROM {self.kept}"

    def upsert(self) -> str:
        """Update and insert in one statement, where a constraint makes exactly the key unique."""
        quote = self.dialect.quote
        sets = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in self._values())
        act = f"DO UPDATE SET {sets}" if sets else "DO NOTHING"
        conflict = f"ON CONFLICT ({self.dialect.columns(self.key)}) {act}"
        return f"{self._inserting('i', 'u', 'w')} {conflict}"

    def _values(self) -> list[str]:
        return [name for name in self.schema.names if name not in self.key]

    def _is_unseen(self, name: str) -> bool:
        return self.dialect.keeps_equal(self.schema.field(name))

    def _unseen(self, name: str) -> str:
        """Whether a value is new, and yet compares equal to the old one."""
        quoted = self.dialect.quote(name)
        return f"(t.{quoted} = s.{quoted} AND NOT ({self._equal(name)}))"

    def _equal(self, name: str) -> str:
        field, quoted = self.schema.field(name), self.dialect.quote(name)
        mine, theirs = self.dialect.exactly(field, f"t.{quoted}"), self.dialect.exactly(field, f"s.{quoted}")
        return f"{mine} {self.dialect.same} {theirs}"

    def _last(self, conditions: list[str]) -> str:
        keys = ", ".join(self._matched("s", name) for name in self.key)
        order = f"CASE WHEN {self.order} IS NULL THEN 1 ELSE 0 END, {self.order} DESC, " if self.order else ""
        if self.log and self.deletes is Deletes.SKIP:
            conditions = [*conditions, f"s.{self.dialect.quote(OP)} <> 'd'"]
        skip = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return (
            f"SELECT {ARRIVAL} FROM (SELECT s.{ARRIVAL} AS {ARRIVAL}, row_number() OVER (PARTITION BY {keys} "
            f"ORDER BY {order}s.{ARRIVAL} DESC) AS _suiro_rank FROM {self.stage} AS s{skip}) AS r WHERE _suiro_rank = 1"
        )

    def _chosen(self, *what: str) -> str:
        listed = ", ".join(f"'{letter}'" for letter in what)
        return (
            f"FROM {self.stage} AS s JOIN {self.decided} AS d ON d.{ARRIVAL} = s.{ARRIVAL} "
            f"WHERE d._suiro_what IN ({listed})"
        )

    def _inserting(self, *what: str) -> str:
        columns, read = self.dialect.columns(self.schema.names), self.dialect.columns(self.schema.names, "s.")
        return f"INSERT INTO {self.target} ({columns}) SELECT {read} {self._chosen(*what)}{self._in_order()}"


def count(staged: int, skipped: int, decisions: Iterable[tuple[str, int, int | None]]) -> Entered:
    """The account of a merge: `staged` rows in all, of which `skipped` are deletes passed over."""
    counts = Entered(unchanged=skipped)
    decided = 0
    for what, number, there in decisions:
        decided += number
        match what:
            case "i":
                counts.inserted += number
            case "u" | "w":
                counts.updated += number
            case "r":
                counts.updated += number
                counts.removed += int(there or 0) - number
            case "n":
                counts.unchanged += number
            case _:
                counts.deleted += number
                counts.removed += int(there or 0)
    counts.superseded = staged - skipped - decided
    return counts
