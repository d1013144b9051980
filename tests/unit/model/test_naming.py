"""Names: dotted names come apart as they were joined; fitted ones are short, different and stable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.model.errors import ConfigError
from suiro.model.naming import fit_names, join_name, shorten, split_name

PARTS = st.lists(st.text(st.sampled_from('a."é水 \\')) | st.text(), min_size=1, max_size=4)
NAMES = st.lists(st.text(st.sampled_from("aAbBéÉ水_"), min_size=1, max_size=30), unique=True, max_size=20)


@given(PARTS)
def test_a_name_comes_apart_as_it_was_joined(parts: list[str]) -> None:
    assert split_name(join_name(parts)) == tuple(parts)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("orders", ("orders",)),
        ("public.orders", ("public", "orders")),
        ('public."my.table"', ("public", "my.table")),
        ('"a""b"', ('a"b',)),
        ('"".x', ("", "x")),
        ('a"b.c', ('a"b', "c")),
    ],
)
def test_names_as_people_write_them(name: str, parts: tuple[str, ...]) -> None:
    assert split_name(name) == parts


def test_plain_parts_stay_without_quotes() -> None:
    assert join_name(["public", "two words", "my.table"]) == 'public.two words."my.table"'


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", '"a', '"a"b', '"a".', '"'])
def test_names_that_are_no_names_are_refused_with_an_example(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        split_name(name)
    assert refused.value.hint


@given(st.text())
def test_any_text_is_a_name_or_is_refused(name: str) -> None:
    try:
        parts = split_name(name)
    except ConfigError:
        return
    assert split_name(join_name(parts)) == parts


@given(st.text(max_size=80), st.integers(10, 70))
def test_a_shortened_name_fits_and_one_that_fits_is_kept(name: str, limit: int) -> None:
    short = shorten(name, limit)
    assert len(short.encode()) <= limit
    assert shorten(name, limit) == short
    if len(name.encode()) <= limit:
        assert short == name


def test_names_that_are_shortened_differ_by_what_was_cut_off() -> None:
    assert shorten("水" * 30 + "a", 63) != shorten("水" * 30 + "b", 63)


@given(NAMES, st.integers(12, 30), st.booleans())
def test_fitted_names_fit_and_never_collide(names: list[str], limit: int, fold_case: bool) -> None:
    fitted = fit_names(names, limit=limit, fold_case=fold_case)
    assert list(fitted) == names
    assert all(len(name.encode()) <= limit for name in fitted.values())
    seen = [name.lower() if fold_case else name for name in fitted.values()]
    assert len(set(seen)) == len(seen)


@given(NAMES, NAMES)
def test_names_that_come_later_change_no_earlier_one(names: list[str], more: list[str]) -> None:
    both = names + [name for name in more if name not in names]
    earlier = fit_names(names, limit=20, fold_case=True)
    assert {name: fit_names(both, limit=20, fold_case=True)[name] for name in names} == earlier


def test_the_first_of_two_that_collide_keeps_its_form() -> None:
    fitted = fit_names(["Id", "ID", "name"], limit=63, fold_case=True)
    assert fitted["Id"] == "Id"
    assert fitted["ID"].startswith("ID_")
    assert fit_names(["Id", "ID"], limit=63, fold_case=False) == {"Id": "Id", "ID": "ID"}
