"""Connection strings: `Server=db;Database=test;UseSSH=true;...` as settings of a connector.

`Name=value` pairs with `;` between them. A value with a `;` or quotes at its ends stands in quotes, single or
double, those within it doubled. Names are properties as CData's drivers call them, which the fields of a connector's
settings list, or the settings' own names; their case doesn't matter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from suiro.app.connector_settings import Setting, flat_settings, put, settings_of
from suiro.model.errors import ConfigError
from suiro.spi.connector import Connector

_PREFIX = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):(?=[\s;]*[A-Za-z][\w ]*=)")
_QUOTED = {quote: re.compile(rf"\s*{quote}((?:[^{quote}]|{quote}{quote})*){quote}\s*(?:;|$)") for quote in "'\""}
_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


def is_connection_string(text: str) -> bool:
    """Whether it can be nothing else: no URI and no name holds `=` before anything else that is special."""
    return re.match(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:(?!//))?[^:/?#]*=", text) is not None


def prefix_of(text: str) -> tuple[str | None, str]:
    """The scheme before the first property (`mysql:Server=...`), if there is one, and the rest."""
    found = _PREFIX.match(text)
    return (found[1].lower(), text[found.end() :]) if found else (None, text)


def properties(text: str) -> list[tuple[str, str]]:
    """Names and values in their order. ConfigError says where it can't be read, without showing values."""
    found: list[tuple[str, str]] = []
    at = 0
    while (at := _after(text, at)) < len(text):
        name, equals, _ = text[at:].partition("=")
        if not equals or ";" in name or not name.strip():
            raise ConfigError(
                f"part {len(found) + 1} of the connection string is not of the form Name=value",
                hint='Write Name=value;Name=value; a value with ; in it stands in quotes: Password="a;b".',
            )
        at += len(name) + 1
        value, at = _value(text, at, name.strip())
        found.append((name.strip(), value))
    return found


def _after(text: str, at: int) -> int:
    """The place of the next property."""
    while at < len(text) and (text[at].isspace() or text[at] == ";"):
        at += 1
    return at


def _value(text: str, at: int, name: str) -> tuple[str, int]:
    """The value that begins there, and where it ends."""
    first = text[at:].lstrip()[:1]
    if first not in _QUOTED:
        end = text.find(";", at)
        end = len(text) if end < 0 else end
        return text[at:end].strip(), end
    found = _QUOTED[first].match(text, at)
    if found is None:
        raise ConfigError(
            f"the value of {name} begins with a quote, and doesn't end with one",
            hint=f"Close the quotes; a {first} within them is written {first}{first}.",
        )
    return found[1].replace(first * 2, first), found.end()


def settings_from(connector: Connector, given: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The properties as the connector's settings; empty ones count as not given."""
    known, switches = _by_property(connector), _switches(connector)
    selectors = _selectors(connector)
    told: dict[str, tuple[str, str]] = {}
    for name, value in given:
        key = name.lower()
        if key not in known and key not in switches and key not in selectors:
            raise _unknown(connector, name)
        if told.get(key, (name, value))[1] != value:
            raise ConfigError(f"{name} is given twice in the connection string", hint="Leave one of them out.")
        if value:
            told[key] = (name, value)
    values: dict[str, Any] = {}
    filled: dict[str, tuple[str, str]] = {}
    for key, (name, value) in told.items():
        if key in known:
            setting = _chosen(known[key], value, told, selectors)
            meant = _meant(setting, name, value)
            before, other = filled.setdefault(setting.name, (meant, name))
            if before != meant:
                raise ConfigError(f"{other} and {name} say different things", hint="Leave one of them out.")
            put(values, setting, meant)
    _switch(values, switches, told)
    return values


def _by_property(connector: Connector) -> dict[str, list[Setting]]:
    """Settings by the lower-case names of properties that fill them; several where another property decides."""
    found: dict[str, list[Setting]] = {}
    for setting in flat_settings(connector.config).values():
        for name in (*setting.extra.get("cdata", ()), setting.name):
            found.setdefault(name.lower(), []).append(setting)
    return found


def _switches(connector: Connector) -> dict[str, Setting]:
    """The properties that turn nested settings on and off."""
    return {
        name.lower(): setting
        for setting in settings_of(connector.config)
        for name in setting.extra.get("cdata_switch", ())
    }


def _selectors(connector: Connector) -> dict[str, list[str]]:
    """The properties that decide which of several settings another one fills, and what they may be."""
    found: dict[str, list[str]] = {}
    for setting in settings_of(connector.config):
        for name, value in setting.extra.get("cdata_when", {}).items():
            found.setdefault(name.lower(), []).append(value)
    return found


def _chosen(
    settings: Sequence[Setting], value: str, told: Mapping[str, tuple[str, str]], selectors: Mapping[str, list[str]]
) -> Setting:
    """The setting that a property fills: by properties that decide, else by how its value begins, else the first."""
    for setting in settings:
        for name, wanted in setting.extra.get("cdata_when", {}).items():
            said = told.get(name.lower())
            if said is not None and said[1].lower() not in [one.lower() for one in selectors[name.lower()]]:
                raise _not_known(said[0], selectors[name.lower()])
            if said is not None and said[1].lower() == wanted.lower():
                return setting
    begun = (one for one in settings if value.startswith(tuple(one.extra.get("cdata_begins", ()))))
    return next(begun, settings[0])


def _meant(setting: Setting, name: str, value: str) -> str:
    """The value as the setting has it."""
    meanings = setting.extra.get("cdata_values", {})
    if not meanings or name.lower() == setting.name:
        return value
    meant = meanings.get(value.lower())
    if meant is None:
        raise _not_known(name, list(meanings))
    return str(meant)


def _switch(values: dict[str, Any], switches: Mapping[str, Setting], told: Mapping[str, tuple[str, str]]) -> None:
    """Leave out what is turned off. What is turned on must be there, and what is there is on unless it is said."""
    said: dict[str, bool] = {}
    for key, setting in switches.items():
        if key not in told:
            continue
        name, value = told[key]
        if value.lower() not in _TRUE + _FALSE:
            raise _not_known(name, ["true", "false"])
        if said.setdefault(setting.name, value.lower() in _TRUE) != (value.lower() in _TRUE):
            raise ConfigError(f"{name} says the opposite of another property", hint="Leave one of them out.")
    for name, on in said.items():
        if on:
            values.setdefault(name, {})
        else:
            values.pop(name, None)


def _not_known(name: str, values: Sequence[str]) -> ConfigError:
    return ConfigError(f"{name} in the connection string has a value that isn't known", hint=f"Use {_or(values)}.")


def _unknown(connector: Connector, name: str) -> ConfigError:
    names = [
        str(one)
        for setting in settings_of(connector.config)
        for key in ("cdata", "cdata_switch", "cdata_when")
        for one in setting.extra.get(key, ())
    ]
    lower = {one.lower(): one for one in [*flat_settings(connector.config), *names]}
    near = get_close_matches(name.lower(), lower, n=1, cutoff=0.0)
    return ConfigError(
        f"{connector.title} has no property {name!r}",
        hint=f"The nearest is {lower[near[0]]}. A value with ; in it stands in quotes." if near else None,
    )


def _or(values: Sequence[str]) -> str:
    return " or ".join(dict.fromkeys(values))
