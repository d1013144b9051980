"""The proof that a copy arrived: rows counted and hashed on both sides, in SQL and in no particular order."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    import psycopg
    from data import Table
    from mariadb_side import MariaDBSide

IMPORTED = "checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """The number of rows and the sum of their hashes, every value as the source's type prints it."""

    rows: int
    hash: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the table that a candidate made differs from the source's."""

    types_kept: int  #: columns whose type is exactly the source's
    columns: int  #: the source's
    key: bool  #: whether it has a primary key


class Unchecked(Exception):
    """The copy could not even be compared; the text says why."""


def digest(session: psycopg.Connection, table: Table, name: str) -> Digest:
    """Of the table of that name. The values are cast to the source's types first: what prints the same is the same."""
    values = ", ".join(f'"{column}"::{kind}' for column, kind in table.columns)
    query = f"SELECT count(*), coalesce(sum(hashtextextended(ROW({values})::text, 0)::numeric), 0) FROM {name}"
    found = session.execute(query.encode()).fetchone()
    assert found is not None
    return Digest(rows=found[0], hash=int(found[1]))


def locate(session: psycopg.Connection, table: Table) -> str:
    """Where the candidate put the table: the only one of its name, staging schemas aside."""
    found = session.execute(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE relname = %s AND relkind IN ('r', 'p') AND nspname !~ '_staging$|^pg_'",
        [table.name],
    ).fetchall()
    if len(found) != 1:
        raise Unchecked(f"there are {len(found)} tables {table.name} in the destination")
    return str(found[0][0])


def shape(session: psycopg.Connection, table: Table, name: str) -> Shape:
    """Types and key of the table of that name."""
    found = session.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        [name],
    ).fetchall()
    there = set(found)
    key = session.execute("SELECT 1 FROM pg_index WHERE indrelid = %s::regclass AND indisprimary", [name]).fetchone()
    kept = sum(column in there for column in table.columns)
    return Shape(types_kept=kept, columns=len(table.columns), key=key is not None)


def import_copy_file(session: psycopg.Connection, table: Table, path: Path) -> str:
    """Load a binary COPY file into a table of the source's types; its name."""
    return _import(session, table, path, "FORMAT binary")


def _import(session: psycopg.Connection, table: Table, path: Path, options: str) -> str:
    session.execute(table.ddl(IMPORTED, key=False).encode())
    with session.cursor().copy(f"COPY {IMPORTED} FROM STDIN ({options})".encode()) as copy, path.open("rb") as file:
        while piece := file.read(1 << 20):
            copy.write(piece)
    return IMPORTED


def import_mariadb(session: psycopg.Connection, table: Table, side: MariaDBSide, database: str) -> str:
    """Load the table of a MariaDB database into a table of the source's types, by way of a file; its name."""
    found = side.locate(database, table)
    if len(found) != 1:
        raise Unchecked(f"there are {len(found)} tables {table.name} in the destination")
    path = side.export(database, table)
    try:
        return _import(session, table, path, "FORMAT text")
    finally:
        path.unlink()


def mariadb_shape(table: Table, side: MariaDBSide, database: str) -> Shape:
    """Types and key of the table in a MariaDB database, beside those that MariaDB has for the source's types."""
    found = side.columns(database, table)
    there = {(name, kind) for name, kind, _ in found}
    kept = sum(column in there for column in table.mariadb_columns)
    return Shape(types_kept=kept, columns=len(table.columns), key=any(key for _, _, key in found))


def import_parquet(session: psycopg.Connection, table: Table, folder: Path) -> str:
    """Load the Parquet files below a folder into a table of the source's types, by way of CSV; its name."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv
    import pyarrow.parquet as pq

    paths = [path for path in sorted(folder.rglob("*.parquet")) if "_dlt" not in str(path.relative_to(folder))]
    if not paths:
        raise Unchecked("no Parquet file was written")
    session.execute(table.ddl(IMPORTED, key=False).encode())
    names = [column for column, _ in table.columns]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    load = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(sql.Identifier(IMPORTED), columns)
    with session.cursor().copy(load) as copy:
        for path in paths:
            for batch in pq.ParquetFile(path).iter_batches(columns=names):
                text = pa.table({name: pc.cast(batch.column(name), pa.string()) for name in names})
                page = io.BytesIO()
                pyarrow.csv.write_csv(text, page, pyarrow.csv.WriteOptions(include_header=False))
                copy.write(page.getbuffer())
    return IMPORTED
