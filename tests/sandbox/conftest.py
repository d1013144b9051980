"""A Salesforce sandbox for each file of tests; its settings are as at first for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from salesforce_calls import Calls, Clock
from suiro.sandbox.salesforce.settings import Settings
from suiro.sandbox.server import Running

SIZES = {"Lead": 450, "Account": 40, "Contact": 90, "Opportunity": 30, "User": 6, "Wide__c": 12, "Campaign": 6}


@pytest.fixture(scope="module")
def running() -> Iterator[Calls]:
    clock = Clock()
    with Running(only=["salesforce"], sizes=SIZES, now=clock) as sandbox:
        calls = Calls(sandbox, clock)
        yield calls
        calls.session.close()


@pytest.fixture
def org(running: Calls) -> Calls:
    running.faults()
    requests.delete(f"{running.url}/_sandbox/usage", timeout=30)
    running.set(**Settings().model_dump(mode="json"))
    running.sign_in()
    return running
