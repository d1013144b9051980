"""Tables of a PostgreSQL database: names, what the catalog says of them, and what depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from suiro.connectors.postgres.session import Session
from suiro.connectors.postgres.types import Column, sql_type, table_columns
from suiro.model.errors import ConfigError
from suiro.model.naming import split_name
from suiro.model.schema import Table

KINDS = {"r": "table", "p": "partitioned table", "v": "view", "m": "materialized view", "f": "foreign table"}


def quote(*parts: str) -> str:
    """A name as an identifier, whatever is in it."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def columns_sql(names: Sequence[str], prefix: str = "") -> str:
    """A list of columns, each with `prefix` ("t.") before it."""
    return ", ".join(prefix + quote(name) for name in names)


def locate(name: str, default_schema: str) -> tuple[str, str]:
    """Schema and table of a dotted name."""
    parts = split_name(name)
    if len(parts) > 2:
        raise ConfigError(
            f"{name} has {len(parts)} parts", hint='Write schema.table; a dot in a name needs quotes: s."a.b".'
        )
    return (default_schema, parts[0]) if len(parts) == 1 else (parts[0], parts[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """What the catalog says of one relation."""

    oid: int
    schema: str
    name: str
    kind: str  #: pg_class.relkind
    columns: tuple[Column, ...]

    @property
    def sql(self) -> str:
        """The qualified name as an identifier."""
        return quote(self.schema, self.name)

    def fields(self, *, numeric_as_text: bool = False) -> list[pa.Field]:
        """The columns as they travel."""
        return [column.field(numeric_as_text=numeric_as_text) for column in self.columns]

    def column(self, name: str) -> Column | None:
        """The column of that name."""
        return next((column for column in self.columns if column.name == name), None)


_RELATION = """
SELECT c.oid, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind = ANY('{r,p,v,m,f}')
"""


def find_relation(session: Session, schema: str, name: str) -> Relation | None:
    """The relation, or None."""
    row = session.execute(_RELATION, (schema, name)).fetchone()
    if row is None:
        return None
    columns = tuple(table_columns(session, row[0]))
    return Relation(oid=row[0], schema=schema, name=name, kind=row[1], columns=columns)


_REQUIRED = """
SELECT attname FROM pg_attribute a WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped AND attnotnull
  AND NOT atthasdef AND attidentity = '' AND NOT EXISTS (
    SELECT FROM pg_type t WHERE t.oid = a.atttypid AND t.typdefault IS NOT NULL)
"""


def as_table(session: Session, relation: Relation, name: str) -> Table:
    """The relation as a destination's table: generated columns are not for writing, so they are left out.

    ConfigError if it is no table.
    """
    if relation.kind not in "rp":
        raise ConfigError(
            f"{name} is no table but a {KINDS[relation.kind]}: rows can't be loaded into it",
            hint="Choose another table name.",
        )
    fields = [column.field() for column in relation.columns if not column.generated]
    required = session.execute(_REQUIRED, (relation.oid,)).fetchall()
    return Table(
        name=name,
        schema=pa.schema(fields),
        primary_key=primary_key(session, relation.oid),
        required=frozenset(str(row[0]) for row in required),
        generated=frozenset(column.name for column in relation.columns if column.generated or column.identity_always),
    )


_KEYS = """
SELECT i.indisprimary, array(
    SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, at)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.at)::text[]
FROM pg_index i
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
  AND i.indnkeyatts = i.indnatts
ORDER BY i.indisprimary DESC, i.indexrelid
"""


def unique_keys(session: Session, oid: int) -> list[tuple[bool, tuple[str, ...]]]:
    """The unique keys over plain columns: whether it is the primary key, and its columns."""
    return [(row[0], tuple(row[1])) for row in session.execute(_KEYS, (oid,)).fetchall()]


def primary_key(session: Session, oid: int) -> tuple[str, ...]:
    """The primary key's columns; empty without one."""
    return next((names for primary, names in unique_keys(session, oid) if primary), ())


def has_unique_key(session: Session, oid: int, key: Sequence[str]) -> bool:
    """Whether ON CONFLICT can be asked for exactly these columns."""
    return any(set(names) == set(key) for _, names in unique_keys(session, oid))


def column_definitions(fields: Sequence[pa.Field]) -> str:
    """The columns of a CREATE TABLE."""
    return ", ".join(f"{quote(field.name)} {sql_type(field)}" for field in fields)


_DEPENDENTS = """
SELECT 'view ' || v.oid::regclass FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
  JOIN pg_class v ON v.oid = r.ev_class
  WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = %(oid)s AND d.classid = 'pg_rewrite'::regclass
    AND v.oid <> %(oid)s
UNION SELECT 'foreign key ' || conname FROM pg_constraint WHERE contype = 'f' AND %(oid)s IN (conrelid, confrelid)
UNION SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgrelid = %(oid)s AND NOT tgisinternal
UNION SELECT 'rule ' || rulename FROM pg_rewrite WHERE ev_class = %(oid)s
UNION SELECT 'policy ' || polname FROM pg_policy WHERE polrelid = %(oid)s
UNION SELECT 'publication ' || pubname FROM pg_publication_rel JOIN pg_publication p ON p.oid = prpubid
  WHERE prrelid = %(oid)s
UNION SELECT 'child table ' || inhrelid::regclass FROM pg_inherits WHERE inhparent = %(oid)s
UNION SELECT 'parent table ' || inhparent::regclass FROM pg_inherits WHERE inhrelid = %(oid)s
UNION SELECT 'statistics ' || stxname FROM pg_statistic_ext WHERE stxrelid = %(oid)s
UNION SELECT 'column of its row type in ' || a.attrelid::regclass
  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
  WHERE t.typrelid = %(oid)s OR t.typelem = (SELECT reltype FROM pg_class WHERE oid = %(oid)s AND reltype <> 0)
UNION SELECT 'function ' || p.oid::regprocedure FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid
  WHERE d.classid = 'pg_proc'::regclass AND ((d.refclassid = 'pg_class'::regclass AND d.refobjid = %(oid)s)
    OR (d.refclassid = 'pg_type'::regclass AND d.refobjid = (SELECT reltype FROM pg_class WHERE oid = %(oid)s)))
UNION SELECT 'identity or own sequence of column ' || a.attname FROM pg_depend d
  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %(oid)s
    AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0 AND d.objid IN (SELECT oid FROM pg_class WHERE relkind = 'S')
"""


def dependents(session: Session, oid: int) -> list[str]:
    """What a new table in this one's place would lose or break, in words."""
    return sorted(str(row[0]) for row in session.execute(_DEPENDENTS, {"oid": oid}).fetchall())


def is_referenced(session: Session, oid: int) -> bool:
    """Whether a foreign key of another table points here, so that TRUNCATE is refused."""
    row = session.execute(
        "SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f' AND confrelid = %s)", (oid,)
    ).fetchone()
    return bool(row and row[0])
