"""A SELECT taken apart: the streams it reads, the columns it passes on unchanged, and whether it goes row by row."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import OptimizeError, ParseError, TokenError
from sqlglot.optimizer.scope import Scope, traverse_scope

from suiro.engine.query.text import Text, normal
from suiro.model.place import QueryError

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # what it warns of is refused here, with its place

ROW_FUNCTIONS: Final = frozenset({"generate_series", "range", "unnest"})  #: of DuckDB, that may stand in FROM
_FORBIDDEN: Final = (exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock, exp.Placeholder, exp.Parameter)
_UNSTEADY: Final = (
    *(exp.Anonymous, exp.CurrentTimestamp, exp.CurrentTime, exp.CurrentDate, exp.CurrentDatetime),
    *(exp.Localtime, exp.Localtimestamp, exp.Rand, exp.Randn, exp.Uuid),
    *(exp.Limit, exp.Fetch, exp.Offset, exp.TableSample, exp.Window),
)
_STEADY_SUMS: Final = (exp.Count, exp.Min, exp.Max)
_GLOBAL: Final = (
    (exp.AggFunc, "aggregates"),
    (exp.Group, "aggregates"),
    (exp.Having, "aggregates"),
    (exp.Window, "looks at several rows at a time"),
    (exp.Qualify, "looks at several rows at a time"),
    (exp.Distinct, "leaves out duplicates"),
    (exp.Order, "sorts"),
    (exp.Limit, "takes some rows alone"),
    (exp.Fetch, "takes some rows alone"),
    (exp.Offset, "takes some rows alone"),
    (exp.Join, "joins"),
    (exp.Lateral, "joins"),
    (exp.Pivot, "turns rows into columns"),
    (exp.TableSample, "takes some rows alone"),
    (exp.SetOperation, "puts several queries together"),
    (exp.CTE, "has a query in it"),
    (exp.Subquery, "has a query in it"),
    (exp.Explode, "makes several rows of one"),
    (exp.Unnest, "makes several rows of one"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A stream as the query names it: parts of the name, and from where to where it stands in the text."""

    parts: tuple[str, ...]
    quoted: bool  #: the last part; a plain name's capitals may mean nothing
    alias: str | None
    start: int
    end: int
    outer: bool = True  #: the outermost SELECT reads it, not a query within

    @property
    def called(self) -> str:
        """The name by which columns are qualified."""
        return self.alias or self.parts[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item of the outermost SELECT. `column` where it is a stream's column and nothing more; `star` for `*`."""

    start: int
    end: int
    name: str | None = None
    table: str | None = None
    column: str | None = None
    star: bool = False
    left_out: tuple[str, ...] = ()  #: of a star


class Query:
    """A SELECT that may be run: one statement that reads and does nothing else."""

    def __init__(self, text: Text, dialect: str, tree: exp.Query) -> None:
        self.text, self.dialect = text, dialect
        self._tree = tree
        self.uses = tuple(_uses(text, dialect, tree))
        self.items = tuple(_item(node) for node in tree.selects) if isinstance(tree, exp.Select) else ()

    @property
    def name(self) -> str:
        """What the query is about, in words: its streams."""
        return ", ".join(dict.fromkeys(".".join(use.parts) for use in self.uses)) or "query"

    @property
    def steady(self) -> bool:
        """Whether it surely gives the same rows when asked twice in one snapshot.

        Not so: clocks and chance, functions that aren't known, some rows of many, sums whose order may show.
        """
        return not any(
            isinstance(node, _UNSTEADY) or (isinstance(node, exp.AggFunc) and not isinstance(node, _STEADY_SUMS))
            for node in self._tree.walk()
        )

    def by_rows(self, *, sure: bool) -> QueryError | None:
        """None if each row of the one stream gives its row, or none, by itself; else the error that says why not.

        `sure`: a function that isn't known counts as one that may aggregate.
        """
        if not isinstance(self._tree, exp.Select) or len(self.uses) != 1:
            what = "joins" if isinstance(self._tree, exp.Select) and self.uses else "reads no single stream"
            at = self.uses[1] if len(self.uses) > 1 else None
            return self._whole_only(at.start if at else 0, at.end if at else 6, f"the query {what}")
        for node in self._tree.walk():
            for kind, what in _GLOBAL:
                if isinstance(node, kind):
                    return self._whole_only(*_place(node), f"the query {what} here")
            if sure and isinstance(node, exp.Anonymous):
                return self._whole_only(*_place(node), f"the query calls {node.name}, which may aggregate,")
        return None

    def plain(self, use: Use) -> Iterator[Item]:
        """The items that pass a column of this stream on."""
        if not use.outer or any(isinstance(node, exp.Pivot) for node in self._tree.walk()):
            return
        for item in self.items:
            alone = item.table is None and len(self.uses) == 1
            if (item.column is not None or item.star) and (alone or _same(item.table, use.called)):
                yield item

    def columns_of(self, use: Use, names: Sequence[str]) -> tuple[str, ...]:
        """Of the stream's columns those that the query may need; at least one."""
        called = {node.name.lower() for node in self._tree.find_all(exp.Identifier)}
        called |= {node.name.lower() for node in self._tree.find_all(exp.Column)}
        needed = tuple(name for name in names if name.lower() in called)
        if self._takes_all(use):
            return tuple(names)
        return needed or tuple(names[:1])

    def computed(self, names: Sequence[str]) -> Iterator[tuple[str, int, int]]:
        """Where columns of these names stand in an expression, but for an explicit cast."""
        wanted = {name.lower() for name in names}
        tops = {id(node.unalias()) for node in self._tree.selects} if isinstance(self._tree, exp.Select) else set()
        for node in self._tree.find_all(exp.Column):
            if node.name.lower() in wanted and id(node) not in tops and not isinstance(node.parent, exp.Cast):
                yield node.name, *_place(node)

    def safe_conditions(self) -> Iterator[tuple[str | None, exp.Expr]]:
        """Conditions of WHERE that every system judges alike, with the name that qualifies their columns."""
        where = self._tree.args.get("where") if isinstance(self._tree, exp.Select) else None
        if where is None or any(join.side or join.kind not in ("", "INNER") for join in self._tree.find_all(exp.Join)):
            return
        for condition in where.this.flatten() if isinstance(where.this, exp.And) else [where.this]:
            found = _simple(condition.unnest())
            if found is not None:
                yield found

    def blamed(self, said: str) -> tuple[int, int]:
        """The place of what a system's message names, else the whole first line."""
        for name in _names_in(said):
            for node in self._tree.walk():
                if isinstance(node, exp.Identifier | exp.Func) and _called(node).lower() == name.lower():
                    return _own_place(node)
            found = [match.start() for match in re.finditer(re.escape(name), self.text.text)]
            if len(found) == 1:
                return found[0], found[0] + len(name)
        for name in _names_in(said):
            kind = _OPERATORS.get(name)
            used = next(self._tree.find_all(kind), None) if kind else None
            if used is not None:
                return _place(used)
        return 0, len(self.text.text.split("\n", 1)[0])

    def _takes_all(self, use: Use) -> bool:
        own = {use.called.lower(), use.parts[-1].lower()}
        for node in self._tree.walk():
            if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count):
                return True
            if isinstance(node, exp.Column) and node.name.lower() in own and not node.table:
                return True
            if isinstance(node, exp.Anonymous) and node.name.lower() == "columns":
                return True
            if type(node).__name__ == "Columns" or (isinstance(node, exp.Join) and node.method):
                return True
        return not isinstance(self._tree, exp.Select) or not self._tree.selects

    def _whole_only(self, start: int, end: int, why: str) -> QueryError:
        return self.text.wrong(
            start,
            end,
            f"{why} and can't be read incrementally",
            hint="Read it in full, or leave only columns, expressions and a WHERE over one stream.",
        )


def read_query(text: Text, dialect: str) -> Query:
    """Take a SELECT apart. The error of a wrong one, or of one that does more than read, points at the place."""
    text = normal(text, dialect)
    body = text.text.rstrip().rstrip(";").rstrip()
    lead = len(body) - len(body.lstrip())
    text = text.part(lead, len(body))
    if not text.text:
        raise text.wrong(0, 0, "there is no query", hint="Write SELECT ... FROM ...")
    try:
        found = [tree for tree in sqlglot.parse(text.text, read=dialect) if tree is not None]
    except ParseError as error:
        raise _unparsed(text, error) from error
    except RecursionError as error:
        raise text.wrong(0, 6, "the query is nested too deeply", hint="Write it in fewer levels.") from error
    except TokenError as error:
        raise text.wrong(0, 6, "the query can't be read", hint="Close every quote.") from error
    if len(found) > 1:
        start = text.text.index(";") if text.text.count(";") == 1 else _place(found[1])[0]
        raise text.wrong(start, start + 1, "a second statement begins here", hint="Write one SELECT.")
    tree = found[0]
    word = re.match(r"\w+", text.text)
    if not isinstance(tree, exp.Query):
        what = word[0].upper() if word else "this"
        raise text.wrong(0, word.end() if word else 1, f"{what} isn't a SELECT", hint="Only a SELECT can be read.")
    for node in tree.walk():
        if isinstance(node, _FORBIDDEN):
            start, end = _mark(text.text, node)
            raise text.wrong(start, end, f"{_say(node)} has no place in a query that only reads", hint="Leave it out.")
    return Query(text, dialect, tree)


# -- streams -----------------------------------------------------------------------------------------------------------


def _uses(text: Text, dialect: str, tree: exp.Query) -> Iterator[Use]:
    own = _tables(tree)
    for table in sorted(own, key=lambda node: _place(node)[0]):
        start, end = _place(table)
        if not isinstance(table.this, exp.Identifier):
            name = _called(table.this) if isinstance(table.this, exp.Func) else ""
            if dialect == "duckdb" and name.lower() not in ROW_FUNCTIONS:
                raise text.wrong(
                    start,
                    end,
                    f"{name.lower() or 'this'} can't be read from",
                    hint="After FROM and JOIN stand the connection's streams, and queries in parentheses.",
                )
            continue
        if text.text[start : start + 1] == "'":
            raise text.wrong(
                start,
                end,
                "a text can't be read from",
                hint='Name a stream; names with spaces, dots or signs stand in [brackets] or "quotes".',
            )
        parts = [part for part in (table.args.get("catalog"), table.args.get("db"), table.this) if part is not None]
        yield Use(
            parts=tuple(part.name for part in parts),
            quoted=bool(table.this.args.get("quoted")),
            alias=table.alias or None,
            start=start,
            end=max(_place(part)[1] for part in parts),
            outer=isinstance(table.parent, exp.From | exp.Join) and table.parent.parent is tree,
        )


def _tables(tree: exp.Query) -> list[exp.Table]:
    """The tables that aren't names of the query's own parts."""
    everything = list(tree.find_all(exp.Table))
    try:
        scopes = traverse_scope(tree)
        resolved = {id(s) for scope in scopes for s in scope.sources.values() if isinstance(s, exp.Table)}
        chosen = [pair for scope in scopes for pair in scope.selected_sources.values()]
    except (OptimizeError, KeyError, AttributeError):  # a query stranger than its scopes: go by names alone
        ours = {node.alias.lower() for node in tree.find_all(exp.CTE)}
        return [node for node in everything if node.db or node.name.lower() not in ours]
    bound = {id(node) for node, source in chosen if isinstance(source, Scope)}
    return [node for node in everything if id(node) in resolved or id(node) not in bound]


# -- items -------------------------------------------------------------------------------------------------------------


def _item(node: exp.Expr) -> Item:
    start, end = _place(node)
    inner = node.unalias()
    name = node.alias_or_name or None
    if isinstance(inner, exp.Star) or (isinstance(inner, exp.Column) and isinstance(inner.this, exp.Star)):
        star = inner if isinstance(inner, exp.Star) else inner.this
        changed = star.args.get("replace") or star.args.get("rename")
        left_out = tuple(one.name for one in star.args.get("except_") or star.args.get("except") or ())
        table = inner.table or None if isinstance(inner, exp.Column) else None
        return Item(start=start, end=end, table=table, star=not changed, left_out=left_out)
    if isinstance(inner, exp.Column) and len(inner.parts) <= 2:
        return Item(start=start, end=end, name=name, table=inner.table or None, column=inner.name)
    return Item(start=start, end=end, name=name)


# -- conditions --------------------------------------------------------------------------------------------------------

_COMPARED: Final = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE)


def _simple(condition: exp.Expr) -> tuple[str | None, exp.Expr] | None:
    """A comparison of one column with a whole number, or with NULL; and the column's qualifier."""
    if isinstance(condition, _COMPARED):
        column, value = condition.this, condition.expression
        if isinstance(value, exp.Column):
            column, value = value, column
        fits = _is_number(value)
    elif isinstance(condition, exp.Between):
        column, fits = condition.this, _is_number(condition.args["low"]) and _is_number(condition.args["high"])
    elif isinstance(condition, exp.In):
        column, fits = condition.this, bool(condition.expressions) and all(map(_is_number, condition.expressions))
    else:
        inner = condition.this if isinstance(condition, exp.Not) else condition
        column, fits = inner.this, isinstance(inner, exp.Is) and isinstance(inner.expression, exp.Null)
    if not fits or not isinstance(column, exp.Column) or len(column.parts) > 2:
        return None
    return column.table or None, condition


def _is_number(node: exp.Expr) -> bool:
    inner = node.this if isinstance(node, exp.Neg) else node
    return isinstance(inner, exp.Literal) and inner.is_int


# -- places ------------------------------------------------------------------------------------------------------------

_OPERATORS: Final[dict[str, type[exp.Expr]]] = {
    "+": exp.Add,
    "-": exp.Sub,
    "*": exp.Mul,
    "/": exp.Div,
    "%": exp.Mod,
    "||": exp.DPipe,
    "~~": exp.Like,
}


def _place(node: exp.Expr) -> tuple[int, int]:
    """From where to where the node's words stand in the text."""
    metas = [part.meta for part in node.walk() if "start" in part.meta]
    if not metas:
        parent = node.parent
        return (0, 6) if parent is None else _place(parent)
    return min(meta["start"] for meta in metas), max(meta["end"] for meta in metas) + 1


def _own_place(node: exp.Expr) -> tuple[int, int]:
    """The place of a function's name alone, of a column with its qualifier."""
    if isinstance(node, exp.Func) and "start" in node.meta:
        return node.meta["start"], node.meta["end"] + 1
    return _place(node.parent if isinstance(node.parent, exp.Column) else node)


def _mark(text: str, node: exp.Expr) -> tuple[int, int]:
    """The place of what has no name of its own: a lock, a parameter."""
    marks: dict[type[exp.Expr], str] = {
        exp.Lock: r"\bfor\s+(?:no\s+key\s+)?(?:update|share|key)\b",
        exp.Placeholder: r"\?|:\w+",
        exp.Parameter: r"[$@]\w+",
    }
    found = [match.span() for match in re.finditer(marks.get(type(node), r"(?!)"), text, re.IGNORECASE)]
    return found[0] if len(found) == 1 else _place(node)


def _called(node: exp.Expr) -> str:
    return node.sql_name() if isinstance(node, exp.Func) and not isinstance(node, exp.Anonymous) else node.name


def _say(node: exp.Expr) -> str:
    words: dict[type[exp.Expr], str] = {
        exp.Into: "INTO",
        exp.Lock: "a lock",
        exp.Placeholder: "a parameter",
        exp.Parameter: "a parameter",
    }
    return words.get(type(node)) or type(node).__name__.upper()


def _same(one: str | None, other: str) -> bool:
    return one is not None and one.lower() == other.lower()


def _names_in(said: str) -> list[str]:
    """What a message names, likeliest first: what stands in quotes, or after a colon."""
    text = said.split("\n", 1)[0]
    called = re.findall(r"['\"](\S+?)\(", text) + re.findall(r"(?:Function with name|FUNCTION) ([\w.]+)", text)
    quoted = re.findall(r"\"([^\"]+)\"", text) + re.findall(r"'([^'(]+)'", text)
    after = re.findall(r"(?:column|table|function|of): ([\w.]+)", text) + re.findall(
        r"(?:column|function) ([\w.]+)", text
    )
    found = [*called, *quoted, *after]
    return [name.rsplit(".", 1)[-1] for name in found if name]


def _unparsed(text: Text, error: ParseError) -> QueryError:
    first = error.errors[0]
    lines = text.text.split("\n")
    end = sum(len(line) + 1 for line in lines[: first["line"] - 1]) + first["col"]
    start = max(end - len(first["highlight"] or " "), 0)
    said = re.sub(r" but got <Token.*|<class '[\w.]*?(\w+)'>", lambda found: found[1] or "", str(first["description"]))
    said = {"Invalid expression / Unexpected token": "this can't be understood here"}.get(said, said)
    said = re.sub(r"Required keyword: '\w+' missing for (\w+)", r"something is missing after this (\1)", said)
    return text.wrong(start, end, said[:1].lower() + said[1:], hint="Check the words before and after this place.")
