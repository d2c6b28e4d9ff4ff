"""How much an mp4 says it holds: lies are refused before they cost anything, the rest is opened."""

import io
import struct
import time
import tracemalloc

import av
import numpy as np
import pytest
from clip_files import numbers, settings, table, write_video

from actionrec.data.decoding import open_source
from actionrec.data.doctor.video_files import VideoChecker
from actionrec.data.frame_lists import count_video_frames
from actionrec.data.mp4_boxes import check_num_samples
from actionrec.data.own.source_videos import probe
from actionrec.errors import SecurityError

MANY = 50_000_000
EMPTY = {"movflags": "frag_keyframe+empty_moov"}
# 32-bit numbers of a table, from the end of its name: version and flags are the first.
BOMBS = {
    "frames of one size": {b"stsz": [0, 1, MANY], b"stsc": [0, 1, 1, MANY, 1]},
    "sizes of frames": {b"stsz": [0, 0, MANY]},
    "times of frames": {b"stts": [0, 1, MANY, 20]},
    "all tables": {
        b"stsz": [0, 1, MANY],
        b"stsc": [0, 1, 1, MANY, 1],
        b"stts": [0, 1, MANY, 20],
        b"ctts": [0, 1, MANY, 1],
    },
    "a plain track of video": {b"stsz": [0, 1, MANY], b"stts": [0, 1, MANY, 1]},
}


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def overwrite(path, tables) -> None:
    data = bytearray(path.read_bytes())
    for kind, values in tables.items():
        struct.pack_into(f">{len(values)}I", data, data.index(kind) + 4, *values)
    path.write_bytes(data)


def clip(tmp_path, **options):
    return write_video(tmp_path / "video" / "clip.mp4", **options)


def source(tmp_path, num_frames=60):
    return open_source(table(num_frames, ids=["clip"]), settings(tmp_path, source="video"))


@pytest.fixture
def cheap(monkeypatch):
    """Fails where FFmpeg opens a file, or where the test takes a second or 20 MB."""
    opened = []
    monkeypatch.setattr(av, "open", lambda *args, **_: opened.append(args))
    tracemalloc.start()
    started = time.monotonic()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not opened and time.monotonic() - started < 1 and peak < 20e6


@pytest.mark.parametrize("kind", BOMBS, ids=lambda kind: f"C12-bomb-{kind}")
def test_a_small_file_that_claims_millions_of_frames_is_not_opened(tmp_path, kind, request):
    overwrite(clip(tmp_path), BOMBS[kind])
    assert (tmp_path / "video" / "clip.mp4").stat().st_size < 5000
    request.getfixturevalue("cheap")
    message = r"clip clip: .*clip.mp4 says it holds 50,000,000 frames and .*more than 1,048,576 are"
    with pytest.raises(SecurityError, match=message):
        source(tmp_path).read(0, np.array([0]))


@pytest.mark.parametrize("num_fragments", [1, 500], ids=lambda n: f"C12-bomb-of-{n}-fragments")
def test_fragments_are_counted_together(num_fragments):
    fragment = box(b"moof", box(b"traf", box(b"trun", struct.pack(">2I", 0, 10**6))))
    file = io.BytesIO(box(b"moov", b"") + num_fragments * (fragment + box(b"mdat", b"...")))
    if num_fragments == 1:
        check_num_samples(file, "x.mp4", max_samples=10**6)
        assert file.tell() == 0
    with pytest.raises(SecurityError, match=f"x.mp4 says it holds {num_fragments},000,000 frames"):
        check_num_samples(file, "x.mp4", max_samples=10**6 - 1)


def track(*boxes: bytes) -> bytes:
    tables = box(b"stbl", b"".join(boxes))
    return box(b"trak", box(b"mdia", box(b"minf", tables)))


HANDLER = box(b"hdlr", bytes(24))
BOMB = box(b"stsz", struct.pack(">3I", 0, 1, MANY))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(box(b"free", box(b"mvhd", b"") + track(BOMB)), id="C12-in-a-free-box"),
        pytest.param(box(b"moov", track(BOMB)), id="C12-index-first"),
        pytest.param(box(b"mdat", bytes(99)) + box(b"moov", track(BOMB)), id="C12-index-last"),
        pytest.param(
            struct.pack(">I4sQ", 1, b"mdat", 16 + 99) + bytes(99) + box(b"moov", track(BOMB)),
            id="C12-after-a-length-of-64-bits",
        ),
        pytest.param(struct.pack(">I4s", 0, b"moov") + track(BOMB), id="C12-to-the-end"),
        pytest.param(struct.pack(">I4s", 2**31, b"moov") + track(BOMB), id="C12-beyond-the-end"),
        pytest.param(
            box(b"moov", box(b"trak", struct.pack(">I4s", 2**31, b"name")) + track(BOMB)),
            id="C12-after-one-beyond-the-end-of-its-track",
        ),
        pytest.param(2000 * struct.pack(">I4s", 0, b"moov") + track(BOMB), id="C12-nested"),
        pytest.param(box(b"moov", track(b"") + BOMB), id="C12-beside-its-track"),
        *(
            pytest.param(box(b"moov", track(box(kind, BOMB))), id=f"C12-in-{kind.decode()}")
            for kind in (b"udta", b"dinf", b"wave", b"schi")
        ),
        *(
            pytest.param(
                box(b"moov", track(box(b"meta", start + HANDLER + BOMB))), id=f"C12-in-meta-{n}"
            )
            for n, start in enumerate((b"", bytes(4), 99 * b"free"))
        ),
        pytest.param(
            box(b"moov", track(BOMB) + track(box(b"stsz", bytes(12)))), id="C12-of-two-tracks"
        ),
        pytest.param(
            box(b"moov", track(BOMB, box(b"stsz", bytes(12)))), id="C12-two-tables-of-one-track"
        ),
    ],
)
def test_the_table_is_found_where_ffmpeg_finds_it(content, cheap):
    with pytest.raises(SecurityError, match="50,000,000"):
        check_num_samples(io.BytesIO(content), "x.mp4", max_samples=2**20)


def test_what_follows_a_box_that_is_too_long_is_counted_once():
    run = box(b"moof", box(b"traf", box(b"trun", struct.pack(">2I", 0, 10))))
    content = box(b"moov", struct.pack(">I4s", 2**31, b"trak")) + run
    check_num_samples(io.BytesIO(content), "x.mp4", max_samples=10)


def test_a_table_within_the_description_of_a_codec_is_refused(cheap):
    content = box(b"moov", track(box(b"stsd", bytes(94) + BOMB)))
    with pytest.raises(SecurityError, match="x.mp4 has a table where FFmpeg, but nobody else"):
        check_num_samples(io.BytesIO(content), "x.mp4", max_samples=2**20)


def test_an_index_that_is_compressed_is_not_opened(cheap):
    content = box(b"moov", box(b"cmov", box(b"dcom", b"zlib")))
    with pytest.raises(SecurityError, match="x.mov has a compressed index.*convert it"):
        check_num_samples(io.BytesIO(content), "x.mov", max_samples=2**20)


def test_whoever_opens_videos_looks_first(tmp_path):
    path = clip(tmp_path)
    overwrite(path, BOMBS["all tables"])
    checker = VideoChecker(table(60, ids=["clip"]), path.parent, decode=False)
    (problem,) = checker.check(0).problems.values()
    assert "50,000,000 frames" in problem
    for open_it in (probe, count_video_frames):
        with pytest.raises(SecurityError, match="50,000,000 frames"):
            open_it(path)


@pytest.mark.parametrize(
    "movflags", ["faststart", "frag_keyframe+empty_moov", "frag_every_frame+empty_moov", "dash"]
)
def test_other_layouts_of_an_mp4_are_read(tmp_path, movflags):
    clip(tmp_path, container={"movflags": movflags})
    assert numbers(source(tmp_path).read(0, np.arange(60))) == list(range(60))


@pytest.mark.parametrize("suffix", ["mov", "mkv", "avi", "m4v", "webm"])
def test_recordings_of_other_kinds_are_read(tmp_path, suffix):
    codec = "libvpx" if suffix == "webm" else "libx264"
    path = write_video(tmp_path / f"x.{suffix}", codec=codec, options={"bf": "0"})
    assert len(probe(path).times_sec) == 60


def sound(path, num_samples):
    """A mov of uncompressed sound: its tables count samples of two bytes."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, num_samples), np.int16), "s16", "mono")
        frame.sample_rate = 48000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def add_to_track(path, content: bytes) -> None:
    data = bytearray(path.read_bytes())
    track = data.index(b"trak") - 4
    end = track + struct.unpack_from(">I", data, track)[0]
    data[end:end] = content
    for at in (track, data.index(b"moov") - 4):
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + len(content))
    path.write_bytes(data)


@pytest.mark.parametrize("handler", [b"", b"mdir", b"mdta"])
def test_uncompressed_sound_counts_by_the_piece(tmp_path, handler):
    path = sound(tmp_path / "x.mov", 48000)
    if handler:  # a remark on the track, as telephones write it
        remark = box(b"meta", box(b"hdlr", bytes(8) + handler + bytes(13)))
        add_to_track(path, remark)
    with path.open("rb") as file:
        check_num_samples(file, "x.mov", max_samples=47)
        with pytest.raises(SecurityError, match="x.mov says it holds 47 frames and pieces"):
            check_num_samples(file, "x.mov", max_samples=46)


@pytest.mark.parametrize(
    "tables",
    [
        pytest.param({b"stts": [0, 1, MANY, 2]}, id="C12-sound-of-two-ticks"),
        pytest.param({b"stsc": [0, 1, 1, 2**31 - 1, 1]}, id="C12-sound-in-one-chunk"),
    ],
)
def test_sound_that_claims_too_much_is_refused(tmp_path, tables):
    path = sound(tmp_path / "x.mov", 48000)
    overwrite(path, tables)
    with path.open("rb") as file, pytest.raises(SecurityError):
        check_num_samples(file, "x.mov", max_samples=2**20)


@pytest.mark.parametrize("seed", range(20))
def test_any_bytes_are_looked_at_in_no_time(tmp_path, seed, cheap):
    rng = np.random.default_rng(seed)
    content = bytearray(box(b"moov", track(box(b"stts", bytes(40)), BOMB)))
    for place in rng.integers(0, len(content), 5):
        content[place] = rng.integers(0, 256)
    try:
        check_num_samples(io.BytesIO(content), "x.mp4", max_samples=2**20)
    except SecurityError as error:
        assert "\n" not in str(error)
