"""A whole run with a tiny model and made-up clips: train, resume, test, and what is never lost."""

from __future__ import annotations

import csv
import dataclasses
import pickle
import shutil

import numpy as np
import pytest
import torch
from tiny_run import NUM_CLASSES, Tiny, json_stats, make_settings, same, weights

from actionrec.data.class_table import write_class_table
from actionrec.data.splits import load_splits
from actionrec.engine import checkpoint, train
from actionrec.engine.criterion import build_criterion, own_params
from actionrec.engine.final_test import check_same_input
from actionrec.engine.run import run
from actionrec.engine.scores_file import load_scores
from actionrec.errors import Incomplete, UserError
from actionrec.metrics import get_map
from actionrec.types import (
    InputSettings,
    LoaderSettings,
    LossSettings,
    MetricSettings,
    SolverSettings,
    TestSettings,
    TrainSettings,
)


@pytest.fixture(scope="module")
def finished(clips, tmp_path_factory):
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("finished")
    run(make_settings(clips, folder), Tiny)
    return folder


def test_a_run_leaves_upstreams_files_and_lines(finished, clips):
    names = sorted(p.name for p in (finished / "checkpoints").iterdir())
    assert names == ["best.pyth", *(f"checkpoint_epoch_{e:05d}.pyth" for e in range(1, 7))]
    stats = json_stats(finished)
    assert [s["epoch"] for s in stats if s.get("_type") == "val_epoch"] == ["2/6", "4/6", "6/6"]
    assert stats[-1]["split"] == "test_final"
    assert float(stats[-1]["map"]) > 90  # colours are easy
    loss = [s["loss"] for s in stats if s.get("_type") == "train_epoch"]
    assert len(loss) == 6 and loss[-1] < loss[0]


def test_the_log_says_with_what_a_run_worked_and_its_configuration_is_kept(finished):
    (line,) = [s for s in (finished / "stdout.log").read_text().splitlines() if " cores, " in s]
    for part in (f"torch {torch.__version__}", "1 processes, device cpu", "SlowFast: ", "code "):
        assert part in line
    assert (finished / "config.yaml").read_text() == "MODEL: {LOSS_FUNC: bce_loss}\n"


def test_the_saved_scores_give_the_printed_map(finished, clips):
    with (finished / "results.pkl").open("rb") as file:
        scores, labels = pickle.load(file)
    assert scores.shape == labels.shape == (9, NUM_CLASSES)
    printed = float(json_stats(finished)[-1]["map"])
    assert 100 * get_map(scores.numpy(), labels.numpy()) == pytest.approx(printed, abs=0.005)
    with (finished / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["clip_id"] for row in rows] == [f"VAL{c:02d}" for c in range(9)]
    assert [float(row["class 1"]) for row in rows] == pytest.approx(scores[:, 1].tolist(), rel=1e-5)
    assert [int(c) for c in rows[1]["labels"].split(",")] == labels[1].nonzero()[:, 0].tolist()


def test_the_portable_scores_give_the_printed_map_to_every_digit(finished, clips):
    found = load_scores(finished / "scores.npz")
    with (finished / "results.pkl").open("rb") as file:
        scores, labels = pickle.load(file)
    assert np.array_equal(found.scores, scores.numpy())
    assert np.array_equal(found.targets, labels.numpy())
    assert found.about["views"] == 6 and found.about["checkpoint"].endswith("00006.pyth")
    assert abs(get_map(*found.of_read_clips()) - get_map(scores.numpy(), labels.numpy())) < 1e-12


def test_an_interrupted_run_ends_with_the_same_weights(finished, clips, tmp_path, monkeypatch):
    train_epoch = train._train_epoch

    def interrupted(run, *rest):
        if run.epoch == 3:
            raise KeyboardInterrupt
        train_epoch(run, *rest)

    settings = make_settings(clips, tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train, "_train_epoch", interrupted)
        run(settings, Tiny)
    run(settings, Tiny)
    assert same(weights(tmp_path), weights(finished))
    resumed = checkpoint.load_checkpoint(checkpoint.best_path(tmp_path))
    assert (
        resumed["best_map"]
        == checkpoint.load_checkpoint(checkpoint.best_path(finished))["best_map"]
    )


def test_a_damaged_checkpoint_is_named_and_passed_over(finished, clips, tmp_path, capsys):
    settings = make_settings(clips, tmp_path)
    run(settings, Tiny)
    newest = checkpoint.checkpoint_path(tmp_path, 6)
    newest.write_bytes(newest.read_bytes()[:500])
    run(settings, Tiny)
    assert str(newest) in (tmp_path / "stdout.log").read_text()
    assert same(weights(tmp_path), weights(finished))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_number_of_workers_changes_nothing(finished, clips, tmp_path, num_workers):
    loader = LoaderSettings(train_batch=6, test_batch=2, num_workers=num_workers)
    run(make_settings(clips, tmp_path, loader=loader), Tiny)
    assert same(weights(tmp_path), weights(finished))


def test_what_was_trained_outlives_a_validation_that_fails(clips, tmp_path, monkeypatch):
    def fail(*_):
        raise UserError("clip VAL00 cannot be read")

    settings = make_settings(clips, tmp_path)
    with monkeypatch.context() as patch, pytest.raises(UserError, match="VAL00"):
        patch.setattr("actionrec.engine.validate.score_clips", fail)
        run(settings, Tiny)
    assert checkpoint.find_resume(tmp_path).path.name == "checkpoint_epoch_00002.pyth"
    assert "[ERROR]" in (tmp_path / "stdout.log").read_text()
    run(settings, Tiny)
    epochs = [s["epoch"] for s in json_stats(tmp_path) if s.get("_type") == "val_epoch"]
    assert epochs == ["2/6", "4/6", "6/6"]  # the one that had failed is made up for


def test_another_seed_gives_another_run(finished, clips, tmp_path):
    run(make_settings(clips, tmp_path, seed=1), Tiny)
    assert not same(weights(tmp_path), weights(finished))


def test_a_finished_run_is_only_tested_again(finished, clips, capsys):
    before = checkpoint.checkpoint_path(finished, 6).stat().st_mtime_ns
    run(make_settings(clips, finished), Tiny)
    assert checkpoint.checkpoint_path(finished, 6).stat().st_mtime_ns == before
    assert "predictions" in capsys.readouterr().out


def test_a_folder_of_another_run_is_refused(finished, clips):
    other = make_settings(clips, finished, config_yaml="MODEL: {LOSS_FUNC: EQL}\n")
    with pytest.raises(UserError, match="LOSS_FUNC was 'bce_loss' and is 'EQL'.*OUTPUT_DIR"):
        run(other, Tiny)


def test_a_run_does_not_go_on_with_other_labels_or_past_its_end(clips, tmp_path):
    annot = tmp_path / "annot"
    shutil.copytree(clips / "annot", annot)
    settings = make_settings(clips, tmp_path / "out", solver=SolverSettings(0.1, 2))
    settings = dataclasses.replace(
        settings, data=dataclasses.replace(settings.data, annotation_dir=annot)
    )
    run(settings, Tiny)
    shorter = dataclasses.replace(settings, solver=SolverSettings(0.1, 1))
    with pytest.raises(UserError, match="of epoch 2, SOLVER.MAX_EPOCH is now smaller"):
        run(shorter, Tiny)
    text = (annot / "train.csv").read_text()
    (annot / "train.csv").write_text(text.replace(" 0 train", " 1 train"))
    with pytest.raises(UserError, match="train.csv has other content"):
        run(settings, Tiny)


def test_the_named_checkpoint_is_tested_after_training_too(clips, tmp_path, finished):
    best = checkpoint.checkpoint_path(finished, 3)
    settings = make_settings(
        clips, tmp_path, solver=SolverSettings(0.1, 1), test=TestSettings(True, best, "a.pkl")
    )
    run(settings, Tiny)
    assert f"testing {best}" in (tmp_path / "stdout.log").read_text()


def test_the_best_checkpoint_of_this_very_run_can_be_named_for_the_test(clips, tmp_path):
    best = checkpoint.best_path(tmp_path)
    settings = make_settings(clips, tmp_path, test=TestSettings(True, best, "a.pkl"))
    run(settings, Tiny)  # it is not there when the run starts
    assert f"testing {best}" in (tmp_path / "stdout.log").read_text()


def test_the_best_checkpoint_of_another_run_is_set_aside_too(clips, tmp_path, finished):
    checkpoint.best_path(tmp_path).parent.mkdir()
    shutil.copy(checkpoint.best_path(finished), checkpoint.best_path(tmp_path))
    run(make_settings(clips, tmp_path, solver=SolverSettings(0.1, 1)), Tiny)
    (aside,) = tmp_path.glob("earlier_*/best.pyth")
    assert aside.read_bytes() == checkpoint.best_path(finished).read_bytes()


def test_a_best_map_of_other_test_clips_is_forgotten(clips, tmp_path):
    annot = tmp_path / "annot"
    shutil.copytree(clips / "annot", annot)
    settings = make_settings(clips, tmp_path / "out", solver=SolverSettings(0.1, 1))
    data = dataclasses.replace(settings.data, annotation_dir=annot)
    run(dataclasses.replace(settings, data=data), Tiny)
    text = (annot / "val.csv").read_text()
    (annot / "val.csv").write_text("\n".join(text.splitlines()[:-6]) + "\n")  # one clip fewer
    longer = dataclasses.replace(settings, data=data, solver=SolverSettings(0.1, 2))
    run(longer, Tiny)
    assert "best validation so far is forgotten" in (tmp_path / "out/stdout.log").read_text()


def test_another_geometry_or_other_class_names_are_told(clips, tmp_path, finished):
    settings = make_settings(
        clips,
        tmp_path,
        train=TrainSettings(False),
        test=TestSettings(True, checkpoint.checkpoint_path(finished, 6)),
        input=InputSettings(bgr=True),
    )
    (tmp_path / "names.json").write_text('{"A": 0, "B": 1, "C": 2}')
    settings = dataclasses.replace(
        settings, metrics=MetricSettings(cuts=(10, 5), class_table=tmp_path / "names.json")
    )
    run(settings, Tiny)
    log = (tmp_path / "stdout.log").read_text()
    assert "was trained with bgr False and is tested with True" in log
    assert "names 3 classes otherwise, the first is 0: 'class 0' there, 'A' here" in log


def test_a_checkpoint_says_how_its_frames_were_sampled_and_old_ones_need_not(
    clips, tmp_path, caplog
):
    settings = make_settings(clips, tmp_path)
    stored = checkpoint.input_geometry(settings)
    assert (stored["frame_sampling"], stored["resample"]) == ("stride", "fast")
    data = dataclasses.replace(settings.data, frame_sampling="linspace", resample="exact")
    tested = dataclasses.replace(settings, data=data)
    old = {k: v for k, v in stored.items() if k not in ("frame_sampling", "resample")}
    for state in ({"input": old}, {}):
        check_same_input(state, tested, (), tmp_path / "old.pyth")
    assert caplog.messages == []
    check_same_input({"input": stored}, tested, (), tmp_path / "new.pyth")
    assert [text.partition(" was ")[2] for text in caplog.messages] == [
        "trained with frame_sampling stride and is tested with linspace",
        "trained with resample fast and is tested with exact",
    ]


def test_starting_anew_sets_old_checkpoints_aside(clips, tmp_path):
    settings = make_settings(clips, tmp_path, solver=SolverSettings(base_lr=0.1, max_epoch=1))
    run(settings, Tiny)
    first = weights(tmp_path, 1)
    anew = dataclasses.replace(settings, train=TrainSettings(True, auto_resume=False))
    run(anew, Tiny)
    (aside,) = tmp_path.glob("earlier_*")
    kept = checkpoint.load_checkpoint(aside / "checkpoint_epoch_00001.pyth")["model_state"]
    assert same(kept, first)
    own = TrainSettings(True, auto_resume=False, checkpoint=checkpoint.best_path(tmp_path))
    run(dataclasses.replace(settings, train=own), Tiny)  # from a file that is set aside


def test_fine_tuning_drops_a_head_of_another_size_and_says_so(clips, tmp_path, finished):
    state = checkpoint.load_checkpoint(checkpoint.checkpoint_path(finished, 6))
    state["model_state"]["head.weight"] = torch.zeros(400, 8)
    state["model_state"]["head.bias"] = torch.zeros(400)
    checkpoint.save_checkpoint(tmp_path / "zoo.pyth", state)
    settings = make_settings(
        clips,
        tmp_path / "run",
        solver=SolverSettings(base_lr=1e-9, max_epoch=1),
        train=TrainSettings(True, checkpoint=tmp_path / "zoo.pyth"),
    )
    run(settings, Tiny)
    assert torch.allclose(
        weights(tmp_path / "run", 1)["conv.weight"], state["model_state"]["conv.weight"]
    )
    log = (tmp_path / "run" / "stdout.log").read_text()
    assert "head.weight is (400, 8) in the file, (3, 8) in the model" in log


def test_testing_needs_a_checkpoint(clips, tmp_path):
    with pytest.raises(UserError, match="holds no checkpoint"):
        run(make_settings(clips, tmp_path, train=TrainSettings(False)), Tiny)


def test_a_test_alone_equals_the_test_after_training(finished, clips, tmp_path):
    path = checkpoint.checkpoint_path(finished, 6)
    alone = make_settings(
        clips, tmp_path, train=TrainSettings(False), test=TestSettings(True, path, "a.pkl")
    )
    run(alone, Tiny)
    assert (tmp_path / "a.csv").read_text() == (finished / "results.csv").read_text()


def test_a_checkpoint_of_another_model_is_not_tested(clips, tmp_path, finished):
    state = checkpoint.load_checkpoint(checkpoint.checkpoint_path(finished, 6))
    state["model_state"]["head.weight"] = torch.zeros(4, 8)
    checkpoint.save_checkpoint(tmp_path / "a.pyth", state)
    alone = make_settings(
        clips, tmp_path, train=TrainSettings(False), test=TestSettings(True, tmp_path / "a.pyth")
    )
    with pytest.raises(UserError, match=r"head.weight is \(4, 8\) in the file"):
        run(alone, Tiny)


def test_a_clip_that_cannot_be_read_costs_that_clip_alone(clips, tmp_path, finished):
    shutil.copytree(clips / "image", tmp_path / "image")
    (tmp_path / "image" / "VAL03" / "VAL03_t000003.png").write_bytes(b"no image")
    settings = make_settings(
        clips,
        tmp_path / "out",
        train=TrainSettings(False),
        test=TestSettings(True, checkpoint.checkpoint_path(finished, 6), "a.pkl"),
    )
    settings = dataclasses.replace(
        settings, data=dataclasses.replace(settings.data, frame_root=tmp_path / "image")
    )
    with pytest.raises(Incomplete, match="1 of 9 test clips could not be read") as caught:
        run(settings, Tiny)
    assert caught.value.exit_code == 3
    with (tmp_path / "out" / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["clip_id"] for row in rows] == [f"VAL{c:02d}" for c in range(9)]
    assert [row["clip_id"] for row in rows if row["class 0"] == "nan"] == ["VAL03"]
    log = (tmp_path / "out" / "stdout.log").read_text()
    assert "left out: clip VAL03" in log and "test of 8 of 9 clips" in log


class NaN(Tiny):
    """Gives NaN from a point on: in training, or in evaluation."""

    def __init__(self, training):
        super().__init__()
        self.when_training = training

    def forward(self, pathways):
        out = super().forward(pathways)
        return out * float("nan") if self.training == self.when_training else out


def test_a_loss_that_is_not_finite_stops_with_the_clips(clips, tmp_path):
    with pytest.raises(UserError, match="bce_loss is nan at epoch 1, step 0.*clips TRAIN"):
        run(make_settings(clips, tmp_path), lambda: NaN(True))
    assert not (tmp_path / "checkpoints").exists()


def test_scores_that_are_not_finite_are_saved_before_the_metric_fails(clips, tmp_path, capsys):
    settings = make_settings(
        clips, tmp_path, train=TrainSettings(True, eval_period=99), solver=SolverSettings(0.1, 1)
    )
    run(settings, Tiny)
    alone = dataclasses.replace(
        settings, train=TrainSettings(False), test=TestSettings(True, results="nan.pkl")
    )
    with pytest.raises(UserError, match="after the test: .*NaN"):
        run(alone, lambda: NaN(False))
    assert (tmp_path / "nan.csv").is_file()
    assert "checkpoint" in capsys.readouterr().out


def test_the_metric_is_printed_when_the_scores_cannot_be_saved(clips, tmp_path, finished, capsys):
    (tmp_path / "results.pkl").mkdir()
    path = checkpoint.checkpoint_path(finished, 6)
    alone = make_settings(
        clips,
        tmp_path,
        train=TrainSettings(False),
        test=TestSettings(True, path, "results.pkl"),
    )
    with pytest.raises(UserError, match="after the test: .*results.pkl"):
        run(alone, Tiny)
    assert "mAP %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"loss": LossSettings("fokal_loss")},
            "MODEL.LOSS_FUNC: unknown loss 'fokal_loss'; known: f",
        ),
        ({"loss": LossSettings("focal_loss", {"gama": 1})}, "no parameter 'gama'.*gamma"),
        ({"loss": LossSettings("bce_loss", {"LDAN": {"s": 1}})}, "LOSS.PARAMS.LDAN: .*known: LDAM"),
        ({"loss": LossSettings("bce")}, "MODEL.LOSS_FUNC: bce takes probabilities.*bce_logit"),
        ({"loss": LossSettings("cross_entropy")}, "for one label a clip, but clip TRAIN"),
        ({"loader": LoaderSettings(19, 4, 0)}, "TRAIN.BATCH_SIZE: 19 is more than the 18 clips"),
        ({"device": "cuda"}, "NUM_GPUS: 1, but torch sees no GPU"),
    ],
)
def test_a_mistake_is_answered_before_the_model_is_built(clips, tmp_path, change, message):
    def build_model():
        raise RuntimeError("too late")

    if "device" in change and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UserError, match=message):
        run(make_settings(clips, tmp_path, **change), build_model)


def test_missing_files_and_foreign_ids_are_answered_before_the_model_is_built(clips, tmp_path):
    def build_model():
        raise RuntimeError("too late")

    (tmp_path / "annot").mkdir()
    for split in ("train", "val"):
        text = (clips / "annot" / f"{split}.csv").read_text()
        (tmp_path / "annot" / f"{split}.csv").write_text(text)
    data = dataclasses.replace(
        make_settings(clips, tmp_path).data, annotation_dir=tmp_path / "annot"
    )
    val = (tmp_path / "annot" / "val.csv").read_text()
    (tmp_path / "annot" / "val.csv").write_text(val.replace("VAL00_t000006", "VAL00_t000099"))
    with pytest.raises(UserError, match=r"1 of 9 clips.*VAL00.*t000099"):
        run(make_settings(clips, tmp_path / "out", data=data), build_model)
    (tmp_path / "annot" / "val.csv").write_text(val.replace("VAL00", "TRAIN00"))
    with pytest.raises(UserError, match="TRAIN00"):
        run(make_settings(clips, tmp_path / "out", data=data), build_model)


def test_an_output_folder_that_cannot_be_is_one_line(clips, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="OUTPUT_DIR"):
            run(make_settings(clips, folder), Tiny)


def test_splits_name_their_classes_from_the_table_or_by_number(clips, tmp_path):
    settings = make_settings(clips, tmp_path)
    assert load_splits(settings).class_names == ("class 0", "class 1", "class 2")
    table = tmp_path / "names.json"
    table.write_text('{"Eating": 1, "Running": 0, "Sleeping": 2}')
    named = dataclasses.replace(settings, metrics=MetricSettings(cuts=(10, 5), class_table=table))
    assert load_splits(named).class_names == ("Running", "Eating", "Sleeping")


def test_of_many_classes_without_a_training_clip_the_first_are_named(clips, tmp_path, caplog):
    settings = make_settings(clips, tmp_path)
    data = dataclasses.replace(settings.data, num_classes=300)
    load_splits(dataclasses.replace(settings, data=data))
    (line,) = (line for line in caplog.messages if "no training clip" in line)
    assert line.startswith("297 of 300 classes have no training clip")
    assert line.endswith(": 3 4 5 6 7 8 9 10 11 12 and 287 more")


def test_class_counts_of_a_workbook_are_used_and_each_difference_is_told(clips, tmp_path, caplog):
    write_class_table(tmp_path / "counts.xlsx", ["a", "b", "c"], [1000, 10, 16])
    loss = LossSettings("LDAM", {"max_m": 0.5}, class_counts=tmp_path / "counts.xlsx")
    table = load_splits(make_settings(clips, tmp_path)).train_clips
    criterion = build_criterion(loss, table, num_classes=NUM_CLASSES, max_epoch=6)
    rarest = criterion(torch.zeros(1, 3), torch.tensor([[0.0, 1.0, 0.0]]))
    # max_m * (n_min / n_c) ** (1/4): 0.5 for class 1; s = 30 (Cao et al. 2019, eq. 13).
    assert rarest.item() == pytest.approx((2 * np.log(2) + np.log1p(np.exp(15))) / 3, rel=1e-5)
    counts = table.class_counts(NUM_CLASSES)
    for label, (told, counted) in enumerate(zip([1000, 10, 16], counts, strict=True)):
        lines = [r for r in caplog.messages if f"class {label}" in r]
        assert len(lines) == (told != counted), caplog.messages


def test_parameters_under_a_losss_name_are_for_it_alone(clips, tmp_path, caplog):
    params = {"LDAM": {"s": 20.0, "max_m": 0.1}, "EQL": {"tail_fraction": 0.0}, "max_m": 0.2}
    assert own_params(LossSettings("LDAM", params)) == {"s": 20.0, "max_m": 0.2}
    released = LossSettings("EQL", {"EQL": {"tail_fraction": 0.1}, "variant": "released"})
    assert own_params(released) == {"variant": "released"}  # it has no tail_fraction
    table = load_splits(make_settings(clips, tmp_path)).train_clips
    eql = LossSettings("EQL", {"EQL": {"tail_fraction": 0.0}, "LDAM": {"s": 20.0}})
    build_criterion(eql, table, num_classes=NUM_CLASSES, max_epoch=6)
    assert "EQL: no class is rare enough to be in the tail, so this is plain BCE" in caplog.messages
    build_criterion(LossSettings("LDAM"), table, num_classes=NUM_CLASSES, max_epoch=80)
    assert any("drw_epoch 80 is not reached in 80 epochs" in line for line in caplog.messages)


def test_charades_has_five_columns_and_frames_without_a_label(clips, tmp_path):
    for split in ("train", "val"):
        rows = [
            line.split() for line in (clips / "annot" / f"{split}.csv").read_text().splitlines()
        ]
        for row in rows[1:]:
            # Only the first three of the six frames show anything.
            row[4] = f'"{row[4]}"' if int(row[2]) <= 3 else '""'
        text = "\n".join(" ".join(row[:5]) for row in rows)
        (tmp_path / f"{split}.csv").write_text(text + "\n")
    settings = make_settings(clips, tmp_path / "out", dataset="charades")
    data = dataclasses.replace(
        settings.data, annotation_dir=tmp_path, unlabelled_frames=True, num_frames=2
    )
    run(dataclasses.replace(settings, data=data), Tiny)
    assert json_stats(tmp_path / "out")[-1]["split"] == "test_final"
    as_animals = dataclasses.replace(data, unlabelled_frames=False)
    with pytest.raises(UserError, match="val.csv:5.*label"):
        run(dataclasses.replace(settings, data=as_animals, output_dir=tmp_path / "b"), Tiny)


def test_tensorboard_gets_its_files_and_a_file_in_its_place_ends_nothing(clips, tmp_path):
    for name in ("runs", "taken"):
        if name == "taken":
            (tmp_path / name).write_text("")
        settings = make_settings(
            clips,
            tmp_path / f"out_{name}",
            solver=SolverSettings(0.1, 1),
            tensorboard_dir=tmp_path / name,
        )
        run(settings, Tiny)
    assert list((tmp_path / "runs").glob("events.*"))
    assert "TensorBoard is off" in (tmp_path / "out_taken" / "stdout.log").read_text()
