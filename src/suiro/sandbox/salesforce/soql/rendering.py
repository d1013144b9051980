"""Records as JSON text, built by SQL."""

from __future__ import annotations

from dataclasses import dataclass, field

from suiro.sandbox.salesforce.fields import COMPOUNDS, Field
from suiro.sandbox.salesforce.soql.scope import Column, Place, value_sql
from suiro.sandbox.salesforce.values import Part, joined, json_sql


@dataclass(slots=True, kw_only=True)
class Node:
    """What is selected of one record: fields, parents (by relationship), and texts that are JSON already."""

    place: Place
    entries: dict[str, Column | Node | str] = field(default_factory=dict)


def record_sql(node: Node, version: str) -> str:
    """SQL for a record as JSON text."""
    parts = attributes(node.place, version)
    for name, entry in node.entries.items():
        parts.append(f',"{name}":')
        match entry:
            case Column():
                parts.append(Part(sql=field_sql(entry.field, entry.place, version)))
            case Node():
                inner = record_sql(entry, version)
                parts.append(Part(sql=f"CASE WHEN {entry.place.alias}._row IS NULL THEN 'null' ELSE {inner} END"))
            case str():
                parts.append(Part(sql=entry))
    return joined([*parts, "}"])


def attributes(place: Place, version: str) -> list[str | Part]:
    """The record's attributes: type, and url where it has an id."""
    name = place.object.name
    begin = f'{{"attributes":{{"type":"{name}"'
    if "Id" not in place.object.fields:
        return [begin + "}"]
    url = f',"url":"/services/data/v{version}/sobjects/{name}/'
    return [begin + url, Part(sql=f'{place.alias}."Id"'), '"}']


def field_sql(one: Field, place: Place, version: str) -> str:
    """SQL for one field as JSON."""
    if one.type in COMPOUNDS:
        return compound_sql(one, place)
    if one.type == "base64":
        # The blob lies behind a URL [1.2].
        url = f"/services/data/v{version}/sobjects/{place.object.name}/"
        kept = value_sql(one, place.alias)
        whole = joined(['"' + url, Part(sql=f'{place.alias}."Id"'), f'/{one.name}"'])
        return f"CASE WHEN {kept} IS NULL THEN 'null' ELSE {whole} END"
    return json_sql(one, value_sql(one, place.alias))


def compound_sql(compound: Field, place: Place) -> str:
    """SQL for an address or location: an object of its parts, null if all are empty."""
    components = place.object.components(compound)
    if not components:
        return "'null'"
    values = [(key, part, value_sql(part, place.alias)) for key, part in components]
    parts: list[str | Part] = []
    for n, (key, part, value) in enumerate(sorted(values, key=lambda one: one[0])):
        parts += [f'{"," if n else "{"}"{key}":', Part(sql=json_sql(part, value))]
    empty = " AND ".join(f"{value} IS NULL" for _, _, value in values)
    return f"CASE WHEN {empty} THEN 'null' ELSE {joined([*parts, '}'])} END"
