"""The tests of sources that hash rows themselves: every hash is what the definition in model/canonical says."""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, ClassVar

import pyarrow as pa
import pytest

from suiro.model.canonical import BETWEEN, FRAMED, KEY_DIGITS, NAN_BITS, NULL, ROW_DIGITS, Form, kind_of
from suiro.model.summary import MODULUS
from suiro.model.types import DATE_INFINITY, TIMESTAMP_INFINITY
from suiro.spi.powers import Checksums, Hashing
from suiro.testing.samples import PLAIN, TEXTS
from suiro.testing.source_harness import SourceHarness

_ENDLESS = {
    Form.DAY: {DATE_INFINITY: "infinity", -DATE_INFINITY: "-infinity"},
    Form.MOMENT: {TIMESTAMP_INFINITY: "infinity", -TIMESTAMP_INFINITY: "-infinity"},
}


class ChecksumTests(SourceHarness):
    """The power `Checksums`."""

    plain_types: ClassVar[tuple[str, ...]]

    def test_every_row_is_hashed_as_the_definition_says(self) -> None:
        self._source()
        for case in self.plain_types:
            column = PLAIN[case].column()
            rows = pa.table({"id": pa.array(range(len(column)), pa.int64()), "c_value": column})
            self._assert_hashes(self.filled(rows, ("id",)), ("id",), case)
            self.finish()

    def test_texts_are_hashed_by_their_bytes_and_no_value_imitates_another(self) -> None:
        self._source()
        odd = [*TEXTS, "a ", "A", "a|b", "3:a|b", "~", "|", "~|~", None]
        schema = pa.schema([("id", pa.int64()), ("one", pa.string()), ("other", pa.string())])
        pairs = [(one, other) for one in odd for other in odd]
        rows = self.rows(*((n, one, other) for n, (one, other) in enumerate(pairs)), schema=schema)
        found = self._assert_hashes(self.filled(rows, ("id",)), ("id",), "odd texts", without=("id",))
        if self.keeps_null:
            assert len(found) == len(pairs), "two rows that differ have one hash"

    def test_a_key_of_several_columns_and_a_condition(self) -> None:
        source = self._source()
        rows = self.rows((1, "a", 10), (1, "b", 20), (2, "a", 30), (3, "c", None))
        name = self.filled(rows, ("name", "id"))
        self._assert_hashes(name, ("name", "id"), "a key of two columns")
        selection = self.select(source, name, where=self.where("v", 20))
        hashing = Hashing(selection=selection, forms=_forms(selection), key=("name", "id"))
        with closing(source.hashed(hashing)) as hashed:
            assert sum(count for count, _ in hashed.buckets(7).values()) == 2
        everything = Hashing(selection=self.select(source, name), forms=_forms(selection), key=("name", "id"))
        wanted = _expected(self._all_of(name), everything)
        key = wanted[0][0]
        bucket = int(key[:KEY_DIGITS], 16) % 5
        where = source.in_buckets(everything, 5, [bucket], [key])
        found = self.consume(self.open(), self.select(self.open(), name, where=where)).rows
        assert [k for k, _ in _expected(found, everything)] == [key]
        where = source.in_buckets(everything, 5, [bucket], [])
        found = self.consume(self.open(), self.select(self.open(), name, where=where)).rows
        there = sorted(k for k, _ in wanted if int(k[:KEY_DIGITS], 16) % 5 == bucket)
        assert sorted(k for k, _ in _expected(found, everything)) == there

    def test_one_snapshot_serves_all_questions(self) -> None:
        source = self._source()
        name = self.filled(self.rows((1, "a", 10), (2, "b", 20)), ("id",))
        selection = self.select(source, name)
        with closing(source.hashed(Hashing(selection=selection, forms=_forms(selection), key=("id",)))) as hashed:
            first = hashed.buckets(1)
            try:
                self.add(name, self.rows((3, "c", 30)))
            except Exception:  # noqa: BLE001  (a system may let nobody write meanwhile)
                pytest.skip("nobody can write while it is read")
            assert hashed.buckets(1) == first
            assert sum(batch.num_rows for batch in hashed.rows(1, [0])) == 2

    def _source(self) -> Any:
        source = self.open()
        if not isinstance(source, Checksums):
            pytest.skip("doesn't hash rows itself")
        return source

    def _all_of(self, name: str) -> pa.Table:
        source = self.open()
        return self.consume(source, self.select(source, name)).rows

    def _assert_hashes(self, name: str, key: Sequence[str], when: str, without: Sequence[str] = ()) -> set[str]:
        """The rows' hashes; asserted to be what the definition gives for the rows as they are read."""
        source = self._source()
        selection = self.select(source, name)
        forms = _forms(selection)
        forms = {column: form for column, form in forms.items() if source.hashes(selection.stream, column, form)}
        if not set(key) <= set(forms) or len(forms) == len(key):
            return set()
        wanted = _expected(self._all_of(name), Hashing(selection=selection, forms=forms, key=tuple(key)))
        with closing(source.hashed(Hashing(selection=selection, forms=forms, key=tuple(key)))) as hashed:
            sums = hashed.buckets(3)
            rows = [(k, r) for b in hashed.rows(3, [0, 1, 2]) for k, r in zip(*b.to_pydict().values(), strict=True)]
            some = [k for b in hashed.rows(3, [1]) for k in b.column("k").to_pylist()]
        assert sorted(rows) == sorted(wanted), when
        assert sums == _sums(wanted, 3), when
        assert sorted(some) == sorted(k for k, _ in wanted if int(k[:KEY_DIGITS], 16) % 3 == 1), when
        if not without:
            return {row for _, row in wanted}
        fewer = {column: form for column, form in forms.items() if column not in without}
        hashing = Hashing(selection=selection, forms=fewer, key=tuple(fewer))
        with closing(source.hashed(hashing)) as hashed:
            return {row for batch in hashed.rows(1, [0]) for row in batch.column("r").to_pylist()}


def _forms(selection: Any) -> dict[str, Form]:
    fields = {name: selection.stream.schema.field(name) for name in selection.columns}
    return {name: kind_of(field) or Form.TEXT for name, field in fields.items()}


def _sums(rows: Sequence[tuple[str, str]], number: int) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for key, row in rows:
        bucket = int(key[:KEY_DIGITS], 16) % number
        count, total = found.get(bucket, (0, 0))
        found[bucket] = (count + 1, (total + int(row[:ROW_DIGITS], 16)) % MODULUS)
    return found


def _expected(rows: pa.Table, hashing: Hashing) -> list[tuple[str, str]]:
    return expected_hashes(rows, hashing.forms, hashing.key)


def expected_hashes(rows: pa.Table, forms: Mapping[str, Form], key: Sequence[str]) -> list[tuple[str, str]]:
    """The hashes of key and row of every row, by the definition and nothing else."""
    columns = {
        name: [_item(text, form) for text in canonical_texts(rows.column(name).combine_chunks(), form)]
        for name, form in forms.items()
    }
    return [(_md5(columns, key, at), _md5(columns, tuple(columns), at)) for at in range(rows.num_rows)]


def _md5(columns: Mapping[str, Sequence[str]], names: Sequence[str], at: int) -> str:
    text = BETWEEN.join(columns[name][at] for name in names)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _item(text: str | None, form: Form) -> str:
    if text is None:
        return NULL
    return f"{len(text.encode())}:{text}" if form in FRAMED else text


def canonical_texts(array: pa.Array, form: Form) -> list[str | None]:
    """The canonical texts of values, written one by one from the definition."""
    plain = array.storage if isinstance(array, pa.ExtensionArray) else array
    if form in (Form.DAY, Form.MOMENT, Form.CLOCK):
        number = {Form.DAY: pa.date32(), Form.MOMENT: pa.timestamp("us"), Form.CLOCK: pa.time64("us")}[form]
        if pa.types.is_timestamp(plain.type):
            number = pa.timestamp("us", plain.type.tz)
        plain = plain.cast(number).view(pa.int32() if form is Form.DAY else pa.int64())
        endless = _ENDLESS.get(form, {})
        return [None if v is None else endless.get(v, str(v)) for v in plain.to_pylist()]
    return [None if value is None else _text(value, form) for value in plain.to_pylist()]


def _text(value: Any, form: Form) -> str:
    match form:
        case Form.FLOAT:
            value = float(value)
            return str(NAN_BITS if value != value else struct.unpack("<q", struct.pack("<d", value))[0])  # noqa: PLR0124
        case Form.NUMBER if isinstance(value, bool):
            return str(int(value))
        case Form.NUMBER:
            text = value if isinstance(value, str) else format(value, "f") if not isinstance(value, int) else str(value)
            text = text.rstrip("0").rstrip(".") if "." in text else text
            return "0" if text == "-0" else text
        case Form.UUID:
            return str(uuid.UUID(bytes=value))
        case Form.BYTES:
            return bytes(value).hex()
        case Form.PADDED:
            return str(value).rstrip(" ")
        case _:
            return str(value)
