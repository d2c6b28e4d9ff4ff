"""The doctor on frames and videos that were broken on purpose."""

from __future__ import annotations

import os
import shutil
import struct
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from clip_files import write_video

from actionrec.data.demo import make_demo
from actionrec.data.doctor.examination import Request, examine
from actionrec.data.doctor.findings import Report, Severity
from actionrec.data.doctor.in_parallel import in_parallel
from actionrec.types import DataSettings


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "demo"
    make_demo(folder, clips_per_split=2)
    return folder


@pytest.fixture
def demo(made, tmp_path, monkeypatch) -> Path:
    """Four clips to break; a run may lose half of them."""
    monkeypatch.setattr(DataSettings, "max_bad_fraction", 0.5)
    return shutil.copytree(made, tmp_path / "demo")


def check(demo: Path, **what) -> Report:
    return examine(Request(demo / "annot", **what))


def check_images(demo: Path, **what) -> Report:
    return check(demo, images=demo / "image", **what)


def check_videos(demo: Path, **what) -> Report:
    return check(demo, videos=demo / "video", **what)


def a_frame(demo: Path) -> Path:
    return sorted((demo / "image").rglob("*.jpg"))[3]


def a_video(demo: Path) -> Path:
    return sorted((demo / "video").iterdir())[0]


def found(report: Report, kind: str):
    return next((f for f in report.findings if f.kind == kind), None)


def jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture)[1].tobytes()


def bomb() -> bytes:
    """A PNG header that says 16,000 x 16,000, and an end."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 16000, 16000) + b"\x08\2\0\0\0IEND"


BROKEN_FRAMES = {
    "cut": lambda data: data[: len(data) // 2],
    "zero bytes": lambda data: b"",
    "web page": lambda data: b"<html>not found</html>",
    "garbage": lambda data: bytes(range(256)),
}


@pytest.mark.parametrize("decode", [False, True], ids=["headers", "pixels"])
@pytest.mark.parametrize("change", BROKEN_FRAMES)
def test_a_broken_frame_is_found_and_named(demo, change, decode):
    frame = a_frame(demo)
    frame.write_bytes(BROKEN_FRAMES[change](frame.read_bytes()))
    report = check_images(demo, decode=decode)
    broken = found(report, "broken")
    assert broken.severity is Severity.WARNING and broken.count == 1
    assert broken.examples[0].startswith(f"{frame.parent.name}: {frame.parent.name}/{frame.name}")
    assert report.exit_code == 3


def test_several_broken_frames_of_a_clip_are_counted(demo):
    for frame in sorted(a_frame(demo).parent.iterdir())[:4]:
        frame.write_bytes(b"")
    assert found(check_images(demo), "broken").examples[0].endswith("(and 3 more)")


def test_missing_frames_and_missing_clips_are_told_apart(demo):
    frame = a_frame(demo)
    frame.unlink()
    gone = sorted((demo / "image").iterdir())[-1]
    shutil.rmtree(gone)
    report = check_images(demo)
    assert found(report, "missing").examples == (
        f"{gone.name}: no {gone.name}/{gone.name}_t000001.jpg",
    )
    short = found(report, "short")
    assert short.examples[0].startswith(f"{frame.parent.name}: 1 of ")
    assert short.examples[0].endswith(f"files, the first is {frame.parent.name}/{frame.name}")
    assert report.exit_code == 3


@pytest.mark.parametrize("decode", [False, True], ids=["headers", "pixels"])
def test_frames_of_two_sizes_in_a_clip_are_found(demo, decode):
    a_frame(demo).write_bytes(jpeg(np.zeros((48, 64, 3), np.uint8)))
    mixed = found(check_images(demo, decode=decode), "mixed_sizes")
    assert mixed.examples == (f"{a_frame(demo).parent.name}: 128x96 64x48",)


def test_clips_of_several_sizes_are_a_note(demo):
    for frame in a_frame(demo).parent.iterdir():
        frame.write_bytes(jpeg(np.zeros((48, 64, 3), np.uint8)))
    report = check_images(demo)
    assert found(report, "several_sizes").examples == ("128x96 in 3 clips", "64x48 in 1 clips")
    assert report.exit_code == 0


@pytest.mark.parametrize("decode", [False, True], ids=["headers", "pixels"])
@pytest.mark.parametrize("mode", ["grey", "CMYK", "grey PNG", "16-bit"])
def test_what_is_not_plain_rgb_is_noted(demo, mode, decode):
    from PIL import Image

    frame, rgb = a_frame(demo), np.zeros((96, 128, 3), np.uint8)
    if mode == "CMYK":
        Image.fromarray(rgb).convert("CMYK").save(frame)
    elif mode == "16-bit":
        frame.write_bytes(cv2.imencode(".png", rgb.astype(np.uint16))[1].tobytes())
    else:
        frame.write_bytes(
            cv2.imencode(".png" if "PNG" in mode else ".jpg", rgb[..., 0])[1].tobytes()
        )
    report = check_images(demo, decode=decode)
    said = mode.removesuffix(" PNG")
    assert found(report, "colours").examples == (f"{frame.parent.name}: {said}",)
    assert report.exit_code == 0


def test_a_long_header_is_read_too(demo):
    frame = a_frame(demo)
    data = frame.read_bytes()
    comment = b"\xff\xfe" + struct.pack(">H", 60002) + b"x" * 60000
    frame.write_bytes(data[:2] + comment + data[2:] + b"\0" * 500)
    assert found(check_images(demo), "broken") is None


@pytest.mark.parametrize("decode", [False, True], ids=["headers", "pixels"])
def test_a_pixel_bomb_is_refused(demo, decode):
    a_frame(demo).write_bytes(bomb())
    report = check_images(demo, decode=decode)
    assert found(report, "refused").severity is Severity.ERROR
    assert report.exit_code == 2


def test_a_link_that_leads_out_is_refused_and_a_pipe_is_not_opened(demo):
    frame = a_frame(demo)
    frame.unlink()
    frame.symlink_to("/etc/hostname")
    pipe = sorted((demo / "image").iterdir())[-1] / frame.name.replace(
        frame.parent.name, sorted((demo / "image").iterdir())[-1].name
    )
    pipe.unlink()
    os.mkfifo(pipe)
    report = check_images(demo)
    assert "outside" in found(report, "refused").examples[0]
    assert "not a regular file" in found(report, "broken").examples[0]


def test_files_and_folders_of_no_clip_are_noted_and_those_of_file_managers_not(demo):
    clip = a_frame(demo).parent
    for name in (".DS_Store", "Thumbs.db", "._x.jpg"):
        (clip / name).write_bytes(b"x")
        (demo / "image" / name).write_bytes(b"x")
        (demo / "video" / name).write_bytes(b"x")
    report = check(demo, images=demo / "image", videos=demo / "video")
    assert not found(report, "extra_files") and not found(report, "extra_entries")
    (clip / "notes\x1b.txt").write_bytes(b"x")
    (demo / "image" / "OTHER").mkdir()
    (demo / "video" / "other.mp4").write_bytes(b"x")
    report = check(demo, images=demo / "image", videos=demo / "video")
    assert found(report, "extra_files").examples == (f"'{clip.name}/notes\\x1b.txt'",)
    entries = [f.examples for f in report.findings if f.kind == "extra_entries"]
    assert entries == [("'OTHER'",), ("'other.mp4'",)]
    assert report.exit_code == 0


def test_in_a_folder_that_clips_share_no_file_counts_as_extra(tmp_path):
    (tmp_path / "all").mkdir()
    header = "original_vido_id video_id frame_id path labels\n"
    for name, clip in (("train.csv", "A"), ("val.csv", "B")):
        (tmp_path / name).write_text(f"{header}{clip} 1 1 all/{clip}_1.jpg 0\n")
        (tmp_path / f"all/{clip}_1.jpg").write_bytes(jpeg(np.zeros((48, 64, 3), np.uint8)))
    report = examine(Request(tmp_path, num_classes=1, images=tmp_path / "all" / ".."))
    assert not found(report, "extra_files") and not found(report, "missing")


def test_too_many_bad_clips_for_a_run_are_an_error(demo, monkeypatch):
    monkeypatch.setattr(DataSettings, "max_bad_fraction", 0.001)
    a_frame(demo).unlink()
    report = check_images(demo)
    assert found(report, "too_many_bad").severity is Severity.ERROR
    assert "1 of 2 clips of" in found(report, "too_many_bad").what
    assert "a run ends at more than 0.1%" in found(report, "too_many_bad").what


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("gone", "missing"),
        ("web page", "broken"),
        ("zero bytes", "broken"),
        ("cut", "broken"),
        ("folder", "broken"),
    ],
)
def test_a_broken_video_is_found_and_named(demo, change, kind):
    video = a_video(demo)
    data = video.read_bytes()
    video.unlink()
    if change == "folder":
        video.mkdir()
    elif change != "gone":
        video.write_bytes({"web page": b"<html>", "zero bytes": b"", "cut": data[:5000]}[change])
    report = check_videos(demo)
    assert found(report, kind).examples[0].startswith(f"{video.stem}: ")
    assert report.exit_code == 3


def test_a_video_whose_index_comes_first_is_found_cut_without_decoding(demo):
    video = a_video(demo)
    write_video(video, container={"movflags": "faststart"})
    video.write_bytes(video.read_bytes()[:-200])
    assert "ends before its last frame does" in found(check_videos(demo), "broken").examples[0]


@pytest.mark.parametrize(
    ("num_frames", "kind"), [(-3, "short"), (-1, "slightly_short"), (0, None), (3, "longer")]
)
def test_the_length_of_a_video_is_compared_with_the_annotation(demo, num_frames, kind):
    video = a_video(demo)
    rows = (demo / "annot/train.csv").read_text() + (demo / "annot/val.csv").read_text()
    num_annotated = rows.count(f"/{video.stem}_t")
    write_video(video, times=[20 * k for k in range(num_annotated + num_frames)])
    report = check_videos(demo, decode=True)
    said = f"{video.stem}: {num_annotated + num_frames} frames, {num_annotated} annotated"
    assert {f.kind for f in report.findings} & {"short", "slightly_short", "longer", "broken"} == (
        {kind} if kind else set()
    )
    assert kind is None or found(report, kind).examples == (said,)


def test_damage_inside_a_video_is_found_by_decoding_alone(demo):
    video = a_video(demo)
    data = bytearray(video.read_bytes())
    start = data.index(b"mdat") + 1000
    data[start : start + 4000] = bytes(4000)
    video.write_bytes(data)
    assert found(check_videos(demo), "broken") is None
    assert found(check_videos(demo, decode=True), "broken").count == 1


def hashed(demo: Path) -> Report:
    folder = demo / "image"
    return check_images(demo, decode=True, manifests=((folder, demo / "image.sha256"),))


def test_one_flipped_bit_is_found_by_the_manifest_alone(demo):
    assert hashed(demo).written[0].endswith("files")
    assert hashed(demo).facts[str(demo / "image.sha256")]["files as they were"] > 100
    frame = a_frame(demo)
    data = bytearray(frame.read_bytes())
    data[-30] ^= 1
    frame.write_bytes(data)
    report = hashed(demo)
    assert not found(report, "broken")
    assert found(report, "manifest_changed").examples == (f"'{frame.parent.name}/{frame.name}'",)
    assert report.exit_code == 3


def test_files_that_came_or_went_are_told_from_the_changed_ones(demo):
    hashed(demo)
    frame = a_frame(demo)
    frame.rename(frame.with_name("zz.jpg"))
    (frame.parent / "Thumbs.db").write_bytes(b"x")
    report = hashed(demo)
    assert found(report, "manifest_gone").examples == (f"'{frame.parent.name}/{frame.name}'",)
    assert found(report, "manifest_new").examples == (f"'{frame.parent.name}/zz.jpg'",)
    assert not found(report, "manifest_changed")


def test_names_are_in_one_order_in_folder_and_manifest(demo):
    """As text `a-b/x` comes before `a/x`, as folders after it."""
    for name in ("a/x", "a-b/x", "a.x", "a/b/x"):
        (demo / "image" / name).parent.mkdir(parents=True, exist_ok=True)
        (demo / "image" / name).write_bytes(name.encode())
    hashed(demo)
    report = hashed(demo)
    assert not [f for f in report.findings if f.kind.startswith("manifest")]


@pytest.mark.parametrize("content", ["not a manifest\n", "{1}  b\n{0}  a\n", "{0}  a\n{0}  a\n"])
def test_a_manifest_that_is_none_is_one_line(demo, content):
    (demo / "image.sha256").write_text(content.format("0" * 64, "1" * 64))
    report = hashed(demo)
    said = found(report, "manifest")
    assert said.severity is Severity.ERROR and f"{demo / 'image.sha256'}:" in said.what


def test_work_in_parallel_keeps_the_order_and_runs_little_ahead():
    asked: list[int] = []

    def items():
        for n in range(200):
            asked.append(n)
            yield n

    results = in_parallel(lambda n: n * n, items(), workers=2)
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
    assert len(asked) <= 5 + 4 * 2 + 1
    results.close()
    assert threading.active_count() < 10 and len(asked) < 20
