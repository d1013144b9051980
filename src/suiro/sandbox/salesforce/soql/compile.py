"""Queries as SQL: which records, and what is told of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suiro.sandbox.salesforce.errors import Refusal
from suiro.sandbox.salesforce.fields import COMPOUNDS, DECIMALS, Sobject
from suiro.sandbox.salesforce.org import Org
from suiro.sandbox.salesforce.soql.conditions import Parameter, condition_sql
from suiro.sandbox.salesforce.soql.rendering import Node, field_sql, record_sql
from suiro.sandbox.salesforce.soql.scope import Column, Place, Scope
from suiro.sandbox.salesforce.soql.tree import Aggregate, Everything, Grouped, Order, Path, Query
from suiro.sandbox.salesforce.soql.words import refuse
from suiro.sandbox.salesforce.values import CsvStyle, Part, csv_part, joined, json_sql

FIELDS_LIMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """One query in SQL: `SELECT record source WHERE where order`."""

    object: Sobject
    record: str  #: one record as JSON text
    record_parameters: tuple[Parameter, ...]
    source: str
    where: str
    where_parameters: tuple[Parameter, ...]
    order: str  #: with LIMIT and OFFSET
    groups: bool = False  #: records are results of aggregates
    counts: bool = False  #: only how many there are is asked for
    children: tuple[ChildPart, ...] = ()
    columns: tuple[Column, ...] = ()  #: selected fields, for CSV
    names: tuple[str, ...] = ()  #: as CSV heads them

    def rows_sql(self) -> str:
        """The numbers of the records, in order."""
        return f"SELECT t._row {self.source} WHERE {self.where} {self.order}"

    def records_sql(self) -> str:
        """Records by their numbers, given as a JSON array after `record_parameters`."""
        return f"SELECT t._row, {self.record} {self.source} WHERE t._row IN (SELECT value FROM json_each(?))"

    def groups_sql(self) -> str:
        """All results of aggregates."""
        return f"SELECT {self.record} {self.source} WHERE {self.where} {self.order}"

    def csv_rows_sql(self, style: CsvStyle) -> str:
        """Lines of CSV, all values quoted."""
        parts: list[str | Part] = []
        for n, column in enumerate(self.columns):
            parts += [f'"{style.delimiter}"' if n else '"', csv_part(column.field, column.sql, style)]
        parts.append(f'"{style.line_end}')
        return f"SELECT {joined(parts)} {self.source} WHERE {self.where} {self.order}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildPart:
    """A child query: how to go on with it for one parent."""

    compiled: Compiled
    link: str  #: SQL of the child's field that points to the parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How a query is to be answered."""

    version: str
    cursor: str = ""  #: that the answer's next pages are told by
    deleted: bool = False  #: deleted records too
    page_rows: int = 2000  #: of children


def compile_query(org: Org, query: Query, ways: Ways) -> Compiled:
    """A query in SQL. Refusal: INVALID_TYPE, INVALID_FIELD, MALFORMED_QUERY."""
    found = org.find(query.object)
    if found is None or not found.queryable:
        raise refuse(query.text, query.object_at, "INVALID_TYPE", f"sObject type '{query.object}' is not supported.")
    return Compiling(org, query, ways, Place(object=found, alias="t")).run()


class Compiling:
    """Compiles one query."""

    def __init__(self, org: Org, query: Query, ways: Ways, root: Place) -> None:
        self._org, self._query, self._ways, self._root = org, query, ways, root
        self._scope = Scope(org=org, query=query, root=root)
        self._node = Node(place=root)
        self._columns: dict[str, Column] = {}
        self._children: list[ChildPart] = []
        self._record_parameters: list[Parameter] = []

    def run(self, extra: str = "") -> Compiled:
        query = self._query
        groups = bool(query.group_by) or any(isinstance(one, Aggregate) for one in query.select)
        counts = groups and self._counts()
        if groups:
            record, tail = self._grouped()
        else:
            for one in query.select:
                self._select(one)
            record, tail = record_sql(self._node, self._ways.version), ""
        parameters: list[Parameter] = []
        where = [extra] if extra else []
        if not self._ways.deleted:
            where.append(f"{self._root.alias}._deleted = 0")
        if query.where is not None:
            where.append(f"({condition_sql(self._scope, query.where, parameters)})")
        if self._org.unseen_until and self._org.milliseconds() < self._org.unseen_until:
            where.append(f"{self._root.alias}._visible <= {self._org.milliseconds()}")
        return Compiled(
            object=self._root.object,
            record=record,
            record_parameters=tuple(self._record_parameters),
            order=f"{tail}{self._order(groups)}",
            source=self._scope.source,
            where=" AND ".join(where) or "1",
            where_parameters=tuple(parameters),
            groups=groups,
            counts=counts,
            children=tuple(self._children),
            columns=tuple(self._columns.values()),
            names=tuple(self._columns),
        )

    # --- records ---

    def _select(self, one: Path | Grouped | Aggregate | Everything | Query) -> None:
        match one:
            case Path():
                self._add(one)
            case Query():
                self._child(one)
            case Everything():
                self._everything(one)
            case Grouped():
                self._refuse(one.path.at, f"unexpected token: '{one.alias}'")
            case Aggregate():
                raise AssertionError("queries with aggregates have groups")

    def _add(self, path: Path) -> None:
        column = self._scope.column(path)
        steps = self._scope.steps(path)
        node, place = self._node, self._root
        for depth, step in enumerate(steps[:-1], 1):
            place = self._scope.parent(path, steps[:depth])
            name = next((name for name in node.entries if name.lower() == step.lower()), step)
            entry = node.entries.setdefault(name, Node(place=place))
            assert isinstance(entry, Node)
            node = entry
        if column.field.name in node.entries:
            self._refuse(path.at, f"duplicate field selected: {column.field.name}")
        node.entries[column.field.name] = column
        self._columns[".".join([*steps[:-1], column.field.name])] = column

    def _everything(self, one: Everything) -> None:
        if self._query.limit is None or self._query.limit > FIELDS_LIMIT:
            self._refuse(one.at, f"The SOQL FIELDS function must have a LIMIT of at most {FIELDS_LIMIT}")
        for found in self._root.object.fields.values():
            wanted = one.which == "ALL" or found.custom == (one.which == "CUSTOM")
            if wanted and not self._org.hidden(self._root.object, found):
                self._add(Path(names=(found.name,), at=one.at))

    def _child(self, query: Query) -> None:
        found = self._org.children(self._root.object).get(query.object.lower())
        if found is None:
            raise refuse(
                query.text,
                query.object_at,
                "INVALID_TYPE",
                f"Didn't understand relationship '{query.object}' in FROM part of query call.",
            )
        if query.offset is not None or query.group_by:
            self._refuse(query.at, "a child query can't have OFFSET or GROUP BY")
        number = len(self._children)
        place = Place(object=found[0], alias=f"c{number}_")
        link = f'{place.alias}."{found[1].name}"'
        inner = Compiling(self._org, query, self._ways, place).run(f'{link} = t."Id"')
        if inner.groups:
            self._refuse(query.at, "a child query can't have aggregates")
        self._children.append(ChildPart(compiled=inner, link=link))
        self._node.entries[query.object] = self._child_sql(inner, number)

    def _child_sql(self, inner: Compiled, number: int) -> str:
        """SQL for the first page of a record's children, null if there are none (unverified)."""
        page = self._ways.page_rows
        listed = f"SELECT {inner.record} AS record {inner.source} WHERE {inner.where} {inner.order}"
        records = f"(SELECT group_concat(record, ',') FROM (SELECT record FROM ({listed}) LIMIT {page}))"
        count = f"(SELECT count(*) FROM (SELECT 1 {inner.source} WHERE {inner.where} {inner.order}))"
        url = f'false,"nextRecordsUrl":"/services/data/v{self._ways.version}/query/{self._ways.cursor}-c{number}-'
        more = joined([url, Part(sql="t._row"), f'-{page}"'])
        done = Part(sql=f"CASE WHEN n > {page} THEN {more} ELSE 'true' END")
        self._record_parameters += [*inner.record_parameters, *inner.where_parameters, *inner.where_parameters]
        whole = joined(['{"totalSize":', Part(sql="n"), ',"done":', done, ',"records":[', Part(sql=records), "]}"])
        return f"(SELECT CASE n WHEN 0 THEN 'null' ELSE {whole} END FROM (SELECT {count} AS n))"

    # --- groups ---

    def _counts(self) -> bool:
        first = self._query.select[0]
        bare = isinstance(first, Aggregate) and first.path is None
        if bare and (len(self._query.select) > 1 or self._query.group_by):
            self._refuse(self._query.at, "COUNT() must be alone")
        return bare

    def _grouped(self) -> tuple[str, str]:
        """A result's JSON and GROUP BY."""
        keys = [self._scope.column(path) for path in self._query.group_by]
        for key, path in zip(keys, self._query.group_by, strict=True):
            if not key.field.groupable:
                self._refuse(path.at, f"field '{key.field.name}' can not be grouped in a query call", "INVALID_FIELD")
        parts: list[str | Part] = ['{"attributes":{"type":"AggregateResult"}']
        unnamed = 0
        for one in self._query.select:
            if isinstance(one, Aggregate):
                name = one.alias or f"expr{unnamed}"
                unnamed += one.alias is None
                parts += [f',"{name}":', Part(sql=self._aggregate(one, as_json=True))]
            elif isinstance(one, Path | Grouped):
                path = one.path if isinstance(one, Grouped) else one
                column = self._scope.column(path)
                if column not in keys:
                    self._refuse(path.at, f"Field must be grouped or aggregated: {column.field.name}")
                name = (one.alias if isinstance(one, Grouped) else None) or column.field.name
                parts += [f',"{name}":', Part(sql=field_sql(column.field, column.place, self._ways.version))]
            else:
                self._refuse(self._query.at, "a query with groups has fields and aggregates only")
        tail = f"GROUP BY {', '.join(key.sql + key.field.collation for key in keys)} " if keys else ""
        return joined([*parts, "}"]), tail

    def _aggregate(self, one: Aggregate, *, as_json: bool) -> str:
        """SQL for an aggregate's value, or its JSON."""
        if one.path is None:
            return "count(*)"
        column = self._scope.column(one.path)
        found, value = column.field, column.sql
        if found.type in COMPOUNDS or (one.function in ("SUM", "AVG") and found.type not in DECIMALS | {"int", "long"}):
            self._refuse(one.at, f"field {found.name} does not support aggregate operator {one.function}")
        match one.function:
            case "COUNT":
                return f"count({value})"
            case "COUNT_DISTINCT":
                return f"count(DISTINCT {value}{found.collation})"
            case "AVG":
                average = f"avg({value}) / {10**found.scale}.0"
                return f"ifnull(CAST({average} AS TEXT), 'null')" if as_json else average
            case "SUM" | "MIN" | "MAX":
                result = f"{one.function}({value})"
                return json_sql(found, result) if as_json else result
            case _:
                raise AssertionError(one.function)

    # --- order ---

    def _order(self, groups: bool) -> str:
        query = self._query
        keys = [self._ordered(one) for one in query.order_by]
        if not groups:
            keys.append(f"{self._root.alias}._row")
        parts = [f"ORDER BY {', '.join(keys)}"] if keys else []
        if query.limit is not None or query.offset is not None:
            parts.append(f"LIMIT {-1 if query.limit is None else query.limit} OFFSET {query.offset or 0}")
        return " ".join(parts)

    def _ordered(self, one: Order) -> str:
        direction = f"{'DESC' if one.descending else 'ASC'} NULLS {'LAST' if one.nulls_last else 'FIRST'}"
        if isinstance(one.item, Aggregate):
            return f"{self._aggregate(one.item, as_json=False)} {direction}"
        column = self._scope.column(one.item)
        if not column.field.sortable:
            name = column.field.name
            self._refuse(one.item.at, f"field '{name}' can not be sorted in a query call", "INVALID_FIELD")
        return f"{column.sql}{column.field.collation} {direction}"

    def _refuse(self, at: int, message: str, code: str = "MALFORMED_QUERY") -> None:
        raise refuse(self._query.text, at, code, message)


def refuse_in_bulk(query: Query, compiled: Compiled) -> None:
    """Refusal: a bulk query can't have such parts [1.4; the code of the refusals unverified]."""
    aggregated = compiled.groups or any(isinstance(one, Aggregate | Grouped) for one in query.select)
    reasons: Sequence[tuple[bool, str]] = (
        (aggregated, "Aggregate functions and GROUP BY not supported in Bulk Query"),
        (query.offset is not None, "OFFSET not supported in Bulk Query"),
        (any(isinstance(one, Query) for one in query.select), "Nested queries not supported in Bulk Query"),
        (any(isinstance(one, Everything) for one in query.select), "FIELDS() not supported in Bulk Query"),
        (
            any(column.field.type in COMPOUNDS for column in compiled.columns),
            "Selecting compound data not supported in Bulk Query",
        ),
        (
            any(column.field.type == "base64" for column in compiled.columns),
            "Binary fields not supported in Bulk Query",
        ),
    )
    for refused, message in reasons:
        if refused:
            raise Refusal(400, "API_ERROR", message)
