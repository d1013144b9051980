"""Secrets: the master keys of this machine, what they seal, and the secrets that users give a name."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Lock

from sqlalchemy import delete, insert, select, update

from suiro.model.errors import ConfigError
from suiro.store import sealing
from suiro.store.database import Database, edit_lock, moment
from suiro.store.names import fit, unknown
from suiro.store.sealing import KEY_BYTES, MasterKey
from suiro.store.tables import secret

__all__ = ["MasterKey", "MasterKeys", "NamedSecret", "Secrets"]

_MAKE = "Make a key with: head -c 32 /dev/urandom | base64"


class MasterKeys:
    """The master keys of this machine: the first one seals, all of them unseal.

    From SUIRO_MASTER_KEY or the file that SUIRO_MASTER_KEY_FILE names: base64 of 32 bytes, or several, newest first,
    with commas or white space between. Else from `file`, which must be readable to its owner alone and is made when
    something is sealed for the first time. Keys are read on first use; every call may raise ConfigError for them.
    """

    def __init__(self, file: Path, environ: Mapping[str, str] | None = None) -> None:
        self._file = file
        self._environ = os.environ if environ is None else environ
        self._keys: tuple[MasterKey, ...] = ()
        self._reading = Lock()

    def seal(self, text: str, bound_to: str) -> str:
        """A token that these keys open, and only for the record (`kind/id/field`, say) that it is bound to."""
        return sealing.seal(text, bound_to, self._known(make=True)[0])

    def unseal(self, token: str, bound_to: str) -> str:
        """The text; ConfigError if it was sealed with another key, for another record, or the token is damaged."""
        return sealing.unseal(token, bound_to, self._known(make=False))

    def rewrap(self, token: str, bound_to: str) -> str:
        """The token under the first key: itself if it is already. Errors as in `unseal`."""
        keys = self._known(make=False)
        return sealing.rewrap(token, bound_to, keys, keys[0]) if keys else sealing.unseal(token, bound_to, ())

    def _known(self, *, make: bool) -> tuple[MasterKey, ...]:
        with self._reading:
            if not self._keys:
                self._keys = self._read(make=make)
            return self._keys

    def _read(self, *, make: bool) -> tuple[MasterKey, ...]:
        given, file = self._environ.get("SUIRO_MASTER_KEY"), self._environ.get("SUIRO_MASTER_KEY_FILE")
        if given and file:
            raise ConfigError("both SUIRO_MASTER_KEY and SUIRO_MASTER_KEY_FILE are set", hint="Set one of them.")
        if given:
            return _keys_in(given, "SUIRO_MASTER_KEY")
        if file:
            return _keys_in(_content(Path(file)), f"SUIRO_MASTER_KEY_FILE ({file})")
        if make:
            _make(self._file)
        elif not self._file.exists():
            return ()
        _check_mode(self._file)
        return _keys_in(_content(self._file), f"the master key file {self._file}")


def _keys_in(text: str, where: str) -> tuple[MasterKey, ...]:
    found = []
    for word in text.replace(",", " ").split():
        try:
            material = base64.b64decode(word.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError):
            material = b""
        if len(material) != KEY_BYTES:
            raise ConfigError(f"{where} holds something that isn't base64 of {KEY_BYTES} bytes", hint=_MAKE)
        found.append(MasterKey(material=material))
    if not found:
        raise ConfigError(f"{where} is empty", hint=_MAKE)
    return tuple(found)


def _content(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError as error:
        raise ConfigError(f"can't read the master key file {path}: {error.strerror}", hint="Check the file.") from error
    except UnicodeDecodeError:
        raise ConfigError(f"the master key file {path} is not text", hint=_MAKE) from None


def _check_mode(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        raise ConfigError(
            f"others on this machine may read or write the master key file {path}", hint=f"Run: chmod 600 {path}"
        )


def _make(path: Path) -> None:
    """Make the file unless it is there; whole or not at all, and once if several processes do so."""
    if path.exists():
        return
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(name, path)
        finally:
            os.unlink(name)
    except OSError as error:
        raise ConfigError(
            f"can't make the master key file {path}: {error.strerror}",
            hint=f"Give write access to {path.parent}, or set SUIRO_MASTER_KEY.",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSecret:
    """What may be told of a secret."""

    name: str
    created_at: datetime
    updated_at: datetime


class Secrets:
    """Secrets that users give a name, for settings to refer to."""

    def __init__(self, database: Database, keys: MasterKeys) -> None:
        self._database, self._keys = database, keys

    def set(self, name: str, text: str) -> None:
        """Keep a secret, new or in place of the one of that name."""
        token = self._keys.seal(text, _bound(fit("secret", name)))
        with self._database.begin() as connection:
            edit_lock(connection)
            at = moment(connection)
            changed = connection.execute(update(secret).where(secret.c.name == name).values(token=token, updated_at=at))
            if not changed.rowcount:
                connection.execute(insert(secret).values(name=name, token=token, created_at=at, updated_at=at))

    def all(self) -> tuple[NamedSecret, ...]:
        """Names and times, by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(secret.c.name, secret.c.created_at, secret.c.updated_at))
            return tuple(NamedSecret(**row) for row in sorted(rows.mappings(), key=lambda row: str(row["name"])))

    def get(self, name: str) -> str:
        """The secret; ConfigError if there is none of that name, and as in `MasterKeys.unseal`."""
        with self._database.read() as connection:
            token = connection.execute(select(secret.c.token).where(secret.c.name == name)).scalar()
            if token is None:
                raise unknown(connection, secret, "secret", name)
        return self._keys.unseal(token, _bound(name))

    def delete(self, name: str) -> None:
        """Forget it; ConfigError if there is none of that name."""
        with self._database.begin() as connection:
            edit_lock(connection)
            if not connection.execute(delete(secret).where(secret.c.name == name)).rowcount:
                raise unknown(connection, secret, "secret", name)

    def rewrap(self) -> int:
        """Bring every token under the first master key; how many were under another. All, or (on an error) none."""
        with self._database.begin() as connection:
            edit_lock(connection)
            changed = 0
            for name, token in connection.execute(select(secret.c.name, secret.c.token)).all():
                renewed = self._keys.rewrap(token, _bound(name))
                if renewed != token:
                    connection.execute(update(secret).where(secret.c.name == name).values(token=renewed))
                    changed += 1
            return changed


def _bound(name: str) -> str:
    return f"secret/{name}"
