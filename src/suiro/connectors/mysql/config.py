"""A MySQL or MariaDB connection's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from suiro.toolkit.sql.server import ServerConfig, database_field, port_field, sslmode_field


class MysqlConfig(ServerConfig):
    """How to reach one MySQL or MariaDB server."""

    port: int = port_field(3306)
    database: str | None = database_field(
        "Whose tables can be named without it. Left empty: every table is called database.table."
    )
    sslmode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] = sslmode_field()
    suiro_database: str | None = Field(
        None,
        title="Database for markers",
        description="Where Suiro keeps its markers and staging tables. Left empty: the database of the table loaded.",
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
        return f"mysql:{self.location}/{self.database or ''}"
