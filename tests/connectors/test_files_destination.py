"""The files destination: the conformance suite for Parquet and CSV, and what is special about files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from deaths import SELDOM, STRIDE
from suiro.connectors.files import FilesConfig, FilesDestination
from suiro.model.errors import ConfigError, UserError
from suiro.model.job import TaskKey
from suiro.model.schema import Table
from suiro.model.selection import WriteMode, WriteSpec
from suiro.model.types import storage
from suiro.spi.destination import Destination, Marker, Published
from suiro.testing.context import LocalContext
from suiro.testing.destination_suite import DestinationSuite
from suiro.toolkit.files import forms
from suiro.toolkit.files.names import file_stem


class FolderSuite(DestinationSuite):
    """The suite in a folder of this machine; subclasses choose the format and read it without Suiro."""

    settings_of_files: ClassVar[dict[str, Any]] = {}
    __test__ = False

    @property
    def tables(self) -> Path:
        return self.folder / "tables"

    def make(self) -> Destination[Any]:
        return FilesDestination(FilesConfig(location=str(self.tables), **self.settings_of_files), self.context())

    def files_of(self, table: str) -> list[Path]:
        stem = file_stem(table)
        there = [path for path in self.tables.glob("*") if path.name.split(".")[0] == stem] if stem else []
        return sorted(file for path in there for file in (path.glob("*") if path.is_dir() else [path]))

    def read(self, table: str) -> pa.Table | None:
        files = self.files_of(table)
        if not files:
            return None
        tables = [self.read_file(path) for path in files]
        found = self.open().inspect(table)
        assert found is not None
        return pa.concat_tables([self.as_table(t, found.schema) for t in tables])

    def read_file(self, path: Path) -> pa.Table:
        raise AssertionError("subclasses read files")

    def as_table(self, rows: pa.Table, schema: pa.Schema) -> pa.Table:
        """A file's rows as those of the table: what it lacks is NULL, what is narrower is widened."""
        columns = [
            self._column(rows, f) if f.name in rows.column_names else pa.nulls(len(rows), f.type) for f in schema
        ]
        return pa.table(columns, schema=schema)

    def _column(self, rows: pa.Table, field: pa.Field) -> pa.ChunkedArray:
        column = rows.column(field.name)
        return column if column.type == field.type else column.cast(storage(field.type))

    def drop(self, table: str) -> None:
        for path in self.files_of(table):
            path.unlink()
        shutil.rmtree(self.tables / file_stem(table), ignore_errors=True)

    def leftovers(self) -> Sequence[str]:
        staging = self.tables / ".suiro" / "staging"
        return sorted(str(path.relative_to(staging)) for path in staging.rglob("*"))

    def lose_lease(self, destination: Destination[Any]) -> None:
        assert isinstance(destination, FilesDestination)
        for lease in destination._leases.values():
            lease.release()


class TestParquetFiles(FolderSuite):
    __test__ = True
    stride = STRIDE
    settings_of_files: ClassVar[dict[str, Any]] = {"format": "parquet"}

    def read_file(self, path: Path) -> pa.Table:
        return pq.read_table(path, partitioning=None)


class TestCsvFiles(FolderSuite):
    __test__ = True
    stride = SELDOM  # the steps are those of Parquet files
    settings_of_files: ClassVar[dict[str, Any]] = {"format": "csv", "compression": "gzip"}

    def read_file(self, path: Path) -> pa.Table:
        names = pa_csv.open_csv(path, read_options=pa_csv.ReadOptions(block_size=8 << 20)).schema.names
        return pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(block_size=8 << 20),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )

    def _column(self, rows: pa.Table, field: pa.Field) -> pa.ChunkedArray:
        return pa.chunked_array([forms.from_text(rows.column(field.name).combine_chunks(), field)], field.type)


SCHEMA = pa.schema([("id", pa.int64()), ("name", pa.string())])
TASK = TaskKey(source="test", stream="orders", filter="", table="orders")


def rows(*values: tuple[int, str | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array([v[i] for v in values], f.type) for i, f in enumerate(SCHEMA)], schema=SCHEMA
    )


def load(
    folder: Path, batch: pa.RecordBatch, mode: WriteMode = WriteMode.REPLACE, *, table: str = "orders", **settings: Any
) -> Published:
    """One whole run."""
    location = settings.pop("location", str(folder / "out"))
    destination = FilesDestination(
        FilesConfig(location=location, **settings), LocalContext(run="r", workdir=folder / "work")
    )
    key = TaskKey(source="test", stream="orders", filter="", table=table)
    spec = WriteSpec(mode=mode, key=("id",) if mode is WriteMode.MERGE else ())
    try:
        claim = destination.claim(key, "r")
        with destination.stage(Table(name=table, schema=batch.schema), spec, claim) as stage:
            stage.write(batch)
            staged = stage.seal()
        return destination.publish([staged], [Marker(key=key, position={"n": 1})], None)
    finally:
        destination.close()


def test_a_location_with_a_files_name_holds_that_table_in_that_format(tmp_path: Path) -> None:
    load(tmp_path, rows((1, "a")), location=str(tmp_path / "out" / "orders.csv.gz"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".suiro", "orders.csv.gz"]
    with pytest.raises(ConfigError, match="holds the table orders, not people"):
        load(tmp_path, rows((1, "a")), location=str(tmp_path / "out" / "orders.csv.gz"), table="people")


def test_csv_tells_null_from_empty_text_and_writes_types_exactly(tmp_path: Path) -> None:
    load(tmp_path, rows((1, None), (2, ""), (3, 'a"b')), format="csv")
    assert (tmp_path / "out" / "orders.csv").read_text() == '"id","name"\n1,\n2,""\n3,"a""b"\n'


def test_append_writes_one_file_for_each_load_in_a_folder(tmp_path: Path) -> None:
    for n in range(2):
        load(tmp_path, rows((n, "a")), WriteMode.APPEND)
    names = sorted(path.name for path in (tmp_path / "out" / "orders").iterdir())
    assert names == [f"{TASK.digest()[:16]}-{n:06}.parquet" for n in range(2)]


def test_append_is_refused_for_a_table_that_is_one_file_and_replace_for_one_that_was_appended_to(
    tmp_path: Path,
) -> None:
    load(tmp_path, rows((1, "a")))
    with pytest.raises(ConfigError, match="orders is one file"):
        load(tmp_path, rows((2, "b")), WriteMode.APPEND)
    load(tmp_path, rows((1, "a")), WriteMode.APPEND, table="events")
    for mode in (WriteMode.REPLACE, WriteMode.MERGE):
        with pytest.raises(ConfigError, match="events is a folder of files"):
            load(tmp_path, rows((2, "b")), mode, table="events")


def test_parquet_keeps_logical_types_and_the_infinities(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            pa.field("day", pa.date32(), metadata={b"suiro.type": b"date"}),
            pa.field("price", pa.string(), metadata={b"suiro.type": b"numeric"}),
        ]
    )
    day = pa.array([2**31 - 1, 0], pa.int32()).cast(pa.date32())
    load(tmp_path, pa.RecordBatch.from_arrays([day, pa.array(["NaN", "1.10"])], schema=schema))
    found = pq.read_table(tmp_path / "out" / "orders.parquet")
    assert found.schema.equals(schema, check_metadata=False)
    assert [found.schema.field(i).metadata[b"suiro.type"] for i in range(2)] == [b"date", b"numeric"]
    assert found.column("day").cast(pa.int32()).to_pylist() == [2**31 - 1, 0]


@pytest.mark.parametrize("format_", ["excel", "parquet"])
def test_formats_that_cannot_be_written_are_refused(tmp_path: Path, format_: str) -> None:
    with pytest.raises(ConfigError, match="can't be written as"):
        load(tmp_path, rows((1, "a")), format=format_, compression="zip")


def test_a_type_that_csv_has_no_text_for_is_refused_by_its_column(tmp_path: Path) -> None:
    odd = pa.array([pa.MonthDayNano([1, 2, 3])])
    with pytest.raises(ConfigError, match="column wait"):
        load(tmp_path, pa.RecordBatch.from_arrays([odd], names=["wait"]), format="csv")


@pytest.mark.parametrize(
    ("options", "said"),
    [("ro", "auth_error can't write to"), ("size=1m", "config_error the disk that holds")],
    ids=["read-only", "full"],
)
def test_a_disk_that_is_read_only_or_full_is_one_sentence_and_leaves_no_table(
    tmp_path: Path, options: str, said: str
) -> None:
    """A small disk of the test's own, mounted where no other process sees it."""
    script = """
import os, sys, pyarrow as pa
from pathlib import Path
from connectors.test_files_destination import load
from suiro.model.errors import SuiroError
folder = Path(sys.argv[1])
text = pa.array([os.urandom(100).hex() for _ in range(20_000)])
batch = pa.RecordBatch.from_arrays([pa.array(range(20_000)), text], names=["id", "name"])
try:
    load(folder, batch, location=str(folder / "small" / "out"))
except SuiroError as error:
    print(error.code, error.message)
print(sorted(path.name for path in (folder / "small").glob("out/*") if path.name != ".suiro"))
"""
    (tmp_path / "small").mkdir()
    mount = f'mount -t tmpfs -o {options} tmpfs {tmp_path / "small"} && exec "$@"'
    inside = ["unshare", "-m", "sh", "-c", mount, "sh"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user can't mount a small disk")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*inside, sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "tests"), str(root / "src")])},
        capture_output=True,
        text=True,
        check=True,
    )
    told, tables = done.stdout.splitlines()
    assert told.startswith(said)
    assert tables == "[]"


def test_check_of_a_folder_that_is_missing_leaves_nothing(tmp_path: Path) -> None:
    config = FilesConfig(location=str(tmp_path / "a" / "b"))
    FilesDestination(config, LocalContext(run="r", workdir=tmp_path / "work")).check()
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError):
        FilesDestination(
            FilesConfig(location=str(tmp_path / "file")), LocalContext(run="r", workdir=tmp_path / "work")
        ).check()


def test_a_table_of_text_that_suiro_did_not_write_is_merged_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "orders.csv").write_text("id,name\n1,old\n2,kept\n")
    published = load(tmp_path, rows((1, "new"), (3, "more")), WriteMode.MERGE, format="csv")
    assert (published.inserted, published.updated) == (1, 1)
    assert (tmp_path / "out" / "orders.csv").read_text() == '"id","name"\n2,"kept"\n1,"new"\n3,"more"\n'


def test_markers_are_plain_json_beside_the_tables(tmp_path: Path) -> None:
    load(tmp_path, rows((1, "a")))
    marker = tmp_path / "out" / ".suiro" / "markers" / f"{TASK.digest()}.json"
    assert json.loads(marker.read_text()) == {"position": {"n": 1}, "loads": 1}
