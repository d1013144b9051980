"""Texts that know where their letters came from, and names in brackets."""

from __future__ import annotations

import pytest

from suiro.engine.query.text import Text, normal
from suiro.model.place import QueryError, pointed_at, wrong_at


@pytest.mark.parametrize(
    ("dialect", "written", "read"),
    [
        ("duckdb", "SELECT [Id], [a]]b] FROM [s].[My Table]", 'SELECT "Id", "a]b" FROM "s"."My Table"'),
        ("duckdb", "SELECT `a``b`, x[1], [1, 2], ['a'], []", "SELECT \"a`b\", x[1], [1, 2], ['a'], []"),
        (
            "postgres",
            "SELECT 'it''s [x]', E'\\'[y]', $$[z]$$, ARRAY[1]",
            "SELECT 'it''s [x]', E'\\'[y]', $$[z]$$, ARRAY[1]",
        ),
        ("mysql", "SELECT [a], 'b\\'[c]', \"[d]\" # [e]\n", "SELECT `a`, 'b\\'[c]', \"[d]\"  \n"),
        ("sqlite", 'SELECT a -- [b]\n, /* [c] */ [d"e]', 'SELECT a  \n,   `d"e`'),
        ("sqlite", """SELECT "a""b", 'c"d"'""", """SELECT `a"b`, 'c"d"'"""),
        ("postgres", "SELECT /* a /* b */ c */ 1", "SELECT   1"),
        ("mysql", "SELECT /*! evil */ 1", "SELECT   1"),
    ],
)
def test_names_in_brackets_become_the_dialects_own(dialect: str, written: str, read: str) -> None:
    assert normal(Text(written), dialect).text == read


@pytest.mark.parametrize("written", ["SELECT [a", "SELECT 'a", 'SELECT "a', "SELECT /* a", "SELECT $x$ a"])
def test_what_is_never_closed_is_pointed_at(written: str) -> None:
    with pytest.raises(QueryError) as refused:
        normal(Text(written), "duckdb")
    assert refused.value.at == 7
    assert "never closed" in refused.value.message


def test_places_survive_edits() -> None:
    text = Text("REPLICATE t SELECT [a], nosuch FROM [x y]").part(12)
    found = normal(text, "duckdb").edited([(0, 6, "SELECT DISTINCT")]).enclosed("SELECT * FROM (\n", "\n)")
    at = found.text.index("nosuch")
    error = found.wrong(at, at + 6, "no such column")
    assert error.at == 24
    assert error.message == (
        "line 1, column 25: no such column\n"
        "  REPLICATE t SELECT [a], nosuch FROM [x y]\n"
        "                          ^^^^^^"
    )


def test_a_name_in_brackets_is_shown_whole() -> None:
    found = normal(Text("SELECT [my col] FROM t"), "mysql")
    shown = found.wrong(7, 15, "no").message.split("\n")
    assert shown[1:] == ["  SELECT [my col] FROM t", "         ^^^^^^^^"]


def test_carets_stand_under_wide_letters() -> None:
    error = wrong_at("SELECT 顧客,\n 氏名 FROM x", 12, 14, "no")
    assert error.message == "line 2, column 2: no\n   氏名 FROM x\n   ^^^^"


def test_a_long_line_is_shown_around_the_place() -> None:
    text = "SELECT " + ", ".join(f"column_{i}" for i in range(100)) + " FROM t"
    at = text.index("column_50")
    shown = wrong_at(text, at, at + 9, "no").message.split("\n")[1:]
    assert len(shown[0]) < 120 and shown[0].startswith("  ... ") and shown[0].endswith(" ...")
    assert shown[0][shown[1].index("^") :].startswith("column_50") and shown[1].count("^") == 9


def test_a_place_past_the_end_is_the_end() -> None:
    assert wrong_at("SELECT a FROM", 13, 13, "no").message == "line 1, column 14: no\n  SELECT a FROM\n               ^"
    assert wrong_at("", 5, 9, "no").at == 0


@pytest.mark.parametrize(
    ("text", "said", "at"),
    [
        ("SELECT a,, b", "syntax error\n\nLINE 1: SELECT a,, b\n                 ^", 9),
        ("SELECT\n x y z", "syntax error\nLINE 2:  x y z\n             ^", 12),
        ("a" * 50 + "oops" + "b" * 50, "x\nLINE 1: ..." + "a" * 5 + "oops...\n" + " " * 16 + "^", 50),
        ("SELECT a", "nothing pointed at", None),
        ("SELECT a", "x\nLINE 7: y\n        ^", None),
    ],
)
def test_a_systems_own_caret_is_understood(text: str, said: str, at: int | None) -> None:
    assert pointed_at(text, said) == at
