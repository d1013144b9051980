"""Binary COPY out as the server writes it, many rows at a time.

asyncpg takes what arrives without a look at each row. Through libpq every row is a call of its own, which for narrow
rows takes longer than the server does.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlencode

import psycopg

from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.session import parameters, settings_for, told
from suiro.spi.context import Context

Output = Callable[[bytes], Awaitable[None]]
Copied = Callable[[Any, Output], Awaitable[Any]]  #: gets the session, an asyncpg.Connection

PIECE_BYTES: Final = 2**19
_SHARED: Final = ("dbname", "user", "password", "sslmode", "sslrootcert", "sslcert", "sslkey", "application_name")
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))  #: as libpq's sessions have it
_CLOSE_SECONDS: Final = 1.0  #: for the server to stop what it is doing; then the session is cut off


def copy_out(
    config: PostgresConfig, context: Context, copied: Copied, *, snapshot: str | None, version: int
) -> Generator[bytes]:
    """Yield the bytes that `copied` has a session write to its output, in pieces of PIECE_BYTES or more.

    In the snapshot of another session, if given.
    """
    way = config.way(context)
    try:
        with (
            asyncio.Runner(loop_factory=lambda: _Loop(way.at)) as runner,
            told(config, context, "reading"),
            _translated(),
        ):
            copying = _Copying(config, copied)
            take_back = context.on_cancel(lambda: copying.cancel(runner.get_loop()))
            try:
                with way.told(), told(config, context, "reading"), _translated():
                    runner.run(copying.begin(snapshot, version))
                while (piece := runner.run(copying.next())) is not None:
                    context.check_cancelled()
                    yield piece
            finally:
                take_back()
                runner.run(copying.end())
    finally:
        way.close()


class _Copying:
    """One COPY under way. Its loop runs only while a piece is waited for: between two of them the server waits."""

    def __init__(self, config: PostgresConfig, copied: Copied) -> None:
        self._config, self._copied = config, copied
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting: list[bytes] = []
        self._size = 0
        self._connection: Any = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False

    async def begin(self, snapshot: str | None, version: int) -> None:
        """Open the session, and have it copy."""
        import asyncpg

        config = self._config
        given = parameters(config, None)
        uri = "postgresql://?" + urlencode([(name, given[name]) for name in _SHARED if name in given])
        self._connection = await asyncpg.connect(
            uri, host=config.host, port=config.port, timeout=config.connect_timeout, statement_cache_size=0
        )
        await self._connection.execute(settings_for(version))
        await self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if snapshot is not None:
            await self._connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
        self._task = asyncio.create_task(self._copy(self._connection))
        self._task.add_done_callback(lambda _: self._pieces.put_nowait(None))  # one cancelled at once never runs
        if self._cancelled:
            self._task.cancel()

    async def next(self) -> bytes | None:
        """The next piece, or None after the last."""
        piece = await self._pieces.get()
        if piece is None and self._task is not None:
            await self._task
        return piece

    async def end(self) -> None:
        """Close the session, whatever it is doing."""
        import asyncpg

        if self._task is not None and not self._task.done():
            self._task.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):  # then it is cut off
                await self._connection.close(timeout=_CLOSE_SECONDS)

    def cancel(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the server stop. From any thread."""
        self._cancelled = True
        if self._task is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._task.cancel)

    async def _copy(self, connection: Any) -> None:
        await self._copied(connection, self._take)
        self._pieces.put_nowait(b"".join(self._waiting))

    async def _take(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= PIECE_BYTES:
            self._pieces.put_nowait(b"".join(self._waiting))
            self._waiting, self._size = [], 0
            await asyncio.sleep(0)  # whoever waits for the piece has it before more is read


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose connections all lead to one address, if there is one, whatever server they name.

    So TLS checks the name of the server at the other end of a tunnel. A peer that is silently gone is noticed.
    """

    def __init__(self, at: tuple[str, int] | None) -> None:
        super().__init__()
        self._at = at

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], Any], host: str, port: int, **more: Any
    ) -> tuple[asyncio.Transport, Any]:
        address = (host, port) if self._at is None else self._at
        transport, protocol = await super().create_connection(protocol_factory, *address, **more)
        found = transport.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            if hasattr(socket, option):
                found.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        return transport, protocol


@contextmanager
def _translated() -> Iterator[None]:
    """Turn asyncpg's errors into those of psycopg that say the same."""
    import asyncpg

    try:
        yield
    except asyncpg.PostgresError as error:
        raise _kind(error.sqlstate)(str(error)) from error
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise psycopg.OperationalError(str(error)) from error
    except asyncio.CancelledError as error:
        raise psycopg.errors.QueryCanceled("the copy was cancelled") from error
    except TimeoutError as error:
        raise psycopg.OperationalError("connection timeout expired") from error
    except OSError as error:
        known = error.errno == errno.ECONNREFUSED
        raise psycopg.OperationalError("connection refused" if known else error.strerror or str(error)) from error


def _kind(sqlstate: str | None) -> type[psycopg.Error]:
    try:
        return psycopg.errors.lookup(sqlstate or "")
    except KeyError:
        return psycopg.OperationalError
