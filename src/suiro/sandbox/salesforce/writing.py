"""Writing records: at most 200 at once, each with an answer of its own."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from suiro.sandbox.salesforce.accounts import USER_ID
from suiro.sandbox.salesforce.errors import RowRefusal
from suiro.sandbox.salesforce.fields import Field, Sobject
from suiro.sandbox.salesforce.ids import record_id
from suiro.sandbox.salesforce.org import Org, next_number
from suiro.sandbox.salesforce.rows import Operation, Target, Targets, kept_value, missing
from suiro.sandbox.salesforce.values import Kept

if TYPE_CHECKING:
    from suiro.model.schema import Json

MOST_ROWS = 200
Key = int | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A row that was taken."""

    id: str
    created: bool


@dataclass(slots=True, kw_only=True)
class Entry:
    """One row on its way: what it gives, the record that it concerns, and why it is refused."""

    given: dict[str, Kept] = field(default_factory=dict)
    relations: list[tuple[Target, Key]] = field(default_factory=list)
    key: Key = None  #: the record's id or its external id
    record: Record | None = None
    refusal: RowRefusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record that is there."""

    number: int
    id: str
    deleted: bool
    converted: bool


class Writing:
    """One operation on one object, in a transaction of the caller's."""

    def __init__(
        self,
        org: Org,
        connection: sqlite3.Connection,
        found: Sobject,
        operation: Operation,
        external: Field | None = None,
        *,
        update_only: bool = False,
    ) -> None:
        self._org = org
        self._connection = connection
        self._object = found
        self._operation: Operation = operation
        self._external = external
        self._update_only = update_only
        self._targets = Targets(org, found, operation, external)
        self._required = [one.name for one in found.fields.values() if one.required]
        self._unique = [one for one in found.kept() if one.unique]

    def write(self, rows: Sequence[Mapping[str, Json]]) -> list[Written | RowRefusal]:
        """Write the rows; an answer for each, in their order."""
        entries = [self._read(row) for row in rows]
        self._find_records(entries)
        self._refuse_doubles(entries)
        for entry in entries:
            if entry.refusal is None:
                entry.refusal = self._objection(entry)
        self._resolve_relations(entries)
        if self._operation in ("delete", "hardDelete"):
            return self._delete(entries)
        self._check_references(entries)
        self._check_unique(entries)
        return self._put(entries)

    # --- reading ---

    def _read(self, row: Mapping[str, Json]) -> Entry:
        entry = Entry()
        key_name = self._key_name()
        try:
            for name, value in row.items():
                target = self._targets.find(name)
                kept = kept_value(target, value)
                if target.via is not None:
                    entry.relations.append((target, as_key(kept)))
                elif target.field.name == key_name:
                    entry.key = as_key(kept)
                elif target.field.type == "id":
                    raise RowRefusal("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id here", ["Id"])
                else:
                    entry.given[target.field.name] = kept
            if key_name and entry.key is None:
                # The code is unverified.
                raise RowRefusal("MISSING_ARGUMENT", f"{key_name} not specified", [key_name])
        except RowRefusal as refusal:
            entry.refusal = refusal
        return entry

    def _key_name(self) -> str | None:
        if self._operation == "upsert" and self._external is not None:
            return self._external.name
        return None if self._operation == "insert" else "Id"

    def _find_records(self, entries: Sequence[Entry]) -> None:
        """Find the records that keys name."""
        key = self._external if self._operation == "upsert" else self._object.fields.get("Id")
        if self._operation == "insert" or key is None:
            return
        wanted = {entry.key for entry in entries if entry.refusal is None}
        live = " AND _deleted = 0" if self._operation == "upsert" else ""
        converted = '"IsConverted"' if "IsConverted" in self._object.fields else "0"
        found: dict[Any, list[Record]] = {}
        for number, value, identity, deleted, is_converted in self._connection.execute(
            f"""SELECT _row, "{key.name}", "Id", _deleted, {converted} FROM "{self._object.name}"
                WHERE "{key.name}"{key.collation} IN (SELECT value FROM json_each(?)){live}""",
            (json.dumps(list(wanted)),),
        ):
            record = Record(number=number, id=identity, deleted=bool(deleted), converted=bool(is_converted))
            found.setdefault(folded(key, value), []).append(record)
        for entry in entries:
            there = found.get(folded(key, entry.key), []) if entry.refusal is None else []
            if len(there) > 1:
                ids = ", ".join(record.id for record in there)
                entry.refusal = RowRefusal(
                    "DUPLICATE_EXTERNAL_ID", f"{key.name}: more than one record found: [{ids}]", [key.name]
                )
            entry.record = there[0] if there else None

    def _refuse_doubles(self, entries: Sequence[Entry]) -> None:
        """The same record twice in one request [1.6]."""
        key = self._external if self._operation == "upsert" else self._object.fields.get("Id")
        if self._operation == "insert" or key is None:
            return
        times = Counter(folded(key, entry.key) for entry in entries if entry.key is not None)
        for entry in entries:
            if entry.refusal is None and times[folded(key, entry.key)] > 1:
                if self._operation == "upsert":
                    message = f"duplicate external id specified: {entry.key}"
                    entry.refusal = RowRefusal("DUPLICATE_VALUE", message, [key.name])
                else:
                    entry.refusal = RowRefusal("DUPLICATE_ID_SPECIFIED", f"duplicate id specified: {entry.key}")

    def _objection(self, entry: Entry) -> RowRefusal | None:
        """Why the record can't be written so, if so."""
        record = entry.record
        creates = self._operation == "insert" or (self._operation == "upsert" and record is None)
        if record is None and (not creates or self._update_only):
            return RowRefusal("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if record is not None and record.deleted:
            return RowRefusal("ENTITY_IS_DELETED", "entity is deleted")
        if record is not None and record.converted and self._operation in ("update", "upsert"):
            return RowRefusal("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        if self._org.take_lock(self._object.name, record.id if record is not None else None):
            return RowRefusal("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        if self._operation in ("delete", "hardDelete"):
            return None
        linked = {target.field.name for target, _ in entry.relations}
        empty = [
            name
            for name in self._required
            if entry.given.get(name, "" if name in linked or not creates else None) is None
            and (creates or name in entry.given)
        ]
        return missing(empty) if empty else None

    # --- references ---

    def _resolve_relations(self, entries: Sequence[Entry]) -> None:
        """Turn keys of related records into their ids."""
        wanted: dict[tuple[str, str, str], tuple[Target, set[Key]]] = {}
        for entry in entries:
            for target, kept in entry.relations:
                assert target.via is not None
                place = (target.field.name, target.via[0].name, target.via[1].name)
                wanted.setdefault(place, (target, set()))[1].add(kept)
        ids: dict[tuple[str, str, str], dict[Any, str]] = {}
        for place, (target, keys) in wanted.items():
            assert target.via is not None
            there, key = target.via
            ids[place] = {
                folded(key, value): identity
                for value, identity in self._connection.execute(
                    f"""SELECT "{key.name}", "Id" FROM "{there.name}" WHERE _deleted = 0
                        AND "{key.name}"{key.collation} IN (SELECT value FROM json_each(?))""",
                    (json.dumps(list(keys)),),
                )
            }
        for entry in entries:
            for target, kept in entry.relations if entry.refusal is None else ():
                assert target.via is not None
                there, key = target.via
                place = (target.field.name, there.name, key.name)
                identity = ids[place].get(folded(key, kept))
                if kept is not None and identity is None:
                    entry.refusal = RowRefusal(
                        "INVALID_FIELD",
                        f"Foreign key external ID: {kept} not found for field {key.name} in entity {there.name}",
                    )
                entry.given[target.field.name] = identity

    def _check_references(self, entries: Sequence[Entry]) -> None:
        """Ids must be of records that are there."""
        links = [one for one in self._object.kept() if one.reference_to]
        for link in links:
            wanted = {entry.given.get(link.name) for entry in entries} - {None}
            if not wanted:
                continue
            known: set[str] = set()
            for there in filter(None, map(self._org.find, link.reference_to)):
                known |= {
                    identity
                    for (identity,) in self._connection.execute(
                        f"""SELECT "Id" FROM "{there.name}" WHERE _deleted = 0
                            AND "Id" IN (SELECT value FROM json_each(?))""",
                        (json.dumps(list(wanted)),),
                    )
                }
            for entry in entries:
                value = entry.given.get(link.name)
                if entry.refusal is None and value is not None and value not in known:
                    message = f"{link.label}: invalid cross reference id"
                    entry.refusal = RowRefusal("INVALID_CROSS_REFERENCE_KEY", message, [link.name])

    def _check_unique(self, entries: Sequence[Entry]) -> None:
        """Values of unique fields must be nobody else's."""
        for one in self._unique:
            self._give_key(one, entries)
            wanted = {entry.given[one.name] for entry in entries if entry.given.get(one.name) is not None}
            if not wanted:
                continue
            owners = {
                folded(one, value): (number, identity)
                for value, number, identity in self._connection.execute(
                    f"""SELECT "{one.name}", _row, "Id" FROM "{self._object.name}" WHERE _deleted = 0
                        AND "{one.name}"{one.collation} IN (SELECT value FROM json_each(?))""",
                    (json.dumps(list(wanted)),),
                )
            }
            taken: set[Any] = set()
            for entry in entries:
                value = folded(one, entry.given.get(one.name))
                if value is None or entry.refusal is not None:
                    continue
                number, identity = owners.get(value, (None, "another record of the request"))
                mine = entry.record is not None and entry.record.number == number
                if (number is not None and not mine) or value in taken:
                    message = f"duplicate value found: {one.name} duplicates value on record with id: {identity}"
                    entry.refusal = RowRefusal("DUPLICATE_VALUE", message, [one.name])
                taken.add(value)

    def _give_key(self, one: Field, entries: Sequence[Entry]) -> None:
        """A record that an upsert makes has the key that it was looked for by."""
        if self._operation == "upsert" and one is self._external:
            for entry in entries:
                if entry.record is None and entry.refusal is None:
                    entry.given[one.name] = entry.key

    # --- writing ---

    def _put(self, entries: Sequence[Entry]) -> list[Written | RowRefusal]:
        if self._external is not None and not self._external.unique:
            self._give_key(self._external, entries)
        stamp = self._org.stamp()
        number = next_number(self._connection, self._object)
        answers: list[Written | RowRefusal] = []
        inserts: list[dict[str, Any]] = []
        updates: list[tuple[int, dict[str, Any]]] = []
        for entry in entries:
            if entry.refusal is not None:
                answers.append(entry.refusal)
            elif entry.record is not None:
                updates.append((entry.record.number, entry.given | self._touched(stamp)))
                answers.append(Written(id=entry.record.id, created=False))
            else:
                identity = record_id(self._object.prefix, number)
                inserts.append(self._created(stamp) | entry.given | {"Id": identity, "_row": number})
                answers.append(Written(id=identity, created=True))
                number += 1
        self._insert(inserts)
        self._update(updates)
        return answers

    def _touched(self, stamp: str) -> dict[str, Any]:
        """What every write changes."""
        values = {"LastModifiedDate": stamp, "LastModifiedById": USER_ID, "SystemModstamp": stamp}
        return {name: value for name, value in values.items() if name in self._object.fields}

    def _created(self, stamp: str) -> dict[str, Any]:
        """What a new record has by itself."""
        values: dict[str, Any] = {"CreatedDate": stamp, "CreatedById": USER_ID, "OwnerId": USER_ID}
        told = {name: value for name, value in values.items() if name in self._object.fields}
        for one in self._object.kept():
            if one.type == "boolean":
                told[one.name] = int(bool(one.default))
            elif one.default is not None:
                told[one.name] = one.default
        wait = self._org.settings.visible_after_ms
        if wait:
            told["_visible"] = self._org.milliseconds() + wait
            self._org.unseen_until = max(self._org.unseen_until, told["_visible"])
        return told | self._touched(stamp)

    def _insert(self, rows: Iterable[dict[str, Any]]) -> None:
        for names, alike in groupby(rows, key=tuple):
            columns = ", ".join(f'"{name}"' for name in names)
            sql = f'INSERT INTO "{self._object.name}" ({columns}) VALUES ({", ".join("?" * len(names))})'
            self._connection.executemany(sql, [tuple(row.values()) for row in alike])

    def _update(self, rows: Iterable[tuple[int, dict[str, Any]]]) -> None:
        for names, alike in groupby(rows, key=lambda one: tuple(one[1])):
            if not names:
                continue
            changes = ", ".join(f'"{name}" = ?' for name in names)
            sql = f'UPDATE "{self._object.name}" SET {changes} WHERE _row = ?'
            self._connection.executemany(sql, [(*row.values(), number) for number, row in alike])

    def _delete(self, entries: Sequence[Entry]) -> list[Written | RowRefusal]:
        doomed = [entry.record for entry in entries if entry.refusal is None and entry.record is not None]
        hard = self._operation == "hardDelete"
        delete_records(self._org, self._connection, self._object, [record.number for record in doomed], purge=hard)
        answers: list[Written | RowRefusal] = []
        for entry in entries:
            record = entry.record
            assert record is not None or entry.refusal is not None
            answers.append(entry.refusal or Written(id=record.id if record else "", created=False))
        return answers


def delete_records(
    org: Org, connection: sqlite3.Connection, found: Sobject, numbers: Sequence[int], *, purge: bool
) -> None:
    """Delete records by number: into the recycle bin, or for good; either way the delete log tells them."""
    stamp, listed = org.stamp(), json.dumps(list(numbers))
    chosen = "WHERE _row IN (SELECT value FROM json_each(?))"
    if "Id" in found.fields:
        connection.execute(
            f'INSERT INTO _deletions SELECT ?, "Id", ? FROM "{found.name}" {chosen} AND _deleted = 0',
            (found.name, stamp, listed),
        )
    if purge:
        highest = str(next_number(connection, found) - 1)
        connection.execute("INSERT OR REPLACE INTO _facts VALUES (?, ?)", (f"purged {found.name}", highest))
        connection.execute(f'DELETE FROM "{found.name}" {chosen}', (listed,))
        return
    touched = "".join(f', "{name}" = :stamp' for name in ("SystemModstamp", "LastModifiedDate") if name in found.fields)
    connection.execute(
        f'UPDATE "{found.name}" SET _deleted = 1{touched} WHERE _row IN (SELECT value FROM json_each(:rows))',
        {"stamp": stamp, "rows": listed},
    )


def as_key(kept: Kept) -> Key:
    """A kept value that records are looked for by; bytes never are."""
    assert not isinstance(kept, bytes)
    return kept


def folded(one: Field, value: Any) -> Any:
    """A value as it is compared: regardless of case, unless the field says otherwise [1.6]."""
    return value.lower() if isinstance(value, str) and one.collation else value
