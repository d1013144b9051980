"""The destination of a load: which connection it is, and whether the table is there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from suiro.app import stored
from suiro.app.connection_strings import is_connection_string
from suiro.app.connections import connection
from suiro.app.home import WAREHOUSE
from suiro.app.lending import LentContext
from suiro.app.metadata import Metadata
from suiro.app.opened import Connection
from suiro.app.treasure.task import Target
from suiro.model.errors import ConfigError

SETTING: Final = "SUIRO_TD_DESTINATION"  #: the environment variable that names the usual destination


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A destination: a stored connection by its name, or one that is to be stored under it."""

    name: str
    connection: Connection
    settings: Mapping[str, Any] | None = None

    def store(self, metadata: Metadata) -> None:
        """Keep it, its secrets sealed, if it isn't kept already."""
        if self.settings is not None:
            stored.put(self.name, self.connection.connector.name, self.settings, metadata)


def output_of(text: str | None, name: str) -> Output:
    """What a user chose: a connection's name, or a URI, which is to be stored as `name`; else the usual one."""
    asked = text or os.environ.get(SETTING) or WAREHOUSE
    found = connection(asked)
    if "://" in asked or is_connection_string(asked):
        return Output(
            name=name, connection=found, settings=_plain(found.config.model_dump(by_alias=True, exclude_unset=True))
        )
    return Output(name=asked, connection=found)


def check_table(output: Output, target: Target, *, makes: bool) -> None:
    """ConfigError if the table isn't there, unless the load makes it."""
    if makes:
        return
    with LentContext("connector") as context, closing(output.connection.destination(context)) as destination:
        if destination.inspect(target.name) is None:
            raise ConfigError(
                f"there is no table {target.table} in the database {target.database} of {output.name}",
                hint="Make it, or have it made with --auto-create-table.",
            )


def _plain(value: Any) -> Any:
    """Settings as plain data, secrets in clear: they are sealed when they are stored."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case BaseModel():
            return _plain(value.model_dump(by_alias=True, exclude_unset=True))
        case Mapping():
            return {key: _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
    return value
