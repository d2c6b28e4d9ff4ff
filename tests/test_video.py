"""Frames from mp4 files: exact numbers, upright; and one line for each fault."""

import struct

import av
import numpy as np
import pytest
from clip_files import numbers, settings, table, write_video

from actionrec.data import video
from actionrec.data.decoding import open_source
from actionrec.errors import SecurityError, UserError


def video_source(tmp_path, num_frames=60, name="clip"):
    clips = table(num_frames, ids=[name])
    return open_source(clips, settings(tmp_path, source="video"))


CODECS = {
    "B-frames": {},
    "open groups of pictures": {
        "options": {"x264-params": "open-gop=1:keyint=12:bframes=3", "crf": "10"}
    },
    "refreshed little by little": {
        "options": {"x264-params": "intra-refresh=1:keyint=12:bframes=0", "crf": "10"}
    },
    "one key frame": {"options": {"g": "250", "bf": "2", "crf": "10"}},
    "10 bits": {"pix_fmt": "yuv420p10le"},
    "MPEG-4 part 2": {"codec": "mpeg4", "options": {"bf": "2", "g": "12", "b": "2000000"}},
    "uneven times, late start": {"times": [100 + 20 * k + 7 * (k % 3) for k in range(60)]},
}


@pytest.mark.parametrize("codec", CODECS)
def test_every_frame_of_a_video_is_found_by_its_number(tmp_path, codec):
    write_video(tmp_path / "video" / "clip.mp4", **CODECS[codec])
    source = video_source(tmp_path)
    assert numbers(source.read(0, np.arange(60))) == list(range(60))
    for number in range(60):
        assert numbers(source.read(0, np.array([number]))) == [number]
    assert numbers(source.read(0, np.array([59, 3, 3, 30]))) == [59, 3, 3, 30]


def test_only_wanted_frames_are_converted(tmp_path, monkeypatch):
    write_video(tmp_path / "video" / "clip.mp4")
    converted = []
    upright = video._upright
    monkeypatch.setattr(video, "_upright", lambda *a: converted.append(a) or upright(*a))
    video_source(tmp_path).read(0, np.array([50, 20, 50, 20]))
    assert len(converted) == 2


def with_matrix(path, matrix):
    """Write the display matrix of the track, 16.16 fixed point, as a telephone does."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("a", "b", "clockwise_turns"), [(0, 1, 1), (0, -1, 3), (-1, 0, 2), (1, 0, 0)]
)
def test_a_rotated_video_comes_upright(tmp_path, a, b, clockwise_turns):
    one = 1 << 16
    path = write_video(tmp_path / "video" / "clip.mp4")
    plain = video_source(tmp_path).read(0, np.array([37]))[0]
    # A point at (x, y) is shown at (a x - b y, b x + a y), with y downwards.
    with_matrix(path, (a * one, b * one, 0, -b * one, a * one, 0, 0, 0, 1 << 30))
    turned = video_source(tmp_path).read(0, np.array([37]))[0]
    np.testing.assert_array_equal(turned, np.rot90(plain, -clockwise_turns))


def test_frames_that_an_edit_list_hides_are_not_counted(tmp_path):
    path = write_video(tmp_path / "video" / "clip.mp4", options={"g": "250", "bf": "2"})
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4 + 4 + 4 + 4  # flags, number of entries, duration of the first
    first_shown, ticks = struct.unpack_from(">i", data, at)[0], 20
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 4 + 12)[0] // 600
    struct.pack_into(">i", data, at, first_shown + 7 * ticks * scale)
    path.write_bytes(data)
    source = video_source(tmp_path, num_frames=53)
    assert numbers(source.read(0, np.arange(53))) == list(range(7, 60))
    for number in range(53):
        assert numbers(source.read(0, np.array([number]))) == [number + 7]


@pytest.mark.parametrize("num_annotated", [61, 62])
def test_a_video_shorter_by_a_frame_or_two_repeats_its_last_frame(tmp_path, num_annotated):
    write_video(tmp_path / "video" / "clip.mp4")
    source = video_source(tmp_path, num_annotated)
    wanted = np.arange(num_annotated - 4, num_annotated)
    assert numbers(source.read(0, wanted)) == np.minimum(wanted, 59).tolist()


def test_a_video_with_too_few_frames_names_both_numbers(tmp_path):
    write_video(tmp_path / "video" / "clip.mp4")
    message = r"clip clip: .*clip.mp4 holds 60 frames, annot/train.csv lists 63"
    with pytest.raises(UserError, match=message):
        video_source(tmp_path, 63).read(0, np.array([0]))


def test_a_cut_video_is_an_error_wherever_it_is_cut(tmp_path):
    path = write_video(
        tmp_path / "video" / "clip.mp4", container={"movflags": "faststart"}, noise=True
    )
    data = path.read_bytes()
    for part in (0, 0.01, 0.3, 0.5, 0.9, 0.99):
        path.write_bytes(data[: int(len(data) * part)])
        with pytest.raises(UserError, match=r"clip clip: .*clip.mp4 (holds|cannot be decoded)"):
            video_source(tmp_path).read(0, np.arange(60))


def test_a_damaged_frame_is_an_error_never_a_guess(tmp_path):
    path = write_video(
        tmp_path / "video" / "clip.mp4", container={"movflags": "faststart"}, noise=True
    )
    data = bytearray(path.read_bytes())
    middle = (data.index(b"mdat") + len(data)) // 2
    data[middle : middle + 64] = b"\xa5" * 64
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"frame \d+ cannot be decoded|cannot be decoded \("):
        video_source(tmp_path).read(0, np.arange(60))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 99, b"<html></html>", b"#EXTM3U\nother.mp4\n", b"ffconcat version 1.0\nfile x"],
)
def test_what_is_no_mp4_is_refused_playlists_too(tmp_path, data):
    (tmp_path / "video").mkdir()
    (tmp_path / "video" / "clip.mp4").write_bytes(data)
    with pytest.raises(UserError, match=r"clip clip: .*clip.mp4 cannot be decoded \("):
        video_source(tmp_path).read(0, np.array([0]))


def test_a_file_with_sound_alone_is_named(tmp_path):
    (tmp_path / "video").mkdir()
    with av.open(str(tmp_path / "video" / "clip.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 8000
        out.mux(stream.encode(sound))
        out.mux(stream.encode())
    with pytest.raises(UserError, match="holds no video stream"):
        video_source(tmp_path).read(0, np.array([0]))


def test_a_video_that_claims_to_last_too_long_is_refused(tmp_path):
    write_video(tmp_path / "video" / "clip.mp4", times=[0, 20, 600 * 1000])
    with pytest.raises(SecurityError, match=r"1000 s long; more than 8192 px a side or 600 s"):
        video_source(tmp_path, 3).read(0, np.array([0]))


def test_a_video_larger_than_the_limit_is_refused(tmp_path, monkeypatch):
    write_video(tmp_path / "video" / "clip.mp4")
    monkeypatch.setattr(video, "MAX_SIDE_PX", 63)
    with pytest.raises(SecurityError, match="64x48 px"):
        video_source(tmp_path).read(0, np.array([0]))
