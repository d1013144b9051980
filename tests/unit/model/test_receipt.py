"""Receipts: every row read is accounted for, and every row staged."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suiro.model.receipt import Basis, Level, Receipt

SOME = st.integers(0, 1000)
BEFORE = ("filtered", "deduplicated", "rejected")
AFTER = ("inserted", "updated", "unchanged", "superseded", "deleted")


def receipt_of(counts: dict[str, Any]) -> Receipt:
    staged = sum(counts[name] for name in AFTER)
    read = staged + sum(counts[name] for name in BEFORE)
    return Receipt(
        level=Level.SUMS,
        basis=Basis.IN_FLIGHT,
        equal=True,
        source_rows=read,
        table_rows=staged,
        read=read,
        staged=staged,
        **counts,
    )


COUNTS = st.fixed_dictionaries(dict.fromkeys((*BEFORE, *AFTER), SOME))


@given(COUNTS)
def test_a_receipt_that_accounts_for_every_row_adds_up(counts: dict[str, int]) -> None:
    assert receipt_of(counts).adds_up


@given(COUNTS, st.sampled_from([*BEFORE, *AFTER, "read", "staged"]), st.integers(-5, 5).filter(bool))
def test_a_receipt_that_is_off_by_any_row_does_not(counts: dict[str, int], name: str, off: int) -> None:
    receipt = receipt_of(counts)
    assert not dataclasses.replace(receipt, **{name: getattr(receipt, name) + off}).adds_up  # type: ignore[arg-type]


def test_a_receipt_of_nothing_adds_up() -> None:
    assert receipt_of(dict.fromkeys((*BEFORE, *AFTER), 0)).adds_up


def test_a_receipt_can_not_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        receipt_of(dict.fromkeys((*BEFORE, *AFTER), 0)).read = 1  # type: ignore[misc]
