"""Runs that hold clips of train.csv out: what is trained on, chosen on, tested on, and refused."""

from __future__ import annotations

import dataclasses
import logging
import shutil

import numpy as np
import pytest
from tiny_run import NUM_CLASSES, Tiny, json_stats, make_settings, same, weights

from actionrec.data.annotations import read_clips
from actionrec.data.dev_split import dev_split_path, hold_out, write_dev_split
from actionrec.data.input_checks import AnnotationError
from actionrec.data.splits import load_splits
from actionrec.engine import checkpoint
from actionrec.engine.run import run
from actionrec.errors import SecurityError, UserError
from actionrec.types import MetricSettings, SolverSettings, TestSettings, TrainSettings

DEV = ["TRAIN02", "TRAIN05", "TRAIN06", "TRAIN11"]


@pytest.fixture
def root(clips, tmp_path):
    """The clips with an annotation folder of their own, in which dev.txt may lie."""
    folder = tmp_path / "data"
    shutil.copytree(clips / "annot", folder / "annot")
    (folder / "image").symlink_to(clips / "image")
    return folder


def write_dev(root, ids=DEV):
    train_ids = read_clips(root / "annot/train.csv", num_classes=NUM_CLASSES).ids
    write_dev_split(root / "annot/dev.txt", ids, list(train_ids), "for a test")


def short(root, out, epochs=1, **changes):
    solver = SolverSettings(base_lr=0.2, max_epoch=epochs)
    return make_settings(root, out, solver=solver, **changes)


def with_choice(settings, choice):
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, dev_split=choice))


def test_a_subset_of_a_table_is_the_table_of_its_rows(tmp_path):
    rows = [
        "a 1 1 a/a_t000001.jpg 0",
        "a 1 2 a/a_t000002.jpg 0,1",
        "b 2 5 x/odd.jpg 2",
        "b 2 6 x/other.jpg 2",
        "c 3 1 c/c_t000007.jpg 1",
        "a 1 3 a/a_t000003.jpg 2",
        "d 4 1 d/1.jpg 0",
    ]
    path = tmp_path / "train.csv"
    path.write_text("\n".join(["original_vido_id video_id frame_id path labels", *rows]) + "\n")
    table = read_clips(path, num_classes=3)
    for wanted in ([0, 1, 2, 3], [1, 3], [2, 0], [3], []):
        subset = table.subset(np.array(wanted, dtype=np.int64))
        assert list(subset.ids) == [table.ids[clip] for clip in wanted]
        assert subset.lines.tolist() == table.lines[wanted].tolist()
        assert subset.num_frames.tolist() == table.num_frames[wanted].tolist()
        assert subset.targets(3).tolist() == table.targets(3)[wanted].tolist()
        for clip, before in enumerate(wanted):
            frames = range(int(table.num_frames[before]))
            assert subset.frame_paths(clip, frames) == table.frame_paths(before, frames)
            for frame in frames:
                labels = subset.labels(clip, frame, frame).tolist()
                assert labels == table.labels(before, frame, frame).tolist()


def test_auto_is_dev_txt_beside_train_csv_where_it_is(tmp_path):
    assert dev_split_path("auto", tmp_path) is None
    (tmp_path / "dev.txt").symlink_to("nowhere")  # an error when it is read, not an absent split
    assert dev_split_path("auto", tmp_path) == tmp_path / "dev.txt"
    assert dev_split_path("none", tmp_path) is None
    assert str(dev_split_path("lists/mine.txt", tmp_path)) == "lists/mine.txt"


def test_clips_held_out_choose_the_checkpoint_and_are_not_trained_on(root, tmp_path):
    write_dev(root)
    out = tmp_path / "out"
    settings = short(root, out, epochs=2, train=TrainSettings(True))
    run(settings, Tiny)
    log = (out / "stdout.log").read_text()
    assert "validation on 4 clips held out of train.csv by" in log and "no dev split" not in log
    assert "train.csv: 14 clips" in log and "dev.txt: 4 clips" in log
    assert "test of 9 of 9 clips" in log
    best = checkpoint.load_checkpoint(checkpoint.best_path(out))
    validated = [s["map"] for s in json_stats(out) if s.get("_type") == "val_epoch"]
    assert best["best_map"] == pytest.approx(max(validated), abs=1e-4)
    table, source = load_splits(settings).validation
    assert list(table.ids) == DEV and source.files(0)[0].startswith("TRAIN02/")
    # The same clips trained on without a dev split, in a train.csv of their own: the same weights.
    lines = (root / "annot/train.csv").read_text().splitlines()
    kept = [line for line in lines if line.split()[0] not in DEV]
    (root / "annot/train.csv").write_text("\n".join(kept) + "\n")
    (root / "annot/dev.txt").unlink()
    run(dataclasses.replace(settings, output_dir=tmp_path / "kept"), Tiny)
    assert same(weights(out, 2), weights(tmp_path / "kept", 2))


def test_without_a_dev_split_the_log_says_what_the_checkpoint_is_chosen_on(root, tmp_path):
    run(short(root, tmp_path / "out", test=TestSettings(False)), Tiny)
    log = (tmp_path / "out/stdout.log").read_text()
    assert "no dev split: best.pyth is chosen on val.csv" in log
    assert "tools/make_split.py makes one" in log and "validation on" not in log


def test_segments_count_all_of_train_csv_and_the_losses_what_is_trained_on(root, tmp_path):
    counts = read_clips(root / "annot/train.csv", num_classes=NUM_CLASSES).class_counts(NUM_CLASSES)
    cuts = (int(counts.max()) - 1, int(counts.min()))
    settings = short(root, tmp_path / "out", metrics=MetricSettings(cuts=cuts))
    without = load_splits(settings)
    write_dev(root)
    splits = load_splits(settings)
    for part in ("head", "middle", "tail"):
        of_both = (getattr(s.segments, part).tolist() for s in (splits, without))
        assert len({tuple(classes) for classes in of_both}) == 1
    held_out = splits.dev.class_counts(NUM_CLASSES)
    assert (splits.train_clips.class_counts(NUM_CLASSES) + held_out).tolist() == counts.tolist()
    assert held_out.any() and list(splits.dev.ids) == DEV


def test_a_run_without_training_reads_no_dev_split(root, tmp_path):
    (root / "annot/dev.txt").write_text("nonsense\n")
    settings = short(root, tmp_path / "out", train=TrainSettings(False))
    splits = load_splits(settings)
    assert splits.dev is None and len(splits.train) == 18


@pytest.mark.parametrize(
    "text, line",
    [
        ("", "dev.txt: is empty"),
        ("# nothing\n\n", "dev.txt: names no clip"),
        ("TRAIN02\n# twice\nTRAIN02\n", "dev.txt:3: clip TRAIN02 is already in line 1"),
        (
            "TRAIN02\nVAL01\nVAL02\n",
            r"dev.txt:2: clip VAL01 is not in .*train.csv \(2 such clips\)",
        ),
        ("TRAIN02 TRAIN03\n", "dev.txt:1: clip id 'TRAIN02 TRAIN03' is refused"),
        ("../TRAIN02\n", "dev.txt:1: clip id '../TRAIN02' is refused"),
        ("\n".join(f"TRAIN{n:02d}" for n in range(18)), "dev.txt: holds out all 18 clips"),
        ("\n".join(f"TRAIN{n:02d}" for n in range(13)), "5 clips of .* that .*dev.txt leaves"),
    ],
)
def test_a_list_that_cannot_be_is_one_line(root, tmp_path, text, line):
    (root / "annot/dev.txt").write_text(text)
    with pytest.raises(UserError, match=line) as caught:
        load_splits(short(root, tmp_path / "out"))
    assert isinstance(caught.value, SecurityError) == ("refused" in line)
    assert "\n" not in str(caught.value)


def test_a_list_made_from_another_train_csv_is_refused(root):
    write_dev(root)
    lines = (root / "annot/train.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("TRAIN17 ")]
    (root / "annot/train.csv").write_text("\n".join(kept) + "\n")
    train = read_clips(root / "annot/train.csv", num_classes=NUM_CLASSES)
    with pytest.raises(
        AnnotationError, match="made from a train.csv with other clips .*make_split"
    ):
        hold_out(train, root / "annot/dev.txt")


def test_a_run_goes_on_with_the_same_dev_split_alone(root, tmp_path, caplog):
    out, only_train = tmp_path / "out", {"test": TestSettings(False)}
    run(short(root, out, **only_train), Tiny)
    write_dev(root)
    with pytest.raises(UserError, match="trained on the clips that .*dev.txt now holds out"):
        run(short(root, out, epochs=2, **only_train), Tiny)
    # As it was, with another name for it.
    run(with_choice(short(root, out, epochs=2, **only_train), "none"), Tiny)
    held = tmp_path / "held"
    run(short(root, held, **only_train), Tiny)
    moved = tmp_path / "moved.txt"
    shutil.move(root / "annot/dev.txt", moved)
    with pytest.raises(UserError, match="held clips out of training, and DATA.DEV_SPLIT names"):
        run(short(root, held, epochs=2, **only_train), Tiny)
    with caplog.at_level(logging.INFO):
        run(with_choice(short(root, held, epochs=2, **only_train), str(moved)), Tiny)
    assert any("resumed from" in line for line in caplog.messages)
    assert not any("forgotten" in line for line in caplog.messages)
    moved.write_text("TRAIN03\n")
    with pytest.raises(UserError, match="moved.txt has other content"):
        run(with_choice(short(root, held, epochs=3, **only_train), str(moved)), Tiny)


def test_another_val_csv_does_not_touch_what_was_chosen_on_the_clips_held_out(
    root, tmp_path, caplog
):
    write_dev(root)
    settings = short(root, tmp_path / "out", test=TestSettings(False))
    run(settings, Tiny)
    val = root / "annot/val.csv"
    val.write_text("\n".join(val.read_text().splitlines()[:-6]) + "\n")
    run(dataclasses.replace(settings, solver=SolverSettings(base_lr=0.2, max_epoch=2)), Tiny)
    assert not any("forgotten" in line for line in caplog.messages)
    (root / "annot/dev.txt").unlink()
    without = short(root, tmp_path / "without", test=TestSettings(False))
    run(without, Tiny)
    val.write_text("\n".join(val.read_text().splitlines()[:-6]) + "\n")
    run(dataclasses.replace(without, solver=SolverSettings(base_lr=0.2, max_epoch=2)), Tiny)
    assert any(line.startswith("val.csv has changed") for line in caplog.messages)


def test_a_checkpoint_of_before_there_were_dev_splits_goes_on_without_one(root, tmp_path):
    out = tmp_path / "out"
    run(short(root, out, test=TestSettings(False)), Tiny)
    path = checkpoint.checkpoint_path(out, 1)
    state = checkpoint.load_checkpoint(path)
    assert "dev.txt" not in state["hashes"]
    state["hashes"] = {}
    checkpoint.save_checkpoint(path, state)
    run(short(root, out, epochs=2, test=TestSettings(False)), Tiny)
    assert weights(out, 2)
