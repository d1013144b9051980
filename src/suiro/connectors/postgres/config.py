"""A PostgreSQL connection's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from suiro.toolkit.sql.server import ServerConfig, database_field, port_field


class PostgresConfig(ServerConfig):
    """How to reach one PostgreSQL database."""

    port: int = port_field(5432)
    database: str | None = database_field("Left empty: the database of the user's name.")
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
    numeric: Literal["decimal", "text"] = Field(
        "decimal",
        title="numeric(p,s) as",
        description="decimal: exact decimals, NaN is refused. text: digits as text, NaN included.",
    )

    def identity(self) -> str:
        """Host, port and database."""
        return f"postgresql:{self.location}/{self.database or self.user or ''}"
