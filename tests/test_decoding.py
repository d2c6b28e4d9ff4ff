"""Which source a run reads from, and the files that its clips lack."""

import os

import pytest
from clip_files import settings, table, write_images, write_video

from actionrec.bench.decoding import measure
from actionrec.data import decoding
from actionrec.data.decoding import find_missing, open_source, require_files
from actionrec.errors import UserError


def test_auto_takes_frames_where_they_are_and_else_the_video(tmp_path):
    clips = table(60, ids=["clip"])
    write_video(tmp_path / "video" / "clip.mp4")
    assert open_source(clips, settings(tmp_path)).key == "DATA.VIDEO_PREFIX"
    write_images(tmp_path / "image", table(1, ids=["clip"]))
    assert open_source(clips, settings(tmp_path)).key == "DATA.PATH_PREFIX"


def test_auto_names_both_places_when_neither_has_the_first_clip(tmp_path):
    with pytest.raises(UserError) as caught:
        open_source(table(), settings(tmp_path))
    for part in (
        "clip AAACXZTV of annot/train.csv",
        f"{tmp_path}/image/AAACXZTV/AAACXZTV_t000001.jpg is not there (DATA.PATH_PREFIX)",
        f"{tmp_path}/video/AAACXZTV.mp4 is not there (DATA.VIDEO_PREFIX)",
    ):
        assert part in str(caught.value)


def test_the_mark_in_a_link_of_prepare_dir_is_not_shown(tmp_path):
    (tmp_path / "data/dataset/image").mkdir(parents=True)
    (tmp_path / "image").symlink_to(f"{tmp_path}/data/././dataset/image")
    clips = table()
    for source in ("auto", "frames"):
        with pytest.raises(UserError) as caught:
            require_files(clips, open_source(clips, settings(tmp_path, source=source)))
        assert f"{tmp_path}/data/dataset/image" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "frames", "frames": None}, "frames but DATA.PATH_PREFIX is not set"),
        ({"source": "video", "video": None}, "video but DATA.VIDEO_PREFIX is not set"),
        ({"frames": None, "video": None}, "PATH_PREFIX is not set; DATA.VIDEO_PREFIX is not set"),
        ({"source": "mp4"}, "DATA.SOURCE: 'mp4' is not one of frames, video, auto"),
    ],
)
def test_a_source_without_a_folder_names_the_key(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        open_source(table(), settings(tmp_path, **options))


def test_missing_frames_are_listed_a_clip_at_a_time(tmp_path):
    clips = table(num_frames=5, ids=["a", "b", "c", "d", "e"])
    write_images(tmp_path / "image", clips)
    root = tmp_path / "image"
    (root / "b" / "b_t000001.jpg").unlink()
    (root / "c" / "c_t000003.jpg").unlink()
    (root / "c" / "c_t000005.jpg").unlink()
    (root / "c" / "c_t000005.jpg").mkdir()
    for path in (root / "d").iterdir():
        path.unlink()
    (root / "e").rename(root / "gone")
    source = open_source(clips, settings(tmp_path))
    expected = [
        "b (b/b_t000001.jpg)",
        "c (c/c_t000003.jpg and 1 more of 5 files)",
        "d (d/d_t000001.jpg and 4 more of 5 files)",
        "e (e/e_t000001.jpg and 4 more of 5 files)",
    ]
    assert find_missing(clips, source) == expected
    with pytest.raises(UserError) as caught:
        require_files(clips, source)
    assert str(caught.value) == (
        f"4 of 5 clips of annot/train.csv lack files: {', '.join(expected[:3])}, ...; "
        f"DATA.PATH_PREFIX is {root}"
    )


def test_files_that_no_clip_names_are_no_fault(tmp_path):
    clips = table()
    write_images(tmp_path / "image", clips)
    for name in (".DS_Store", "Thumbs.db"):
        (tmp_path / "image" / "AAACXZTV" / name).touch()
    require_files(clips, open_source(clips, settings(tmp_path)))


def test_a_folder_that_cannot_be_listed_is_named_with_the_reason(tmp_path):
    clips = table(ids=["a", "b"])
    write_images(tmp_path / "image", clips)
    (tmp_path / "image" / "b").rename(tmp_path / "moved")
    (tmp_path / "image" / "b").symlink_to("b")
    with pytest.raises(UserError, match=r"^clip b: cannot list .*/b \(.*symbolic links.*PREFIX$"):
        find_missing(clips, open_source(clips, settings(tmp_path)))


def test_a_first_file_that_cannot_be_looked_for_is_named_with_its_clip(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(decoding.Path, "exists", refuse)
    message = r"^clip AAACXZTV: cannot reach .*_t000001.jpg \(Permission denied\); check DATA.PATH_"
    with pytest.raises(UserError, match=message):
        open_source(table(), settings(tmp_path))


def test_each_folder_is_listed_once(tmp_path, monkeypatch):
    clips = table(num_frames=20, ids=["a", "b", "c"])
    write_images(tmp_path / "image", clips)
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(decoding.os, "scandir", lambda path: listed.append(path) or scandir(path))
    assert find_missing(clips, open_source(clips, settings(tmp_path))) == []
    assert len(listed) == 3


def test_missing_videos_are_listed(tmp_path):
    clips = table(60, ids=["a", "b"])
    write_video(tmp_path / "video" / "a.mp4")
    assert find_missing(clips, open_source(clips, settings(tmp_path))) == ["b (b.mp4)"]


def test_the_benchmark_gives_its_rows_without_a_tree_of_slowfast_too():
    rows = measure(rounds=1)
    assert [row.name for row in rows] == [
        "32 frames from JPEGs, ms",
        "8 frames from JPEGs, ms",
        "32 frames of mp4, ms",
    ]
    for row in rows:
        assert row.upstream is None and row.ratio is None
        assert row.ours > 0 and row.ceiling_share > 0
