"""The statements by which staged versions enter a history: a table that keeps every version of a row.

All that is known of the keys that were staged is laid out in time: the table's versions, the ends of those that ended,
the staged versions and deletes. What begins latest at one moment wins there; a staged version that only repeats the
one before it is left out; and every version lasts until the next thing known of its key. So versions may come late,
several in one load, and after a delete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from suiro.model.change import OP
from suiro.model.receipt import Entered
from suiro.model.selection import CURRENT, VALID_FROM, VALID_TO, Deletes
from suiro.toolkit.sql.merge import ARRIVAL, Entry

BEGINNING = "0001-01-01 00:00:00+00:00"  #: when rows began that were there before the table became a history
_WHAT, _AT, _UNTIL, _TWIN = "_suiro_what", "_suiro_at", "_suiro_until", "_suiro_twin"


@dataclass(frozen=True, slots=True, kw_only=True)
class History(Entry):
    """Versions of rows, by key and the moment they begin (`VALID_FROM`, staged as a column).

    `schema`: the staged columns. `order` is an expression over the stage table aliased s that decides between staged
    versions of one moment, as in `Merge`. `decided` names the temporary table of decisions.
    """

    key: tuple[str, ...]
    decided: str
    order: str | None = None
    deletes: Deletes = Deletes.SKIP
    log: bool = False
    hint: str = ""  #: as in `Merge`
    indexable: bool = True  #: the key's columns can be indexed as they are, in the table and in the stage

    def decide(self) -> str:
        """Make the table of decisions: for each moment of each staged key what is so then, and until when.

        i: a new version; u: other values for a version of the table; k: equals one; n: repeats the one before it;
        d: a staged delete; e: a version of the table; g: the end of one.
        """
        lasts = (
            f"LEAD({_AT}) OVER (PARTITION BY {self._part()}, CASE WHEN {_WHAT} = 'n' THEN 1 ELSE 0 END ORDER BY {_AT})"
        )
        names, indexes = ", ".join(self._names()), ""
        if self.dialect.joins_to_change:
            keyed = f", INDEX ({names}, {_AT})" if self.indexable else ""
            indexes = f" (INDEX ({ARRIVAL}){keyed})"
        until = f"CASE WHEN {_WHAT} = 'd' THEN {_AT} WHEN {_WHAT} <> 'n' THEN {lasts} END"
        return (
            f"CREATE TEMPORARY TABLE {self.decided}{indexes} AS WITH known AS ({self._known()}), "
            f"ranked AS ({self._ranked()}), seen AS ({self._seen()}), judged AS ({self._judged()}) "
            f"SELECT {names}, {_AT}, {ARRIVAL}, {_TWIN}, {_WHAT}, {until} AS {_UNTIL} FROM judged"
        )

    def decisions(self) -> str:
        """What was decided, and how many times."""
        return f"SELECT {_WHAT}, count(*) FROM {self.decided} GROUP BY {_WHAT}"

    def skipped(self) -> str:
        """How many staged deletes are passed over."""
        return f"SELECT count(*) FROM {self.stage} AS s WHERE s.{self.dialect.quote(OP)} = 'd'"

    def statements(self, decided: Iterable[str]) -> list[str]:
        """The statements that carry out these decisions, in order."""
        found = [self._end()]
        if "u" in decided:
            found.append(self._correct())
        if "i" in decided:
            found.append(self._insert())
        return found

    def forget(self) -> str:
        """Drop the table of decisions."""
        return f"DROP {'TEMPORARY ' if self.dialect.joins_to_change else ''}TABLE {self.decided}"

    def start(self, time: pa.Field | None) -> str:
        """Make versions of the rows that were there before the table had the columns of a history.

        `time`: the column of the table that tells when a row began to hold, where there is one.
        """
        quote, beginning = self.dialect.quote, self.dialect.moment(BEGINNING)
        began = f"COALESCE({self.dialect.instant(time, quote(time.name))}, {beginning})" if time else beginning
        return f"UPDATE {self.target} SET {quote(VALID_FROM)} = {began}, {quote(CURRENT)} = (1 = 1)"

    def doubled(self) -> str:
        """A row if two versions of one key begin at one moment: what `start` can't put in order."""
        keys = self.dialect.columns([*self.key, VALID_FROM])
        return f"SELECT 1 FROM {self.target} GROUP BY {keys} HAVING count(*) > 1 LIMIT 1"

    # -- what is known, in time --------------------------------------------------------------------------------------

    def _known(self) -> str:
        """Every staged version and delete, and every version and end in the table of the keys that are staged."""
        at, skip = f"s.{self.dialect.quote(VALID_FROM)}", ""
        there = "1"
        if self.log:
            there = f"CASE WHEN s.{self.dialect.quote(OP)} = 'd' THEN 0 ELSE 1 END"
            skip = f" WHERE s.{self.dialect.quote(OP)} <> 'd'" if self.deletes is Deletes.SKIP else ""
        keys = ", ".join(f"s.{self.dialect.quote(k)} AS {n}" for k, n in zip(self.key, self._names(), strict=True))
        order = f", {self.order} AS _suiro_order" if self.order else ""
        staged = (
            f"SELECT {keys}, {at} AS {_AT}, 1 AS _suiro_staged, {there} AS _suiro_there, "
            f"s.{ARRIVAL} AS {ARRIVAL}{order} FROM {self.stage} AS s{skip}"
        )
        return " UNION ALL ".join([staged, self._standing(VALID_FROM, 1), self._standing(VALID_TO, 0)])

    def _standing(self, column: str, there: int) -> str:
        quote = self.dialect.quote
        keys = ", ".join(f"t.{quote(k)} AS {n}" for k, n in zip(self.key, self._names(), strict=True))
        distinct = f"SELECT DISTINCT {self.dialect.columns(self.key)} FROM {self.stage}"
        order = ", NULL AS _suiro_order" if self.order else ""
        ended = "" if there else f" WHERE t.{quote(column)} IS NOT NULL"
        return (
            f"SELECT {keys}, t.{quote(column)} AS {_AT}, 0 AS _suiro_staged, {there} AS _suiro_there, NULL AS {ARRIVAL}"
            f"{order} FROM {self.target} AS t JOIN ({distinct}) AS s ON {self._match()}{ended}"
        )

    def _ranked(self) -> str:
        """What is known of one moment, ranked: staged before standing, the last to come first, a row before an end."""
        by = "CASE WHEN _suiro_order IS NULL THEN 1 ELSE 0 END, _suiro_order DESC, " if self.order else ""
        over = f"PARTITION BY {self._part()}, {_AT}"
        rank = f"row_number() OVER ({over} ORDER BY _suiro_staged DESC, {by}{ARRIVAL} DESC, _suiro_there DESC)"
        twin = f"max(CASE WHEN _suiro_staged = 0 AND _suiro_there = 1 THEN 1 ELSE 0 END) OVER ({over})"
        return f"SELECT k.*, {rank} AS _suiro_rank, {twin} AS {_TWIN} FROM known AS k"

    def _seen(self) -> str:
        """The first of each rank, with what comes before it in time."""
        over = f"OVER (PARTITION BY {self._part()} ORDER BY {_AT})"
        before = ("_suiro_staged", "_suiro_there", ARRIVAL, _AT)
        lags = ", ".join(f"LAG({name}) {over} AS {name}_before" for name in before)
        return f"SELECT r.*, {lags} FROM ranked AS r WHERE _suiro_rank = 1"

    def _judged(self) -> str:
        staged, standing = self._same("p"), self._same("t")
        what = (
            "CASE WHEN v._suiro_staged = 0 THEN CASE WHEN v._suiro_there = 1 THEN 'e' ELSE 'g' END "
            f"WHEN v._suiro_there = 0 THEN 'd' WHEN v.{_TWIN} = 1 THEN CASE WHEN {standing} THEN 'k' ELSE 'u' END "
            f"WHEN v._suiro_there_before = 1 AND v._suiro_staged_before = 1 AND {staged} THEN 'n' "
            f"WHEN v._suiro_there_before = 1 AND v._suiro_staged_before = 0 AND {standing} THEN 'n' ELSE 'i' END"
        )
        moment = f"CASE WHEN v.{_TWIN} = 1 THEN v.{_AT} ELSE v.{_AT}_before END"
        return (
            f"SELECT {', '.join(f'v.{n} AS {n}' for n in self._names())}, v.{_AT} AS {_AT}, v.{ARRIVAL} AS {ARRIVAL}, "
            f"v.{_TWIN} AS {_TWIN}, {what} AS {_WHAT} FROM seen AS v "
            f"LEFT JOIN {self.stage} AS s ON s.{ARRIVAL} = v.{ARRIVAL} "
            f"LEFT JOIN {self.stage} AS p ON p.{ARRIVAL} = v.{ARRIVAL}_before "
            f"LEFT JOIN {self.target} AS t ON v._suiro_staged = 1 AND {self._match()} "
            f"AND t.{self.dialect.quote(VALID_FROM)} = {moment}"
        )

    # -- what is done ------------------------------------------------------------------------------------------------

    def _end(self) -> str:
        """Let each version of the table last as long as is known now."""
        quote, ends = self.dialect.quote, "'e', 'k', 'u'"
        keys = ", ".join(f"d.{n} AS {quote(k)}" for k, n in zip(self.key, self._names(), strict=True))
        chosen = (
            f"SELECT {keys}, d.{_AT} AS {_AT}, d.{_UNTIL} AS {_UNTIL} FROM {self.decided} AS d "
            f"WHERE d.{_WHAT} IN ({ends}) OR (d.{_WHAT} = 'd' AND d.{_TWIN} = 1)"
        )
        differs = f"NOT (t.{quote(VALID_TO)} {self.dialect.same} s.{_UNTIL})"
        where = f"{self._match()} AND t.{quote(VALID_FROM)} = s.{_AT}"
        return self._change({VALID_TO: f"s.{_UNTIL}", CURRENT: f"(s.{_UNTIL} IS NULL)"}, chosen, where, differs)

    def _correct(self) -> str:
        quote = self.dialect.quote
        where = f"{self._match()} AND t.{quote(VALID_FROM)} = s.{quote(VALID_FROM)}"
        chosen = f"SELECT {self.dialect.columns(self.schema.names, 's.')} {self._chosen('u')}"
        return self._change({name: f"s.{quote(name)}" for name in self._values()}, chosen, where, "1 = 1")

    def _change(self, sets: dict[str, str], chosen: str, where: str, differs: str) -> str:
        quote = self.dialect.quote
        if self.dialect.joins_to_change:
            listed = ", ".join(f"t.{quote(name)} = {value}" for name, value in sets.items())
            return f"UPDATE {self.target} AS t JOIN ({chosen}) AS s ON {where} SET {listed} WHERE {differs}"
        listed = ", ".join(f"{quote(name)} = {value}" for name, value in sets.items())
        return f"UPDATE {self.target} AS t SET {listed} FROM ({chosen}) AS s WHERE {where} AND {differs}"

    def _insert(self) -> str:
        names = [name for name in self.schema.names if name not in (VALID_TO, CURRENT)]
        columns = self.dialect.columns([*names, VALID_TO, CURRENT])
        read = f"{self.dialect.columns(names, 's.')}, d.{_UNTIL}, (d.{_UNTIL} IS NULL)"
        return f"INSERT INTO {self.target} ({columns}) SELECT {read} {self._chosen('i')}"

    def _chosen(self, what: str) -> str:
        return (
            f"FROM {self.stage} AS s JOIN {self.decided} AS d ON d.{ARRIVAL} = s.{ARRIVAL} WHERE d.{_WHAT} = '{what}'"
        )

    # -- words -------------------------------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        """The key's columns in the table of decisions."""
        return [f"_suiro_k{number}" for number in range(len(self.key))]

    def _part(self) -> str:
        named = zip(self.key, self._names(), strict=True)
        return ", ".join(self.dialect.as_key(self.schema.field(k), n) for k, n in named)

    def _match(self) -> str:
        return " AND ".join([*(self._compared(name, "=") for name in self.key), *([self.hint] if self.hint else [])])

    def _values(self) -> list[str]:
        return [n for n in self.schema.names if n not in (*self.key, VALID_FROM, VALID_TO, CURRENT)]

    def _same(self, alias: str) -> str:
        compared = []
        for name in self._values():
            field, quoted = self.schema.field(name), self.dialect.quote(name)
            mine, theirs = self.dialect.exactly(field, f"{alias}.{quoted}"), self.dialect.exactly(field, f"s.{quoted}")
            compared.append(f"({mine} {self.dialect.same} {theirs})")
        return f"({' AND '.join(compared or ['1 = 1'])})"


def count(staged: int, skipped: int, decisions: Iterable[tuple[str, int]]) -> Entered:
    """The account of a load into a history: `staged` rows in all, of which `skipped` are deletes passed over."""
    counts = Entered(unchanged=skipped)
    decided = 0
    for what, number in decisions:
        if what in "eg":
            continue
        decided += number
        match what:
            case "i":
                counts.inserted += number
            case "u":
                counts.updated += number
            case "d":
                counts.deleted += number
            case _:
                counts.unchanged += number
    counts.superseded = staged - skipped - decided
    return counts
