"""Sealed texts: AES-256-GCM under a data key of their own, which a master key wraps; bound to the record they are in.

A token is `s1.<key id>.<wrapped data key>.<sealed text>.<checksum>` in unpadded base64url. Both seals have the token's
head and what it is bound to as associated data (NIST SP 800-38D); each begins with its nonce of 96 random bits. The
checksum only tells a damaged token from one that is another record's: the seals are what nobody can forge.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from suiro.model.errors import ConfigError

KEY_BYTES: Final = 32
_NONCE_BYTES, _TAG_BYTES, _CHECKSUM_BYTES = 12, 16, 6
_FORM: Final = "s1"
_ANEW = "Enter the secret anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class MasterKey:
    """A key of 32 bytes that wraps data keys. `id` names it in tokens and tells nothing of it."""

    material: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.material) != KEY_BYTES:
            raise ConfigError(
                f"a master key has {KEY_BYTES} bytes, this one {len(self.material)}",
                hint="Make one with: head -c 32 /dev/urandom | base64",
            )

    @property
    def id(self) -> str:
        """Eight letters from a hash of the key."""
        return hashlib.sha256(b"suiro master key id\0" + self.material).hexdigest()[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    key: str
    wrapped: bytes
    sealed: bytes

    @property
    def head(self) -> str:
        return f"{_FORM}.{self.key}"

    def text(self) -> str:
        body = f"{self.head}.{_text(self.wrapped)}.{_text(self.sealed)}"
        return f"{body}.{_checksum(body)}"


def seal(text: str, bound_to: str, key: MasterKey) -> str:
    """A token that only this key opens, and only as what it is bound to."""
    data_key = AESGCM.generate_key(KEY_BYTES * 8)
    wrapped = _encrypt(key.material, data_key, _bound(f"{_FORM}.{key.id}", bound_to))
    # surrogatepass: every text comes back as it was, half a surrogate pair too
    sealed = _encrypt(data_key, text.encode("utf-8", "surrogatepass"), _bound(_FORM, bound_to))
    return _Token(key=key.id, wrapped=wrapped, sealed=sealed).text()


def unseal(token: str, bound_to: str, keys: Sequence[MasterKey]) -> str:
    """The text in a token; ConfigError if none of the keys sealed it, it is another record's, or it is damaged."""
    parsed = _parsed(token, bound_to)
    data_key = _data_key(parsed, bound_to, keys)
    try:
        return _decrypt(data_key, parsed.sealed, _bound(_FORM, bound_to)).decode("utf-8", "surrogatepass")
    except InvalidTag:
        raise _not_its_own(bound_to) from None


def rewrap(token: str, bound_to: str, keys: Sequence[MasterKey], key: MasterKey) -> str:
    """The same sealed text under another master key; errors as in `unseal`."""
    parsed = _parsed(token, bound_to)
    if parsed.key == key.id:
        return token
    wrapped = _encrypt(key.material, _data_key(parsed, bound_to, keys), _bound(f"{_FORM}.{key.id}", bound_to))
    return _Token(key=key.id, wrapped=wrapped, sealed=parsed.sealed).text()


def _parsed(token: str, bound_to: str) -> _Token:
    body, _, checksum = token.rpartition(".")
    try:
        form, key, wrapped, sealed = body.split(".")
        found = _Token(key=key, wrapped=_bytes(wrapped), sealed=_bytes(sealed))
    except (ValueError, binascii.Error):
        found = None
    whole = found is not None and form == _FORM and checksum == _checksum(body) and found.text() == token
    if found is None or not whole or min(len(found.wrapped), len(found.sealed)) < _NONCE_BYTES + _TAG_BYTES:
        raise ConfigError(f"the secret of {bound_to} is damaged: its token is not as it was written", hint=_ANEW)
    return found


def _data_key(token: _Token, bound_to: str, keys: Sequence[MasterKey]) -> bytes:
    for key in keys:
        if key.id == token.key:
            try:
                return _decrypt(key.material, token.wrapped, _bound(token.head, bound_to))
            except InvalidTag:
                raise _not_its_own(bound_to) from None
    known = ", ".join(key.id for key in keys) or "none"
    raise ConfigError(
        f"the secret of {bound_to} was sealed with master key {token.key}, which isn't among the keys here ({known})",
        hint="Give that key back (SUIRO_MASTER_KEY takes several, the newest first), or enter the secret anew.",
    )


def _not_its_own(bound_to: str) -> ConfigError:
    return ConfigError(f"the token stored for the secret of {bound_to} was sealed for another record", hint=_ANEW)


def _bound(head: str, bound_to: str) -> bytes:
    return f"{head}|{bound_to}".encode("utf-8", "surrogatepass")


def _encrypt(key: bytes, data: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, bound)


def _decrypt(key: bytes, data: bytes, bound: bytes) -> bytes:
    return AESGCM(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], bound)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _checksum(body: str) -> str:
    return _text(hashlib.sha256(body.encode("utf-8", "surrogatepass")).digest()[:_CHECKSUM_BYTES])
