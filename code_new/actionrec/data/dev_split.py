"""`dev.txt`: which clips of train.csv are held out of training, to choose a checkpoint by.

One clip id a line; lines that begin with # are remarks. One remark holds a sha256 of the clip ids
of the train.csv that the file was made from; a list written by hand needs none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from actionrec.atomic_file import atomic_file
from actionrec.data.clip_table import ClipTable
from actionrec.data.input_checks import AnnotationError, check_id, check_regular_file, shown

FILE_NAME = "dev.txt"
_MAX_BYTES = 64 * 2**20
_HASH_REMARK = "# sha256 of the clip ids of train.csv: "
_WAYS_OUT = "make it again with tools/make_split.py --overwrite, or set DATA.DEV_SPLIT none"


def dev_split_path(choice: str, annotation_dir: Path) -> Path | None:
    """The file that DATA.DEV_SPLIT names; None: no clips are held out.

    choice: `auto` (dev.txt in the annotation folder, where it is there), `none`, or a path.
    """
    if choice == "none":
        return None
    if choice != "auto":
        return Path(choice)
    beside = annotation_dir / FILE_NAME
    # A link that leads nowhere is an error, not an absent split.
    return beside if beside.exists() or beside.is_symlink() else None


def write_dev_split(
    path: Path, held_out: Sequence[str], train_ids: Sequence[str], how: str
) -> None:
    """Write the ids `held_out`; `how` is one line on their choice. Raises OSError."""
    lines = [
        f"# {len(held_out)} of {len(train_ids)} clips of train.csv, held out of training",
        f"# {how}",
        f"{_HASH_REMARK}{_hash(train_ids)}",
        *held_out,
    ]
    with atomic_file(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


def hold_out(train: ClipTable, path: Path) -> tuple[ClipTable, ClipTable]:
    """The clips to train on and, with `path` as their source, the clips held out.

    Raises AnnotationError for a list that cannot be one of clips of `train`.
    """
    lines, made_from = _read(path)
    if made_from is not None and made_from != _hash(train.ids):
        raise AnnotationError(
            f"{path}: was made from a train.csv with other clips than {train.source}; {_WAYS_OUT}"
        )
    place = {clip_id: clip for clip, clip_id in enumerate(train.ids)}
    unknown = [clip_id for clip_id in lines if clip_id not in place]
    if unknown:
        raise AnnotationError(
            f"{path}:{lines[unknown[0]]}: clip {unknown[0]} is not in {train.source} "
            f"({len(unknown)} such clips); {_WAYS_OUT}"
        )
    is_dev = np.zeros(len(train), dtype=bool)
    is_dev[[place[clip_id] for clip_id in lines]] = True
    if is_dev.all():
        raise AnnotationError(
            f"{path}: holds out all {len(train)} clips of {train.source}, so none is left to train "
            f"on; {_WAYS_OUT}"
        )
    dev = train.subset(np.flatnonzero(is_dev))
    return train.subset(np.flatnonzero(~is_dev)), replace(dev, source=path)


def _read(path: Path) -> tuple[dict[str, int], str | None]:
    """The line of each id, in the order of the file, and the hash where there is one."""
    check_regular_file(path, max_bytes=_MAX_BYTES)
    made_from: str | None = None
    lines: dict[str, int] = {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: cannot be read ({shown(error)}); {_WAYS_OUT}") from None
    for number, line in enumerate(text.split("\n"), start=1):
        clip_id = line.strip()
        if clip_id.startswith(_HASH_REMARK):
            made_from = clip_id.removeprefix(_HASH_REMARK)
        if not clip_id or clip_id.startswith("#"):
            continue
        check_id(clip_id, f"{path}:{number}")
        if clip_id in lines:
            raise AnnotationError(
                f"{path}:{number}: clip {clip_id} is already in line {lines[clip_id]}; "
                "take one of the two out"
            )
        lines[clip_id] = number
    if not lines:
        raise AnnotationError(f"{path}: names no clip; {_WAYS_OUT}")
    return lines, made_from


def _hash(clip_ids: Sequence[str]) -> str:
    """The same whatever the order: the split does not depend on it."""
    return hashlib.sha256("\n".join(sorted(clip_ids)).encode()).hexdigest()
