"""What records hold now, found by the values of a field: many keys in few requests.

Sources: "Query" in Salesforce's REST API Developer Guide; IN in its SOQL and SOSL Reference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote_plus

import pyarrow as pa
import pyarrow.compute as pc

from suiro.connectors.salesforce.bulk import Block, Gone, ordered
from suiro.connectors.salesforce.decode import Decoder
from suiro.connectors.salesforce.describe import ID, SYSTEM_TIMES, SObject
from suiro.connectors.salesforce.ids import id_key
from suiro.connectors.salesforce.org import Org
from suiro.connectors.salesforce.query import Pages, batches, count_of, wide_batches
from suiro.connectors.salesforce.soql import LONGEST_URL, Query, literal, name_of
from suiro.model.errors import SuiroError
from suiro.model.types import is_text, logical_base

_SIDE_BY_SIDE: Final = 4  #: requests
_COMMA: Final = len(quote_plus(","))
_MANY: Final = 40  #: requests, from which on it is worth while to have a bulk job read the whole object
_JOB: Final = 10  #: requests that a bulk job takes, beside one for each page
_SHARE: Final = 10  #: records that may be read in vain for each that is wanted


class Lookup:
    """Records of one object whose field `by` is one of some values. `schema`: of the answers."""

    def __init__(self, org: Org, object_: SObject, by: str, schema: pa.Schema) -> None:
        self._org, self._object, self._by, self.schema = org, object_, by, schema
        self._query = Query(object=object_.name, fields=tuple(schema.names))
        found = object_.field(by)
        self._is_id = found is not None and found.type in ("id", "reference")

    def batches(self, keys: pa.Array) -> Iterator[pa.RecordBatch]:
        """The records. Where `by` holds record ids, each is spelled as it was asked for."""
        wanted = pc.drop_null(pc.unique(keys))
        chunks = list(self._chunks(wanted))
        found = self._whole(wanted) if len(chunks) >= _MANY and self._by_job_is_cheaper(wanted, chunks) else None
        if found is None:
            found = self._in_chunks(chunks)
        yield from self._spelled(found, wanted) if self._is_id else found

    # -- by conditions -----------------------------------------------------------------------------------------------

    def _chunks(self, wanted: pa.Array) -> Iterator[str]:
        """Conditions that fit into an address, together with the fields, or with some of them at a time."""
        start = f"{name_of(self._by)} IN ("
        room = LONGEST_URL - len(quote_plus(str(self._query.also(f"{start})"))))
        room = room if room >= LONGEST_URL // 8 else LONGEST_URL // 2
        texts: list[str] = []
        used = 0
        for text in self._literals(wanted):
            length = len(quote_plus(text)) + _COMMA
            if texts and used + length > room:
                yield f"{start}{','.join(texts)})"
                texts, used = [], 0
            texts.append(text)
            used += length
        if texts:
            yield f"{start}{','.join(texts)})"

    def _literals(self, wanted: pa.Array) -> Iterator[str]:
        field = self.schema.field(self._by)
        number = logical_base(field) == "numeric" and is_text(field.type)
        for value in wanted.to_pylist():
            yield literal(Decimal(value) if number else value)

    def _in_chunks(self, chunks: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="suiro-salesforce-present") as pool:
            coming: deque[Future[list[pa.RecordBatch]]] = deque()
            try:
                for chunk in chunks:
                    coming.append(pool.submit(self._chunk, chunk))
                    if len(coming) > _SIDE_BY_SIDE:
                        yield from coming.popleft().result()
                while coming:
                    yield from coming.popleft().result()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _chunk(self, condition: str) -> list[pa.RecordBatch]:
        self._org.context.check_cancelled()
        query, decoder = self._query.also(condition), Decoder(self.schema)
        if query.fits:
            return list(batches(self._org, query, Pages(self._org, query), decoder))
        stamp = next((name for name in SYSTEM_TIMES if self._object.field(name) is not None), None)
        query = replace(query, order=ID)
        return list(wide_batches(self._org, query, stamp, decoder))

    # -- by a job ----------------------------------------------------------------------------------------------------

    def _by_job_is_cheaper(self, wanted: pa.Array, chunks: Sequence[str]) -> bool:
        if self._org.config.api == "rest" or any(
            isinstance(field.type, pa.BaseExtensionType) or pa.types.is_binary(field.type) for field in self.schema
        ):
            return False
        rows = count_of(self._org, self._query)
        if rows is None or rows > _SHARE * len(wanted):
            return False
        return _JOB + rows // self._org.config.page_rows < len(chunks) // 2

    def _whole(self, wanted: pa.Array) -> Iterator[pa.RecordBatch] | None:
        """By way of all records; None where Salesforce takes no job for them."""
        job = ordered(self._org, self._query)
        if isinstance(job, SuiroError):
            return None
        try:
            job.wait()
        except (Gone, SuiroError) as error:
            self._org.context.log.debug("the bulk job %s isn't of use: %s", job.id, error)
            self._org.context.check_cancelled()
            return None
        return self._read(job, wanted)

    def _read(self, job: Any, wanted: pa.Array) -> Iterator[pa.RecordBatch]:
        folds = self._is_id or self._folds()
        keys = wanted
        if self._is_id:
            keys = pa.array([id_key(text) for text in wanted.to_pylist()], pa.string())
        elif folds:
            keys = _folded(wanted)
        decoder = Decoder(self.schema)
        try:
            with job.items(None) as items:
                for item in items:
                    for batch in decoder.batches(item.names, item.rows) if isinstance(item, Block) else ():
                        there = batch.column(self._by)
                        kept = batch.filter(pc.is_in(_folded(there) if folds else there, value_set=keys))
                        if kept.num_rows:
                            yield kept
        finally:
            job.delete()

    def _folds(self) -> bool:
        found = self._object.field(self._by)
        sensitive = found is not None and found.said.get("caseSensitive", False)
        return is_text(self.schema.field(self._by).type) and not sensitive

    # -- ids ---------------------------------------------------------------------------------------------------------

    def _spelled(self, found: Iterator[pa.RecordBatch], wanted: pa.Array) -> Iterator[pa.RecordBatch]:
        """Record ids as they were asked for: in fifteen characters or in eighteen."""
        spellings: dict[str, list[str]] = {}
        for text in wanted.to_pylist():
            spellings.setdefault(id_key(text), []).append(text)
        for batch in found:
            ids = batch.column(self._by).to_pylist()
            asked = [(at, text) for at, id_ in enumerate(ids) for text in spellings.get(id_key(id_), ())]
            if [text for _, text in asked] == ids:
                yield batch
                continue
            taken = batch.take(pa.array([at for at, _ in asked], pa.int64()))
            place = self.schema.get_field_index(self._by)
            yield taken.set_column(place, self.schema.field(place), pa.array([text for _, text in asked], pa.string()))


def _folded(texts: pa.Array) -> pa.Array:
    return pc.utf8_lower(texts)
