"""A query's columns as PostgreSQL describes them before it runs: with the exact types that a table's would have."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from suiro.connectors.postgres.config import PostgresConfig
from suiro.connectors.postgres.session import Session, prepared, translate
from suiro.connectors.postgres.tables import Relation
from suiro.connectors.postgres.types import Column
from suiro.model.errors import UserError
from suiro.model.place import QueryError

_TYPES = """
SELECT format_type(x.type, x.modifier), b.typname, b.typtype,
       CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE x.modifier END, b.oid < 16384,
       CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) ELSE format_type(x.type, x.modifier) END
FROM unnest(%s::oid[], %s::int4[]) WITH ORDINALITY AS x (type, modifier, at)
JOIN pg_type t ON t.oid = x.type
JOIN pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
ORDER BY x.at
"""
_BEFORE = "SELECT * FROM (\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRelation(Relation):
    """A query that is read like a table."""

    query: str

    @property
    def sql(self) -> str:
        """The query as FROM takes it."""
        return f"(\n{self.query}\n) AS q"


def describe(session: Session, sql: str, config: PostgresConfig) -> QueryRelation:
    """The query with its columns; it isn't run. QueryError with the place that the server tells."""
    try:
        names, types, modifiers = _prepared(session, sql)
        found = session.execute(_TYPES, (types, modifiers)).fetchall()
    except psycopg.Error as error:
        wrong = translate(error, config)
        if not isinstance(wrong, UserError):
            raise wrong from error
        place = error.diag.statement_position
        at = None if place is None else max(int(place) - 1 - len(_BEFORE), 0)
        raise QueryError(wrong.message, at=at, hint=_hint(error) or wrong.hint) from error
    columns = tuple(
        Column(
            name=name,
            type=type_,
            base=base,
            kind=kind,
            modifier=modifier,
            builtin=builtin,
            not_null=False,
            generated=False,
            identity_always=False,
            readable=True,
            inner=inner,
        )
        for name, (type_, base, kind, modifier, builtin, inner) in zip(names, found, strict=True)
    )
    return QueryRelation(oid=0, schema="", name="q", kind="q", columns=columns, query=sql)


def _prepared(session: Session, sql: str) -> tuple[list[str], list[int], list[int]]:
    """Names, types and type modifiers of the columns, by PREPARE and DESCRIBE of the protocol."""
    answer = prepared(session, f"{_BEFORE}{sql}\n) AS q")
    fields = range(answer.nfields)
    names = [(answer.fname(i) or b"").decode() for i in fields]
    return names, [answer.ftype(i) for i in fields], [answer.fmod(i) for i in fields]


def _hint(error: psycopg.Error) -> str | None:
    """The server's own hint, which speaks of names and types."""
    said = error.diag.message_hint
    return None if said is None else said.rstrip(".") + "."
