"""Tables of a DuckDB file as they are found: columns, keys, constraints, and what hangs on a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from suiro.connectors.duckdb.values import declared, note, travel
from suiro.model.naming import join_name
from suiro.model.schema import Table
from suiro.toolkit.sql.session import Standing

_KEY = "suiro: key "
_HERE = "database_name = current_database() AND schema_name = ? AND "


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as duckdb_columns tells it."""

    name: str
    type: Any  #: as the driver tells it
    default: str | None
    never_null: bool
    generated: bool
    comment: str | None

    @property
    def field(self) -> pa.Field:
        """How its values travel."""
        return travel(self.name, self.type, self.comment).field


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A constraint as duckdb_constraints tells it: PRIMARY KEY, UNIQUE, CHECK, FOREIGN KEY or NOT NULL."""

    kind: str
    text: str
    columns: tuple[str, ...]


def ask(db: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    return db.execute(sql, list(parameters)).fetchall()


def quoted(name: str) -> str:
    """An identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def relations(db: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str, int | None]]:
    """Schema, name, kind and estimated rows of every table and view of the file."""
    where = "database_name = current_database() AND NOT internal"
    return [
        *ask(
            db,
            f"SELECT schema_name, table_name, 'table', estimated_size FROM duckdb_tables() WHERE {where} ORDER BY 1, 2",
        ),
        *ask(db, f"SELECT schema_name, view_name, 'view', NULL FROM duckdb_views() WHERE {where} ORDER BY 1, 2"),
    ]


def types(db: duckdb.DuckDBPyConnection, schema: str, table: str) -> dict[str, Any]:
    """The columns' types by name, generated columns and those of views included."""
    relation = db.sql(f"FROM {quoted(schema)}.{quoted(table)}")
    return dict(zip(relation.columns, relation.types, strict=True))


def columns(db: duckdb.DuckDBPyConnection, schema: str, table: str) -> list[Column]:
    """The columns in their order."""
    found = ask(
        db,
        "SELECT column_name, column_default, NOT is_nullable, is_generated, comment "
        f"FROM duckdb_columns() WHERE {_HERE} table_name = ? ORDER BY column_index",
        [schema, table],
    )
    of = types(db, schema, table)
    return [
        Column(name=n, type=of[n], default=default, never_null=never_null, generated=generated, comment=comment)
        for n, default, never_null, generated, comment in found
        if n in of
    ]


def constraints(db: duckdb.DuckDBPyConnection, schema: str, table: str) -> list[Constraint]:
    """The table's constraints."""
    found = ask(
        db,
        f"SELECT constraint_type, constraint_text, constraint_column_names FROM duckdb_constraints() WHERE {_HERE} "
        "table_name = ?",
        [schema, table],
    )
    return [Constraint(kind=kind, text=text, columns=tuple(names)) for kind, text, names in found]


def indexes(db: duckdb.DuckDBPyConnection, schema: str, table: str) -> list[tuple[str, str]]:
    """Names and statements of the indexes that somebody made."""
    sql = f"SELECT index_name, sql FROM duckdb_indexes() WHERE {_HERE} table_name = ? AND sql IS NOT NULL"
    return [(name, statement) for name, statement in ask(db, sql, [schema, table])]


def table_comment(db: duckdb.DuckDBPyConnection, schema: str, table: str) -> str | None:
    """The comment on a table."""
    found = ask(db, f"SELECT comment FROM duckdb_tables() WHERE {_HERE} table_name = ?", [schema, table])
    return found[0][0] if found else None


def key_comment(key: Sequence[str]) -> str:
    """The comment by which Suiro's own tables name their key."""
    return _KEY + json.dumps(list(key), ensure_ascii=False)


def primary_key(found: Sequence[Constraint], comment: str | None) -> tuple[str, ...]:
    """The primary key's columns, or those that Suiro's comment names."""
    declared_ = next((c.columns for c in found if c.kind == "PRIMARY KEY"), ())
    if declared_ or comment is None or not comment.startswith(_KEY):
        return declared_
    try:
        return tuple(json.loads(comment.removeprefix(_KEY)))
    except ValueError:
        return ()


def actual_name(db: duckdb.DuckDBPyConnection, schema: str, name: str) -> tuple[str, str, str] | None:
    """Schema, name and kind of what DuckDB takes this name for, in their own letters."""
    for kind, listing in (("table", "duckdb_tables()"), ("view", "duckdb_views()")):
        found = ask(
            db,
            f"SELECT schema_name, {kind}_name FROM {listing} WHERE database_name = current_database() "
            f"AND lower(schema_name) = lower(?) AND lower({kind}_name) = lower(?)",
            [schema, name],
        )
        if found:
            return found[0][0], found[0][1], kind
    return None


def standing(db: duckdb.DuckDBPyConnection, schema: str, name: str) -> Standing:
    """A table as a destination sees it."""
    there, ruled = columns(db, schema, name), constraints(db, schema, name)
    key = primary_key(ruled, table_comment(db, schema, name))
    return Standing(
        parts=(schema, name),
        table=Table(
            name=join_name([name]),
            schema=pa.schema([c.field for c in there]),
            primary_key=key,
            required=frozenset(c.name for c in there if c.never_null and c.default is None and not c.generated),
            generated=frozenset(c.name for c in there if c.generated),
        ),
        types={c.name: _declared(c) for c in there},
        unique=tuple(frozenset(c.columns) for c in ruled if c.kind in ("PRIMARY KEY", "UNIQUE")),
        generated=frozenset(c.name for c in there if c.generated),
    )


def _declared(column: Column) -> str:
    """The type, with what Suiro's comment says of it."""
    told = f"{declared(column.type)} /* {column.comment} */"
    return (
        told
        if note(told) and column.field.type != travel(column.name, column.type).field.type
        else declared(column.type)
    )


def held_by(db: duckdb.DuckDBPyConnection, schema: str, name: str) -> tuple[str, ...]:
    """What would be lost or broken if the table were made anew."""
    there, ruled = columns(db, schema, name), constraints(db, schema, name)
    held = [f"index {index}" for index, _ in indexes(db, schema, name)]
    for view, sql in ask(
        db, "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal AND sql IS NOT NULL ORDER BY 1"
    ):
        if name.lower() in sql.lower():
            held.append(f"view {view}")
    referring = (
        "SELECT DISTINCT table_name, constraint_text FROM duckdb_constraints() WHERE constraint_type = 'FOREIGN KEY' "
        "AND database_name = current_database() ORDER BY 1"
    )
    held += [f"foreign key of {other}" for other, text in ask(db, referring) if name.lower() in text.lower()]
    comment = table_comment(db, schema, name)
    key = primary_key(ruled, comment)
    own = [c for c in ruled if c.kind != "NOT NULL" or c.columns[0] not in key]
    said = [text for text in (comment, *(c.comment for c in there)) if text and not text.startswith("suiro: ")]
    special = [c for c in there if c.generated or c.default is not None]
    return (*held, *(["its own constraints, defaults or comments"] if own or said or special else []))
