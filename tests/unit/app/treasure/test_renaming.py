"""Rename rules as Treasure Data documents them."""

from __future__ import annotations

import pytest

from suiro.app.treasure.renaming import renamed
from suiro.app.treasure.sections import RenameRule
from suiro.model.errors import ConfigError


def by(names: list[str], **rule: object) -> list[str]:
    return renamed(names, RenameRule.model_validate(rule))


@pytest.mark.parametrize(
    ("rule", "before", "after"),
    [
        ({"rule": "upper_to_lower"}, ["IdÄ", "b"], ["idä", "b"]),
        ({"rule": "lower_to_upper"}, ["id_1"], ["ID_1"]),
        ({"rule": "character_types", "pass_types": ["a-z", "0-9"], "pass_characters": "_"}, ["a-b_C1"], ["a_b__1"]),
        ({"rule": "character_types", "pass_types": ["A-Z"], "replace": "x"}, ["aBc"], ["xBx"]),
        ({"rule": "character_types"}, ["ab"], ["__"]),
        (
            {"rule": "first_character_types", "pass_types": ["a-z"], "prefix": "_"},
            ["1a", "a1", "_b"],
            ["_1a", "a1", "__b"],
        ),
        ({"rule": "first_character_types", "pass_types": ["a-z"], "replace": "c"}, ["1a"], ["ca"]),
        ({"rule": "regex_replace", "match": "([0-9]+)_dollars", "replace": "USD$1"}, ["200_dollars"], ["USD200"]),
        ({"rule": "regex_replace", "match": "a", "replace": "\\$1"}, ["ba"], ["b$1"]),
        ({"rule": "truncate", "max_length": 3}, ["abcd", "ab"], ["abc", "ab"]),
        ({"rule": "truncate"}, ["a" * 200], ["a" * 128]),
        ({"rule": "unique_number_suffix"}, ["c", "c", "c"], ["c", "c_2", "c_3"]),
        (
            {"rule": "unique_number_suffix"},
            ["c", "c1", "c1", "c2", "c", "c3"],
            ["c", "c1", "c1_2", "c2", "c_2", "c3"],
        ),
        ({"rule": "unique_number_suffix"}, ["c", "c", "c_2"], ["c", "c_3", "c_2"]),
        ({"rule": "unique_number_suffix", "digits": 3, "delimiter": "-"}, ["c", "c"], ["c", "c-002"]),
        ({"rule": "unique_number_suffix", "offset": 4}, ["c", "c"], ["c", "c_5"]),
        ({"rule": "unique_number_suffix", "max_length": 8}, ["abcdefgh", "abcdefghi"], ["abcdefgh", "abcdef_1"]),
    ],
)
def test_a_rule_renames_every_column(rule: dict[str, object], before: list[str], after: list[str]) -> None:
    assert by(before, **rule) == after


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"rule": "first_character_types"}, "either replace or prefix"),
        ({"rule": "regex_replace", "match": "a"}, "needs match and replace"),
        ({"rule": "regex_replace", "match": "(", "replace": "a"}, "can't be read"),
        ({"rule": "regex_replace", "match": "a", "replace": "$2"}, "can't be read"),
        ({"rule": "character_types", "replace": "ab"}, "one character"),
    ],
)
def test_a_rule_that_lacks_something_is_refused(rule: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        by(["abc"], **rule)
