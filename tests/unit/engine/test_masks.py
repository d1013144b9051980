"""Masks: one value has one hash whatever its type, tokens keep the form, NULL stays, and nothing shows a value."""

from __future__ import annotations

import hashlib
import hmac
import unicodedata
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.engine.masks import Masker
from suiro.model.errors import ConfigError, DataError
from suiro.model.masking import How, Mask, MaskKey, mask_of
from suiro.model.types import logical_field

SECRET = b"0123456789abcdef-a-test-key"
KEY = MaskKey(SECRET)
HASH, TOKENISE, NULL = Mask(how=How.HASH), Mask(how=How.TOKENISE), Mask(how=How.NULL)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
JAPANESE = st.text(st.sampled_from("顧客管理ひらがなカタカナabcXYZ0189 -@é"), max_size=30)


def masked(array: pa.Array, mask: Mask, *, logical: str | None = None, key: MaskKey | None = KEY) -> list[Any]:
    """What the mask makes of a column."""
    masker = Masker("c", logical_field("c", array.type, logical), mask, key, identifies=False)
    found = masker.apply(array)
    assert found.type == masker.field.type
    values: list[Any] = found.to_pylist()
    return values


def hash_of(text: str) -> str:
    return hmac.new(SECRET, text.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("text", "arrays"),
    [
        ("2", [pa.array([2], t) for t in (pa.int8(), pa.int16(), pa.int64(), pa.uint64(), pa.float32(), pa.float64())]),
        ("2", [pa.array([Decimal("2.00")], pa.decimal128(12, 2)), pa.array([Decimal(2)], pa.decimal256(60, 5))]),
        ("-1.5", [pa.array([Decimal("-1.50")], pa.decimal128(5, 2)), pa.array([-1.5], pa.float64())]),
        ("0.1", [pa.array([0.1], pa.float32()), pa.array([0.1], pa.float64())]),
        ("0", [pa.array([-0.0]), pa.array([Decimal("0.000")], pa.decimal128(5, 3)), pa.array([0])]),
        ("100000000000000000000000", [pa.array([1e23])]),
        ("NaN", [pa.array([float("nan")])]),
        ("true", [pa.array([True])]),
        ("2024-02-29", [pa.array([date(2024, 2, 29)]), pa.array([date(2024, 2, 29)], pa.date64())]),
        ("2024-02-29T07:08:09.12", [pa.array([datetime(2024, 2, 29, 7, 8, 9, 120000)], pa.timestamp("us"))]),  # noqa: DTZ001
        (
            "2024-02-29T07:08:09Z",
            [
                pa.array([datetime(2024, 2, 29, 7, 8, 9, tzinfo=UTC)], pa.timestamp(unit, zone))
                for unit, zone in (("s", "UTC"), ("ms", "Asia/Tokyo"), ("us", "UTC"), ("ns", "UTC"))
            ],
        ),
        ("07:08:09.5", [pa.array([time(7, 8, 9, 500000)], pa.time64("us"))]),
        ("24:00:00", [pa.array([86_400_000_000]).view(pa.time64("us"))]),
        (
            "12345678-1234-5678-1234-567812345678",
            [pa.array([UUID("12345678-1234-5678-1234-567812345678").bytes], pa.uuid())],
        ),
        ("00ff", [pa.array([b"\x00\xff"]), pa.array([b"\x00\xff"], pa.large_binary())]),
        ("水", [pa.array(["水"], t) for t in (pa.string(), pa.large_string(), pa.string_view())]),
        ("水", [pa.array(["水"]).dictionary_encode()]),
    ],
)
def test_one_value_has_one_hash_whatever_type_it_comes_in(text: str, arrays: list[pa.Array]) -> None:
    assert [masked(array, HASH) for array in arrays] == [[hash_of(text)]] * len(arrays)


def test_numbers_and_padded_text_that_travel_as_text_have_the_hash_of_their_value() -> None:
    assert masked(pa.array(["1.50", "1.5", "1e2"]), HASH, logical="numeric") == [
        hash_of("1.5"),
        hash_of("1.5"),
        hash_of("100"),
    ]
    assert masked(pa.array(["ab   "]), HASH, logical="char(5)") == [hash_of("ab")]
    assert masked(pa.array(["ab   "]), HASH) == [hash_of("ab   ")]


def test_infinite_days_have_a_hash_of_their_own() -> None:
    ends = pa.array([2**31 - 1, -(2**31) + 1], pa.int32()).view(pa.date32())
    assert masked(ends, HASH, logical="date") == [hash_of("infinity"), hash_of("-infinity")]
    with pytest.raises(DataError):
        masked(ends, HASH)


@given(st.lists(st.none() | TEXTS, max_size=30), st.integers(0, 30), st.sampled_from([HASH, TOKENISE]))
def test_batches_don_t_matter_and_null_stays_null(texts: list[str | None], cut: int, mask: Mask) -> None:
    whole = masked(pa.array(texts, pa.string()), mask)
    parts = [masked(pa.array(part, pa.string()), mask) for part in (texts[:cut], texts[cut:])]
    assert whole == parts[0] + parts[1]
    assert [value is None for value in whole] == [text is None for text in texts]
    for text, value in zip(texts, whole, strict=True):
        assert whole[texts.index(text)] == value


def kind(letter: str) -> str:
    """The class that a token keeps."""
    if letter.isascii():
        return "digit" if letter.isdigit() else "lower" if letter.islower() else "upper" if letter.isupper() else letter
    name = unicodedata.name(letter).split()[0]
    return name if name in ("CJK", "HIRAGANA", "KATAKANA") else "lower"


@given(JAPANESE)
def test_a_token_keeps_length_and_classes_and_depends_on_the_key(text: str) -> None:
    (token,) = masked(pa.array([text]), TOKENISE)
    assert [kind(letter) for letter in token] == [kind(letter) for letter in text]
    (other,) = masked(pa.array([text]), TOKENISE, key=MaskKey(b"another key of enough bytes"))
    letters = sum(letter not in " -@" for letter in text)
    assert letters < 12 or other != token != text


@given(TEXTS)
def test_a_token_of_any_text_has_its_length(text: str) -> None:
    (token,) = masked(pa.array([text]), TOKENISE)
    assert len(token) == len(text)


@given(st.none() | TEXTS, st.integers(0, 10))
def test_a_mask_shows_the_last_characters_of_longer_values_alone(text: str | None, keep: int) -> None:
    (found,) = masked(pa.array([text], pa.string()), Mask(how=How.MASK, length=keep))
    if text is None:
        assert found is None
    elif len(text) <= keep:
        assert found == "*" * len(text)
    else:
        assert found == "*" * (len(text) - keep) + text[len(text) - keep :]


def test_numbers_are_masked_as_their_text() -> None:
    assert masked(pa.array([1234567]), Mask(how=How.MASK, length=4)) == ["***4567"]


@given(st.lists(st.none() | TEXTS, max_size=20), st.integers(1, 20))
def test_a_cut_text_is_the_beginning_and_every_cut_is_counted(texts: list[str | None], length: int) -> None:
    mask = Mask(how=How.TRUNCATE, length=length)
    masker = Masker("c", pa.field("c", pa.string()), mask, None, identifies=False)
    found = masker.apply(pa.array(texts, pa.string())).to_pylist()
    assert found == [None if text is None else text[:length] for text in texts]
    assert masker.cut == sum(text is not None and len(text) > length for text in texts)


def test_nulls_keep_the_type_of_the_column() -> None:
    masker = Masker("c", logical_field("c", pa.string(), "inet"), NULL, None, identifies=False)
    assert masker.field == logical_field("c", pa.string(), "inet")
    assert masker.apply(pa.array(["10.0.0.1"])).to_pylist() == [None]


@pytest.mark.parametrize("mask", [NULL, Mask(how=How.MASK, length=4), Mask(how=How.TRUNCATE, length=4)])
def test_a_key_column_takes_only_masks_that_keep_keys_apart(mask: Mask) -> None:
    with pytest.raises(ConfigError, match="belongs to the key"):
        Masker("id", pa.field("id", pa.string()), mask, KEY, identifies=True)


def test_tokens_too_few_to_tell_keys_apart_are_refused_without_showing_one() -> None:
    masker = Masker("id", pa.field("id", pa.string()), TOKENISE, KEY, identifies=True)
    assert len(masker.apply(pa.array(["12345678-1234-5678-1234-567812345678"]))[0].as_py()) == 36
    with pytest.raises(DataError) as refused:
        masker.apply(pa.array(["7351"]))
    assert "7351" not in refused.value.message and refused.value.hint == "Use hash for it."


def test_what_can_t_be_masked_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="column tags"):
        Masker("tags", pa.field("tags", pa.list_(pa.int32())), HASH, KEY, identifies=False)
    with pytest.raises(ConfigError, match="needs a key"):
        Masker("c", pa.field("c", pa.string()), HASH, None, identifies=False)
    with pytest.raises(ConfigError, match="only text can be cut"):
        Masker("c", pa.field("c", pa.int32()), Mask(how=How.TRUNCATE, length=2), None, identifies=False)


@pytest.mark.parametrize("text", ["hash:3", "mask", "mask:x", "mask:-1", "truncate:0", "truncate", "rot13", "null:1"])
def test_masks_that_are_none_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        mask_of(text)
    assert refused.value.hint


@pytest.mark.parametrize("text", ["hash", "tokenise", "mask:4", "mask:0", "null", "truncate:200"])
def test_a_mask_reads_as_it_is_written(text: str) -> None:
    assert str(mask_of(text)) == text


def test_a_key_is_never_shown_and_never_short() -> None:
    assert SECRET.decode() not in repr(KEY) + str(KEY) + KEY.fingerprint
    assert KEY.fingerprint == MaskKey(SECRET).fingerprint != MaskKey(SECRET + b"x").fingerprint
    with pytest.raises(ConfigError) as refused:
        MaskKey(b"too short")
    assert "too short" not in refused.value.message
