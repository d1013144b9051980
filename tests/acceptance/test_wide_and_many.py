"""Sizes and names at the edge: 500 columns, 2,000 streams, Japanese names, CP932 files with signs of Windows' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import psycopg
import pytest

from copying import copied
from suiro.app.connections import connection
from suiro.engine.context import RunContext

ANSWER = "顧客管理(営業支援パック)"


@pytest.fixture
def source(postgres_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as session:
        yield session


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "postgres"])
def test_five_hundred_columns_arrive_there_and_back(
    source: psycopg.Connection, postgres_url: str, postgres18_url: str, tmp_path: Path, kind: str
) -> None:
    kinds = [
        ("int", "n"),
        ("text", "'値' || n"),
        ("numeric(12,2)", "n / 3.0"),
        ("timestamptz", "'2026-01-01Z'::timestamptz"),
    ]
    columns = ", ".join(f'"列{n}" {kinds[n % 4][0]}' for n in range(499))
    source.execute(f"CREATE TABLE wide (id int PRIMARY KEY, {columns})".encode())
    values = ", ".join(kinds[n % 4][1] for n in range(499))
    source.execute(f"INSERT INTO wide SELECT n, {values} FROM generate_series(1, 200) n".encode())
    there = {
        "duckdb": f"duckdb:///{tmp_path}/w.duckdb",
        "sqlite": f"sqlite:///{tmp_path}/w.sqlite",
        "postgres": postgres18_url,
    }
    assert copied(postgres_url, there[kind], "wide", key=("id",)).rows_written == 200
    assert copied(there[kind], postgres_url, "wide", table="back").rows_written == 200
    left = source.execute("SELECT count(*) FROM (SELECT * FROM wide EXCEPT ALL SELECT * FROM back) AS d").fetchone()
    assert left == (0,)


def test_two_thousand_streams_are_listed_and_any_is_loaded(
    source: psycopg.Connection, postgres_url: str, tmp_path: Path
) -> None:
    source.execute(
        "DO $$ BEGIN FOR n IN 1..2000 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, at timestamptz)', n); "
        "END LOOP; END $$"
    )
    source.execute("INSERT INTO t1999 VALUES (1, now())")
    with RunContext("listing") as context:
        opened = connection(postgres_url).source(context)
        found = list(opened.discover())
        opened.close()
    assert len(found) == 2000
    assert all(stream.schema.names == ["id", "at"] and stream.primary_key == ("id",) for stream in found)
    assert copied(postgres_url, f"duckdb:///{tmp_path}/d.duckdb", "t1999").rows_written == 1


def test_japanese_names_are_listed_and_loaded(source: psycopg.Connection, postgres_url: str, tmp_path: Path) -> None:
    source.execute(
        f'CREATE TABLE "{ANSWER}" ("会社名" text PRIMARY KEY, "売上高(円)" bigint, "更新日時" timestamptz)'.encode()
    )
    source.execute(
        f"INSERT INTO \"{ANSWER}\" VALUES ('株式会社 例', 120, '2026-01-01Z'), ('髙島①～', 80, '2026-02-01Z')".encode()
    )
    there = tmp_path / "d.duckdb"
    copied(postgres_url, f"duckdb:///{there}", f'"{ANSWER}"')
    with duckdb.connect(str(there)) as db:
        rows = db.sql(f'SELECT "会社名", "売上高(円)" FROM "{ANSWER}" ORDER BY 2').fetchall()
    assert rows == [("髙島①～", 80), ("株式会社 例", 120)]


def test_files_as_windows_writes_them_keep_every_sign(postgres_url: str, tmp_path: Path) -> None:
    text = "番号,名前,備考\n1,髙橋 一郎,1～2①\n2,﨑山,㈱①～－\n"
    (tmp_path / "名簿.csv").write_bytes(text.encode("cp932"))
    copied(f"file://{tmp_path}/名簿.csv", postgres_url, "名簿")
    with psycopg.connect(postgres_url) as session:
        rows = session.execute('SELECT * FROM "名簿" ORDER BY 1').fetchall()
    assert rows == [(1, "髙橋 一郎", "1～2①"), (2, "﨑山", "㈱①～－")]
