"""Settings of an SSH server on the way to a database, and the private key that they name."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from suiro.model.errors import ConfigError
from suiro.toolkit.home import home

if TYPE_CHECKING:
    from asyncssh import SSHKey

KEYS: Final = "keys"  #: the folder in Suiro's home where key files are looked for
_PASTED: Final = ("-----BEGIN", "LS0tLS1CRUdJTi")  #: how a key's text begins, as it is and in base64


class SshSettings(BaseModel):
    """An SSH server through which a database is reached. OpenSSH's own settings and agent are never consulted."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True)

    host: str = Field(
        title="SSH server",
        description="Host name or address of the SSH server.",
        min_length=1,
        json_schema_extra={"cdata": ["SSHServer"]},
    )
    port: int = Field(
        22, title="SSH port", description="Its port.", ge=1, le=65535, json_schema_extra={"cdata": ["SSHPort"]}
    )
    user: str = Field(
        title="SSH user",
        description="Who logs in at the SSH server.",
        min_length=1,
        json_schema_extra={"cdata": ["SSHUser"]},
    )
    auth: Literal["password", "public_key"] | None = Field(
        None,
        title="SSH authentication",
        description="Password, or public key. Left empty: by what is given, the key first.",
        json_schema_extra={
            "cdata": ["SSHAuthMode"],
            "cdata_values": {"password": "password", "public_key": "public_key"},
        },
    )
    password: SecretStr | None = Field(
        None,
        title="SSH password",
        description="The SSH user's password.",
        json_schema_extra={"cdata": ["SSHPassword"]},
    )
    private_key_file: str | None = Field(
        None,
        title="SSH private key, as a file",
        description="PEM or OpenSSH. Looked for as it is written, then by its bare name in the current folder and in "
        f"the folder {KEYS} of Suiro's home.",
        json_schema_extra={"cdata": ["SSHClientCert"], "cdata_when": {"SSHClientCertType": "PEMKEY_FILE"}},
    )
    private_key: SecretStr | None = Field(
        None,
        title="SSH private key, as text",
        description="The private key itself, pasted.",
        json_schema_extra={
            "cdata": ["SSHClientCert"],
            "cdata_when": {"SSHClientCertType": "PEMKEY_BLOB"},
            "cdata_begins": [*_PASTED],
        },
    )
    passphrase: SecretStr | None = Field(
        None,
        title="Passphrase of the SSH key",
        description="What the private key is encrypted with.",
        json_schema_extra={"cdata": ["SSHClientCertPassword"]},
    )
    host_key: str | None = Field(
        None,
        title="Host key of the SSH server",
        description="Its SHA256 fingerprint. Left empty: the key shown at first is remembered, another one refused.",
        json_schema_extra={"cdata": ["SSHServerFingerprint"]},
    )

    @field_validator("private_key_file")
    @classmethod
    def _names_a_file(cls, given: str | None) -> str | None:
        if given is not None and given.strip().startswith(_PASTED):
            raise ValueError("it must name a file; the key's text belongs into private_key")
        return given

    @field_validator("host_key")
    @classmethod
    def _fingerprint(cls, given: str | None) -> str | None:
        if given is None:
            return None
        # A + that stands in a URI's query arrives as a space.
        digest = given.strip().removeprefix("SHA256:").rstrip("=").replace(" ", "+")
        if not re.fullmatch(r"[A-Za-z0-9+/]{43}", digest):
            raise ValueError("it must be a fingerprint SHA256:..., as `ssh-keygen -lf` shows it")
        return f"SHA256:{digest}"

    @model_validator(mode="after")
    def _can_log_in(self) -> SshSettings:
        if self.auth == "password" and self.password is None:
            raise ValueError("login by password needs the SSH password")
        if self.auth == "public_key" and not self.has_key:
            raise ValueError("login by public key needs private_key_file or private_key")
        if self.auth is None and self.password is None and not self.has_key:
            raise ValueError("a password, private_key_file or private_key is needed")
        return self

    @property
    def has_key(self) -> bool:
        """Whether a private key is given."""
        return self.private_key_file is not None or self.private_key is not None

    @property
    def address(self) -> str:
        """The server in words."""
        return f"{self.host}:{self.port}"


def private_key(settings: SshSettings) -> SSHKey | None:
    """The private key to log in with, if any. ConfigError says what is wrong with it."""
    if settings.auth == "password" or not settings.has_key:
        return None
    name, data = _key_data(settings)
    return _opened(name, data, settings.passphrase)


def _key_data(settings: SshSettings) -> tuple[str, bytes]:
    """What to call the key in messages, and its bytes."""
    if settings.private_key is not None:
        return "the SSH private key", _text(settings.private_key.get_secret_value())
    assert settings.private_key_file is not None
    places = key_places(settings.private_key_file)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ConfigError(
            f"there is no SSH private key file {settings.private_key_file}",
            hint=f"Put it into {home() / KEYS}, or name its path; looked for: {', '.join(map(str, places))}.",
        )
    try:
        return f"the SSH private key {found}", found.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the SSH private key {found} can't be read: {error.strerror}", hint="Let the user of Suiro read that file."
        ) from error


def key_places(file: str) -> list[Path]:
    """Where a key file is looked for: as it is written, then by its bare name here and in the home's keys."""
    bare = re.split(r"[/\\]", file)[-1]
    return list(dict.fromkeys((Path(file).expanduser(), Path(bare), home() / KEYS / bare)))


def _text(pasted: str) -> bytes:
    """The key's bytes from its text: as it is, in base64, or with line ends written as \\n."""
    text = pasted.strip()
    if text.startswith(_PASTED[1]):
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except binascii.Error:
            return b""
    return text.replace("\\n", "\n").encode() + b"\n"


def _opened(name: str, data: bytes, passphrase: SecretStr | None) -> SSHKey:
    import asyncssh

    try:
        return asyncssh.import_private_key(data)
    except asyncssh.KeyImportError as error:
        if not str(error).startswith("Passphrase"):
            raise ConfigError(f"{name} is no private key in PEM or OpenSSH form", hint=_convert(data)) from error
        if passphrase is None:
            raise ConfigError(
                f"{name} is encrypted, and no passphrase is given", hint="Give its passphrase (ssh_passphrase)."
            ) from error
    try:
        return asyncssh.import_private_key(data, passphrase.get_secret_value())
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise ConfigError(
            f"the passphrase doesn't open {name}", hint="Check the passphrase (ssh_passphrase)."
        ) from error


def _convert(data: bytes) -> str:
    """What to do about a key in another form."""
    if data.startswith(b"PuTTY-User-Key-File"):
        return "It is a key of PuTTY's: convert it with puttygen key.ppk -O private-openssh -o key.pem."
    if data.startswith((b"ssh-", b"ecdsa-")):
        return "It is a public key: name the private one."
    return "Name the file that ssh-keygen made, without .pub."
