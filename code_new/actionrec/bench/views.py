"""What a clip costs from its files to views, SlowFast's own datasets beside ours, as rows.

The two take turns, each in a new process with one thread, so that both meet the same load; the
files are in the page cache. actionrec/bench/view_costs.py says what is measured.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from actionrec.bench import view_costs
from actionrec.bench.rows import Row
from actionrec.errors import UserError

# The name of a row, SlowFast's cost, ours, and that of decoding alone, below which nobody gets.
ROWS = (
    ("train clip of 32 frames, exact, ms", "clip", "clip exact", "clip decoded"),
    ("train clip of 32 frames, fast, ms", "clip", "clip fast", "clip decoded"),
    ("train clip of 8 frames, fast, ms", "short clip", "short clip fast", "short clip decoded"),
    ("loader of 2 workers, exact, ms a clip", "loader", "loader exact", "loader decoded"),
    ("loader of 2 workers, fast, ms a clip", "loader", "loader fast", "loader decoded"),
    ("30 views of a clip, exact, ms", "views", "views exact", "views decoded"),
    ("30 views of a clip, fast, ms", "views", "views fast", "views decoded"),
    ("30 views of an mp4, exact, ms", "mp4 views", "mp4 views exact", "mp4 decoded"),
    ("30 views of an mp4, fast, ms", "mp4 views", "mp4 views fast", "mp4 decoded"),
    ("bytes of a train clip, exact, MB", "bytes", "bytes exact", None),
    ("bytes of a train clip, fast, MB", "bytes", "bytes fast", None),
    ("peak memory of the views, exact, MB", "peak", "peak exact", None),
    ("peak memory of the views, fast, MB", "peak", "peak fast", None),
)


def measure(git_tree: Path | None = None, rounds: int = 3) -> list[Row]:
    """The medians of `rounds`, each about 20 s, a minute with SlowFast's side.

    git_tree: a tree of SlowFast's repository, as prepare_dir_AR.sh --upstream git makes it. Raises
    UserError, with the last line that it printed, where a side fails.
    """
    runs: dict[str, list[dict[str, float]]] = {"upstream": [], "ours": []}
    homes = {"ours": Path(__file__).resolve().parents[2]}
    if git_tree is not None:
        homes["upstream"] = git_tree.resolve()
    with tempfile.TemporaryDirectory() as folder:
        view_costs.write_clips(Path(folder))
        for _ in range(rounds):
            for side, home in homes.items():
                runs[side].append(_in_new_process(side, Path(folder), home))
    upstream, ours = (_medians(runs[side]) for side in ("upstream", "ours"))
    rows = []
    for name, their_key, our_key, limit_key in ROWS:
        cost, their_cost = ours[our_key], upstream.get(their_key)
        ratio = their_cost / cost if their_cost else None
        rows.append(
            Row(name, their_cost, cost, ratio, ours[limit_key] / cost if limit_key else None)
        )
    return rows


def _in_new_process(side: str, folder: Path, home: Path) -> dict[str, float]:
    done = subprocess.run(  # noqa: S603 - the command is this module's own
        [sys.executable, "-W", "ignore", "-m", view_costs.__name__, side, str(folder)],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(home)},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise UserError(f"{home}: the {side} side could not be measured: {said[-1]}")
    return json.loads((folder / f"{side}.json").read_text())


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(run[key] for run in runs) for key in (runs[0] if runs else {})}
