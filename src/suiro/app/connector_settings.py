"""A connector's settings by the names that users write: in URIs, YAML and connection strings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from suiro.spi.connector import Connector, ConnectorConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting. `path` leads to it: ("ssh", "host") is `ssh: {host: ...}` in YAML and `ssh_host` in a URI."""

    path: tuple[str, ...]
    extra: Mapping[str, Any]  #: what the field says of itself in `json_schema_extra`

    @property
    def name(self) -> str:
        """As URIs have it."""
        return "_".join(self.path)


def settings_of(config: type[BaseModel]) -> Iterator[Setting]:
    """The settings, those of nested ones after the one that holds them."""
    for name, field in config.model_fields.items():
        written, nested = field.alias or name, nested_settings(field)
        extra = field.json_schema_extra
        yield Setting(path=(written,), extra=extra if isinstance(extra, dict) else {})
        if nested is not None:
            for inner in settings_of(nested):
                yield Setting(path=(written, *inner.path), extra=inner.extra)


def flat_settings(config: type[BaseModel]) -> dict[str, Setting]:
    """The settings that hold a single value, by their names in URIs."""
    holders = {(setting.path[0],) for setting in settings_of(config) if len(setting.path) > 1}
    return {setting.name: setting for setting in settings_of(config) if setting.path not in holders}


def nested_settings(field: FieldInfo) -> type[BaseModel] | None:
    """The settings within this one, if it holds any."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def uri_parts(config: type[ConnectorConfig]) -> dict[str, str]:
    """Which setting each part of a URI fills."""
    return {str(setting.extra["uri"]): setting.name for setting in settings_of(config) if "uri" in setting.extra}


def put(given: dict[str, Any], setting: Setting, value: Any) -> None:
    """Put a value where the setting's path leads."""
    *holders, last = setting.path
    for holder in holders:
        given = given.setdefault(holder, {})
    given[last] = value


def known_settings(connector: Connector) -> str:
    """The names of the connector's settings, in a sentence."""
    return f"Its settings are: {', '.join(sorted(flat_settings(connector.config)))}."
