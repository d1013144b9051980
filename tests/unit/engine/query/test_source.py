"""Queries over a source that speaks no SQL: types, positions, memory, and what may not be asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from suiro.engine.context import RunContext
from suiro.engine.query.source import QuerySource, ResidualQuery, query_source
from suiro.model.change import Rows
from suiro.model.errors import Cancelled, ConfigError, ConnectionLost, DataError
from suiro.model.place import QueryError
from suiro.model.schema import ReadMode
from suiro.model.selection import Selection
from suiro.model.types import logical_field
from suiro.testing.memory import MemorySource, MemorySourceConfig, MemoryStreams
from suiro.testing.samples import PLAIN
from unit.testing.querying import QueryingSource

PEOPLE = pa.table(
    {
        "id": pa.array(range(10), pa.int64()),
        "name": [f"n{i}" for i in range(10)],
        "v": pa.array([i * 10 for i in range(10)], pa.int64()),
    }
)


@pytest.fixture
def system() -> MemoryStreams:
    streams = MemoryStreams(batch_rows=3, checkpoint_rows=3)
    streams.fill("people", PEOPLE, ("id",))
    streams.fill("cities", pa.table({"v": pa.array([0, 10, 20], pa.int64()), "city": ["a", "b", "c"]}))
    return streams


@pytest.fixture
def context(tmp_path: Path) -> Iterator[RunContext]:
    with RunContext("r", folder=tmp_path) as found:
        yield found


def opened(system: MemoryStreams, context: RunContext, sql: str, read: ReadMode = ReadMode.FULL) -> QuerySource:
    return query_source(sql, "q", read, MemorySource(MemorySourceConfig(system=system), context), context)


def rows(source: QuerySource, **how: Any) -> pa.Table:
    stream = source.find("q")
    selection = Selection(stream=stream, columns=tuple(stream.schema.names), **how)
    taken = []
    for read in source.plan([selection]):
        taken += [change.data for change in source.read(read, None) if isinstance(change, Rows)]
    return pa.Table.from_batches(taken, stream.schema)


def asked(system: MemoryStreams, context: RunContext, sql: str) -> pa.Table:
    with closing(opened(system, context, sql)) as source:
        return rows(source)


def test_rows_are_chosen_computed_and_renamed(system: MemoryStreams, context: RunContext) -> None:
    found = asked(
        system, context, "SELECT id AS number, upper(name) AS who, v / 4 AS part FROM [people] AS p WHERE p.v >= 80"
    )
    assert found.to_pylist() == [
        {"number": 8, "who": "N8", "part": 20.0},
        {"number": 9, "who": "N9", "part": 22.5},
    ]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) AS n, sum(v) AS s FROM people", [(10, 450)]),
        (
            "SELECT city, max(id) AS m FROM people JOIN cities USING (v) GROUP BY city ORDER BY 1",
            [("a", 0), ("b", 1), ("c", 2)],
        ),
        ("SELECT a.id, b.id AS other FROM people a JOIN people b ON a.id + 9 = b.id", [(0, 9)]),
        (
            "WITH x AS NOT MATERIALIZED (SELECT * FROM people) SELECT count(*) AS n FROM x a JOIN x b ON a.id = b.id",
            [(10,)],
        ),
        ("SELECT id FROM people WHERE v = (SELECT max(v) FROM cities)", [(2,)]),
        ("SELECT v FROM cities UNION ALL SELECT id FROM people WHERE id = 9 ORDER BY 1", [(0,), (9,), (10,), (20,)]),
        ("SELECT DISTINCT id % 2 AS odd FROM people ORDER BY odd", [(0,), (1,)]),
        ("SELECT id FROM people ORDER BY id DESC LIMIT 2", [(9,), (8,)]),
        ("SELECT id, row_number() OVER (ORDER BY id DESC) AS n FROM people ORDER BY n LIMIT 1", [(9, 1)]),
        ("SELECT people.id FROM people WHERE people.name = 'n3'", [(3,)]),
        ("SELECT 1 AS one", [(1,)]),
        ("SELECT id FROM people WHERE false", []),
    ],
)
def test_what_concerns_all_rows_sees_all_rows(
    system: MemoryStreams, context: RunContext, sql: str, expected: list[tuple[Any, ...]]
) -> None:
    assert [tuple(row.values()) for row in asked(system, context, sql).to_pylist()] == expected


def test_an_aggregate_that_looks_like_any_function_sees_all_rows(system: MemoryStreams, context: RunContext) -> None:
    """sqlglot knows not every aggregate of DuckDB: its plan decides, too."""
    with closing(opened(system, context, "SELECT fsum(v) AS total FROM people")) as source:
        assert source.residual is not None and "over whole streams" in source.residual
        assert rows(source).to_pylist() == [{"total": 450.0}]


def _samples() -> pa.Table:
    columns = {name: pa.array([*sample.values, None], sample.field.type) for name, sample in PLAIN.items()}
    most = max(len(column) for column in columns.values())
    schema = pa.schema(
        [pa.field(name, PLAIN[name].field.type, metadata=PLAIN[name].field.metadata) for name in columns]
    )
    padded = [pa.concat_arrays([c, pa.nulls(most - len(c), c.type)]) for c in columns.values()]
    return pa.table(padded, schema=schema)


@pytest.mark.parametrize("way", ["row by row", "over whole streams"])
def test_columns_that_are_passed_on_keep_type_values_and_logical_type(context: RunContext, way: str) -> None:
    table = _samples()
    refused = []
    for field in table.schema:
        system = MemoryStreams(batch_rows=2)
        given = pa.table([table.column(field.name), pa.array(range(len(table)))], names=["c", "i"])
        given = given.cast(pa.schema([field.with_name("c"), ("i", pa.int64())]))
        system.fill("s", given)
        sql = "SELECT c AS renamed, i FROM s WHERE i >= 0" + ("" if way == "row by row" else " ORDER BY i")
        try:
            with closing(opened(system, context, sql)) as source:
                assert source.residual is not None and way in source.residual
                assert source.find("q").schema.field("renamed").equals(field.with_name("renamed"), check_metadata=True)
                found = rows(source)
        except (ConfigError, DataError):
            refused.append(field.type)
            continue
        assert found.column("renamed").combine_chunks().equals(given.column("c").combine_chunks()) or _same_floats(
            found.column("renamed"), given.column("c")
        ), field.name
    assert refused == []


def _same_floats(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_floating(one.type)) and str(one.to_pylist()) == str(other.to_pylist())


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM (SELECT id * 1.5 AS id FROM people)",
        "WITH x AS (SELECT id * 1.5 AS id FROM people) SELECT id FROM x",
        "SELECT x.id FROM (SELECT id * 1.5 AS id FROM people) AS x",
        "SELECT * FROM (SELECT id * 1.5 AS id FROM people)",
        "SELECT people.id FROM (SELECT id * 1.5 AS id FROM people) AS people",
        "SELECT id * 1.5 AS id FROM people UNION ALL SELECT id FROM people WHERE false",
    ],
)
def test_a_column_of_a_query_within_is_not_the_streams(system: MemoryStreams, context: RunContext, sql: str) -> None:
    found = asked(system, context, f"{sql} ORDER BY 1 LIMIT 2")
    assert found.column("id").to_pylist() == [Decimal(0), Decimal("1.5")]


def test_computed_columns_have_plain_types(system: MemoryStreams, context: RunContext) -> None:
    found = asked(
        system,
        context,
        "SELECT sum(v) AS total, avg(v) AS mean, NULL AS nothing, INTERVAL 1 DAY AS day, 1.5 AS exact, "
        "TIMESTAMPTZ '2024-01-01 00:00:00+00' AS at, uuid() AS u, '{}'::JSON AS j, bit_count(1) AS b FROM people",
    )
    assert dict(zip(found.schema.names, found.schema.types, strict=True)) == {
        "total": pa.decimal128(38, 0),
        "mean": pa.float64(),
        "nothing": pa.string(),
        "day": pa.string(),
        "exact": pa.decimal128(2, 1),
        "at": pa.timestamp("us", "UTC"),
        "u": pa.uuid(),
        "j": pa.json_(),
        "b": pa.int8(),
    }
    assert found.column("at").to_pylist() == [datetime(2024, 1, 1, tzinfo=UTC)]
    assert found.column("total").to_pylist() == [Decimal(450)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT c + 1 AS d FROM s",
        "SELECT c FROM s WHERE c > 1",
        "SELECT max(c) AS m FROM s",
        "SELECT c FROM s ORDER BY c",
        "SELECT s.c FROM s WHERE s.c = 1",
    ],
)
@pytest.mark.parametrize("field", [pa.field("c", pa.decimal256(50, 2)), logical_field("c", pa.string(), "numeric")])
def test_numbers_that_duckdb_lacks_are_not_computed_with(context: RunContext, sql: str, field: pa.Field) -> None:
    system = MemoryStreams()
    system.fill("s", pa.table([pa.array(["1.5"]).cast(field.type)], schema=pa.schema([field])))
    with pytest.raises(QueryError) as refused:
        asked(system, context, sql)
    assert refused.value.at is not None and sql[refused.value.at :].startswith(("c", "s.c"))
    taken = asked(system, context, "SELECT CAST(c AS DECIMAL(38,2)) * 2 AS d FROM s")
    assert taken.column("d").to_pylist() == [Decimal("3.00")]


def test_incremental_reads_go_on_where_they_ended(system: MemoryStreams, context: RunContext) -> None:
    sql = "SELECT v AS version, upper(name) AS who FROM people WHERE id <> 4"
    with closing(opened(system, context, sql, ReadMode.INCREMENTAL)) as source:
        stream = source.find("q")
        assert stream.cursor_fields == ("version",)
        selection = Selection(
            stream=stream, columns=("version", "who"), read_mode=ReadMode.INCREMENTAL, cursor_field="version"
        )
        (read,) = source.plan([selection])
        changes = list(source.read(read, None))
        assert sum(change.data.num_rows for change in changes if isinstance(change, Rows)) == 9
        position = source.join([changes[-1].position])  # type: ignore[union-attr]
        system.add("people", pa.table({"id": [10, 11], "name": ["x", "y"], "v": [90, 100]}))
        changes = list(source.read(read, position))
        found = [row for change in changes if isinstance(change, Rows) for row in change.data.to_pylist()]
        assert found == [{"version": 90, "who": "X"}, {"version": 100, "who": "Y"}]
        assert sum(change.deduplicated for change in changes if isinstance(change, Rows)) == 1


def test_a_key_that_is_passed_on_is_the_streams_key(system: MemoryStreams, context: RunContext) -> None:
    for sql, key in [
        ("SELECT name, id AS number FROM people", ("number",)),
        ("SELECT id, printf('%s', name) AS said FROM people", ("id",)),
        ("SELECT id FROM people ORDER BY id LIMIT 3", ()),
        ("SELECT name FROM people", ()),
        ("SELECT id + 1 AS id FROM people", ()),
        ("SELECT id FROM people UNION ALL SELECT id FROM people", ()),
        ("SELECT p.id, c.city FROM people p JOIN cities c ON true", ()),
        ("SELECT * FROM people", ("id",)),
    ]:
        with closing(opened(system, context, sql)) as source:
            assert source.find("q").primary_key == key, sql


@pytest.mark.parametrize(
    ("sql", "cursor", "said"),
    [
        ("SELECT id, v + 1 AS w FROM people", "w", "computed by the query"),
        ("SELECT name FROM people", None, "needs a cursor field"),
    ],
)
def test_a_cursor_that_cant_be_followed_is_refused(
    system: MemoryStreams, context: RunContext, sql: str, cursor: str | None, said: str
) -> None:
    system.fill("people", PEOPLE, ("id",), ("id", "v"))
    with closing(opened(system, context, sql, ReadMode.INCREMENTAL)) as source:
        stream = source.find("q")
        selection = Selection(
            stream=stream,
            columns=tuple(stream.schema.names),
            read_mode=ReadMode.INCREMENTAL,
            cursor_field=cursor,
        )
        with pytest.raises(ConfigError, match=said):
            source.plan([selection])


@pytest.mark.parametrize(
    ("sql", "place", "said"),
    [
        ("SELECT nme FROM people", "nme", "nme"),
        ("SELECT id FROM poeple", "poeple", "there is no stream"),
        ("SELECT nosuch(id) AS x FROM people", "nosuch", "nosuch"),
        ("SELECT id + name AS x FROM people", "+", ""),
        ("SELECT p.nme FROM people p", "p.nme", "nme"),
        ("SELECT z.id FROM people p", "z.id", "z"),
        ("SELECT id,, v FROM people", ", v", "syntax error"),
        ("SELECT id, v AS id FROM people", "v AS id", "two columns"),
        ("SELECT *, v FROM people", "", "two columns"),
        ("SELECT id, count(*) AS n FROM people", "id", "GROUP BY"),
        ("SELECT id FROM people WHERE sum(id) > 1", "", "aggregates"),
    ],
)
def test_a_wrong_query_is_pointed_at(
    system: MemoryStreams, context: RunContext, sql: str, place: str, said: str
) -> None:
    statement = f"REPLICATE t\n{sql}"
    with pytest.raises(QueryError) as refused:
        asked(system, context, statement)
    assert said in refused.value.message
    assert refused.value.at is not None
    assert statement[refused.value.at :].startswith(place) or sql[max(sql.find("+"), 0) - 3 :].startswith("id +")


def test_names_that_differ_in_capitals_alone_are_refused(context: RunContext) -> None:
    system = MemoryStreams()
    system.fill("s", pa.table({"Id": [1], "ID": [2], "x": [3]}))
    with pytest.raises(QueryError, match="differ in capitals"):
        asked(system, context, "SELECT * FROM s")
    assert asked(system, context, "SELECT x FROM s").to_pylist() == [{"x": 3}]


def test_a_value_that_cant_be_converted_is_the_datas_fault_and_isnt_told(
    system: MemoryStreams, context: RunContext
) -> None:
    with pytest.raises(DataError) as refused:
        asked(system, context, "SELECT CAST(name AS INTEGER) AS x FROM people")
    assert "n0" not in refused.value.message and "line 1" in refused.value.message


def test_no_file_and_no_variable_can_be_reached(system: MemoryStreams, context: RunContext, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    python_variable = PEOPLE
    assert python_variable is PEOPLE
    for sql in (
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM '{secret}'",
        f'SELECT * FROM "{secret}"',
        "SELECT * FROM python_variable",
        f"SELECT * FROM people, read_text('{secret}')",
        f"SELECT (SELECT content FROM read_text('{secret}')) AS x FROM people",
    ):
        with pytest.raises(QueryError):
            asked(system, context, sql)


@pytest.mark.parametrize("sql", ["SELECT upper(name) AS n FROM people", "SELECT count(*) AS n FROM people"])
def test_errors_of_the_source_come_through_as_they_are(context: RunContext, sql: str) -> None:
    system = MemoryStreams(batch_rows=3, breaks_after=5)
    system.fill("people", PEOPLE)
    with pytest.raises(ConnectionLost):
        asked(system, context, sql)


@pytest.mark.parametrize("sql", ["SELECT upper(name) AS n FROM people", "SELECT count(*) AS n FROM people"])
def test_a_cancelled_query_says_so(system: MemoryStreams, context: RunContext, sql: str) -> None:
    with closing(opened(system, context, sql)) as source:
        context.cancel()
        with pytest.raises(Cancelled):
            rows(source)


def test_a_read_closed_early_leaves_nothing_behind(system: MemoryStreams, context: RunContext) -> None:
    for sql in ("SELECT id FROM people", "SELECT id FROM people ORDER BY id"):
        with closing(opened(system, context, sql)) as source:
            selection = Selection(stream=source.find("q"), columns=("id",))
            changes = source.read(source.plan([selection])[0], None)
            next(changes)
            changes.close()  # type: ignore[attr-defined]
            assert rows(source).num_rows == 10


def test_conditions_on_whole_numbers_go_into_sources_that_take_them(system: MemoryStreams, context: RunContext) -> None:
    class Speaking(QueryingSource):
        @property
        def sql_dialect(self) -> str:
            return "duckdb"

    base = Speaking(MemorySourceConfig(system=system), context)
    sql = "SELECT p.name, c.city FROM people p JOIN cities c USING (v) "
    sql += "WHERE p.id > 0 AND c.city <> 'c' AND c.v IS NOT NULL"
    with closing(query_source(sql, "q", ReadMode.FULL, base, context)) as source:
        assert isinstance(source, ResidualQuery)
        assert source.pushed == ['people: all columns where "id" > 0', 'cities: all columns where NOT "v" IS NULL']
        assert rows(source).to_pylist() == [{"name": "n1", "city": "b"}]
    with closing(
        query_source("SELECT upper(name) AS n FROM people WHERE id = 3", "q", ReadMode.FULL, base, context)
    ) as source:
        assert source.pushed == ['people: id, name where "id" = 3']
        assert rows(source).to_pylist() == [{"n": "N3"}]


def test_declared_types_are_the_streams(system: MemoryStreams, context: RunContext) -> None:
    statement = "REPLICATE t (id smallint, name varchar(5), v numeric(9,2)) SELECT id, name, v FROM people WHERE id < 2"
    with closing(opened(system, context, statement)) as source:
        found = rows(source)
    assert found.schema.types == [pa.int16(), pa.string(), pa.decimal128(9, 2)]
    assert found.to_pylist()[1] == {"id": 1, "name": "n1", "v": Decimal("10.00")}
