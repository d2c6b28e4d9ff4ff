"""Frames from mp4 files: exact numbers, upright; and one line for each fault."""

import struct

import av
import numpy as np
import pytest
from clip_files import numbers, settings, table, write_video

from actionrec.data import reading, video
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
    "a pyramid of B-frames": {
        "options": {"x264-params": "b-pyramid=normal:bframes=7:b-adapt=0:keyint=40", "crf": "10"}
    },
    "key frames one after another": {"options": {"g": "2", "bf": "1", "crf": "10"}},
    "10 bits": {"pix_fmt": "yuv420p10le"},
    "MPEG-4 part 2": {"codec": "mpeg4", "options": {"bf": "2", "g": "12", "b": "2000000"}},
    "HEVC, open groups of pictures": {
        "codec": "libx265",
        "options": {"x265-params": "log-level=none:keyint=12:bframes=3:b-adapt=0", "crf": "10"},
    },
    "uneven times, late start": {"times": [100 + 20 * k + 7 * (k % 3) for k in range(60)]},
}
CODEC_IDS = {codec: f"C11-{codec}" for codec in CODECS}


@pytest.mark.parametrize("codec", CODECS, ids=CODEC_IDS.get)
def test_every_frame_of_a_video_is_found_by_its_number(tmp_path, codec):
    write_video(tmp_path / "video" / "clip.mp4", **CODECS[codec])
    check_all_numbers(tmp_path)


def check_all_numbers(tmp_path, first=0, num_frames=60):
    """Frame k of clip.mp4 spells first + k, however many are read at once, to the same pixels."""
    source = video_source(tmp_path, num_frames)
    spelt = np.arange(first, first + num_frames)
    every = source.read(0, np.arange(num_frames))
    assert numbers(every) == spelt.tolist()
    np.testing.assert_array_equal(every, decode_everything(tmp_path, num_frames))
    wanted = [[k] for k in range(num_frames)]
    wanted += [range(k, num_frames, step) for step in (2, 3, 8) for k in range(step)]
    wanted += [[num_frames - 1, 3, 3, 30]]
    for indices in wanted:
        np.testing.assert_array_equal(source.read(0, np.array(indices)), every[list(indices)])


def decode_everything(tmp_path, num_frames):
    """The slowest clear way: from the beginning, leaving out nothing."""
    with av.open(str(tmp_path / "video" / "clip.mp4")) as container:
        frames = sorted(container.decode(video=0), key=lambda frame: frame.pts)
        return np.stack([frame.to_ndarray(format="rgb24") for frame in frames[-num_frames:]])


def without_reordering_depth(path):
    """Take from the H.264 header what FFmpeg would otherwise have to decode frames to learn."""
    data = bytearray(path.read_bytes())
    at = data.index(b"avcC") + 12
    num_bytes = int.from_bytes(data[at - 2 : at], "big")
    bits, position = "".join(f"{byte:08b}" for byte in data[at : at + num_bytes]), 32

    def skip(count):
        nonlocal position
        position += count
        return bits[position - count : position]

    def number():
        zeros = bits.index("1", position) - position
        return int(skip(2 * zeros + 1), 2) - 1

    assert data[at + 1] == 100  # profile High: these fields in this order
    [number() for _ in range(4)], skip(2)  # id, chroma, depths; bypass, scaling
    [number() for _ in range(4)], skip(1)  # frame number, order of two numbers, references; gaps
    [number() for _ in range(2)], skip(2)  # width, height; frames alone, direct inference
    if skip(1) == "1":
        [number() for _ in range(4)]  # cropping
    assert bits[position] == "1"  # more follows: there the depth is
    shorter = (bits[:position] + "01").ljust(8 * num_bytes, "0")
    data[at : at + num_bytes] = int(shorter, 2).to_bytes(num_bytes, "big")
    path.write_bytes(data)


@pytest.mark.parametrize("num_b_frames", [pytest.param(n, id=f"C11-{n}-B-frames") for n in (1, 3)])
def test_the_order_needs_no_word_of_it_in_the_stream(tmp_path, num_b_frames):
    params = f"bframes={num_b_frames}:b-pyramid=normal:b-adapt=0:keyint=40"
    path = write_video(
        tmp_path / "video" / "clip.mp4", options={"x264-params": params, "crf": "10"}
    )
    without_reordering_depth(path)
    check_all_numbers(tmp_path)


@pytest.mark.parametrize("codec", ["B-frames", "a pyramid of B-frames", "MPEG-4 part 2"])
def test_frames_that_nothing_needs_are_not_decoded(tmp_path, monkeypatch, codec):
    write_video(tmp_path / "video" / "clip.mp4", **CODECS[codec])
    decoded = []

    def counting(*args):
        for frame in decode_forward(*args):
            decoded.append(frame.pts)
            yield frame

    decode_forward = video.decode_forward
    monkeypatch.setattr(video, "decode_forward", counting)
    source = video_source(tmp_path)
    # The last key frame before 35 is 24, or 0 with the longest groups: 20 or 44 frames on to 43.
    source.read(0, np.array([35, 43]))
    first = 0 if "pyramid" in codec else 24
    assert 2 < len(decoded) < 0.8 * (44 - first)


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
    ("a", "b", "clockwise_turns"),
    [
        pytest.param(a, b, turns, id=f"C11-rotated-{90 * turns}")
        for a, b, turns in [(0, 1, 1), (0, -1, 3), (-1, 0, 2), (1, 0, 0)]
    ],
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
    check_all_numbers(tmp_path, first=7, num_frames=53)


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


@pytest.mark.parametrize("index_first", [True, False])
@pytest.mark.parametrize(
    "part", [pytest.param(p, id=f"C11-cut-{p}") for p in (0, 0.01, 0.3, 0.5, 0.9, 0.99)]
)
def test_a_cut_video_is_an_error_wherever_it_is_cut(tmp_path, monkeypatch, part, index_first):
    monkeypatch.setattr(reading.time, "sleep", lambda _: pytest.fail("waited"))
    container = {"movflags": "faststart"} if index_first else None
    path = write_video(tmp_path / "video" / "clip.mp4", container=container, noise=True)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    for wanted in (np.arange(60), np.array([0])):
        with pytest.raises(
            UserError, match=r"clip clip: .*clip.mp4 (holds|ends|is empty|cannot be)"
        ):
            video_source(tmp_path).read(0, wanted)


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


def test_a_frame_made_from_a_damaged_one_is_an_error_too(tmp_path):
    path = write_video(
        tmp_path / "video" / "clip.mp4",
        options={"g": "250", "bf": "0", "sc_threshold": "0"},
        container={"movflags": "faststart"},
        noise=True,
    )
    data = bytearray(path.read_bytes())
    middle = (data.index(b"mdat") + len(data)) // 2
    data[middle : middle + 64] = b"\xff" * 64
    path.write_bytes(data)
    source = video_source(tmp_path)
    assert source.read(0, np.array([3])).shape == (1, 48, 64, 3)
    with pytest.raises(UserError, match=r"frame 59 cannot be decoded"):
        source.read(0, np.array([59]))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="C11-zero"),
        pytest.param(b"\x00" * 99, id="C11-zeros"),
        pytest.param(b"<html></html>", id="C11-HTML"),
        pytest.param(b"#EXTM3U\nother.mp4\n", id="C11-playlist"),
        pytest.param(b"ffconcat version 1.0\nfile x", id="C11-list-of-files"),
    ],
)
def test_what_is_no_mp4_is_refused_playlists_too(tmp_path, data):
    (tmp_path / "video").mkdir()
    (tmp_path / "video" / "clip.mp4").write_bytes(data)
    with pytest.raises(UserError, match=r"clip clip: .*clip.mp4 (cannot be decoded \(|is empty)"):
        video_source(tmp_path).read(0, np.array([0]))


@pytest.mark.parametrize("rate_hz", [pytest.param(8000, id="C11-audio-only")])
def test_a_file_with_sound_alone_is_named(tmp_path, rate_hz):
    (tmp_path / "video").mkdir()
    with av.open(str(tmp_path / "video" / "clip.mp4"), "w") as out:
        stream = out.add_stream("aac", rate=rate_hz)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = rate_hz
        out.mux(stream.encode(sound))
        out.mux(stream.encode())
    with pytest.raises(UserError, match="holds no video stream"):
        video_source(tmp_path).read(0, np.array([0]))


def overwrite(path, box, offset, values):
    """Write 32-bit numbers into a box, counted from the end of its name."""
    data = bytearray(path.read_bytes())
    at = data.index(box) + 4 + offset
    data[at : at + 4 * len(values)] = struct.pack(f">{len(values)}I", *values)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("box", "offset", "values", "message"),
    [
        pytest.param(b"stts", 4, [1, 60, 0], "several frames at one time", id="C11-0-fps"),
        pytest.param(b"stsd", 12, [0x7A7A7A7A], "encoded in no known way", id="C11-unknown-codec"),
        pytest.param(b"mdhd", 12, [0], "holds 1 frames", id="C11-no-unit-of-time"),
    ],
)
def test_an_index_that_makes_no_sense_is_named(tmp_path, box, offset, values, message):
    path = write_video(tmp_path / "video" / "clip.mp4", options={"bf": "0", "g": "12"})
    overwrite(path, box, offset, values)
    with pytest.raises(UserError, match=f"clip clip: .*clip.mp4 .*({message})"):
        video_source(tmp_path).read(0, np.arange(60))


@pytest.mark.parametrize("last", [pytest.param(600 * 1000, id="C12-absurd-duration")])
def test_a_video_that_claims_to_last_too_long_is_refused(tmp_path, last):
    write_video(tmp_path / "video" / "clip.mp4", times=[0, 20, last])
    with pytest.raises(SecurityError, match=r"1000 s long; more than 8192 px a side or 600 s"):
        video_source(tmp_path, 3).read(0, np.array([0]))


@pytest.mark.parametrize(
    ("box", "offset", "values"),
    [
        pytest.param(b"mvhd", 16, [0xFFFFFFF0], id="C12-duration-of-the-file"),
        pytest.param(b"mdhd", 16, [0xFFFFFFF0], id="C12-duration-of-the-stream"),
        pytest.param(b"tkhd", 76, [32768 << 16] * 2, id="C12-32k-track"),
        pytest.param(b"stsd", 40, [32768 << 16 | 32768], id="C12-32k-sample-table"),
    ],
)
def test_a_lie_that_the_stream_itself_corrects_does_no_harm(tmp_path, box, offset, values):
    path = write_video(tmp_path / "video" / "clip.mp4")
    overwrite(path, box, offset, values)
    assert numbers(video_source(tmp_path).read(0, np.arange(60))) == list(range(60))


@pytest.mark.parametrize("size", [pytest.param((16384, 16), id="C12-16k-stream")])
def test_a_stream_larger_than_the_limit_is_refused(tmp_path, size):
    path = tmp_path / "video" / "clip.mp4"
    path.parent.mkdir()
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((*size[::-1], 3), np.uint8), format="rgb24")
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    with pytest.raises(SecurityError, match="16384x16 px"):
        video_source(tmp_path, 1).read(0, np.array([0]))


@pytest.mark.parametrize("max_pixels", [pytest.param(64 * 48 - 1, id="C12-stream-in-small-mp4")])
def test_a_stream_larger_than_its_mp4_says_is_not_decoded(tmp_path, monkeypatch, max_pixels):
    write_video(tmp_path / "video" / "clip.mp4")
    monkeypatch.setitem(video._OPTIONS, "max_pixels", str(max_pixels))
    with pytest.raises(UserError, match=r"clip.mp4 cannot be decoded \("):
        video_source(tmp_path).read(0, np.array([0]))


def test_a_video_larger_than_the_limit_is_refused(tmp_path, monkeypatch):
    write_video(tmp_path / "video" / "clip.mp4")
    monkeypatch.setattr(video, "MAX_SIDE_PX", 63)
    with pytest.raises(SecurityError, match="64x48 px"):
        video_source(tmp_path).read(0, np.array([0]))
