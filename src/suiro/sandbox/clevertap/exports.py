"""Files as the export to a cloud's buckets writes them: one for each event and day, gzipped CSV or lines of JSON.

Names and the form of JSON are documented; the names of CSV's columns, and profiles' files, are unverified.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from suiro.sandbox.clevertap.answers import local, ts
from suiro.sandbox.clevertap.downloads import profile_record
from suiro.sandbox.clevertap.settings import Settings
from suiro.sandbox.clevertap.store import Row, Store


class Export(BaseModel):
    """One run of an export."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path
    events: tuple[str, ...] = ()
    days: tuple[str, ...]  #: yyyymmdd; a recurring run that overlaps another has some of its days again
    profiles: bool = False
    format: Literal["csv", "json"] = "csv"
    request: int = 1_663_664_837
    run: int = 1_663_785_000
    rows: int = Field(default=1_000_000, ge=1)  #: of one file; the service cuts them at about 100 MB


def exported(store: Store, wanted: Export, settings: Settings) -> list[str]:
    """Write the files; their names."""
    wanted.folder.mkdir(parents=True, exist_ok=True)
    names = []
    for event in wanted.events:
        by_day: dict[str, list[Row]] = {day: [] for day in wanted.days}
        for _, _, body, at, props, _ in store.events(event):
            day = f"{local(at, settings.zone()):%Y%m%d}"
            if day in by_day:
                profile = {name: body[name] for name in ("identity", "objectId", "email") if name in body}
                by_day[day].append({"profile": profile, "ts": ts(at, settings.zone()), "eventProps": props})
        for day, rows in by_day.items():
            names += _files(wanted, event, day, rows)
    if wanted.profiles:
        with store.reading() as session:
            found = session.execute("SELECT id, body FROM profile ORDER BY id").fetchall()
            rows = [profile_record(session, number, json.loads(body)) for number, body in found]
        names += _files(wanted, "profiles", wanted.days[-1], rows)
    return names


def _files(wanted: Export, name: str, day: str, rows: Sequence[Row]) -> list[str]:
    date(int(day[:4]), int(day[4:6]), int(day[6:]))
    files = []
    for number, at in enumerate(range(0, len(rows), wanted.rows)):
        some = rows[at : at + wanted.rows]
        label = f"{wanted.request}-{wanted.run}-{name.replace(' ', '-')}-{day}-{number}-0.{wanted.format}.gz"
        text = _csv(some) if wanted.format == "csv" else _lines(name, some)
        (wanted.folder / label).write_bytes(gzip.compress(text.encode(), mtime=0))
        files.append(label)
    return files


def _csv(rows: Sequence[Row]) -> str:
    flat = []
    for row in rows:
        one: Row = {}
        for name, value in row.items():
            if isinstance(value, dict):
                one |= {f"{name}.{key}": inner for key, inner in value.items()}
            else:
                one[name] = value
        flat.append(one)
    names = sorted({name for one in flat for name in one})  # they differ between days
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    for one in flat:
        values = [one.get(name, "") for name in names]
        writer.writerow([json.dumps(v, ensure_ascii=False) if isinstance(v, dict | list) else v for v in values])
    return out.getvalue()


def _lines(name: str, rows: Sequence[Row]) -> str:
    """The first line is the event's name."""
    return "\n".join([name, *(json.dumps(row, ensure_ascii=False) for row in rows), ""])
