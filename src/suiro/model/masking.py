"""Masks: what a task does to values that the table must not show as they are."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from suiro.model.errors import ConfigError

LEAST_KEY: Final = 16  #: bytes


class How(StrEnum):
    """What becomes of a column's values. NULL stays NULL always."""

    HASH = "hash"  #: HMAC-SHA256 of the value's canonical text under the user's key, in hexadecimal digits
    TOKENISE = "tokenise"  #: a keyed token of the same length and character classes, which can't be turned back
    MASK = "mask"  #: `*` for every character but the last few; for every one where there are no more than these
    NULL = "null"  #: no value at all
    TRUNCATE = "truncate"  #: the first few characters of a text


KEYED_MASKS: Final = frozenset({How.HASH, How.TOKENISE})  #: they need a key, and keep different values apart
_COUNTED: Final = {How.MASK: 0, How.TRUNCATE: 1}  #: masks that take a number, and the least that it may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """One column's mask. `length` is the number of characters kept, where the mask takes one; else 0."""

    how: How
    length: int = 0

    def __str__(self) -> str:
        return f"{self.how.value}:{self.length}" if self.how in _COUNTED else self.how.value


class MaskKey:
    """The secret under which values are hashed and tokenised. It is never shown."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) < LEAST_KEY:
            raise ConfigError(
                f"the mask key has {len(secret)} bytes; {LEAST_KEY} is the least",
                hint="Make one with: openssl rand -hex 32",
            )
        self._secret = secret

    def __repr__(self) -> str:
        return "MaskKey(...)"

    def digest(self, text: bytes) -> bytes:
        """HMAC-SHA256 of `text`: 32 bytes."""
        return hmac.digest(self._secret, text, "sha256")

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell one key from another, and nothing more."""
        return self.digest(b"suiro: which key is this?").hex()[:16]


def mask_of(text: str) -> Mask:
    """A mask as users write it: hash, tokenise, mask:4, null, truncate:200. ConfigError for anything else."""
    word, colon, number = text.strip().partition(":")
    try:
        how = How(word.lower())
    except ValueError:
        raise ConfigError(f"there is no mask {word!r}", hint=f"Masks are {_KNOWN}.") from None
    if how not in _COUNTED:
        if colon:
            raise ConfigError(f"the mask {how} takes no number", hint=f"Write {how}.")
        return Mask(how=how)
    if not number.isdecimal() or int(number) < _COUNTED[how]:
        raise ConfigError(f"the mask {how} needs the number of characters to keep", hint=f"Write {how}:4.")
    return Mask(how=how, length=int(number))


_KNOWN: Final = "hash, tokenise, mask:N, null and truncate:N"
