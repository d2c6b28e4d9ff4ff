"""The index of a large annotation is used while it is fresh."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz_annotations import fields, small_pieces
from index_files import ROWS, index_of, read, write

from actionrec.data import annotations
from actionrec.data.annotations import AnnotationError
from actionrec.data.rows import content_hash, index_cache

pytest_plugins = ["index_files"]


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
    def changes(path: Path, *args):
        yield from original(path, *args)
        write(csv, ROWS[:-1])

    original = annotations.read_stretches
    monkeypatch.setattr(annotations, "read_stretches", changes)
    read(csv)
    assert not index_of(csv).exists()


@pytest.mark.parametrize("how", ["longer", "same size", "same size and mtime", "replaced"])
def test_a_change_of_the_annotation_is_seen(csv, reads, how):
    read(csv)
    before = csv.stat()
    rows = ["C" + ROWS[0][1:], *ROWS[1:]]
    if how == "replaced":
        write(csv.with_name("other"), rows).replace(csv)
    else:
        write(csv, rows[:-1] if how == "longer" else rows)
    if how in ("same size and mtime", "replaced"):
        os.utime(csv, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (csv.stat().st_size, csv.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    table = read(csv)
    assert len(reads) == 2 and table.ids[0] == "C"
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
    assert table.notes[0].startswith("train.csv: ") and len(reads) == 1


def test_an_annotation_with_an_error_is_never_kept(csv):
    write(csv, [*ROWS, ROWS[-1]])
    for _ in range(2):
        with pytest.raises(AnnotationError, match="is already in line"):
            read(csv)
    assert not index_of(csv).exists()


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


@pytest.fixture
def hashed(monkeypatch) -> list[Path]:
    """The files that were read for their hash alone, one entry each time."""
    found: list[Path] = []
    original = index_cache._sha256
    monkeypatch.setattr(index_cache, "_sha256", lambda path: found.append(path) or original(path))
    return found


@pytest.mark.parametrize("block_bytes", [1, 100, 2**22])
@pytest.mark.parametrize("end", ["", "\n", "\r\n\r\n"])
def test_the_hash_of_the_content_is_known_from_reading_it(csv, monkeypatch, end, block_bytes):
    monkeypatch.setattr(content_hash, "_BLOCK_BYTES", block_bytes)
    csv.write_bytes(csv.read_bytes().rstrip() + end.encode())
    digest = hashlib.sha256(csv.read_bytes()).hexdigest()
    with small_pieces(chunk=64, ahead=16, block=4):
        table = read(csv)
    assert table.sha256 == digest == table.subset(np.array([1])).sha256
    assert read(csv).sha256 == digest  # from the index


def test_a_fresh_index_needs_no_hash_and_one_of_another_size_gets_none(csv, reads, hashed):
    read(csv)
    read(csv)
    write(csv, ROWS[:-1])
    read(csv)
    assert not hashed and len(reads) == 2


def test_a_data_set_that_was_copied_keeps_its_index(csv, tmp_path, reads, hashed):
    first = read(csv)
    copy = shutil.copytree(csv.parent, tmp_path / "copy") / csv.name
    for _ in range(3):
        table = read(copy)
        assert table.source == copy and table.notes[0].startswith(f"{copy}: ")
        assert fields(table) | {"source": 0, "notes": 0} == (
            fields(first) | {"source": 0, "notes": 0}
        )
    assert (reads, hashed) == ([csv], [copy])  # then the index knows the copy


@pytest.mark.parametrize("change", ["touched", "written again", "another inode"])
def test_the_same_content_at_another_time_keeps_its_index(csv, reads, hashed, change):
    read(csv)
    if change == "touched":
        os.utime(csv)
    else:
        write(csv.with_name("other") if "inode" in change else csv, ROWS)
    if change == "another inode":
        csv.with_name("other").replace(csv)
    for _ in range(3):
        assert len(read(csv)) == 2
    assert len(reads) == 1 and len(hashed) == 1


def test_an_index_does_not_learn_the_times_of_a_file_that_may_still_change(
    csv, reads, hashed, monkeypatch
):
    read(csv)
    os.utime(csv)
    monkeypatch.setattr(index_cache, "_TICK_NS", 2 * 10**9)
    read(csv)
    assert len(hashed) == 1
    monkeypatch.setattr(index_cache, "_TICK_NS", 0)
    original = index_cache._sha256

    def changes(path: Path) -> str:
        digest = original(path)
        write(csv, ["C" + ROWS[0][1:], *ROWS[1:]])
        return digest

    monkeypatch.setattr(index_cache, "_sha256", changes)
    assert read(csv).ids[0] == "A" and len(reads) == 1
    monkeypatch.setattr(index_cache, "_sha256", original)
    assert read(csv).ids[0] == "C" and len(reads) == 2


def test_a_copy_that_cannot_be_written_is_hashed_once(csv, reads, hashed, request):
    read(csv)
    os.utime(csv)
    request.getfixturevalue("read_only")
    for _ in range(3):
        read(csv)
    assert len(reads) == 1 and len(hashed) == 1
