"""Tests of spools: rows in a file, whole or refused."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from suiro.model.errors import ConfigError, InternalError
from suiro.model.job import TaskKey
from suiro.model.schema import Table
from suiro.model.selection import WriteMode, WriteSpec
from suiro.spi.destination import Claim, Staged
from suiro.toolkit.spool import SpoolStage, spooled

ROWS = pa.table(
    {
        "id": pa.array(range(3000), pa.int64()),
        "u": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * 3000, pa.binary(16))),
    }
)
KEY = TaskKey(source="s", stream="s", filter="", table="t")
CLAIM = Claim(key=KEY, run="r", epoch=1, position=None)
SPEC = WriteSpec(mode=WriteMode.APPEND)


def opened(path: Path) -> SpoolStage:
    return SpoolStage(path, Table(name="t", schema=ROWS.schema), SPEC, CLAIM, truncates=True)


def sealed(path: Path, rows: pa.Table = ROWS) -> Staged:
    with opened(path) as stage:
        for batch in rows.to_batches(max_chunksize=1000):
            stage.write(batch)
        return stage.seal()


def test_sealed_rows_come_back_in_order_and_the_disk_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    staged = sealed(tmp_path / "deep" / "s.arrow")
    assert (staged.rows, staged.truncates, staged.location) == (3000, True, str(tmp_path / "deep" / "s.arrow"))
    schema, batches = spooled(staged)
    assert schema == ROWS.schema
    assert pa.Table.from_batches(batches) == ROWS
    assert len(synced) == 1


def test_the_columns_of_log_reads_come_along(tmp_path: Path) -> None:
    log = ROWS.append_column("_op", pa.array(["c"] * 3000))
    schema, batches = spooled(sealed(tmp_path / "s.arrow", log))
    assert schema.names == ["id", "u", "_op"]
    assert pa.Table.from_batches(batches) == log


def test_a_spool_without_rows_has_the_tables_columns(tmp_path: Path) -> None:
    schema, batches = spooled(sealed(tmp_path / "s.arrow", ROWS.slice(0, 0)))
    assert (schema, list(batches)) == (ROWS.schema, [])


def test_a_stage_that_fails_or_is_aborted_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "s.arrow"
    with pytest.raises(ZeroDivisionError), opened(path) as stage:
        stage.write(ROWS.to_batches()[0])
        raise ZeroDivisionError
    assert not path.exists()
    stage.abort()
    sealed(path)
    other = opened(path)
    other.seal()
    other.abort()
    assert not path.exists()


@pytest.mark.parametrize("cut", [0, 10, 500, -1, -9, "a batch"])
def test_a_file_that_was_cut_off_anywhere_is_not_read_as_whole(tmp_path: Path, cut: int | str) -> None:
    staged = sealed(tmp_path / "s.arrow")
    path = Path(staged.location)
    if cut == "a batch":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, ROWS.schema) as writer:
            writer.write_batch(ROWS.to_batches(max_chunksize=1000)[0])
    else:
        path.write_bytes(path.read_bytes()[: int(cut)])
    try:
        _, batches = spooled(staged)
        found = sum(batch.num_rows for batch in batches)
    except InternalError as error:
        assert "s.arrow" in str(error)
    else:
        assert found == staged.rows


def test_a_file_that_is_gone_is_an_error_of_ours(tmp_path: Path) -> None:
    staged = sealed(tmp_path / "s.arrow")
    with pytest.raises(InternalError, match=r"none\.arrow is gone"):
        spooled(replace(staged, location=str(tmp_path / "none.arrow")))


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    path = tmp_path / "s.arrow"
    path.symlink_to("/dev/full")
    with pytest.raises(ConfigError, match=f"the disk that holds {tmp_path} is full; nothing was loaded"):
        sealed(path)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(pa, "OSFile", refuse)
    with pytest.raises(ConfigError, match=f"can't write to {tmp_path}"):
        opened(tmp_path / "s.arrow")
