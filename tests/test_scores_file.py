"""scores.npz: what is read is what was written, to the last bit, and nothing else is believed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from actionrec.engine.scores_file import Scores, load_scores, save_scores
from actionrec.errors import UserError


def some(num_clips=5, num_classes=3):
    rng = np.random.default_rng(0)
    scores = rng.random((num_clips, num_classes))
    scores[2] = np.nan
    return Scores(
        tuple(f"CLIP {n}, ä" for n in range(num_clips)),
        ("Eating", "Réagir", "=cmd()"),
        scores,
        rng.integers(0, 2, (num_clips, num_classes)),
        np.array([7, 5, 0]),
        {"views": 30, "checkpoint": "a.pyth"},
    )


def test_what_is_read_is_what_was_written(tmp_path):
    save_scores(tmp_path / "scores.npz", some())
    found = load_scores(tmp_path / "scores.npz")
    expected = some()
    assert (found.ids, found.class_names, found.about) == (
        expected.ids,
        expected.class_names,
        expected.about,
    )
    assert np.array_equal(found.scores, expected.scores, equal_nan=True)
    assert np.array_equal(found.targets, expected.targets)
    assert np.array_equal(found.train_counts, expected.train_counts)
    assert len(found.of_read_clips()[0]) == 4


def test_a_test_without_training_has_no_counts(tmp_path):
    save_scores(tmp_path / "s.npz", Scores(("A",), ("x",), np.ones((1, 1)), np.ones((1, 1))))
    assert load_scores(tmp_path / "s.npz").train_counts is None


class Canary:
    def __reduce__(self):
        return open, ("canary", "w")


@pytest.mark.parametrize("kind", ["absent", "torn", "text", "pickle", "objects", "shapes"])
def test_other_files_are_one_line_and_nothing_runs(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "scores.npz"
    save_scores(path, some())
    if kind == "absent":
        path.unlink()
    elif kind == "torn":
        path.write_bytes(path.read_bytes()[:-90])
    elif kind == "text":
        path.write_text("clip_id,labels\n")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Canary()))
    elif kind == "objects":
        np.savez(path, ids=np.array([Canary()], dtype=object))
    else:
        np.savez(path, **{**dict(np.load(path)), "scores": np.zeros((2, 2))})
    with pytest.raises(UserError, match="scores.npz: ") as caught:
        load_scores(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "canary").exists()
