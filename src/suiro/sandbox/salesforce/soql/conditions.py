"""WHERE as SQL."""

from __future__ import annotations

import math
from decimal import Decimal

from suiro.sandbox.salesforce.errors import Refusal
from suiro.sandbox.salesforce.fields import COMPOUNDS, DECIMALS, INTEGERS, REFERENCES, TEXTS, Field
from suiro.sandbox.salesforce.ids import full_id
from suiro.sandbox.salesforce.soql.scope import Column, Scope
from suiro.sandbox.salesforce.soql.tree import Compare, Condition, Kind, Literal_, Not, Several
from suiro.sandbox.salesforce.soql.words import refuse
from suiro.sandbox.salesforce.values import HIGHEST_DIGIT, read_moment

Parameter = int | str | None
BIGGEST = 2**63 - 1
RANGES = ("<", "<=", ">", ">=")


def condition_sql(scope: Scope, condition: Condition, parameters: list[Parameter]) -> str:
    """SQL for a condition; its parameters are added in the order of their marks."""
    match condition:
        case Compare():
            return compare_sql(scope, condition, parameters)
        case Not():
            return f"NOT ifnull({condition_sql(scope, condition.condition, parameters)}, 0)"
        case Several():
            parts = [f"({condition_sql(scope, one, parameters)})" for one in condition.conditions]
            return (" AND " if condition.all else " OR ").join(parts)


def compare_sql(scope: Scope, compare: Compare, parameters: list[Parameter]) -> str:
    """SQL for one comparison. NULL is unequal to every value, and less than none (unverified)."""
    column = scope.column(compare.path)
    one = column.field
    if not one.filterable or one.type in COMPOUNDS:
        raise refuse(
            scope.query.text,
            compare.path.at,
            "INVALID_FIELD",
            f"field '{one.name}' can not be filtered in a query call",
        )
    text = f"{column.sql}{one.collation}"
    match compare.operator:
        case "IN" | "NOT IN":
            return list_sql(scope, column, compare, parameters)
        case "INCLUDES" | "EXCLUDES":
            return choices_sql(scope, column, compare, parameters)
        case "LIKE":
            if one.type not in TEXTS:
                raise unfit(scope, one, compare.values[0], "LIKE needs a text")
            parameters.append(compare.values[0].text)
            return f"{column.sql} LIKE ? ESCAPE '\\'"
    literal = compare.values[0]
    if literal.kind == "null":
        if compare.operator in RANGES:
            raise unfit(scope, one, literal, "null can only be equal or not")
        return f"{text} IS {'NOT ' if compare.operator == '!=' else ''}NULL"
    if one.type in DECIMALS | INTEGERS:
        return number_sql(scope, column, compare.operator, literal, parameters)
    if one.type == "boolean" and compare.operator in RANGES:
        raise unfit(scope, one, literal, "a boolean can only be equal or not")
    parameters.append(bound(scope, one, literal))
    return f"{text} {'IS NOT' if compare.operator == '!=' else compare.operator} ?"


def number_sql(scope: Scope, column: Column, operator: str, literal: Literal_, parameters: list[Parameter]) -> str:
    """A comparison of numbers, exact: the store's are whole numbers of their last place."""
    if literal.kind != "number":
        raise unfit(scope, column.field, literal, "a number is needed")
    wanted = number_of(literal, column.field)
    whole = math.floor(wanted)
    between = whole != wanted
    parameters.append(max(-BIGGEST, min(BIGGEST, whole)))
    if not between:
        return f"{column.sql} {'IS NOT' if operator == '!=' else operator} ?"
    if operator in ("=", "!="):
        return f"{'1' if operator == '!=' else '0'} AND ? IS NOT NULL"
    return f"{column.sql} {'<=' if operator in ('<', '<=') else '>'} ?"


def number_of(literal: Literal_, one: Field) -> Decimal:
    """A number in the field's last place; what no field can hold is as good as any such."""
    number = Decimal(literal.text)
    if number.adjusted() > HIGHEST_DIGIT:
        number = Decimal(10).copy_sign(number).scaleb(HIGHEST_DIGIT)
    return number.scaleb(one.scale)


def list_sql(scope: Scope, column: Column, compare: Compare, parameters: list[Parameter]) -> str:
    """IN and NOT IN."""
    values: list[Parameter] = []
    for literal in compare.values:
        if literal.kind == "null":
            continue
        if column.field.type in DECIMALS | INTEGERS:
            if literal.kind != "number":
                raise unfit(scope, column.field, literal, "a number is needed")
            wanted = number_of(literal, column.field)
            if wanted == math.floor(wanted):
                values.append(max(-BIGGEST, min(BIGGEST, int(wanted))))
        else:
            values.append(bound(scope, column.field, literal))
    parameters.extend(values)
    text = f"{column.sql}{column.field.collation}"
    inside = f"{text} IN ({', '.join('?' * len(values))})"
    if len(values) < len(compare.values) and any(one.kind == "null" for one in compare.values):
        inside = f"({inside} OR {text} IS NULL)"
    return inside if compare.operator == "IN" else f"NOT ifnull({inside}, 0)"


def choices_sql(scope: Scope, column: Column, compare: Compare, parameters: list[Parameter]) -> str:
    """INCLUDES and EXCLUDES: `a;b` means both, several values mean any."""
    if column.field.type != "multipicklist":
        raise unfit(scope, column.field, compare.values[0], "INCLUDES needs a multi-select picklist")
    parts = []
    for literal in compare.values:
        wanted = literal.text.split(";")
        parts.append(" AND ".join([f"instr(';' || {column.sql} || ';', ?) > 0"] * len(wanted)))
        parameters.extend(f";{one};" for one in wanted)
    any_ = " OR ".join(f"({part})" for part in parts)
    return f"({any_})" if compare.operator == "INCLUDES" else f"NOT ifnull({any_}, 0)"


def bound(scope: Scope, one: Field, literal: Literal_) -> Parameter:
    """A literal as the store keeps such values. Refusal INVALID_FIELD: it isn't of the field's kind."""
    wanted: dict[str, Kind] = {"boolean": "boolean", "date": "date", "datetime": "datetime"}
    kind = wanted.get(one.type, "string")
    if literal.kind != kind:
        quoted = "must" if literal.kind != "string" else "should not be enclosed in quotes and must"
        raise unfit(scope, one, literal, f"it {quoted} be a {kind}")
    if one.type in REFERENCES:
        return id_bound(scope, one, literal)
    if kind == "boolean":
        return int(literal.text == "true")
    if kind == "datetime":
        found = read_moment(literal.text)
        if found is None:
            raise unfit(scope, one, literal, "there is no such time")
        return found
    return literal.text


def id_bound(scope: Scope, one: Field, literal: Literal_) -> str:
    """An id with 18 characters; an empty text stays (code unverified)."""
    found = full_id(literal.text) if literal.text else ""
    if found is None:
        raise refuse(scope.query.text, literal.at, "INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {literal.text}")
    return found


def unfit(scope: Scope, one: Field, literal: Literal_, why: str) -> Refusal:
    """A value that can't be compared with a field (wording unverified)."""
    return refuse(
        scope.query.text,
        literal.at,
        "INVALID_FIELD",
        f"value of filter criterion for field '{one.name}' must be of type {one.type}: {why}",
    )
