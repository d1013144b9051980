"""Where the server listens: sockets of its own, told in a sentence where that can't be."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from typing import Final

from suiro.model.errors import UserError

_BACKLOG: Final = 1024
_EVERYWHERE: Final = ("0.0.0.0", "::", "")
_REASONS: Final = {
    errno.EADDRINUSE: "another program listens there",
    errno.EACCES: "this user may not listen there",
    errno.EADDRNOTAVAIL: "it is no address of this machine",
}


def listen(host: str, port: int, option: str) -> socket.socket:
    """A socket that listens. UserError says why it can't, and which option to change."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named, answers go out at once (asyncio sets TCP_NODELAY only then).
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        said = _REASONS.get(error.errno or 0) or (os.strerror(error.errno) if error.errno else str(error))
        if isinstance(error, socket.gaierror):
            said = "it is no address of this machine"
        raise UserError(
            f"the server can't listen at {host}, port {port}: {said}", hint=f"Choose another with {option}."
        ) from error
    return listening


def url(scheme: str, host: str, listening: socket.socket) -> str:
    """The address to open in a browser on this machine."""
    shown = "localhost" if host in _EVERYWHERE or host == "127.0.0.1" else host
    shown = f"[{shown}]" if ":" in shown else shown
    return f"{scheme}://{shown}:{listening.getsockname()[1]}"


def is_everywhere(host: str) -> bool:
    """Whether all addresses of this machine are meant."""
    return host in _EVERYWHERE


def is_address(host: str) -> bool:
    """Whether it is an IP address, in brackets or not."""
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
