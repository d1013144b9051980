"""PostgreSQL's errors in Suiro's words: who acts next."""

from __future__ import annotations

import psycopg
import pytest

from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.session import translate
from suiro.model.errors import AuthError, ConfigError, ConnectionLost, SuiroError

CONFIG = PostgresConfig(host="db.example", database="shop", user="clerk")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("SSL connection has been closed unexpectedly", ConnectionLost),
        ("consuming input failed: SSL SYSCALL error: EOF detected", ConnectionLost),
        ("server closed the connection unexpectedly", ConnectionLost),
        ("SSL error: certificate verify failed", ConfigError),
        ("server does not support SSL, but SSL was required", ConfigError),
        ('FATAL:  password authentication failed for user "clerk"', AuthError),
        ('FATAL:  database "shop" does not exist', ConfigError),
    ],
)
def test_a_connection_that_breaks_is_tried_again_and_a_wrong_setting_is_not(said: str, kind: type[SuiroError]) -> None:
    found = translate(psycopg.OperationalError(said), CONFIG)
    assert type(found) is kind
    assert found.hint
