"""The catalogue: connectors by name and by URI scheme, imported when used.

A connector is a module of `suiro.connectors`, or of an installed package that names it under the entry point group
`suiro.connectors`; it ends in `connector = Connector(...)`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from suiro.model.errors import ConfigError, InternalError
from suiro.spi.connector import Connector

PACKAGE = GROUP = "suiro.connectors"  #: named, not imported: the catalogue stands below what it lists


@cache
def names() -> tuple[str, ...]:
    """The names of all connectors, sorted; nothing is imported."""
    return tuple(sorted({*_own(), *_installed()}))


def find(name: str) -> Connector:
    """The connector of that name; ConfigError lists those there are."""
    if name in _own():
        return _checked(name, importlib.import_module(f"{PACKAGE}.{name}").connector)
    if name in _installed():
        return _checked(name, _installed()[name].load())
    raise ConfigError(f"there is no connector {name!r}", hint=f"There are: {', '.join(names())}.")


def for_scheme(scheme: str) -> Connector:
    """The connector whose URIs begin with `scheme`; ConfigError lists the schemes."""
    for name in _likely_first(scheme):
        connector = find(name)
        if scheme in connector.schemes:
            return connector
    known = sorted(scheme for connector in everything() for scheme in connector.schemes)
    raise ConfigError(f"no connector knows {scheme}://", hint=f"Known are: {', '.join(f'{s}://' for s in known)}.")


def _likely_first(scheme: str) -> Iterator[str]:
    """All names; to look for other packages' connectors takes longer than to find one of ours by its name."""
    ours = [name for name in sorted(_own()) if _is_like(name, scheme)]
    yield from ours
    yield from sorted((name for name in names() if name not in ours), key=lambda name: not _is_like(name, scheme))


def _is_like(name: str, scheme: str) -> bool:
    return scheme.startswith(name) or name.startswith(scheme)


def everything() -> Iterator[Connector]:
    """Every connector, imported one by one."""
    for name in names():
        yield find(name)


def _checked(name: str, found: object) -> Connector:
    if not isinstance(found, Connector) or found.name != name:
        raise InternalError(f"the connector module {name} doesn't end in a Connector of that name")
    return found


@cache
def _own() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__))


@cache
def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}
