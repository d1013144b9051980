"""Errors of the server and the driver in our words: who acts next.

Source: "Server Error Message Reference" in MySQL's documentation, "MariaDB Error Codes" in MariaDB's.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Final

from suiro.connectors.mysql.config import MysqlConfig
from suiro.model.errors import (
    AuthError,
    Cancelled,
    ConfigError,
    ConnectionLost,
    DataError,
    SchemaConflict,
    SuiroError,
    TransientError,
    UserError,
)

Maker = Callable[[str], SuiroError]


def where(config: MysqlConfig) -> str:
    """The server, and the database where one is set, in words."""
    server = config.host if config.host.startswith("/") else config.address
    return f"{config.database} at {server}" if config.database else server


def number(error: BaseException) -> int:
    """The server's or the driver's number of an error; 0 where there is none."""
    first = error.args[0] if error.args else 0
    return first if isinstance(first, int) else 0


def translate(error: BaseException, config: MysqlConfig, doing: str = "") -> SuiroError:
    """The error of ours that says who acts next."""
    lead = f"{doing}: " if doing else ""
    code = number(error)
    if code in _UNREACHABLE or isinstance(error, OSError):
        return _unreachable(error, config, lead)
    if code in _HANDSHAKE:
        return _handshake(error, config, lead)
    if code in (1045, 1698):
        return AuthError(
            f"{lead}the server refused user {config.user} for {where(config)}", hint="Check the user and the password."
        )
    make = _KINDS.get(code)
    said = f"{lead}the server says: {_said(error)}"
    return make(said) if make is not None else UserError(said, hint="See the server's message.")


def _said(error: BaseException) -> str:
    """The server's message; where it holds a row's value, without that."""
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    for pattern, instead in _WITH_VALUES:
        text = pattern.sub(instead, text)
    return text


_WITH_VALUES: Final = (
    (
        re.compile(r"(Duplicate entry|(?:[Ii]ncorrect|Invalid) [\w ]+ (?:value|string):?) '.*' for", re.DOTALL),
        r"\1 for",
    ),
    (re.compile(r"((?:value|string)(?: is)?:?) '.*'", re.DOTALL), r"\1"),
    (re.compile(r"(Cannot convert '\w+' character) \S+", re.DOTALL), r"\1"),
)


#: 0 is the driver's for a connection that is closed already, or whose answers came out of step.
_UNREACHABLE: Final = frozenset({0, 2002, 2003, 2005, 2006, 2013, 2027, 2055})
_HANDSHAKE: Final = frozenset({2012, 2026, 2059, 2061})


def _unreachable(error: BaseException, config: MysqlConfig, lead: str) -> SuiroError:
    cause = getattr(error, "original_exception", error)
    text = str(error).lower()
    if isinstance(cause, socket.gaierror):
        return ConnectionLost(f"{lead}no host of the name {config.host} is known", hint="Check the host name.")
    if "certificate" in text or ("ssl" in text and "eof" not in text and "closed" not in text):
        return ConfigError(f"{lead}TLS with {config.host} failed: {cause}", hint="Check the TLS settings.")
    if isinstance(cause, ConnectionRefusedError | FileNotFoundError):
        return ConnectionLost(f"{lead}nothing answers at {where(config)}", hint="Check host and port.")
    if isinstance(cause, TimeoutError):
        return ConnectionLost(f"{lead}no answer from {where(config)} in time", hint="Check host, port and firewalls.")
    return ConnectionLost(f"{lead}the connection to {where(config)} broke: {_said(error)}", hint="Run again.")


def _handshake(error: BaseException, config: MysqlConfig, lead: str) -> SuiroError:
    if number(error) == 2026 or "ssl" in str(error).lower():
        return ConfigError(f"{lead}TLS with {config.host} failed: {_said(error)}", hint="Check the TLS settings.")
    return AuthError(
        f"{lead}user {config.user} can't log in at {where(config)}: {_said(error)}",
        hint="Use TLS (sslmode=require), or a user with another way to log in.",
    )


def _made(kind: type[SuiroError], hint: str) -> Maker:
    return lambda message: kind(message, hint=hint)


def _each(numbers: tuple[int, ...], kind: type[SuiroError], hint: str) -> dict[int, Maker]:
    return dict.fromkeys(numbers, _made(kind, hint))


_KINDS: Final[dict[int, Maker]] = {
    **_each((1317, 3024, 1969), Cancelled, "Run again."),
    **_each((1129, 1130, 1820, 1862, 3118), AuthError, "Ask the administrator to let this user in from here."),
    **_each((3159,), ConfigError, "Set sslmode=require."),
    **_each((1290, 1836, 1792), ConfigError, "The server only reads: name one that takes writes."),
    **_each((1142, 1143, 1044, 1227, 1370, 1419), AuthError, "Grant the user that privilege, or use another user."),
    **_each(
        (1040, 1203, 1226, 1053, 1080, 1158, 1159, 1160, 1161, 1927, 3032, 4031),
        ConnectionLost,
        "Wait for the server and run again.",
    ),
    **_each((1205, 1213, 1412, 1615), ConnectionLost, "Another session was in the way: run again."),
    **_each((1021, 1114, 1041, 1037, 1038, 1135), TransientError, "Free room on the server and run again."),
    **_each((1049,), ConfigError, "Check the database's name."),
    **_each(
        (1146, 1051, 1054, 1064, 1103, 1052, 1109, 1305, 1356, 1149, 1102, 1166, 1059),
        ConfigError,
        "Check the names and the SQL; odd names need `backquotes`.",
    ),
    **_each(
        (1048, 1062, 1451, 1452, 1216, 1217, 1586, 3819, 4025, 1364),
        DataError,
        "Filter those rows out, or change the constraint or the key.",
    ),
    **_each(
        (1264, 1265, 1292, 1366, 1406, 1411, 1416, 1690, 1300, 3140, 3141, 4038, 1367, 1690, 1153, 1301),
        DataError,
        "Change the column's type, leave the column out, or filter those rows out.",
    ),
    **_each((1118, 1071, 1074, 1117, 1163, 1170), SchemaConflict, "Change the columns' types, or leave some out."),
}
