"""Positions of reads of Salesforce: what `Boundary` keeps of the cursor, and what else the next read needs.

Beside `field`, `cursor`, `columns` and `boundary`: `org`, the organisation's id; `until`, the moment before which
changes were read; `formulas`, when all rows were last read for the sake of formulas; `deletes`, until when deletes
are known; `resume`, the bulk job and the place in its result, of a read that is not at its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from suiro.model.schema import Json, Position
from suiro.toolkit.boundary import LIMIT, decode

_OF_CURSOR: Final = ("field", "cursor", "columns", "boundary")
_EARLIEST: Final = ("until", "formulas", "deletes")


def nothing(cursor: str | None) -> dict[str, Json]:
    """The position of a part that has no rows."""
    return {} if cursor is None else {"field": cursor, "cursor": None, "columns": [], "boundary": {}}


def of_cursor(position: Position) -> dict[str, Json]:
    """What it says of the cursor alone."""
    return {name: position[name] for name in _OF_CURSOR if name in position}


def joined(parts: Sequence[Position]) -> dict[str, Json]:
    """The position behind all of these parts of one reading, which have no row in common."""
    found = [part for part in parts if part]
    if not found:
        return {}
    told: dict[str, Json] = {"org": found[0]["org"]} if "org" in found[0] else {}
    for name in _EARLIEST:
        said = [str(part[name]) for part in found if part.get(name) is not None]
        if said:
            told[name] = min(said)
    ends = [part for part in found if part.get("cursor") is not None]
    if not ends:
        return {**of_cursor(found[0]), **told}
    greatest: Any = max(decode(part["cursor"]) for part in ends)
    last = [part for part in ends if decode(part["cursor"]) == greatest]
    return {**of_cursor(last[0]), "boundary": _marks(last), **told}


def _marks(parts: Sequence[Position]) -> Json:
    """The rows at the greatest cursor value, of all parts; None where there are too many to remember."""
    counted: Counter[str] = Counter()
    for part in parts:
        marks = part.get("boundary")
        if not isinstance(marks, dict) or part.get("columns") != parts[0].get("columns"):
            return None
        counted.update({mark: int(str(number)) for mark, number in marks.items()})
    return dict(counted) if counted.total() <= LIMIT else None
