"""The files source: the conformance suite in each format, and what is special about files."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
import sys
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suiro.connectors.files import FilesConfig, FilesDestination, FilesSource
from suiro.model.change import Checkpoint, Rows
from suiro.model.errors import ConfigError, DataError, ResyncRequired, SchemaConflict, TransientError
from suiro.model.job import TaskKey
from suiro.model.schema import Position, ReadMode, Table
from suiro.model.selection import Selection, WriteMode, WriteSpec
from suiro.model.types import is_bytes
from suiro.spi.destination import Marker
from suiro.spi.source import Read, Source
from suiro.testing.context import LocalContext
from suiro.testing.source_suite import FullReadTests


class FilesSourceSuite(FullReadTests):
    """Full reads of tables that were written into a folder."""

    settings_of_files: ClassVar[dict[str, Any]] = {}
    keeps_keys = False
    __test__ = False

    def config(self) -> FilesConfig:
        return FilesConfig(location=str(self.folder / "files"), **self.settings_of_files)

    def make(self) -> Source[Any]:
        (self.folder / "files").mkdir(exist_ok=True)
        return FilesSource(self.config(), self.context())

    def fill(self, name: str, rows: pa.Table, key: tuple[str, ...]) -> None:
        destination = FilesDestination(self.config(), self.context())
        task = TaskKey(source="test", stream=name, filter="", table=name)
        table = Table(name=name, schema=rows.schema, primary_key=key)
        claim = destination.claim(task, "fill")
        with destination.stage(table, WriteSpec(mode=WriteMode.REPLACE), claim) as stage:
            for batch in rows.to_batches():
                stage.write(batch)
            staged = stage.seal()
        destination.publish([staged], [Marker(key=task, position={})], None)
        destination.close()

    def add(self, name: str, rows: pa.Table) -> None:
        raise AssertionError("only whole files are added")


class TestParquetSource(FilesSourceSuite):
    __test__ = True
    settings_of_files: ClassVar[dict[str, Any]] = {"format": "parquet"}


class TestCsvSource(FilesSourceSuite):
    __test__ = True
    settings_of_files: ClassVar[dict[str, Any]] = {"format": "csv"}

    def decode(self, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        return _decoded(super().decode, column, field)


class TestJsonlSource(FilesSourceSuite):
    __test__ = True
    settings_of_files: ClassVar[dict[str, Any]] = {"format": "jsonl"}

    def decode(self, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        return _decoded(super().decode, column, field)


def _decoded(decode: Any, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """What text can't tell: bytes are Base64."""
    if is_bytes(field.type):
        values = [None if v is None else base64.b64decode(v) for v in column.to_pylist()]
        return pa.chunked_array([pa.array(values, field.type)])
    return decode(column, field)


class Folder:
    """A folder of files and a source that reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._runs = 0
        path.mkdir()

    def write(self, name: str, data: bytes | str, at: float | None = None) -> Path:
        """A file with this content, modified at that second."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        if at is not None:
            os.utime(path, (at, at))
        return path

    def source(self, pattern: str = "", **settings: Any) -> FilesSource:
        """A new run's source of a pattern in the folder."""
        self._runs += 1
        context = LocalContext(run=f"r{self._runs}", workdir=self.path.parent / f"work{self._runs}")
        return FilesSource(FilesConfig(location=str(self.path / pattern), **settings), context)

    def read(self, stream: str, pattern: str = "", **settings: Any) -> list[dict[str, Any]]:
        """All rows of a stream."""
        return self.changes(stream, pattern, None, **settings)[0]

    def changes(
        self, stream: str, pattern: str, since: Position | None, **settings: Any
    ) -> tuple[list[dict[str, Any]], list[Position]]:
        """The rows that are new since a position, and the positions after each file."""
        source = self.source(pattern, **settings)
        found = source.find(stream)
        selection = Selection(
            stream=found, columns=tuple(found.schema.names), read_mode=ReadMode.INCREMENTAL if since else ReadMode.FULL
        )
        rows, positions = list[dict[str, Any]](), list[Position]()
        for change in source.read(Read(key=stream, selections=(selection,)), since):
            match change:
                case Rows():
                    rows += change.data.to_pylist()
                case Checkpoint():
                    positions.append(json.loads(json.dumps(change.position)))
        return rows, positions


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """An empty folder."""
    return Folder(tmp_path / "in")


# --- streams


def test_a_folder_is_a_stream_for_each_file_and_each_folder_of_files(folder: Folder) -> None:
    for name in ("orders.csv.gz", "people.jsonl", "notes.md", ".hidden.csv", "events/1.csv", "empty/readme.md"):
        folder.write(
            name, gzip.compress(b"a\n1\n") if name.endswith("gz") else '{"a":1}' if "json" in name else "a\n1\n"
        )
    assert [stream.name for stream in folder.source().discover()] == ["events", "orders", "people"]


def test_files_of_one_stem_in_two_formats_keep_their_whole_names(folder: Folder) -> None:
    folder.write("orders.csv", "a\n1\n")
    folder.write("orders.jsonl", '{"a": 1}\n')
    assert [stream.name for stream in folder.source().discover()] == ['"orders.csv"', '"orders.jsonl"']


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("orders-*.csv", ["orders"]),
        ("*.csv", ["in"]),
        ("**/*.csv", ["in"]),
        ("orders-2024-01.csv", ["orders-2024-01"]),
        ("nothing-*.csv", []),
    ],
)
def test_a_pattern_is_one_stream_of_all_that_match(folder: Folder, pattern: str, expected: list[str]) -> None:
    for name in ("orders-2024-01.csv", "orders-2024-02.csv"):
        folder.write(name, "a\n1\n")
    assert [stream.name for stream in folder.source(pattern).discover()] == expected


def test_table_per_turns_patterns_into_files_and_folders_into_one_stream(folder: Folder) -> None:
    for name in ("a.csv", "b.csv"):
        folder.write(name, "x\n1\n")
    assert [stream.name for stream in folder.source("*.csv", table_per="file").discover()] == ["a", "b"]
    assert [stream.name for stream in folder.source(table_per="pattern").discover()] == ["in"]


def test_a_pattern_that_matches_nothing_fails_the_check(folder: Folder) -> None:
    folder.source().check()
    for pattern in ("orders-*.csv", "orders.csv", "missing/*.csv"):
        with pytest.raises(ConfigError):
            folder.source(pattern).check()


# --- CSV


def test_shift_jis_files_of_windows_are_read_to_the_last_character(folder: Folder) -> None:
    folder.write("people.csv", "氏名,記号\r\n髙橋,～①\r\n﨑,㈱\r\n".encode("cp932"))
    expected = [{"氏名": "髙橋", "記号": "～①"}, {"氏名": "﨑", "記号": "㈱"}]
    assert folder.read("people") == expected
    assert folder.read("people", encoding="shift_jis") == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932", "euc_jp", "utf-16"])
def test_encodings_are_told_from_the_content(folder: Folder, encoding: str) -> None:
    folder.write("people.csv", "名前,都市\n高橋,東京都\nやまだ,大阪\n".encode(encoding))
    assert folder.read("people") == [{"名前": "高橋", "都市": "東京都"}, {"名前": "やまだ", "都市": "大阪"}]


def test_an_encoding_that_shows_late_is_told_too(folder: Folder) -> None:
    folder.write("people.csv", b"id,name\n" + b"1,a\n" * 400_000 + "2,東京\n".encode("cp932"))
    assert folder.read("people")[-1] == {"id": 2, "name": "東京"}


def test_types_are_found_from_all_values_and_hold_them_exactly(folder: Folder) -> None:
    folder.write(
        "t.csv",
        "zip,n,big,price,e,ok,day,at,zoned,mixed\n"
        "0123,1,9223372036854775808,1.10,1e-3,true,2024-02-29,2024-02-29 12:00,2024-02-29T12:00:00+09:00,1\n"
        + "0124,2,1,20.123456789012345678,0.5,FALSE,2024/3/1,2024-02-29T12:00:00.5,2024-02-29 12:00:00Z,x\n"
        * 20_000,
    )
    source = folder.source()
    assert [str(type_) for type_ in source.find("t").schema.types] == [
        "string",
        "int64",
        "decimal128(38, 0)",
        "decimal128(38, 18)",
        "double",
        "bool",
        "date32[day]",
        "timestamp[us]",
        "timestamp[us, tz=UTC]",
        "string",
    ]
    first, *_, last = folder.read("t")
    assert (first["zip"], first["big"], first["price"]) == ("0123", Decimal(2**63), Decimal("1.10"))
    assert (last["price"], last["day"], last["ok"]) == (Decimal("20.123456789012345678"), date(2024, 3, 1), False)
    assert first["zoned"] == datetime(2024, 2, 29, 3, tzinfo=UTC)
    assert (first["mixed"], last["mixed"]) == ("1", "x")


def test_a_value_that_does_not_fit_at_the_very_end_makes_the_column_text(folder: Folder) -> None:
    folder.write("t.csv", "a,b\n" + "1,2\n" * 500_000 + "n/a,3\n")
    rows = folder.read("t")
    assert rows[-1] == {"a": "n/a", "b": 3}
    assert rows[0] == {"a": "1", "b": 2}


def test_null_is_nothing_and_empty_text_is_two_quotes(folder: Folder) -> None:
    folder.write("t.csv", 'a,b\n,""\n1,x\n"",\n')
    assert folder.read("t") == [{"a": None, "b": ""}, {"a": 1, "b": "x"}, {"a": None, "b": None}]
    folder.write("u.csv", "a,b\n\\N,x\n1,NULL\n")
    assert folder.read("u", null_strings=r"\N,NULL") == [{"a": None, "b": "x"}, {"a": 1, "b": None}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n3\n4,5\n", "t.csv, line 3: 1 values where there are 2 columns"),
        ('a,b\n1,"x\ny"\n3,4,5\n', "t.csv, line 4: 3 values where there are 2 columns"),
        ('a,b\n1,2\n3,"x\n4,5\n', "t.csv, line 3: a quote isn't closed"),
        (b"a,b\n1,\xe3\x81\x82\n2,\xff\xff\n", "t.csv, line 3: a byte that utf-8 doesn't have"),
    ],
)
def test_a_broken_line_is_named_and_its_values_are_not(folder: Folder, text: str | bytes, said: str) -> None:
    folder.write("t.csv", text)
    (listed,) = folder.source(encoding="utf-8").discover()
    assert listed.notes == (said,)
    if "values where" in said:  # a single line, which a run may leave out
        assert folder.source(encoding="utf-8").find("t").notes == (said,)
    else:
        with pytest.raises(DataError, match=re.escape(said)):
            folder.source(encoding="utf-8").find("t")
    with pytest.raises(DataError, match=re.escape(said)):
        folder.read("t", encoding="utf-8")


def test_dialects_are_guessed_and_can_be_set(folder: Folder) -> None:
    folder.write("t.csv", "a;b\n1;'x;y'\n")
    assert folder.read("t", quote="'") == [{"a": 1, "b": "x;y"}]
    folder.write("u.csv", "junk\n1|2,5\n")
    assert folder.read("u", skip_rows=1, decimal_point=",") == [{"column_1": 1, "column_2": Decimal("2.5")}]
    folder.write("v.csv", "d,t\n31.12.2024,31.12.2024 23:59\n")
    found = folder.read("v", date_formats="%d.%m.%Y", timestamp_formats="%d.%m.%Y %H:%M")
    assert found == [{"d": date(2024, 12, 31), "t": datetime(2024, 12, 31, 23, 59)}]  # noqa: DTZ001
    folder.write("w.csv", "a,b\n01,2024-01-01\n")
    assert folder.read("w", types="all_text") == [{"a": "01", "b": "2024-01-01"}]


def test_files_of_a_stream_may_have_other_columns_and_types(folder: Folder) -> None:
    folder.write("o-1.csv", "a,b\n1,x\n", at=1)
    folder.write("o-2.csv", "b,c,a\ny,2024-01-01,2.5\n", at=2)
    assert folder.read("o", "o-*.csv") == [
        {"a": Decimal("1.0"), "b": "x", "c": None},
        {"a": Decimal("2.5"), "b": "y", "c": date(2024, 1, 1)},
    ]


# --- other formats


def test_json_lines_keep_digits_and_documents(folder: Folder) -> None:
    folder.write(
        "t.jsonl",
        '{"n": 67.174118, "big": 123456789012345678901, "doc": {"a": [1.10,  1e400]}, "mixed": 1, '
        '"at": "2024-02-29T12:00:00Z"}\n'
        '\n{"n": 1, "mixed": "x", "doc": null, "late": true}\n',
    )
    first, second = folder.read("t")
    assert first["n"] == Decimal("67.174118") and first["big"] == Decimal("123456789012345678901")
    assert first["doc"] == '{"a": [1.10,  1e400]}'
    assert (first["mixed"], second["mixed"]) == ("1", '"x"')
    assert first["at"] == datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert (first["late"], second["late"], second["doc"]) == (None, True, None)


def test_json_that_drifts_after_many_lines_is_carried_whole(folder: Folder) -> None:
    lines = ['{"a": 1, "b": "2024-01-01"}'] * 200_000 + ['{"a": 1.25, "b": "soon", "c": [1]}']
    folder.write("t.jsonl", "\n".join(lines))
    rows = folder.read("t")
    assert len(rows) == len(lines)
    assert rows[0] == {"a": Decimal("1.00"), "b": "2024-01-01", "c": None}
    assert rows[-1] == {"a": Decimal("1.25"), "b": "soon", "c": "[1]"}


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"a": 1}\n{"a":\n', "t.jsonl, line 2: not JSON"), ('{"a": 1}\n\n5\n', "t.jsonl, line 3: not a JSON object")],
)
def test_a_broken_line_of_json_is_named(folder: Folder, text: str, said: str) -> None:
    folder.write("t.jsonl", text)
    with pytest.raises(DataError, match=said):
        folder.read("t")


def test_parquet_files_are_unified_and_conflicts_name_both_files(folder: Folder) -> None:
    def put(name: str, **columns: Any) -> None:
        pq.write_table(pa.table(columns), folder.path / name)

    put("p-1.parquet", a=pa.array([1], pa.int32()), b=pa.array(["x"]))
    put("p-2.parquet", a=pa.array([2**40]), c=pa.array([1], pa.timestamp("ms")))
    assert folder.source("p-*.parquet").find("p").schema.types == [pa.int64(), pa.string(), pa.timestamp("us")]
    assert len(folder.read("p", "p-*.parquet")) == 2
    put("p-3.parquet", a=pa.array(["text"]))
    with pytest.raises(SchemaConflict, match=r"a is int64 in p-2.parquet and string in p-3.parquet|p-1.parquet"):
        folder.source("p-*.parquet").find("p")


def test_nanoseconds_that_microseconds_cannot_hold_are_refused_by_column(folder: Folder) -> None:
    pq.write_table(pa.table({"at": pa.array([1], pa.timestamp("ns"))}), folder.path / "p.parquet")
    with pytest.raises(DataError, match="column at"):
        folder.read("p")


def test_excel_sheets_give_typed_cells_values_and_no_empty_rows(folder: Folder) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "売上"
    sheet.append(["id", "氏名", "日付", "時刻", "率", "混在"])
    sheet.append([1, "髙橋", date(2024, 1, 2), datetime(2024, 1, 2, 3, 4, 5), 0.5, 1])  # noqa: DTZ001
    sheet.append([])
    sheet.append([2, None, date(2024, 1, 3), None, 2, "x"])
    sheet["A9"] = None
    book.create_sheet("other").append(["a"])
    book.save(folder.path / "s.xlsx")
    rows = folder.read("s")
    assert [row["id"] for row in rows] == [1, None, 2]
    assert (rows[0]["日付"], rows[0]["率"], rows[2]["率"]) == (date(2024, 1, 2), 0.5, 2.0)
    assert (rows[0]["混在"], rows[2]["混在"], rows[0]["氏名"]) == ("1", "x", "髙橋")
    assert folder.source(sheet="other").find("s").schema.names == ["a"]
    (listed,) = folder.source(sheet="none").discover()
    assert listed.notes == ("s.xlsx has no sheet 'none'",)


def test_archives_are_as_many_files_as_they_have_members(folder: Folder) -> None:
    with zipfile.ZipFile(folder.path / "o.zip", "w") as archive:
        archive.writestr("jan.csv", "a\n1\n")
        archive.writestr("feb/x.jsonl", '{"a": 2}\n')
        archive.writestr("__MACOSX/jan.csv", "nonsense")
    pq.write_table(pa.table({"a": [3]}), folder.path / "plain.parquet")
    with zipfile.ZipFile(folder.path / "p.zip", "w") as archive:
        archive.write(folder.path / "plain.parquet", "inner.parquet")
    rows = folder.read("o", "o.zip", file_name_column="file")
    assert rows == [{"a": 1, "file": "o.zip/jan.csv"}, {"a": 2, "file": "o.zip/feb/x.jsonl"}]
    assert folder.read("p", "p.zip") == [{"a": 3}]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_files_are_read_and_broken_ones_named(folder: Folder, compression: str) -> None:
    packed = pa.compress(b"a\n1\n2\n" * 1000, codec=compression, asbytes=True)
    name = "t.csv" + {"gzip": ".gz", "zstd": ".zst"}[compression]
    folder.write(name, packed)
    assert len(folder.read("t")) == 2999
    folder.write(name, packed[:-8])
    with pytest.raises(DataError, match=f"{name} is broken or cut short"):
        folder.read("t")


# --- increments


def test_only_new_and_changed_files_are_read_the_oldest_first(folder: Folder) -> None:
    folder.write("o-b.csv", "a\n1\n", at=100)
    folder.write("o-a.csv", "a\n2\n", at=200)
    rows, positions = folder.changes("o", "o-*.csv", None)
    assert [row["a"] for row in rows] == [1, 2]
    assert len(positions) == 2
    again, same = folder.changes("o", "o-*.csv", positions[-1])
    assert (again, same) == ([], [positions[-1]])
    folder.write("o-c.csv", "a\n3\n", at=200)
    folder.write("o-late.csv", "a\n4\n", at=50)
    folder.write("o-b.csv", "a\n5\n6\n", at=300)
    rows, later = folder.changes("o", "o-*.csv", positions[-1])
    assert [row["a"] for row in rows] == [4, 3, 5, 6]
    assert folder.changes("o", "o-*.csv", later[-1])[0] == []


def test_a_read_resumes_after_any_file(folder: Folder) -> None:
    for n in range(5):
        folder.write(f"o-{n}.csv", f"a\n{n}\n", at=7)
    _, positions = folder.changes("o", "o-*.csv", None)
    for n, position in enumerate(positions):
        assert [row["a"] for row in folder.changes("o", "o-*.csv", position)[0]] == list(range(n + 1, 5))


def test_a_position_of_something_else_asks_for_a_resync(folder: Folder) -> None:
    folder.write("o.csv", "a\n1\n")
    with pytest.raises(ResyncRequired):
        folder.changes("o", "o.csv", {"cursor": 5})


def test_a_file_that_changes_or_goes_while_it_is_read_is_tried_again(folder: Folder) -> None:
    path = folder.write("t.csv", "a,b\n" + "1,2\n" * 500_000)
    for harm in (lambda: path.write_text("a,b\n1,x\n"), path.unlink):
        folder.write("t.csv", "a,b\n" + "1,2\n" * 500_000)
        source = folder.source()
        stream = source.find("t")
        selection = Selection(stream=stream, columns=("a", "b"))
        changes = source.read(Read(key="t", selections=(selection,)), None)
        next(changes)
        harm()
        with pytest.raises(TransientError):
            list(changes)


def test_the_modified_column_tells_when(folder: Folder) -> None:
    folder.write("t.csv", "a\n1\n", at=1_700_000_000.5)
    found = folder.read("t", modified_column="modified", file_name_column="file")
    when = datetime.fromtimestamp(1_700_000_000.5, UTC)
    assert found == [{"a": 1, "file": "t.csv", "modified": when}]
    with pytest.raises(ConfigError, match="column a of its own"):
        folder.read("t", file_name_column="a")


def test_big_compressed_files_are_read_in_little_memory(folder: Folder) -> None:
    """300 MB of CSV, in a process of its own: memory grows by less than 150 MB."""
    block = b"".join(b"%d,%d.25,2024-02-29 12:00:00,some text that goes on\n" % (n, n) for n in range(100_000))
    packed = gzip.compress(block, 1)
    with open(folder.path / "big.csv.gz", "wb") as file:
        file.write(gzip.compress(b"id,price,at,text\n"))
        for _ in range(300_000_000 // len(block)):
            file.write(packed)
    script = """
import sys, resource
from connectors.test_files import Folder, Read, Selection
from pathlib import Path
folder = Folder(Path(sys.argv[1]) / "x"); folder.path = Path(sys.argv[1])
(folder.path / "y.csv").write_text("a\\n1\\n"); folder.read("y")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source = folder.source("big.csv.gz"); stream = source.find("big")
selection = Selection(stream=stream, columns=tuple(stream.schema.names))
rows = sum(c.data.num_rows for c in source.read(Read(key="big", selections=(selection,)), None) if hasattr(c, "data"))
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder.path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "tests"), str(root / "src")])},
        capture_output=True,
        text=True,
        check=True,
    )
    rows, grown = map(int, done.stdout.split())
    assert rows == 300_000_000 // len(block) * 100_000
    assert grown < 150
