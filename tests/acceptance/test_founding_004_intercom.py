"""Steps 004-01 to 004-14 and 004-20 to 004-24 with Intercom as the source, as the document has them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import duckdb
import httpx2
import pytest

from founding import Home
from inbox import Inbox, open_inbox
from shell import Said
from suiro.connectors.intercom.source import ADDRESS

SIZES = {"contacts": 60, "companies": 5, "conversations": 30, "tickets": 4}
DATABASE, TABLE = "td_sample_db", "td_sample_table"
PLACE = ("--database", DATABASE, "--table", TABLE)
#: As the document has them, but for the token.
FILES = {
    "users": (
        "in:\n  type: intercom\n  access_token: xxxxxxx\n  target: users\n  incremental: false\nout:\n mode: append\n"
    ),
    "conversations": (
        "in:\n  type: intercom\n  access_token: xxxxxxx\n  target: conversations\n  incremental: false\n"
        "out:\n mode: append\n"
    ),
    "segments": "in:\n  type: intercom\n  access_token: xxxxxxx\n  target: segments\nout:\n mode: append\n",
    "tags": "in:\n  type: intercom\n  access_token: xxxxxxx\n  target: tags\nout:\n mode: append\n",
}


class Imports:
    """A Suiro home beside a workspace, which `suiro` finds by the environment, and load.yml files."""

    def __init__(self, home: Home, inbox: Inbox) -> None:
        self.home, self.inbox = home, inbox
        home.folder.mkdir()

    def file(self, target: str, **changed: str) -> str:
        """The document's load.yml for a target, its token filled in."""
        text = FILES[target].replace("xxxxxxx", self.inbox.connections["token"]["access_token"])
        for old, new in changed.items():
            text = text.replace(old.replace("__", ": "), new)
        path = self.home.folder / "load.yml"
        path.write_text(text)
        return str(path)

    def __call__(self, *arguments: str) -> Said:
        """A command that must do it."""
        said = self.home(*arguments)
        assert said.code == 0, said.err
        return said

    def rows(self, table: str, columns: str = "*") -> list[dict[str, Any]]:
        """What the warehouse holds."""
        found: list[dict[str, Any]] = self("sql", "warehouse", f"SELECT {columns} FROM {table}", "--json").json
        return found


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Imports]:
    with open_inbox(SIZES) as inbox, pytest.MonkeyPatch.context() as patch:
        patch.setenv(ADDRESS, inbox.url)
        yield Imports(Home(tmp_path_factory.mktemp("intercom") / "suiro"), inbox)


@pytest.fixture(scope="module")
def loaded(imports: Imports) -> dict[str, list[dict[str, Any]]]:
    """The table of each of the document's four files, after one load."""
    for target in FILES:
        extra = ("--time-column", "created_at") if target != "tags" else ()
        place = ("--database", DATABASE, "--table", target, *extra, "--auto-create-table")
        imports("connector", "issue", imports.file(target), *place)
    return {target: imports.rows(f"{DATABASE}.{target}") for target in FILES}


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(row["id"] for row in rows)


# -- connections -----------------------------------------------------------------------------------------------------


def sign_in(imports: Imports, name: str) -> None:
    """`suiro authorize`, with a browser that consents, and whose last address is pasted."""
    with imports.home.start("authorize", name, "--no-browser", "--paste", "--json") as signing:
        assert signing.stderr is not None
        page = next(line.strip() for line in signing.stderr if line.startswith("http"))
        out, _ = signing.communicate(httpx2.get(page).headers["location"] + "\n", timeout=30)
    assert json.loads(out)["authorized"]


def stored(imports: Imports, **connections: Mapping[str, Any]) -> None:
    imports.home.apply(connections=connections)


@pytest.fixture(scope="module")
def refused(imports: Imports) -> str:
    """What a check said before somebody signed in for the app, once for all connections of it."""
    stored(imports, my_intercom=imports.inbox.connections["oauth"])
    said = imports.home("check", "my_intercom")
    assert said.code != 0
    sign_in(imports, "my_intercom")
    return said.err


def test_004_01_intercom_is_in_the_catalogue_and_is_signed_in_for_by_oauth(imports: Imports, refused: str) -> None:
    listed = {one["name"]: one for one in imports("connectors", "--json").json}
    assert listed["intercom"]["title"] == "Intercom"
    assert "nobody has signed in for this connection yet" in refused
    assert imports("check", "my_intercom").code == 0


def test_004_02_an_old_key_is_refused_with_what_to_do_and_oauth_goes_before_it(imports: Imports) -> None:
    old = {"type": "intercom", "app_id": "sandbox1", "api_key": "k3y-of-old"}
    said = imports.home.apply_any(connections={"old": old})
    assert said.code == 2 and "Intercom takes no API keys any more" in said.err and "client_id" in said.err
    assert "k3y-of-old" not in said.err
    stored(imports, old={**imports.inbox.connections["oauth"], **old})
    sign_in(imports, "old")
    assert imports("check", "old").code == 0


@pytest.mark.usefixtures("refused")
def test_004_02_a_connection_that_changes_to_oauth_goes_on_where_it_was(imports: Imports) -> None:
    stored(imports, moving=imports.inbox.connections["token"], lake={"type": "duckdb", "path": _lake(imports)})
    task = {"stream": "conversations", "table": "talk", "read": "incremental", "write": "merge", "key": ["id"]}
    imports.home.apply(
        jobs={"talk": {"source": "moving", "destination": "lake", "tasks": [{**task, "cursor": "updated_at"}]}}
    )
    (first,) = imports.home.run("talk")["tasks"]
    stored(imports, moving={**imports.inbox.connections["oauth"], "access_token": "one that ended"})
    changed = imports.inbox.change("conversations", change=2, seed=3)["changed"]
    (second,) = imports.home.run("talk")["tasks"]
    assert first["receipt"]["read"] == SIZES["conversations"]
    assert len(changed) <= second["receipt"]["read"] < SIZES["conversations"] // 2


def _lake(imports: Imports) -> str:
    return str(imports.home.folder / "lake.duckdb")


def test_004_03_a_personal_access_token_will_do(imports: Imports) -> None:
    token = imports.inbox.connections["token"]["access_token"]
    stored(imports, personal={"type": "intercom", "access_token": token})
    assert imports("check", "personal").code == 0


# -- the four sources ------------------------------------------------------------------------------------------------


def test_004_04_users_arrive(imports: Imports, loaded: dict[str, list[dict[str, Any]]]) -> None:
    users = imports.inbox.kept("users")
    assert len(users) == SIZES["contacts"] * 4 // 5
    assert {row["id"]: (row["email"], row["user_id"]) for row in loaded["users"]} == {
        row["id"]: (row["email"], row["external_id"]) for row in users
    }


def test_004_05_conversations_arrive_and_what_changed_alone_arrives_again(
    imports: Imports, loaded: dict[str, list[dict[str, Any]]]
) -> None:
    assert ids(loaded["conversations"]) == ids(imports.inbox.records("conversations"))
    name = "daily_talk"
    file = imports.file("conversations", incremental__false="incremental: true")
    imports("connector", "create", name, "10 0 * * *", DATABASE, "followed", file, "--auto-create-table")
    imports("connector", "run", name)
    before = len(imports.rows(f"{DATABASE}.followed"))
    changed = imports.inbox.change("conversations", change=3, seed=4)["changed"]
    imports("connector", "run", name)
    after = imports.rows(f"{DATABASE}.followed")
    imports("connector", "delete", name)
    assert before == SIZES["conversations"]
    times = Counter(row["id"] for row in after)
    assert sorted(id_ for id_, number in times.items() if number == 2) == sorted(changed)
    assert len(after) == before + len(changed)


def test_004_06_tags_arrive(imports: Imports, loaded: dict[str, list[dict[str, Any]]]) -> None:
    kept = {row["id"]: row["name"] for row in imports.inbox.records("tags")}
    assert {row["id"]: row["name"] for row in loaded["tags"]} == kept


def test_004_07_segments_arrive(imports: Imports, loaded: dict[str, list[dict[str, Any]]]) -> None:
    kept = {row["id"]: (row["name"], row["count"]) for row in imports.inbox.records("segments")}
    assert {row["id"]: (row["name"], row["count"]) for row in loaded["segments"]} == kept


@pytest.mark.parametrize("target", ["segments", "tags"])
def test_004_06_07_what_has_no_changes_to_follow_is_refused_as_incremental(imports: Imports, target: str) -> None:
    file = imports.file(target, **{f"target__{target}": f"target: {target}\n  incremental: true"})
    said = imports.home("connector", "preview", file)
    assert said.code == 2 and f"{target} can't be followed" in said.err


# -- preview, placement, issue ---------------------------------------------------------------------------------------


def test_004_08_and_22_a_preview_has_heads_of_name_and_type(imports: Imports) -> None:
    shown = imports("connector", "preview", imports.file("users")).out
    assert re.match(r"\+-+.*\n\| id:string +\| user_id:string +\| email:string +\|", shown), shown[:400]
    assert "created_at:timestamp" in shown
    heads = {
        "users": "user_id:string",
        "conversations": "open:boolean",
        "segments": "count:long",
        "tags": "name:string",
    }
    for target, head in heads.items():
        (first, *_) = imports("connector", "preview", imports.file(target), "--json").json
        assert next(iter(first)) == "id:string" and head in first


@pytest.fixture(scope="module")
def placed(imports: Imports) -> dict[str, Any]:
    """Loads into one table, one after the other: what the table held, and what was said where it wasn't there."""
    absent = imports.home("connector", "issue", imports.file("users"), *PLACE, "--time-column", "created_at")

    def issue(file: str, *more: str) -> list[dict[str, Any]]:
        imports("connector", "issue", file, *PLACE, *more)
        return imports.rows(f"{DATABASE}.{TABLE}", "id, time")

    again = {"mode__append": "mode: replace\n default_timezone: Asia/Tokyo"}
    return {
        "users": imports.inbox.kept("users"),
        "absent": absent,
        "new": issue(imports.file("users"), "--time-column", "created_at", "--auto-create-table"),
        "appended": issue(imports.file("users"), "--time-column", "created_at"),
        "replaced": issue(imports.file("users", **again), "--time-column", "updated_at"),
        "kept": issue(imports.file("users", mode__append="mode: replace_on_new_data")),
    }


def test_004_09_and_24_a_table_is_made_or_refused(imports: Imports, placed: dict[str, Any]) -> None:
    assert placed["absent"].code == 2
    assert f"there is no table {TABLE} in the database {DATABASE}" in placed["absent"].err
    assert "--auto-create-table" in placed["absent"].err
    assert len(placed["new"]) == 48


def test_004_10_11_12_append_replace_and_replace_on_new_data(placed: dict[str, Any]) -> None:
    assert ids(placed["appended"]) == sorted(ids(placed["new"]) * 2)
    assert ids(placed["replaced"]) == ids(placed["kept"]) == ids(placed["new"])


def test_004_13_and_23_the_time_is_the_named_column_else_the_first_time(
    placed: dict[str, Any],
) -> None:
    kept = {row["id"]: row for row in placed["users"]}
    assert {row["id"]: row["time"] for row in placed["new"]} == _at(kept, "created_at")
    assert {row["id"]: row["time"] for row in placed["replaced"]} == _at(kept, "updated_at")
    assert {row["id"]: row["time"] for row in placed["kept"]} == _at(kept, "created_at")


def _at(kept: Mapping[str, Mapping[str, Any]], column: str) -> dict[str, int]:
    return {id_: int(_moment(row[column]).timestamp()) for id_, row in kept.items()}


def _moment(value: Any) -> datetime:
    assert isinstance(value, datetime)
    return value


def test_004_14_moments_are_the_same_in_every_zone_of_the_storage(placed: dict[str, Any]) -> None:
    kept = {row["id"]: row for row in placed["users"]}
    assert {row["id"]: row["time"] for row in placed["replaced"]} == _at(kept, "updated_at")


def test_004_21_the_files_of_the_document_run_word_for_word(loaded: dict[str, list[dict[str, Any]]]) -> None:
    assert {target: len(rows) for target, rows in loaded.items()} == {
        "users": 48,
        "conversations": SIZES["conversations"],
        "segments": 3,
        "tags": 14,
    }


# -- back into Intercom ----------------------------------------------------------------------------------------------


def test_contacts_are_written_back_with_tags_and_custom_attributes_and_undone(imports: Imports) -> None:
    users = imports.inbox.kept("users")[:6]
    lake = imports.home.folder / "scores.duckdb"
    with duckdb.connect(str(lake)) as session:
        session.execute("CREATE TABLE scores (number VARCHAR PRIMARY KEY, score DOUBLE, tags VARCHAR, mail VARCHAR)")
        rows: list[tuple[Any, ...]] = [
            (row["external_id"], 99.5 + n, "gold,vip", row["email"]) for n, row in enumerate(users)
        ]
        rows.append(("new-1", 1.0, None, "new-1@example.com"))
        session.executemany("INSERT INTO scores VALUES (?, ?, ?, ?)", rows)
    stored(imports, scores={"type": "duckdb", "path": str(lake)}, inbox=imports.inbox.connections["token"])
    columns = {"number": "external_id", "score": "custom_attributes.score", "tags": "tags", "mail": "email"}
    task = {"stream": "scores", "table": "contact", "write": "upsert", "key": ["number"], "columns": columns}
    imports.home.apply(jobs={"back": {"source": "scores", "destination": "inbox", "tasks": [task]}})
    before = {row["id"]: row for row in imports.inbox.records("contacts")}
    run = imports.home.run("back")
    (done,) = run["tasks"]
    assert done["writeback"]["done"].items() >= {"created": 1, "updated": 6}.items()
    after = {row["id"]: row for row in imports.inbox.records("contacts")}
    names = {row["id"]: row["name"] for row in imports.inbox.records("tags")}
    for n, row in enumerate(users):
        now = after[row["id"]]
        assert (now["custom_attributes"]["score"], now["email"]) == (99.5 + n, row["email"])
        assert sorted(names[one["id"]] for one in now["tags"]["data"]) == ["gold", "vip"]
    (made,) = [row for id_, row in after.items() if id_ not in before]
    assert (made["external_id"], made["email"]) == ("new-1", "new-1@example.com")
    again = imports.home.run("back")["tasks"][0]
    assert again["writeback"]["done"].get("created", 0) == again["writeback"]["done"].get("updated", 0) == 0
    undone = imports("writeback", "undo", run["run"], "--delete-inserted", "--json")
    assert undone.code == 0
    restored = {row["id"]: row for row in imports.inbox.records("contacts")}
    told = ("custom_attributes", "email", "name", "role")
    assert {id_: [row[name] for name in told] for id_, row in restored.items()} == {
        id_: [row[name] for name in told] for id_, row in before.items()
    }
    tags = {id_: sorted(one["id"] for one in row["tags"]["data"]) for id_, row in before.items()}
    assert {id_: sorted(one["id"] for one in row["tags"]["data"]) for id_, row in restored.items()} == tags
