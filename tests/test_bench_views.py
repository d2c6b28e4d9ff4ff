"""The rows of the comparison: what is divided by what. No test looks at a time."""

from __future__ import annotations

import pytest

from actionrec.bench import view_costs, views
from actionrec.bench.views import Row
from actionrec.errors import UserError


def test_rows_are_the_medians_of_the_rounds_and_their_ratios(monkeypatch, tmp_path):
    ours = [{key: cost for _, _, *keys in views.ROWS for key in keys if key} for cost in (9, 2, 1)]
    theirs = {key: 8.0 for _, key, *_ in views.ROWS}
    sides = []

    def measured(side, folder, home):
        sides.append(side)
        return theirs if side == "upstream" else ours.pop()

    monkeypatch.setattr(view_costs, "NUM_CLIP_FRAMES", 1)
    monkeypatch.setattr(views, "_in_new_process", measured)
    rows = views.measure(tmp_path, rounds=3)
    assert sides == ["ours", "upstream"] * 3
    assert rows[0] == Row("train clip of 32 frames, exact, ms", 8.0, 2, 4.0, 1.0)
    assert rows[-1] == Row("peak memory of the views, fast, MB", 8.0, 2, 4.0, None)


def test_our_side_alone_measures_every_cost_of_ours(monkeypatch, tmp_path):
    monkeypatch.setattr(view_costs, "NUM_CLIP_FRAMES", 33)
    monkeypatch.setattr(view_costs, "NUM_CLIPS", 4)
    view_costs.write_clips(tmp_path)
    monkeypatch.setattr(view_costs, "_median_ms", lambda call, times: [call(), 1.0][1])
    costs = view_costs.our_costs(tmp_path)
    monkeypatch.setattr(views, "_in_new_process", lambda *args: costs)
    rows = {row.name: row for row in views.measure(rounds=1)}
    assert all(row.upstream is None and row.ratio is None for row in rows.values())
    assert rows["bytes of a train clip, fast, MB"].ours == 32 * 224 * 224 * 3 / 1e6
    assert rows["bytes of a train clip, exact, MB"].ours == 4 * 32 * 224 * 224 * 3 / 1e6


def test_a_tree_without_slowfast_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(view_costs, "NUM_CLIP_FRAMES", 1)
    (tmp_path / "actionrec").symlink_to(views.Path(views.__file__).parents[1])
    with pytest.raises(UserError, match="the upstream side could not be measured: .*'slowfast"):
        views._in_new_process("upstream", tmp_path, tmp_path)
