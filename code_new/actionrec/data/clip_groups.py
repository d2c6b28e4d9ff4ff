"""Which clips belong together: of one origin, as their ids tell, or as a file says."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from actionrec.data.input_checks import AnnotationError, check_regular_file, shown
from actionrec.errors import first_few

_MAX_BYTES = 256 * 2**20
_WITH_ORIGIN = re.compile(r"[A-Z]{5}([A-Z]{3})")


def origins(clip_ids: Sequence[str]) -> list[str]:
    """The last three letters of each Animal Kingdom id, which clips of one origin share.

    Found in the official workbook, which does not name the source videos: the 30,100 ids end in 336
    different triples; two clips with the same one show a common animal in 57 % of the pairs, any
    two clips in 1 %; the five letters before are as good as random.
    """
    found = [_WITH_ORIGIN.fullmatch(clip_id) for clip_id in clip_ids]
    if None in found:
        odd = clip_ids[found.index(None)]
        raise AnnotationError(
            f"--by-origin: clip id {odd} is not eight capital letters, as in Animal Kingdom; say "
            "which clips belong together with --groups FILE.csv"
        )
    return [match[1] for match in found if match]


def read_groups(path: Path, clip_ids: Sequence[str]) -> list[str]:
    """The group of each of `clip_ids`; other clips in the file are passed over."""
    check_regular_file(path, max_bytes=_MAX_BYTES)
    group_of: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            if next(rows, None) != ["clip_id", "group"]:
                raise AnnotationError(f"{path}:1: the header is not clip_id,group; write it")
            for row in rows:
                if len(row) != 2 or not all(row):
                    raise AnnotationError(
                        f"{path}:{rows.line_num}: {shown(','.join(row))} is not a clip id and a "
                        "group with a comma between; correct it"
                    )
                if group_of.setdefault(row[0], row[1]) != row[1]:
                    raise AnnotationError(
                        f"{path}:{rows.line_num}: clip {shown(row[0])} has another group in a row "
                        "before; take one of the two out"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnotationError(f"{path}: is no CSV in UTF-8 ({shown(error)}); save it so") from None
    missing = [clip_id for clip_id in clip_ids if clip_id not in group_of]
    if missing:
        raise AnnotationError(
            f"{path}: {len(missing)} clips of train.csv have no group: {first_few(missing, 3)}; "
            "give each one, a name of its own where it belongs to no other"
        )
    return [group_of[clip_id] for clip_id in clip_ids]
