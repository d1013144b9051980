"""The source suite over declared REST resources: a service that sorts by the cursor, and one that doesn't."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from rest_service import Service, Table
from suiro.spi.connector import ConnectorConfig
from suiro.spi.source import Source
from suiro.testing.source_increments import IncrementTests
from suiro.testing.source_suite import SourceSuite
from suiro.toolkit.http.auth import Open
from suiro.toolkit.http.client import HttpClient
from suiro.toolkit.http.pages import PageNumbers, Paging
from suiro.toolkit.http.resources import Cursor, Resource
from suiro.toolkit.http.rest import RestSource


class Settings(ConnectorConfig):
    """Where the service is."""

    url: str

    def identity(self) -> str:
        return self.url


class TablesSource(RestSource[Settings]):
    """The tables of the small service, as they are when it is asked."""

    service: Service
    paging: Paging
    order: dict[str, str] | None

    def resources(self) -> Sequence[Resource]:
        return [self._resource_of(n, name, table) for n, (name, table) in enumerate(self.service.tables.items())]

    def _resource_of(self, number: int, name: str, table: Table) -> Resource:
        cursor = self.service.cursor(table)
        fits = pa.types.is_integer(table.schema.field(cursor).type) or pa.types.is_temporal(
            table.schema.field(cursor).type
        )
        tick = timedelta(microseconds=1)
        return Resource(
            name=name,
            path=f"/tables/{number}",
            schema=table.schema,
            primary_key=table.key,
            pages=self.paging,
            place=("data",) if self.service.envelope else (),
            cursor=Cursor(field=cursor, param="since", order=self.order, nulls=True, tick=tick) if fits else None,
        )

    def connect(self) -> HttpClient:
        return HttpClient(self.context, base_url=self.config.url, auth=Open(), account="tables")


class _Served:
    """The suites' part of filling the service."""

    envelope: ClassVar[bool] = True
    order: ClassVar[dict[str, str] | None] = {"order": "asc"}
    paging: ClassVar[Paging] = PageNumbers(size=1000, pages=("meta", "pages"), total=("meta", "total"))

    @pytest.fixture(autouse=True)
    def _serve(self, tmp_path: Path) -> Iterator[None]:
        self.service = Service(envelope=self.envelope)
        with self.service.served() as self.url:
            yield

    def make(self) -> Source[Any]:
        source = TablesSource(Settings(url=self.url), self.context())  # type: ignore[attr-defined]
        source.service, source.paging, source.order = self.service, self.paging, self.order
        return source

    def fill(self, name: str, rows: pa.Table, key: tuple[str, ...]) -> None:
        self.service.tables[name] = Table(schema=rows.schema, key=key)
        self.add(name, rows)

    def add(self, name: str, rows: pa.Table) -> None:
        self.service.tables[name].add(rows.to_pylist())


class TestSortingService(_Served, SourceSuite):
    plain_types: ClassVar[tuple[str, ...]] = (
        *("int16", "int32", "int64", "bool", "float64", "decimal 18,2", "decimal 38,0", "decimal 76,40"),
        *("date", "timestamp", "timestamp in UTC", "text", "text with a zero byte", "text of a megabyte"),
    )


class TestServiceInItsOwnOrder(_Served, SourceSuite):
    envelope = False
    order = None
    paging = PageNumbers(size=1000, short_ends=False)
    plain_types = TestSortingService.plain_types


class TestSortingServiceOfSmallPages(_Served, IncrementTests):
    paging = PageNumbers(size=3, pages=("meta", "pages"), total=("meta", "total"))

    def test_every_checkpoint_within_a_read_is_safe_to_resume_at(self) -> None:
        self.paging = PageNumbers(size=60, pages=("meta", "pages"))  # thousands of requests otherwise
        super().test_every_checkpoint_within_a_read_is_safe_to_resume_at()


class TestServiceOfSmallPagesInItsOwnOrder(_Served, IncrementTests):
    envelope = False
    order = None
    paging = PageNumbers(size=3)

    def test_every_checkpoint_within_a_read_is_safe_to_resume_at(self) -> None:
        self.paging = PageNumbers(size=60)
        super().test_every_checkpoint_within_a_read_is_safe_to_resume_at()
