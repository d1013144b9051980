"""The rules by which a rename filter changes columns' names.

Source: embulk's documentation of the rename filter plugin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from suiro.app.treasure.sections import RenameRule
from suiro.model.errors import ConfigError

_USUAL_LENGTH: Final = 128
_PIECE: Final = re.compile(r"\\(.)|\$([0-9])|([^\\$]+|.)")  #: of a replacement in Java's way


def renamed(names: Sequence[str], rule: RenameRule) -> list[str]:
    """All names after one rule. ConfigError where the rule lacks something."""
    match rule.rule:
        case "upper_to_lower":
            return [name.lower() for name in names]
        case "lower_to_upper":
            return [name.upper() for name in names]
        case "character_types":
            replace = "_" if rule.replace is None else rule.replace
            if len(replace) != 1:
                raise ConfigError("character_types replaces with one character", hint='Write replace: "_".')
            return [re.sub(_others(rule), lambda _: replace, name) for name in names]
        case "first_character_types":
            return [_first(name, rule) for name in names]
        case "regex_replace":
            return [_matched(name, rule) for name in names]
        case "truncate":
            return [name[: rule.max_length or _USUAL_LENGTH] for name in names]
        case "unique_number_suffix":
            return _unique(names, rule)


def _others(rule: RenameRule) -> str:
    """Any character but those that may pass."""
    passing = "".join(rule.pass_types) + "".join(map(re.escape, rule.pass_characters))
    return f"[^{passing}]" if passing else r"[\s\S]"


def _first(name: str, rule: RenameRule) -> str:
    if (rule.replace is None) == (rule.prefix is None):
        raise ConfigError("first_character_types takes either replace or prefix", hint='Write prefix: "_".')
    if not name or not re.match(_others(rule), name):
        return name
    return f"{rule.prefix}{name}" if rule.prefix is not None else f"{rule.replace}{name[1:]}"


def _matched(name: str, rule: RenameRule) -> str:
    if rule.match is None or rule.replace is None:
        raise ConfigError(
            "regex_replace needs match and replace", hint='Write match: "([0-9]+)_usd" and replace: "USD$1".'
        )
    pieces = _PIECE.findall(rule.replace)
    try:
        return re.sub(rule.match, lambda found: "".join(_put(found, *piece) for piece in pieces), name)
    except (re.error, IndexError) as error:
        raise ConfigError(f"regex_replace: {rule.match!r} with {rule.replace!r} can't be read: {error}") from error


def _put(found: re.Match[str], escaped: str, group: str, plain: str) -> str:
    return (found[int(group)] or "") if group else escaped or plain


def _unique(names: Sequence[str], rule: RenameRule) -> list[str]:
    counts = dict.fromkeys(names, rule.offset)
    fixed: list[str] = []
    for name in names:
        cut = name[: rule.max_length]
        if cut not in fixed:
            counts[name] += 1
            fixed.append(cut)
            continue
        while True:
            suffix = rule.delimiter + str(counts[name]).zfill(rule.digits or 0)
            counts[name] += 1
            room = None if rule.max_length is None else max(rule.max_length - len(suffix), 0)
            wanted = name[:room] + suffix
            if wanted not in fixed and wanted not in names:
                fixed.append(wanted)
                break
    return fixed
