"""The suite part for `Checksums` notices a connector that computes another checksum."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import duckdb
import pyarrow as pa
import pytest

from suiro.connectors.duckdb import DuckdbConfig, DuckdbSource
from suiro.connectors.duckdb.checksum import HASH_SQL
from suiro.model.canonical import Form
from suiro.model.naming import split_name
from suiro.model.schema import Stream
from suiro.spi.powers import Hashing
from suiro.testing.source_suite import SourceSuite
from suiro.toolkit.sql.checksum import HashSql
from unit.testing.mutants import mutants, survives


class TrustsTexts(DuckdbSource):
    caught_by = "test_texts_are_hashed_by_their_bytes_and_no_value_imitates_another"
    hash_sql: ClassVar[HashSql] = dataclasses.replace(HASH_SQL, framed=lambda e: e)


class CountsCharacters(DuckdbSource):
    caught_by = "test_texts_are_hashed_by_their_bytes_and_no_value_imitates_another"
    hash_sql: ClassVar[HashSql] = dataclasses.replace(HASH_SQL, framed=lambda e: f"length({e}) || ':' || {e}")


class TakesNullForNothing(DuckdbSource):
    caught_by = "test_texts_are_hashed_by_their_bytes_and_no_value_imitates_another"
    hash_sql: ClassVar[HashSql] = dataclasses.replace(HASH_SQL, framed=lambda e: f"coalesce({e}, '')")


class IgnoresCase(DuckdbSource):
    caught_by = "test_texts_are_hashed_by_their_bytes_and_no_value_imitates_another"
    hash_sql: ClassVar[HashSql] = dataclasses.replace(HASH_SQL, md5=lambda text: f"md5(lower({text}))")


class KeepsZeros(DuckdbSource):
    caught_by = "test_every_row_is_hashed_as_the_definition_says"

    def canonical(self, stream: Stream, column: str, form: Form) -> str | None:
        found = super().canonical(stream, column, form)
        decimal = pa.types.is_decimal(stream.schema.field(column).type)
        return f"CAST({self.dialect.quote(column)} AS VARCHAR)" if decimal else found


class RoundsFloats(DuckdbSource):
    caught_by = "test_every_row_is_hashed_as_the_definition_says"

    def canonical(self, stream: Stream, column: str, form: Form) -> str | None:
        found = super().canonical(stream, column, form)
        return f"CAST({self.dialect.quote(column)} AS VARCHAR)" if form is Form.FLOAT else found


class CountsSeconds(DuckdbSource):
    caught_by = "test_every_row_is_hashed_as_the_definition_says"

    def canonical(self, stream: Stream, column: str, form: Form) -> str | None:
        found = super().canonical(stream, column, form)
        return f"epoch({self.dialect.quote(column)})" if form is Form.MOMENT else found


class HasOtherBuckets(DuckdbSource):
    caught_by = "test_every_row_is_hashed_as_the_definition_says"
    hash_sql: ClassVar[HashSql] = dataclasses.replace(
        HASH_SQL, number=lambda e, digits: f"CAST('0x' || substr({e}, 2, {digits}) AS BIGINT)"
    )


class SortsTheKey(DuckdbSource):
    caught_by = "test_a_key_of_several_columns_and_a_condition"

    def _text(self, hashing: Hashing, columns: Sequence[str]) -> str:
        return super()._text(hashing, sorted(columns) if len(columns) == 2 else columns)


class IgnoresKeys(DuckdbSource):
    caught_by = "test_a_key_of_several_columns_and_a_condition"

    def in_buckets(self, hashing: Hashing, number: int, buckets: Sequence[int], keys: Sequence[str]) -> str:
        return super().in_buckets(hashing, 1, [0], ())


class IgnoresTheCondition(DuckdbSource):
    caught_by = "test_a_key_of_several_columns_and_a_condition"

    def _hashes(self, hashing: Hashing) -> tuple[str, list[object]]:
        selection = dataclasses.replace(hashing.selection, where=None)
        return super()._hashes(dataclasses.replace(hashing, selection=selection))


class MutantSuite(SourceSuite):
    kind: type[DuckdbSource] = DuckdbSource

    def make(self) -> DuckdbSource:
        return self.kind(DuckdbConfig(path=str(self.folder / "s.duckdb")), self.context())

    def fill(self, name: str, rows: pa.Table, key: tuple[str, ...]) -> None:
        self._run(f"CREATE TABLE {_quoted(name)} AS SELECT * FROM rows", rows)

    def add(self, name: str, rows: pa.Table) -> None:
        self._run(f"INSERT INTO {_quoted(name)} SELECT * FROM rows", rows)

    def prepare(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        super().prepare(folder)
        duckdb.connect(str(folder / "s.duckdb")).close()

    def _run(self, sql: str, rows: pa.Table) -> None:
        with closing(duckdb.connect(str(self.folder / "s.duckdb"))) as db:
            db.register("rows", rows)
            db.execute(sql)


def _quoted(name: str) -> str:
    return '"' + split_name(name)[-1].replace('"', '""') + '"'


MUTANTS = mutants(globals())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_source_that_hashes_otherwise_is_caught(mutant: type[DuckdbSource], tmp_path: Path) -> None:
    suite = MutantSuite()
    suite.kind = mutant
    assert not survives(suite, mutant.caught_by, tmp_path)  # type: ignore[attr-defined]


@pytest.mark.parametrize("test", sorted({mutant.caught_by for mutant in MUTANTS}))
def test_the_tests_that_catch_them_let_the_sound_one_pass(test: str, tmp_path: Path) -> None:
    assert survives(MutantSuite(), test, tmp_path)
