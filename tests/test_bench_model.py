"""The rows of `bench.py model`. No test looks at a time."""

from __future__ import annotations

import pytest
from tiny_run import Tiny, make_settings

from actionrec.bench import model, table


def test_every_row_is_the_plain_way_beside_ours(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "_seconds", lambda call, device: [call(), 2.0][1])
    rows = model.measure(Tiny, make_settings(clips, tmp_path), batch=4, rounds=1)
    assert [row.name for row in rows] == [
        "training step, float32, s",
        "training step, bf16, s",
        "forward pass, evaluation, float32, s",
        "forward pass, evaluation, bf16, s",
        "checkpoint, s that training waits",
        "checkpoint, s to load the weights",
    ]
    assert all((row.upstream, row.ours, row.ratio) == (2.0, 2.0, 1.0) for row in rows)
    assert "| training step, float32, s | 2 | 2 | 1.0x | - |" in table.lines("title", rows)


def test_the_medians_leave_the_first_round_out(monkeypatch):
    taken = iter([9.0, 9.0, 1.0, 4.0, 3.0, 6.0])
    monkeypatch.setattr(model, "_seconds", lambda call, device: next(taken))
    calls = {"a": lambda: None, "b": lambda: None}
    assert model._medians(calls, 2, None) == {"a": 2.0, "b": 5.0}


@pytest.mark.parametrize("arguments", [["model", "--batch", "0"], ["data", "NUM_GPUS", "0"]])
def test_a_slip_on_the_command_line_is_told(arguments, tree, run_net, monkeypatch):
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "tools/bench.py", *arguments], cwd=tree, capture_output=True, text=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert arguments[1] in done.stderr
