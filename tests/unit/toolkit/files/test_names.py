"""Names of files: taken apart, and made for tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.model.naming import join_name
from suiro.toolkit.files.names import Named, file_stem, pattern_stem, stream_stem, take_apart

TABLES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=2).map(join_name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("orders.csv.gz", ("orders", "csv", "gzip")),
        ("a.b.PARQUET", ("a.b", "parquet", None)),
        ("archive.zip", ("archive", None, "zip")),
        ("plain", ("plain", None, None)),
        (".csv", (".csv", None, None)),
    ],
)
def test_a_name_tells_stem_format_and_compression(name: str, expected: tuple[str, str | None, str | None]) -> None:
    stem, format_, compression = expected
    assert take_apart(name) == Named(stem=stem, format=format_, compression=compression)


@pytest.mark.parametrize(
    ("pattern", "expected"), [("orders-*.csv.gz", "orders"), ("*.csv", ""), ("a_[0-9].jsonl", "a"), ("a?b*.csv", "a")]
)
def test_a_pattern_is_named_by_what_stands_before_its_wildcard(pattern: str, expected: str) -> None:
    assert pattern_stem(pattern) == expected


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("orders", "orders"),
        ("public.orders", "public.orders"),
        ('"public.orders"', "public%2Eorders"),
        ("水路の表", "水路の表"),
        ('"a/b"', "a%2Fb"),
        ("two words", "two words"),
        ("con", "%63on"),
        ("AUX", "%41UX"),
        ("tail ", "tail%20"),
        ('""', "%"),
    ],
)
def test_tables_have_files_that_every_file_system_takes(table: str, expected: str) -> None:
    assert file_stem(table) == expected


@given(TABLES, TABLES)
def test_two_tables_never_share_a_file(one: str, other: str) -> None:
    assert (file_stem(one) == file_stem(other)) == (one == other)


@given(TABLES)
def test_a_file_name_fits_and_has_no_sign_that_file_systems_refuse(table: str) -> None:
    stem = file_stem(table)
    assert 0 < len(stem.encode()) <= 150
    assert not set(stem) & set('/\\:*?"<>|\0')
    assert not stem.startswith(".") or "." in table


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30))
def test_the_stream_of_a_tables_file_has_the_tables_name(name: str) -> None:
    assert stream_stem(f"{file_stem(join_name([name]))}.parquet") == name


def test_long_names_are_cut_and_stay_apart() -> None:
    names = ["n" * 300 + str(n) for n in range(3)] + ["水" * 100, "水" * 101, "/" * 100]
    stems = [file_stem(name) for name in names]
    assert len(set(stems)) == len(names)
    assert max(len(stem.encode()) for stem in stems) <= 150
