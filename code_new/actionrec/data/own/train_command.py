"""What to type next, and what came out: the lines that end `make_annotations.py --events`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from actionrec.data.annotations import check_disjoint, read_clips
from actionrec.data.own.own_data import MISSING_VIDEOS, OwnData
from actionrec.errors import first_few

MAX_CLASSES = 100_000  # of annotations whose number of classes is not known
FEW_CLIPS = 10  # a class with fewer training clips is marked
MAX_SHOWN = 10
_BATCH_SIZE = 8  # of the configurations


def summary(data: OwnData, out: Path, tree: Path) -> list[str]:
    """Clips by class and split, what is missing, and the commands that train."""
    said = [f"{out}: {_clips(data)} of {len(data.classes)} classes", *class_lines(data)]
    said += [f"note: {note}" for note in data.notes]
    if sided := sided_classes(data.classes):
        said.append(f"note: no mirror images (DATA.RANDOM_FLIP), for {first_few(sided, 2)}")
    if data.unusable:
        said.append(f"{len(data.unusable)} videos cannot be used or only in part:")
        said += [f"  {line}" for line in data.unusable[:MAX_SHOWN]]
        said.append(f"  all of them: {out / MISSING_VIDEOS}")
    if data.made.missing:
        said.append(
            f"{len(data.made.missing)} clips could not be cut and are left out: "
            f"{out / 'annot' / 'missing_clips.txt'}"
        )
    said += ["", "Train on a GPU:", f"  {command(data, out, tree, 'SLOWFAST_8x8_R50')}"]
    said += ["Or the demo's small model, on a CPU:", f"  {command(data, out, tree, 'DEMO')}"]
    return said


def class_lines(data: OwnData) -> list[str]:
    """One line a class: training clips, validation clips, and what is wrong with them."""
    train, val = data.made.class_counts["train"], data.made.class_counts["test"]
    width = max(len(name) for name in (*data.classes, "class"))
    lines = [f"  {'class':{width}}  train    val"]
    for name, in_train, in_val in zip(data.classes, train.tolist(), val.tolist(), strict=True):
        remark = f"  fewer than {FEW_CLIPS} training clips" if in_train < FEW_CLIPS else ""
        remark = remark if in_val else "  no validation clip: it cannot be measured"
        remark = remark if in_train else "  no training clip: it cannot be learned"
        lines.append(f"  {name:{width}}  {in_train:5}  {in_val:5}{remark}")
    return lines


def command(data: OwnData, out: Path, tree: Path, config: str) -> str:
    """A command that trains on the clips, from where the user stands. tree: the SlowFast tree."""
    here = Path.cwd() == tree
    root = out if here else out.absolute()
    train = data.made.class_counts["train"]
    num_clips = data.made.num_clips["train"]
    words = ["python", "tools/run_net.py", "--cfg", f"configs/AK/{config}.yaml"]
    words += [
        "DATA.PATH_TO_DATA_DIR",
        str(root / "annot"),
        "DATA.VIDEO_PREFIX",
        str(root / "video"),
    ]
    words += ["DATA.SOURCE", "video", "MODEL.NUM_CLASSES", str(len(data.classes))]
    words += ["METRICS.SEGMENT_CUTS", segment_cuts(train)]
    words += ["TRAIN.BATCH_SIZE", str(num_clips)] if num_clips < _BATCH_SIZE else []
    words += ["DATA.RANDOM_FLIP", str(not sided_classes(data.classes))]
    words += ["OUTPUT_DIR", str(root / "results" / config)]
    enter = "" if here else f"cd {shlex.quote(str(tree))} && "
    return enter + shlex.join(words)


def sided_classes(classes: Sequence[str]) -> list[str]:
    """The classes that a mirror image would change: a left turn becomes a right one."""
    return [name for name in classes if re.search(r"\b(?:left|right)\b", name.casefold())]


def segment_cuts(train_counts: np.ndarray) -> str:
    """METRICS.SEGMENT_CUTS that make a third of the classes each head, middle and tail."""
    counts = sorted(train_counts.tolist())
    tail = counts[(len(counts) - 1) // 3]
    head = max(counts[2 * (len(counts) - 1) // 3], tail + 1)
    return f"[{head}, {tail}]"


def _clips(data: OwnData) -> str:
    num = data.made.num_clips
    return f"{num['train']} training and {num['test']} validation clips"


def checked_lines(paths: list[Path]) -> list[str]:
    """For annotations that training reads as they are: what is in them. Raises AnnotationError."""
    tables = [read_clips(path, num_classes=MAX_CLASSES, unlabelled_frames=True) for path in paths]
    for first, second in zip(tables, tables[1:], strict=False):
        check_disjoint(first, second)
    said = [note for table in tables for note in table.notes]
    highest = -1
    for path, table in zip(paths, tables, strict=True):
        labels = sorted({int(label) for labels in table.label_sets for label in labels})
        highest = max([highest, *labels])
        said.append(
            f"{path}: {len(table)} clips, {int(table.num_frames.sum())} frames, "
            f"{len(labels)} labels: {first_few(labels)}"
        )
    said.append(
        f"Training reads these as they are: DATA.PATH_TO_DATA_DIR {paths[0].parent} "
        f"MODEL.NUM_CLASSES {highest + 1} (or more); they must be named train.csv and val.csv"
    )
    return said
