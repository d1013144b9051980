"""A query that a user wrote in SOQL, as rows: what its columns are called, and of which types.

Source: Salesforce's SOQL and SOSL Reference (SELECT, aliases of aggregates, relationship queries).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from suiro.connectors.salesforce.decode import Decoder, Digits, read_json, rows_as_csv
from suiro.connectors.salesforce.describe import Descriptions, SObject, SObjectField
from suiro.connectors.salesforce.org import Org
from suiro.model.errors import ConfigError, SuiroError
from suiro.model.place import QueryError
from suiro.model.types import logical_field
from suiro.toolkit.sql.source import distinct_names

_TOKEN: Final = re.compile(r"'(?:[^'\\]|\\.)*'|[A-Za-z_][\w.]*|[(),]|\s+|[^\s\w'(),]+|\w+", re.DOTALL)
_PLACE: Final = re.compile(r"Row:(\d+):Column:(\d+)")
_WHOLE: Final = re.compile(r"-?\d{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One column of the result: where its value stands in a record, and as whose field, if it is one."""

    name: str
    paths: tuple[tuple[str, ...], ...]  #: the first that is there counts
    field: str | None = None


def rows_of(org: Org, descriptions: Descriptions, sql: str) -> Iterator[pa.RecordBatch]:
    """The rows of one SELECT, at least one batch. QueryError with Salesforce's message and its place."""
    page = _page(org, sql, org.path("query"), {"q": sql.strip()})
    if not page["records"] and re.match(r"\s*select\s+count\s*\(\s*\)\s", sql, re.IGNORECASE):
        yield pa.RecordBatch.from_pydict({"expr0": pa.array([int(page["totalSize"])], pa.int64())})
        return
    object_, items = _read(sql)
    if items is None:
        items = _items_of(page["records"])
    names = distinct_names([item.name for item in items])
    known = [_known(descriptions, object_, item) for item in items]
    fields = [_field(name, item, field, page["records"]) for name, item, field in zip(names, items, known, strict=True)]
    decoder = Decoder(pa.schema(fields))
    while True:
        rows = rows_as_csv([_value(one, item) for item in items] for one in page["records"])
        yield from decoder.batches(names, rows) if rows else (_empty(fields),)
        url = page.get("nextRecordsUrl")
        if page["done"] or not url:
            return
        page = _page(org, sql, url, {})


def _page(org: Org, sql: str, path: str, params: Mapping[str, str]) -> Any:
    try:
        return read_json(org.ask("GET", path, params=params).content)
    except ConfigError as error:
        raise QueryError(error.message, at=_place(sql, error.message), hint=error.hint) from error


def _place(sql: str, said: str) -> int | None:
    """Where in the text the mistake is, as Salesforce tells it."""
    found = _PLACE.search(said)
    if found is None:
        return None
    lines, row, column = sql.strip().split("\n"), int(found[1]), int(found[2])
    if not 1 <= row <= len(lines):
        return None
    return len(sql) - len(sql.lstrip()) + sum(len(line) + 1 for line in lines[: row - 1]) + max(0, column - 1)


def _read(sql: str) -> tuple[str | None, list[Item] | None]:
    """The object and the columns of a SELECT; None for what can't be told from its text."""
    parts: list[list[str]] = [[]]
    depth, tokens = 0, [t[0] for t in _TOKEN.finditer(sql)]
    words = iter(token for token in tokens if not token.isspace())
    if next(words, "").upper() != "SELECT":
        return None, None
    for token in words:
        if depth == 0 and token.upper() == "FROM":
            break
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth == 0 and token == ",":
            parts.append([])
        else:
            parts[-1].append(token)
    object_, alias = next(words, None), next(words, "")
    expressions = (f"expr{number}" for number in range(len(parts)))
    items = [_item(part, alias, expressions) for part in parts]
    return object_, None if any(item is None for item in items) else [item for item in items if item is not None]


def _item(part: Sequence[str], alias: str, expressions: Iterator[str]) -> Item | None:
    """One of the columns; None for TYPEOF and FIELDS(), which may be any."""
    if not part or part[0].upper() in ("TYPEOF", "FIELDS"):
        return None
    if part[0] == "(":
        words = [token.upper() for token in part]
        name = part[words.index("FROM") + 1] if "FROM" in words[:-1] else "records"
        return Item(name=name, paths=((name,),))
    if "(" in part:
        name = part[-1] if part[-1] != ")" else next(expressions)
        return Item(name=name, paths=((name,),), field=None)
    path = part[0].removeprefix(f"{alias}.") if alias else part[0]
    steps = tuple(path.split("."))
    if len(part) > 1:
        return Item(name=part[1], paths=((part[1],),), field=path)
    return Item(name=path, paths=(steps, steps[-1:]), field=path)


def _items_of(records: Sequence[Mapping[str, Any]]) -> list[Item]:
    """The columns that the records themselves show."""
    names = dict.fromkeys(name for one in records for name in one if name != "attributes")
    return [Item(name=name, paths=((name,),), field=name) for name in names]


def _known(descriptions: Descriptions, object_: str | None, item: Item) -> SObjectField | None:
    """The field that a column shows, through relationships to one object each."""
    if object_ is None or item.field is None:
        return None
    try:
        described: SObject | None = descriptions.named(object_)
        *steps, last = item.field.split(".")
        for step in steps:
            described = None if described is None else _related(descriptions, described, step)
        return None if described is None else described.field(last)
    except SuiroError:  # an object that isn't listed; its values tell
        return None


def _related(descriptions: Descriptions, described: SObject, step: str) -> SObject | None:
    alike = (one for one in described.fields if (one.said.get("relationshipName") or "").lower() == step.lower())
    through = next(alike, None)
    targets = [] if through is None else list(through.said.get("referenceTo") or ())
    return descriptions.named(targets[0]) if len(targets) == 1 else None


def _field(name: str, item: Item, known: SObjectField | None, records: Sequence[Any]) -> pa.Field:
    arrow = None if known is None or known.is_blob else known.arrow()
    if arrow is not None:
        return arrow.with_name(name)
    values = [value for value in (_value(one, item) for one in records) if value is not None]
    if values and all(isinstance(value, bool) for value in values):
        return pa.field(name, pa.bool_())
    if values and all(isinstance(value, Digits) for value in values):
        whole = all(_WHOLE.fullmatch(value) for value in values)
        return pa.field(name, pa.int64()) if whole else logical_field(name, pa.string(), "numeric")
    return pa.field(name, pa.string())


def _value(record: Any, item: Item) -> Any:
    for path in item.paths:
        found = record
        for step in path:
            alike = (key for key in found if key.lower() == step.lower()) if isinstance(found, Mapping) else iter(())
            key = next(alike, None)
            if key is None:
                break
            found = found[key]
        else:
            return found
    return None


def _empty(fields: Sequence[pa.Field]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], pa.schema(list(fields)))
