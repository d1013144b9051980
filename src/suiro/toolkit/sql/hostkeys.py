"""Host keys of SSH servers: a pinned one is proved; without a pin the first is remembered and another one refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from suiro.model.errors import ConfigError
from suiro.toolkit.home import home
from suiro.toolkit.sql.ssh import SshSettings

if TYPE_CHECKING:
    from asyncssh import SSHKey

_FAMILIES: Final = (
    ("ssh-ed25519",),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"),  # the last is a key's type; signatures with SHA-1 are never asked for
)
_SIGNATURES: Final = tuple(name for family in _FAMILIES for name in family if name != "ssh-rsa")


class Trust:
    """Decides about the keys that a server shows. `shown` is the last; `algorithms` what to ask for next."""

    def __init__(self, settings: SshSettings) -> None:
        self._settings = settings
        self._known = [] if settings.host_key else known_keys(settings)
        self.shown: SSHKey | None = None
        self._first: SSHKey | None = None
        self.algorithms: Sequence[str] = _of_types([key.get_algorithm() for key in self._known]) or _SIGNATURES

    def accepts(self, key: SSHKey) -> bool:
        """Whether this is the server's key, or, without a pin and a memory, may be taken for it."""
        self.shown, self._first = key, self._first or key
        if self._settings.host_key is not None:
            return key.get_fingerprint() == self._settings.host_key
        return not self._known or key in self._known

    def look_further(self) -> bool:
        """After a refusal: whether to connect again, asking for other `algorithms`.

        A server has several keys, and the one that is pinned or known need not be the one it shows by itself.
        """
        if self._settings.host_key is not None and self.shown is not None:
            tried = set(_of_types([self.shown.get_algorithm()]))
            self.algorithms = [name for name in self.algorithms if name not in tried]
            return bool(self.algorithms)
        if self.shown is None and len(self.algorithms) < len(_SIGNATURES):
            self.algorithms = _SIGNATURES  # to say what it shows instead
            return True
        return False

    def remember(self) -> None:
        """Write down the key of a server that is neither pinned nor known."""
        if self._settings.host_key is not None or self._known or self.shown is None:
            return
        from filelock import FileLock  # on use: few sessions meet a server for the first time

        file = known_hosts_file()
        with FileLock(file.with_name(f"{file.name}.lock")):
            if known_keys(self._settings):
                return  # another process was first; the next connection compares
            line = f"{_pattern(self._settings)} {' '.join(_public(self.shown))}\n"
            text = file.read_text("utf-8") if file.exists() else ""
            with file.open("a", encoding="utf-8") as opened:
                opened.write(line if not text or text.endswith("\n") else f"\n{line}")

    def refusal(self) -> ConfigError | None:
        """Why the key that was shown at first is refused; None where none was shown."""
        if self._first is None:
            return None
        shown, at = self._first.get_fingerprint(), self._settings.address
        if self._settings.host_key is not None:
            return ConfigError(
                f"the SSH server {at} shows the host key {shown}, and {self._settings.host_key} is expected",
                hint="Ask its administrator for the fingerprint; if that is the new one, put it into host_key. "
                "If not, somebody stands between.",
            )
        known = ", ".join(key.get_fingerprint() for key in self._known)
        return ConfigError(
            f"the SSH server {at} shows the host key {shown}, and it was {known} before",
            hint="Ask its administrator; if the key was changed on purpose, remove the line of "
            f"{_pattern(self._settings)} from {known_hosts_file()}. If not, somebody stands between.",
        )


def known_hosts_file() -> Path:
    """Where the keys of servers without a pin are remembered, a line for each, as OpenSSH writes them."""
    return home() / "known_hosts"


def known_keys(settings: SshSettings) -> list[SSHKey]:
    """The keys remembered for this server."""
    import asyncssh

    file = known_hosts_file()
    if not file.exists():
        return []
    found = []
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        hosts, _, key = line.strip().partition(" ")
        if _pattern(settings) not in hosts.split(","):
            continue
        try:
            found.append(asyncssh.import_public_key(" ".join(key.split()[:2])))
        except asyncssh.KeyImportError as error:
            raise ConfigError(f"{file}, line {number}, holds no host key", hint="Remove that line.") from error
    return found


def advice(settings: SshSettings) -> tuple[str, ...]:
    """How to pin the key that was remembered, in one sentence; nothing where one is pinned."""
    keys = [] if settings.host_key else known_keys(settings)
    return tuple(
        f"The SSH server {settings.address} showed the host key {key.get_fingerprint()}: compare it with the "
        f"administrator's, and pin it with ssh_host_key={key.get_fingerprint()} (SSHServerFingerprint=... in a "
        "connection string)."
        for key in keys
    )


def _pattern(settings: SshSettings) -> str:
    return settings.host if settings.port == 22 else f"[{settings.host}]:{settings.port}"


def _public(key: SSHKey) -> list[str]:
    """Type and base64 of a key."""
    return key.export_public_key("openssh").decode().split()[:2]


def _of_types(types: Sequence[str]) -> list[str]:
    """The signature algorithms of these types of keys."""
    families = [family for family in _FAMILIES if any(name in types for name in family)]
    return [name for family in families for name in family if name in _SIGNATURES]
