"""A new table in the place of an old one: what the old one has is carried over."""

from __future__ import annotations

import re

from suiro.connectors.postgres.session import Session
from suiro.connectors.postgres.tables import Relation, dependents, quote

_INDEXES = """
SELECT i.indexrelid::regclass::text, c.relname, pg_get_indexdef(i.indexrelid), k.conname, pg_get_constraintdef(k.oid),
       i.indisclustered, i.indisreplident
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')
WHERE i.indrelid = %s ORDER BY i.indexrelid
"""
_GRANTS = """
SELECT a.privilege_type, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
       a.is_grantable, NULL::name
FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = %(oid)s
UNION ALL
SELECT a.privilege_type, CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
       a.is_grantable, t.attname
FROM pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = %(oid)s AND NOT t.attisdropped
"""
_ABOUT = """
SELECT quote_ident(pg_get_userbyid(relowner)), pg_get_userbyid(relowner) = current_user,
       obj_description(oid, 'pg_class'), array_to_string(reloptions, ', '), reltablespace <> 0,
       relrowsecurity, relreplident, relpersistence, relacl IS NOT NULL
FROM pg_class WHERE oid = %s
"""


def reason_not_to(session: Session, relation: Relation, made: bool) -> str | None:
    """Why this table is emptied and filled rather than swapped, in words; None if nothing speaks against a swap."""
    if not made:
        return "Suiro didn't make it"
    if relation.kind != "r":
        return "it is partitioned"
    found = dependents(session, relation.oid)
    if found:
        return f"{found[0]} depends on it" if len(found) == 1 else f"{found[0]} and {len(found) - 1} more depend on it"
    row = session.execute(_ABOUT.encode(), (relation.oid,)).fetchone()
    assert row is not None
    if row[4] or row[5] or row[6] != "d" or row[7] != "p":
        return "it has settings of its own (tablespace, row security, replica identity or persistence)"
    return None


def like(session: Session, relation: Relation, name: str) -> None:
    """Make an empty table with the old one's columns, defaults, checks and column comments."""
    kept = " ".join(f"INCLUDING {what}" for what in ("DEFAULTS", "CONSTRAINTS", "COMMENTS", "STORAGE", "GENERATED"))
    session.execute(f"CREATE TABLE {quote(relation.schema, name)} (LIKE {relation.sql} {kept})".encode())


def swap(session: Session, old: Relation, new: str) -> None:
    """Give the table `new` of the same schema the old one's indexes, constraints, owner, grants and name; drop that."""
    table = quote(old.schema, new)
    indexes = session.execute(_INDEXES, (old.oid,)).fetchall()
    grants = session.execute(_GRANTS, {"oid": old.oid}).fetchall()
    about = session.execute(_ABOUT.encode(), (old.oid,)).fetchone()
    assert about is not None
    renames = []
    for number, (_, name, definition, constraint, constraint_definition, clustered, _) in enumerate(indexes):
        temporary = f"{new}_i{number}"
        if constraint is not None:
            session.execute(f"ALTER TABLE {table} ADD CONSTRAINT {quote(temporary)} {constraint_definition}".encode())
        else:
            session.execute(_moved(definition, temporary, table).encode())
        if clustered:
            session.execute(f"ALTER TABLE {table} CLUSTER ON {quote(temporary)}".encode())
        renames.append((temporary, str(name), constraint))
    session.execute(f"DROP TABLE {old.sql}".encode())
    session.execute(f"ALTER TABLE {table} RENAME TO {quote(old.name)}".encode())
    for temporary, name, constraint in renames:
        if constraint is not None:
            session.execute(
                f"ALTER TABLE {old.sql} RENAME CONSTRAINT {quote(temporary)} TO {quote(constraint)}".encode()
            )
        else:
            session.execute(f"ALTER INDEX {quote(old.schema, temporary)} RENAME TO {quote(name)}".encode())
    _dress(session, old, about, grants)


def _moved(definition: str, name: str, table: str) -> str:
    """The index definition under another name on another table."""
    found = re.match(
        r'CREATE (UNIQUE )?INDEX (?:"(?:[^"]|"")*"|\S+) ON (ONLY )?(?:"(?:[^"]|"")*"|[^\s.]+)\.'
        r'(?:"(?:[^"]|"")*"|\S+) (.*)$',
        definition,
        flags=re.DOTALL,
    )
    assert found is not None, "pg_get_indexdef names the table with its schema"
    return f"CREATE {found.group(1) or ''}INDEX {quote(name)} ON {table} {found.group(3)}"


def _dress(session: Session, old: Relation, about: tuple[object, ...], grants: list[tuple[object, ...]]) -> None:
    owner, mine, comment, options, *_ = about
    if options:
        session.execute(f"ALTER TABLE {old.sql} SET ({options})".encode())
    if comment is not None:
        text = str(comment).replace("'", "''")
        session.execute(f"COMMENT ON TABLE {old.sql} IS E'{text.replace(chr(92), chr(92) * 2)}'".encode())
    if about[8]:
        session.execute(f"REVOKE ALL ON {old.sql} FROM CURRENT_USER".encode())
        for privilege, grantee, grantable, column in grants:
            what = f"{privilege} ({quote(str(column))})" if column is not None else str(privilege)
            option = " WITH GRANT OPTION" if grantable and grantee != "PUBLIC" else ""
            session.execute(f"GRANT {what} ON {old.sql} TO {grantee}{option}".encode())
    if not mine:
        session.execute(f"ALTER TABLE {old.sql} OWNER TO {owner}".encode())
