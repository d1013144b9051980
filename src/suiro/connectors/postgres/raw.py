"""Binary COPY out as libpq hands it out, in pieces of half a megabyte."""

from __future__ import annotations

import select
from collections.abc import Iterator

import psycopg
from psycopg.pq import ExecStatus

from suiro.connectors.postgres.session import Session, answer
from suiro.spi.context import Context

PIECE_BYTES = 2**19
_TICK = 1.0  #: seconds between two looks at the cancel switch while the server is silent


def copy_out(session: Session, statement: str, context: Context) -> Iterator[bytes]:
    """Run `COPY ... TO STDOUT` and yield its bytes. psycopg.Error where the server refuses or goes away.

    psycopg's own Copy waits for each row by itself; asking libpq directly takes half the time.
    """
    server = session.pgconn
    server.send_query(statement.encode())
    started = answer(session)
    if started is None:
        raise _gone(server)
    if started.status != ExecStatus.COPY_OUT:
        while answer(session) is not None:
            pass
        raise psycopg.errors.error_from_result(started, session.info.encoding)
    waiting: list[bytes | memoryview] = []
    size = 0
    while True:
        length, row = server.get_copy_data(1)
        if length > 0:
            waiting.append(row)
            size += length
            if size >= PIECE_BYTES:
                context.check_cancelled()
                yield b"".join(waiting)
                waiting, size = [], 0
        elif length == 0:
            select.select([server.socket], [], [], _TICK)
            context.check_cancelled()
            server.consume_input()
        else:
            break
    ended = answer(session)
    while (more := answer(session)) is not None:
        ended = more
    if ended is None or ended.status != ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(ended, session.info.encoding) if ended else _gone(server)
    yield b"".join(waiting)


def _gone(server: psycopg.pq.abc.PGconn) -> psycopg.OperationalError:
    return psycopg.OperationalError(server.error_message.decode(errors="replace"))
