"""Tests of histories, soft deletes and key snapshots: what a table holds after rows changed, came late, or went."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.model.errors import UserError, VerificationFailed
from suiro.model.receipt import Entered
from suiro.model.schema import Table
from suiro.model.selection import CURRENT, DELETED_AT, VALID_FROM, VALID_TO, Deletes, WriteMode, WriteSpec
from suiro.spi.destination import Published
from suiro.testing.destination_harness import SCHEMA, DestinationHarness
from suiro.testing.load import Load
from suiro.testing.memory_history import BEGINNING, remember, without_absent

TIME = pa.timestamp("us", "UTC")
VERSIONS = pa.schema([*SCHEMA, (VALID_FROM, TIME), (VALID_TO, TIME), (CURRENT, pa.bool_())])
LOGGED = pa.schema([*VERSIONS, ("_op", pa.string())])
MARKED = pa.schema([*SCHEMA, (DELETED_AT, TIME)])
START = datetime(2026, 1, 1, tzinfo=UTC)
HISTORY = WriteSpec(mode=WriteMode.HISTORY, key=("id",), order_by="v", deletes=Deletes.HARD)

IDS, NAMES, NUMBERS = st.integers(0, 2), st.sampled_from(["a", "b"]), st.none() | st.integers(0, 1)
OPS, TIMES = st.sampled_from("cuud"), st.integers(0, 5)
LOADS = st.lists(st.lists(st.tuples(OPS, IDS, NAMES, NUMBERS, TIMES), max_size=8), min_size=1, max_size=4)


def at(day: int) -> datetime:
    """A moment, in days from the first."""
    return START + timedelta(days=day, microseconds=day)


class HistoryTests(DestinationHarness):
    """Versions of rows, and rows that the source no longer has."""

    # -- histories ---------------------------------------------------------------------------------------------------

    def test_a_new_version_ends_the_one_before(self) -> None:
        name = self._history()
        assert _counts(self._versions(name, (1, "a", None, 0), (2, "x", None, 0))) == {"inserted": 2}
        assert _counts(self._versions(name, (1, "b", None, 3))) == {"inserted": 1}
        self._assert_versions(name, (1, "a", None, 0, 3), (1, "b", None, 3, None), (2, "x", None, 0, None))

    def test_several_versions_in_one_load_follow_each_other(self) -> None:
        name = self._history()
        rows = (1, "c", None, 4), (1, "a", None, 0), (1, "b", None, 2), (1, "late", None, 4)
        assert _counts(self._versions(name, *rows)) == {"inserted": 3, "superseded": 1}
        self._assert_versions(name, (1, "a", None, 0, 2), (1, "b", None, 2, 4), (1, "late", None, 4, None))

    def test_a_version_that_comes_late_goes_between(self) -> None:
        name = self._history()
        self._versions(name, (1, "a", None, 0), (1, "c", None, 4))
        assert _counts(self._versions(name, (1, "b", None, 2))) == {"inserted": 1}
        self._assert_versions(name, (1, "a", None, 0, 2), (1, "b", None, 2, 4), (1, "c", None, 4, None))

    def test_what_repeats_the_version_before_is_left_out(self) -> None:
        name = self._history()
        self._versions(name, (1, "a", None, 0))
        assert _counts(self._versions(name, (1, "a", None, 0), (1, "a", None, 3))) == {"unchanged": 2}
        self._assert_versions(name, (1, "a", None, 0, None))

    def test_another_row_for_the_same_moment_corrects_it(self) -> None:
        name = self._history()
        self._versions(name, (1, "a", None, 0), (1, "b", None, 2))
        assert _counts(self._versions(name, (1, "z", 5, 0))) == {"updated": 1}
        self._assert_versions(name, (1, "z", 5, 0, 2), (1, "b", None, 2, None))

    def test_a_delete_ends_the_version_and_a_return_begins_another(self) -> None:
        name = self._history()
        self._versions(name, (1, "a", None, 0))
        assert _counts(self._log(name, ("d", 1, "", None, 2))) == {"deleted": 1}
        self._assert_versions(name, (1, "a", None, 0, 2))
        self._versions(name, (1, "a", None, 4))
        self._assert_versions(name, (1, "a", None, 0, 2), (1, "a", None, 4, None))

    def test_a_table_that_exists_becomes_a_history(self) -> None:
        name = self._history()
        merge = WriteSpec(mode=WriteMode.MERGE, key=("id",))
        self.carry(self.load(name, self.rows((1, "a", 1), (2, "b", 2)), merge, 1))
        self._versions(name, (1, "z", 1, 3))
        self._assert_versions(name, (1, "a", 1, None, 3), (1, "z", 1, 3, None), (2, "b", 2, None, None))

    def test_rows_that_were_there_begin_at_their_own_time(self) -> None:
        self.needs(WriteMode.HISTORY)
        days: list[tuple[pa.DataType, Any, Any]] = [
            (TIME, START, at(2)),
            (pa.timestamp("us"), START.replace(tzinfo=None), at(2).replace(tzinfo=None)),
            (pa.date32(), START.date(), START.date() + timedelta(days=2)),
        ]
        for type_, first, later in days:
            name, old = self.fresh(), pa.schema([("id", pa.int64()), ("changed", type_)])
            rows = pa.table([pa.array([1]), pa.array([first], type_)], schema=old)
            self.carry(self.load(name, rows, WriteSpec(mode=WriteMode.MERGE, key=("id",)), 1))
            spec = WriteSpec(mode=WriteMode.HISTORY, key=("id",), order_by="changed")
            versions = pa.schema([*old, (VALID_FROM, TIME), (VALID_TO, TIME), (CURRENT, pa.bool_())])
            self.carry(self.load(name, self.rows((1, later, at(2), None, None), schema=versions), spec, 2))
            kept = (1, first, START, at(2), False), (1, later, at(2), None, True)
            self.assert_table(self.rows(*kept, schema=versions), name)

    @pytest.mark.parametrize("key", [("id",), ("id", "name")], ids="-".join)
    def test_any_order_of_versions_and_deletes_gives_the_same_history_as_laying_them_out_one_by_one(
        self, key: tuple[str, ...]
    ) -> None:
        self.needs(WriteMode.HISTORY)
        spec = WriteSpec(mode=WriteMode.HISTORY, key=key, order_by="v", deletes=Deletes.HARD)

        @self.settings()
        @given(LOADS)
        def holds(loads: list[list[tuple[Any, ...]]]) -> None:
            name, model = self.fresh(), VERSIONS.empty_table()
            for number, rows in enumerate(loads):
                came = _logged(*rows)
                counts = Entered()
                model = remember(model, came, spec, counts)
                assert _counts(self.carry(self.load(name, came, spec, number))) == _shown(counts)
                self.assert_table(model, name)

        holds()

    # -- deletes -----------------------------------------------------------------------------------------------------

    def test_a_soft_delete_marks_the_row_and_its_return_takes_the_mark_away(self) -> None:
        self._needs(Deletes.SOFT)
        name, spec = self.fresh(), WriteSpec(mode=WriteMode.MERGE, key=("id",), deletes=Deletes.SOFT)
        logged = pa.schema([*MARKED, ("_op", pa.string())])
        self.carry(self.load(name, self.rows((1, "a", 1, None, "c"), (2, "b", 2, None, "c"), schema=logged), spec, 1))
        gone = self.rows((1, None, None, at(2), "d"), (7, None, None, at(2), "d"), schema=logged)
        assert _counts(self.carry(self.load(name, gone, spec, 2))) == {"deleted": 2, "removed": 1}
        self.assert_table(self.rows((1, "a", 1, at(2)), (2, "b", 2, None), schema=MARKED), name)
        self.carry(self.load(name, self.rows((1, "a", 1, None, "c"), schema=logged), spec, 3))
        self.assert_table(self.rows((1, "a", 1, None), (2, "b", 2, None), schema=MARKED), name)

    @pytest.mark.parametrize("deletes", [Deletes.HARD, Deletes.SOFT])
    def test_a_key_snapshot_takes_away_what_it_lacks(self, deletes: Deletes) -> None:
        self._needs(deletes, snapshots=True)
        name, spec = self.fresh(), self._spec(deletes)
        rows = self.rows((1, "a", 1, None), (2, "b", 2, None), (3, "c", 3, None), schema=MARKED)
        self.carry(self.load(name, rows, spec, 1))
        assert _counts(self._keys(name, spec, 1, 3, 9)) == {"unchanged": 3, "removed": 1}
        self.assert_table(without_absent(rows, _keys_table(1, 3), spec, name, Entered()), name)
        assert _counts(self._keys(name, spec, 1, 3)) == {"unchanged": 2}

    def test_a_key_snapshot_ends_versions(self) -> None:
        name = self._history()
        self._needs(Deletes.HARD, snapshots=True)
        self._versions(name, (1, "a", None, 0), (1, "b", None, 2), (2, "c", None, 0))
        spec = self._spec(Deletes.HARD, WriteMode.HISTORY)
        assert _counts(self._keys(name, spec, 2)) == {"unchanged": 1, "removed": 1}
        self._assert_versions(name, (1, "a", None, 0, 2), (1, "b", None, 2, 9), (2, "c", None, 0, None))

    def test_a_key_snapshot_that_would_delete_too_many_rows_is_refused(self) -> None:
        self._needs(Deletes.HARD, snapshots=True)
        name, rows = self.fresh(), self.rows(*[(n, "a", n, None) for n in range(10)], schema=MARKED)
        self.carry(self.load(name, rows, self._spec(Deletes.HARD), 1))
        for kept in ((), (1, 2, 3, 4)):
            with pytest.raises(UserError, match="lacks"):
                self._keys(name, self._spec(Deletes.HARD, most=0.5), *kept)
            self.finish()
            self.assert_table(rows, name)
        self._keys(name, self._spec(Deletes.HARD, most=0.5), 1, 2, 3, 4, 5)
        self.assert_table(rows.slice(1, 5), name)

    def test_an_empty_key_snapshot_empties_the_table_where_that_is_allowed(self) -> None:
        self._needs(Deletes.HARD, snapshots=True)
        name = self.fresh()
        self.carry(self.load(name, self.rows((1, "a", 1, None), schema=MARKED), self._spec(Deletes.HARD), 1))
        assert _counts(self._keys(name, self._spec(Deletes.HARD))) == {"removed": 1}
        self.assert_table(MARKED.empty_table(), name)

    def test_a_key_snapshot_that_is_not_what_was_read_deletes_nothing(self) -> None:
        self._needs(Deletes.HARD, snapshots=True)
        name, rows = self.fresh(), self.rows((1, "a", 1, None), (2, "b", 2, None), schema=MARKED)
        self.carry(self.load(name, rows, self._spec(Deletes.HARD), 1))
        with pytest.raises(VerificationFailed):
            self._keys(name, self._spec(Deletes.HARD), 1, read=(1, 2))
        self.assert_table(rows, name)

    def test_a_key_of_several_columns_is_compared_whole(self) -> None:
        self._needs(Deletes.HARD, snapshots=True)
        key = ("id", "name")
        spec = WriteSpec(mode=WriteMode.MERGE, key=key, deletes=Deletes.HARD, moment=at(9))
        name, rows = self.fresh(), self.rows((1, "a", 1), (1, "b", 2), (2, "a", 3), (2, "B", 4))
        self.carry(self.load(name, rows, spec, 1))
        keys = pa.table({"id": pa.array([1, 2, 2]), "name": ["b", "a", "b"]})
        self._publish_keys(name, spec, keys, keys)
        self.assert_table(self.rows((1, "b", 2), (2, "a", 3)), name)

    # -- the steps ---------------------------------------------------------------------------------------------------

    def _history(self) -> str:
        self.needs(WriteMode.HISTORY)
        return self.fresh()

    def _needs(self, deletes: Deletes, *, snapshots: bool = False) -> None:
        claimed = self.capabilities()
        if deletes not in claimed.deletes or (snapshots and not claimed.key_snapshots):
            pytest.skip(f"no {deletes} deletes" + " by key snapshot" * snapshots)

    def _spec(self, deletes: Deletes, mode: WriteMode = WriteMode.MERGE, most: float = 1.0) -> WriteSpec:
        return WriteSpec(mode=mode, key=("id",), deletes=deletes, moment=at(9), most_deleted=most)

    def _versions(self, name: str, *rows: tuple[Any, ...]) -> Published:
        came = [(*row[:3], at(row[3]), None, None) for row in rows]
        return self.carry(self.load(name, self.rows(*came, schema=VERSIONS), HISTORY, 1))

    def _log(self, name: str, *rows: tuple[Any, ...]) -> Published:
        return self.carry(self.load(name, _logged(*rows), HISTORY, 1))

    def _assert_versions(self, name: str, *rows: tuple[Any, ...]) -> None:
        """Rows with the days from and to which they hold; from None: from the beginning."""
        wanted = [
            (
                *row[:3],
                BEGINNING if row[3] is None else at(row[3]),
                None if row[4] is None else at(row[4]),
                row[4] is None,
            )
            for row in rows
        ]
        self.assert_table(self.rows(*wanted, schema=VERSIONS), name)

    def _keys(self, name: str, spec: WriteSpec, *keys: int, read: tuple[int, ...] | None = None) -> Published:
        return self._publish_keys(name, spec, _keys_table(*keys), _keys_table(*(keys if read is None else read)))

    def _publish_keys(self, name: str, spec: WriteSpec, keys: pa.Table, read: pa.Table) -> Published:
        """Stage and publish a key snapshot that is to hold what was `read`."""
        table = Table(name=name, schema=keys.schema, primary_key=spec.key)
        load = Load(
            table=table, rows=tuple(keys.combine_chunks().to_batches()), spec=spec, position={"n": 5}, keys=True
        )
        told = Load(table=table, rows=tuple(read.combine_chunks().to_batches()), spec=spec, position={"n": 5})
        return self.carry(load, expect=self.summary(told))


def _keys_table(*keys: int) -> pa.Table:
    return pa.table({"id": pa.array(keys, pa.int64())})


def _logged(*rows: tuple[Any, ...]) -> pa.Table:
    """Rows of a log: operation, the columns of SCHEMA, and the day."""
    wanted = [(i, n, v, at(day), None, None, op) for op, i, n, v, day in rows]
    columns = [pa.array([row[place] for row in wanted], field.type) for place, field in enumerate(LOGGED)]
    return pa.table(columns, schema=LOGGED)


def _counts(published: Published) -> dict[str, int]:
    return {name: number for name in Entered().as_dict() if (number := getattr(published, name))}


def _shown(counts: Entered) -> dict[str, int]:
    return {name: number for name, number in counts.as_dict().items() if number}
