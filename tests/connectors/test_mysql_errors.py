"""MySQL's errors in Suiro's words: who acts next, and no row's values; and servers told apart by what they say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql
import pytest

from connectors.test_mysql import config_of
from mariadb import MariaDBServer, database_of
from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.errors import translate
from suiro.connectors.mysql.session import Session, _version, connect
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
from suiro.testing.context import LocalContext

CONFIG = MysqlConfig(host="db.example", database="shop", user="clerk")


@pytest.mark.parametrize(
    ("number", "said", "kind"),
    [
        (1045, "Access denied for user 'clerk'@'10.0.0.1' (using password: YES)", AuthError),
        (1044, "Access denied for user 'clerk'@'%' to database 'shop'", AuthError),
        (1142, "SELECT command denied to user 'clerk'@'%' for table `shop`.`t`", AuthError),
        (1130, "Host '10.0.0.1' is not allowed to connect to this MySQL server", AuthError),
        (1820, "You must reset your password using ALTER USER statement", AuthError),
        (2059, "Authentication plugin 'auth_gssapi_client' not configured", AuthError),
        (1049, "Unknown database 'shop'", ConfigError),
        (1146, "Table 'shop.t' doesn't exist", ConfigError),
        (1064, "You have an error in your SQL syntax", ConfigError),
        (3159, "Connections using insecure transport are prohibited", ConfigError),
        (1290, "The MariaDB server is running with the --read-only option", ConfigError),
        (2026, "SSL is required but the server doesn't support it", ConfigError),
        (2006, "MySQL server has gone away (BrokenPipeError(32, 'Broken pipe'))", ConnectionLost),
        (2013, "Lost connection to MySQL server during query", ConnectionLost),
        (1927, "Connection was killed", ConnectionLost),
        (1040, "Too many connections", ConnectionLost),
        (1213, "Deadlock found when trying to get lock", ConnectionLost),
        (1205, "Lock wait timeout exceeded", ConnectionLost),
        (1317, "Query execution was interrupted", Cancelled),
        (1114, "The table 't' is full", TransientError),
        (1062, "Duplicate entry '1' for key 'PRIMARY'", DataError),
        (1406, "Data too long for column 'v' at row 1", DataError),
        (1118, "Row size too large", SchemaConflict),
        (9999, "something new", UserError),
    ],
)
def test_an_error_says_who_acts_next(number: int, said: str, kind: type[SuiroError]) -> None:
    found = translate(pymysql.OperationalError(number, said), CONFIG)
    assert type(found) is kind
    assert found.hint


def test_a_connection_that_is_closed_or_out_of_step_is_lost() -> None:
    for error in (pymysql.InterfaceError(0, ""), pymysql.InternalError("Packet sequence number wrong - got 1")):
        assert type(translate(error, CONFIG)) is ConnectionLost


@pytest.fixture
def session(mariadb: MariaDBServer, mariadb_url: str, tmp_path: Path) -> Iterator[Session]:
    mariadb.execute("CREATE TABLE t (id int primary key, at date, s varchar(3))", database_of(mariadb_url))
    found = connect(config_of(mariadb_url), LocalContext(run="r", workdir=tmp_path))
    yield found
    found.close()


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("INSERT INTO t (id) VALUES (424242), (424242)", "Duplicate entry for key 'PRIMARY'"),
        ("INSERT INTO t (id) VALUES ('x4242 for ''x'' 4242')", "ncorrect integer value"),
        ("INSERT INTO t VALUES (1, '4242-42-42', '')", "ncorrect date value"),
        ("INSERT INTO t VALUES (1, NULL, '424242')", "Data too long for column 's'"),
        ("INSERT INTO t VALUES (424242424242, NULL, '')", "Out of range value for column 'id'"),
        ("INSERT INTO t SELECT CAST('4242''x' AS INT), NULL, NULL", "runcated incorrect INTEGER value"),
    ],
)
def test_a_message_of_the_server_holds_no_value_of_a_row(session: Session, sql: str, says: str) -> None:
    with pytest.raises(SuiroError, match=says) as refused:
        session.run(sql)
    assert "4242" not in f"{refused.value} {refused.value.hint}"


@pytest.mark.parametrize(
    ("said", "product", "version"),
    [
        ("10.11.19-MariaDB-0+deb12u1-log", "MariaDB", (10, 11)),
        ("5.5.5-10.4.1-MariaDB", "MariaDB", (10, 4)),
        ("11.4.2-MariaDB-ubu2404", "MariaDB", (11, 4)),
        ("8.0.36", "MySQL", (8, 0)),
        ("8.4.0-azure", "MySQL", (8, 4)),
        ("5.7.44-log", "MySQL", (5, 7)),
    ],
)
def test_a_server_is_known_by_its_greeting(said: str, product: str, version: tuple[int, int]) -> None:
    assert _version(said) == (product, version)


@contextmanager
def answering(greeting: bytes) -> Iterator[int]:
    """A port at which something greets and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            with listening.accept()[0] as session:
                session.sendall(greeting)

        thread = threading.Thread(target=greet)
        thread.start()
        yield int(listening.getsockname()[1])
        thread.join()


@pytest.mark.parametrize(
    "greeting",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\0\0\0hello", b"\x01\0\0\0\x0a"],
)
def test_what_is_no_such_server_is_not_taken_for_one(greeting: bytes, tmp_path: Path) -> None:
    with answering(greeting) as port, pytest.raises((ConfigError, ConnectionLost)) as refused:
        connect(MysqlConfig(host="127.0.0.1", port=port, user="u"), LocalContext(run="r", workdir=tmp_path))
    assert str(port) in refused.value.message
