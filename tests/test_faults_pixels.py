"""Files that are gone, strange, or fail to be read: frames and videos alike. Rows of group C."""

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from clip_files import numbers, settings, table, write_images, write_video

from actionrec.data import images, reading, video
from actionrec.data.annotations import read_clips
from actionrec.data.dataset import TestDataset, TrainDataset
from actionrec.data.decoding import find_missing, open_source, require_files
from actionrec.errors import SecurityError, UserError

SOURCES = ("frames", "video")
MODULES = {"frames": images, "video": video}
NUM_FRAMES = 4


def make_source(tmp_path, source):
    """One clip of four frames, and the path of the second frame, or of the video."""
    clips = table(NUM_FRAMES)
    if source == "frames":
        write_images(tmp_path / "image", clips)
        path = tmp_path / "image" / clips.frame_paths(0, [1])[0]
    else:
        path = tmp_path / "video" / "AAACXZTV.mp4"
        write_video(path, times=[0, 20, 40, 60])
    return open_source(clips, settings(tmp_path, source=source)), path


def read_all(source):
    return source.read(0, np.arange(NUM_FRAMES))


def message_of(error):
    """The text of a message, which must be one line that any log can hold."""
    text = str(error.value)
    assert "\n" not in text
    text.encode()
    return text


@pytest.mark.parametrize(
    "absent",
    [
        pytest.param([0], id="C1-first"),
        pytest.param([2], id="C1-middle"),
        pytest.param([3], id="C1-last"),
        pytest.param([0, 1, 2, 3], id="C1-empty-folder"),
    ],
)
def test_a_missing_frame_is_named_before_and_while_reading(tmp_path, absent):
    source, path = make_source(tmp_path, "frames")
    for index in absent:
        (source.root / source.files(0)[index]).unlink()
    assert path.parent.is_dir()
    first = source.files(0)[absent[0]]
    assert len(find_missing(source.table, source)) == 1
    assert find_missing(source.table, source)[0].startswith(f"AAACXZTV ({first}")
    with pytest.raises(UserError, match=f"clip AAACXZTV: cannot open .*/{first} .No such file"):
        read_all(source)
    others = [index for index in range(NUM_FRAMES) if index not in absent]
    assert numbers(source.read(0, np.array(others, int))) == others


@pytest.mark.parametrize("source", [pytest.param(s, id=f"C1-no-folder-{s}") for s in SOURCES])
def test_a_missing_folder_is_named_with_its_key(tmp_path, source):
    source, path = make_source(tmp_path, source)
    shutil.rmtree(path.parent)
    with pytest.raises(UserError, match=f"clip AAACXZTV: cannot open .*; check {source.key}"):
        read_all(source)


@pytest.mark.parametrize("module", ["images", "video"])
def test_a_bomb_needs_no_memory(tmp_path, module):
    """C5: within 200 MB more than the imports take; the pixels alone would be 768 MB."""
    code = (
        "import resource, struct, time, numpy, cv2, av\n"
        f"from actionrec.data import {module}\n"
        "from actionrec.data.images import decode_image\n"
        "from actionrec.errors import SecurityError\n"
        "data = cv2.imencode('.jpg', numpy.zeros((9, 9, 3), numpy.uint8))[1].tobytes()\n"
        "at = data.index(b'\\xff\\xc0') + 5\n"
        "data = data[:at] + struct.pack('>HH', 16000, 16000) + data[at + 4:]\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "most = pages * resource.getpagesize() + 200 * 2**20\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "started = time.perf_counter()\n"
        "try: decode_image(data, 'bomb.jpg')\n"
        "except SecurityError: print(time.perf_counter() - started)\n"
    )
    done = run_python(code)
    assert float(done.stdout) < 0.1


def run_python(code, *before):
    package = str(Path(images.__file__).parents[2])
    return subprocess.run(
        [*before, sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": package},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )


def make_socket(path):
    os.chdir(path.parent)  # the names of sockets must be short
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path.name)


def make_device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # as /dev/zero
    except PermissionError:
        pytest.skip("only root may make a device")


def link_to_a_name_of_two_lines(path):
    target = path.parents[2] / "a\nb"
    target.touch()
    path.symlink_to(target)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        pytest.param(os.mkfifo, UserError, "not a regular file", id="C7-fifo"),
        pytest.param(make_socket, UserError, "not a regular file", id="C7-socket"),
        pytest.param(make_device, UserError, "not a regular file", id="C7-device"),
        pytest.param(Path.mkdir, UserError, "not a regular file", id="C7-folder"),
        pytest.param(
            lambda path: path.symlink_to(path.name),
            UserError,
            r"cannot open .*DATA.(PATH|VIDEO)_PREFIX",
            id="C7-loop",
        ),
        pytest.param(
            lambda path: path.symlink_to("/dev/zero"),
            SecurityError,
            "leads to '/dev/zero', outside",
            id="C7-link-to-device",
        ),
        pytest.param(
            link_to_a_name_of_two_lines,
            SecurityError,
            r"leads to '.*/a\\nb', outside",
            id="C7-link-outside",
        ),
        pytest.param(
            lambda path: path.symlink_to("/dev/x\ny"), UserError, "No such file", id="C7-no-target"
        ),
        pytest.param(lambda path: None, UserError, "No such file or directory", id="C7-nothing"),
    ],
)
def test_only_regular_files_inside_the_root_are_opened(
    tmp_path, monkeypatch, source, make, error, message
):
    monkeypatch.chdir(tmp_path)
    source, path = make_source(tmp_path, source)
    path.unlink()
    make(path)
    with pytest.raises(error, match=message) as caught:
        read_all(source)
    assert "clip AAACXZTV: " in message_of(caught) and path.name in message_of(caught)


@pytest.mark.parametrize("source", [pytest.param(s, id=f"C7-race-{s}") for s in SOURCES])
def test_a_pipe_that_takes_the_place_of_a_file_holds_nobody_up(tmp_path, monkeypatch, source):
    source, path = make_source(tmp_path, source)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(reading.stat, "S_ISREG", lambda _: True)
    with pytest.raises(UserError, match=f"clip AAACXZTV: .*{path.name} is empty"):
        read_all(source)
    writer = os.open(path, os.O_RDWR)  # which writes nothing
    with pytest.raises(UserError, match=f"clip AAACXZTV: .*{path.name} is empty"):
        read_all(source)
    os.close(writer)


@pytest.mark.parametrize("source", [pytest.param(s, id=f"C8-not-UTF8-{s}") for s in SOURCES])
def test_a_root_whose_name_is_not_text_is_read_and_named(tmp_path, source):
    _, path = make_source(tmp_path / "plain", source)  # OpenCV cannot write below such a name
    root = tmp_path / os.fsdecode(b"caf\xe9 \xff")
    (tmp_path / "plain").rename(root)
    path = root / path.relative_to(tmp_path / "plain")
    source = open_source(table(NUM_FRAMES), settings(root, source=source))
    assert numbers(read_all(source)) == [0, 1, 2, 3]
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"caf\\udce9 \\udcff.* is empty") as caught:
        read_all(source)
    message_of(caught)
    path.unlink()
    with pytest.raises(UserError, match=r"open '.*caf\\udce9 \\udcff.*' .No such file") as caught:
        read_all(source)
    message_of(caught)
    with pytest.raises(UserError, match=r"1 of 1 clips .* lack files: .*caf\\udce9") as caught:
        require_files(source.table, source)
    message_of(caught)


def write_paths(tmp_path, paths):
    """A split of one clip with these paths, as read_clips gives it; frame k spells k."""
    write_images(tmp_path / "written", clips := table(len(paths)))
    lines = ["original_vido_id video_id frame_id path labels"]
    for index, (path, written) in enumerate(
        zip(paths, clips.frame_paths(0, range(len(paths))), strict=True)
    ):
        place = tmp_path / "image" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "written" / written, place)
        lines.append(f"CLIP 0 {index + 1} {path} 0")
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return read_clips(tmp_path / "train.csv", num_classes=1)


@pytest.mark.parametrize(
    "form", [pytest.param(form, id=f"C8-{form}") for form in ("NFC", "NFD", "case")]
)
def test_names_are_taken_letter_by_letter(tmp_path, form):
    name = "caf\u00e9_Tier"
    clips = write_paths(tmp_path, [f"{name}/{name}_{k}.jpg" for k in range(3)])
    source = open_source(clips, settings(tmp_path, source="frames"))
    assert numbers(source.read(0, np.arange(3))) == [0, 1, 2]
    other = name.lower() if form == "case" else unicodedata.normalize(form, name)
    (tmp_path / "image" / name).rename(tmp_path / "image" / other)
    if other == name:
        require_files(clips, source)
        return
    with pytest.raises(UserError, match="No such file"):
        source.read(0, np.arange(3))
    with pytest.raises(UserError, match="1 of 1 clips of .* lack files"):
        require_files(clips, source)


@pytest.mark.parametrize(
    "paths",
    [
        pytest.param([f"CLIP/{k:06d}.jpg" for k in range(12)], id="C9-from-0"),
        pytest.param([f"CLIP/{k:06d}.jpg" for k in range(1, 13)], id="C9-from-1"),
        pytest.param([f"CLIP/{k}.jpg" for k in range(1, 13)], id="C9-unpadded"),
        pytest.param([f"CLIP/{3 * k + k % 2:04d}.jpg" for k in range(12)], id="C9-gaps"),
        pytest.param([f"CLIP/{k}.jpg" for k in (9, 10, 100, 99, 1)], id="C9-no-order"),
        pytest.param(["CLIP/a.jpg", "CLIP/b9.jpg", "c.jpg"], id="C9-no-numbers"),
    ],
)
def test_frames_are_those_of_the_annotation_however_they_are_numbered(tmp_path, paths):
    clips = write_paths(tmp_path, paths)
    for extra in (".DS_Store", "Thumbs.db", "CLIP/.DS_Store", "CLIP/Thumbs.db", "CLIP/000099.jpg"):
        (tmp_path / "image" / extra).write_bytes(b"not a picture")
    (tmp_path / "image" / "CLIP" / os.fsdecode(b"\xff.jpg")).touch()  # C8: beside the frames
    source = open_source(clips, settings(tmp_path, source="frames"))
    require_files(clips, source)
    assert numbers(source.read(0, np.arange(len(paths)))) == list(range(len(paths)))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    "num_frames", [pytest.param(1, id="C10-one-frame"), pytest.param(3, id="C10-shorter")]
)
def test_a_clip_shorter_than_a_view_repeats_its_last_frames(tmp_path, source, num_frames):
    clips = table(num_frames)
    clips.labels = lambda *_: np.array([0])
    write_images(tmp_path / "image", clips)
    write_video(tmp_path / "video" / "AAACXZTV.mp4", times=[20 * k for k in range(num_frames)])
    of_run = settings(tmp_path, source=source)
    source = open_source(clips, of_run)
    # A view is four frames.
    train = TrainDataset(clips, source, of_run, seed=0)[0, 0].frames
    test = TestDataset(clips, source, of_run)[0]
    assert train.shape == (4, 224, 224, 3)
    assert len(test.bank) == num_frames and test.view_frames.shape == (of_run.num_views, 4)
    last = source.read(0, np.array([num_frames - 1]))
    np.testing.assert_array_equal(source.read(0, np.array([num_frames - 1] * 2)), [*last, *last])


@pytest.mark.parametrize("source", [pytest.param(s, id=f"C13-{s}") for s in SOURCES])
def test_a_file_that_goes_between_the_audit_and_the_read_is_named(tmp_path, source):
    source, path = make_source(tmp_path, source)
    require_files(source.table, source)
    path.unlink()
    with pytest.raises(UserError, match=f"clip AAACXZTV: cannot open .*/{path.name} .No such file"):
        read_all(source)


@pytest.mark.parametrize("source", [pytest.param(s, id=f"C13-at-open-{s}") for s in SOURCES])
def test_a_file_that_goes_while_it_is_opened_is_named(tmp_path, monkeypatch, source):
    module, (source, path) = MODULES[source], make_source(tmp_path, source)
    open_file = module.open_file
    monkeypatch.setattr(
        module, "open_file", lambda p: p.unlink(missing_ok=p == path) or open_file(p)
    )
    with pytest.raises(UserError, match=r"clip AAACXZTV: .*(jpg|mp4) cannot be .*No such file"):
        read_all(source)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE], ids=["C14-EIO", "C14-ESTALE"])
@pytest.mark.parametrize("function", ["_look_up", "open_file"])
def test_what_may_pass_is_tried_three_times(tmp_path, monkeypatch, source, code, function):
    module, (source, _) = MODULES[source], make_source(tmp_path, source)
    module = reading if function == "_look_up" else module
    works, failures, waits = getattr(module, function), [], []

    def fail_first(path):
        if failures:
            raise failures.pop()
        return works(path)

    monkeypatch.setattr(module, function, fail_first)
    monkeypatch.setattr(reading.time, "sleep", waits.append)
    failures[:] = [OSError(code, os.strerror(code))] * 2
    assert numbers(read_all(source)) == [0, 1, 2, 3]
    assert waits == [0.1, 0.5]
    failures[:] = [OSError(code, os.strerror(code))] * 3
    with pytest.raises(UserError, match=f"clip AAACXZTV: .*{os.strerror(code)}") as caught:
        read_all(source)
    message_of(caught)
    assert waits == [0.1, 0.5] * 2 and not failures
    # What cannot pass is not tried again.
    failures[:] = [OSError(errno.EACCES, "Permission denied")]
    with pytest.raises(UserError, match="Permission denied"):
        read_all(source)
    assert waits == [0.1, 0.5] * 2


READ_ONE = """
import sys, numpy as np
sys.path[:0] = {path!r}
from clip_files import numbers, settings, table
from pathlib import Path
from actionrec.data.decoding import open_source
from actionrec.errors import UserError
source = open_source(table(4), settings(Path({folder!r}), source={source!r}))
try: print(numbers(source.read(0, np.arange(4))) == [0, 1, 2, 3])
except UserError as error: print(error)
"""


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("which", "message"),
    [
        pytest.param("1..2", "True", id="C14-two-failed-reads"),
        pytest.param("1+", "clip AAACXZTV: ", id="C14-all-reads-fail"),
    ],
)
def test_a_disk_that_fails_to_read(tmp_path, source, which, message):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    _, path = make_source(tmp_path, source)
    inject = ["strace", "-f", "-o", os.devnull, "-P", str(path), "-e", "trace=read"]
    inject += ["-e", f"inject=read:error=EIO:when={which}"]
    if subprocess.run([*inject[:8], "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    code = READ_ONE.format(path=sys.path, folder=str(tmp_path), source=source)
    done = run_python(code, *inject)
    assert done.stdout.startswith(message) and done.stdout.count("\n") == 1
    assert "Input/output error" in done.stdout or message == "True"
    assert done.stderr == ""
