"""Tables and views as information_schema has them: a few queries, however many tables there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from suiro.connectors.mysql.session import Session
from suiro.connectors.mysql.types import Column
from suiro.model.errors import ConfigError
from suiro.model.naming import split_name

SYSTEM: Final = ("information_schema", "mysql", "performance_schema", "sys")
_KINDS: Final = {"BASE TABLE": "table", "SYSTEM VERSIONED": "table", "VIEW": "view"}

# MySQL 8 gives information_schema's columns in upper case, whatever is asked for: they are taken by their places.
_TABLES: Final = """
SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, TABLE_ROWS FROM information_schema.TABLES
WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW') AND {scope}
"""
_COLUMNS: Final = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION,
       NUMERIC_SCALE, DATETIME_PRECISION, IS_NULLABLE, EXTRA, PRIVILEGES, COLUMN_COMMENT
FROM information_schema.COLUMNS WHERE {scope} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION
"""
_KEYS: Final = """
SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS
WHERE INDEX_NAME = 'PRIMARY' AND {scope} ORDER BY TABLE_SCHEMA, TABLE_NAME, SEQ_IN_INDEX
"""
_CHECKS: Final = """
SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
WHERE CHECK_CLAUSE LIKE 'json\\_valid(%' AND {scope}
"""

Place = tuple[str, str]  #: database and table


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What the catalogue says of one table or view."""

    database: str
    name: str
    kind: str  #: "table" or "view"
    rows: int | None  #: an estimate
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((column for column in self.columns if column.name == name), None)


def locate(name: str, default_database: str | None) -> Place:
    """Database and table of a dotted name."""
    parts = split_name(name)
    if len(parts) == 1 and default_database is not None:
        return default_database, parts[0]
    if len(parts) != 2:
        raise ConfigError(
            f"{name} has {len(parts)} part{'s' if len(parts) > 1 else ''}",
            hint='Write database.table; a dot in a name needs quotes: d."a.b".',
        )
    return parts[0], parts[1]


def find_relation(session: Session, database: str, name: str) -> Relation | None:
    """The table or view, or None where there is none that this user may see."""
    found = _relations(session, "TABLE_SCHEMA = %s AND TABLE_NAME = %s", (database, name))
    return next((one for one in found if (one.database, one.name) == (database, name)), None)


def relations(session: Session, database: str | None) -> Iterator[Relation]:
    """Every table and view of a database, or of all but the server's own, that this user may see; none of Suiro's."""
    if database is None:
        marks = ", ".join(["%s"] * len(SYSTEM))
        found = _relations(session, f"TABLE_SCHEMA NOT IN ({marks})", SYSTEM)
    else:
        found = _relations(session, "TABLE_SCHEMA = %s", (database,))
    return (one for one in found if not one.name.startswith("_suiro_"))


def _relations(session: Session, scope: str, parameters: tuple[str, ...]) -> Iterator[Relation]:
    def ask(sql: str, schema: str = "TABLE_SCHEMA") -> list[tuple[Any, ...]]:
        text = sql.replace("%", "%%").format(scope=scope.replace("TABLE_SCHEMA", schema))
        return session.ask(text, parameters, doing="reading the catalogue")

    tables = ask(_TABLES)
    json = _json_columns(ask(_CHECKS, "CONSTRAINT_SCHEMA")) if session.is_mariadb else set()
    columns: dict[Place, list[Column]] = {}
    for row in ask(_COLUMNS):
        place = (str(row[0]), str(row[1]))
        columns.setdefault(place, []).append(_column(row[2:], is_json=(*place, str(row[2])) in json))
    keys: dict[Place, list[str]] = {}
    for database, table, column in ask(_KEYS):
        keys.setdefault((database, table), []).append(column)
    for database, name, kind, rows in sorted(tables, key=lambda row: (row[0], row[1])):
        place = (database, name)
        yield Relation(
            database=database,
            name=name,
            kind=_KINDS[kind],
            rows=None if rows is None else int(rows),
            columns=tuple(columns.get(place, ())),
            primary_key=tuple(keys.get(place, ())),
        )


def _json_columns(checks: list[tuple[Any, ...]]) -> set[tuple[str, str, str]]:
    """Columns that a check of their own keeps valid JSON: MariaDB's JSON is that."""
    found = set()
    for database, table, clause in checks:
        text = str(clause)
        if text.startswith("json_valid(`") and text.endswith("`)"):
            found.add((str(database), str(table), text[len("json_valid(`") : -2].replace("``", "`")))
    return found


def _column(row: tuple[Any, ...], *, is_json: bool) -> Column:
    name, base, type_, characters, precision, scale, fraction, nullable, extra, privileges, comment = row
    base = _text(base).lower()
    return Column(
        name=_text(name),
        base=base,
        type=_text(type_),
        characters=_number(characters),
        precision=_number(precision),
        scale=_number(scale),
        fraction=_number(fraction),
        not_null=nullable == "NO",
        # DEFAULT_GENERATED is MySQL 8's word for a default that is an expression.
        generated="GENERATED" in str(extra).upper().replace("DEFAULT_GENERATED", ""),
        readable="select" in str(privileges).lower(),
        comment=_text(comment),
        is_json=is_json or base == "json",
    )


def _text(value: Any) -> str:
    """MySQL 8 gives some of these columns as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _number(value: Any) -> int | None:
    return None if value is None else int(value)
