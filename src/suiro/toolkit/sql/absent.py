"""The statements by which a key snapshot takes away rows that the source no longer has."""

from __future__ import annotations

from dataclasses import dataclass

from suiro.model.errors import UserError
from suiro.model.selection import CURRENT, DELETED_AT, VALID_TO, Deletes, WriteMode, WriteSpec
from suiro.toolkit.sql.merge import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent(Entry):
    """Rows of `target` whose key isn't in `stage`; `schema`: the key's columns."""

    spec: WriteSpec

    def index(self, name: str) -> str:
        """An index of the stage, where the system doesn't find a way of its own to look for absent keys."""
        return f"CREATE INDEX {name} ON {self.stage} ({self.dialect.columns(self.spec.key)})"

    def present(self) -> str:
        """How many rows the table shows as there, and how many of these the snapshot lacks."""
        live = self._live()
        gone = f"SELECT count(*) FROM {self.target} WHERE {live} AND {self._lacks()}"
        return f"SELECT (SELECT count(*) FROM {self.target} WHERE {live}), ({gone})"

    def check(self, name: str, there: int, gone: int) -> None:
        """UserError if that is a greater share than the user allows."""
        if there and gone / there > self.spec.most_deleted:
            raise UserError(
                f"the source lacks {gone:,} of the {there:,} rows of {name} ({gone / there:.0%}), more than the "
                f"{self.spec.most_deleted:.0%} that one run may delete; nothing was deleted",
                hint="Look whether the source is whole. If the rows are really gone, allow a greater share once.",
            )

    def act(self) -> str:
        """Delete, mark or end them."""
        quote, where = self.dialect.quote, f"WHERE {self._live()} AND {self._lacks()}"
        assert self.spec.moment is not None, "a key snapshot has its moment"
        moment = self.dialect.moment(self.spec.moment.isoformat(sep=" ", timespec="microseconds"))
        if self.spec.mode is WriteMode.HISTORY:
            return f"UPDATE {self.target} SET {quote(VALID_TO)} = {moment}, {quote(CURRENT)} = (1 = 0) {where}"
        if self.spec.deletes is Deletes.SOFT:
            return f"UPDATE {self.target} SET {quote(DELETED_AT)} = {moment} {where}"
        return f"DELETE FROM {self.target} {where}"

    def _live(self) -> str:
        if self.spec.mode is WriteMode.HISTORY:
            return self.dialect.quote(CURRENT)
        return f"{self.dialect.quote(DELETED_AT)} IS NULL" if self.spec.deletes is Deletes.SOFT else "1 = 1"

    def _lacks(self) -> str:
        same = " AND ".join(f"{self._matched('k', name)} = {self._outer(name)}" for name in self.spec.key)
        return f"NOT EXISTS (SELECT 1 FROM {self.stage} AS k WHERE {same})"

    def _outer(self, name: str) -> str:
        return self.dialect.as_key(self.schema.field(name), f"{self.target}.{self.dialect.quote(name)}")
