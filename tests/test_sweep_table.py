"""The table of a sweep: its numbers, its verdicts where the truth is known, and its files."""

from __future__ import annotations

import csv
import sys

import numpy as np
import pytest

from actionrec.engine.scores_file import Scores
from actionrec.errors import UserError
from actionrec.metrics.average_precision import average_precision
from actionrec.metrics.bootstrap import SEGMENTS, draw_clips
from actionrec.metrics.segments import segment_classes
from actionrec.sweep.comparison import compare
from actionrec.sweep.result_files import csv_text, markdown, write_results

NUM_CLASSES = 6
COUNTS = np.array([30, 20, 12, 10, 4, 3])
SEGMENTS_OF = segment_classes("train", train_counts=COUNTS, test_counts=COUNTS, cuts=(15, 5))


def some_targets(num_clips=80, seed=0):
    rng = np.random.default_rng(seed)
    targets = (rng.random((num_clips, NUM_CLASSES)) < COUNTS / 60).astype(np.uint8)
    targets[:2] = 1  # no class without a clip
    return targets


def some_scores(targets, strength, seed):
    """Scores that know the targets, the better the greater `strength`."""
    rng = np.random.default_rng(seed)
    scores = strength * targets + rng.normal(size=targets.shape)
    ids = tuple(f"CLIP{n}" for n in range(len(targets)))
    return Scores(ids, tuple(map(str, range(NUM_CLASSES))), scores, targets, COUNTS)


def three_losses(targets):
    return {
        "plain": [some_scores(targets, 1.0, seed) for seed in range(4)],
        "good": [some_scores(targets, 2.5, 10 + seed) for seed in range(4)],
        "bad": [some_scores(targets, 0.2, 20 + seed) for seed in range(4)],
        "same": [some_scores(targets, 1.0, 30 + seed) for seed in range(4)],
    }


def written_out_map(scores, targets):
    """Overall, head (0, 1), middle (2, 3), tail (4, 5): means over the classes there are."""
    ap = average_precision(scores, targets)
    parts = ([0, 1, 2, 3, 4, 5], [0, 1], [2, 3], [4, 5])
    return [np.mean([ap[c] for c in part if not np.isnan(ap[c])]) for part in parts]


def test_mean_and_spread_equal_the_written_out_ones():
    targets = some_targets()
    scores = three_losses(targets)
    for row in compare("demo", scores, "plain", SEGMENTS_OF, num_draws=10).rows:
        maps = [written_out_map(one.scores, targets) for one in scores[row.loss]]
        for number in range(4):
            values = [of_seed[number] for of_seed in maps]
            mean = sum(values) / 4
            sd = (sum((value - mean) ** 2 for value in values) / 3) ** 0.5
            assert row.mean[number] == pytest.approx(mean)
            assert row.spread[number] == pytest.approx(sd)


def test_the_paired_bootstrap_equals_the_written_out_one():
    targets, num_draws = some_targets(), 60
    scores = {name: three_losses(targets)[name][:3] for name in ("plain", "good")}
    row = compare("demo", scores, "plain", SEGMENTS_OF, num_draws).rows[1]
    drawn = draw_clips(80, num_draws).astype(int)
    # Which two of the three seeds a draw takes is the sweep's own choice; all else is slow.
    seeds = {
        name: np.random.default_rng([number, 3]).integers(3, size=(2, num_draws))
        for number, name in enumerate(scores)
    }
    differences = []
    for draw in range(num_draws):
        clips = np.repeat(np.arange(80), drawn[:, draw])
        of_loss = {
            name: np.mean(
                [
                    written_out_map(scores[name][seed].scores[clips], targets[clips])
                    for seed in seeds[name][:, draw]
                ],
                axis=0,
            )
            for name in scores
        }
        differences.append(of_loss["good"] - of_loss["plain"])
    for number, name in enumerate(SEGMENTS):
        low, high = np.quantile([d[number] for d in differences], [0.025, 0.975])
        assert row.differences[name].low == pytest.approx(low)
        assert row.differences[name].high == pytest.approx(high)


def test_verdicts_where_the_truth_is_known():
    rows = compare("demo", three_losses(some_targets(200)), "plain", SEGMENTS_OF, 300).rows
    told = {row.loss: row.verdicts.get("overall") for row in rows}
    assert told == {"plain": None, "good": "better", "bad": "worse", "same": "no evidence"}
    assert [row.loss for row in rows] == ["plain", "good", "bad", "same"]


@pytest.mark.parametrize(("spread", "limit"), [(0.0, 0.05), (0.6, 0.15)])
def test_losses_that_do_not_differ_are_seldom_told_apart(spread, limit):
    """Whether seeds differ by the luck of each clip alone, or as a whole too."""
    wrong, trials = 0, 100
    for trial in range(trials):
        targets, rng = some_targets(80, seed=trial), np.random.default_rng(trial)
        scores = {
            name: [
                some_scores(targets, 1.5 + spread * rng.normal(), [trial, number, seed])
                for seed in range(5)
            ]
            for number, name in enumerate(("a", "b"))
        }
        row = compare("m", scores, "a", SEGMENTS_OF, 200).rows[1]
        wrong += row.verdicts["overall"] != "no evidence"
    assert wrong <= limit * trials


def test_a_clip_that_one_run_could_not_read_is_left_out_for_all():
    targets = some_targets()
    scores = three_losses(targets)
    scores["good"][0].scores[5] = np.nan
    made = compare("demo", scores, "plain", SEGMENTS_OF, 10)
    assert (made.num_clips, made.num_unread) == (79, 1)
    expected = written_out_map(np.delete(scores["plain"][0].scores, 5, 0), np.delete(targets, 5, 0))
    assert made.rows[0].maps[0] == pytest.approx(expected)
    assert "79 test clips (1 could not be read)" in markdown([made], "x")


def test_runs_of_other_clips_are_not_compared():
    scores = {
        "plain": [some_scores(some_targets(), 1, 0)],
        "b": [some_scores(some_targets(79), 1, 0)],
    }
    with pytest.raises(UserError, match="demo/b: was tested on other clips or labels than plain"):
        compare("demo", scores, "plain", SEGMENTS_OF, 10)


def test_the_page_says_all_that_a_reader_needs():
    made = compare("demo", three_losses(some_targets(200)), "plain", SEGMENTS_OF, 300)
    page = markdown([made], "Losses compared")
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("|")}
    assert list(rows)[:1] == ["loss"] and list(rows)[2:] == [
        *("plain (baseline)", "good", "bad", "same"),
        *("a random scorer (expected)", "the class prior"),
    ]
    good = made.rows[1]
    assert f" {100 * good.mean[0]:.2f} ± {100 * good.spread[0]:.2f}, better " in rows["good"]
    assert "better" not in rows["plain (baseline)"]
    prior = 100 * some_targets(200).mean(axis=0).mean()
    assert f" {prior:.2f} " in rows["the class prior"]
    for said in (
        "12 comparisons, not corrected",
        "300 draws",
        "200 test clips, 6 of 6 classes measurable",
        "segments 'train' (training clips: head > 15, tail <= 5): 2/2/2 classes",
    ):
        assert said in page
    assert len({len(line) for line in rows.values()}) == 1  # aligned


def test_one_seed_has_no_spread_and_a_segment_without_classes_no_figure():
    scores = {name: runs[:1] for name, runs in three_losses(some_targets()).items()}
    segments = segment_classes("train", train_counts=COUNTS, test_counts=COUNTS, cuts=(50, 5))
    made = compare("demo", scores, "plain", segments, 20)
    page = markdown([made], "x")
    line = next(line for line in page.splitlines() if line.startswith("| good"))
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[4] == "-" and "±" not in line
    assert "Of a single seed an interval knows nothing" in page
    assert "demo,good,1,head,,,,,,\n" in csv_text([made])


def test_the_csv_has_a_line_a_loss_and_segment():
    made = compare("demo", three_losses(some_targets(200)), "plain", SEGMENTS_OF, 300)
    lines = list(csv.DictReader(csv_text([made]).splitlines()))
    assert len(lines) == 4 * 4 + 2 * 4
    by_key = {(line["loss"], line["segment"]): line for line in lines}
    good, tail = made.rows[1], by_key["good", "tail"]
    interval = good.differences["tail"]
    assert float(tail["mean"]) == pytest.approx(100 * good.mean[3], abs=1e-4)
    assert float(tail["low"]) == pytest.approx(100 * interval.low, abs=1e-4)
    assert float(tail["high"]) == pytest.approx(100 * interval.high, abs=1e-4)
    assert (tail["seeds"], tail["verdict"]) == ("4", good.verdicts["tail"])
    assert by_key["plain", "head"]["verdict"] == "baseline"
    assert by_key["random", "overall"]["verdict"] == "floor"


def test_the_files_are_written_with_a_figure_or_a_line_why_not(tmp_path, monkeypatch, capsys):
    made = [
        compare(model, three_losses(some_targets()), "plain", SEGMENTS_OF, 20) for model in "ab"
    ]
    paths = write_results(tmp_path, made, "Losses compared")
    assert [path.name for path in paths] == ["results.md", "results.csv", "differences.png"]
    assert paths[2].read_bytes().startswith(b"\x89PNG")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    (tmp_path / "again").mkdir()
    assert len(write_results(tmp_path / "again", made, "Losses compared")) == 2
    assert "no figure: this Python has no matplotlib" in capsys.readouterr().out
