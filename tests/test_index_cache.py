"""The index of a large annotation: used while it is fresh, harmless whatever is in it."""

from __future__ import annotations

import logging
import os
import random
import shutil
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fuzz_annotations import fields

from actionrec.data import annotations
from actionrec.data.annotations import AnnotationError, ClipTable, read_clips
from actionrec.data.ragged import Arrays, Texts
from actionrec.data.rows import index_cache, index_file
from actionrec.data.rows.index_file import read_table, write_table
from actionrec.errors import SecurityError

HEADER = "original_vido_id video_id frame_id path labels"
ROWS = [f"{c} 1 {n} {c}/{c}_t{n:06d}.jpg {n % 3},{n % 3}" for c in "AB" for n in range(9)]


@pytest.fixture
def csv(tmp_path, monkeypatch) -> Path:
    """A small annotation that is kept as a large one would be, and is old enough for it."""
    monkeypatch.setattr(index_cache, "_MIN_BYTES", 0)
    monkeypatch.setattr(index_cache, "_TICK_NS", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "annotations"
    folder.mkdir()
    return write(folder / "train.csv", ROWS)


def write(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join([HEADER, *rows, ""]))
    time.sleep(0.02)  # longer than a tick of the clock that files are stamped with
    return path


def index_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.index")


def read(path: Path, num_classes: int = 5, **options) -> ClipTable:
    return read_clips(path, num_classes=num_classes, **options)


@pytest.fixture
def reads(monkeypatch) -> list[Path]:
    """The files that were really read, one entry each time."""
    found: list[Path] = []

    def spy(path: Path):
        found.append(path)
        return original(path)

    original = annotations.read_stretches
    monkeypatch.setattr(annotations, "read_stretches", spy)
    return found


def test_the_second_start_reads_the_index_and_gets_the_same_table(csv, reads):
    first = read(csv)
    second = read(csv)
    assert reads == [csv] and index_of(csv).is_file()
    assert fields(first) == fields(second) and len(second.notes) == 1
    assert second.frame_paths(1, [8]) == ["B/B_t000008.jpg"]
    assert not second.row_offsets.flags.writeable


def test_small_annotations_leave_no_index(csv, monkeypatch):
    monkeypatch.setattr(index_cache, "_MIN_BYTES", 2**22)
    read(csv)
    assert not index_of(csv).exists()


def test_an_annotation_that_has_just_been_written_leaves_no_index_yet(csv, monkeypatch):
    monkeypatch.setattr(index_cache, "_TICK_NS", 2 * 10**9)
    read(csv)
    assert not index_of(csv).exists()


def test_an_annotation_that_changes_while_it_is_read_leaves_no_index(csv, monkeypatch):
    def changes(path: Path):
        yield from original(path)
        write(csv, ROWS[:-1])

    original = annotations.read_stretches
    monkeypatch.setattr(annotations, "read_stretches", changes)
    read(csv)
    assert not index_of(csv).exists()


@pytest.mark.parametrize("how", ["longer", "same size", "same size and mtime", "replaced", "mtime"])
def test_a_change_of_the_annotation_is_seen(csv, reads, how):
    read(csv)
    before = csv.stat()
    rows = ROWS if how == "mtime" else ["C" + ROWS[0][1:], *ROWS[1:]]
    if how == "replaced":
        write(csv.with_name("other"), rows).replace(csv)
    else:
        write(csv, rows[:-1] if how == "longer" else rows)
    if how in ("same size and mtime", "replaced"):
        os.utime(csv, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (csv.stat().st_size, csv.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    table = read(csv)
    assert len(reads) == 2 and table.ids[0] == ("A" if how == "mtime" else "C")
    assert fields(read(csv)) == fields(table) and len(reads) == 2  # the index is new as well


def test_the_options_are_part_of_what_an_index_is_for(csv, reads):
    read(csv)
    read(csv, num_classes=3)
    read(csv, num_classes=3, unlabelled_frames=True)
    assert len(reads) == 3
    with pytest.raises(AnnotationError, match="label 2 is outside 0..1"):
        read(csv, num_classes=2)


def test_the_notes_name_the_file_as_the_reader_did(csv, reads, monkeypatch):
    read(csv)
    monkeypatch.chdir(csv.parent)
    table = read(Path("train.csv"))
    assert table.notes[0].startswith("train.csv: ") and len(reads) == 2


def test_an_annotation_with_an_error_is_never_kept(csv):
    write(csv, [*ROWS, ROWS[-1]])
    for _ in range(2):
        with pytest.raises(AnnotationError, match="is already in line"):
            read(csv)
    assert not index_of(csv).exists()


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
                "other version": content[:7] + b"2" + content[8:],
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
            table = read_table(sealed(bytes(changed)), csv, KEY, 5)
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
        read_table(as_bytes(tmp_path, replace(table, **change)), csv, KEY, 5)


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
        read_table(as_bytes(tmp_path, replace(read(csv), **change)), csv, KEY, 5)


def test_names_beyond_ascii_come_back(tmp_path, csv, reads):
    write(csv, [f"A 1 {n} Löwe/t{n}.jpg 1" for n in range(5)] + ["B 1 1 same 2"])
    expected = fields(read(csv))
    assert fields(read(csv)) == expected and len(reads) == 1
    assert index_of(csv).is_file()


def test_a_split_without_any_label_comes_back(csv, reads):
    write(csv, [f'A 1 {n} A/{n}.jpg ""' for n in range(5)])
    for _ in range(2):
        table = read(csv, unlabelled_frames=True)
        assert table.labels(0).tolist() == [] and not table.targets(5).any()
    assert len(reads) == 1


@pytest.fixture
def read_only(csv, monkeypatch) -> Path:
    """The annotation in a folder that cannot be written: chmod means nothing to root."""
    original = index_cache.atomic_file

    def refuses(path: Path):
        if path.parent == csv.parent:
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(index_cache, "atomic_file", refuses)
    return csv


def test_in_a_folder_that_cannot_be_written_the_users_cache_folder_serves(
    read_only, tmp_path, reads
):
    first = read(read_only)
    assert fields(read(read_only)) == fields(first) and len(reads) == 1
    assert [p.suffix for p in (tmp_path / "cache" / "actionrec").iterdir()] == [".index"]
    assert not index_of(read_only).exists()


def test_two_annotations_have_two_places_in_the_users_cache_folder(read_only, reads):
    other = read_only.with_name("val.csv")
    shutil.copy(read_only, other)
    for path in (read_only, other, read_only, other):
        assert read(path).source == path
    assert len(reads) == 2


@pytest.mark.parametrize("home", ["unset", "a file", "a relative path"])
def test_without_any_place_to_write_there_is_no_index_and_no_error(
    read_only, tmp_path, reads, monkeypatch, home
):
    monkeypatch.delenv("XDG_CACHE_HOME")
    if home == "unset":
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # the user has no entry either
    elif home == "a relative path":
        monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    else:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert len(read(read_only)) == 2
    assert len(reads) == 2


def test_eight_processes_at_once_all_get_the_table(csv, repo):
    code = (
        "import sys; from pathlib import Path; from actionrec.data.rows import index_cache\n"
        "index_cache._MIN_BYTES = index_cache._TICK_NS = 0\n"
        "from actionrec.data.annotations import read_clips\n"
        "for _ in range(5): print(*read_clips(Path(sys.argv[1]), num_classes=5).ids)\n"
    )
    environment = {"PYTHONPATH": str(repo / "code_new"), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(csv)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for process in started:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out, err) == (0, "A B\n" * 5, "")
    assert {p.name for p in csv.parent.iterdir()} == {"train.csv", ".train.csv.index"}


def test_an_index_holds_nothing_that_is_executed(csv, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise RuntimeError("an index was unpickled")

    read(csv)
    monkeypatch.setattr("pickle.loads", refused)
    monkeypatch.setattr("pickle.load", refused)
    assert len(read(csv)) == 2
    assert "pickle" not in Path(index_file.__file__).read_text()
