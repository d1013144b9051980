"""What of a query goes into the source: the whole of it, or for each stream columns and conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlglot import exp

from suiro.engine.query.statement import Query, Use
from suiro.engine.query.text import Text
from suiro.model.errors import ConfigError
from suiro.model.naming import join_name
from suiro.model.schema import Stream
from suiro.spi.powers import OffersQueries, Queries
from suiro.spi.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is asked of one stream: these columns, in its order, of the rows that a condition keeps."""

    use: Use
    stream: Stream
    columns: tuple[str, ...]
    where: str | None = None

    def __str__(self) -> str:
        chosen = "all columns" if len(self.columns) == len(self.stream.schema) else ", ".join(self.columns)
        return f"{self.stream.name}: {chosen}{f' where {self.where}' if self.where else ''}"


def streams_of(query: Query, source: Source[Any]) -> list[Stream]:
    """The streams that the query names, in the order of its uses; a name that is none is pointed at."""
    found: dict[tuple[tuple[str, ...], bool], Stream] = {}
    for use in query.uses:
        if (use.parts, use.quoted) not in found:
            found[use.parts, use.quoted] = _find(query.text, use, source)
    return [found[use.parts, use.quoted] for use in query.uses]


def whole(query: Query, source: OffersQueries, streams: Sequence[Stream]) -> Text:
    """The query as the source runs it: its streams by their whole names."""
    named = zip(query.uses, streams, strict=True)
    edits = [(use.start, use.end, source.sql_name(stream)) for use, stream in named]
    return query.text.edited(edits)


def parts_of(query: Query, source: Source[Any], streams: Sequence[Stream]) -> list[Part]:
    """For each use of a stream what the source does; the conditions stay in the query, too."""
    found = []
    for use, stream in zip(query.uses, streams, strict=True):
        columns = query.columns_of(use, stream.schema.names)
        found.append(Part(use=use, stream=stream, columns=columns, where=_where(query, source, use, stream)))
    return found


def _find(text: Text, use: Use, source: Source[Any]) -> Stream:
    wanted = [use.parts]
    if not use.quoted:
        wanted += [tuple(part.lower() for part in use.parts), tuple(part.upper() for part in use.parts)]
    first: ConfigError | None = None
    for parts in dict.fromkeys(wanted):
        try:
            return source.find(join_name(parts))
        except ConfigError as error:
            first = first or error
    assert first is not None
    raise text.wrong(use.start, use.end, first.message, hint=first.hint) from first


def _where(query: Query, source: Source[Any], use: Use, stream: Stream) -> str | None:
    """The conditions on whole numbers and NULL that concern this stream alone, in the source's SQL."""
    if not isinstance(source, Queries) or not source.sql_dialect:
        return None
    said = []
    for qualifier, condition in query.safe_conditions():
        mine = qualifier is not None and qualifier.lower() == use.called.lower()
        if not mine and not (qualifier is None and len(query.uses) == 1):
            continue
        named = _named(condition, stream)
        if named is not None:
            said.append(named.sql(dialect=source.sql_dialect, identify=True, comments=False))
    return " AND ".join(said) or None


def _named(condition: exp.Expr, stream: Stream) -> exp.Expr | None:
    """The condition with its column as the stream spells it; None unless that is a whole number or asked for NULL."""
    copy = condition.copy()
    for column in copy.find_all(exp.Column):
        alike = [name for name in stream.schema.names if name.lower() == column.name.lower()]
        if len(alike) != 1:
            return None
        null = isinstance(condition.this if isinstance(condition, exp.Not) else condition, exp.Is)
        if not null and not pa.types.is_integer(stream.schema.field(alike[0]).type):
            return None
        column.set("this", exp.to_identifier(alike[0], quoted=True))
        column.set("table", None)
    return copy
