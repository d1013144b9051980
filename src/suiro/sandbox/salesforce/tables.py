"""The language in which the org's objects are written down: one line for each field."""

from __future__ import annotations

import re
from collections.abc import Mapping

from suiro.sandbox.salesforce.fields import DECIMALS, DELETED, REFERENCES, Field, Sobject, label_of

LINE = re.compile(r"(?P<name>\w+) (?P<type>\w+)(?:\((?P<size>[\d,]+)\))?(?P<rest>.*)")
#: Lengths of types that are always the same [REC].
LENGTHS = {"id": 18, "reference": 18, "phone": 40, "email": 80, "url": 255, "picklist": 40}
FLAGS: Mapping[str, Mapping[str, bool]] = {
    "required": {"nillable": False},
    "readonly": {"createable": False, "updateable": False},
    "nocreate": {"createable": False},
    "noupdate": {"updateable": False},
    "nofilter": {"filterable": False, "sortable": False, "groupable": False},
    "nogroup": {"groupable": False},
    "system": {"createable": False, "updateable": False, "nillable": False, "defaulted": True},
    "defaulted": {"nillable": False, "defaulted": True},
    "external": {"external_id": True, "id_lookup": True},
    "lookup": {"id_lookup": True},
    "unique": {"unique": True},
    "exact": {"case_sensitive": True},
    "restricted": {"restricted": True},
    "name": {"name_field": True},
}
#: Types of which no groups can be made [REC].
UNGROUPED = DECIMALS | {"datetime", "address", "location", "base64"}

#: The fields that every object has [REC].
SYSTEM = """
    Id id system lookup
    IsDeleted boolean system =false
"""
AUDIT = """
    CreatedDate datetime system
    CreatedById reference system >User/CreatedBy
    LastModifiedDate datetime system
    LastModifiedById reference system >User/LastModifiedBy
    SystemModstamp datetime system
"""


def fields(text: str, computed: Mapping[str, tuple[str, str | None]] | None = None) -> dict[str, Field]:
    """The fields that the lines of a text declare.

    `Name type(length)` or `Name type(precision,scale)`, then words: those of FLAGS; `@Compound` that it is a part of;
    `>Object/Relationship` that it points to, several objects with `+`; `=default`; `[a|b]` values; `~extraTypeInfo`.
    `computed`: for fields that aren't kept, the SQL over the record `{t}`, and the formula where it is one.
    """
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    return {one.name: one for one in (read_line(line, computed or {}) for line in lines)}


def read_line(line: str, computed: Mapping[str, tuple[str, str | None]]) -> Field:
    """One line of `fields`."""
    match = LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"no field: {line}")
    name, kind, size, rest = match["name"], match["type"], match["size"], match["rest"]
    told: dict[str, object] = {"length": LENGTHS.get(kind, 0), "groupable": kind not in UNGROUPED}
    if size and kind in DECIMALS:
        told["precision"], told["scale"] = map(int, size.split(","))
    elif size and kind == "int":
        told["digits"] = int(size)
    elif size:
        told["length"] = int(size)
    if kind == "boolean":
        told |= {"nillable": False, "defaulted": True, "default": False}
    if kind in ("address", "location", "base64"):
        told |= {"createable": False, "updateable": False, "sortable": False}
    if name == "IsDeleted":
        told["sql"] = DELETED
    if name in computed:
        told["sql"], told["formula"] = computed[name]
    listed = re.search(r"\[(.*)\]", rest)
    if listed:
        told["values"] = tuple(listed[1].split("|"))
        rest = rest.replace(listed[0], "")
    default = re.search(r"='(.*)'", rest)
    if default:
        told["default"], told["defaulted"] = default[1], True
        rest = rest.replace(default[0], "")
    for word in rest.split():
        told |= read_word(word)
    return Field(name=name, type=kind, label=label_of(name), **told)  # type: ignore[arg-type]


def read_word(word: str) -> dict[str, object]:
    """What one word behind a field's type says."""
    match word[0]:
        case "@":
            return {"compound": word[1:]}
        case ">":
            targets, _, relationship = word[1:].partition("/")
            return {"reference_to": tuple(targets.split("+")), "relationship": relationship or None}
        case "~":
            return {"extra": word[1:]}
        case "=":
            return {"default": {"true": True, "false": False}.get(word[1:], word[1:])}
        case _:
            return dict(FLAGS[word])


def sobject(
    name: str,
    prefix: str,
    text: str,
    *,
    plural: str | None = None,
    computed: Mapping[str, tuple[str, str | None]] | None = None,
    queryable: bool = True,
    writable: bool = True,
    bulk: bool = True,
) -> Sobject:
    """An object with the fields of `text` between those that all objects have."""
    label = label_of(name)
    return Sobject(
        name=name,
        label=label,
        plural=plural or f"{label}s",
        prefix=prefix,
        fields=fields(SYSTEM + text + AUDIT, computed),
        queryable=queryable,
        replicateable=queryable,
        writable=writable,
        bulk=bulk,
    )


def checked(found: Sobject) -> Sobject:
    """The object itself. ValueError: a field points at a compound that it hasn't, or its type needs a target."""
    for one in found.fields.values():
        if one.compound and one.compound not in found.fields:
            raise ValueError(f"{found.name}.{one.name} is a part of {one.compound}, which isn't there")
        if one.type in REFERENCES - {"id"} and not one.reference_to:
            raise ValueError(f"{found.name}.{one.name} points nowhere")
    return found
