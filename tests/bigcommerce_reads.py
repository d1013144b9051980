"""Reads of the BigCommerce source against a made-up shop, and what of the shop's own records they must equal."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from suiro.connectors.bigcommerce import RESOURCES, BigCommerceConfig, BigCommerceSource
from suiro.model.change import OP, SEQ, Change, Checkpoint, Rejected, Rows, SchemaChange
from suiro.model.schema import Position, ReadMode
from suiro.model.selection import Selection
from suiro.testing.context import LocalContext

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from shopping import Shop
    from suiro.engine.accounts import Accounts

#: Streams that the shop keeps under another name.
KEPT = {
    "customer_form_field_values": "form_field_values",
    "price_list_records": "price_records",
    "price_list_assignments": "price_assignments",
    "category_trees": "trees",
    "channel_currency_assignments": "currency_assignments",
}
SCHEMAS = {resource.name: resource.schema for resource in RESOURCES}


@dataclass
class Found:
    """What a read yielded."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    schemas: list[pa.Schema] = field(default_factory=list)
    rejected: list[Any] = field(default_factory=list)
    deduplicated: int = 0

    @classmethod
    def of(cls, changes: Iterable[Change], stop: int | None = None) -> Self:
        """What is yielded, until the end or until so many checkpoints came."""
        found = cls()
        for change in changes:
            match change:
                case Rows():
                    found.rows += rows_of(change.data)
                    found.deduplicated += change.deduplicated
                case Checkpoint():
                    found.positions.append(change.position)
                case SchemaChange():
                    found.schemas.append(change.schema)
                case Rejected():
                    found.rejected += change.rows
            if stop is not None and len(found.positions) >= stop:
                break
        return found

    @property
    def position(self) -> Position:
        """The last one, after a journey through JSON."""
        position: Position = json.loads(json.dumps(self.positions[-1]))
        return position

    def ids(self) -> list[int]:
        return [row["id"] for row in self.rows]


class Reader:
    """One source on a shop."""

    def __init__(self, shop: Shop, folder: Path, way: str = "full", accounts: Accounts | None = None, **settings: Any):
        given = {name: value for name, value in shop.connections[way].items() if name != "type"} | settings
        self.context = LocalContext(run="r", workdir=folder, accounts=accounts)
        self.source = BigCommerceSource(BigCommerceConfig(**given), self.context)

    def read(
        self,
        name: str,
        since: Position | None = None,
        *,
        mode: ReadMode = ReadMode.FULL,
        chosen: Sequence[str] = (),
        deduplicate: bool = True,
    ) -> Found:
        stream = self.source.find(name)
        cursor = stream.cursor_fields[0] if mode is ReadMode.INCREMENTAL else None
        selection = Selection(
            stream=stream,
            columns=tuple(chosen or stream.schema.names),
            read_mode=mode,
            cursor_field=cursor,
            rejects=True,
            deduplicate=deduplicate,
        )
        (read,) = self.source.plan([selection])
        return Found.of(self.source.read(read, since))

    def follow(self, name: str, since: Position | None = None, **how: Any) -> Found:
        return self.read(name, since, mode=ReadMode.INCREMENTAL, **how)

    @property
    def requests(self) -> int:
        return self.source.http.requests


def rows_of(data: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as plain values: JSON parsed, other types as pyarrow gives them."""
    columns = []
    for at, column in enumerate(data.columns):
        values = column.storage.to_pylist() if isinstance(column, pa.ExtensionArray) else column.to_pylist()
        parsed = data.schema.field(at).type == pa.json_()
        columns.append([exact(v) if parsed and v is not None else v for v in values])
    return [dict(zip(data.schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def exact(text: str) -> Any:
    """JSON with exact numbers."""
    return json.loads(text, parse_float=Decimal)


def kept(shop: Shop, stream: str) -> list[dict[str, Any]]:
    """The shop's own records of a stream, as rows must be; members that the shop tells only with includes are left out.

    Written without the code that it tests: texts are parsed here again.
    """
    lines = shop.http.get(f"{shop.url}/_sandbox/records/{KEPT.get(stream, stream)}").text.splitlines()
    schema = SCHEMAS[stream]
    return [
        {name: meant(value, schema.field(name).type) for name, value in exact(line).items() if name in schema.names}
        for line in lines
    ]


def meant(value: Any, type_: pa.DataType) -> Any:
    """A value of the shop's in the form of `rows_of`."""
    if value is None or (value == "" and not pa.types.is_string(type_)):
        return None
    if pa.types.is_timestamp(type_):
        return parsedate_to_datetime(value) if "," in value else datetime.fromisoformat(value)
    return Decimal(str(value)) if pa.types.is_decimal(type_) else value


def assert_same(wanted: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> None:
    """The same rows, in any order, compared by a hash over the columns that the shop tells."""
    names = sorted(wanted[0]) if wanted else []
    assert len(rows) == len(wanted)
    mine, theirs = ({digest(row, names): row for row in some} for some in (rows, wanted))
    assert {row.get("id") for mark, row in theirs.items() if mark not in mine} == set()
    assert sorted(digest(row, names) for row in rows) == sorted(digest(row, names) for row in wanted)


def digest(row: Mapping[str, Any], names: Sequence[str]) -> str:
    plain = [_plain(row.get(name)) for name in names]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.timestamp()
        case Decimal():
            return format(value.normalize() + 0, "f")
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case int() if not isinstance(value, bool):
            return format(Decimal(value), "f")
        case _:
            return value


def merged(*reads: Found, key: str = "id") -> list[dict[str, Any]]:
    """The rows that a merge of these reads, one after the other, leaves; deletes of a log are gone."""
    last: dict[Any, dict[str, Any]] = {}
    for found in reads:
        for row in found.rows:
            last[row[key]] = row
    return [
        {name: value for name, value in row.items() if name not in (OP, SEQ)}
        for row in last.values()
        if row.get(OP) != "d"
    ]
