"""The files destination: the conformance suite for JSON Lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from connectors.test_files_destination import FolderSuite
from suiro.toolkit.files import documents, forms, scalars
from suiro.toolkit.files.jsontext import documents_of


class TestJsonlFiles(FolderSuite):
    """Members are read as the lines write them; the tests of sudden death are those of CSV, step by step."""

    __test__ = True
    settings_of_files: ClassVar[dict[str, Any]] = {"format": "jsonl"}
    test_killed_between_any_two_steps_a_new_table_holds_all_rows_or_is_missing = None
    test_killed_between_any_two_steps_a_table_holds_the_old_rows_or_the_new = None

    def read_file(self, path: Path) -> pa.Table:
        lines = path.read_text().split("\n")[:-1]
        names = list(dict.fromkeys(name for line in lines for name in json.loads(line)))
        rows = [documents_of(line, names) for line in lines]
        absent = object()
        columns = [[_text(row.get(name, absent), absent) for row in rows] for name in names]
        if not lines:
            return pa.table({})
        return pa.table([pa.array(column, pa.string()) for column in columns], names=names)

    def _column(self, rows: pa.Table, field: pa.Field) -> pa.ChunkedArray:
        texts = rows.column(field.name).to_pylist()
        if field.type == pa.json_():
            return pa.chunked_array([pa.ExtensionArray.from_storage(field.type, pa.array(texts, pa.string()))])
        texts = [None if text == "null" else text for text in texts]
        if scalars.is_nested(field.type):
            return pa.chunked_array([documents.from_tokens(pa.array(texts, pa.string()), field)], field.type)
        plain = [json.loads(text) if text is not None and text.startswith('"') else text for text in texts]
        return pa.chunked_array([forms.from_text(pa.array(plain, pa.string()), field)], field.type)


def _text(value: object, absent: object) -> str | None:
    return None if value is absent else "null" if value is None else str(value)
