"""Tasks as users write them: columns, types, masks and windows in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from suiro.model.errors import ConfigError
from suiro.model.masking import Mask, mask_of

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def columns_of(text: str) -> dict[str, str]:
    """`a,b=c` as {a: a, b: c}; a comma or equals sign in a name is doubled. ConfigError where it can't be read."""
    found: dict[str, str] = {}
    for part in _split(text, ","):
        source, *name = _split(part.strip(), "=")
        if not source or len(name) > 1 or (name and not name[0]) or source in found:
            raise ConfigError(f"the columns {text!r} can't be read at {part!r}", hint="Write a,b=c: c is b's new name.")
        found[source] = name[0] if name else source
    return found


def names_of_columns(text: str) -> tuple[str, ...]:
    """`a,b` as its names; a comma in a name is doubled. ConfigError where one is missing."""
    found = tuple(part.strip() for part in _split(text, ","))
    if not all(found):
        raise ConfigError(f"the columns {text!r} can't be read", hint="Write a,b.")
    return found


def masks_of(text: str) -> dict[str, Mask]:
    """`email=hash,phone=mask:4` by column; a comma or equals sign in a name is doubled. ConfigError otherwise."""
    found: dict[str, Mask] = {}
    for part in _split(text, ","):
        name, *words = _split(part.strip(), "=")
        if not name or len(words) != 1 or name in found:
            raise ConfigError(
                f"the masks {text!r} can't be read at {part!r}", hint="Write email=hash,phone=mask:4,name=null."
            )
        found[name] = mask_of(words[0])
    return found


def pairs_of(texts: Sequence[str], what: str) -> dict[str, str]:
    """`name=text`, each, by name; an equals sign in a name is doubled. ConfigError where one can't be read."""
    found: dict[str, str] = {}
    for text in texts:
        name = _split(text, "=")[0]
        rest = text[len(name.replace("=", "==")) + 1 :].strip()
        if not name.strip() or not rest or name.strip() in found:
            raise ConfigError(f"{what} {text!r} can't be read", hint=f"Write {what} as NAME=...: one for each column.")
        found[name.strip()] = rest
    return found


def window_of(text: str) -> timedelta | int:
    """A window as written: 90s, 15m, 2h, 3d, or a plain number for numeric cursors. ConfigError otherwise."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "")
    if not number.isdigit():
        raise ConfigError(f"{text!r} is no window", hint="Write 90s, 15m, 2h, 3d, or a number for a numeric cursor.")
    return timedelta(**{_UNITS[unit]: int(number)}) if unit else int(number)


def most_of(text: str) -> int | float:
    """A number of rows, or a share as `1%`. ConfigError otherwise."""
    try:
        number = float(text.removesuffix("%")) / 100 if text.endswith("%") else int(text)
    except ValueError:
        number = -1
    if number < 0 or (isinstance(number, float) and number > 1):
        raise ConfigError(f"{text!r} is no number of rows", hint="Write 100, or 1% of the rows read.")
    return number


def backfill_of(text: str) -> tuple[str, str]:
    """`2026-01-01..2026-02-01` as its two ends. ConfigError otherwise."""
    start, dots, stop = text.partition("..")
    if not (start.strip() and dots and stop.strip()):
        raise ConfigError(f"{text!r} is no range", hint="Write FROM..TO, for example 2026-01-01..2026-02-01.")
    return start.strip(), stop.strip()


def _split(text: str, mark: str) -> list[str]:
    parts, part, at = [], "", 0
    while at < len(text):
        if text[at] == mark and text[at + 1 : at + 2] == mark:
            part += mark
            at += 2
        elif text[at] == mark:
            parts.append(part)
            part = ""
            at += 1
        else:
            part += text[at]
            at += 1
    return [*parts, part]
