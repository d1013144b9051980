"""Exact text and JSON of values: what is written is read back equal, in every format."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suiro.testing.cells import assert_rows
from suiro.toolkit.files import documents, forms
from suiro.toolkit.files.schemas import Note, write_note
from suiro.toolkit.files.settings import FileSettings
from suiro.toolkit.files.storage import stamp
from suiro.toolkit.files.tables import TableFiles
from suiro.toolkit.files.writers import writer

I64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
JSON = st.sampled_from(["null", "{}", '{"a":  [1.10, null], "a": 2}', '"x"', "1e400", "[]"])
LOGICAL = {b"suiro.type": b"timestamptz"}

VALUES: dict[str, tuple[pa.Field, st.SearchStrategy[Any]]] = {
    "int": (pa.field("c", pa.int64()), I64),
    "uint": (pa.field("c", pa.uint64()), st.integers(0, 2**64 - 1)),
    "bool": (pa.field("c", pa.bool_()), st.booleans()),
    "float": (pa.field("c", pa.float64()), st.floats(allow_nan=False) | st.just(math.nan)),
    "float32": (pa.field("c", pa.float32()), st.floats(width=32, allow_nan=False)),
    "decimal": (
        pa.field("c", pa.decimal128(38, 10)),
        st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}e-10")),
    ),
    "date": (pa.field("c", pa.date32()), st.integers(-(2**31), 2**31 - 1)),
    "time": (pa.field("c", pa.time64("us")), st.integers(0, 86_399_999_999)),
    "timestamp": (pa.field("c", pa.timestamp("us")), I64),
    "instant": (
        pa.field("c", pa.timestamp("us", "UTC"), metadata=LOGICAL),
        I64 | st.sampled_from([2**63 - 1, 1 - 2**63]),
    ),
    "text": (pa.field("c", pa.string()), TEXT),
    "bytes": (pa.field("c", pa.binary()), st.binary(max_size=8)),
    "json": (pa.field("c", pa.json_()), JSON),
    "uuid": (pa.field("c", pa.uuid()), st.binary(min_size=16, max_size=16)),
    "list": (pa.field("c", pa.list_(pa.decimal128(5, 2))), st.lists(st.none() | st.just(Decimal("1.50")), max_size=3)),
    "struct": (
        pa.field("c", pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))])),
        st.fixed_dictionaries({"a": st.none() | I64, "b": st.none() | st.lists(TEXT, max_size=2)}),
    ),
}


def column(field: pa.Field, values: list[Any]) -> pa.Array:
    if isinstance(field.type, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(field.type, pa.array(values, field.type.storage_type))
    if pa.types.is_temporal(field.type):
        width = pa.int32() if field.type.bit_width == 32 else pa.int64()
        return pa.array(values, width).cast(field.type)
    return pa.array(values, field.type)


@pytest.mark.parametrize("extension", [".csv", ".csv.gz", ".jsonl", ".jsonl.zst", ".parquet"])
@pytest.mark.parametrize("kind", VALUES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.data())
def test_a_file_gives_back_what_was_written(kind: str, extension: str, tmp_path: Path, data: st.DataObject) -> None:
    field, strategy = VALUES[kind]
    values = data.draw(st.lists(st.none() | strategy, max_size=6))
    array = column(field, values)
    path = tmp_path / f"t{extension}"
    schema = pa.schema([field])
    out = writer(path, schema, FileSettings())
    half = len(array) // 2
    for part in (array.slice(0, half), array.slice(half)):
        out.write(pa.RecordBatch.from_arrays([part], schema=schema))
    out.close()
    note = tmp_path / "note.json"
    write_note(note, stamp(path), Note(schema=schema))
    tables = TableFiles(tmp_path, extension, FileSettings(), tmp_path)
    rows = list(tables.rows(tables.stored(path, note), schema))
    assert_rows(pa.table([array], schema=schema), pa.Table.from_batches(rows, schema))
    for batch in rows:
        batch.validate(full=True)


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_text_and_json_are_inverted(kind: str, data: st.DataObject) -> None:
    field, strategy = VALUES[kind]
    array = column(field, data.draw(st.lists(st.none() | strategy, max_size=6)))
    schema = pa.schema([field])
    for there, back in ((forms.to_text, forms.from_text), (documents.tokens, documents.from_tokens)):
        if kind == "json" and back is documents.from_tokens:
            continue
        found = back(there(array, field), field)
        assert_rows(pa.table([array], schema=schema), pa.table([found], schema=schema))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (pa.field("c", pa.decimal128(20, 10)), Decimal("0.0000000001"), "0.0000000001"),
        (pa.field("c", pa.date32(), metadata={b"suiro.type": b"date"}), -(2**31) + 1, "-infinity"),
        (pa.field("c", pa.date32()), 2_932_897, "+010000-01-01"),
        (pa.field("c", pa.date32()), -719_163, "+000000-12-31"),
        (pa.field("c", pa.timestamp("us", "UTC")), 1, "1970-01-01 00:00:00.000001Z"),
        (pa.field("c", pa.time64("us")), 86_400_000_000, "24:00:00.000000"),
        (pa.field("c", pa.float64()), 0.1, "0.1"),
        (pa.field("c", pa.binary()), b"\x00\xff", "AP8="),
    ],
)
def test_texts_are_those_of_the_documentation(field: pa.Field, value: Any, expected: str) -> None:
    text = forms.to_text(column(field, [value]), field)
    assert text.to_pylist() == [expected]
    assert forms.from_text(text, field).equals(column(field, [value]))
