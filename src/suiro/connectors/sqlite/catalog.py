"""Tables of a SQLite file as they are found: columns and their types, keys, and what hangs on a table."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from suiro.connectors.sqlite.values import MIXED, affinity, declared_field
from suiro.model.schema import Table
from suiro.toolkit.sql.markers import MARKERS
from suiro.toolkit.sql.session import Standing

_AT_ONCE = 200  #: columns scanned by one statement
_EXACT = 2**53  #: up to here every integer is a double

Held = tuple[frozenset[str], int | None, int | None]  #: storage classes, and the least and greatest integer


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as PRAGMA table_xinfo tells it."""

    name: str
    declared: str
    never_null: bool
    key: int  #: the place in the primary key, from 1; 0 outside of it
    generated: bool
    default: str | None


def quoted(name: str) -> str:
    """An identifier, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def relations(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """Names and kinds (table, view, virtual) of what can be read, without SQLite's own, shadow tables and Suiro's."""
    listed = db.execute(
        "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type <> 'shadow' "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    )
    return [(name, kind) for name, kind in listed if name != MARKERS]


def columns(db: sqlite3.Connection, table: str) -> list[Column]:
    """The columns that SELECT * shows, in their order."""
    found = db.execute('SELECT name, type, "notnull", pk, hidden, dflt_value FROM pragma_table_xinfo(?)', [table])
    return [
        Column(name=n, declared=t, never_null=bool(nn), key=pk, generated=hidden in (2, 3), default=default)
        for n, t, nn, pk, hidden, default in found
        if hidden != 1
    ]


def primary_key(found: Sequence[Column]) -> tuple[str, ...]:
    """The key's columns in the key's order."""
    return tuple(c.name for c in sorted(found, key=lambda c: c.key) if c.key)


def row_estimate(db: sqlite3.Connection, table: str) -> int | None:
    """The rows as ANALYZE counted them last, None where it never did."""
    try:
        found = db.execute("SELECT max(CAST(stat AS INTEGER)) FROM sqlite_stat1 WHERE tbl = ?", [table]).fetchone()
    except sqlite3.OperationalError:
        return None
    return None if found[0] is None else int(found[0])


# -- what columns hold -------------------------------------------------------------------------------------------------


def read_schema(db: sqlite3.Connection, source: str, found: Sequence[Column]) -> pa.Schema:
    """How the columns of `source` (as FROM names it) travel: by Suiro's type names, else by what is in them."""
    open_ = [c for c in found if declared_field(c.name, c.declared) is None]
    held: dict[str, Held] = {}
    for start in range(0, len(open_), _AT_ONCE):
        held |= _scan(db, source, open_[start : start + _AT_ONCE])
    return pa.schema([declared_field(c.name, c.declared) or _field(c, held[c.name]) for c in found])


def query_schema(db: sqlite3.Connection, sql: str, known: Mapping[str, pa.Field]) -> pa.Schema:
    """How the columns of a query travel: as `known` says, else by declared types, else by what is in them.

    SQLite itself tells the declared types of columns that a view passes on.
    """
    db.execute(f"CREATE TEMP VIEW _suiro_query AS SELECT * FROM (\n{sql}\n)")
    found = columns(db, "_suiro_query")
    fresh = [column for column in found if column.name not in known]
    read = read_schema(db, "temp._suiro_query", fresh) if fresh else pa.schema([])
    names = {column.name for column in found}
    fields = [known[c.name] if c.name in known else read.field(c.name) for c in found]
    return pa.schema([field.with_name(_undoubled(field.name, names)) for field in fields])


def _undoubled(name: str, names: set[str]) -> str:
    """The name that a column had before SQLite numbered it, because another has that name: `id` of `id:1`."""
    before, colon, number = name.rpartition(":")
    return before if colon and number.isdigit() and before in names else name


def _scan(db: sqlite3.Connection, source: str, some: Sequence[Column]) -> dict[str, Held]:
    """For each column the storage classes that occur, and the least and greatest integer."""
    asked = []
    for column in some:
        name = quoted(column.name)
        asked += [f"max(typeof({name}) = '{kind}')" for kind in ("integer", "real", "text", "blob")]
        asked += [f"{pick}(CASE WHEN typeof({name}) = 'integer' THEN {name} END)" for pick in ("min", "max")]
    row = db.execute(f"SELECT {', '.join(asked)} FROM {source}").fetchone()
    held = {}
    for i, column in enumerate(some):
        *there, least, most = row[i * 6 : i * 6 + 6]
        kinds = frozenset(k for k, is_there in zip(("integer", "real", "text", "blob"), there, strict=True) if is_there)
        held[column.name] = (kinds, least, most)
    return held


def _field(column: Column, held: Held) -> pa.Field:
    kinds, least, most = held
    name = column.name
    boolean = column.declared.upper() in ("BOOL", "BOOLEAN")
    if not kinds:
        return pa.field(name, pa.bool_() if boolean else _empty_type(column.declared))
    if kinds == {"integer"}:
        only_flags = boolean and least in (0, 1) and most in (0, 1)
        return pa.field(name, pa.bool_() if only_flags else pa.int64())
    if kinds == {"real"}:
        return pa.field(name, pa.float64())
    if kinds == {"integer", "real"} and (least or 0) >= -_EXACT and (most or 0) <= _EXACT:
        return pa.field(name, pa.float64())
    if kinds == {"text"}:
        return pa.field(name, pa.string())
    if kinds == {"blob"}:
        return pa.field(name, pa.binary())
    return pa.field(name, pa.json_(), metadata={MIXED: b"1"})


def _empty_type(declared: str) -> pa.DataType:
    types = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "numeric": pa.float64()}
    if affinity(declared) == "numeric" and re.search("DATE|TIME", declared.upper()):
        return pa.string()
    return types.get(affinity(declared), pa.binary() if declared else pa.string())


# -- what a table takes ------------------------------------------------------------------------------------------------


def relation(db: sqlite3.Connection, name: str) -> tuple[str, str, str] | None:
    """Name, kind (table or view) and statement of what SQLite takes this name for, or None."""
    found = db.execute(
        "SELECT name, type, sql FROM sqlite_master WHERE name = ? COLLATE NOCASE AND type IN ('table', 'view')", [name]
    ).fetchone()
    return None if found is None else (found[0], found[1], found[2])


def standing(db: sqlite3.Connection, name: str) -> Standing:
    """A table as a destination sees it."""
    there = columns(db, name)
    schema = pa.schema([target_field(c) for c in there])
    return Standing(
        parts=(name,),
        table=Table(
            name=name,
            schema=schema,
            primary_key=primary_key(there),
            required=frozenset(c.name for c in there if c.never_null and c.default is None and not c.generated),
            generated=frozenset(c.name for c in there if c.generated),
        ),
        types={c.name: c.declared for c in there},
        unique=_unique(db, name, there),
        generated=frozenset(c.name for c in there if c.generated),
    )


def target_field(column: Column) -> pa.Field:
    """What a column takes, by its declared type: SQLite's own names mean their widest type."""
    own = declared_field(column.name, column.declared)
    if own is not None:
        return own
    upper = column.declared.upper()
    if upper in ("BOOL", "BOOLEAN"):
        return pa.field(column.name, pa.bool_())
    if upper == "DATE":
        return declared_field(column.name, "DATE_TEXT")
    if upper.startswith(("DATETIME", "TIMESTAMP")):
        return declared_field(column.name, "TIMESTAMP_TEXT")
    types = {"integer": pa.int64(), "real": pa.float64(), "numeric": pa.float64(), "blob": pa.binary()}
    return pa.field(column.name, types.get(affinity(upper), pa.string()) if upper else pa.string())


def _unique(db: sqlite3.Connection, name: str, there: Sequence[Column]) -> tuple[frozenset[str], ...]:
    """Sets of columns that are unique when compared byte by byte."""
    found = []
    key = [c for c in there if c.key]
    if len(key) == 1 and key[0].declared.upper() == "INTEGER":
        found.append(frozenset({key[0].name}))
    for (index,) in db.execute('SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial', [name]):
        parts = db.execute("SELECT name, coll FROM pragma_index_xinfo(?) WHERE key", [index]).fetchall()
        if all(part is not None and collation == "BINARY" for part, collation in parts):
            found.append(frozenset(part for part, _ in parts))
    return tuple(found)


def held_by(db: sqlite3.Connection, name: str) -> tuple[str, ...]:
    """What would be lost or broken if the table were made anew."""
    held = []
    others = "SELECT type, name, sql FROM sqlite_master WHERE type <> 'table' AND sql IS NOT NULL AND name <> ?"
    for kind, other, text in db.execute(others + " ORDER BY type, name", [name]):
        if name.lower() in text.lower():
            held.append(f"{kind} {other}")
    referring = "SELECT DISTINCT m.name FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS f"
    for (other,) in db.execute(f"{referring} WHERE m.type = 'table' AND f.\"table\" = ? COLLATE NOCASE", [name]):
        held.append(f"foreign key of {other}")
    return (*held, *([] if is_plain(db, name) else ["its own constraints"]))


def is_plain(db: sqlite3.Connection, name: str) -> bool:
    """Whether the table is no more than columns, their types and a primary key, so that it can be made anew."""
    if any(c.generated or c.default is not None or (c.never_null and not c.key) for c in columns(db, name)):
        return False
    if db.execute("SELECT count(*) FROM pragma_foreign_key_list(?)", [name]).fetchone()[0]:
        return False
    if db.execute("SELECT count(*) FROM pragma_index_list(?) WHERE origin = 'u'", [name]).fetchone()[0]:
        return False
    found = relation(db, name)
    outside = re.sub(r'"(?:[^"]|"")*"', "", found[2] if found else "").upper()
    words = ("CHECK", "COLLATE", "AUTOINCREMENT", "STRICT", "WITHOUT", "VIRTUAL", "CONFLICT")
    return not any(word in outside for word in words)


def create_sql(name: str, types: Mapping[str, str], key: Sequence[str]) -> str:
    """The statement that makes a table as Suiro makes it; `types` by column."""
    lines = [f"{quoted(column)} {type_}{' NOT NULL' if column in key else ''}" for column, type_ in types.items()]
    if key:
        lines.append(f"PRIMARY KEY ({', '.join(map(quoted, key))})")
    return f"CREATE TABLE {quoted(name)} ({', '.join(lines)})"
