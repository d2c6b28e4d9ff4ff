"""A ClipTable as a file of plain arrays, and back again, checked as if a stranger had written it.

The file: int64 numbers, namely a mark, a CRC-32 of all that follows it, the six of the key and the
length of each array in the order of _ARRAYS; then the arrays.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from actionrec.data.clip_table import ClipTable
from actionrec.data.input_checks import MAX_PATH_CHARS, check_id, check_relative_path
from actionrec.data.ragged import Arrays, Texts
from actionrec.data.rows.csv_rows import MAX_ROWS

_MARK = int.from_bytes(b"ARindex2", "little")  # the last letter is the version of the format
_KEY = slice(2, 8)
# Long items first, so that each array begins where its dtype may.
_ARRAYS = {
    "lines": "<i8",
    "row_offsets": "<i8",
    "stretch_starts": "<i8",
    "stretch_numbers": "<i8",
    "run_starts": "<i8",
    "ids.offsets": "<i8",
    "run_prefixes.offsets": "<i8",
    "run_suffixes.offsets": "<i8",
    "label_sets.offsets": "<i8",
    "label_sets.values": "<i8",
    "texts.offsets": "<i8",
    "run_labels": "<i4",
    "stretch_digits": "u1",
    "ids.values": "u1",
    "run_prefixes.values": "u1",
    "run_suffixes.values": "u1",
    "texts.values": "u1",
}
_RAGGED: dict[str, type[Texts | Arrays]] = {
    "ids": Texts,
    "run_prefixes": Texts,
    "run_suffixes": Texts,
    "label_sets": Arrays,
    "texts": Texts,
}


def write_table(file: BinaryIO, table: ClipTable, key: Sequence[int]) -> None:
    """Write `table` and a key of six whole numbers, which `read_key` finds."""
    arrays = {name: getattr(table, name) for name in _ARRAYS if hasattr(table, name)}
    # The notes name the file as its reader did.
    texts = Texts.of([str(table.source), table.sha256, *table.notes])
    ragged = {name: getattr(table, name, texts) for name in _RAGGED}
    for name, items in ragged.items():
        arrays |= {f"{name}.values": items.values, f"{name}.offsets": items.offsets}
    columns = [np.asarray(arrays[name], dtype) for name, dtype in _ARRAYS.items()]
    head = np.array([*key, *map(len, columns)], dtype="<i8")
    content = b"".join(column.tobytes() for column in (head, *columns))
    file.write(np.array([_MARK, zlib.crc32(content)], dtype="<i8").tobytes())
    file.write(content)


def read_key(data: bytes) -> tuple[int, ...]:
    """The key that `write_table` wrote. Raises ValueError where the file is no index."""
    head = np.frombuffer(data, "<i8", _KEY.stop)
    if head[0] != _MARK:
        raise ValueError("it is none of this version")
    return tuple(head[_KEY].tolist())


def read_table(data: bytes, source: Path, num_classes: int) -> ClipTable:
    """The table that `write_table` wrote; its notes call the file `source`.

    data: with a key that `read_key` finds. Raises ValueError where anything in it cannot be right.
    """
    size = _KEY.stop + len(_ARRAYS)
    head = np.frombuffer(data, "<i8", size)
    if head[1] != zlib.crc32(memoryview(data)[16:]):
        raise ValueError("it is damaged")
    fields: dict[str, Any] = {}
    place = 8 * size
    for (name, dtype), length in zip(_ARRAYS.items(), head[_KEY.stop :].tolist(), strict=True):
        fields[name] = np.frombuffer(data, dtype, length, place)
        place += fields[name].nbytes
    for name, kind in _RAGGED.items():
        fields[name] = _ragged(kind, fields.pop(f"{name}.values"), fields.pop(f"{name}.offsets"))
    texts = fields.pop("texts")
    _require(len(texts) >= 2)
    named, sha256, *notes = texts
    _require(re.fullmatch("[0-9a-f]{64}", sha256) is not None)
    renamed = tuple(note.replace(f"{named}:", f"{source}:") for note in notes)
    table = ClipTable(source=source, sha256=sha256, notes=renamed, **fields)
    _check_rows(table)
    _check_runs(table, num_classes)
    _check_names(table)
    return table


def _ragged(kind: type[Texts | Arrays], values: np.ndarray, offsets: np.ndarray) -> Texts | Arrays:
    _require(len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == len(values))
    _require((np.diff(offsets) >= 0).all())
    return kind(values, offsets)


def _check_rows(table: ClipTable) -> None:
    rows, num_rows = table.row_offsets, table.row_offsets[-1]
    _require(len(rows) - 1 == len(table.ids) == len(table.lines) > 0 and num_rows <= MAX_ROWS)
    _require(len(table.stretch_starts) == len(table.stretch_numbers) == len(table.stretch_digits))
    for starts in (rows, table.stretch_starts, table.run_starts):
        _require(len(starts) > 0 and starts[0] == 0 and (np.diff(starts) > 0).all())
    for starts in (table.stretch_starts, table.run_starts):
        _require(starts[-1] < num_rows and _are_in(rows[:-1], starts))
    _require(_are_in(table.run_starts, table.stretch_starts))
    _require(_within(table.stretch_numbers, 10**18) and _within(table.stretch_digits, 19))


def _check_runs(table: ClipTable, num_classes: int) -> None:
    num_runs = len(table.run_starts)
    _require(len(table.run_prefixes) == len(table.run_suffixes) == len(table.run_labels))
    _require(len(table.run_labels) == num_runs)
    _require(_within(table.run_labels, len(table.label_sets)))
    _require(_within(np.diff(table.label_sets.offsets), num_classes + 1))
    _require(_within(table.label_sets.values, num_classes))


def _are_in(values: np.ndarray, increasing: np.ndarray) -> bool:
    """np.isin, in a tenth of its time."""
    places = np.searchsorted(increasing, values).clip(max=len(increasing) - 1)
    return bool((increasing[places] == values).all())


def _within(values: np.ndarray, limit: int) -> bool:
    return not len(values) or 0 <= values.min() <= values.max() < limit


def _require(holds: bool | np.bool_) -> None:
    if not holds:
        raise ValueError("its numbers contradict one another")


_ALPHANUMERIC = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_IN_ID = _ALPHANUMERIC + b"_.-"
_IN_PATH = _IN_ID + b"/"


def _check_names(table: ClipTable) -> None:
    """Raises SecurityError, a ValueError, for an id or a path that could leave its folder."""
    lengths = np.diff(table.ids.offsets)
    sized = lengths.min() > 0 and lengths.max() <= 128
    if not (sized and _are_plain(table.ids, first=_ALPHANUMERIC, rest=_IN_ID)):
        for clip_id in table.ids:
            check_id(clip_id, "the index")
    lengths = np.diff(table.run_prefixes.offsets) + np.diff(table.run_suffixes.offsets)
    all_numbered = table.stretch_digits.min() > 0
    if not (
        all_numbered
        and lengths.max() <= MAX_PATH_CHARS - 18
        and _are_plain(table.run_prefixes, first=_IN_ID, rest=_IN_PATH)
        and _are_plain(table.run_suffixes, first=_IN_PATH, rest=_IN_PATH)
    ):
        for prefix, suffix in zip(table.run_prefixes, table.run_suffixes, strict=True):
            for number in ("0",) if all_numbered else ("0", ""):
                check_relative_path(prefix + number + suffix, "the index")


def _are_plain(texts: Texts, *, first: bytes, rest: bytes) -> bool:
    """Whether all are of these characters and without `..`: seen at once."""
    filled = np.diff(texts.offsets) > 0
    firsts = texts.values[texts.offsets[:-1][filled]].tobytes()
    whole = texts.values.tobytes()
    odd = firsts.translate(None, first) + whole.translate(None, rest)
    return not odd and b".." not in whole
