"""Rows on their way into a staging table: LOAD DATA LOCAL INFILE from memory, or INSERT where a server refuses that."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pyarrow as pa
from pymysql.connections import MySQLResult

from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.encode import lines, slices, tuples
from suiro.connectors.mysql.exact import run_exactly
from suiro.connectors.mysql.session import Driver, Session, _parameters, told
from suiro.connectors.mysql.standing import columns_sql, quote
from suiro.model.errors import ConfigError, InternalError, SuiroError
from suiro.spi.context import Context

_PIECE = 2**20  #: bytes in one packet of what is lent, and of one INSERT, about


class _LendingResult(MySQLResult):  # type: ignore[misc]
    """A result that answers a server's wish for a file with the rows at hand, and with nothing else."""

    def _read_load_local_packet(self, first_packet: object) -> None:
        connection = self.connection
        lent, connection.lent = connection.lent, None
        try:
            if lent is None:
                raise ConfigError(
                    "the server asks for a file of this machine, which it never gets",
                    hint="Find out why: no statement of Suiro's asked for that.",
                )
            for start in range(0, len(lent), connection.piece):
                connection.write_packet(bytes(lent[start : start + connection.piece]))
        finally:
            connection.write_packet(b"")
            answer = connection._read_packet()
        self._read_ok_packet(answer)


class _Lending(Driver):
    """A connection that lends the server the bytes in `lent`, once."""

    lent: memoryview | None = None
    piece: int = _PIECE

    def _read_query_result(self, unbuffered: bool = False) -> Any:
        self._result = None
        result = _LendingResult(self)
        if unbuffered:
            result.init_unbuffered_query()
        else:
            result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows


class LoadingSession(Session):
    """A session that fills tables. `lends`: by LOAD DATA LOCAL INFILE; a server that refuses it is never offered it."""

    def __init__(self, config: MysqlConfig, context: Context) -> None:
        super().__init__(config, context)
        ((allowed, packet),) = self.ask("SELECT @@local_infile, @@max_allowed_packet")
        self.piece = min(_PIECE, int(packet) // 2)
        self.lends = bool(allowed) and hasattr(MySQLResult, "_read_load_local_packet")
        if self.lends:
            self.driver._force_close()
            with self.way.told(), told(config, context):
                self.driver = _Lending(self.way, **_parameters(config), local_infile=True)
            self._prepare()

    def load(self, table: str, fields: Sequence[pa.Field], data: memoryview) -> int:
        """LOAD DATA of these lines into a table named in SQL; the number of rows. Whatever is odd is an error."""
        targets, sets = [], []
        for number, field in enumerate(fields):
            if field.type == pa.uuid():  # bytes without a character set would be taken for the 16 bytes themselves
                targets.append(f"@suiro_{number}")
                sets.append(f"{quote(field.name)} = CONVERT(@suiro_{number} USING utf8mb4)")
            else:
                targets.append(quote(field.name))
        statement = (
            f"LOAD DATA LOCAL INFILE 'suiro' INTO TABLE {table} CHARACTER SET binary FIELDS TERMINATED BY '\\t' "
            f"ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({', '.join([*targets, '@suiro_rest'])})"
        )
        self.driver.lent, self.driver.piece = data, self.piece
        statement = f"{statement} SET {', '.join(sets)}" if sets else statement
        rows, _ = run_exactly(self, statement, doing=f"loading {table}", every=True)  # LOCAL makes errors warnings
        return rows


class Loader:
    """Fills one staging table. Text is made here while the server takes the text before it."""

    def __init__(self, config: MysqlConfig, context: Context, table: str, fields: Sequence[pa.Field]) -> None:
        self._config, self._context = config, context
        self._table, self._fields = table, list(fields)
        self._schema = pa.schema(self._fields)
        self._session = LoadingSession(config, context)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="suiro-mysql-load")
        self._under_way: Future[None] | None = None

    def write(self, data: pa.RecordBatch) -> None:
        """Add rows. An error of the rows before may come now."""
        for part in slices(pa.RecordBatch.from_arrays(data.columns, schema=self._schema)):
            self._context.check_cancelled()
            if self._session.lends:
                text = lines(part)
                self._join()
                self._under_way = self._thread.submit(self._load, text, part.num_rows)
            else:
                self._insert(tuples(part))

    def finish(self) -> None:
        """Have the server hold every row."""
        try:
            self._join()
        finally:
            self._end()

    def close(self) -> None:
        """Give up: what is under way may or may not arrive."""
        with suppress(SuiroError):
            self._join()
        self._end()

    def _end(self) -> None:
        self._thread.shutdown(wait=True)
        self._session.close()

    def _join(self) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.result()

    def _load(self, text: memoryview, rows: int) -> None:
        loaded = self._session.load(self._table, self._fields, text)
        if loaded != rows:
            raise InternalError(f"the server took {loaded} of {rows} rows without a warning")

    def _insert(self, rows: Sequence[bytes]) -> None:
        head = f"INSERT INTO {self._table} ({columns_sql(self._schema.names)}) VALUES ".encode()
        start, size = 0, 0
        for at, row in enumerate(rows):
            if size and size + len(row) > self._session.piece:
                self._send(head, rows[start:at])
                start, size = at, 0
            size += len(row) + 1
        if rows[start:]:
            self._send(head, rows[start:])

    def _send(self, head: bytes, rows: Sequence[bytes]) -> None:
        with told(self._config, self._context, f"loading {self._table}"), self._session.driver.cursor() as cursor:
            cursor.execute(head + b",".join(rows))
