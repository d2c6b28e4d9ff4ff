"""A checkpoint is whole or is not used: crashes, damage, payloads, strangers."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from actionrec import types
from actionrec.engine import checkpoint_file
from actionrec.engine.checkpoint import (
    SCHEMA_VERSION,
    best_path,
    checkpoint_path,
    file_hashes,
    find_resume,
    load_checkpoint,
    make_state,
    save_checkpoint,
)
from actionrec.engine.checkpoint_file import TornCheckpoint
from actionrec.errors import SecurityError, UserError


def state_at(epoch: int) -> dict:
    """A state with a real optimizer in it; the weights tell the epoch."""
    model = nn.Linear(40, 30)
    nn.init.constant_(model.weight, float(epoch))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.ones(1, 40)).sum().backward()
    optimizer.step()
    return {
        "epoch": epoch,
        "model_state": model.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "cfg": "TRAIN: {ENABLE: true}\n",
    }


def equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def save_epochs(output_dir: Path, count: int) -> list[Path]:
    paths = [checkpoint_path(output_dir, epoch + 1) for epoch in range(count)]
    for epoch, path in enumerate(paths):
        save_checkpoint(path, state_at(epoch))
    return paths


def test_names_are_slowfasts_and_only_epochs_have_checkpoint_in_them(tmp_path):
    folder = tmp_path / "checkpoints"
    assert checkpoint_path(tmp_path, 1) == folder / "checkpoint_epoch_00001.pyth"
    assert checkpoint_path(tmp_path, 3, 120).name == "checkpoint_epoch_00003_step_000120.pyth"
    assert checkpoint_path(tmp_path, 3, 120) > checkpoint_path(tmp_path, 3)
    assert best_path(tmp_path) == folder / "best.pyth"


def test_a_state_comes_back_as_it_was_with_the_schema_version(tmp_path):
    state = {**state_at(0), "loss_state": {}, "thresholds": None, "best_map": 0.25}
    path = checkpoint_path(tmp_path, 1)
    save_checkpoint(path, state)
    assert equal(load_checkpoint(path), {**state, "schema": SCHEMA_VERSION})
    assert names(path.parent) == [path.name]


def test_the_trailer_is_the_sha256_of_all_before_it(tmp_path):
    path = save_epochs(tmp_path, 1)[0]
    content = path.read_bytes()
    body, trailer = content[:-83], content[-83:]
    assert trailer == f"\nactionrec-sha256:{hashlib.sha256(body).hexdigest()}\n".encode()


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_reads_past_the_trailer(tmp_path, mmap):
    path = save_epochs(tmp_path, 1)[0]
    state = torch.load(path, weights_only=True, map_location="cpu", mmap=mmap)
    assert equal(state, load_checkpoint(path))


def test_a_mode_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        path = save_epochs(tmp_path, 1)[0]
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("call", ["fsync", "replace", "write", "folder"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), None])
def test_a_failure_in_a_save_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, call, error
):
    path = save_epochs(tmp_path, 1)[0]
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise KeyboardInterrupt if error is None else error

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif call == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    elif call == "write":
        monkeypatch.setattr(checkpoint_file._HashingFile, "write", failing_write(5, error))
    else:
        monkeypatch.setattr(checkpoint_file, "_write_sealed", fail)
    raised = KeyboardInterrupt if error is None else UserError
    with pytest.raises(raised) as caught:
        save_checkpoint(path, state_at(7))
    if error is not None:
        assert str(path) in str(caught.value)
        assert "No space left on device" in str(caught.value)
        assert "\n" not in str(caught.value)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert names(path.parent) == [path.name]


def failing_write(at: int, error: OSError | None):
    original, count = checkpoint_file._HashingFile.write, 0

    def write(self, chunk):
        nonlocal count
        count += 1
        if count < at:
            return original(self, chunk)
        self.error = KeyboardInterrupt() if error is None else error
        raise self.error

    return write


def test_a_full_disk_is_reported_as_such_wherever_it_fills_up(tmp_path, monkeypatch):
    path = checkpoint_path(tmp_path, 1)

    class FullDisk(io.BytesIO):
        def __init__(self, room: int) -> None:
            super().__init__()
            self.room = room

        def write(self, chunk):
            self.room -= len(chunk)
            if self.room < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return len(chunk)

    original = os.fdopen
    for room in (0, 10, 100, 1000, 5000):
        monkeypatch.setattr(
            os, "fdopen", lambda fd, mode, room=room: [os.close(fd), FullDisk(room)][1]
        )
        with pytest.raises(UserError, match="not saved .No space left on device.; free space"):
            save_checkpoint(path, state_at(0))
        monkeypatch.setattr(os, "fdopen", original)
        assert names(path.parent) == []


def test_what_a_killed_save_left_is_replaced_and_is_no_checkpoint_to_slowfast(
    tmp_path, monkeypatch
):
    path = checkpoint_path(tmp_path, 1)
    monkeypatch.setattr(Path, "replace", lambda *args: os._exit(9))
    child = os.fork()
    if child == 0:
        save_checkpoint(path, state_at(0))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    monkeypatch.undo()
    (leftover,) = names(path.parent)
    assert "checkpoint" not in leftover
    assert find_resume(tmp_path) is None
    save_checkpoint(path, state_at(0))
    assert names(path.parent) == [path.name]


def test_a_link_planted_under_the_temporary_name_is_not_written_through(tmp_path):
    path = save_epochs(tmp_path, 1)[0]
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (path.parent / f".{path.name.replace('checkpoint', 'ckpt')}.tmp").symlink_to(victim)
    save_checkpoint(path, state_at(1))
    assert victim.read_text() == "mine"
    assert load_checkpoint(path)["epoch"] == 1


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "checkpoints").write_text("a file in the way")
    with pytest.raises(UserError, match="not saved .*OUTPUT_DIR"):
        save_checkpoint(checkpoint_path(tmp_path, 1), state_at(0))


@pytest.mark.parametrize("value", [np.float64(0.5), Path("x"), {1, 2}, torch.__version__, print])
def test_only_tensors_and_plain_values_are_saved(tmp_path, value):
    path = checkpoint_path(tmp_path, 1)
    with pytest.raises(TypeError, match=r"checkpoint\['input'\]\['mean'\]\[1\] is a "):
        save_checkpoint(path, {**state_at(0), "input": {"mean": [0.0, value]}})
    assert not path.exists()


def damaged(content: bytes) -> dict[str, bytes]:
    """What a crash, a full disk or a bad cable leaves of a checkpoint."""
    middle = len(content) // 2
    flipped = bytearray(content)
    flipped[middle] ^= 1
    return {
        "empty": b"",
        "zeros": bytes(len(content)),
        "half": content[:middle],
        "a few bytes": content[:7],
        "one byte short": content[:-1],
        "without its trailer": content[:-83],
        "half a trailer": content[:-40],
        "a flipped bit": bytes(flipped),
        "a flipped digest": content[:-2] + bytes([content[-2] ^ 1]) + content[-1:],
        "a flipped magic": content[:-81] + b"X" + content[-80:],
        "grown": content + b"\0",
        "html": b"<html>not found</html>" * 20,
        "only a trailer": content[-83:],
    }


KINDS = list(damaged(bytes(200)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_named_in_one_line(tmp_path, kind):
    path = save_epochs(tmp_path, 1)[0]
    path.write_bytes(damaged(path.read_bytes())[kind])
    with pytest.raises(TornCheckpoint) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_cut_anywhere_is_never_taken(tmp_path):
    path = save_epochs(tmp_path, 1)[0]
    content = path.read_bytes()
    cuts = {*range(0, len(content), len(content) // 150), *range(len(content) - 90, len(content))}
    for cut in sorted(cuts):
        path.write_bytes(content[:cut])
        with pytest.raises(TornCheckpoint):
            load_checkpoint(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resume_takes_the_newest_whole_one_and_names_the_torn(tmp_path, kind):
    paths = save_epochs(tmp_path, 3)
    paths[2].write_bytes(damaged(paths[2].read_bytes())[kind])
    path, state, torn = find_resume(tmp_path)
    assert (path, state["epoch"], list(torn)) == (paths[1], 1, [paths[2]])
    assert str(paths[2]) in torn[paths[2]]


def test_all_torn_is_an_error_and_never_a_start_from_0(tmp_path):
    paths = save_epochs(tmp_path, 2)
    for path in paths:
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="no checkpoint to resume from is whole") as caught:
        find_resume(tmp_path)
    assert all(str(path) in str(caught.value) for path in paths)


def test_nothing_there_is_nothing_to_resume(tmp_path):
    assert find_resume(tmp_path) is None
    (tmp_path / "checkpoints").mkdir()
    assert find_resume(tmp_path) is None


def test_a_resume_ignores_strangers_and_best(tmp_path):
    paths = save_epochs(tmp_path, 2)
    save_checkpoint(best_path(tmp_path), state_at(50))
    folder = paths[0].parent
    for name in ("checkpoint_notes.txt", "checkpoint_epoch_7.pyth", "checkpoint_epoch_00009.pyth~"):
        (folder / name).write_text("x")
    assert find_resume(tmp_path).path == paths[1]
    assert find_resume(tmp_path).torn == {}


def test_a_step_save_is_newer_than_its_epoch_and_older_than_the_next(tmp_path):
    save_epochs(tmp_path, 2)
    at_step = checkpoint_path(tmp_path, 2, 120)
    save_checkpoint(at_step, state_at(1))
    assert find_resume(tmp_path).path == at_step
    save_checkpoint(checkpoint_path(tmp_path, 3), state_at(2))
    assert find_resume(tmp_path).path == checkpoint_path(tmp_path, 3)


def test_epochs_beyond_five_digits_are_compared_as_numbers(tmp_path):
    for epoch in (99_999, 100_000):
        save_checkpoint(checkpoint_path(tmp_path, epoch), state_at(epoch - 1))
    assert find_resume(tmp_path).state["epoch"] == 99_999


@pytest.mark.parametrize("kind", ["folder", "link", "dangling", "pipe"])
def test_what_is_no_file_is_passed_over_and_named(tmp_path, kind):
    paths = save_epochs(tmp_path, 1)
    odd = checkpoint_path(tmp_path, 2)
    if kind == "folder":
        odd.mkdir()
    elif kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to(paths[0] if kind == "link" else tmp_path / "nowhere")
    found = find_resume(tmp_path)
    assert (found.path, list(found.torn)) == (paths[0], [odd])


def test_weights_alone_are_not_resumed(tmp_path):
    path = checkpoint_path(tmp_path, 1)
    save_checkpoint(path, {"model_state": {}})
    with pytest.raises(UserError, match="holds weights only"):
        find_resume(tmp_path)


def test_a_file_of_a_newer_version_stops_the_resume(tmp_path):
    save_epochs(tmp_path, 1)
    path = checkpoint_path(tmp_path, 2)
    checkpoint_file.write(path, {**state_at(1), "schema": SCHEMA_VERSION + 1})
    with pytest.raises(UserError, match="newer version .schema 2, known here up to 1.") as caught:
        find_resume(tmp_path)
    assert not isinstance(caught.value, TornCheckpoint)


@pytest.mark.parametrize("zipped", [True, False])
def test_slowfasts_own_files_load_with_a_note(tmp_path, caplog, zipped):
    path = tmp_path / "SLOWFAST_8x8_R50.pyth"
    torch.save(state_at(3), path, _use_new_zipfile_serialization=zipped)
    with caplog.at_level("INFO"):
        state = load_checkpoint(path)
    assert state["epoch"] == 3
    assert f"{path}: no checksum" in caplog.text


def test_slowfasts_own_files_resume(tmp_path):
    path = checkpoint_path(tmp_path, 4)
    path.parent.mkdir()
    torch.save(state_at(3), path)
    assert find_resume(tmp_path).state["epoch"] == 3


@pytest.mark.parametrize("content", [{"weights": {}}, [1, 2], {"model_state": 3}])
def test_a_file_without_model_state_is_no_checkpoint(tmp_path, content):
    torch.save(content, tmp_path / "x.pyth")
    with pytest.raises(TornCheckpoint, match="x.pyth: holds no 'model_state'"):
        load_checkpoint(tmp_path / "x.pyth")


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_a_wrong_path_is_one_line(tmp_path, kind):
    path = tmp_path / "x.pyth"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(UserError, match=r"x\.pyth: (cannot be read \(No such file|is not a file)"):
        load_checkpoint(path)


class Payload:
    """Unpickled carelessly, makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def write_payload(kind: str, path: Path, canary: Path) -> None:
    content = {"model_state": Payload(canary), "epoch": 0, "optimizer_state": {}}
    if kind == "zip":
        torch.save(content, path)
    elif kind == "sealed zip":
        torch.save(content, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        path.write_bytes(path.read_bytes() + f"\nactionrec-sha256:{digest}\n".encode())
    elif kind == "legacy":
        torch.save(content, path, _use_new_zipfile_serialization=False)
    elif kind == "plain pickle":
        path.write_bytes(pickle.dumps(content))
    elif kind == "old plain pickle":
        path.write_bytes(pickle.dumps(content, protocol=0))
    else:
        with tarfile.open(path, "w") as archive:
            for name in ("sys_info", "pickle", "storages", "tensors"):
                member = tarfile.TarInfo(name)
                payload = pickle.dumps(Payload(canary))
                member.size = len(payload)
                archive.addfile(member, io.BytesIO(payload))


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("zip", SecurityError),
        ("sealed zip", SecurityError),
        ("legacy", SecurityError),
        ("plain pickle", SecurityError),
        ("old plain pickle", TornCheckpoint),
        ("tar", TornCheckpoint),
    ],
)
def test_a_payload_is_refused_and_not_executed(tmp_path, kind, error):
    canary, path = tmp_path / "canary", checkpoint_path(tmp_path, 2)
    save_epochs(tmp_path, 1)
    write_payload(kind, path, canary)
    with pytest.raises(error) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    if error is SecurityError:
        with pytest.raises(SecurityError):
            find_resume(tmp_path)
    else:
        assert find_resume(tmp_path).torn.keys() == {path}
    assert not canary.exists()


def test_a_pkl_file_is_refused_with_the_way_out(tmp_path):
    path = tmp_path / "I3D_8x8_R50.pkl"
    path.write_bytes(pickle.dumps({"blobs": {}}, protocol=0))
    with pytest.raises(SecurityError, match=r"I3D_8x8_R50.pkl: .*convert it to \.pyth"):
        load_checkpoint(path)


def test_make_state_is_complete_and_can_be_saved(tmp_path):
    (tmp_path / "train.csv").write_text("header\n")
    run = types.RunSettings(
        data=types.DataSettings(
            annotation_dir=tmp_path, num_classes=3, num_frames=8, sampling_rate=2
        ),
        input=types.InputSettings(alpha=4),
        loader=types.LoaderSettings(train_batch=2, test_batch=2),
        solver=types.SolverSettings(base_lr=0.1, max_epoch=2),
        loss=types.LossSettings("bce_loss"),
        metrics=types.MetricSettings(),
        train=types.TrainSettings(enable=True),
        test=types.TestSettings(enable=False),
        output_dir=tmp_path / "out",
        base="wheel",
        config_yaml="A: 1\n",
    )
    parts = state_at(4)
    state = make_state(
        run,
        epoch=4,
        step=0,
        model_state=parts["model_state"],
        optimizer_state=parts["optimizer_state"],
        loss_state={"weights": torch.ones(3)},
        class_names=("eat", "fly", "run"),
        best_map=np.float64(0.5),
        hashes=file_hashes(run),
    )
    path = checkpoint_path(run.output_dir, 5)
    save_checkpoint(path, state)
    loaded = load_checkpoint(path)
    assert equal(loaded, dict(state))
    assert loaded["hashes"] == {
        "config": hashlib.sha256(b"A: 1\n").hexdigest(),
        "train.csv": hashlib.sha256(b"header\n").hexdigest(),
    }
    assert loaded["input"]["alpha"] == 4
    assert loaded["class_names"] == ["eat", "fly", "run"]
    assert set(loaded["versions"]) == {"python", "torch", "numpy"}


def test_a_copy_elsewhere_verifies_too(tmp_path):
    path = save_epochs(tmp_path, 1)[0]
    shutil.copy(path, tmp_path / "published.pyth")
    assert load_checkpoint(tmp_path / "published.pyth")["epoch"] == 0
