"""Uploads of profiles and events: always answered with 200, each record taken or named as unprocessed."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any, Final

from starlette.responses import Response

from suiro.sandbox.clevertap.answers import Wrong, as_json
from suiro.sandbox.clevertap.settings import Settings
from suiro.sandbox.clevertap.store import Row, Store

MOST: Final = 1_000
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_CODES: Final = {"profile": 515, "event": 525}  # 515 was recorded, 525 is unverified


def uploaded(store: Store, body: Any, now: int, settings: Settings, *, dry: bool) -> Response:
    """What became of the records. Where it is `dry`, nothing is kept (unverified)."""
    records = body.get("d") if isinstance(body, dict) else None
    if not isinstance(records, list):
        raise Wrong("d must be a list of records")  # unverified wording
    if len(records) > MOST:
        raise Wrong(f"at most {MOST} records in one upload")  # unverified refusal
    unprocessed = []
    with store.writing() as session:
        for number, record in enumerate(records, settings.numbers_from):
            why = _wrong(record)
            if why is not None:
                kind = record.get("type") if isinstance(record, dict) else None
                error = f"{why}Skipped record number : {number}"
                unprocessed.append(
                    {"status": "fail", "code": _CODES.get(str(kind), 500), "error": error, "record": record}
                )
            elif not dry:
                _keep(store, session, record, now, settings)
    done = len(records) - len(unprocessed)
    status = "success" if not unprocessed else "partial" if done else "fail"
    return as_json({"status": status, "processed": done, "unprocessed": unprocessed})


def _wrong(record: Any) -> str | None:
    """Why a record is left out; all wordings but that of an e-mail are unverified."""
    if not isinstance(record, dict) or record.get("type") not in _CODES:
        return "Record type is incorrect."
    if not isinstance(record.get("identity"), str) or not record["identity"]:
        return "Identity is missing."
    if record["type"] == "event":
        if not isinstance(record.get("evtName"), str) or not record["evtName"]:
            return "Event name is missing."
        return None if isinstance(record.get("evtData", {}), dict) else "Event data is incorrect."
    data = record.get("profileData")
    if not isinstance(data, dict):
        return "Profile data is incorrect."
    if any(value is None for value in data.values()):
        return "Profile data is incorrect. A value is null."
    email = data.get("Email")
    if email is not None and (not isinstance(email, str) or not _EMAIL.fullmatch(email)):
        return "Profile data is incorrect. Email is not valid."
    return None


def _keep(store: Store, session: sqlite3.Connection, record: Row, now: int, settings: Settings) -> None:
    if record["type"] == "profile":
        store.put_profile(session, record["identity"], record["profileData"])
        return
    known = store.find(session, "identity", record["identity"])
    number = known[0] if known is not None else store.put_profile(session, record["identity"], {})
    at, props = int(record.get("ts", now)), record.get("evtData", {})
    if settings.dedupes_events:
        sql = "SELECT 1 FROM event WHERE name = ? AND profile = ? AND at = ?"
        if session.execute(sql, (record["evtName"], number, at)).fetchone():
            return
    store.put_event(session, record["evtName"], number, at, json.loads(json.dumps(props)))
