"""Salesforce as an application that takes rows back: in collections of records, or in bulk jobs along a journal."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from suiro.connectors.salesforce.composite import Collections
from suiro.connectors.salesforce.config import SalesforceConfig
from suiro.connectors.salesforce.describe import ID, Descriptions
from suiro.connectors.salesforce.facts import Described, described_for_writing
from suiro.connectors.salesforce.ids import id_key
from suiro.connectors.salesforce.journaled import NoJobs, Sending
from suiro.connectors.salesforce.org import Org
from suiro.connectors.salesforce.present import Lookup
from suiro.connectors.salesforce.wire import Written
from suiro.model.errors import ConfigError, InternalError, TransientError
from suiro.model.schema import Json
from suiro.model.types import is_text
from suiro.model.writeback import Action, ObjectFacts, Order, Outcome, RowResult
from suiro.spi.application import Application, Journal
from suiro.spi.context import Context

FEW: Final = 2_000  #: rows that go in collections, 200 at a time; more go in a bulk job
MOST: Final = 50_000  #: rows of one batch
_OPTIONS: Final = frozenset({"bulk_from"})
_WRITABLE: Final = ("createable", "updateable", "deletable")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lanes:
    """The ways that the rows of a batch go, and answers for those that go none."""

    answers: list[RowResult]
    by_jobs: list[int]
    by_collections: list[int]


class SalesforceApplication(Application[SalesforceConfig]):
    """Objects that the user may change.

    Inserts go in Bulk API 2.0 jobs, whatever their number; updates, upserts and deletes in collections, from more than
    `FEW` rows on in jobs. Rows of one batch that share a key are refused. Options of an order: `bulk_from`, the number
    of rows from which on jobs are used.
    """

    def __init__(self, config: SalesforceConfig, context: Context) -> None:
        super().__init__(config, context)
        self._org = Org(config, context)
        self._descriptions = Descriptions(self._org)
        self._described: dict[str, Described] = {}

    def check(self) -> None:
        self._descriptions.forget()
        if not self.objects():
            raise ConfigError(
                "the sign-in works, but this user may change no objects",
                hint="Let the administrator give the user the right to create, edit or delete, by a permission set.",
            )

    def objects(self) -> Sequence[str]:
        listed = self._descriptions.listed()
        return [name for name in self._descriptions.names() if any(listed[name].get(right) for right in _WRITABLE)]

    def describe(self, object_: str) -> tuple[ObjectFacts, pa.Schema]:
        """`external_id`: fields that Salesforce calls an external id or an id lookup, but for the record's own id.

        References can be told by such a field of the record that they lead to, as `Owner.Email`.
        """
        self._descriptions.forget()
        self._described.clear()
        found = self._known(object_)
        return found.facts, found.types

    def most_rows(self, order: Order) -> int:
        return MOST

    def present(self, object_: str, by: str, keys: pa.Array, fields: Sequence[str]) -> Iterator[pa.RecordBatch]:
        found = self._known(object_)
        schema = pa.schema([found.types.field(name) for name in dict.fromkeys([by, ID, *fields])])
        yield from Lookup(self._org, found.object, by, schema).batches(keys)

    def apply(self, order: Order, rows: pa.RecordBatch, journal: Journal) -> Iterator[RowResult]:
        found = self._known(order.object)
        many = _checked(order, rows, found)
        written = Written(found.object.name, rows, found.relations)
        lanes = _lanes(order, found, written, jobs=written.count >= many or bool(journal.notes()))
        yield from lanes.answers
        if lanes.by_jobs:
            sending = Sending(self._org, order, written, journal, frozenset(found.facts.fields))
            answered: set[int] = set()
            try:
                for result in sending.results(lanes.by_jobs, FEW):
                    answered.add(result.row)
                    yield result
            except NoJobs as no:
                yield from self._without_jobs(order, [row for row in lanes.by_jobs if row not in answered], no, lanes)
            lanes.by_collections.extend(sending.waiting)
        if lanes.by_collections:
            yield from Collections(self._org, order, written).results(sorted(lanes.by_collections))

    def close(self) -> None:
        self._org.close()

    def _without_jobs(self, order: Order, rows: list[int], no: NoJobs, lanes: _Lanes) -> Iterator[RowResult]:
        """What becomes of rows that Salesforce takes no job for."""
        if isinstance(no.why, TransientError):
            raise no.why
        if order.action is not Action.INSERT:
            self.context.log.info("Salesforce takes no bulk job (%s): rows go by 200", no.why.message)
            lanes.by_collections.extend(rows)
            return
        why = f"new records go in bulk jobs only, and Salesforce takes none: {no.why.message}"
        yield from (RowResult(row=row, outcome=Outcome.UNPROCESSED, message=why) for row in rows)

    def _known(self, object_: str) -> Described:
        if object_ not in self._described:
            names = self.objects()
            exact = next((name for name in names if name.lower() == object_.lower()), None)
            if exact is None:
                near = difflib.get_close_matches(object_, names, n=5, cutoff=0.4) or names[:5]
                raise ConfigError(
                    f"there is no object {object_!r} that this user may change",
                    hint=f"Objects are, for example: {', '.join(near)}." if near else "This user may change none.",
                )
            self._described[object_] = described_for_writing(self._descriptions, self._descriptions.described(exact))
        return self._described[object_]


def _checked(order: Order, rows: pa.RecordBatch, found: Described) -> int:
    """Refuse orders that can't be carried out; how many rows are for bulk jobs."""
    facts = found.facts
    if order.action not in facts.actions:
        raise ConfigError(
            f"{facts.name} takes no {order.action} with these credentials",
            hint="Let the administrator give the user the right, by a permission set.",
        )
    for field in rows.schema:
        if field.name not in found.types.names or found.types.field(field.name).type != field.type:
            raise InternalError(f"{facts.name} has no field {field.name} of type {field.type}")
    by = _key(order)
    if by is not None and by not in rows.schema.names:
        raise InternalError(f"an order to {order.action} came without {by}")
    if order.action is Action.UPSERT and (by is None or not facts.fields[by].external_id):
        raise ConfigError(f"{by} is no external id of {facts.name}", hint="Choose a field that is one.")
    return _many(order.options or {})


def _many(options: Mapping[str, Json]) -> int:
    strange = next((name for name in options if name not in _OPTIONS), None)
    if strange is not None:
        raise ConfigError(
            f"Salesforce has no option {strange!r} for write-backs", hint=f"Options are: {', '.join(sorted(_OPTIONS))}."
        )
    many = options.get("bulk_from", FEW + 1)
    if not isinstance(many, int) or isinstance(many, bool) or many < 1:
        raise ConfigError("bulk_from must be a number of rows, 1 or more", hint=f"Leave it out for {FEW + 1}.")
    return many


def _key(order: Order) -> str | None:
    """The field that says which record is meant."""
    match order.action:
        case Action.UPDATE | Action.DELETE:
            return ID
        case Action.UPSERT:
            return order.by
    return None


def _lanes(order: Order, found: Described, written: Written, *, jobs: bool) -> _Lanes:
    """Which rows go which way. Those that CSV can't say go in collections, unless they are new records."""
    answers = {row: _refused(row, why, field) for row, (why, field) in written.wrong.items()}
    by = _key(order)
    if by is not None:
        fold = is_text(found.types.field(by).type) and not found.facts.fields[by].case_sensitive
        answers |= _badly_keyed(by, written.column(by).texts.to_pylist(), fold=fold)
    if order.action is Action.DELETE:
        answers |= _of_others(written.column(ID).texts.to_pylist(), found)
    jobs = jobs or order.action is Action.INSERT
    apart: list[int] = []
    for row, (why, field) in written.not_for_jobs().items() if jobs else ():
        if order.action is Action.INSERT:
            answers.setdefault(row, _refused(row, why, field))
        elif row not in answers:
            apart.append(row)
    others = set(apart)
    rest = [row for row in range(written.count) if row not in answers and row not in others]
    return _Lanes(answers=list(answers.values()), by_jobs=rest if jobs else [], by_collections=apart if jobs else rest)


def _badly_keyed(by: str, keys: Sequence[Any], *, fold: bool) -> dict[int, RowResult]:
    """Rows without a key, and those that share one: Salesforce would refuse, lose or order them by its own lights."""
    places: dict[str, list[int]] = {}
    answers = {}
    for row, key in enumerate(keys):
        if key is None:
            answers[row] = _refused(row, f"{by} is empty, so that no record is meant", by)
        else:
            places.setdefault(id_key(key) if by == ID else key.lower() if fold else key, []).append(row)
    for alike in places.values():
        if len(alike) > 1:
            why = f"{len(alike)} rows of one batch have this {by}, so none of them is sent"
            answers |= {row: _refused(row, why, by, "DUPLICATE_KEY") for row in alike}
    return answers


def _of_others(ids: Sequence[str | None], found: Described) -> dict[int, RowResult]:
    """Rows with ids of another object: a delete in a collection doesn't say which object is meant."""
    prefix, name = found.object.said.get("keyPrefix"), found.object.name
    why = f"an id of another object: those of {name} begin with {prefix}"
    strange = [row for row, id_ in enumerate(ids) if prefix and id_ is not None and not id_.startswith(prefix)]
    return {row: _refused(row, why, ID) for row in strange}


def _refused(row: int, why: str, field: str | None, code: str = "NOT_SENT") -> RowResult:
    fields = () if field is None else (field,)
    return RowResult(row=row, outcome=Outcome.REFUSED, code=code, message=why, fields=fields)
