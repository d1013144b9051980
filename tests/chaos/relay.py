"""A wire that can be cut: a TCP relay whose connections all break at a word, from this process or another."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self


class Relay:
    """Listens on `port` and carries what comes to `target`, a port of this machine. Who connects to `control` cuts."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener, self._control = _listening(), _listening()
        self.port: int = self._listener.getsockname()[1]
        self.control: int = self._control.getsockname()[1]
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        for accepted, act in ((self._listener, self._join), (self._control, self._told)):
            threading.Thread(target=_accept, args=(accepted, act), daemon=True).start()

    def cut(self) -> None:
        """Break every connection that there is, as a cable would: both ends hear a reset."""
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            _reset(end)

    def _told(self, asker: socket.socket) -> None:
        self.cut()
        asker.close()

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self.target), timeout=10)
        except OSError:
            _reset(near)
            return
        far.settimeout(None)
        with self._lock:
            self._ends |= {near, far}
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with self._lock:
            self._ends -= {one, other}
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for listener in (self._listener, self._control):
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()


def ask_to_cut(control: int) -> None:
    """Have the relay in another process cut, and wait until it has."""
    with socket.create_connection(("127.0.0.1", control), timeout=10) as asker:
        asker.recv(1)


def _listening() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    listener.settimeout(None)
    return listener


def _accept(listener: socket.socket, act: object) -> None:
    assert callable(act)
    with contextlib.suppress(OSError):
        while True:
            act(listener.accept()[0])


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    end.close()
