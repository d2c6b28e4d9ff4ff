"""Frames from image folders: the right ones, in RGB; and one line for each fault."""

import io
import os
import socket
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from clip_files import counter_frame, numbers, settings, table, write_images
from PIL import Image

from actionrec.data.decoding import open_source
from actionrec.data.images import decode_image
from actionrec.errors import SecurityError, UserError


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
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda p: opened.append(p.name) or read_bytes(p))
    open_source(clips, settings(tmp_path)).read(0, np.array([0, 0, 2, 2, 0, 3]))
    assert opened == [f"AAACXZTV_t00000{n}.jpg" for n in (1, 3, 4)]


def test_a_function_for_each_frame_is_applied_before_they_are_stacked(tmp_path):
    clips = table()
    write_images(tmp_path / "image", clips)
    source = open_source(clips, settings(tmp_path))
    small = source.read(0, np.array([2, 0]), each=lambda frame: frame[::2, ::2])
    np.testing.assert_array_equal(small, source.read(0, np.array([2, 0]))[:, ::2, ::2])


def encoded(picture, image_format="JPEG", **options):
    with io.BytesIO() as file:
        picture.save(file, image_format, **options)
        return file.getvalue()


def one_image(tmp_path, data):
    clips = table(num_frames=1)
    path = tmp_path / "image" / "AAACXZTV" / "AAACXZTV_t000001.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return open_source(clips, settings(tmp_path)).read(0, np.array([0]))[0]


RED = Image.new("RGB", (24, 16), (200, 40, 30))


@pytest.mark.parametrize(
    ("picture", "image_format", "colour"),
    [
        (RED.convert("L"), "JPEG", (87, 87, 87)),
        (RED.convert("CMYK"), "JPEG", (200, 40, 30)),
        (RED.convert("RGBA"), "PNG", (200, 40, 30)),
        (RED.quantize(4), "PNG", (200, 40, 30)),
        (RED, "PNG", (200, 40, 30)),  # named .jpg all the same
    ],
)
def test_every_kind_of_picture_becomes_rgb(tmp_path, picture, image_format, colour):
    frame = one_image(tmp_path, encoded(picture, image_format))
    assert frame.shape == (16, 24, 3)
    assert np.abs(frame.astype(int) - colour).max() <= 4


def test_an_exif_orientation_is_honoured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    frame = one_image(tmp_path, encoded(RED, exif=exif))
    assert frame.shape == (24, 16, 3)


def test_a_picture_of_one_pixel_is_read(tmp_path):
    assert one_image(tmp_path, encoded(RED.resize((1, 1)))).shape == (1, 1, 3)


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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"<html><body>404</body></html>", "neither JPEG nor PNG: it begins with b'<html><b'"),
        (b"\x00" * 64, "neither JPEG nor PNG"),
        *[
            (NOISE_JPEG[: int(len(NOISE_JPEG) * part)], "ends before the picture does")
            for part in (0.001, 0.1, 0.5, 0.9, 0.99)
        ],
        (NOISE_JPEG[:-2], "ends before the picture does"),
        (encoded(RED, "PNG")[:-12], "ends before the picture does"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 40 + b"IEND", "ends before the picture does"),
        (encoded(RED, "PNG").replace(b"IDAT", b"XDAT"), "cannot be decoded"),
    ],
)
def test_a_broken_picture_is_named_with_its_clip(tmp_path, data, message):
    with pytest.raises(UserError, match=message) as caught:
        one_image(tmp_path, data)
    text = str(caught.value)
    assert text.startswith("clip AAACXZTV: ")
    assert "AAACXZTV_t000001.jpg" in text
    assert "\n" not in text


def test_any_cut_of_a_picture_is_an_error_never_a_picture():
    data = encoded(RED)
    for length in range(len(data)):
        with pytest.raises(UserError):
            decode_image(data[:length], "file.jpg")


def test_a_header_that_claims_too_many_pixels_is_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    at = NOISE_JPEG.index(b"\xff\xc0") + 5
    jpeg = NOISE_JPEG[:at] + struct.pack(">HH", 16000, 16001) + NOISE_JPEG[at + 4 :]
    png = encoded(RED, "PNG")
    png = png[:16] + struct.pack(">II", 16001, 16000) + png[24:]
    for data in (jpeg, png):
        with pytest.raises(SecurityError, match="16001x16000 px; more than 50 megapixels"):
            decode_image(data, "file.jpg")


def test_mixed_sizes_in_a_clip_name_both_files(tmp_path):
    clips = table()
    write_images(tmp_path / "image", clips)
    path = tmp_path / "image" / clips.frame_paths(0, [2])[0]
    cv2.imwrite(str(path), np.zeros((20, 30, 3), np.uint8))
    message = r"t000003.jpg is 30x20 px but clip .*t000001.jpg is 64x48 px"
    with pytest.raises(UserError, match=message):
        open_source(clips, settings(tmp_path)).read(0, np.arange(4))


def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    # The names of sockets must be short.
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path.name)


def link_to_a_name_of_two_lines(path):
    target = path.parents[2] / "a\nb"
    target.touch()
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (make_fifo, UserError, "not a regular file"),
        (make_socket, UserError, "not a regular file"),
        (Path.mkdir, UserError, "not a regular file"),
        (lambda path: path.symlink_to(path.name), UserError, "cannot open .*DATA.PATH_PREFIX"),
        (lambda path: path.symlink_to("/dev/zero"), SecurityError, "leads to '/dev/zero', outside"),
        (lambda path: path.symlink_to("/dev/x\ny"), UserError, "No such file"),
        (link_to_a_name_of_two_lines, SecurityError, r"leads to '.*/a\\nb', outside"),
        (lambda path: path.symlink_to("nowhere"), UserError, "No such file"),
        (lambda path: None, UserError, "No such file or directory"),
    ],
)
def test_only_regular_files_inside_the_root_are_opened(tmp_path, monkeypatch, make, error, message):
    monkeypatch.chdir(tmp_path)
    clips = table()
    write_images(tmp_path / "image", clips)
    path = tmp_path / "image" / clips.frame_paths(0, [1])[0]
    path.unlink()
    make(path)
    with pytest.raises(error, match=message) as caught:
        open_source(clips, settings(tmp_path)).read(0, np.arange(4))
    assert "clip AAACXZTV: " in str(caught.value) and path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_root_itself_may_be_a_link_and_links_inside_it_are_followed(tmp_path):
    clips = table()
    write_images(tmp_path / "elsewhere", clips)
    (tmp_path / "image").symlink_to(tmp_path / "elsewhere")
    path = tmp_path / "image" / clips.frame_paths(0, [1])[0]
    path.unlink()
    path.symlink_to("AAACXZTV_t000004.jpg")
    frames = open_source(clips, settings(tmp_path)).read(0, np.arange(4))
    assert numbers(frames) == [0, 3, 2, 3]
