"""The metadata of this installation: where it is kept, and what it keeps."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from suiro.app.home import METADATA, home
from suiro.store.connections import Connections
from suiro.store.database import Database, open_database
from suiro.store.grants import Grants
from suiro.store.jobs import Jobs
from suiro.store.quotas import Quotas
from suiro.store.requests import Requests
from suiro.store.runs import Runs
from suiro.store.schedules import Schedules
from suiro.store.secrets import MasterKeys, Secrets
from suiro.store.systems import sqlite_url
from suiro.store.tokens import Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The metadata database, and its nouns."""

    database: Database
    keys: MasterKeys
    connections: Connections
    secrets: Secrets
    jobs: Jobs
    runs: Runs
    grants: Grants
    quotas: Quotas
    tokens: Tokens
    requests: Requests
    schedules: Schedules


def metadata_url() -> str:
    """`SUIRO_METADATA_URL`, or the SQLite file in Suiro's home."""
    return os.environ.get("SUIRO_METADATA_URL") or sqlite_url(home() / METADATA)


def metadata() -> Metadata:
    """The metadata of this process's settings, opened once and made if it isn't there."""
    return _opened(metadata_url(), str(home() / "master.key"))


@cache
def _opened(url: str, key_file: str) -> Metadata:
    database, keys = open_database(url), MasterKeys(Path(key_file))
    return Metadata(
        database=database,
        keys=keys,
        connections=Connections(database),
        secrets=Secrets(database, keys),
        jobs=Jobs(database),
        runs=Runs(database),
        grants=Grants(database, keys),
        quotas=Quotas(database),
        tokens=Tokens(database),
        requests=Requests(database, keys),
        schedules=Schedules(database),
    )
