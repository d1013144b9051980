"""PostgreSQL: tables and views as a source, tables as a destination, binary COPY between two of them."""

from __future__ import annotations

from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.destination import PostgresDestination
from suiro.connectors.postgres.source import PostgresSource
from suiro.spi.connector import Connector

connector = Connector(
    name="postgres",
    title="PostgreSQL",
    config=PostgresConfig,
    schemes=("postgresql", "postgres"),
    source=PostgresSource,
    destination=PostgresDestination,
    stability="beta",
)
