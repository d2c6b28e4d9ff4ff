"""Sheet `CARe` of the official workbook: the clips of unseen animals, with classes of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from actionrec.data.doctor.findings import Finding, Severity
from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.workbook import read_sheet
from actionrec.errors import first_few

SHEET = "CARe"


def check_unseen_animals(path: Path, clip_ids: set[str]) -> Iterator[Finding]:
    """What keeps the sheet from being a split of sheet `AR`, whose ids are `clip_ids`."""
    try:
        rows = read_sheet(path, SHEET, ["train_test", "video_id", "action"])
    except AnnotationError as error:
        yield Finding(Severity.NOTE, "no_unseen_animals", f"not read: {error}")
        return
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(str(row.cells["video_id"]), set()).add(str(row.cells["train_test"]))
    known = [clip_id for clip_id in splits if clip_id in clip_ids]
    yield Finding(
        Severity.NOTE,
        "unseen_animals_clips",
        f"{path}: sheet {SHEET} lists {len(splits):,} clips, of which {len(known):,} are in sheet "
        "AR: it needs pixels and an annotation of its own",
        len(splits),
    )
    twice = Counter(" and ".join(sorted(names)) for names in splits.values() if len(names) > 1)
    if twice:
        yield Finding(
            Severity.NOTE,
            "unseen_animals_twice",
            f"{path}: sheet {SHEET} has {len(rows):,} rows: {twice.total():,} clips stand in two "
            "of its splits",
            twice.total(),
            tuple(f"{count:,} in {shown(names)}" for names, count in twice.most_common()),
            "count a clip once, or take one of the two splits",
        )
    numbers = sorted({str(row.cells["action"]) for row in rows})
    if all(number.isdecimal() for number in numbers):
        yield Finding(
            Severity.NOTE,
            "unseen_animals_names",
            f"{path}: sheet {SHEET} numbers its {len(numbers)} actions "
            f"({first_few(numbers)}), and nothing names them",
            len(numbers),
        )
