"""A MySQL or MariaDB connection's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from suiro.spi.connector import ConnectorConfig


class MysqlConfig(ConnectorConfig):
    """How to reach one MySQL or MariaDB server. A URI's parts and query fill the fields."""

    host: str = Field(
        "localhost",
        title="Server",
        description="Host name or address, or the path of a Unix socket.",
        json_schema_extra={"uri": "host"},
    )
    port: int = Field(
        3306, title="Port", description="TCP port of the server.", ge=1, le=65535, json_schema_extra={"uri": "port"}
    )
    database: str | None = Field(
        None,
        title="Database",
        description="Whose tables can be named without it. Left empty: every table is called database.table.",
        json_schema_extra={"uri": "path"},
    )
    user: str | None = Field(
        None,
        title="User",
        description="Left empty: the name of the operating system's user.",
        json_schema_extra={"uri": "user"},
    )
    password: SecretStr | None = Field(
        None, title="Password", description="The user's password.", json_schema_extra={"uri": "password"}
    )
    suiro_database: str | None = Field(
        None,
        title="Database for markers",
        description="Where Suiro keeps its markers and staging tables. Left empty: the database of the table loaded.",
    )
    sslmode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = Field(
        "prefer", title="TLS", description="How much TLS is asked for; verify-full checks the server's name too."
    )
    sslrootcert: str | None = Field(
        None, title="Root certificate", description="File with the certificate authority to trust."
    )
    sslcert: str | None = Field(None, title="Client certificate", description="File with the user's own certificate.")
    sslkey: str | None = Field(None, title="Client key", description="File with the key of the client certificate.")
    connect_timeout: int = Field(
        15, title="Time to connect", description="Seconds to wait for the server to answer.", ge=1
    )
    tinyint1: Literal["integer", "boolean"] = Field(
        "integer",
        title="TINYINT(1) as",
        description="integer: as it is. boolean: what BOOL means; values other than 0 and 1 are refused.",
    )
    zero_dates: Literal["reject", "text", "null"] = Field(
        "reject",
        title="Zero dates",
        description="Dates such as 0000-00-00 and 2024-00-10. reject: refused by their column. text: date columns "
        "become text, which holds them. null: they become NULL.",
    )
    time: Literal["interval", "clock", "text"] = Field(
        "interval",
        title="TIME as",
        description="interval: an amount of time, -838:59:59 to 838:59:59. clock: a time of day; others are refused. "
        "text: as the server writes it.",
    )

    def identity(self) -> str:
        """Host, port and database."""
        return f"mysql:{self.host}:{self.port}/{self.database or ''}"
