"""Tests of requests that are remembered: done once, answered again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from suiro.model.errors import ConfigError
from suiro.store.database import moment
from suiro.store.requests import Answered, Asked, Mine, Requests, UnderWay
from suiro.store.secrets import MasterKeys
from suiro.store.tables import request

if TYPE_CHECKING:
    from pathlib import Path

    from suiro.store.database import Database

ASKED = Asked(owner="token", key="k", method="POST", path="/x", body="hash")


@pytest.fixture
def requests(database: Database, tmp_path: Path) -> Requests:
    return Requests(database, MasterKeys(tmp_path / "master.key", {}))


def begun(requests: Requests, asked: Asked = ASKED, lease_seconds: float = 60.0) -> Mine:
    found = requests.begin(asked, lease_seconds)
    assert isinstance(found, Mine)
    return found


def test_a_request_is_done_once_and_answered_again(requests: Requests, database: Database) -> None:
    begun(requests)
    waiting = requests.begin(ASKED)
    assert isinstance(waiting, UnderWay) and 0 < waiting.retry_after <= 60
    requests.answer(ASKED, 201, "the answer")
    requests.answer(ASKED, 500, "another answer")
    assert requests.begin(ASKED) == Answered(status=201, text="the answer")
    with database.read() as connection:
        kept = str(connection.execute(select(request)).all())
    assert "the answer" not in kept


def test_who_goes_on_after_a_death_has_the_same_seed(requests: Requests) -> None:
    first = begun(requests, lease_seconds=0.0)
    again = begun(requests, lease_seconds=60.0)
    assert again == first and len(first.seed) == 32
    assert isinstance(requests.begin(ASKED), UnderWay)
    requests.lapse(ASKED)
    assert begun(requests) == first
    assert begun(requests, replace(ASKED, key="other")).seed != first.seed


def test_a_key_belongs_to_one_request_of_one_token(requests: Requests) -> None:
    begun(requests)
    for other in ({"body": "else"}, {"path": "/y"}, {"method": "PUT"}):
        with pytest.raises(ConfigError, match="another request"):
            requests.begin(replace(ASKED, **other))
    begun(requests, replace(ASKED, owner="another token", body="else"))
    requests.free(ASKED)
    begun(requests, replace(ASKED, body="else"))


def test_a_freed_key_keeps_no_answer_and_an_answered_one_is_not_freed(requests: Requests) -> None:
    begun(requests)
    requests.answer(ASKED, 200, "yes")
    requests.free(ASKED)
    requests.lapse(ASKED)
    assert requests.begin(ASKED) == Answered(status=200, text="yes")


def test_after_a_day_it_is_forgotten(requests: Requests, database: Database) -> None:
    begun(requests)
    requests.answer(ASKED, 200, "yes")
    with database.begin() as connection:
        connection.execute(update(request).values(expires_at=moment(connection)))
    begun(requests)


def test_one_of_many_at_once_does_it(requests: Requests) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: requests.begin(ASKED), range(8)))
    assert sum(isinstance(one, Mine) for one in found) == 1
    assert sum(isinstance(one, UnderWay) for one in found) == 7
