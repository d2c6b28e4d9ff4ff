"""Frames from image folders: the right ones, in RGB; and one line for each fault."""

import struct

import numpy as np
import pytest
from clip_files import counter_frame, encoded, numbers, settings, table, write_images
from PIL import Image

from actionrec.data import images, reading
from actionrec.data.decoding import open_source
from actionrec.data.images import decode_image
from actionrec.errors import SecurityError, UserError


@pytest.fixture(params=["simplejpeg", "opencv"], autouse=True)
def library(request, monkeypatch):
    """Every fact holds whether simplejpeg is there or not."""
    if request.param == "simplejpeg":
        pytest.importorskip("simplejpeg")
    else:
        monkeypatch.setattr(images, "simplejpeg", None)


def without_simplejpeg(data, name="file.jpg"):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "simplejpeg", None)
        return decode_image(data, name)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_images_come_in_the_order_asked_and_in_rgb(tmp_path, suffix):
    clips = table(suffix=suffix)
    write_images(tmp_path / "image", clips, top=(250, 130, 10))
    frames = open_source(clips, settings(tmp_path)).read(0, np.array([3, 1, 1, 2]))
    assert frames.dtype == np.uint8
    assert frames.flags.c_contiguous
    for frame, number in zip(frames, [3, 1, 1, 2], strict=True):
        expected = counter_frame(number, top=(250, 130, 10)).astype(int)
        # JPEG halves the colour's resolution: compare away from the edges of the bars.
        assert np.abs(frame[6:18, 3:5] - expected[6:18, 3:5]).max() <= 12


def test_each_distinct_file_is_opened_once(tmp_path, monkeypatch):
    clips = table()
    write_images(tmp_path / "image", clips)
    opened = []
    open_file = images.open_file
    monkeypatch.setattr(images, "open_file", lambda p: opened.append(p.name) or open_file(p))
    open_source(clips, settings(tmp_path)).read(0, np.array([0, 0, 2, 2, 0, 3]))
    assert opened == [f"AAACXZTV_t00000{n}.jpg" for n in (1, 3, 4)]


def test_a_function_for_each_frame_is_applied_before_they_are_stacked(tmp_path):
    clips = table()
    write_images(tmp_path / "image", clips)
    source = open_source(clips, settings(tmp_path))
    small = source.read(0, np.array([2, 0]), each=lambda frame: frame[::2, ::2])
    np.testing.assert_array_equal(small, source.read(0, np.array([2, 0]))[:, ::2, ::2])


def one_image(tmp_path, data):
    clips = table(num_frames=1)
    path = tmp_path / "image" / "AAACXZTV" / "AAACXZTV_t000001.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return open_source(clips, settings(tmp_path)).read(0, np.array([0]))[0]


RED = Image.new("RGB", (24, 16), (200, 40, 30))


def same_in_both(data):
    """The picture, which must be the same to the last grey level without simplejpeg."""
    picture = decode_image(data, "file.jpg")
    np.testing.assert_array_equal(picture, without_simplejpeg(data))
    return picture


def natural(height=90, width=120):
    """A soft picture with some grain: like a frame of a video."""
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize((width, height))
    grain = rng.normal(0, 4, (height, width, 3))
    return Image.fromarray((np.asarray(soft) + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [30, 75, 95])
def test_both_libraries_give_the_same_pixels(quality, subsampling, progressive):
    options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
    for size in ((360, 640), (91, 121)):
        same_in_both(encoded(natural(*size), **options))


@pytest.mark.parametrize(
    ("picture", "image_format", "colour"),
    [
        pytest.param(RED.convert("L"), "JPEG", (87, 87, 87), id="C6-grey"),
        pytest.param(RED.convert("CMYK"), "JPEG", (200, 40, 30), id="C6-CMYK"),
        pytest.param(RED.convert("RGBA"), "PNG", (200, 40, 30), id="C6-transparent"),
        pytest.param(RED.quantize(4), "PNG", (200, 40, 30), id="C6-palette"),
        pytest.param(
            Image.new("I;16", (24, 16), 87 * 257), "PNG", (87, 87, 87), id="C6-16-bit-grey"
        ),
        pytest.param(RED, "PNG", (200, 40, 30), id="C2-PNG-named-jpg"),
        pytest.param(RED.resize((24, 16)), "JPEG", (200, 40, 30), id="C6-plain"),
    ],
)
def test_every_kind_of_picture_becomes_rgb(tmp_path, picture, image_format, colour):
    data = encoded(picture, image_format)
    frame = one_image(tmp_path, data)
    assert frame.shape == (16, 24, 3)
    assert np.abs(frame.astype(int) - colour).max() <= 4
    np.testing.assert_array_equal(frame, same_in_both(data))


@pytest.mark.parametrize(
    ("orientation", "shape"),
    [pytest.param(n, (24, 16) if n > 4 else (16, 24), id=f"C6-EXIF-{n}") for n in range(1, 9)],
)
def test_an_exif_orientation_is_honoured(tmp_path, orientation, shape):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(RED, exif=exif)
    assert one_image(tmp_path, data).shape == (*shape, 3)
    same_in_both(data)


def test_a_clip_of_turned_pictures_is_read(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    clips = table(num_frames=3)
    write_images(tmp_path / "image", clips)
    for path in clips.frame_paths(0, range(3)):
        (tmp_path / "image" / path).write_bytes(encoded(natural(16, 24), exif=exif))
    frames = open_source(clips, settings(tmp_path)).read(0, np.array([2, 0, 1]))
    np.testing.assert_array_equal(frames, [np.rot90(natural_jpeg(16, 24), -1)] * 3)


def natural_jpeg(*size):
    return decode_image(encoded(natural(*size)), "file.jpg")


@pytest.mark.parametrize("size", [pytest.param((1, 1), id="C6-1x1")])
def test_a_picture_of_one_pixel_is_read(tmp_path, size):
    assert one_image(tmp_path, encoded(RED.resize(size))).shape == (1, 1, 3)


def test_a_thumbnail_is_not_taken_for_the_picture(tmp_path):
    whole, thumbnail = encoded(RED), encoded(RED.resize((8, 8)))
    with_thumbnail = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    frame = one_image(tmp_path, with_thumbnail + whole[2:])
    assert frame.shape == (16, 24, 3)
    with pytest.raises(UserError, match="ends before the picture does"):
        decode_image(with_thumbnail + whole[2:-2], "file.jpg")


NOISE_JPEG = encoded(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
)
CUTS = {"10%": 0.1, "50%": 0.5, "90%": 0.9, "99%": 0.99, "first-bytes": 0.001}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "is empty", id="C2-zero-byte"),
        pytest.param(
            b"<html><body>404</body></html>",
            "neither JPEG nor PNG: it begins with b'<html><b'",
            id="C2-HTML-named-jpg",
        ),
        pytest.param(b"\x00" * 64, "neither JPEG nor PNG", id="C2-zeros"),
        pytest.param(np.random.default_rng(0).bytes(999), "neither JPEG nor PNG", id="C2-garbage"),
        pytest.param(b"\xff\xd8" + b"\xff" * 10**6, "ends before the picture", id="C2-padding"),
        *[
            pytest.param(
                NOISE_JPEG[: int(len(NOISE_JPEG) * part)],
                "ends before the picture does",
                id=f"C3-cut-{name}",
            )
            for name, part in CUTS.items()
        ],
        pytest.param(NOISE_JPEG[:-2], "ends before the picture does", id="C3-cut-end-marker"),
        pytest.param(encoded(RED, "PNG")[:-12], "ends before the picture does", id="C3-cut-PNG"),
        pytest.param(
            b"\x89PNG\r\n\x1a\n" + b"\x00" * 40 + b"IEND",
            "ends before the picture does",
            id="C3-PNG-without-header",
        ),
        pytest.param(
            encoded(RED, "PNG").replace(b"IDAT", b"XDAT"), "cannot be decoded", id="C3-PNG-no-data"
        ),
    ],
)
def test_a_broken_picture_is_named_with_its_clip(tmp_path, monkeypatch, data, message):
    monkeypatch.setattr(reading.time, "sleep", lambda _: pytest.fail("waited"))
    with pytest.raises(UserError, match=message) as caught:
        one_image(tmp_path, data)
    text = str(caught.value)
    assert text.startswith("clip AAACXZTV: ")
    assert "AAACXZTV_t000001.jpg" in text
    assert "\n" not in text


@pytest.mark.parametrize("progressive", [False, True])
def test_any_cut_of_a_picture_is_an_error_never_a_picture(progressive):
    data = encoded(RED, progressive=progressive)
    for length in range(len(data)):
        with pytest.raises(UserError):
            decode_image(data[:length], "file.jpg")


def flip_a_bit(data, rng):
    at = rng.integers(8 * len(data))
    data[at // 8] ^= 1 << at % 8
    return data


def flip_a_bit_of_the_header(data, rng):
    at = rng.integers(8 * data.index(b"\xff\xda"))
    data[at // 8] ^= 1 << at % 8
    return data


def cut_and_close(data, rng):
    return data[: rng.integers(2, len(data))] + b"\xff\xd9"


def write_garbage(data, rng):
    at = rng.integers(2, len(data) - 32)
    data[at : at + 32] = rng.bytes(32)
    return data


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(flip_a_bit, id="C4-bit-flips"),
        pytest.param(flip_a_bit_of_the_header, id="C4-bit-flips-in-header"),
        pytest.param(cut_and_close, id="C3-cut-with-end-marker"),
        pytest.param(write_garbage, id="C2-garbage-inside"),
    ],
)
def test_both_libraries_take_and_refuse_the_same_files(damage, progressive):
    """304 files in all. What is taken has the same pixels, what is refused the same message."""
    whole, rng = encoded(natural(), progressive=progressive), np.random.default_rng(0)

    def outcome(decode, data):
        try:
            return decode(data, "file.jpg").tobytes()
        except UserError as error:
            return str(error)

    for _ in range(38):
        data = bytes(damage(bytearray(whole), rng))
        assert outcome(decode_image, data) == outcome(without_simplejpeg, data)


BOMB_JPEG = NOISE_JPEG.replace(struct.pack(">HH", 90, 120), struct.pack(">HH", 16_000, 16_001), 1)
BOMB_PNG = encoded(RED, "PNG")[:16] + struct.pack(">II", 16_001, 16_000) + encoded(RED, "PNG")[24:]


@pytest.mark.parametrize(
    "data", [pytest.param(BOMB_JPEG, id="C5-JPEG"), pytest.param(BOMB_PNG, id="C5-PNG")]
)
def test_a_header_that_claims_too_many_pixels_is_refused_before_decoding(data, monkeypatch):
    monkeypatch.setattr(images, "simplejpeg", None)
    monkeypatch.setattr(images, "_decode_with_opencv", lambda *_: pytest.fail("decoded"))
    with pytest.raises(SecurityError, match="16001x16000 px; more than 50 megapixels"):
        decode_image(data, "file.jpg", lambda *_: pytest.fail("made room"))


@pytest.mark.parametrize(
    "hide",
    [
        # Decoders skip FF 00 in a header; read as a marker with a length it would hide the next.
        pytest.param(b"\xff\x00\x00\x14", id="C5-behind-stuffing"),
        pytest.param(b"\x00\x00", id="C5-behind-garbage"),
        pytest.param(b"\xff\xff\xff", id="C5-behind-padding"),
    ],
)
def test_a_hidden_header_is_not_overlooked(hide):
    small = NOISE_JPEG[NOISE_JPEG.index(b"\xff\xc0") :]
    bomb = BOMB_JPEG[BOMB_JPEG.index(b"\xff\xc0") : BOMB_JPEG.index(b"\xff\xc4")]
    with pytest.raises(UserError, match="16001x16000 px|ends before the picture does"):
        decode_image(NOISE_JPEG[:20] + hide + bomb + small, "file.jpg")


@pytest.mark.parametrize("which", [pytest.param(2, id="C6-mixed-sizes")])
def test_mixed_sizes_in_a_clip_name_both_files(tmp_path, which):
    clips = table()
    write_images(tmp_path / "image", clips)
    path = tmp_path / "image" / clips.frame_paths(0, [which])[0]
    path.write_bytes(encoded(RED))
    source = open_source(clips, settings(tmp_path))
    message = r"t000003.jpg is 24x16 px but clip .*t000001.jpg is 64x48 px"
    for each in ({}, {"each": lambda frame: frame[:1, :1]}):
        with pytest.raises(UserError, match=message):
            source.read(0, np.arange(4), **each)


def test_the_root_itself_may_be_a_link_and_links_inside_it_are_followed(tmp_path):
    clips = table()
    write_images(tmp_path / "elsewhere", clips)
    (tmp_path / "image").symlink_to(tmp_path / "elsewhere")
    path = tmp_path / "image" / clips.frame_paths(0, [1])[0]
    path.unlink()
    path.symlink_to("AAACXZTV_t000004.jpg")
    frames = open_source(clips, settings(tmp_path)).read(0, np.arange(4))
    assert numbers(frames) == [0, 3, 2, 3]
