"""An OpenSSH server of the tests' own: real, throw-away, on 127.0.0.1, and gone with the process that started it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import asyncssh
import psutil

from server_process import Account, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

USER = "suiro-tunnel"
PASSPHRASE = "a passphrase; of tests"
HOST_KEYS = {"ed25519": "ssh-ed25519", "ecdsa": "ecdsa-sha2-nistp256", "rsa": "ssh-rsa"}

# Keys that log in: their type, their form, and whether they are encrypted.
CLIENT_KEYS = {
    "ed25519": ("ssh-ed25519", "openssh", False),
    "ecdsa": ("ecdsa-sha2-nistp256", "pkcs8-pem", False),
    "rsa.pem": ("ssh-rsa", "pkcs1-pem", False),
    "rsa": ("ssh-rsa", "openssh", False),
    "ed25519-encrypted": ("ssh-ed25519", "openssh", True),
    "rsa-encrypted.pem": ("ssh-rsa", "pkcs1-pem", True),
    "ecdsa-encrypted.pem": ("ecdsa-sha2-nistp256", "pkcs8-pem", True),
}

# What a mount namespace of the server's own sees instead of the machine's users: one more, with a password. Nobody
# else sees that user, and nothing of it stays.
IN_A_NAMESPACE = """
mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/shadow" /etc/shadow && mount -t tmpfs tmpfs /run || exit 77
mkdir /run/sshd && shift && exec "$@"
"""


def installed_sshd() -> Path | None:
    """The server that Debian or Ubuntu packages put on this machine."""
    found = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def may_have_users() -> bool:
    """Whether this process can give a server users of its own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


class SshServer(ServerProcess):
    """One sshd with keys of every kind. `options` are lines of sshd_config; `user` logs in with `keys` or `password`.

    With users of its own it knows one with a password; else (`password` is None) it is entered by key only, by the
    user of the tests.
    """

    stops_by = signal.SIGTERM
    watchman_stops_by = "INT"
    port_taken = "in use"

    def __init__(self, program: Path, *options: str) -> None:
        super().__init__(Account.own())
        self.program, self.options = program, options
        self.own_user = may_have_users()
        self.user = USER if self.own_user else psutil.Process().username()
        self.password = secrets.token_hex(8) if self.own_user else None

    def key(self, name: str) -> Path:
        """The file of a private key that logs in, of CLIENT_KEYS, or "stranger", which doesn't."""
        return self.folder / name

    def fingerprint(self, kind: str = "ed25519") -> str:
        """Of a host key."""
        return asyncssh.read_public_key(self.folder / f"host_{kind}.pub").get_fingerprint()

    def sessions(self) -> list[int]:
        """The processes that serve a connection each."""
        return [child.pid for child in psutil.Process(self._pid).children()]

    def end_sessions(self) -> int:
        """Kill what serves the connections; how many there were."""
        found = psutil.Process(self._pid).children(recursive=True)
        for process in found:
            process.kill()
        psutil.wait_procs(found, timeout=10)
        return len(found)

    def freeze(self, *, again: bool = False) -> None:
        """Stop answering without a word, as a machine that lost its network; `again`: go on."""
        for process in psutil.Process(self._pid).children(recursive=True):
            (process.resume if again else process.suspend)()

    def query(self, **settings: str | int | Path | None) -> str:
        """The settings of a tunnel through here as the query of a URI, with these instead or left out."""
        given = {"host": "127.0.0.1", "port": self.port, "user": self.user, "private_key_file": self.key("ed25519")}
        told = {**given, **settings}
        return "&".join(f"ssh_{name}={quote(str(value), safe='')}" for name, value in told.items() if value is not None)

    def stop(self, *, keep: bool = False) -> None:
        """End it with its sessions and remove every trace; `keep` its keys, to start again."""
        if self._server is not None and self._server.poll() is None:
            self.end_sessions()
        super().stop(keep=keep)

    def prepare(self) -> None:
        self.folder.chmod(0o755)
        self._make_keys()
        self._make_user()

    def command(self) -> Sequence[str | Path]:
        settings = [
            *("UsePAM no", "StrictModes no", "PidFile none", "PermitRootLogin yes", "PasswordAuthentication yes"),
            *(f"AuthorizedKeysFile {self.folder}/authorized_keys", "ListenAddress 127.0.0.1", f"Port {self.port}"),
            *(f"HostKey {self.folder}/host_{kind}" for kind in HOST_KEYS),
            *("MaxStartups 100", "LogLevel VERBOSE"),
        ]
        lines = "\n".join([*self.options, *settings])  # of two settings of one name, the first counts
        (self.folder / "sshd_config").write_text(lines + "\n")
        command = [str(self.program), "-D", "-e", "-f", f"{self.folder}/sshd_config"]
        if self.own_user:
            return ["unshare", "--mount", "sh", "-c", IN_A_NAMESPACE, "sshd", str(self.folder), *command]
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        return command

    def reachable(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as session:
                return session.recv(4) == b"SSH-"
        except OSError:
            return False

    @property
    def _pid(self) -> int:
        assert self.pid is not None, "the server is not started"
        return self.pid

    def _make_keys(self) -> None:
        for kind, algorithm in HOST_KEYS.items():
            key = asyncssh.generate_private_key(algorithm)
            key.write_private_key(self.folder / f"host_{kind}")
            key.write_public_key(self.folder / f"host_{kind}.pub")
        lines = []
        for name, (algorithm, form, encrypted) in CLIENT_KEYS.items():
            key = asyncssh.generate_private_key(algorithm)
            key.write_private_key(self.folder / name, form, passphrase=PASSPHRASE if encrypted else None)
            lines.append(key.export_public_key().decode())
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(self.folder / "stranger")
        (self.folder / "authorized_keys").write_text("".join(lines))
        for path in self.folder.iterdir():
            path.chmod(0o644 if path.name == "authorized_keys" else 0o600)

    def _make_user(self) -> None:
        if self.password is None:
            return
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", "-stdin"], input=self.password, capture_output=True, text=True, check=True
        ).stdout.strip()
        users = Path("/etc/passwd").read_text("utf-8") + f"{USER}:x:64017:65534::{self.folder}:/bin/false\n"
        (self.folder / "passwd").write_text(users)
        (self.folder / "shadow").write_text(f"root:*:19000:0:99999:7:::\n{USER}:{hashed}:19000:0:99999:7:::\n")
        (self.folder / "shadow").chmod(0o600)


class DialogueServer:
    """asyncssh's own server, which asks for the password in a dialogue (keyboard-interactive) and by no other way."""

    def __init__(self, password: str) -> None:
        self.password = password
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(20)
        self.port = self._listening.get_port()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncssh.SSHAcceptor:
        key = asyncssh.generate_private_key("ssh-ed25519")
        return await asyncssh.create_server(
            lambda: _Dialogue(self.password), "127.0.0.1", 0, server_host_keys=[key], password_auth=False, gss_host=None
        )

    async def _end(self) -> None:
        self._listening.close()
        await self._listening.wait_closed()


class _Dialogue(asyncssh.SSHServer):
    def __init__(self, password: str) -> None:
        self._password = password

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return False

    def kbdint_auth_supported(self) -> bool:
        return True

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> tuple[str, str, str, Any]:
        return "", "", "", [("Password:", False)]

    def validate_kbdint_response(self, username: str, responses: Any) -> bool:
        return list(responses) == [self._password]

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return True


class Agent:
    """A place where an SSH agent could be; counts who calls."""

    def __init__(self, path: Path) -> None:
        self.path, self.visits = path, 0

    def __enter__(self) -> Self:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen()
        self._listening.setblocking(False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._listening, contextlib.suppress(BlockingIOError):
            while True:
                self._listening.accept()[0].close()
                self.visits += 1


class Silent:
    """A port that takes connections and never says anything."""

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listening.close()


class Dropping:
    """Kills the sessions of an SSH server once, a moment after something has begun."""

    def __init__(self, server: SshServer, begun: Callable[[], bool]) -> None:
        self._server, self._begun = server, begun
        self._thread = threading.Thread(target=self._drop)
        self.dropped = 0

    def __enter__(self) -> Dropping:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _drop(self) -> None:
        wait_until(self._begun)
        time.sleep(0.5)
        self.dropped = 1 if self._server.end_sessions() else 0


def wait_until(until: Callable[[], bool]) -> None:
    """Wait for at most half a minute."""
    deadline = time.monotonic() + 30
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.05)
