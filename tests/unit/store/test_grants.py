"""Tests of stored grants: sealed, versioned, and renewed by one holder at a time, on both systems."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text, update

from suiro.model.account import Grant
from suiro.model.errors import ConfigError
from suiro.model.schema import Json
from suiro.store import migrations
from suiro.store.database import Database
from suiro.store.grants import Grants
from suiro.store.secrets import MasterKeys
from suiro.store.tables import account_grant

if TYPE_CHECKING:
    from pathlib import Path

TOKENS: dict[str, Json] = {"access_token": "at-水-1", "refresh_token": "rt-\ud800-1", "scope": ["a", None, 1.5, True]}


@pytest.fixture
def keys(tmp_path: Path) -> MasterKeys:
    return MasterKeys(tmp_path / "master.key", {})


@pytest.fixture
def grants(database: Database, keys: MasterKeys) -> Grants:
    return Grants(database, keys, lease_seconds=60)


def put_back_clock(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    def moved(_: object) -> datetime:
        return datetime.now(UTC) - by

    monkeypatch.setattr("suiro.store.grants.moment", moved)


def test_what_is_kept_comes_back_equal_and_lies_sealed(grants: Grants, database: Database) -> None:
    assert grants.load("crm") is None
    assert grants.take("crm", 0, "me").mine
    assert grants.load("crm") is None
    kept = grants.keep("crm", "me", 0, Grant(version=1, values=TOKENS))
    assert grants.load("crm") == kept == Grant(version=1, values=TOKENS)
    with database.read() as connection:
        written = str(connection.execute(select(account_grant)).all())
    assert "s1." in written and "at-" not in written and "rt-" not in written
    assert "at-" not in repr(kept)


def test_one_holder_has_the_turn_until_it_ends(grants: Grants) -> None:
    first = grants.put("crm", TOKENS)
    mine = grants.take("crm", 1, "me")
    assert mine.mine and mine.grant == first
    theirs = grants.take("crm", 1, "they")
    assert not theirs.mine and theirs.grant is None
    assert grants.extend("crm", "me") and not grants.extend("crm", "they")
    grants.release("crm", "they")  # not theirs to end
    assert not grants.take("crm", 1, "they").mine
    grants.release("crm", "me")
    assert grants.take("crm", 1, "they").mine and not grants.extend("crm", "me")


def test_who_saw_an_older_version_gets_the_newer_one_at_once(grants: Grants) -> None:
    grants.put("crm", {"n": 1})
    newer = grants.put("crm", {"n": 2})
    grants.take("crm", 2, "other")
    turn = grants.take("crm", 1, "me")
    assert not turn.mine and turn.grant == newer


def test_a_turn_ends_with_its_lease(database: Database, keys: MasterKeys) -> None:
    brief = Grants(database, keys, lease_seconds=0.0)
    assert brief.take("crm", 0, "dead").mine and brief.take("crm", 0, "me").mine


def test_a_turn_taken_before_the_clock_was_put_back_ends(grants: Grants, monkeypatch: pytest.MonkeyPatch) -> None:
    assert grants.take("crm", 0, "dead").mine
    put_back_clock(monkeypatch, timedelta(hours=2))
    assert grants.take("crm", 0, "me").mine and not grants.take("crm", 0, "they").mine


def test_of_two_who_renewed_the_same_version_the_first_ones_stays(grants: Grants) -> None:
    grants.put("crm", {"n": 1})
    assert grants.take("crm", 1, "slow").mine
    grants.release("crm", "slow")  # as if its lease had ended
    assert grants.take("crm", 1, "quick").mine
    quick = grants.keep("crm", "quick", 1, Grant(version=2, values={"by": "quick"}))
    assert grants.keep("crm", "slow", 1, Grant(version=2, values={"by": "slow"})) == quick == grants.load("crm")
    assert grants.keep("crm", "quick", 1, Grant(version=2, values={"by": "quick"})) == quick  # its answer was lost


def test_what_was_renewed_after_the_lease_ended_is_kept_if_nobody_else_did(grants: Grants) -> None:
    grants.take("crm", 0, "slow")
    grants.release("crm", "slow")
    assert grants.take("crm", 0, "quick").mine
    kept = grants.keep("crm", "slow", 0, Grant(version=1, values={"by": "slow"}))
    assert grants.load("crm") == kept
    assert grants.take("crm", 0, "third").grant == kept


def test_a_token_of_another_grant_or_version_is_refused(grants: Grants, database: Database) -> None:
    grants.put("a", {"n": 1})
    grants.put("b", {"n": 2})
    with database.begin() as connection:
        token = select(account_grant.c.token).where(account_grant.c.key == "a").scalar_subquery()
        connection.execute(update(account_grant).where(account_grant.c.key == "b").values(token=token))
        connection.execute(update(account_grant).where(account_grant.c.key == "a").values(version=5))
    for key in ("a", "b"):
        with pytest.raises(ConfigError, match="sealed for another record"):
            grants.load(key)
        with pytest.raises(ConfigError, match="sealed for another record"):
            grants.take(key, 5, "me")
        assert grants.put(key, {"n": 3}) == grants.load(key)  # signing in anew helps


def test_without_a_master_key_nobody_gets_the_turn(database: Database) -> None:
    wrong = Grants(database, MasterKeys(None, {"SUIRO_MASTER_KEY": "abc"}))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="base64"):
        wrong.take("crm", 0, "me")


def test_grants_follow_a_new_master_key(database: Database, tmp_path: Path) -> None:
    old, new = "A" * 43 + "=", "B" * 43 + "="
    before = Grants(database, MasterKeys(tmp_path, {"SUIRO_MASTER_KEY": old})).put("crm", TOKENS)
    assert Grants(database, MasterKeys(tmp_path, {"SUIRO_MASTER_KEY": f"{new} {old}"})).rewrap() == 1
    only_new = Grants(database, MasterKeys(tmp_path, {"SUIRO_MASTER_KEY": new}))
    assert only_new.load("crm") == before and only_new.rewrap() == 0


def test_what_was_there_before_grants_stays_on_the_way_down_and_up(database: Database, grants: Grants) -> None:
    with database.begin() as connection:
        at = datetime.now(UTC)
        row = {"name": "s", "token": "t", "created_at": at.replace(tzinfo=None), "updated_at": at.replace(tzinfo=None)}
        connection.execute(text("INSERT INTO secret VALUES (:name, :token, :created_at, :updated_at)"), row)
        migrations.downgrade(connection, "0001")
        names = text("SELECT name FROM secret")
        assert connection.execute(names).scalars().all() == ["s"]
    database.prepare()
    assert grants.load("crm") is None
    with database.read() as connection:
        assert connection.execute(names).scalars().all() == ["s"]
