"""MySQL and MariaDB: tables and views of a server as a source, tables as a destination."""

from __future__ import annotations

from suiro.connectors.mysql.config import MysqlConfig
from suiro.connectors.mysql.destination import MysqlDestination
from suiro.connectors.mysql.source import MysqlSource
from suiro.spi.connector import Connector

connector = Connector(
    name="mysql",
    title="MySQL and MariaDB",
    config=MysqlConfig,
    schemes=("mysql", "mariadb"),
    source=MysqlSource,
    destination=MysqlDestination,
    stability="beta",
)
