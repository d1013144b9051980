"""References in settings: `${env:NAME}`, `${file:PATH}` and `${secret:NAME}`, resolved when a connection is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from suiro.model.errors import ConfigError

_REFERENCE: Final = re.compile(r"\$\{(env|file|secret):([^}]+)\}")
_ANY: Final = re.compile(r"\$\{([^}]*)\}")


def has_reference(value: object) -> bool:
    """Whether a value is text that refers to something."""
    return isinstance(value, str) and _ANY.search(value) is not None


def resolved(value: Any, secret: Callable[[str], str]) -> Any:
    """Settings with all references replaced, at any depth. ConfigError names what isn't there, never a value."""
    if isinstance(value, Mapping):
        return {name: resolved(inner, secret) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolved(inner, secret) for inner in value]
    if not isinstance(value, str):
        return value
    for found in _ANY.finditer(value):
        if _REFERENCE.fullmatch(found[0]) is None:
            raise ConfigError(
                f"{found[0]} refers to nothing that Suiro knows",
                hint="Write ${env:NAME}, ${file:PATH} or ${secret:NAME}.",
            )
    return _REFERENCE.sub(lambda found: _looked_up(found[1], found[2].strip(), secret), value)


def _looked_up(kind: str, where: str, secret: Callable[[str], str]) -> str:
    if kind == "secret":
        return secret(where)
    if kind == "env":
        value = os.environ.get(where)
        if value is None:
            raise ConfigError(f"there is no environment variable {where}", hint="Set and export it.")
        return value
    try:
        return Path(where).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise ConfigError(f"the file {where} can't be read: {reason}", hint="Check its path and rights.") from error
