"""Rows of a prepared statement as the server sends them: the binary result set, in blocks of whole rows.

The driver opens the session (log-in, TLS) and frames small answers; rows are read here, since the driver makes a Python
object of every value. Source: "Binary Protocol Resultset" in MySQL's client/server protocol documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pymysql.constants import COMMAND, FIELD_TYPE
from pymysql.err import OperationalError, raise_mysql_exception
from pymysql.protocol import FieldDescriptorPacket

from suiro.connectors.mysql.session import Session
from suiro.model.errors import DataError

BLOCK_BYTES = 4 * 2**20
ROW_BYTES = 64 * 2**20  #: no row longer than this is taken
MARGIN = 16  #: bytes after the rows that may be looked at

_WHOLE = 0xFFFFFF  #: a packet of this length goes on in the next one
_HEADER = Struct("<I").unpack_from
_COLUMNS = Struct("<IHH").unpack_from
_RUN = Struct("<IBI").pack
_UNSIGNED, _NOT_NULL, _BINARY = 32, 1, 63
_AHEAD = 2**16  #: more than the driver ever reads ahead
_EOF, _ERROR = 0xFE, 0xFF
_PREPARE, _EXECUTE = COMMAND.COM_STMT_PREPARE, COMMAND.COM_STMT_EXECUTE

Places = npt.NDArray[np.int64]

NUMBERS: Final[dict[int, str]] = {
    FIELD_TYPE.TINY: "i1",
    FIELD_TYPE.SHORT: "i2",
    FIELD_TYPE.YEAR: "u2",
    FIELD_TYPE.LONG: "i4",
    FIELD_TYPE.INT24: "i4",
    FIELD_TYPE.LONGLONG: "i8",
    FIELD_TYPE.FLOAT: "f4",
    FIELD_TYPE.DOUBLE: "f8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A column of a result as the server describes it."""

    name: str
    kind: int  #: FIELD_TYPE
    is_unsigned: bool
    never_null: bool
    is_binary: bool  #: bytes, not characters

    @property
    def numpy(self) -> np.dtype[Any]:
        """The type of a kind in NUMBERS."""
        letters = NUMBERS[self.kind]
        return np.dtype(f"<{letters.replace('i', 'u') if self.is_unsigned else letters}")


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows: `starts` are the places in `buffer` at which each begins. Valid until the next one is asked for."""

    buffer: bytearray
    starts: Places


class Statement:
    """A prepared statement of a session that does nothing else. Errors come out as the driver's."""

    def __init__(self, session: Session, sql: str) -> None:
        self._session = session
        self._driver: Any = session.driver
        self._is_ahead = True  #: the driver may have read further than it has told
        self._driver._execute_command(_PREPARE, sql)
        answer = self._driver._read_packet().get_all_data()
        self._number, columns, parameters = _COLUMNS(answer, 1)
        self._definitions(parameters)
        self.columns = self._definitions(columns)

    def run(self) -> tuple[Definition, ...]:
        """Run it; the columns of the rows that `blocks` then gives, none where it returns no rows."""
        self._driver._execute_command(_EXECUTE, _RUN(self._number, 0, 1))
        first = self._driver._read_packet()
        if first.is_ok_packet():
            return ()
        return self._definitions(first.read_length_encoded_integer())

    def blocks(self) -> Iterator[Block]:
        """The rows, once."""
        buffer = bytearray(BLOCK_BYTES + MARGIN)
        starts: list[int] = []
        filled = at = 0
        while True:
            room = len(buffer) - MARGIN
            at, state = walk(buffer, at, filled, starts)
            if state in (_EOF, _ERROR) or filled == room:
                if starts:
                    yield Block(buffer, np.array(starts, np.int64))
                    starts = []
                if state == _EOF:
                    return
                if state == _ERROR:
                    raise_mysql_exception(_packet(buffer, at))
                buffer, filled, at = _moved(buffer, at, filled)
                room = len(buffer) - MARGIN
            if state == _WHOLE:
                if starts:
                    yield Block(buffer, np.array(starts, np.int64))
                    starts = []
                row, at, filled = self._long_row(buffer, at, filled)
                yield Block(row, np.zeros(1, np.int64))
                continue
            with memoryview(buffer) as view:
                filled += self._more(view[filled:room])

    def _more(self, room: memoryview) -> int:
        """Wait for some bytes, and how many they are: first what the driver has read already, then of the socket's."""
        stream = self._driver._rfile
        if self._is_ahead:
            found = stream.read1(min(len(room), _AHEAD))
            room[: len(found)] = found
            self._is_ahead, count = len(found) == len(room) < _AHEAD, len(found)
        else:
            count = stream.raw.readinto(room)
        if not count:
            raise OperationalError(2013, "Lost connection to MySQL server during query")
        return int(count)

    def _long_row(self, buffer: bytearray, at: int, filled: int) -> tuple[bytearray, int, int]:
        """A row of several packets, the first of which begins at `at`; what of the buffer is left after it."""
        row = bytearray()
        ahead = bytes(buffer[at:filled])
        length = _WHOLE
        while length == _WHOLE:
            ahead += self._exactly(max(0, 4 - len(ahead)))
            length = _HEADER(ahead, 0)[0] & _WHOLE
            payload, ahead = ahead[4 : 4 + length], ahead[4 + length :]
            row += payload
            row += self._exactly(length - len(payload))
            if len(row) > ROW_BYTES:
                raise DataError(
                    f"a row has more than {ROW_BYTES // 2**20} MiB, which is more than is held in memory",
                    hint="Leave its long column out, or filter the row out.",
                )
        row += bytes(MARGIN)
        buffer[: len(ahead)] = ahead
        return row, 0, len(ahead)

    def _exactly(self, count: int) -> bytes:
        self._is_ahead = True
        return bytes(self._driver._read_bytes(count)) if count else b""

    def _definitions(self, count: int) -> tuple[Definition, ...]:
        found = tuple(_definition(self._driver._read_packet(FieldDescriptorPacket)) for _ in range(count))
        if count:
            self._driver._read_packet()  # the end of the definitions
        return found


def walk(buffer: bytearray, at: int, filled: int, starts: list[int]) -> tuple[int, int]:
    """Follow packets from `at`, and note where rows begin.

    Where it stopped, and why: 0 for a packet that isn't whole yet, else 0xFE, 0xFF or 0xFFFFFF.
    """
    note, last = starts.append, filled - 4
    while at < last:
        length = _HEADER(buffer, at)[0] & _WHOLE
        start = at + 4
        after = start + length
        if after > filled or length == _WHOLE:
            return at, _WHOLE if length == _WHOLE else 0
        if buffer[start]:
            return at, buffer[start]
        note(start)
        at = after
    return at, 0


def _moved(buffer: bytearray, at: int, filled: int) -> tuple[bytearray, int, int]:
    """The buffer with what is left of it at its beginning, larger where the next packet needs it."""
    rest = bytes(buffer[at:filled])
    wanted = BLOCK_BYTES
    if len(rest) >= 4:
        wanted = max(wanted, 4 + (_HEADER(rest, 0)[0] & _WHOLE))
    if len(buffer) != wanted + MARGIN:
        buffer = bytearray(wanted + MARGIN)
    buffer[: len(rest)] = rest
    return buffer, len(rest), 0


def _packet(buffer: bytearray, at: int) -> bytes:
    length = _HEADER(buffer, at)[0] & _WHOLE
    return bytes(buffer[at + 4 : at + 4 + length])


def _definition(packet: Any) -> Definition:
    binary = packet.charsetnr == _BINARY
    return Definition(
        name=str(packet.name),
        kind=int(packet.type_code),
        is_unsigned=bool(packet.flags & _UNSIGNED),
        never_null=bool(packet.flags & _NOT_NULL),
        is_binary=binary and packet.type_code not in _NEVER_BINARY,
    )


_NEVER_BINARY: Final = frozenset({FIELD_TYPE.JSON, FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL})
