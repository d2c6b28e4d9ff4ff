"""metrics.csv holds a line an epoch, through resumes, and never ends a run."""

from __future__ import annotations

import csv
import logging
import os
from pathlib import Path

import pytest

from actionrec import atomic_file
from actionrec.engine.epoch_table import COLUMNS, EpochTable

TRAINED = {"train_loss": 0.25, "lr": 0.1, "seconds": 12.0, "data_wait_share": 0.5}
VALIDATED = {"val_map": 0.3, "val_map_head": 0.5, "val_map_middle": 0.3, "val_map_tail": 0.1}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.csv"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def epochs_of(path: Path) -> list[int]:
    return [int(row["epoch"]) for row in rows_of(path)]


def table_of(path: Path, epochs: int) -> EpochTable:
    table = EpochTable(path)
    for epoch in range(1, epochs + 1):
        table.put(epoch, **TRAINED)
    return table


def test_a_line_holds_what_is_known_and_is_completed_by_the_validation(path):
    table = EpochTable(path)
    table.put(1, **TRAINED, clips_skipped=0, nonfinite_steps=1, loss_phase="DRW, from epoch 80")
    table.put(2, **TRAINED, val_map=None)
    table.put(1, **VALIDATED)
    assert path.read_text() == (
        ",".join(COLUMNS) + "\n"
        '1,0.25,0.1,12,0.5,0,1,"DRW, from epoch 80",0.3,0.5,0.3,0.1\n'
        "2,0.25,0.1,12,0.5,,,,,,,\n"
    )


def test_a_segment_without_a_class_is_nan_and_not_empty(path):
    EpochTable(path).put(1, val_map_tail=float("nan"))
    assert rows_of(path)[0]["val_map_tail"] == "nan"


def test_a_column_that_does_not_exist_is_a_mistake_of_the_caller(path):
    with pytest.raises(KeyError, match="no columns of metrics.csv: loss, map"):
        EpochTable(path).put(1, map=0.3, loss=0.1)


@pytest.mark.parametrize("trained", [1, 2, 3, 4])
def test_a_resumed_run_keeps_the_lines_before_its_epoch(path, tmp_path, trained):
    table_of(path, 3)
    before = rows_of(path)
    table = EpochTable(path)
    table.resume(trained)
    table.put(trained + 1, train_loss=0.125)
    kept = min(trained, 3)
    assert rows_of(path)[:kept] == before[:kept]
    assert epochs_of(path) == [*range(1, kept + 1), trained + 1]
    assert list(tmp_path.iterdir()) == [path]


def test_the_saved_epoch_may_be_validated_once_more(path):
    table_of(path, 2)
    table = EpochTable(path)
    table.resume(2)
    table.put(2, **VALIDATED)
    assert rows_of(path)[1]["train_loss"] == "0.25" and rows_of(path)[1]["val_map"] == "0.3"


def test_a_run_that_starts_anew_renames_the_table_of_the_earlier_one(path, tmp_path):
    table_of(path, 3)
    text = path.read_text()
    table = EpochTable(path)
    table.resume(0)
    table.put(1, **TRAINED)
    assert epochs_of(path) == [1]
    (aside,) = tmp_path.glob("metrics_*.csv")
    assert aside.read_text() == text


def make_folder(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 33)


def holding(text: bytes):
    def make(path: Path) -> None:
        path.write_bytes(text)

    return make


HEADER = ",".join(COLUMNS).encode() + b"\n"


@pytest.mark.parametrize(
    "make",
    [
        make_folder,
        make_fifo,
        make_huge,
        holding(b""),
        holding(b"a,b\n1,2\n"),
        holding(HEADER + b"1,0.5\n"),
        holding(HEADER + b"one" + b"," * 11 + b"\n"),
        holding(HEADER + b"\n"),
        holding(HEADER + b"2" + b"," * 11 + b"\n1" + b"," * 11 + b"\n"),
        holding(HEADER + b"1" + b"," * 11 + b"\n1" + b"," * 11 + b"\n"),
        holding(HEADER + b"1,\xff" + b"," * 10 + b"\n"),
        holding(HEADER + b'1,"' + b"x" * 200_000 + b'"' + b"," * 10 + b"\n"),
        holding(b"\x00" * 100),
    ],
)
def test_a_foreign_or_damaged_file_is_set_aside_with_one_warning(path, tmp_path, make, caplog):
    make(path)
    table = EpochTable(path)
    with caplog.at_level(logging.WARNING):
        table.resume(1)
    assert len(caplog.records) == 1 and "a new one is begun" in caplog.text
    table.put(2, **TRAINED)
    assert epochs_of(path) == [2]
    assert len(list(tmp_path.glob("metrics_*.csv"))) == 1


def test_where_there_is_no_table_one_is_begun(path, caplog):
    table = EpochTable(path)
    table.resume(3)
    table.put(4, **TRAINED)
    assert epochs_of(path) == [4] and not caplog.records


def test_a_full_disk_is_a_warning_and_the_next_epoch_writes_all(path, caplog, monkeypatch):
    table = table_of(path, 1)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(atomic_file.os, "fsync", full)
        table.put(2, **TRAINED)
    assert epochs_of(path) == [1] and "not written (No space left on device)" in caplog.text
    table.put(3, **TRAINED)
    assert epochs_of(path) == [1, 2, 3]
    assert list(path.parent.iterdir()) == [path]
