"""Initial reads by windows, backfills of a range, and tasks that begin anew: from and into every SQL database."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from copying import copied, copy
from mariadb import MariaDBServer, database_of
from mortal_copies import Copies, Order
from suiro.app.tasks import backfill_of, window_of
from suiro.model.errors import ConfigError
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, Resync, WriteMode

Rows = list[tuple[Any, ...]]
FOLLOWED: dict[str, Any] = {"read": ReadMode.INCREMENTAL, "cursor": "at", "write": WriteMode.MERGE}
EVENTS = {
    "postgres": "id int PRIMARY KEY, at timestamptz, day date, amount numeric(10, 2), what text",
    "mariadb": "id INT PRIMARY KEY, at DATETIME(6), day DATE, amount DECIMAL(10, 2), what TEXT",
    "sqlite": "id INTEGER PRIMARY KEY, at TIMESTAMPTZ_TEXT, day DATE_TEXT, amount REAL, what TEXT",
}
DESTINATIONS = ["postgres", "mariadb", "duckdb", "sqlite"]
#: What can't be read in the row 30, and what it was.
SPOILT = {
    "postgres": ("amount = 'NaN'", "amount = 3.5"),
    "mariadb": ("day = '0000-00-00'", "day = '2026-01-08'"),
    "sqlite": ("day = 'no day'", "day = '2026-01-08'"),
}

pytestmark = pytest.mark.crossed("source", "there")


@dataclass(frozen=True, slots=True)
class Database:
    """A database: its address, and how to run a statement in it, with its rows if it has any."""

    kind: str
    url: str
    run: Callable[[str], Rows]

    def rows(self, table: str = "events") -> Rows:
        """The events that it holds."""
        return [tuple(row) for row in self.run(f"SELECT id, what FROM {table} ORDER BY id")]

    def moment(self, day: datetime) -> str:
        """A moment in UTC as a column of this database takes it."""
        zone = {"postgres": "+00:00", "sqlite": ".000000+00:00"}.get(self.kind, "")
        return f"'{day:%Y-%m-%d %H:%M:%S}{zone}'"

    def add(self, id_: int, day: datetime | None, what: str = "event") -> None:
        """One event more."""
        at, date = ("NULL", "NULL") if day is None else (self.moment(day), f"'{day:%Y-%m-%d}'")
        self.run(f"INSERT INTO events VALUES ({id_}, {at}, {date}, {id_ / 2}, '{what}')")


def postgres_database(url: str) -> Database:
    def run(sql: str) -> Rows:
        with psycopg.connect(url, autocommit=True) as session:
            found = session.execute(sql.encode())
            return found.fetchall() if found.description else []

    return Database("postgres", url, run)


def mariadb_database(server: MariaDBServer, url: str) -> Database:
    def run(sql: str) -> Rows:
        with server.connect(database_of(url), sql_mode="") as session, session.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    return Database("mariadb", url, run)


def file_database(kind: str, path: Path) -> Database:
    def run(sql: str) -> Rows:
        if kind == "duckdb":
            with duckdb.connect(str(path)) as db:
                return db.execute(sql).fetchall()
        with closing(sqlite3.connect(path, isolation_level=None)) as lite:
            return lite.execute(sql).fetchall()

    return Database(kind, f"{kind}:///{path}", run)


def database(kind: str, request: pytest.FixtureRequest, path: Path, *, there: bool = False) -> Database:
    """An empty one."""
    if kind == "postgres":
        return postgres_database(request.getfixturevalue("postgres18_url" if there else "postgres_url"))
    if kind == "mariadb":
        server: MariaDBServer = request.getfixturevalue("mariadb")
        return mariadb_database(server, server.create_database())
    return file_database(kind, path)


@pytest.fixture(params=EVENTS)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Forty events, one every six hours from the year's beginning."""
    found = database(request.param, request, tmp_path / "source.db")
    found.run(f"CREATE TABLE events ({EVENTS[found.kind]})")
    begin = datetime(2026, 1, 1)  # noqa: DTZ001  (written with its zone by `moment`)
    days = [begin + n * timedelta(hours=6) for n in range(40)]
    values = ", ".join(f"({n}, {found.moment(d)}, '{d:%Y-%m-%d}', {n / 2}, 'event')" for n, d in enumerate(days))
    found.run(f"INSERT INTO events VALUES {values}")
    yield found
    if found.kind == "mariadb":
        request.getfixturevalue("mariadb").drop_database(found.url)


@pytest.fixture(params=DESTINATIONS)
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Where the events go."""
    found = database(request.param, request, tmp_path / f"there.{request.param}", there=True)
    yield found
    if found.kind == "mariadb":
        request.getfixturevalue("mariadb").drop_database(found.url)


into_duckdb = pytest.mark.parametrize("there", ["duckdb"], indirect=True)
from_postgres = pytest.mark.parametrize("source", ["postgres"], indirect=True)


def read_by_windows(source: Database, there: Database, windows: list[tuple[str, str, int]], write: WriteMode) -> None:
    """Each cursor's windows come as so many loads, and what is new after them by itself."""
    for number, (cursor, window, loads) in enumerate(windows):
        settings = {"read": ReadMode.INCREMENTAL, "cursor": cursor, "write": write, "window": window_of(window)}
        settings |= {"table": f"events{number}"}
        done = copied(source.url, there.url, "events", **settings)
        assert (cursor, done.loads, done.rows_written) == (cursor, loads, 40)
        assert there.rows(f"events{number}") == [(n, "event") for n in range(40)]
        source.add(40, datetime(2026, 2, 1), "late")  # noqa: DTZ001
        assert copied(source.url, there.url, "events", **settings).rows_written == 1
        assert there.rows(f"events{number}")[39:] == [(39, "event"), (40, "late")]
        source.run("DELETE FROM events WHERE id = 40")


def test_an_initial_read_goes_by_windows(source: Database, there: Database) -> None:
    read_by_windows(source, there, [("at", "3d", 4), ("id", "15", 3)], WriteMode.MERGE)


@pytest.mark.parametrize("there", ["sqlite"], indirect=True)
def test_windows_are_spans_of_moments_days_and_numbers(source: Database, there: Database) -> None:
    windows = [("at", "1d", 10), ("day", "3d", 4), ("id", "7", 6), ("id", "1000", 1), ("amount", "5", 4)]
    read_by_windows(source, there, windows, WriteMode.APPEND)


def test_rows_without_a_cursor_value_come_with_the_first_window(source: Database, there: Database) -> None:
    source.add(99, None, "timeless")
    settings = {**FOLLOWED, "window": window_of("2d")}
    copied(source.url, there.url, "events", **settings)
    assert there.rows()[-1] == (99, "timeless")
    assert len(there.rows()) == 41
    assert copied(source.url, there.url, "events", **settings).rows_read == 1


def test_a_read_by_windows_resumes_after_the_last_published_one(source: Database, there: Database) -> None:
    spoilt, mended = SPOILT[source.kind]
    source.run(f"UPDATE events SET {spoilt} WHERE id = 30")
    settings = {**FOLLOWED, "window": window_of("10"), "cursor": "id"}
    done = copy(source.url, there.url, "events", **settings)
    assert done.error is not None and done.error.code == "data_error" and done.loads == 3
    assert there.rows() == [(n, "event") for n in range(30)]
    source.run(f"UPDATE events SET {mended} WHERE id = 30")
    again = copied(source.url, there.url, "events", **settings)
    assert again.rows_written == 10
    assert there.rows() == [(n, "event") for n in range(40)]


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copies]:
    found = Copies(tmp_path_factory.mktemp("copies"))
    yield found
    found.close()


@pytest.mark.parametrize(
    ("source", "there"),
    [("postgres", "postgres"), ("mariadb", "mariadb"), ("sqlite", "duckdb"), ("postgres", "sqlite")],
    indirect=True,
)
def test_a_read_by_windows_that_is_killed_resumes_after_the_last_published_one(
    source: Database, there: Database, copies: Copies
) -> None:
    left = set()
    for at in range(12, 1000, 31):
        table = f"events{at}"
        task = {**FOLLOWED, "window": window_of("10"), "cursor": "id", "table": table}
        order = Order(source=source.url, destination=there.url, stream="events", run="r", task=task)
        source.run("UPDATE events SET what = 'event'")
        (ended,) = copies.carry(replace(order, fault="kill", at=at))
        if ended == 0:
            break
        assert ended == -9
        published = rows_if_any(there, table)
        assert published == [(n, "event") for n in range(len(published))] and len(published) % 10 == 0
        left.add(len(published))
        source.run("UPDATE events SET what = 'changed unseen'")
        assert copies.carry(order) == [0], copies.told()
        again = max(len(published) - 1, 0)  # the row with the last cursor value is compared, and has changed
        wanted = [(n, "event" if n < again else "changed unseen") for n in range(40)]
        assert there.rows(table) == wanted
    assert ended == 0 and left & {10, 20, 30}


def rows_if_any(there: Database, table: str) -> Rows:
    try:
        return there.rows(table)
    except Exception as error:  # of any driver
        if table in str(error):
            return []
        raise


def test_a_read_begins_at_its_start_value(source: Database, there: Database) -> None:
    for number, (cursor, start) in enumerate([("at", "2026-01-06"), ("day", "2026-01-06"), ("id", "20")]):
        table = f"events{number}"
        copied(source.url, there.url, "events", **FOLLOWED | {"cursor": cursor}, start=start, table=table)
        assert there.rows(table) == [(n, "event") for n in range(20, 40)]
    settings = {**FOLLOWED, "table": "windowed", "start": "2026-01-06", "window": window_of("2d")}
    assert copied(source.url, there.url, "events", **settings).loads == 3
    assert len(there.rows("windowed")) == 20


def test_a_backfill_reads_its_range_again_and_leaves_the_position(source: Database, there: Database) -> None:
    before = copied(source.url, there.url, "events", **FOLLOWED)
    source.run("UPDATE events SET what = 'mended'")
    done = copied(source.url, there.url, "events", **FOLLOWED, backfill=("2026-01-02", "2026-01-03"))
    assert (done.rows_read, done.rows_written) == (4, 4)
    assert [id_ for id_, what in there.rows() if what == "mended"] == [4, 5, 6, 7]
    after = copied(source.url, there.url, "events", **FOLLOWED)
    assert after.rows_read == 1 and before.rows_read == 40
    numbers = {**FOLLOWED, "cursor": "id", "table": "numbers"}
    copied(source.url, there.url, "events", **numbers)
    source.run("UPDATE events SET what = 'again'")
    assert copied(source.url, there.url, "events", **numbers, backfill=("8", "10")).rows_written == 2
    assert [id_ for id_, what in there.rows("numbers") if what == "again"] == [8, 9]


@pytest.mark.parametrize("resync", list(Resync))
def test_a_resync_reads_one_table_anew_and_no_other(source: Database, there: Database, resync: Resync) -> None:
    source.run(f"CREATE TABLE others ({EVENTS[source.kind]})")
    source.run("INSERT INTO others SELECT * FROM events")
    for stream in ("events", "others"):
        copied(source.url, there.url, stream, **FOLLOWED)
    source.run("UPDATE events SET what = 'changed unseen'")
    source.run("UPDATE others SET what = 'changed unseen'")
    source.run("DELETE FROM events WHERE id = 0")
    done = copied(source.url, there.url, "events", **FOLLOWED, resync=resync)
    assert done.rows_read == 39
    stays = [(0, "event")] if resync is Resync.REFRESH else []
    assert there.rows() == [*stays, *[(n, "changed unseen") for n in range(1, 40)]]
    assert copied(source.url, there.url, "events", **FOLLOWED).rows_read <= 1
    assert copied(source.url, there.url, "others", **FOLLOWED).rows_written <= 1
    assert there.run("SELECT count(*) FROM others WHERE what = 'event'") == [(39,)]
    source.add(40, datetime(2026, 2, 1), "late")  # noqa: DTZ001
    assert copied(source.url, there.url, "events", **FOLLOWED).rows_written == 1


@pytest.mark.parametrize("resync", list(Resync))
def test_a_resync_that_fails_leaves_the_table_and_its_position(
    source: Database, there: Database, resync: Resync
) -> None:
    copied(source.url, there.url, "events", **FOLLOWED)
    spoilt, mended = SPOILT[source.kind]
    source.run("UPDATE events SET what = 'changed unseen'")
    source.run(f"UPDATE events SET {spoilt} WHERE id = 30")
    assert copy(source.url, there.url, "events", **FOLLOWED, resync=resync).error is not None
    assert there.rows() == [(n, "event") for n in range(40)]
    source.run(f"UPDATE events SET {mended} WHERE id = 30")
    assert copied(source.url, there.url, "events", **FOLLOWED).rows_read == 1
    assert copied(source.url, there.url, "events", **FOLLOWED, resync=resync).rows_read == 40
    assert there.rows() == [(n, "changed unseen") for n in range(40)]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({**FOLLOWED, "window": window_of("100")}, "the window 100 doesn't suit the cursor at"),
        ({**FOLLOWED, "start": "yesterday"}, "'yesterday' is no value of at"),
        ({"start": "2026-01-01"}, "needs a cursor field"),
        ({"cursor": "at", "window": window_of("1d")}, "belongs to an incremental read"),
        ({**FOLLOWED, "backfill": ("2026-02-01", "2026-01-01")}, "holds nothing"),
        (
            {**FOLLOWED, "write": WriteMode.APPEND, "backfill": ("2026-01-01", "2026-02-01")},
            "would be doubled by append",
        ),
        ({"resync": Resync.REPLACE}, "a full read begins anew every time"),
        ({**FOLLOWED, "write": WriteMode.HISTORY, "resync": Resync.REPLACE}, "loses its versions"),
        ({**FOLLOWED, "resync": Resync.REFRESH, "backfill": ("2026-01-01", "2026-02-01")}, "Ask for one"),
    ],
)
@into_duckdb
def test_what_makes_no_sense_is_refused(source: Database, there: Database, settings: dict[str, Any], said: str) -> None:
    done = copy(source.url, there.url, "events", **settings)
    assert done.error is not None and said in f"{done.error.message} {done.error.hint}"


@from_postgres
def test_a_resync_with_replace_works_where_deletes_are_followed(source: Database, there: Database) -> None:
    settings = {**FOLLOWED, "deletes": Deletes.SOFT}
    copied(source.url, there.url, "events", **settings)
    source.run("DELETE FROM events WHERE id < 3")
    copied(source.url, there.url, "events", **settings, resync=Resync.REPLACE)
    assert len(there.rows()) == 37
    source.run("DELETE FROM events WHERE id < 5")
    assert copied(source.url, there.url, "events", **settings).rows_deleted == 2


@pytest.mark.parametrize("text", ["", "2026-01-01", "..2026-01-01", "2026-01-01.."])
def test_a_range_has_two_ends(text: str) -> None:
    with pytest.raises(ConfigError):
        backfill_of(text)
