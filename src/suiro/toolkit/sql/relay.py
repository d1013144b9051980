"""One TCP connection carried through SSH: bytes pass both ways, and each side waits for the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import asyncssh

if TYPE_CHECKING:
    Opener = Callable[[Callable[[], asyncssh.SSHTCPSession[bytes]]], Awaitable[asyncssh.SSHTCPChannel[bytes] | None]]


class Relay(asyncio.Protocol):
    """The local end. `opened` opens the far end for a session, or gives None where there is none; `ended` is told."""

    def __init__(self, opened: Opener, ended: Callable[[Relay], None]) -> None:
        self._open, self._ended = opened, ended
        self._channel: asyncssh.SSHTCPChannel[bytes] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._gone = False
        self.local: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.local = cast(asyncio.Transport, transport)
        self.local.pause_reading()
        self._opening = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        channel = await self._open(lambda: _FarEnd(self))
        if channel is None:
            self.local.abort()
        elif self._gone:
            channel.abort()
        else:
            self._channel = channel
            self.local.resume_reading()

    def data_received(self, data: bytes) -> None:
        assert self._channel is not None
        if not self._channel.is_closing():
            self._channel.write(data)

    def eof_received(self) -> bool:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write_eof()
        return True  # the far end may still have something to say

    def pause_writing(self) -> None:
        if self._channel is not None:
            self._channel.pause_reading()

    def resume_writing(self) -> None:
        if self._channel is not None:
            self._channel.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        if self._channel is not None and not self._channel.is_closing():
            (self._channel.close if exc is None else self._channel.abort)()
        self._ended(self)

    def abort(self) -> None:
        """Break the local end, so that whoever waits for it learns at once."""
        self.local.abort()


class _FarEnd(asyncssh.SSHTCPSession[bytes]):
    """The SSH channel's end. What goes wrong here must not get out: it would end the whole SSH connection."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def data_received(self, data: bytes, datatype: Any) -> None:
        if not self._relay.local.is_closing():
            self._relay.local.write(data)

    def eof_received(self) -> bool:
        if not self._relay.local.is_closing():
            with contextlib.suppress(OSError):  # the local end has gone; its connection_lost is on the way
                self._relay.local.write_eof()
        return True

    def pause_writing(self) -> None:
        self._relay.local.pause_reading()

    def resume_writing(self) -> None:
        self._relay.local.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        (self._relay.local.close if exc is None else self._relay.local.abort)()
