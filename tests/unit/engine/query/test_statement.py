"""SELECTs taken apart: streams, columns, row by row or not, and what is refused."""

from __future__ import annotations

import pytest

from suiro.engine.query.statement import Query, read_query
from suiro.engine.query.text import Text
from suiro.model.place import QueryError


def query(sql: str, dialect: str = "duckdb") -> Query:
    return read_query(Text(sql), dialect)


@pytest.mark.parametrize(
    ("sql", "streams"),
    [
        ("SELECT a FROM t", [("t",)]),
        ("SELECT a FROM [s].[My Table] AS x;", [("s", "My Table")]),
        ("SELECT * FROM a JOIN b ON a.i = b.i LEFT JOIN c.d USING (i)", [("a",), ("b",), ("c", "d")]),
        ("WITH x AS (SELECT * FROM t) SELECT * FROM x JOIN u USING (i)", [("t",), ("u",)]),
        ("WITH t AS (SELECT * FROM t) SELECT * FROM t", [("t",)]),
        ("SELECT (SELECT max(a) FROM u) FROM t WHERE b IN (SELECT b FROM v)", [("u",), ("t",), ("v",)]),
        ("SELECT a FROM t UNION ALL SELECT a FROM u", [("t",), ("u",)]),
        ("SELECT a FROM (SELECT * FROM t) AS x", [("t",)]),
        ("SELECT i FROM generate_series(1, 3) AS s(i)", []),
        ("SELECT 1 AS a", []),
    ],
)
def test_streams_are_found_where_they_stand(sql: str, streams: list[tuple[str, ...]]) -> None:
    found = query(sql)
    assert [use.parts for use in found.uses] == streams
    for use in found.uses:
        assert found.text.text[use.start : use.end].replace('"', "") == ".".join(use.parts)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT a, upper(b) AS c, a + 1 FROM t AS x WHERE x.d > 5 AND e LIKE 'x%'", None),
        ("SELECT CASE WHEN a THEN b END AS c, * EXCLUDE (d) FROM t", None),
        ("SELECT count(*) FROM t", "aggregates"),
        ("SELECT a FROM t GROUP BY a", "aggregates"),
        ("SELECT a, string_agg(b, ',') FROM t GROUP BY ALL", "aggregates"),
        ("SELECT DISTINCT a FROM t", "duplicates"),
        ("SELECT a FROM t ORDER BY a", "sorts"),
        ("SELECT a FROM t LIMIT 5", "some rows alone"),
        ("SELECT a FROM t OFFSET 5", "some rows alone"),
        ("SELECT row_number() OVER () FROM t", "several rows"),
        ("SELECT a FROM t QUALIFY row_number() OVER () = 1", "several rows"),
        ("SELECT * FROM t, u", "joins"),
        ("SELECT * FROM t JOIN t AS u USING (a)", "joins"),
        ("SELECT a FROM t WHERE a IN (SELECT a FROM u)", "joins"),
        ("SELECT a FROM (SELECT a FROM t)", "a query in it"),
        ("WITH x AS (SELECT a FROM t) SELECT a FROM x", "a query in it"),
        ("SELECT a FROM t UNION SELECT a FROM u", "no single stream"),
        ("SELECT unnest(a) FROM t", "several rows of one"),
        ("SELECT my_own(a) FROM t", "may aggregate"),
        ("SELECT a FROM t USING SAMPLE 5", "some rows alone"),
    ],
)
def test_it_is_known_whether_rows_go_one_by_one(sql: str, why: str | None) -> None:
    refused = query(sql).by_rows(sure=True)
    assert (refused is None) == (why is None), refused
    assert why is None or (refused is not None and why in refused.message and "line 1, column" in refused.message)


AGGREGATES = {
    "postgres": "array_agg(a) avg(a) bit_and(a) bool_or(a) count(a) every(a) json_agg(a) jsonb_object_agg(a,b) max(a) "
    "min(a) range_agg(a) string_agg(a,b) sum(a) xmlagg(a) corr(a,b) regr_slope(a,b) stddev_pop(a) variance(a)",
    "mysql": "group_concat(a) json_arrayagg(a) json_objectagg(a,b) std(a) bit_and(a) avg(a) variance(a)",
    "sqlite": "group_concat(a) total(a) json_group_array(a) json_group_object(a,b) string_agg(a,b) max(a) sum(a)",
    "duckdb": "first(a) arg_max(a,b) list(a) histogram(a) approx_count_distinct(a) median(a) quantile_cont(a,0.5) "
    "kurtosis(a) product(a) mad(a) fsum(a) bitstring_agg(a) mode(a) max_by(a,b) count_if(a) approx_top_k(a,3)",
}


@pytest.mark.parametrize(("dialect", "called"), [(d, f) for d, listed in AGGREGATES.items() for f in listed.split()])
def test_no_aggregate_passes_for_a_function_of_one_row(dialect: str, called: str) -> None:
    assert query(f"SELECT {called} AS x FROM t", dialect).by_rows(sure=True) is not None


@pytest.mark.parametrize(
    ("sql", "needed"),
    [
        ("SELECT a FROM t", ("a",)),
        ('SELECT A + c FROM t WHERE "B" > 0', ("a", "b", "c")),
        ("SELECT count(*) FROM t", ("a",)),
        ("SELECT * FROM t", ("a", "b", "c", "d")),
        ("SELECT t FROM t", ("a", "b", "c", "d")),
        ("SELECT x.b FROM t AS x ORDER BY d", ("b", "d")),
        ("SELECT columns('[ab]') FROM t", ("a", "b", "c", "d")),
        ("SELECT b FROM t NATURAL JOIN u", ("a", "b", "c", "d")),
    ],
)
def test_only_the_columns_that_are_needed_are_read(sql: str, needed: tuple[str, ...]) -> None:
    found = query(sql)
    assert found.columns_of(found.uses[0], ["a", "b", "c", "d"]) == needed


@pytest.mark.parametrize(
    ("sql", "safe"),
    [
        (
            "SELECT a FROM t WHERE a > 5 AND b IS NOT NULL AND c = 'x' AND d IN (1, -2)",
            ["a > 5", "NOT b IS NULL", "d IN (1, -2)"],
        ),
        ("SELECT a FROM t WHERE a BETWEEN 1 AND 5", ["a BETWEEN 1 AND 5"]),
        ("SELECT a FROM t WHERE a > 5 OR b > 5", []),
        ("SELECT a FROM t WHERE a > 1.5", []),
        ("SELECT a FROM t WHERE f(a) = 1", []),
        ("SELECT a FROM t LEFT JOIN u USING (a) WHERE b IS NULL", []),
        ("SELECT a FROM t JOIN u USING (a) WHERE t.b = 1", ["t.b = 1"]),
    ],
)
def test_conditions_that_every_system_judges_alike_are_found(sql: str, safe: list[str]) -> None:
    assert [condition.sql() for _, condition in query(sql).safe_conditions()] == safe


@pytest.mark.parametrize(
    ("sql", "place", "said"),
    [
        ("", "", "no query"),
        ("DELETE FROM t", "DELETE", "isn't a SELECT"),
        ("DROP TABLE t", "DROP", "isn't a SELECT"),
        ("COPY t TO 'x'", "COPY", "isn't a SELECT"),
        ("ATTACH 'x'", "ATTACH", "isn't a SELECT"),
        ("PRAGMA threads", "PRAGMA", "isn't a SELECT"),
        ("SET memory_limit = '1GB'", "SET", "isn't a SELECT"),
        ("SELECT a FROM t; DROP TABLE t", ";", "second statement"),
        ("WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x", "t", "DELETE has no place"),
        ("WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x", "t", "INSERT has no place"),
        ("SELECT a INTO b FROM t", "b", "INTO has no place"),
        ("SELECT a FROM t FOR UPDATE", "FOR UPDATE", "a lock has no place"),
        ("SELECT a FROM t WHERE b = ?", "?", "a parameter has no place"),
        ("SELECT a FROM t WHERE b = :p", ":p", "a parameter has no place"),
        ("SELECT * FROM read_csv('/tmp/x')", "read_csv", "can't be read from"),
        ("SELECT * FROM t WHERE a IN (SELECT b FROM parquet_scan('x'))", "parquet_scan", "can't be read from"),
        ("SELECT * FROM glob('*')", "glob", "can't be read from"),
        ("SELECT * FROM duckdb_settings()", "duckdb_settings", "can't be read from"),
        ("SELECT * FROM 'x.csv'", "'x.csv'", "a text can't be read from"),
        ("SELECT a b c FROM t", "c FROM", "can't be understood"),
        ("SELECT a FROM", "FROM", "expected table name"),
        ("SELECT (a FROM t", "FROM", "expecting )"),
        ("SELECT a FROM t WHERE", "WHERE", "something is missing"),
    ],
)
def test_what_is_wrong_or_more_than_reading_is_pointed_at(sql: str, place: str, said: str) -> None:
    with pytest.raises(QueryError) as refused:
        query(sql)
    assert said in refused.value.message
    assert refused.value.at is not None and sql[refused.value.at :].startswith(place)


@pytest.mark.parametrize(
    "sql",
    ["SELECT upper(a) AS a, b + 1 AS b FROM t WHERE a <> 'x'", "SELECT a, count(*) AS n, max(b) FROM t GROUP BY a"],
)
def test_a_query_that_gives_the_same_rows_when_asked_twice(sql: str) -> None:
    assert query(sql, "postgres").steady


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT now() AS at FROM t",
        "SELECT a FROM t WHERE at < current_date",
        "SELECT random() AS r FROM t",
        "SELECT gen_random_uuid() AS u FROM t",
        "SELECT of_ours(a) AS a FROM t",
        "SELECT a FROM t LIMIT 10",
        "SELECT sum(a) AS a FROM t",
        "SELECT row_number() OVER (ORDER BY a) AS n FROM t",
    ],
)
def test_a_query_that_may_give_other_rows_when_asked_twice(sql: str) -> None:
    assert not query(sql, "postgres").steady
