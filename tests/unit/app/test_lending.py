"""Tests of what uses in this process share: the metadata is opened when it is asked for, and not before."""

from __future__ import annotations

import re
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from shell import Shell
from suiro import app
from suiro.app.lending import LentContext
from suiro.app.metadata import metadata
from suiro.model.account import Rate
from suiro.model.errors import Cancelled, ConfigError


def test_grants_and_quotas_are_those_of_the_metadata_made_when_they_are_needed(suiro_home: Path) -> None:
    with LentContext("one") as context:
        assert not (suiro_home / "suiro.db").exists()
        kept = context.grants.renew("crm", 0, lambda _: {"refresh_token": "r1"})
        assert stat.S_IMODE((suiro_home / "suiro.db").stat().st_mode) == 0o600
    assert metadata().grants.load("crm") == kept
    with LentContext("another") as later:
        assert later.grants.load("crm") == kept
        assert later.quotas.take("shop", Rate(requests=1, seconds=60)) == 0.0
    assert metadata().quotas.take("shop", Rate(requests=1, seconds=60)) > 0.0


def test_who_waits_for_another_ones_renewal_can_be_cancelled() -> None:
    assert metadata().grants.take("crm", 0, "other").mine
    with LentContext("one") as context:
        context.cancel()
        with pytest.raises(Cancelled):
            context.grants.renew("crm", 0, lambda _: {})


def test_without_a_place_to_keep_them_credentials_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SUIRO_METADATA_URL", f"sqlite:///{tmp_path}/nowhere/suiro.db")
    with LentContext("one") as context, pytest.raises(ConfigError, match="can't open the metadata database"):
        context.grants.renew("crm", 0, lambda _: {})


def test_a_copy_between_databases_opens_no_metadata(suiro: Shell, suiro_home: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    done = suiro("copy", f"sqlite:///{tmp_path}/a.sqlite", f"sqlite:///{tmp_path}/b.sqlite", "--stream", "t")
    assert done.code == 0, done.err
    assert not (suiro_home / "suiro.db").exists()


def test_a_context_loads_no_database_library() -> None:
    script = (
        "import sys, suiro.app.runs, suiro.app.carrier, suiro.app.lending as lending\n"
        "with lending.LentContext('one'): print('sqlalchemy' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"


def test_every_use_in_this_process_takes_its_context_from_here() -> None:
    """But for the process that carries task runs: its supervisor lends."""
    folder = Path(app.__file__).parent
    plain = [path.name for path in folder.rglob("*.py") if re.search(r"(?<!Lent)(?<!\w)RunContext\(", path.read_text())]
    assert plain == ["carrier.py"]
