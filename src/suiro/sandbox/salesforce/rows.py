"""What a caller gives for a record, read field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from suiro.sandbox.salesforce.errors import RowRefusal
from suiro.sandbox.salesforce.fields import Field, Sobject
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.values import Kept, keep

if TYPE_CHECKING:
    from suiro.model.schema import Json

Operation = Literal["insert", "update", "upsert", "delete", "hardDelete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a given value goes: into a field; with `via`, as the key of the record that the field is to point to."""

    field: Field
    via: tuple[Sobject, Field] | None = None


class Targets:
    """The fields of an object as an operation may give them, found once for each name."""

    def __init__(self, org: Org, found: Sobject, operation: Operation, external: Field | None) -> None:
        self._org = org
        self._object = found
        self._operation = operation
        self._external = external
        self._known: dict[str, Target | RowRefusal] = {}

    def find(self, name: str) -> Target:
        """The target of a name. RowRefusal: there is none, or it can't be written."""
        known = self._known.get(name)
        if known is None:
            try:
                known = self._find(name)
            except RowRefusal as refusal:
                known = refusal
            self._known[name] = known
        if isinstance(known, RowRefusal):
            raise known
        return known

    def _find(self, name: str) -> Target:
        if "." in name:
            return self._relation(name)
        found = self._org.seen(self._object, name)
        if found is None:
            message = f"No such column '{name}' on sobject of type {self._object.name}"
            raise RowRefusal("INVALID_FIELD", message, [name])
        if found.type != "id" and found is not self._external and not self._writable(found):
            raise RowRefusal(
                "INVALID_FIELD_FOR_INSERT_UPDATE",
                f"Unable to create/update fields: {found.name}. The field's security settings don't let you write it.",
                [found.name],
            )
        return Target(field=found)

    def _writable(self, found: Field) -> bool:
        if self._operation == "insert":
            return found.createable
        return found.updateable or (self._operation == "upsert" and found.createable)

    def _relation(self, name: str) -> Target:
        """`Owner.Email`, `Account.Ext__c`, `User:Owner.Email` [DOC datafiles_csv_valid_record_rows]."""
        wanted, _, rest = name.rpartition(":")
        relationship, _, key = rest.partition(".")
        for link in self._object.fields.values():
            if (link.relationship or "").lower() != relationship.lower() or not self._writable(link):
                continue
            for target in [wanted] if wanted else reversed(link.reference_to):
                there = self._org.find(target)
                found = there.find(key) if there is not None else None
                if there is not None and found is not None and (found.external_id or found.id_lookup):
                    return Target(field=link, via=(there, found))
        raise RowRefusal("INVALID_FIELD", f"No such relationship or external id: {name}", [name])


def csv_value(text: str) -> tuple[bool, str | None]:
    """Whether a cell of CSV says anything, and what: empty is ignored, `#N/A` is null [DOC]."""
    if text == "":
        return False, None
    return True, None if text == "#N/A" else text


def kept_value(target: Target, value: Json) -> Kept:
    """What the store keeps; for a relation, the key as its own field keeps it. RowRefusal: it doesn't fit."""
    found = target.field if target.via is None else target.via[1]
    if value is None:
        if found.type == "boolean":
            raise RowRefusal("INVALID_TYPE_ON_FIELD_IN_RECORD", f"{found.label}: a boolean isn't null", [found.name])
        return None
    return keep(found, value)


def flat(row: Mapping[str, Json]) -> dict[str, Json]:
    """A record of JSON with its relations as dotted names; without attributes."""
    told: dict[str, Json] = {}
    for name, value in row.items():
        if name == "attributes":
            continue
        if isinstance(value, dict):
            kind = value.get("attributes")
            wanted = f"{kind['type']}:" if isinstance(kind, dict) and kind.get("type") else ""
            inner = {key: one for key, one in value.items() if key != "attributes"}
            told |= {f"{wanted}{name}.{key}": one for key, one in inner.items()}
        else:
            told[name] = value
    return told


def missing(fields: Sequence[str]) -> RowRefusal:
    """Required fields are empty [REC, DOC]."""
    return RowRefusal("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(fields)}]", fields)
