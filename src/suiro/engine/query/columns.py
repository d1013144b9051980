"""The columns of a query's result: what they are called, and which of them pass a stream's column on."""

from __future__ import annotations

from collections.abc import Sequence

from suiro.engine.query.statement import Item, Query, Use


def passed_on(query: Query, columns: Sequence[Sequence[str]], names: Sequence[str]) -> dict[str, tuple[Use, str]]:
    """Which of the result's columns pass a stream's on: by name, the stream's use and its column.

    `columns` are those of the uses, in their order; `names` those of the result.
    """
    known = {id(item): (use, own) for use, own in zip(query.uses, columns, strict=True) for item in query.plain(use)}
    spread: list[tuple[Use, str] | None] = []
    loose = len(names) - sum(1 for item in query.items if not item.star)
    for item in query.items:
        found = known.get(id(item))
        if item.star:
            if found is None:
                return {}
            shown = [name for name in found[1] if name.lower() not in {n.lower() for n in item.left_out}]
            if len(shown) > loose:
                return {}
            spread += [(found[0], name) for name in shown]
        else:
            spread.append(None if found is None else _column(found[0], found[1], item))
    if len(spread) != len(names):
        return {}
    return {name: one for name, one in zip(names, spread, strict=True) if one is not None}


def result_names(query: Query, columns: Sequence[Sequence[str]]) -> list[str] | None:
    """The names of the result's columns as far as the query tells: empty for what the system names.

    None where it can't be told how many there are.
    """
    known = {id(item): own for use, own in zip(query.uses, columns, strict=True) for item in query.plain(use)}
    found: list[str] = []
    for item in query.items:
        if item.star and id(item) not in known:
            return None
        left_out = {name.lower() for name in item.left_out}
        found += [n for n in known[id(item)] if n.lower() not in left_out] if item.star else [item.name or ""]
    return found or None


def _column(use: Use, names: Sequence[str], item: Item) -> tuple[Use, str] | None:
    exact = [name for name in names if name == item.column]
    alike = exact or [name for name in names if name.lower() == (item.column or "").lower()]
    return (use, alike[0]) if len(alike) == 1 else None
