"""The exact types of text files that Suiro wrote, kept beside them.

Each file's note holds the schema that the file was written with, under the file's stamp, and the note before it: the
note is written before the file takes its place, so that at any moment one of the two is right.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from suiro.toolkit.files import storage
from suiro.toolkit.files.storage import Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is known of one file; `rows` None: nobody counted them."""

    schema: pa.Schema
    primary_key: tuple[str, ...] = ()
    rows: int | None = None


def write_note(path: Path, stamp: Stamp, note: Note) -> None:
    """Note what the file with this stamp, soon to be there, holds."""
    entry = {
        "modified": stamp.modified,
        "size": stamp.size,
        "schema": base64.b64encode(note.schema.serialize().to_pybytes()).decode(),
        "primary_key": list(note.primary_key),
        "rows": note.rows,
    }
    before = _entries(path)[:1]
    storage.write_whole(path, json.dumps({"notes": [entry, *before]}).encode())


def read_note(path: Path, stamp: Stamp, *, exact: bool = True) -> Note | None:
    """What was noted of the file with this stamp; None where nothing was.

    `exact` False: of a file with another stamp (a copy of what Suiro wrote) the last note.
    """
    entries = _entries(path)
    same = [e for e in entries if (e["modified"], e["size"]) == (stamp.modified, stamp.size)]
    same = same or ([] if exact else entries[:1])
    if not same:
        return None
    entry = same[0]
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(entry["schema"])))
    return Note(schema=schema, primary_key=tuple(entry["primary_key"]), rows=entry["rows"])


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(path.read_bytes())["notes"]
    except (FileNotFoundError, ValueError, KeyError):
        return []
    return found
