"""The tests of sources whose queries can be read as streams."""

from __future__ import annotations

from typing import Any, ClassVar

import pyarrow as pa
import pytest

from suiro.model.change import Rows
from suiro.model.place import QueryError
from suiro.model.schema import ReadMode, Stream
from suiro.model.selection import Selection
from suiro.model.summary import summarise
from suiro.spi.powers import OffersQueries, Summarises
from suiro.spi.source import Source
from suiro.testing.samples import ODD_NAMES, PLAIN
from suiro.testing.source_harness import Found, SourceHarness

_PEOPLE = [(1, "a", 10), (2, "水路", None), (3, None, -5), (4, "", 2**40)]


class QueryTests(SourceHarness):
    """The power `OffersQueries`."""

    stream_stems: ClassVar[tuple[str, ...]] = ODD_NAMES

    def test_the_rows_of_a_query_have_the_types_of_its_stream(self) -> None:
        offers = self._offers()
        rows = _every_type()
        source = self.open()
        below = source.find(self.filled(rows, ("id",)))
        known = {field.name: field for field in below.schema}
        stream = offers.stream_of(f"SELECT * FROM {offers.sql_name(below)}", "everything", known)
        assert stream.name == "everything"
        for mine, its in zip(stream.schema, below.schema, strict=True):
            assert mine.equals(its, check_metadata=True), f"{mine} {mine.metadata}, of the stream {its} {its.metadata}"
        stream = offers.stream_of(f"SELECT * FROM {offers.sql_name(below)}", "of a source of its own", known)
        found = self._read(offers, stream)
        self.assert_found(rows, found)

    def test_a_query_chooses_computes_and_renames(self) -> None:
        offers = self._offers()
        name = offers.sql_name(self.open().find(self.filled(self.rows(*_PEOPLE))))
        stream = offers.stream_of(f"SELECT v + 1 AS w, id FROM {name} WHERE id < 3", "chosen", {})
        assert stream.schema.names == ["w", "id"]
        found = self._read(offers, stream)
        assert sorted(found.rows.column("id").to_pylist()) == [1, 2]
        assert sorted(str(w) for w in found.rows.column("w").to_pylist()) == ["11", "None"]
        assert stream.schema.field("id").type == self.open().find(self.filled(self.rows(*_PEOPLE))).schema.field(0).type

    def test_two_queries_of_one_source_are_two_streams(self) -> None:
        offers = self._offers()
        name = offers.sql_name(self.open().find(self.filled(self.rows(*_PEOPLE))))
        one = offers.stream_of(f"SELECT id FROM {name} WHERE id = 1", "one", {})
        other = offers.stream_of(f"SELECT id FROM {name} WHERE id = 2", "other", {})
        assert self._read(offers, other).rows.column("id").to_pylist() == [2]
        assert self._read(offers, one).rows.column("id").to_pylist() == [1]

    def test_streams_of_odd_names_can_be_queried(self) -> None:
        offers = self._offers()
        for number, stem in enumerate(self.stream_stems):
            below = self.filled(self.rows((number, stem, number)), (), self.stream_name(stem))
            source = self.open()
            sql = f"SELECT * FROM {offers.sql_name(source.find(below))}"
            found = self._read(offers, offers.stream_of(sql, f"odd {number}", {}))
            assert found.rows.column("id").to_pylist() == [number], stem

    def test_a_wrong_query_is_the_users_error_with_its_place(self) -> None:
        offers = self._offers()
        name = offers.sql_name(self.open().find(self.filled(self.rows(*_PEOPLE))))
        for sql in (
            f"SELECT id, nosuch FROM {name}",
            f"SELECT id, nosuch(v) AS x FROM {name}",
            "SELECT nosuch FROM nosuch",
        ):
            with pytest.raises(QueryError) as refused:
                offers.stream_of(sql, "wrong", {})
            assert refused.value.at is None or sql[refused.value.at :].startswith("nosuch"), sql
        broken_out = f"SELECT id FROM {name}) AS a; SELECT * FROM (SELECT id FROM {name}"
        for sql in (
            "SELEKT 1",
            broken_out,
            f"DELETE FROM {name}",
            f"SELECT id FROM {name}; SELECT 1",
            f"SELECT id FROM {name})",
        ):
            with pytest.raises(QueryError):
                offers.stream_of(sql, "wrong", {})
        assert self.consume(self.open(), self.select(self.open(), self.filled(self.rows(*_PEOPLE)))).rows.num_rows == 4

    def test_doubled_names_are_told_as_they_are(self) -> None:
        offers = self._offers()
        name = offers.sql_name(self.open().find(self.filled(self.rows(*_PEOPLE))))
        assert offers.stream_of(f"SELECT id, v, id FROM {name}", "doubled", {}).schema.names == ["id", "v", "id"]

    def test_a_query_is_read_on_from_its_cursor(self) -> None:
        offers = self._offers()
        below = self.filled(self.rows(*_PEOPLE))
        sql = f"SELECT id AS number, name FROM {offers.sql_name(self.open().find(below))} WHERE id > 1"
        stream = offers.stream_of(sql, "followed", {})
        if "number" not in stream.cursor_fields or ReadMode.INCREMENTAL not in stream.read_modes:
            pytest.skip("no incremental reads")
        first = self._read(offers, stream, cursor="number")
        assert sorted(first.rows.column("number").to_pylist()) == [2, 3, 4]
        self.add(below, self.rows((0, "x", 1), (9, "x", 1)))
        second = self._read(offers, stream, cursor="number", since=first.position)
        assert second.rows.column("number").to_pylist() == [9]

    def test_a_querys_summary_equals_that_of_its_rows(self) -> None:
        offers = self._offers()
        source = offers
        if not isinstance(source, Summarises):
            pytest.skip("doesn't summarise")
        name = offers.sql_name(self.open().find(self.filled(self.rows(*_PEOPLE))))
        stream = offers.stream_of(f"SELECT id, v * 2 AS w FROM {name} WHERE id <> 2", "added up", {})
        for read in offers.plan([Selection(stream=stream, columns=("id", "w"))]):
            batches = [change.data for change in offers.read(read, None) if isinstance(change, Rows)]
            wanted, found = summarise(batches, key=("id",)), source.summarise(read, columns=True, key=("id",))
            assert (wanted.rows, wanted.columns["id"]) == (found.rows, found.columns["id"])

    def _offers(self) -> Any:
        """A source of that power, for all the calls of a test; else the test is skipped."""
        source: Source[Any] = self.open()
        if not isinstance(source, OffersQueries):
            pytest.skip("its queries can't be read as streams")
        return source

    def _read(self, source: Any, stream: Stream, cursor: str | None = None, since: Any = None) -> Found:
        mode = ReadMode.INCREMENTAL if cursor else ReadMode.FULL
        selection = Selection(stream=stream, columns=tuple(stream.schema.names), read_mode=mode, cursor_field=cursor)
        return self.consume(source, selection, since)


def _every_type() -> pa.Table:
    """A row of every type that each system must have, and one of NULL."""
    wanted = {name: sample for name, sample in PLAIN.items() if sample.required}
    columns = {name: pa.array([sample.values[0], None], sample.field.type) for name, sample in wanted.items()}
    return pa.table({"id": pa.array([1, 2], pa.int64()), **columns})
