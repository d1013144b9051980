"""Tests that faults at random change nothing in what arrives: rows equal the sandbox's store by hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from salesforce_org import Org, carried, digest, follow, select

KINDS = ["429", "500", "503", "drop", "lost", "slow", "expired_token", "duplicate_page"]
RESULTS = "/services/data/v{version}/jobs/query/{id}/results"


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("api", ["rest", "bulk", "auto"])
def test_with_five_percent_of_faults_every_row_arrives_once(org: Org, api: str, seed: int) -> None:
    org.settings(page_rows=60)
    how: dict[str, Any] = {"api": api, "page_rows": 60, "bulk_from": 1000}
    source = org.source(**how)
    plan = {"seed": seed, "rate": 0.05, "kinds": KINDS, "slow_seconds": 0.01}
    org.control("PUT", "faults", plan)
    selection = select(source, "Lead")
    rows, _ = carried(source, selection)
    stored = org.records("Lead")
    columns = [name for name in selection.columns if name in stored[0]]
    assert digest(rows, columns) == digest(stored, columns)
    assert sum(org.control("GET", "requests")["faults"].values()), "no fault happened"


def test_a_page_that_breaks_off_is_gone_on_with_where_it_broke(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suiro.connectors.salesforce.bulk.BLOCK", 1 << 14)
    source = org.source(api="bulk")
    selection, stored = select(source, "Lead"), org.records("Lead")
    org.forget_requests()
    for seed in range(6):  # each breaks it off in other places
        org.control("PUT", "faults", {"next": ["drop", "drop"], "routes": [RESULTS], "seed": seed})
        rows, _ = carried(source, selection)
        assert digest(rows, ["Id", "Name", "Email"]) == digest(stored, ["Id", "Name", "Email"])
    assert org.requests()[f"GET {RESULTS}"] > 10


def test_with_a_fault_in_every_fourth_request_an_incremental_read_appends_every_row_once(org: Org) -> None:
    org.settings(page_rows=150)
    kinds = [kind for kind in KINDS if kind != "expired_token"]  # twice in a row it ends a session for good
    source = org.source(api="auto", bulk_from=1000, page_rows=300)
    org.control("PUT", "faults", {"seed": 7, "rate": 0.25, "kinds": kinds, "slow_seconds": 0.01})
    selection = follow(source, "Lead", deduplicate=True)
    rows, since = carried(source, selection)
    stored = org.records("Lead")
    columns = [name for name in selection.columns if name in stored[0]]
    assert digest(rows, columns) == digest(stored, columns)
    assert carried(source, selection, since)[0] == []


def test_what_is_recorded_of_requests_holds_no_secret(
    org: Org, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUIRO_HTTP_RECORD", str(tmp_path / "record"))
    secrets = []
    for way in ("password", "soap", "sso", "refresh_token", "jwt", "client_credentials"):
        source = org.source(way)
        source.check()
        secrets += [str(source._org.session.values()["access_token"])]
        secrets += [text for name, text in org.ways[way].items() if name in SECRET]
        source.close()
    written = "".join(path.read_text("utf-8") for path in (tmp_path / "record").rglob("*") if path.is_file())
    assert "/services/data/" in written and len(secrets) > 10
    assert not [secret for secret in secrets if secret in written]


SECRET = {"password", "security_token", "client_secret", "refresh_token", "private_key"}
