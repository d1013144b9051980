"""Streams (what a source offers), tables (what a destination holds) and positions (where a read resumes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import pyarrow as pa

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

Position = Mapping[str, Json]
"""Where a read resumes. Its source alone gives it meaning; everybody else stores it and hands it back."""


class ReadMode(StrEnum):
    """How a source reads a stream."""

    FULL = "full"  #: every row, every run
    INCREMENTAL = "incremental"  #: rows whose cursor field is at or past the last position
    LOG = "log"  #: the change log: inserts, updates, deletes, in commit order


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A collection of rows that a source can read, as discovery found it.

    `name` is unique in one connection; dotted and quoted where the source has namespaces (see `naming`).
    `schema` fields may carry a logical type (see `types`). `rows` is an estimate, for progress only.
    """

    name: str
    schema: pa.Schema
    primary_key: tuple[str, ...] = ()  #: empty: rows have no identity
    cursor_fields: tuple[str, ...] = ()  #: fit for an incremental read, best first
    read_modes: frozenset[ReadMode] = frozenset({ReadMode.FULL})
    rows: int | None = None
    notes: tuple[str, ...] = ()  #: sentences for the user: columns left out, a version never tested


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table in a destination. `name` is dotted and quoted where the destination has namespaces.

    As `inspect` found it, `required` are the columns that an insert must give a value (NOT NULL without a default), and
    `generated` those that it can't (computed, or an identity that is always generated), in the schema or not.
    """

    name: str
    schema: pa.Schema
    primary_key: tuple[str, ...] = ()
    required: frozenset[str] = field(default=frozenset(), compare=False)
    generated: frozenset[str] = field(default=frozenset(), compare=False)
