"""Tables of a server as a destination finds them: names, columns, unique keys, and what depends on them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from suiro.connectors.mysql.session import Session
from suiro.model.errors import ConfigError

MOST_CHARACTERS = 64  #: in an identifier
_MARK = re.compile(r" ?\[suiro:([0-9a-z-]+)\]")
_KINDS = {"BASE TABLE": "table", "SYSTEM VERSIONED": "versioned table", "VIEW": "view", "SEQUENCE": "sequence"}


def quote(*parts: str) -> str:
    """A name as an identifier, whatever is in it."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


def columns_sql(names: Sequence[str], prefix: str = "") -> str:
    """A list of columns, each with `prefix` ("t.") before it."""
    return ", ".join(prefix + quote(name) for name in names)


def folded(name: str) -> str:
    """Names of columns that fold to one are one."""
    return name.lower()


def refuse_name(what: str, name: str) -> None:
    """ConfigError for a name that no table or column of a server can have."""
    reason = None
    if len(name) > MOST_CHARACTERS:
        reason = f"has more than {MOST_CHARACTERS} characters"
    elif name.endswith(" "):
        reason = "ends with a space"
    elif not name or any(c == "\0" or ord(c) > 0xFFFF for c in name):
        reason = "is empty or holds a character beyond U+FFFF"
    if reason:
        raise ConfigError(
            f"the {what} name {name!r} {reason}, which MySQL and MariaDB don't take", hint="Give it another name."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as information_schema tells it. `declared` is COLUMN_TYPE, or `json`."""

    name: str
    declared: str
    characters: int | None = None  #: that a text column takes
    charset: str | None = None
    collation: str | None = None
    nullable: bool = True
    generated: bool = False
    filled: bool = True  #: a row that doesn't name it gets a value of the server's, or NULL
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueKey:
    """A unique key over whole columns."""

    name: str
    columns: tuple[str, ...]

    @property
    def primary(self) -> bool:
        """Whether it is the primary key."""
        return self.name == "PRIMARY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A table as it stands."""

    parts: tuple[str, str]
    kind: str  #: "table", "versioned table", "view", ...
    engine: str
    comment: str
    columns: tuple[Column, ...]
    uniques: tuple[UniqueKey, ...]
    others_unique: bool = False  #: there is a unique key over a part of a column or an expression

    @property
    def sql(self) -> str:
        """The qualified name as an identifier."""
        return quote(*self.parts)

    @property
    def name(self) -> str:
        """The table's name, in its database."""
        return self.parts[1]

    @property
    def mark(self) -> str | None:
        """What the comment says of the publish that put the table here; None where Suiro didn't make it."""
        found = _MARK.search(self.comment)
        return found[1] if found else None

    def column(self, name: str) -> Column | None:
        """The column of that name, whatever its case."""
        return next((column for column in self.columns if folded(column.name) == folded(name)), None)

    def keyed(self, column: Column) -> bool:
        """Whether a unique key holds the column."""
        return any(folded(column.name) in map(folded, key.columns) for key in self.uniques)

    def unique_key(self, names: Sequence[str]) -> UniqueKey | None:
        """The unique key over exactly these columns."""
        wanted = {folded(name) for name in names}
        return next((key for key in self.uniques if {folded(name) for name in key.columns} == wanted), None)


def marked(comment: str, mark: str) -> str:
    """The comment with another mark in the place of the old one."""
    return f"{_MARK.sub('', comment)} [suiro:{mark}]".strip()


_TABLE = """
SELECT TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_COMMENT FROM information_schema.TABLES
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s
"""
_COLUMNS = """
SELECT COLUMN_NAME, COLUMN_TYPE, CHARACTER_MAXIMUM_LENGTH, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE, EXTRA,
       COLUMN_COMMENT, COLUMN_DEFAULT
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION
"""
_UNIQUES = """
SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS
WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX
"""
_GIVES = re.compile("AUTO_INCREMENT|GENERATED")
_JSON = """
SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
WHERE CONSTRAINT_SCHEMA = %s AND TABLE_NAME = %s AND CHECK_CLAUSE LIKE 'json_valid(%%'
"""


def find(session: Session, parts: tuple[str, str]) -> Standing | None:
    """The table or view of that name, or None."""
    rows = session.ask(_TABLE, parts, doing=f"looking for {parts[1]}")
    if not rows:
        return None
    _, kind, engine, comment = rows[0]
    keys = _unique_keys(session, parts)
    whole = {name: columns for name, columns in keys.items() if None not in columns}
    return Standing(
        parts=parts,
        kind=_KINDS.get(str(kind).upper(), str(kind).lower()),
        engine=engine or "",
        comment=comment or "",
        columns=tuple(_columns(session, parts)),
        uniques=tuple(UniqueKey(name=n, columns=tuple(str(c) for c in columns)) for n, columns in whole.items()),
        others_unique=len(whole) < len(keys),
    )


def _columns(session: Session, parts: tuple[str, str]) -> list[Column]:
    valid: set[str] = set()
    if session.is_mariadb:
        valid = {str(row[0]) for row in session.ask(_JSON, parts)}
    found = []
    for name, declared, characters, charset, collation, nullable, extra, comment, default in session.ask(
        _COLUMNS, parts
    ):
        is_json = f"json_valid({quote(name)})" in valid
        made = str(extra).upper()
        given = nullable == "YES" or default is not None or bool(_GIVES.search(made))
        found.append(
            Column(
                name=name,
                declared="json" if is_json else str(declared),
                characters=characters,
                charset=charset,
                collation=collation,
                nullable=nullable == "YES",
                generated=bool(re.search(r"\b(GENERATED|VIRTUAL|PERSISTENT|STORED)\b(?!_)", made))
                and made != "DEFAULT_GENERATED",
                filled=given or str(declared).startswith("enum("),  # the first of its values, in strict mode too
                comment=comment or "",
            )
        )
    return found


def _unique_keys(session: Session, parts: tuple[str, str]) -> dict[str, list[str | None]]:
    """By index name the columns, None where it holds a part of one or an expression."""
    keys: dict[str, list[str | None]] = {}
    for name, column, part in session.ask(_UNIQUES, parts):
        keys.setdefault(name, []).append(column if part is None else None)
    return keys


_REFERENCES = """
SELECT CONSTRAINT_NAME, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.KEY_COLUMN_USAGE
WHERE REFERENCED_TABLE_SCHEMA = %s AND REFERENCED_TABLE_NAME = %s
"""
_DEPENDENTS = """
SELECT CONCAT('foreign key ', CONSTRAINT_NAME) FROM information_schema.TABLE_CONSTRAINTS
  WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND CONSTRAINT_TYPE = 'FOREIGN KEY'
UNION SELECT CONCAT('trigger ', TRIGGER_NAME) FROM information_schema.TRIGGERS
  WHERE EVENT_OBJECT_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s
"""


def is_referenced(session: Session, parts: tuple[str, str]) -> bool:
    """Whether a foreign key of another table points here."""
    return any(table != ".".join(parts) for _, table in session.ask(_REFERENCES, parts))


def dependents(session: Session, parts: tuple[str, str]) -> list[str]:
    """What a new table in this one's place would lose or break, in words. Views follow the name, so they don't."""
    found = [f"foreign key {name} of {table}" for name, table in session.ask(_REFERENCES, parts)]
    return sorted({*found, *(str(row[0]) for row in session.ask(_DEPENDENTS, (*parts, *parts)))})


def sees_triggers(session: Session, database: str) -> bool:
    """Whether these credentials are shown the triggers of every table in the database."""
    for (grant,) in session.ask("SHOW GRANTS FOR CURRENT_USER()"):
        found = re.match(r"GRANT (.*?) ON (\S+|`(?:[^`]|``)*`\.\*) TO ", str(grant))
        if not found or not re.search(r"\b(TRIGGER|ALL PRIVILEGES)\b", found[1]):
            continue
        if found[2] in ("*.*", f"{quote(database)}.*", f"{quote(_as_pattern(database))}.*"):
            return True
    return False


def _as_pattern(database: str) -> str:
    """The name as a grant on a pattern of databases spells it."""
    return database.replace("_", r"\_").replace("%", r"\%")
