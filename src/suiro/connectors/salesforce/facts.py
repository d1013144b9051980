"""What a write-back must know of an object: its fields' rules, and fields of others that a reference can be told by.

Sources: "DescribeSObjectResult" in Salesforce's SOAP API Developer Guide; "Relationship Fields in a Header Row" in its
Bulk API 2.0 Developer Guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from suiro.connectors.salesforce.describe import ID, Descriptions, SObject, SObjectField
from suiro.model.types import is_text
from suiro.model.writeback import Action, FieldFacts, ObjectFacts

_AT_ONCE: Final = 8  #: descriptions of other objects that are asked for side by side
_IDS: Final = frozenset({"id", "reference"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A reference that is told by a field of the record it leads to: `Owner.Email` in place of `OwnerId`."""

    reference: SObjectField
    name: str  #: of the relationship: "Owner"
    object: str  #: that the field is one of: "User"
    field: SObjectField

    @property
    def path(self) -> str:
        """How a column is called that holds its values."""
        return f"{self.name}.{self.field.name}"

    @property
    def header(self) -> str:
        """How CSV calls it: with the object's name where the reference may lead to several."""
        several = len(self.reference.said.get("referenceTo") or ()) > 1
        return f"{self.object}:{self.path}" if several else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """An object as a write-back sees it."""

    object: SObject
    relations: Mapping[str, Relation]  #: by path
    facts: ObjectFacts
    types: pa.Schema


def described_for_writing(descriptions: Descriptions, object_: SObject) -> Described:
    """All that is to be known of an object. Asks for the objects that its references lead to, as well."""
    relations = {found.path: found for found in _relations(descriptions, object_)}
    columns = {one.name: arrow for one in object_.fields if (arrow := one.arrow()) is not None}
    columns |= {path: _typed(relation.field).with_name(path) for path, relation in relations.items()}
    told = {found.reference.name for found in relations.values()}
    fields = {one.name: _facts(one, told) for one in object_.fields if one.name in columns}
    fields |= {path: _facts_of_relation(relation) for path, relation in relations.items()}
    facts = ObjectFacts(
        name=object_.name, label=object_.label, record_id=ID, fields=fields, actions=frozenset(_actions(object_))
    )
    return Described(object=object_, relations=relations, facts=facts, types=pa.schema(list(columns.values())))


def _actions(object_: SObject) -> Iterator[Action]:
    said = object_.said
    makes, changes = said.get("createable", False), said.get("updateable", False)
    if makes:
        yield Action.INSERT
    if changes:
        yield Action.UPDATE
    if makes and changes:
        yield Action.UPSERT
    if said.get("deletable", False):
        yield Action.DELETE


def _facts(one: SObjectField, told_otherwise: set[str]) -> FieldFacts:
    """`told_otherwise`: references that other columns may fill, so that a record isn't wrong without them."""
    said = one.said
    sent = not one.is_compound and not one.is_blob  # parts are fields of their own; bytes don't go into CSV
    makes = sent and said.get("createable", False)
    own_id = one.type == "id"
    values = [value["value"] for value in said.get("picklistValues") or () if value.get("active", True)]
    fixed = one.type == "picklist" and said.get("restrictedPicklist", False) and values
    arrow = one.arrow()
    text = arrow is not None and is_text(arrow.type) and not one.is_compound
    return FieldFacts(
        name=one.name,
        label=one.label,
        creatable=makes,
        updatable=sent and said.get("updateable", False),
        required=makes and not one.nillable and not said.get("defaultedOnCreate", False)
        and one.name not in told_otherwise,
        external_id=not own_id and bool(said.get("externalId") or said.get("idLookup")),
        unique=own_id or said.get("unique", False),
        case_sensitive=one.type in _IDS or said.get("caseSensitive", False),
        most_characters=one.length or None if text else None,
        choices=tuple(values) if fixed else None,
        references=tuple(said.get("referenceTo") or ()),
        empty_is_null=text,
    )  # fmt: skip


def _facts_of_relation(relation: Relation) -> FieldFacts:
    own = _facts(relation.reference, {relation.reference.name})
    other = _facts(relation.field, set())
    return replace(
        other,
        name=relation.path,
        label=f"{own.label}: {other.label}",
        creatable=own.creatable,
        updatable=own.updatable,
        required=False,
        external_id=False,
        unique=False,
        choices=None,
    )


def _relations(descriptions: Descriptions, object_: SObject) -> Iterator[Relation]:
    """Each by a field that one alone of the objects which the reference may lead to has."""
    references = [
        one
        for one in object_.fields
        if one.type == "reference"
        and one.said.get("relationshipName")
        and (one.said.get("createable") or one.said.get("updateable"))
    ]
    listed = descriptions.listed()
    names = {name for one in references for name in one.said.get("referenceTo") or () if name in listed}
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="suiro-describe") as pool:
        others = dict(zip(sorted(names), pool.map(descriptions.described, sorted(names)), strict=True))
    for one in references:
        there = [others[name] for name in one.said["referenceTo"] if name in others]
        found = [(other.name, field) for other in there for field in other.fields if _tells(field)]
        for name, field in found:
            if sum(field.name.lower() == same.name.lower() for _, same in found) == 1:
                yield Relation(reference=one, name=one.said["relationshipName"], object=name, field=field)


def _tells(field: SObjectField) -> bool:
    known = field.said.get("externalId") or field.said.get("idLookup")
    return bool(known) and field.type != "id" and field.arrow() is not None


def _typed(field: SObjectField) -> pa.Field:
    arrow = field.arrow()
    assert arrow is not None
    return arrow
