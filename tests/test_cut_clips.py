"""Windows against a written-out reference; clips that hold exactly their frames; boxes; resume."""

from __future__ import annotations

import av
import numpy as np
import pytest
from clip_files import TICK, counter_frame, numbers, read_counter, settings, table, write_video
from hypothesis import given
from hypothesis import strategies as st
from lab_files import scene

from actionrec.data.decoding import open_source
from actionrec.data.input_checks import AnnotationError
from actionrec.data.own import cut_clips as cutting
from actionrec.data.own.boxes import Track, read_boxes, square_crop
from actionrec.data.own.cut_clips import Clip, cut_clips
from actionrec.data.own.source_videos import UnusableVideo, VideoFolder, probe
from actionrec.data.own.video_split import choose_validation
from actionrec.data.own.windows import behaviours_in, window_starts


def test_windows_step_by_the_stride_and_a_last_one_ends_with_the_video():
    assert window_starts(9.0, 3.0, 1.5) == [0, 1.5, 3, 4.5, 6]
    assert window_starts(8.5, 3.0, 1.5) == [0, 1.5, 3, 4.5, 5.5]
    assert window_starts(9.05, 3.0, 1.5) == [0, 1.5, 3, 4.5, 6]  # a rest of 0.05 s has no clip
    assert window_starts(2.0, 3.0, 1.5) == window_starts(3.0, 3.0, 1.5) == [0]
    assert window_starts(7.0, 2.0, 5.0) == [0, 5]


quarters = st.integers(0, 80).map(lambda n: n / 4)
bouts = st.lists(
    st.tuples(quarters, quarters, st.sampled_from("ab")).map(lambda b: (*sorted(b[:2]), b[2])),
    max_size=6,
)


@given(start=quarters, length=st.sampled_from([1.0, 3.0]), bouts=bouts, f=st.sampled_from([0.5, 1]))
def test_behaviours_of_a_window_equal_the_written_rule(start, length, bouts, f):
    """The rule in the slowest clear way: in quarters of a second, each wholly covered or not."""
    window = {start + n / 4 for n in range(int(4 * length))}
    cells = {
        name: [
            ({begin + n / 4 for n in range(round(4 * (end - begin)))}, begin)
            for begin, end, b in bouts
            if b == name
        ]
        for name in "ab"
    }
    expected, touched = set(), False
    for name, of_name in cells.items():
        filled = set().union(*(own for own, _ in of_name)) & window if of_name else set()
        moments = [begin for own, begin in of_name if not own and start <= begin < start + length]
        mostly = any(own and len(own & window) >= f * len(own) for own, _ in of_name)
        if len(filled) >= f * len(window) or mostly or moments:
            expected.add(name)
        touched = touched or bool(filled or moments)
    assert behaviours_in(start, start + length, bouts, f) == (expected, touched)


@given(duration=st.integers(12, 200).map(lambda n: n / 4), begin=quarters, length=quarters)
def test_no_bout_is_lost_when_windows_overlap_by_half(duration, begin, length):
    begin = min(begin, duration - 0.25)
    bout = (begin, min(begin + length, duration), "a")
    starts = window_starts(duration, 3.0, 1.5)
    assert any(behaviours_in(s, s + 3.0, [bout], 0.5)[0] for s in starts)


SOURCES = {
    "mp4, B-frames, open groups": {"options": {"x264-params": "open-gop=1:keyint=12:bframes=3"}},
    "avi, MPEG-4 with B-frames": {"name": "a.avi", "codec": "mpeg4", "options": {"bf": "2"}},
    "mkv": {"name": "a.mkv"},
    "uneven times, late start": {"times": [100 + 20 * k + 7 * (k % 3) for k in range(60)]},
}


def source(folder, name="a.mp4", **how):
    folder.mkdir(exist_ok=True)
    if name.endswith("avi"):
        how["times"] = None
    return probe(write_lab_video(folder / name, **how))


def write_lab_video(path, **how):
    """As write_video, which writes 60 frames at 30 Hz; AVI knows whole frames only."""
    if path.suffix != ".avi":
        return write_video(path, **how)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(how["codec"], rate=30, options=how["options"])
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(60):
            frame = av.VideoFrame.from_ndarray(counter_frame(number), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def cut(video, clips, folder, short_side_px=0):
    folder.mkdir(exist_ok=True)
    steps = []
    cut_clips(video, clips, folder, short_side_px=short_side_px, done=steps.append)
    return sum(steps)


def read_clip(root, clip):
    """As training reads it."""
    clips = table(clip.end - clip.first, ids=[clip.clip_id])
    return open_source(clips, settings(root, source="video")).read(
        0, np.arange(clip.end - clip.first)
    )


@pytest.mark.parametrize("kind", SOURCES)
def test_a_clip_holds_exactly_its_frames(tmp_path, kind):
    video = source(tmp_path / "lab", **SOURCES[kind])
    clips = [Clip("whole", 0, 60), Clip("middle", 20, 45), Clip("late", 33, 60), Clip("one", 7, 8)]
    assert cut(video, clips, tmp_path / "video") == 4
    for clip in clips:
        assert numbers(read_clip(tmp_path, clip)) == list(range(clip.first, clip.end))
    assert sorted(p.name for p in (tmp_path / "video").iterdir()) == sorted(
        f"{clip.clip_id}.mp4" for clip in clips
    )


def test_seconds_become_the_frames_that_are_shown_then(tmp_path):
    video = source(tmp_path / "lab", **SOURCES["uneven times, late start"])
    shown = [(20 * k + 7 * (k % 3)) / 600 for k in range(60)]
    assert video.times_sec.tolist() == pytest.approx(shown)
    for start, stop in ((0.0, 1.0), (0.5, 1.25), (1.0, 9.0)):
        first, end = video.frame_range(start, stop)
        assert [start <= t < stop for t in shown] == [first <= k < end for k in range(60)]
    assert source(tmp_path / "lab", "b.mp4").duration_sec == pytest.approx(2.0)


@pytest.mark.parametrize("colourspace", [1, 5])  # BT.709, as cameras write HD, and BT.601
def test_the_colours_of_a_clip_are_those_of_the_video(tmp_path, colourspace):
    pictures = scene("Walking Left", 3, seed=1)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.codec_context.colorspace = colourspace
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            out.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=colourspace)))
        out.mux(stream.encode())
    clip = Clip("c", 0, 3)
    cut(probe(path), [clip], tmp_path / "video")
    difference = read_clip(tmp_path, clip).astype(int) - pictures
    assert np.abs(difference).mean() < 5 and np.abs(difference.mean(axis=(0, 1, 2))).max() < 4


def test_an_interrupted_cut_leaves_whole_clips_and_goes_on(tmp_path, monkeypatch):
    video = source(tmp_path / "lab")
    clips = [Clip("a", 0, 20), Clip("b", 10, 30), Clip("c", 40, 60)]
    frames = cutting._frames

    def until_25(*args):
        for index, frame in frames(*args):
            if index == 25:
                raise KeyboardInterrupt
            yield index, frame

    monkeypatch.setattr(cutting, "_frames", until_25)
    with pytest.raises(KeyboardInterrupt):
        cut(video, clips, tmp_path / "video")
    assert [p.name for p in (tmp_path / "video").iterdir()] == ["a.mp4"]
    monkeypatch.setattr(cutting, "_frames", frames)
    before = (tmp_path / "video/a.mp4").stat()
    assert cut(video, clips, tmp_path / "video") == 3
    after = (tmp_path / "video/a.mp4").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    for clip in clips:
        assert numbers(read_clip(tmp_path, clip)) == list(range(clip.first, clip.end))


def test_a_clip_of_other_frames_size_or_source_is_cut_again_and_a_broken_one_too(tmp_path):
    video, folder = source(tmp_path / "lab"), tmp_path / "video"
    cut(video, [Clip("a", 0, 20)], folder)
    inode = (folder / "a.mp4").stat().st_ino
    cut(video, [Clip("a", 0, 20)], folder)
    assert (folder / "a.mp4").stat().st_ino == inode
    for clip, px in (
        (Clip("a", 0, 21), 0),
        (Clip("a", 0, 21), 24),
        (Clip("a", 0, 9, (0, 0, 9, 9)), 0),
    ):
        cut(video, [clip], folder, px)
        assert (folder / "a.mp4").stat().st_ino != inode
        inode = (folder / "a.mp4").stat().st_ino
    (folder / "a.mp4").write_bytes(b"torn")
    cut(video, [Clip("a", 5, 9)], folder)
    assert numbers(read_clip(tmp_path, Clip("a", 5, 9))) == [5, 6, 7, 8]


def test_a_video_that_breaks_off_leaves_the_clips_before(tmp_path):
    path = write_video(tmp_path / "a.mp4", container={"movflags": "faststart"}, noise=True)
    video = probe(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    path.write_bytes(data)
    with pytest.raises(UnusableVideo, match=r"a.mp4: (frame \d+|ends at frame)"):
        cut(video, [Clip("a", 0, 5), Clip("b", 0, 60)], tmp_path / "video")
    assert [p.name for p in (tmp_path / "video").iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("content", [b"", b"no video"])
def test_what_is_no_video_is_unusable(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(UnusableVideo, match=r"a.mp4: cannot be read"):
        probe(tmp_path / "a.mp4")


def test_large_pictures_are_scaled_to_even_sides_and_small_ones_kept(tmp_path):
    video = source(tmp_path / "lab")
    for px, size in ((0, (48, 64)), (360, (48, 64)), (24, (24, 32)), (25, (24, 34))):
        clip = Clip(f"px{px}", 0, 4)
        cut(video, [clip], tmp_path / "video", px)
        assert read_clip(tmp_path, clip).shape[1:3] == size


def test_without_libx264_mpeg4_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(cutting, "ENCODERS", (("no such", {}), *cutting.ENCODERS[1:]))
    clip = Clip("a", 3, 30)
    cut(source(tmp_path / "lab"), [clip], tmp_path / "video")
    assert numbers(read_clip(tmp_path, clip)) == list(range(3, 30))


def test_a_turned_video_is_cut_upright(tmp_path):
    from test_video import with_matrix

    path = write_video(tmp_path / "a.mp4")
    one = 1 << 16
    with_matrix(path, (0, one, 0, -one, 0, 0, 0, 0, 1 << 30))
    clip = Clip("a", 5, 9)
    cut(probe(path), [clip], tmp_path / "video")
    turned = read_clip(tmp_path, clip)
    assert turned.shape[1:3] == (64, 48)
    assert [read_counter(np.rot90(frame)) for frame in turned] == [5, 6, 7, 8]


def test_a_crop_shows_one_animal(tmp_path):
    """Two counters side by side in one picture: the left one counts up, the right one down."""
    path = tmp_path / "two.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 64, "yuv420p"
        for k in range(30):
            picture = np.full((64, 160, 3), 30, np.uint8)
            picture[8:56, 8:72] = counter_frame(k)
            picture[8:56, 88:152] = counter_frame(100 - k)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(stream.encode())
    # 64 px wide with 20 % around is more than the height: cut off there, not in the width.
    assert square_crop((88, 8, 152, 56), 160, 64) == (82, 0, 159, 64)
    for box, left, expected in (((8, 8, 72, 56), 2, 7), ((88, 8, 152, 56), 82, 93)):
        clip = Clip(f"at{left}", 7, 12, box)
        cut(probe(path), [clip], tmp_path / "video")
        frame = read_clip(tmp_path, clip)[0]
        inner = frame[8:56, box[0] - left : box[0] - left + 64]
        assert read_counter(inner) == expected


@given(
    left=st.integers(0, 300), top=st.integers(0, 200), width=st.integers(1, 300),
    height=st.integers(1, 200),
)  # fmt: skip
def test_a_crop_holds_the_box_lies_in_the_picture_and_is_square_where_it_can(
    left, top, width, height
):
    box = (left, top, min(left + width, 320), min(top + height, 240))
    x0, y0, x1, y1 = square_crop(box, 320, 240)
    assert 0 <= x0 < x1 <= 320 and 0 <= y0 < y1 <= 240
    if box[2] > box[0] and box[3] > box[1]:
        assert x0 <= box[0] + 1 and x1 >= box[2] - 1 and y0 <= box[1] + 1 and y1 >= box[3] - 1
    side = max(2, round(1.2 * max(box[2] - box[0], box[3] - box[1])))
    assert (x1 - x0, y1 - y0) == (min(side, 320), min(side, 240))


def test_the_box_of_a_clip_is_around_all_boxes_in_it_if_the_animal_is_there_long_enough():
    track = Track([(f, (10.0 + f, 20.0, 30.0 + f, 50.0)) for f in range(0, 50, 5)])
    assert track.around(0, 30, 0.5) == (10, 20, 55, 50)
    assert track.around(40, 100, 0.5) is None
    assert track.around(40, 100, 0.1) == (50, 20, 75, 50)
    assert track.around(60, 90, 0.01) is None


def test_boxes_are_read_by_video_and_track_and_mistakes_are_named(tmp_path):
    path = tmp_path / "boxes.csv"
    header = "video;frame;x;y;w;h;track\n"
    path.write_text(header + "a.mp4;3;1.5;2;10;20;red\na.mp4;1;1;2;10;20;red\na.mp4;1;5;5;5;5;2\n")
    where, tracks = read_boxes(path)["a.mp4"]
    assert where == f"{path}:2" and tracks.keys() == {"red", "2"}
    assert tracks["red"].frames.tolist() == [1, 3]
    assert tracks["red"].boxes.tolist() == [[1, 2, 11, 22], [1.5, 2, 11.5, 22]]
    for row, says in (
        ("a.mp4;-1;1;2;10;20;red", "frame -1 is no whole number from 0 up"),
        ("a.mp4;1;1;2;0;20;red", "the box is 0 x 20 px"),
        ("a.mp4;1;x;2;1;20;red", "x is 'x', not a number of pixels"),
        ("a.mp4;1;1;2;1;20;", "names no video or no track"),
    ):
        path.write_text(f"{header}{row}\n")
        with pytest.raises(AnnotationError, match=f"boxes.csv:2: {says}"):
            read_boxes(path)
    path.write_text("video,frame,x,y,w,h\n")
    with pytest.raises(
        AnnotationError, match="the header must name video, frame, x, y, w, h, track"
    ):
        read_boxes(path)


def test_videos_are_found_by_name_stem_or_folder(tmp_path):
    for name in ("Fox 1.MP4", "day1/cam.mov", "day2/cam.mov", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    folder = VideoFolder(tmp_path)
    for name in ("Fox 1.MP4", "fox 1", "C:\\data\\fox 1.mp4", "file:///lab/fox 1.mp4"):
        assert folder.find(name, "x:1").name == "Fox 1.MP4"
    assert folder.find("/lab/day2/cam.mov", "x:1") == tmp_path / "day2/cam.mov"
    with pytest.raises(
        AnnotationError, match="x:1: 'cam' is the name of 2 videos in .*day1/cam.mov"
    ):
        folder.find("cam", "x:1")
    for name in ("owl.mp4", "../../etc/passwd", "", ".."):
        with pytest.raises(UnusableVideo, match="x:1: no video"):
            folder.find(name, "x:1")


def test_the_split_has_every_class_on_both_sides_where_it_can_and_about_the_share():
    rng = np.random.default_rng(0)
    for _ in range(30):
        counts = rng.integers(0, 9, (20, 5)) * (rng.random((20, 5)) < 0.4)
        counts[0] += 1
        val = choose_validation(counts, 0.2)
        again = choose_validation(counts, 0.2)
        assert (val == again).all()
        both = (counts > 0).sum(axis=0) > 1
        assert (counts[~val].sum(axis=0) > 0).all()
        assert (counts[val].sum(axis=0) > 0)[both].all()
        assert 0.1 < counts[val].sum() / counts.sum() < 0.4
    assert choose_validation(np.array([[3, 0], [0, 3]]), 0.2).sum() == 1
    assert choose_validation(np.array([[3, 1]]), 0.2).sum() == 0


def test_frames_have_one_time_scale(tmp_path):
    """TICK is the unit of the files above: a guard against a test that proves nothing."""
    assert source(tmp_path / "lab").times_sec[1] == pytest.approx(float(20 * TICK))
