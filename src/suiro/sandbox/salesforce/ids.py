"""Record ids: three characters of the object, twelve of the record, three that make case irrelevant."""

from __future__ import annotations

import re
from functools import cache, lru_cache

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CHECKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
#: What the ids of this org have after their first three characters.
ORG = "5g"
SHAPE = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?")


@lru_cache(maxsize=4096)
def id_head(prefix: str, hundreds: int) -> tuple[str, str, int]:
    """An id without its last two digits: its 13 characters, two checks, and the bits of the third check."""
    tail = ""
    while hundreds:
        hundreds, digit = divmod(hundreds, 62)
        tail = DIGITS[digit] + tail
    short = f"{prefix}{ORG}{tail:0>8}"
    return short, with_check(f"{short}00")[15:17], capitals(short[10:])


def record_id(prefix: str, number: int) -> str:
    """The id with 18 characters of an object's record number `number`, from 1; ids sort as numbers do."""
    hundreds, rest = divmod(number, 62 * 62)
    short, checks, bits = id_head(prefix, hundreds)
    last = DIGITS[rest // 62] + DIGITS[rest % 62]
    return f"{short}{last}{checks}{CHECKS[bits | capitals(last) << 3]}"


@cache
def capitals(text: str) -> int:
    """Which letters of at most five are capitals, as bits."""
    return sum(1 << place for place, letter in enumerate(text) if "A" <= letter <= "Z")


def with_check(short: str) -> str:
    """The 18 characters of an id of 15: which letters are capitals, five to a character."""
    return short + "".join(CHECKS[capitals(short[start : start + 5])] for start in (0, 5, 10))


def full_id(text: str) -> str | None:
    """The id with 18 characters of one with 15 or 18. None: it is no id."""
    if SHAPE.fullmatch(text) is None:
        return None
    return with_check(text[:15]) if len(text) == 15 else text
