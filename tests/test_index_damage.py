"""Whatever is in the index of an annotation, it is harmless."""

from __future__ import annotations

import logging
import os
import random
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fuzz_annotations import fields
from index_files import index_of, read

from actionrec.data.annotations import ClipTable
from actionrec.data.ragged import Arrays, Texts
from actionrec.data.rows import index_file
from actionrec.data.rows.index_file import read_table, write_table
from actionrec.errors import SecurityError

pytest_plugins = ["index_files"]


def damaged(index: Path, kind: str) -> None:
    content = index.read_bytes()
    if kind == "folder":
        index.unlink()
        index.mkdir()
    elif kind == "fifo":
        index.unlink()
        os.mkfifo(index)
    elif kind == "loop":
        index.unlink()
        index.symlink_to(index.name)
    elif kind == "huge":
        os.truncate(index, 2**40)
    else:
        index.write_bytes(
            {
                "empty": b"",
                "torn": content[: len(content) // 2],
                "longer": content + b"\0",
                "flipped": content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
                "zip": b"PK\3\4" + content[4:],
                "pickle": b"\x80\4cos\nsystem\n.",
                "other version": content[:7] + b"1" + content[8:],
                "zeros": bytes(len(content)),
                "ones": b"\xff" * len(content),
            }[kind]
        )


KINDS = ["empty", "torn", "longer", "flipped", "zip", "pickle", "other version", "zeros", "ones"]


@pytest.mark.parametrize("kind", [*KINDS, "folder", "fifo", "loop", "huge"])
def test_what_is_no_index_is_passed_over(csv, reads, caplog, kind):
    expected = fields(read(csv))
    damaged(index_of(csv), kind)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert fields(read(csv)) == expected
    assert len(reads) == 2
    assert "is not used: " in caplog.text and all(r.levelno == logging.INFO for r in caplog.records)
    assert fields(read(csv)) == expected and len(reads) == 2  # mended, or kept elsewhere


KEY = (1, 2, 3, 4, 5, 0)


def as_bytes(tmp_path: Path, table: ClipTable) -> bytes:
    path = tmp_path / "index"
    with path.open("wb") as file:
        write_table(file, table, KEY)
    return path.read_bytes()


def sealed(content: bytes) -> bytes:
    """With the checksum that its writer would have given it."""
    return content[:8] + zlib.crc32(content[16:]).to_bytes(8, "little") + content[16:]


def test_any_change_by_a_malicious_writer_gives_one_error_or_a_table_that_holds(csv, tmp_path):
    content = as_bytes(tmp_path, read(csv))
    assert sealed(content) == content
    rng = random.Random(0)  # noqa: S311
    tables = 0
    for _ in range(4000):
        changed = bytearray(content)
        for _ in range(rng.randint(1, 2)):
            place = rng.randrange(0, len(content) - 8)
            if rng.random() < 0.7:
                place -= place % 8
            value = rng.choice((0, 1, -1, 2, 2**31, 2**62, -(2**63), rng.getrandbits(8)))
            size = rng.choice((1, 8))
            changed[place : place + size] = (value % 256**size).to_bytes(size, "little")
        try:
            table = read_table(sealed(bytes(changed)), csv, 5)
        except ValueError:
            continue
        tables += 1
        assert table.targets(5).shape == (len(table), 5)
        for clip, num_frames in enumerate(table.num_frames.tolist()):
            for path in table.frame_paths(clip, range(min(num_frames, 100))):
                assert not path.startswith("/") and ".." not in path.split("/")
            assert set(table.labels(clip).tolist()) <= set(range(5))
            assert "/" not in table.ids[clip] and table.ids[clip][0].isalnum()
    assert tables > 100


@pytest.mark.parametrize(
    "change",
    [
        {"ids": Texts.of(["../A", "B"])},
        {"ids": Texts.of(["A/B", "B"])},
        {"ids": Texts.of(["", "B"])},
        {"ids": Texts.of(["A" * 129, "B"])},
        {"run_prefixes": Texts.of(["/etc/", *["x"] * 17])},
        {"run_prefixes": Texts.of(["../", *["x"] * 17])},
        {"run_prefixes": Texts.of(["C:/", *["x"] * 17])},
        {"run_prefixes": Texts.of(["\udcff", *["x"] * 17])},
        {"run_suffixes": Texts.of(["/..", *["x"] * 17])},
        {"run_suffixes": Texts.of(["x" * 1024, *["x"] * 17])},
        {
            "run_prefixes": Texts.of(["."] * 18),
            "run_suffixes": Texts.of(["./x"] * 18),
            "stretch_digits": np.zeros(18, np.uint8),
        },
    ],
    ids=lambda change: " ".join(change),
)
def test_names_in_an_index_pass_the_checks_of_the_annotation(csv, tmp_path, change):
    table = read(csv)
    assert len(table.run_prefixes) == len(table.stretch_digits) == 18
    with pytest.raises(SecurityError):
        read_table(as_bytes(tmp_path, replace(table, **change)), csv, 5)


@pytest.mark.parametrize(
    "change",
    [
        {"run_labels": np.full(18, 3, np.int32)},
        {"run_labels": np.full(18, -1, np.int32)},
        {"label_sets": Arrays.of([(0,), (1,), (5,)])},
        {"label_sets": Arrays(np.zeros(3, np.int64), np.array([0, 2, 1, 3]))},
        {"label_sets": Arrays(np.zeros(3, np.int64), np.array([0, 1, 2, 4]))},
        {"row_offsets": np.array([0, 9, 9])},
        {"row_offsets": np.array([0, 8, 2**60])},
        {"row_offsets": np.array([0, 9])},
        {"run_starts": np.arange(1, 19)},
        {"run_starts": np.arange(0, 36, 2)},
        {"stretch_starts": np.arange(17)},
        {"stretch_numbers": np.full(18, -1)},
        {"stretch_digits": np.full(18, 19, np.uint8)},
    ],
    ids=lambda change: " ".join(change),
)
def test_numbers_that_contradict_one_another_are_no_table(csv, tmp_path, change):
    with pytest.raises(ValueError, match="contradict"):
        read_table(as_bytes(tmp_path, replace(read(csv), **change)), csv, 5)


def test_an_index_holds_nothing_that_is_executed(csv, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("an index was unpickled")

    read(csv)
    monkeypatch.setattr("pickle.loads", refused)
    monkeypatch.setattr("pickle.load", refused)
    assert len(read(csv)) == 2
    assert "pickle" not in Path(index_file.__file__).read_text()
