"""Whole loads and whole reads in a few words, for tests of connectors."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from suiro.model.change import Rows
from suiro.model.job import TaskKey
from suiro.model.naming import join_name
from suiro.model.schema import Table
from suiro.model.selection import Selection, WriteMode, WriteSpec
from suiro.model.summary import summarise
from suiro.spi.destination import Marker
from suiro.testing.context import LocalContext

if TYPE_CHECKING:
    from pathlib import Path

    from suiro.spi.connector import Connector
    from suiro.spi.destination import Claim, Destination, Published, Staged

_runs = itertools.count(1)
REPLACE = WriteSpec(mode=WriteMode.REPLACE)
APPEND = WriteSpec(mode=WriteMode.APPEND)


def merge(*key: str, **options: Any) -> WriteSpec:
    return WriteSpec(mode=WriteMode.MERGE, key=key, **options)


def context(file: Path) -> LocalContext:
    run = f"run{next(_runs)}"
    return LocalContext(run=run, workdir=file.parent / f"work-{run}")


def destination(connector: Connector, file: Path, **options: Any) -> Destination[Any]:
    assert connector.destination is not None
    return connector.destination(connector.config(**{"path": str(file), **options}), context(file))


def source(connector: Connector, file: Path, **options: Any) -> Any:
    assert connector.source is not None
    return connector.source(connector.config(**{"path": str(file), **options}), context(file))


def key_of(name: str) -> TaskKey:
    return TaskKey(source="test", stream="s", filter="", table=name)


def stage(to: Destination[Any], name: str, rows: pa.Table, spec: WriteSpec, claim: Claim) -> Staged:
    with to.stage(Table(name=name, schema=rows.schema), spec, claim) as opened:
        for batch in rows.to_batches():
            opened.write(batch)
        return opened.seal()


def carry(
    connector: Connector, file: Path, rows: pa.Table, spec: WriteSpec = REPLACE, table: str = "t", **options: Any
) -> Published:
    """Load rows into a table, as a run of its own."""
    name = table if "." in table else join_name([table])
    to = destination(connector, file, **options)
    try:
        claim = to.claim(key_of(name), to.context.run)
        staged = stage(to, name, rows, spec, claim)
        marker = Marker(key=key_of(name), position={"epoch": claim.epoch})
        return to.publish([staged], [marker], summarise(rows.to_batches(), key=spec.key))
    finally:
        to.close()


def read(connector: Connector, file: Path, name: str = "t", **selected: Any) -> pa.Table:
    """All rows of a stream, in the stream's schema."""
    reader = source(connector, file)
    try:
        stream = reader.find(name)
        columns = selected.pop("columns", tuple(stream.schema.names))
        found = []
        for part in reader.plan([Selection(stream=stream, columns=columns, **selected)]):
            found += [change.data for change in reader.read(part, None) if isinstance(change, Rows)]
        return pa.Table.from_batches(found, pa.schema([stream.schema.field(column) for column in columns]))
    finally:
        reader.close()
