"""Steps 000-11, 003-03 and 003-17: columns with Japanese names, exports by wildcard, joins of what came."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import psycopg
import pytest

from shell import Shell

JAPANESE = "顧客管理(営業支援パック)"
HEADS = {"顧客番号": "customer_no", "氏名(漢字)": "full_name", "電話番号": "phone"}


@pytest.mark.parametrize("place", ["warehouse", "postgres"])
def test_000_11_japanese_columns_get_ascii_names_in_the_mapping(
    suiro: Shell, postgres_url: str, tmp_path: Path, place: str
) -> None:
    """The destination of the document is BigQuery, which has no connector yet; the mapping is the same for all."""
    columns = ", ".join(f'"{name}" text' for name in HEADS)
    with psycopg.connect(postgres_url) as session:
        session.execute(f'CREATE TABLE "{JAPANESE}" ({columns})'.encode())
        session.execute(f"""INSERT INTO "{JAPANESE}" VALUES ('1', '髙木 恵', '03-0000-0001')""".encode())
    there = place if place == "warehouse" else postgres_url
    mapping = ",".join(f"{name}={ascii}" for name, ascii in HEADS.items())
    asked = ("copy", postgres_url, there, "--stream", JAPANESE, "--table", "customers", "--columns", mapping)
    planned = suiro(*asked, "--plan")
    assert planned.code == 0 and all(name in planned.out for name in (*HEADS, *HEADS.values()))
    copied = suiro(*asked)
    assert copied.code == 0, copied.err
    (row,) = suiro("sql", there, "SELECT * FROM customers", "--json").json
    assert row == dict(zip(HEADS.values(), ("1", "髙木 恵", "03-0000-0001"), strict=True))


def export(folder: Path, name: str, *orders: tuple[str, int]) -> None:
    """A file as CleverTap exports events: `<request>-<run>-<event>-<yyyymmdd>-<file>-<database>.csv.gz`."""
    lines = "".join(f"{identity},{amount}\n" for identity, amount in orders)
    (folder / f"{name}.csv.gz").write_bytes(gzip.compress(f"identity,amount\n{lines}".encode(), mtime=0))


def orders(suiro: Shell) -> list[tuple[Any, ...]]:
    said = suiro("sql", "warehouse", "SELECT identity, amount FROM order_placed ORDER BY amount", "--json")
    return [(row["identity"], row["amount"]) for row in said.json]


def test_003_03_exports_of_one_event_go_into_one_table_each_file_once(suiro: Shell, tmp_path: Path) -> None:
    """Names of events hold hyphens, and some hold another's: dates stand behind a name, digits before it."""
    folder = tmp_path / "exports"
    folder.mkdir()
    export(folder, "1663664837-1663785000-Order-Placed-20220921-0-0", ("a", 1), ("b", 2))
    export(folder, "1663664837-1663785000-Order-Placed-20220921-1-0", ("c", 3))
    export(folder, "1663664837-1663785000-Order-Placed-Late-20220921-0-0", ("late", 90))
    export(folder, "1663664837-1663785000-Pre-Order-Placed-20220921-0-0", ("pre", 91))
    wanted = f"file://{folder}/*[0-9]-Order-Placed-[0-9]*.csv.gz"
    carry = ("copy", wanted, "warehouse", "--all", "--table", "order_placed", "--read", "incremental")
    first = suiro(*carry, "--write", "append")
    assert first.code == 0, first.err
    assert orders(suiro) == [("a", 1), ("b", 2), ("c", 3)]
    export(folder, "1663664837-1663871400-Order-Placed-20220922-0-0", ("d", 4))
    assert suiro(*carry, "--write", "append").code == 0
    assert suiro(*carry, "--write", "append").code == 0
    assert orders(suiro) == [("a", 1), ("b", 2), ("c", 3), ("d", 4)]


def test_003_17_profiles_and_events_are_joined_in_sql(suiro: Shell, tmp_path: Path) -> None:
    (tmp_path / "profiles.jsonl").write_text(
        '{"identity": "a", "email": "a@x.org"}\n{"identity": "b", "email": "b@x.org"}\n'
    )
    export(tmp_path, "events", ("a", 10), ("a", 5), ("z", 1))
    join = (
        "SELECT p.email, CAST(sum(e.amount) AS BIGINT) AS amount FROM profiles p "
        "LEFT JOIN events e ON e.identity = p.identity GROUP BY p.email ORDER BY p.email"
    )
    answer = [{"email": "a@x.org", "amount": 15}, {"email": "b@x.org", "amount": None}]
    assert suiro("sql", f"file://{tmp_path}", join, "--json").json == answer
    assert suiro("copy", f"file://{tmp_path}", "warehouse", "--all").code == 0
    assert suiro("sql", "warehouse", join, "--json").json == answer
    assert suiro("copy", "warehouse", "warehouse", "--sql", f"REPLICATE spent {join}").code == 0
    assert suiro("sql", "warehouse", "SELECT * FROM spent ORDER BY email", "--json").json == answer
