"""Initial reads by windows, backfills of a range, and tasks that begin anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from copying import copied, copy
from suiro.app.tasks import backfill_of, window_of
from suiro.model.errors import ConfigError
from suiro.model.schema import ReadMode
from suiro.model.selection import Deletes, Resync, WriteMode

Rows = list[tuple[Any, ...]]
FOLLOWED: dict[str, Any] = {"read": ReadMode.INCREMENTAL, "cursor": "at", "write": WriteMode.MERGE}


@pytest.fixture
def source(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as session:
        session.execute("CREATE TABLE events (id int PRIMARY KEY, at timestamptz, day date, what text)")
        session.execute(
            "INSERT INTO events SELECT n, '2026-01-01Z'::timestamptz + n * interval '6 hours', "
            "'2026-01-01'::date + n / 4, 'event' FROM generate_series(0, 39) n"
        )
        yield session


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there.duckdb"


def rows(there: Path, sql: str = "SELECT id, what FROM events ORDER BY id") -> Rows:
    with duckdb.connect(str(there), read_only=True) as db:
        return db.sql(sql).fetchall()


def url_of(session: psycopg.Connection) -> str:
    info = session.info
    return f"postgresql://{info.user}:{info.password}@{info.host}:{info.port}/{info.dbname}"


@pytest.mark.parametrize(
    ("cursor", "window", "loads"), [("at", "1d", 10), ("day", "3d", 4), ("id", "7", 6), ("id", "1000", 1)]
)
@pytest.mark.parametrize("write", [WriteMode.MERGE, WriteMode.APPEND])
def test_an_initial_read_goes_by_windows(
    source: psycopg.Connection, there: Path, cursor: str, window: str, loads: int, write: WriteMode
) -> None:
    settings = {"read": ReadMode.INCREMENTAL, "cursor": cursor, "write": write, "window": window_of(window)}
    done = copied(url_of(source), f"duckdb:///{there}", "events", **settings)
    assert (done.loads, done.rows_written) == (loads, 40)
    assert [id_ for id_, _ in rows(there)] == list(range(40))
    source.execute("INSERT INTO events VALUES (40, '2026-02-01Z', '2026-02-01', 'late')")
    assert copied(url_of(source), f"duckdb:///{there}", "events", **settings).rows_written == 1
    assert len(rows(there)) == 41


def test_rows_without_a_cursor_value_come_with_the_first_window(source: psycopg.Connection, there: Path) -> None:
    source.execute("INSERT INTO events VALUES (99, NULL, NULL, 'timeless')")
    copied(url_of(source), f"duckdb:///{there}", "events", **FOLLOWED, window=window_of("2d"))
    assert (99, "timeless") in rows(there)
    assert len(rows(there)) == 41


def test_a_read_by_windows_resumes_after_the_last_published_one(source: psycopg.Connection, there: Path) -> None:
    source.execute("ALTER TABLE events ADD amount numeric(10, 2)")
    source.execute("UPDATE events SET amount = 'NaN' WHERE id = 30")
    settings = {**FOLLOWED, "window": window_of("10"), "cursor": "id"}
    done = copy(url_of(source), f"sqlite:///{there}.sqlite", "events", **settings)
    assert done.error is not None and done.loads == 3
    source.execute("UPDATE events SET amount = 3.5 WHERE id = 30")
    again = copied(url_of(source), f"sqlite:///{there}.sqlite", "events", **settings)
    assert again.rows_written == 10


def test_a_read_begins_at_its_start_value(source: psycopg.Connection, there: Path) -> None:
    copied(url_of(source), f"duckdb:///{there}", "events", **FOLLOWED, start="2026-01-06")
    assert rows(there)[0] == (20, "event") and len(rows(there)) == 20


def test_a_backfill_reads_its_range_again_and_leaves_the_position(source: psycopg.Connection, there: Path) -> None:
    before = copied(url_of(source), f"duckdb:///{there}", "events", **FOLLOWED)
    source.execute("UPDATE events SET what = 'mended'")
    done = copied(url_of(source), f"duckdb:///{there}", "events", **FOLLOWED, backfill=("2026-01-02", "2026-01-03"))
    assert (done.rows_read, done.rows_written) == (4, 4)
    assert [id_ for id_, what in rows(there) if what == "mended"] == [4, 5, 6, 7]
    after = copied(url_of(source), f"duckdb:///{there}", "events", **FOLLOWED)
    assert after.rows_read == 1 and before.rows_read == 40


@pytest.mark.parametrize("resync", list(Resync))
def test_a_resync_reads_one_table_anew_and_no_other(source: psycopg.Connection, there: Path, resync: Resync) -> None:
    source.execute("CREATE TABLE others AS SELECT * FROM events")
    url = f"duckdb:///{there}"
    for stream in ("events", "others"):
        copied(url_of(source), url, stream, **FOLLOWED, key=("id",))
    source.execute("UPDATE events SET what = 'changed unseen'")
    source.execute("UPDATE others SET what = 'changed unseen'")
    source.execute("DELETE FROM events WHERE id = 0")
    done = copied(url_of(source), url, "events", **FOLLOWED, key=("id",), resync=resync)
    assert done.rows_read == 39
    stays = [(0, "event")] if resync is Resync.REFRESH else []
    assert rows(there) == [*stays, *[(n, "changed unseen") for n in range(1, 40)]]
    assert copied(url_of(source), url, "events", **FOLLOWED, key=("id",)).rows_read <= 1
    assert copied(url_of(source), url, "others", **FOLLOWED, key=("id",)).rows_written <= 1
    assert rows(there, "SELECT count(*) FROM others WHERE what = 'event'") == [(39,)]


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
def test_what_makes_no_sense_is_refused(
    source: psycopg.Connection, there: Path, settings: dict[str, Any], said: str
) -> None:
    done = copy(url_of(source), f"duckdb:///{there}", "events", **settings)
    assert done.error is not None and said in f"{done.error.message} {done.error.hint}"


def test_a_resync_with_replace_works_where_deletes_are_followed(source: psycopg.Connection, there: Path) -> None:
    url, settings = f"duckdb:///{there}", {**FOLLOWED, "deletes": Deletes.SOFT}
    copied(url_of(source), url, "events", **settings)
    source.execute("DELETE FROM events WHERE id < 3")
    copied(url_of(source), url, "events", **settings, resync=Resync.REPLACE)
    assert len(rows(there)) == 37
    source.execute("DELETE FROM events WHERE id < 5")
    assert copied(url_of(source), url, "events", **settings).rows_deleted == 2


@pytest.mark.parametrize("text", ["", "2026-01-01", "..2026-01-01", "2026-01-01.."])
def test_a_range_has_two_ends(text: str) -> None:
    with pytest.raises(ConfigError):
        backfill_of(text)
