"""Task keys: the same task has the same digest on every machine, and no two tasks share one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from suiro.model.job import TaskKey

TEXTS = st.text(st.sampled_from('a",[]水'), max_size=4)
KEYS = st.builds(TaskKey, source=TEXTS, stream=TEXTS, filter=TEXTS, table=TEXTS, generation=TEXTS)


def test_a_digest_is_the_same_on_every_machine() -> None:
    key = TaskKey(source="postgres:db:5432/sales", stream="public.orders", filter="", table="注文")
    assert key.digest() == "e5cda5b4f0a62c6970e74a28"


@given(KEYS, KEYS)
def test_keys_share_a_digest_only_when_they_are_equal(one: TaskKey, other: TaskKey) -> None:
    assert (one.digest() == other.digest()) == (one == other)
    assert len(one.digest()) == 24
