"""The routes that are measured: from where to where, with which table, and what Suiro aims at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from data import CRM, LINEITEM, Table


class Way(Enum):
    """What is copied into what."""

    TABLE_TO_TABLE = auto()
    TABLE_TO_PARQUET = auto()
    CSV_TO_TABLE = auto()
    CHANGES_TO_TABLE = auto()  #: the rows that changed since the last run, merged into the table of that run
    MARIADB_TO_TABLE = auto()
    TABLE_TO_MARIADB = auto()

    @property
    def is_of_mariadb(self) -> bool:
        """Whether a MariaDB server takes part."""
        return self in {Way.MARIADB_TO_TABLE, Way.TABLE_TO_MARIADB}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route. Its `aim` is the least ratio of the limit's wall time to Suiro's; None where there is none."""

    name: str
    title: str
    way: Way
    table: Table
    options: tuple[str, ...] = ()  #: of `suiro copy`
    through_arrow: bool = True  #: else the source's bytes are passed on as they are; Suiro's result tells which it was
    aim: float | None = None
    limit: str  #: the physical limit, in words
    beats: tuple[str, ...] = ("dlt", "sling")  #: the peers that Suiro aims to be ahead of
    equals: tuple[str, ...] = ()  #: the peers that Suiro aims not to be behind
    note: str = ""


COPY_PIPE = "`psql` binary `COPY .. TO STDOUT` piped into `psql` binary `COPY .. FROM STDIN`, a fresh table without key"

ROUTES = (
    Route(
        name="1",
        title="PostgreSQL to PostgreSQL, passed through, lineitem",
        way=Way.TABLE_TO_TABLE,
        table=LINEITEM,
        through_arrow=False,
        aim=0.55,
        limit=COPY_PIPE,
    ),
    Route(
        name="2a",
        title="PostgreSQL to PostgreSQL through Arrow, lineitem (16 columns)",
        way=Way.TABLE_TO_TABLE,
        table=LINEITEM,
        options=("--cursor", "l_orderkey"),
        aim=0.30,
        limit=COPY_PIPE,
        note="A full read that names a cursor looks at every value, so the bytes are not passed through.",
    ),
    Route(
        name="2b",
        title="PostgreSQL to PostgreSQL through Arrow, crm (40 columns)",
        way=Way.TABLE_TO_TABLE,
        table=CRM,
        options=("--cursor", "updated_at"),
        aim=0.30,
        limit=COPY_PIPE,
    ),
    Route(
        name="3",
        title="PostgreSQL to Parquet, lineitem",
        way=Way.TABLE_TO_PARQUET,
        table=LINEITEM,
        aim=0.45,
        limit="`psql` binary `COPY .. TO STDOUT` into a file on the same disk",
    ),
    Route(
        name="4",
        title="CSV.gz to PostgreSQL, lineitem",
        way=Way.CSV_TO_TABLE,
        table=LINEITEM,
        limit="`gunzip -c` piped into `psql` CSV `COPY .. FROM STDIN`, a fresh table of the right types without key",
        note="The limit is told the types; the others find them out.",
    ),
    Route(
        name="5",
        title="PostgreSQL to PostgreSQL, incremental merge of 10 %, crm (40 columns)",
        way=Way.CHANGES_TO_TABLE,
        table=CRM,
        options=("--read", "incremental", "--write", "merge", "--cursor", "updated_at", "--key", "id"),
        limit="`psql`: binary `COPY` of what changed into a temporary table, then `INSERT .. ON CONFLICT DO UPDATE`",
        note="Every candidate has copied the whole table before; only the run that follows a change is measured.",
    ),
    Route(
        name="6",
        title="MariaDB to PostgreSQL, lineitem",
        way=Way.MARIADB_TO_TABLE,
        table=LINEITEM,
        aim=0.50,
        limit="`mariadb --quick --batch` piped into `psql` text `COPY .. FROM STDIN`, a fresh table without key",
        beats=("sling",),
        equals=("ingestr",),
    ),
    Route(
        name="7",
        title="PostgreSQL to MariaDB, lineitem",
        way=Way.TABLE_TO_MARIADB,
        table=LINEITEM,
        limit="`psql` text `COPY .. TO STDOUT` piped into `mariadb` with `LOAD DATA LOCAL INFILE '/dev/stdin'`, a "
        "fresh InnoDB table of the right types without key",
        beats=("sling",),
    ),
)


def chosen(names: str | None) -> tuple[Route, ...]:
    """The routes of a list such as `1,2b,5`; `2` is 2a and 2b. SystemExit names what isn't there."""
    if names is None:
        return ROUTES
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if not any(route.name.startswith(name) for route in ROUTES):
            raise SystemExit(f"no route {name!r}: there are {', '.join(route.name for route in ROUTES)}")
    return tuple(route for route in ROUTES if any(route.name.startswith(name) for name in wanted))
