"""Tests of tokens as they are stored."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from suiro.model.access import Scope
from suiro.model.errors import ConfigError
from suiro.store.tokens import Tokens

if TYPE_CHECKING:
    from suiro.store.database import Database


@pytest.fixture
def tokens(database: Database) -> Tokens:
    return Tokens(database)


def test_a_token_is_found_by_its_hash_until_it_is_revoked(tokens: Tokens) -> None:
    assert not tokens.exist()
    made = tokens.create("ci", "hash", Scope.OPERATE)
    assert tokens.by_digest("hash") == made and tokens.by_digest("other") is None
    assert (tokens.exist(), tokens.all()) == (True, (made,))
    assert made.used_at is None
    tokens.used(made.id)
    (used,) = tokens.all()
    assert used.used_at is not None and used.used_at >= used.created_at
    tokens.revoke("ci")
    assert tokens.by_digest("hash") is None and not tokens.exist()
    with pytest.raises(ConfigError, match="there is no token 'ci'"):
        tokens.revoke("ci")


def test_an_expired_token_is_listed_and_not_found(tokens: Tokens) -> None:
    made = tokens.create("short", "hash", Scope.READ, timedelta(milliseconds=50))
    assert made.expires_at is not None
    time.sleep(0.1)
    assert tokens.by_digest("hash") is None and not tokens.exist()
    assert tokens.all() == (made,)


def test_a_name_is_one_tokens(tokens: Tokens) -> None:
    tokens.create("ci", "one", Scope.READ)
    with pytest.raises(ConfigError, match="already"):
        tokens.create("ci", "two", Scope.READ)
    with pytest.raises(ConfigError, match="can't be called"):
        tokens.create(" ", "two", Scope.READ)


def test_each_scope_holds_the_ones_before_it() -> None:
    allowed = {(has, wanted) for has in Scope for wanted in Scope if has.allows(wanted)}
    assert allowed == {
        (Scope.READ, Scope.READ),
        (Scope.OPERATE, Scope.READ),
        (Scope.OPERATE, Scope.OPERATE),
        (Scope.ADMIN, Scope.READ),
        (Scope.ADMIN, Scope.OPERATE),
        (Scope.ADMIN, Scope.ADMIN),
    }
