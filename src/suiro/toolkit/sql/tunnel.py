"""SSH tunnels: a port of this machine's own that leads through an SSH server to a database."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from suiro.model.errors import AuthError, ConfigError, ConnectionLost, SuiroError
from suiro.spi.context import Context
from suiro.toolkit.sql.hostkeys import Trust
from suiro.toolkit.sql.ssh import SshSettings, private_key

if TYPE_CHECKING:
    import asyncssh

    from suiro.toolkit.sql.relay import Relay

LOOPBACK: Final = "127.0.0.1"
KEEPALIVE: Final = 10  #: seconds without a sign of the SSH server until it is asked for one
UNANSWERED: Final = 3  #: so many questions without an answer, and it is gone
_DRAIN: Final = 2.0  #: seconds for the last bytes of sessions to go out, and for the SSH server to say goodbye
_LOOK: Final = 0.2  #: seconds between two looks at the cancel switch
_CIPHERS: Final = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes128-ctr"
_WINDOW: Final = 8 * 2**20  #: bytes under way in one session
_FORBIDDEN: Final = 1  #: RFC 4254, 5.1: SSH_OPEN_ADMINISTRATIVELY_PROHIBITED


class Tunnel:
    """One SSH connection and its port, in a thread of its own. Made for `reach`; `users` says how many hold it."""

    def __init__(self, settings: SshSettings, target: tuple[str, int], patience: float) -> None:
        self.settings, self._target, self._patience = settings, target, patience
        self.users = 0
        self.trouble: SuiroError | None = None  #: why the last session found no way to the database
        self.ended = False
        self._key = private_key(settings)
        self._trust = Trust(settings)
        self._port: Future[int] = Future()
        self._relays: set[Relay] = set()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name=f"suiro-ssh-{settings.host}", daemon=True)

    def begin(self) -> None:
        """Once, by who made it, and without a lock: in a thread that starts, a Way may be collected that wants it."""
        self._thread.start()

    def port(self, context: Context) -> int:
        """The port, once the SSH server let us in; the error that says why it didn't."""
        while True:
            try:
                return self._port.result(timeout=_LOOK)
            except TimeoutError:
                context.check_cancelled()

    def stop(self, *, wait: bool) -> None:
        """End it; what sessions sent before they closed still goes out."""
        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(self._stopped.set)
        if wait and threading.current_thread() is not self._thread:
            self._thread.join(3 * _DRAIN)

    # -- the thread --------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._live())
            except Exception as error:  # noqa: BLE001  (told to who waits for the port)
                self._settle(error)
            finally:
                self.ended = True

    def _settle(self, error: Exception) -> None:
        found = error if isinstance(error, SuiroError) else _translated(error, self.settings, self._key)
        if found is not error:
            found.__cause__ = error
        self.trouble = found
        if not self._port.done():
            self._port.set_exception(found)

    async def _live(self) -> None:
        stopped = asyncio.create_task(self._stopped.wait())
        entering = asyncio.create_task(self._entered())
        await asyncio.wait({stopped, entering}, return_when=asyncio.FIRST_COMPLETED)
        if not entering.done():
            entering.cancel()
            raise ConnectionLost(f"the tunnel through {self.settings.address} was given up", hint="Run again.")
        connection = await entering
        try:
            server = await self._loop.create_server(lambda: self._relay(connection), LOOPBACK, 0)
            self._trust.remember()
            self._port.set_result(server.sockets[0].getsockname()[1])
            lost = asyncio.create_task(connection.wait_closed())
            await asyncio.wait({stopped, lost}, return_when=asyncio.FIRST_COMPLETED)
            server.close()
            await self._end_relays(lost=lost.done())
        finally:
            connection.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.wait_closed(), _DRAIN)
            connection.abort()

    async def _entered(self) -> asyncssh.SSHClientConnection:
        """The SSH connection, by the key that is pinned or known."""
        import asyncssh

        async with asyncio.timeout(self._patience):
            while True:
                try:
                    return await self._logged_in()
                except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
                    if self._trust.look_further():
                        continue
                    refusal = self._trust.refusal()
                    raise (refusal or error) from error

    async def _logged_in(self) -> asyncssh.SSHClientConnection:
        import asyncssh

        settings, trust, tunnel = self.settings, self._trust, self
        password = settings.password if settings.auth != "public_key" else None

        class Client(asyncssh.SSHClient):
            def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                return trust.accepts(key)

            def connection_lost(self, exc: Exception | None) -> None:
                tunnel._lost(exc)

        return await asyncssh.connect(
            settings.host,
            settings.port,
            client_factory=Client,
            username=settings.user,
            password=password.get_secret_value() if password else None,
            client_keys=[self._key] if self._key else None,
            preferred_auth="publickey,password,keyboard-interactive",
            host_based_auth=False,
            config=None,
            agent_path=None,
            gss_host=None,
            x509_trusted_certs=None,
            known_hosts=([], [], []),  # none by itself: every key is Trust's to judge
            server_host_key_algs=list(trust.algorithms),
            encryption_algs=_CIPHERS,
            compression_algs=None,
            connect_timeout=self._patience,
            login_timeout=self._patience,
            keepalive_interval=KEEPALIVE,
            keepalive_count_max=UNANSWERED,
        )

    def _lost(self, error: Exception | None) -> None:
        """The SSH connection is gone: sessions that begin from now on are told so."""
        if self._port.done():
            self.ended = True
            seen = f": {error}" if error is not None and str(error) else ""
            self.trouble = ConnectionLost(f"the SSH tunnel through {self.settings.address} broke{seen}", hint=_AGAIN)

    # -- sessions ----------------------------------------------------------------------------------------------------

    def _relay(self, connection: asyncssh.SSHClientConnection) -> Relay:
        from suiro.toolkit.sql.relay import Relay

        relay = Relay(lambda session: self._channel(connection, session), self._relays.discard)
        self._relays.add(relay)
        return relay

    async def _channel(self, connection: asyncssh.SSHClientConnection, session: Callable[[], Any]) -> Any:
        """A way to the database for one session; None, with `trouble` set, where there is none."""
        import asyncssh

        try:
            async with asyncio.timeout(self._patience):
                channel, _ = await connection.create_connection(session, *self._target, LOOPBACK, 0, window=_WINDOW)
        except (asyncssh.Error, OSError) as error:
            if not self.ended:
                self.trouble = self._refused(error)
            return None
        self.trouble = None
        return channel

    def _refused(self, error: Exception) -> SuiroError:
        import asyncssh

        host, port = self._target
        if isinstance(error, asyncssh.ChannelOpenError) and error.code == _FORBIDDEN:
            return AuthError(
                f"the SSH server {self.settings.address} forbids forwarding to {host}:{port}",
                hint="Ask its administrator to allow it (AllowTcpForwarding, PermitOpen).",
            )
        why = "no answer in time" if isinstance(error, TimeoutError) else getattr(error, "reason", "") or str(error)
        return ConnectionLost(
            f"the SSH server {self.settings.address} can't reach {host}:{port}: {why.lower()}",
            hint="Check host and port as they are seen from the SSH server.",
        )

    async def _end_relays(self, *, lost: bool) -> None:
        until = self._loop.time() + _DRAIN
        while self._relays and not lost and self._loop.time() < until:
            await asyncio.sleep(0.01)
        for relay in list(self._relays):
            relay.abort()
        await asyncio.sleep(0)


_AGAIN: Final = "Run again."
_tunnels: dict[tuple[Any, ...], Tunnel] = {}
_lock = threading.RLock()  #: again by the same thread, where a Way is collected while another is made


class Way:
    """How a session gets to its server: straight, or through a tunnel that it holds open until `close`.

    `at` is where to connect to instead of the server's own address; None: straight.
    """

    def __init__(self, tunnel: Tunnel | None = None) -> None:
        self._tunnel, self._closed = tunnel, tunnel is None
        self.at: tuple[str, int] | None = None

    @contextmanager
    def told(self) -> Iterator[None]:
        """While a session is opened: what the tunnel met on the way to the database is the better error."""
        try:
            yield
        except ConnectionLost as error:
            trouble = self._tunnel.trouble if self._tunnel is not None else None
            if trouble is None:
                raise
            raise type(trouble)(trouble.message, hint=trouble.hint) from error

    def close(self) -> None:
        """Let go; the last one to do so ends the tunnel. Harmless when called twice."""
        self._let_go(wait=True)

    def _let_go(self, *, wait: bool) -> None:
        with _lock:
            if self._closed or self._tunnel is None:
                return
            self._closed = True
            self._tunnel.users -= 1
            if self._tunnel.users:
                return
            for key in [key for key, tunnel in _tunnels.items() if tunnel is self._tunnel]:
                del _tunnels[key]
        self._tunnel.stop(wait=wait)

    def __del__(self) -> None:
        self._let_go(wait=False)  # a session that broke is not always closed


def reach(settings: SshSettings | None, host: str, port: int, context: Context, patience: float) -> Way:
    """The way to a database: through the SSH server if there are settings of one; sessions share a tunnel.

    `patience` in seconds, for the login and for each session. ConfigError, AuthError or ConnectionLost says why
    there is no way.
    """
    if settings is None:
        return Way()
    key = (os.getpid(), settings, host, port)
    with _lock:
        tunnel = _tunnels.get(key)
        made = tunnel is None or tunnel.ended
        if tunnel is None or made:
            tunnel = _tunnels[key] = Tunnel(settings, (host, port), patience)
        tunnel.users += 1
    way = Way(tunnel)
    try:
        if made:
            tunnel.begin()
        way.at = (LOOPBACK, tunnel.port(context))
    except BaseException:
        way.close()
        raise
    return way


def _translated(error: Exception, settings: SshSettings, key: asyncssh.SSHKey | None) -> SuiroError:
    """Why the SSH server could not be entered, in our words."""
    import asyncssh

    at = settings.address
    match error:
        case asyncssh.PermissionDenied():
            return _denied(settings, key)
        case asyncssh.KeyExchangeFailed():
            return ConfigError(
                f"the SSH server {at} speaks no algorithm that is safe: {error.reason.lower()}",
                hint="Bring the server up to date.",
            )
        case asyncssh.ProtocolError() | asyncssh.ProtocolNotSupported():
            return ConfigError(f"what answers at {at} is no SSH server", hint="Check the SSH host and port.")
        case asyncssh.DisconnectError():
            return ConnectionLost(
                f"the SSH server {at} ended the login: {error.reason.lower()}", hint="Check the SSH host and port."
            )
        case socket.gaierror():
            return ConnectionLost(
                f"no host of the name {settings.host} is known (the SSH server)", hint="Check the SSH host's name."
            )
        case TimeoutError():
            return ConnectionLost(
                f"no answer from the SSH server {at} in time", hint="Check the SSH host, port and firewalls."
            )
        case ConnectionRefusedError():
            return ConnectionLost(f"nothing answers at {at} (the SSH server)", hint="Check the SSH host and port.")
        case OSError():
            return ConnectionLost(
                f"the SSH server {at} can't be reached: {error.strerror or error}", hint="Check the SSH host and port."
            )
        case _:
            return ConfigError(f"the login at the SSH server {at} failed: {error}", hint="Check the SSH settings.")


def _denied(settings: SshSettings, key: asyncssh.SSHKey | None) -> AuthError:
    by_password = settings.password is not None and settings.auth != "public_key"
    given = [f"the key {key.get_fingerprint()}"] if key is not None else []
    given += ["this password"] if by_password else []
    hint = "Check the SSH user and the SSH password." if by_password else ""
    if key is not None:
        hint = f"{hint} Check that the key is among the authorized keys of that user.".strip()
    return AuthError(
        f"the SSH server {settings.address} refused user {settings.user} with {' and '.join(given)}", hint=hint
    )
