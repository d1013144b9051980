"""A PostgreSQL connection's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from suiro.spi.connector import ConnectorConfig


class PostgresConfig(ConnectorConfig):
    """How to reach one PostgreSQL database. A URI's parts and query fill the fields."""

    host: str = Field(
        "localhost",
        title="Server",
        description="Host name or address, or the folder of a Unix socket.",
        json_schema_extra={"uri": "host"},
    )
    port: int = Field(
        5432, title="Port", description="TCP port of the server.", ge=1, le=65535, json_schema_extra={"uri": "port"}
    )
    database: str | None = Field(
        None,
        title="Database",
        description="Left empty: the database of the user's name.",
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
    schema_: str = Field(
        "public",
        title="Schema",
        description="Where tables named without a schema are looked for and made.",
        alias="schema",
    )
    suiro_schema: str | None = Field(
        None,
        title="Schema for markers",
        description="Where Suiro keeps its markers and staging tables. Left empty: the schema of the table loaded.",
    )
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        "prefer", title="TLS", description="How much TLS is asked for; verify-full checks the server's name too."
    )
    sslrootcert: str | None = Field(
        None, title="Root certificate", description="File with the certificate authority to trust."
    )
    connect_timeout: int = Field(
        15, title="Time to connect", description="Seconds to wait for the server to answer.", ge=1
    )
    numeric: Literal["decimal", "text"] = Field(
        "decimal",
        title="numeric(p,s) as",
        description="decimal: exact decimals, NaN is refused. text: digits as text, NaN included.",
    )

    def identity(self) -> str:
        """Host, port and database."""
        return f"postgresql:{self.host}:{self.port}/{self.database or self.user or ''}"
