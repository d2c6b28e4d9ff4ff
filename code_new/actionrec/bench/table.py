"""The groups of measurements, and their rows as lines to print or to put into a page."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from actionrec.bench import annotations as reading
from actionrec.bench import decoding, views
from actionrec.bench.rows import Row

GROUPS = ("annotations", "views", "decoding")
# Animal Kingdom's training split, about: clips, frames of each, classes.
FULL_SIZE = (24_004, 180, 140)


def measure(group: str, git_tree: Path | None, rounds: int, annotation: Path | None) -> list[Row]:
    """What the module of `group` measures. git_tree: a prepared tree of SlowFast's repository.

    annotation: a CSV for that group; None: one of Animal Kingdom's size is made up. Raises
    UserError.
    """
    if group == "views":
        return views.measure(git_tree, rounds)
    if group == "decoding":
        return decoding.measure(git_tree, rounds)
    if annotation is not None:
        return reading.measure(annotation, git_tree, rounds)
    with tempfile.TemporaryDirectory() as place:
        made_up = Path(place) / "full_size.csv"
        write_annotation(made_up, *FULL_SIZE)
        return reading.measure(made_up, git_tree, rounds)


def write_annotation(path: Path, num_clips: int, num_frames: int, num_classes: int) -> None:
    """A Charades-style CSV with one to four labels a clip, the same every time."""
    rng = random.Random(0)  # noqa: S311 no secret
    with path.open("w", encoding="utf-8") as file:
        file.write("original_vido_id video_id frame_id path labels\n")
        for clip in range(num_clips):
            clip_id = "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=3)) + f"{clip:05d}"
            classes = rng.sample(range(num_classes), k=rng.choice((1, 1, 2, 2, 3, 4)))
            labels = ",".join(map(str, sorted(classes)))
            file.writelines(
                f"{clip_id} {clip} {frame} {clip_id}/{clip_id}_t{frame:06d}.jpg {labels}\n"
                for frame in range(1, num_frames + 1)
            )


def lines(title: str, rows: list[Row]) -> list[str]:
    """A Markdown table; the last column is the share of the speed that nothing can exceed."""
    said = [
        "",
        f"| {title} | SlowFast | here | ratio | of the ceiling |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        theirs = _number(row.upstream)
        ratio = f"{row.ratio:.1f}x" if row.ratio is not None else "-"
        share = f"{row.ceiling_share:.0%}" if row.ceiling_share is not None else "-"
        said.append(f"| {row.name} | {theirs} | {_number(row.ours)} | {ratio} | {share} |")
    return said


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
