"""Deletes in a log: rows that are in the recycle bin, and the ids that Salesforce's own log of deletes tells.

Source: "Get Deleted" in Salesforce's REST API Developer Guide, "getDeleted()" in its SOAP API Developer Guide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa

from suiro.connectors.salesforce.describe import ID, MOMENT
from suiro.connectors.salesforce.extent import Extent
from suiro.connectors.salesforce.org import Org
from suiro.model.change import OP, SEQ, Change, Rows
from suiro.model.errors import ConfigError, DataError, ResyncRequired

KEPT: Final = timedelta(days=15)  #: how long Salesforce knows of deletes
_LEAST: Final = timedelta(minutes=1)  #: that can be asked for
_BATCH: Final = 50_000


class Deleted:
    """The deletes since a position. `known`: until when they are, once `changes` came to its end."""

    def __init__(self, org: Org, extent: Extent) -> None:
        self._org, self._extent = org, extent
        if extent.since is None:
            self.known = min(extent.until or extent.now, extent.now).replace(second=0, microsecond=0)
            return
        told = extent.since.get("deletes")
        if not isinstance(told, str):
            raise ResyncRequired(
                f"deletes of {extent.described.name} were not followed until now",
                hint="Resync the task, so that rows deleted meanwhile go, too.",
            )
        self.known = datetime.fromisoformat(told)

    def changes(self) -> Iterator[Change]:
        """Rows of the deleted ids, nothing else in them. ResyncRequired where Salesforce has forgotten some."""
        if self._extent.since is None:
            return
        now = self._extent.now
        if now - self.known >= KEPT:
            raise self._forgotten(now - KEPT)
        end = now
        while end - self.known >= _LEAST:
            start, said = self.known, self._asked(self.known, end)
            if said is None:
                end = self._sooner(start, end)
                continue
            earliest = _moment(said["earliestDateAvailable"])
            if earliest is not None and earliest > start:
                raise self._forgotten(earliest)
            yield from self._rows(said["deletedRecords"], start)
            covered = _moment(said["latestDateCovered"])
            if covered is None or covered <= start:
                return  # Salesforce knows no later ones yet
            self.known = covered
            if end == now:
                return
            end = now

    def _sooner(self, start: datetime, end: datetime) -> datetime:
        """The end of the first half of a time of whole minutes. DataError where there is none."""
        half = (start + (end - start) / 2).replace(second=0, microsecond=0)
        if half - start < _LEAST:
            raise DataError(
                f"more records of {self._extent.described.name} were deleted within a minute or two than Salesforce "
                "tells at once",
                hint="Resync the task.",
            )
        return half

    def _asked(self, start: datetime, end: datetime) -> Mapping[str, Any] | None:
        """What Salesforce tells of these minutes; None where it is too much for one answer."""
        params = {"start": _written(start), "end": _written(end)}
        path = self._org.path(f"sobjects/{self._extent.described.name}/deleted/")
        answer = self._org.ask("GET", path, params=params, allow={400})
        if answer.status == 400:
            if self._org.code(answer) == "EXCEEDED_ID_LIMIT":
                return None
            raise self._org.refusal("GET deleted", answer)
        said: Mapping[str, Any] = answer.json()
        return said

    def _rows(self, told: list[Mapping[str, str]], start: datetime) -> Iterator[Rows]:
        """Salesforce counts whole minutes, and tells of some before the start again."""
        found = [(one["id"], _moment(one["deletedDate"])) for one in told]
        fresh = [(id_, at) for id_, at in found if at is None or at >= start]
        selection = self._extent.selection
        for first in range(0, len(fresh), _BATCH):
            part = fresh[first : first + _BATCH]
            ids = pa.array([id_ for id_, _ in part], pa.string())
            arrays = [
                ids if name == ID else pa.nulls(len(part), selection.stream.schema.field(name).type)
                for name in selection.columns
            ]
            schema = pa.schema([selection.stream.schema.field(name) for name in selection.columns])
            batch = pa.RecordBatch.from_arrays(arrays, schema=schema)
            moments = pa.array([at or start for _, at in part], MOMENT)
            yield Rows(selection.stream.name, marked(batch, pa.repeat("d", len(part)), moments))

    def _forgotten(self, earliest: datetime) -> ResyncRequired:
        name = self._extent.described.name
        return ResyncRequired(
            f"deletes of {name} are known until {self.known:%Y-%m-%d %H:%M} UTC, and Salesforce tells of none before "
            f"{earliest:%Y-%m-%d %H:%M}",
            hint="Resync the task, and run it at least once in two weeks.",
        )


def marked(batch: pa.RecordBatch, ops: pa.Array, moments: pa.Array) -> pa.RecordBatch:
    """The rows as a log has them: what was done, and bytes that sort by when."""
    micros = moments.cast(pa.int64()).to_numpy(zero_copy_only=False)
    sorts = np.ascontiguousarray(micros.astype(">i8")).view(np.uint8) ^ np.tile(_SIGN, len(micros))
    seq = pa.Array.from_buffers(pa.binary(8), len(micros), [None, pa.py_buffer(sorts.tobytes())]).cast(pa.binary())
    return batch.append_column(OP, ops).append_column(SEQ, seq)


_SIGN: Final = np.array([0x80, 0, 0, 0, 0, 0, 0, 0], np.uint8)


def check_columns(extent: Extent) -> None:
    """ConfigError where deletes couldn't be told."""
    if ID not in extent.selection.columns:
        raise ConfigError(
            f"a log of {extent.described.name} needs the column {ID}, by which deletes are told",
            hint=f"Add {ID} to the columns.",
        )


def _moment(text: str | None) -> datetime | None:
    return None if not text else datetime.fromisoformat(text).astimezone(UTC)


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
