"""The two tables that are copied: what they look like and how they are filled, the same in every run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, LiteralString

if TYPE_CHECKING:
    import psycopg

CHANGES_START = datetime(2025, 7, 1, tzinfo=UTC)  # no row of a fresh `crm` is as young


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table in schema public."""

    name: LiteralString
    columns: tuple[tuple[LiteralString, LiteralString], ...]  #: name and type, as PostgreSQL's format_type prints it
    not_null: frozenset[LiteralString]
    key: tuple[LiteralString, ...]
    cursor: LiteralString

    def ddl(self, name: str, *, key: bool = True) -> str:
        """CREATE TABLE of that name."""
        lines = [f"{column} {kind}{' NOT NULL' * (column in self.not_null)}" for column, kind in self.columns]
        lines += [f"PRIMARY KEY ({', '.join(self.key)})"] * key
        return f"CREATE TABLE {name} ({', '.join(lines)})"

    @property
    def mariadb_columns(self) -> tuple[tuple[str, str], ...]:
        """Name and type of each column, as MariaDB's information_schema prints it."""
        return tuple((column, _mariadb_type(kind)) for column, kind in self.columns)

    def mariadb_ddl(self, name: str, *, key: bool = True) -> str:
        """CREATE TABLE of that name in MariaDB."""
        lines = [f"{column} {kind}{' NOT NULL' * (column in self.not_null)}" for column, kind in self.mariadb_columns]
        lines += [f"PRIMARY KEY ({', '.join(self.key)})"] * key
        return f"CREATE TABLE {name} ({', '.join(lines)}) ENGINE=InnoDB"


def _mariadb_type(kind: str) -> str:
    name, bracket, size = kind.partition("(")
    return f"{MARIADB_TYPES[name]}{bracket}{size}"


MARIADB_TYPES = {  # those of lineitem
    "bigint": "bigint(20)",
    "integer": "int(11)",
    "numeric": "decimal",
    "character": "char",
    "character varying": "varchar",
    "date": "date",
}


LINEITEM = Table(
    name="lineitem",
    columns=(
        ("l_orderkey", "bigint"),
        ("l_partkey", "integer"),
        ("l_suppkey", "integer"),
        ("l_linenumber", "integer"),
        ("l_quantity", "numeric(15,2)"),
        ("l_extendedprice", "numeric(15,2)"),
        ("l_discount", "numeric(15,2)"),
        ("l_tax", "numeric(15,2)"),
        ("l_returnflag", "character(1)"),
        ("l_linestatus", "character(1)"),
        ("l_shipdate", "date"),
        ("l_commitdate", "date"),
        ("l_receiptdate", "date"),
        ("l_shipinstruct", "character(25)"),
        ("l_shipmode", "character(10)"),
        ("l_comment", "character varying(44)"),
    ),
    not_null=frozenset({"l_orderkey", "l_linenumber"}),
    key=("l_orderkey", "l_linenumber"),
    cursor="l_orderkey",
)

CRM = Table(
    name="crm",
    columns=(
        ("id", "uuid"),
        ("external_id", "text"),
        ("owner_id", "uuid"),
        ("parent_id", "uuid"),
        ("first_name", "text"),
        ("last_name", "text"),
        ("full_name", "text"),
        ("email", "text"),
        ("phone", "text"),
        ("mobile", "text"),
        ("title", "text"),
        ("department", "text"),
        ("company", "text"),
        ("website", "text"),
        ("industry", "character varying(80)"),
        ("lead_source", "character varying(40)"),
        ("status", "character varying(20)"),
        ("rating", "character varying(10)"),
        ("street", "text"),
        ("city", "text"),
        ("state", "text"),
        ("postal_code", "text"),
        ("country", "text"),
        ("latitude", "double precision"),
        ("longitude", "double precision"),
        ("annual_revenue", "numeric(18,2)"),
        ("credit_limit", "numeric(12,2)"),
        ("score", "integer"),
        ("employees", "integer"),
        ("visits", "bigint"),
        ("is_active", "boolean"),
        ("is_customer", "boolean"),
        ("email_opt_out", "boolean"),
        ("do_not_call", "boolean"),
        ("birthday", "date"),
        ("last_contacted_at", "timestamp with time zone"),
        ("attributes", "jsonb"),
        ("notes", "text"),
        ("created_at", "timestamp with time zone"),
        ("updated_at", "timestamp with time zone"),
    ),
    not_null=frozenset({"id", "created_at", "updated_at"}),
    key=("id",),
    cursor="updated_at",
)

FILL_LINEITEM: LiteralString = """
INSERT INTO public.lineitem
SELECT (i - 1) / 4 * 4 + 1, 1 + (random() * 199999)::int, 1 + (random() * 9999)::int, (i - 1) %% 4 + 1,
    1 + (random() * 49)::int, (900 + random() * 104000)::numeric(15,2), ((random() * 10)::int / 100.0)::numeric(15,2),
    ((random() * 8)::int / 100.0)::numeric(15,2),
    (ARRAY['A','N','R'])[1 + (random() * 2)::int], (ARRAY['F','O'])[1 + (random())::int],
    shipped, shipped + (random() * 60)::int - 30, shipped + 1 + (random() * 29)::int,
    (ARRAY['DELIVER IN PERSON','COLLECT COD','NONE','TAKE BACK RETURN'])[1 + (random() * 3)::int],
    (ARRAY['REG AIR','AIR','RAIL','SHIP','TRUCK','MAIL','FOB'])[1 + (random() * 6)::int],
    substr(words, 1 + (random() * 600)::int, 10 + (random() * 34)::int)
FROM (SELECT i, date '1992-01-02' + (random() * 2498)::int AS shipped FROM generate_series(1, %(rows)s::bigint) i) rows,
    (SELECT repeat('carefully final deposits detect slyly above the quickly even packages; ironic accounts ', 9)
        AS words) prose
ORDER BY i
"""

FILL_CRM: LiteralString = """
INSERT INTO public.crm
SELECT md5('id' || i)::uuid, 'C-' || lpad(i::text, 9, '0'), md5('owner' || i %% 200)::uuid,
    CASE WHEN i %% 5 = 0 THEN md5('id' || i / 5)::uuid END,
    first, last, first || ' ' || last, lower(first) || '.' || i || '@example.com',
    '+81-3-' || lpad((i * 7919 %% 100000000)::text, 8, '0'),
    CASE WHEN random() < 0.6 THEN '+81-90-' || lpad((i * 104729 %% 100000000)::text, 8, '0') END,
    CASE WHEN random() < 0.7 THEN (ARRAY['Head','Buyer','Engineer','営業部長','Analyst'])[1 + (random() * 4)::int] END,
    CASE WHEN random() < 0.5 THEN (ARRAY['Sales','購買部','IT','Finance'])[1 + (random() * 3)::int] END,
    (ARRAY['Aoyama','Müller','Northwind','水路','Contoso'])[1 + (random() * 4)::int] || ' ' || i %% 30000,
    CASE WHEN random() < 0.4 THEN 'https://www.example.com/' || md5(i::text) END,
    (ARRAY['Manufacturing','Retail','Finance','Public sector'])[1 + (random() * 3)::int],
    CASE WHEN random() < 0.8 THEN (ARRAY['Web','Fair','Partner','Phone'])[1 + (random() * 3)::int] END,
    (ARRAY['new','open','won','lost'])[1 + (random() * 3)::int],
    CASE WHEN random() < 0.5 THEN (ARRAY['Hot','Warm','Cold'])[1 + (random() * 2)::int] END,
    i %% 999 || ' Canal Street', (ARRAY['東京','Osaka','Berlin','Lyon','Boston'])[1 + (random() * 4)::int],
    CASE WHEN random() < 0.5 THEN (ARRAY['MA','BY','関東'])[1 + (random() * 2)::int] END,
    lpad((random() * 99999)::int::text, 5, '0'), (ARRAY['JP','DE','FR','US'])[1 + (random() * 3)::int],
    CASE WHEN random() < 0.7 THEN random() * 180 - 90 END, CASE WHEN random() < 0.7 THEN random() * 360 - 180 END,
    CASE WHEN random() < 0.6 THEN (random() * 90000000)::numeric(18,2) END, (random() * 50000)::numeric(12,2),
    (random() * 100)::int, CASE WHEN random() < 0.6 THEN (random() * 20000)::int END, (random() * 1e6)::bigint,
    random() < 0.9, random() < 0.4, random() < 0.2, CASE WHEN random() < 0.5 THEN random() < 0.1 END,
    CASE WHEN random() < 0.3 THEN date '1950-01-01' + (random() * 20000)::int END,
    CASE WHEN random() < 0.7 THEN timestamptz '2025-01-01Z' + random() * interval '180 days' END,
    jsonb_build_object('tier', (random() * 5)::int, 'tags', jsonb_build_array('a' || i %% 7, 'b' || i %% 11),
        'locale', 'ja-JP', 'consent', random() < 0.5),
    CASE WHEN random() < 0.3 THEN repeat('Called back, asked for an offer. ', 1 + (random() * 5)::int) END,
    timestamptz '2022-01-01Z' + random() * interval '700 days',
    timestamptz '2024-01-01Z' + random() * interval '540 days'
FROM (SELECT i, (ARRAY['Hana','Jörg','Akira','Chloé','Ben','Sofia'])[1 + (random() * 5)::int] AS first,
        (ARRAY['Tanaka','Schmidt','佐藤','Dubois','Miller','García'])[1 + (random() * 5)::int] AS last
    FROM generate_series(1, %(rows)s::bigint) i) rows
ORDER BY i
"""

# Every tenth row, others in each of ten rounds; their cursor moves past all that was seen before.
CHANGE_CRM: LiteralString = """
UPDATE public.crm
SET updated_at = %(since)s + random() * interval '20 hours', score = score + 1, status = 'won', visits = visits + 3,
    notes = coalesce(notes, '') || 'Changed.'
WHERE hashtext(external_id) %% 10 IN (%(part)s, -%(part)s)
"""


def fill(session: psycopg.Connection, table: Table, rows: int) -> None:
    """Make the table and its rows."""
    session.execute(table.ddl(f"public.{table.name}").encode())
    session.execute("SELECT setseed(0.42)")
    session.execute(FILL_LINEITEM if table is LINEITEM else FILL_CRM, {"rows": rows})
    if table is CRM:
        session.execute("CREATE INDEX ON public.crm (updated_at)")
    session.execute(f"VACUUM ANALYZE public.{table.name}")


def change(session: psycopg.Connection, turn: int) -> int:
    """Change a tenth of `crm` (turn 0, 1, ...: each other rows) and tell how many rows that was."""
    session.execute("SELECT setseed(0.42)")
    changed = session.execute(CHANGE_CRM, {"since": changed_since(turn), "part": turn % 10}).rowcount
    session.execute("VACUUM ANALYZE public.crm")
    return changed


def changed_since(turn: int) -> datetime:
    """A moment older than the changes of this turn and younger than everything before."""
    return CHANGES_START + timedelta(days=turn)
