"""The head of REPLICATE statements, right and wrong."""

from __future__ import annotations

import pytest

from suiro.engine.query.head import is_replicate, read_head, select_of
from suiro.model.place import QueryError


def test_a_target_and_a_select_are_told_apart() -> None:
    head = read_head("REPLICATE [accounts] SELECT [Id], [Name] AS [account_name] FROM [Account]")
    assert head.target.name == "accounts"
    assert head.query is not None and head.query.text == "SELECT [Id], [Name] AS [account_name] FROM [Account]"
    assert (head.columns, head.key, head.options, head.stream) == ((), (), (), None)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("t", "t"),
        ("[顧客管理(営業支援パック)]", "顧客管理(営業支援パック)"),
        ("顧客", "顧客"),
        ("[Account.csv]", '"Account.csv"'),
        ('"a ""b"""', '"a ""b"""'),
        ("`a b`", "a b"),
        ("[a]]b]", "a]b"),
        ("sales.[my orders]", "sales.my orders"),
    ],
)
def test_names_are_plain_bracketed_quoted_or_backticked(written: str, name: str) -> None:
    assert read_head(f"REPLICATE {written} SELECT 1").target.name == name


def test_columns_key_and_options_are_read() -> None:
    head = read_head(
        "replicate t (id int, [金額] numeric( 12 , 2 ), at timestamp with time zone, name varchar(20), "
        "PRIMARY KEY (id, [金額]))\n WITH DropTable, AlterSchema=false, IncrementalCheckColumns='at' select 1"
    )
    assert [(c.column.name, c.type.parts[0], c.arguments) for c in head.columns] == [
        ("id", "int", ()),
        ("金額", "numeric", ("12", "2")),
        ("at", "timestamp with time zone", ()),
        ("name", "varchar", ("20",)),
    ]
    assert [name.name for name in head.key] == ["id", "金額"]
    assert [(o.option.name, o.value) for o in head.options] == [
        ("DropTable", None),
        ("AlterSchema", "false"),
        ("IncrementalCheckColumns", "at"),
    ]


def test_without_a_select_a_stream_is_named() -> None:
    assert [read_head(s).stream for s in ("REPLICATE t;", "REPLICATE [a.csv]")] == [
        read_head("REPLICATE t").target,
        read_head("REPLICATE [a.csv]").target,
    ]
    head = read_head("REPLICATE t WITH TruncateTable [Source Table]")
    assert head.stream is not None and head.stream.name == "Source Table" and head.query is None


def test_with_may_begin_the_options_or_the_query() -> None:
    head = read_head("REPLICATE t WITH x AS (SELECT 1 AS a) SELECT a FROM x")
    assert head.options == () and head.query is not None and head.query.text.startswith("WITH x")
    head = read_head("REPLICATE t WITH DropTable WITH x AS (SELECT 1 AS a) SELECT a FROM x")
    assert len(head.options) == 1 and head.query is not None and head.query.text.startswith("WITH x")


def test_comments_are_space() -> None:
    head = read_head("-- every night\nREPLICATE /* to */ t -- from here\n SELECT 1")
    assert head.target.name == "t" and head.query is not None and head.query.text == "SELECT 1"


def test_the_select_is_the_same_whatever_the_head() -> None:
    query = "SELECT id FROM t"
    said = [f"REPLICATE a {query}", f" REPLICATE b (id int) WITH DropTable {query} ;\n", f"  {query};"]
    assert {select_of(statement) for statement in said} == {query}
    assert [is_replicate(s) for s in (*said, "REPLICATED", "-- x\nreplicate t")] == [True, True, False, False, True]


@pytest.mark.parametrize(
    ("statement", "place", "said"),
    [
        ("REPLICAT t", "REPLICAT", "REPLICATE is missing"),
        ("REPLICATE", "", "the table to replicate into is missing"),
        ("REPLICATE t (id) SELECT 1", ")", "the type of column id is missing"),
        ("REPLICATE t (id int, id text) SELECT 1", "id text", "declared twice"),
        ("REPLICATE t (id int, PRIMARY KEY (ID)) SELECT 1", "ID", "isn't declared"),
        ("REPLICATE t (id int SELECT 1", "SELECT", "a comma or ) is missing"),
        ("REPLICATE [t SELECT 1", "[t", "never closed"),
        ("REPLICATE t DROP TABLE x", "DROP", "can't be replicated"),
        ("REPLICATE t x y", "y", "doesn't belong here"),
        ("REPLICATE t (PRIMARY KEY (id)) SELECT 1", "PRIMARY", "begins with its key"),
        ("REPLICATE t (n numeric(a b)) SELECT 1", "b)", "a comma or ) is missing"),
    ],
)
def test_a_wrong_head_is_pointed_at(statement: str, place: str, said: str) -> None:
    with pytest.raises(QueryError) as refused:
        read_head(statement)
    assert said in refused.value.message
    assert refused.value.at is not None and statement[refused.value.at :].startswith(place)
    assert (refused.value.at == len(statement)) == (place == "")
