"""Questions over the pipe: real children renew grants and take from quotas through their supervisor."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from suiro.model.account import Grant, Rate
from suiro.model.schema import Json
from suiro.runtime.questions import Books
from suiro.runtime.supervisor import Child, Line, Word
from suiro.store.database import open_database
from suiro.store.grants import Grants
from suiro.store.quotas import Quotas
from suiro.store.secrets import MasterKeys
from suiro.store.systems import sqlite_url

SECRET = "s3cret-水"
WORK = """
import logging, os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from suiro.engine.context import RunContext
from suiro.model.account import Rate
from suiro.model.errors import AuthError, Cancelled, SuiroError
from suiro.model.run import Progress
from suiro.runtime.child import serve

def carry(spec, context, told):
    act, asked = spec["act"], []
    def ask(now):
        asked.append(None if now is None else now.version)
        logging.getLogger("suiro.run").info("asking with %s", now)
        if act == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if act == "refuse":
            raise AuthError("the app was disconnected", hint="Sign in.")
        time.sleep(spec.get("seconds", 0))
        return {"token": f"s3cret-\\u6c34-{len(asked)}", "of": 0 if now is None else now.version}
    def renew(_):
        version = 0
        while version < spec["upto"]:
            version = context.grants.renew("crm", version, ask).version
        return version
    def take(_):
        return [context.quotas.take("shop", Rate(requests=7, seconds=600)) for _ in range(5)]
    result = {"sqlalchemy": "sqlalchemy" in sys.modules}
    try:
        if act == "renew":
            with ThreadPoolExecutor(6) as pool:
                result["versions"] = list(pool.map(renew, range(6)))
                result["taken"] = sum(wait == 0.0 for waits in pool.map(take, range(6)) for wait in waits)
        elif act == "learn":
            context.quotas.learn("shop", left=0, seconds=50)
            context.quotas.pause("shop", 500)
            result["loaded"] = context.grants.load("crm") and context.grants.load("crm").values
        else:
            told(Progress(stream="s", rows=1, bytes=1, total_rows=None, publishing=True))
            result["version"] = renew(0)
    except SuiroError as error:
        result["error"] = [type(error).__name__, error.message, error.hint]
    return {**result, "asked": asked, "cancelled": context.cancelled}

serve(carry, lambda spec, accounts: RunContext("run", accounts=accounts))
"""


class Told:
    """Heartbeats, their progress, and the child's log."""

    def __init__(self) -> None:
        self.beats: list[float] = []
        self.lines: list[Line] = []
        self.cancel = False

    def beat(self, progress: Mapping[str, Any] | None) -> Word:
        self.beats.append(time.monotonic())
        return Word(cancel=self.cancel)


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    database = open_database(sqlite_url(tmp_path / "suiro.db"))
    yield Books(grants=Grants(database, MasterKeys(tmp_path / "master.key", {})), quotas=Quotas(database))
    database.close()


@pytest.fixture
def child(books: Books) -> Iterator[Child]:
    found = Child([sys.executable, "-c", WORK], beat_seconds=0.1, books=books)
    yield found
    found.kill()


def carried(child: Child, told: Told | None = None, **spec: Any) -> Mapping[str, Any]:
    told = told or Told()
    outcome = child.carry(spec, beat=told.beat, log=told.lines.extend)
    assert outcome.result is not None, outcome
    return outcome.result


def test_threads_of_a_child_renew_once_and_share_a_quota_without_opening_the_database(
    child: Child, books: Books
) -> None:
    told = Told()
    done = carried(child, told, act="renew", upto=8, seconds=0.05)
    assert done["versions"] == [8] * 6
    assert done["asked"] == [None, 1, 2, 3, 4, 5, 6, 7]
    assert done["taken"] == 7 and not done["sqlalchemy"]
    assert books.grants.load("crm") == Grant(version=8, values={"token": f"{SECRET}-8", "of": 7})
    assert books.quotas.take("shop", Rate(requests=7, seconds=600)) > 0
    assert len(told.lines) == 8 and SECRET not in json.dumps(told.lines, ensure_ascii=False)


def test_the_supervisor_goes_on_watching_while_its_child_asks(child: Child) -> None:
    told = Told()
    carried(child, told, act="alone", upto=1, seconds=1.0)
    assert len(told.beats) >= 3


def test_every_question_reaches_the_books(child: Child, books: Books) -> None:
    assert carried(child, act="learn")["loaded"] is None
    assert books.quotas.take("shop", Rate(requests=7, seconds=1)) > 400
    values: dict[str, Json] = {"token": SECRET, "nested": {"a": [1, None, "\ud800"]}}
    assert isinstance(books.grants, Grants)
    books.grants.put("crm", values)
    assert carried(child, act="learn")["loaded"] == values


def test_what_asking_raises_is_raised_and_the_turn_is_given_back(child: Child, books: Books) -> None:
    done = carried(child, act="refuse", upto=1)
    assert done["error"] == ["AuthError", "the app was disconnected", "Sign in."]
    assert books.grants.load("crm") is None and books.grants.take("crm", 0, "me").mine


def test_a_child_killed_while_it_renews_leaves_the_turn_to_others(child: Child, books: Books) -> None:
    outcome = child.carry({"act": "die", "upto": 1}, beat=Told().beat, log=Told().lines.extend)
    assert outcome.died is not None and "signal 9" in outcome.died
    assert books.grants.take("crm", 0, "me").mine
    books.grants.release("crm", "me")
    assert carried(child, act="alone", upto=1)["version"] == 1


def test_a_child_that_waits_for_another_ones_renewal_can_be_cancelled(child: Child, books: Books) -> None:
    assert books.grants.take("crm", 0, "other").mine
    threading.Timer(0.7, child.cancel).start()
    began = time.monotonic()
    done = carried(child, act="alone", upto=1)
    assert done["error"][0] == "Cancelled" and done["asked"] == [] and done["cancelled"]
    assert time.monotonic() - began < 8
    books.grants.release("crm", "other")
    assert carried(child, act="alone", upto=1)["version"] == 1


def test_a_cancelled_child_that_renews_keeps_what_it_was_given(
    child: Child, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suiro.runtime.supervisor.OBEY_SECONDS", 0.1)
    monkeypatch.setattr("suiro.runtime.supervisor.LEAVE_SECONDS", 0.1)
    threading.Timer(0.8, child.cancel).start()
    child.carry({"act": "alone", "upto": 1, "seconds": 1.5}, beat=Told().beat, log=Told().lines.extend)
    assert books.grants.load("crm") == Grant(version=1, values={"token": f"{SECRET}-1", "of": 0})


def test_errors_of_the_metadata_come_through_as_they_are(tmp_path: Path, books: Books) -> None:
    assert isinstance(books.grants, Grants)
    books.grants.put("crm", {"token": SECRET})
    (tmp_path / "master.key").unlink()
    database = open_database(sqlite_url(tmp_path / "suiro.db"))
    other = Books(grants=Grants(database, MasterKeys(tmp_path / "master.key", {})), quotas=Quotas(database))
    child = Child([sys.executable, "-c", WORK], books=other)
    kind, message, hint = carried(child, act="alone", upto=2)["error"]
    assert kind == "ConfigError" and "sealed with master key" in message and "SUIRO_MASTER_KEY" in hint
    child.close()
    database.close()


def test_a_supervisor_without_books_says_so() -> None:
    child = Child([sys.executable, "-c", WORK])
    assert carried(child, act="alone", upto=1)["error"][0] == "InternalError"
    child.close()
