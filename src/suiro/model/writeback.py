"""Write-back in words: what is to happen to an application's records, and what became of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from suiro.model.schema import Json


class WriteBackMode(StrEnum):
    """How rows of a warehouse enter an application's object."""

    INSERT = "insert"  #: every row that was never sent becomes a new record
    UPDATE = "update"  #: records that are there get new values; a row without a record creates nothing
    UPSERT = "upsert"  #: by a field that the application itself keeps unique: there, it is updated; not there, created
    MIRROR = "mirror"  #: as UPSERT, and records that were sent once and are no longer among the rows are deleted
    DELETE = "delete"  #: records with these keys go


class Nulls(StrEnum):
    """What a NULL among a row's values means."""

    SEND = "send"  #: the field is emptied
    SKIP = "skip"  #: nothing is said of the field: it keeps its value


class Conflicts(StrEnum):
    """What is done with a record that somebody changed between the plan and the sending."""

    SKIP = "skip"  #: it is left alone, and named
    SEND = "send"  #: it gets the row's values all the same


class Action(StrEnum):
    """What is done to one record."""

    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"


class Outcome(StrEnum):
    """What became of one row."""

    DONE = "done"
    REFUSED = "refused"  #: by the application, for a reason; sending it again unchanged is useless
    UNPROCESSED = "unprocessed"  #: the application never looked at it: it can be sent again without doubling anything
    UNKNOWN = "unknown"  #: it was sent, and what became of it can't be learned any more


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """What the application answered for one row. `row` counts from 0 in the batch that was handed over."""

    row: int
    outcome: Outcome
    record: str | None = None  #: the record's own id in the application, where it told it
    created: bool = False  #: a new record was made
    code: str | None = None  #: the application's own word for the reason
    message: str | None = None
    fields: tuple[str, ...] = ()  #: that the reason is about


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFacts:
    """What the application says of a field beyond its type."""

    name: str
    label: str
    creatable: bool = True  #: may be given a value when a record is made
    updatable: bool = True  #: may be changed later
    required: bool = False  #: a new record must give it a value
    external_id: bool = False  #: an upsert can find its record by it
    unique: bool = False  #: no two records have the same value
    case_sensitive: bool = False  #: keys that differ in case alone are two keys
    most_characters: int | None = None  #: longer texts are refused
    choices: tuple[str, ...] | None = None  #: the only values it takes; None: any
    references: tuple[str, ...] = ()  #: objects whose record ids it holds
    empty_is_null: bool = False  #: a text without characters empties the field, and comes back as NULL


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFacts:
    """What the application says of an object. `fields` by name, in its own order."""

    name: str
    label: str
    record_id: str  #: the field that holds the record's own id
    fields: Mapping[str, FieldFacts]
    actions: frozenset[Action]  #: that these credentials may do


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be done with the rows of a batch: the same for all of them.

    INSERT: the batch holds the fields of new records. UPDATE: `by` is the record id's field. UPSERT: `by` is a field
    with `external_id`. DELETE: the batch holds the record id's field alone. A NULL empties the field.
    """

    object: str
    action: Action
    by: str | None = None
    options: Mapping[str, Json] | None = None  #: the application's own, from the task's settings
