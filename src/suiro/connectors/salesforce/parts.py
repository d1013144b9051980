"""Very large objects in parts: ranges of record ids, which are numbers of fifteen digits to the base of 62.

Source: "PK Chunking" in Salesforce's Bulk API Developer Guide: base-62 boundaries of ids of fifteen characters, whose
digits are 0 to 9, A to Z and a to z, in this order.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import Final

_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_VALUES: Final = {digit: value for value, digit in enumerate(_DIGITS)}
_LENGTH: Final = 15  #: characters of an id, without the three that tell its case


def id_ranges(first: str, last: str, parts: int) -> Iterator[tuple[str | None, str | None]]:
    """Ranges of ids, from the first id of each to before that of the next; together they hold every id there is."""
    start, end = _number(first), _number(last)
    if start is None or end is None or end <= start or parts < 2:
        yield None, None
        return
    bounds = [_id(start + (end - start) * part // parts) for part in range(1, parts)]
    distinct = [bound for bound in dict.fromkeys(bounds) if first[:_LENGTH] < bound]
    yield from zip([None, *distinct], [*distinct, None], strict=True)


def _number(id_: str) -> int | None:
    value = 0
    for letter in id_[:_LENGTH]:
        if letter not in _VALUES:
            return None
        value = value * len(_DIGITS) + _VALUES[letter]
    return value if len(id_) >= _LENGTH else None


def _id(number: int) -> str:
    letters = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_DIGITS))
        letters.append(_DIGITS[digit])
    return "".join(reversed(letters))
