"""Any bytes as an annotation: one line or a table, the same from the fast and the exact reader.

    PYTHONPATH=code_new python tests/fuzz_annotations.py --runs 1000000

Seeded mutations of small annotations. tests/fuzz_with_atheris.py looks for inputs that reach new
lines of the reader.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from actionrec.data.annotations import ClipTable, read_clips
from actionrec.data.rows import byte_lines, fast_rows
from actionrec.errors import UserError

HEADERS = (
    "original_vido_id video_id frame_id path labels type",
    "original_video_id video_id frame_id path labels",
    "labels path frame_id video_id original_vido_id",
    "clip_id action_labels clip_path clip_number frame_number",
)
PATHS = ("{c}/{c}_t{n:06d}.jpg", "{c}/{n}.jpg", "x{n}/1.mp4", "{n:03d}b", "a.{n}", "same", "1/{n}é")
LABELS = ("2,40", '"2,40"', "7", '"7, 8"', "3,3", '""', "140")
IDS = ("AAACXZTV", "B", "1E5", "a.b-c_9")
PIECES = [
    b" ",
    b"  ",
    b"\n",
    b"\r\n",
    b"\r",
    b'"',
    b"\t",
    b"0",
    b"9",
    b"99",
    b",",
    b".",
    b"..",
    b"/",
]
PIECES += [
    b"\0",
    b"\1",
    b"\xff",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"\xef\xbb\xbf",
    b"-1",
    b"1e3",
    b"\\",
]


def annotation(rng: random.Random) -> bytes:
    """A small annotation, mostly of the ordinary kind."""
    header = rng.choice(HEADERS)
    lines = [header]
    for number, clip in enumerate(rng.sample(IDS, rng.randint(1, 3)), start=1):
        path, label = rng.choice(PATHS), rng.choice(LABELS[:6])
        frame, offset = rng.choice((0, 1, 7, 95, 254, 998, 10**17 - 3)), rng.choice((0, 0, 1, 94))
        for _ in range(rng.randint(1, 12)):
            if rng.random() < 0.05:
                path, label = (
                    rng.choice(PATHS),
                    rng.choice(LABELS[: 7 if rng.random() < 0.05 else 6]),
                )
            values = {"frame": str(frame), "path": path.format(c=clip, n=frame + offset)}
            values |= {"original": clip, "clip_id": clip, "labels": label, "action": label}
            lines.append(" ".join(_field(name, values, str(number)) for name in header.split()))
            frame += 1 if rng.random() < 0.9 else rng.choice((1, 2, 2, 3, 10))
            frame = max(0, frame - 20) if rng.random() < 0.01 else frame
    if rng.random() < 0.1:
        lines[1:] = rng.sample(lines[1:], len(lines) - 1)
    end = rng.choice(("\n", "\n", "\r\n", "\r"))
    return (end.join(lines) + end * rng.randint(0, 2)).encode()


def _field(name: str, values: dict[str, str], default: str) -> str:
    meanings = ("clip_id", "original", "frame", "path", "labels", "action")
    meaning = "path" if name == "clip_path" else next((m for m in meanings if m in name), "")
    return values.get(meaning, default)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """`content` after up to three changes of a byte, a piece or a line."""
    for _ in range(rng.randint(0, 3)):
        place, end = sorted(rng.randint(0, len(content)) for _ in range(2))
        kind = rng.randint(0, 4)
        if kind == 0:
            content = content[:place] + rng.choice(PIECES) + content[place:]
        elif kind == 1:
            content = content[:place] + rng.choice(PIECES) + content[place + 1 :]
        elif kind == 2:
            content = content[:place] + content[place + 1 :]
        elif kind == 3:
            content = content[:end] + content[place:end] + content[end:]
        else:
            lines = content.splitlines(keepends=True) or [b""]
            lines.insert(rng.randint(0, len(lines)), rng.choice(lines))
            content = b"".join(lines)
    return content


def check(path: Path, content: bytes) -> bool:
    """Whether it is a table; an AssertionError where a promise is broken."""
    path.write_bytes(content)
    table, text = outcome(path)
    with exact_reader_alone():
        assert (fields(table), text) == _fields_first(outcome(path)), content
    assert "\n" not in text and text.isprintable() and len(text) < 3000, content
    return table is not None


def _fields_first(result: tuple[ClipTable | None, str]) -> tuple[object, str]:
    return fields(result[0]), result[1]


def outcome(path: Path) -> tuple[ClipTable | None, str]:
    """The table, or the class and the message of the one kind of error that may come."""
    try:
        return read_clips(path, num_classes=140, unlabelled_frames=True), ""
    except UserError as error:
        return None, f"{type(error).__name__}: {error}"


def fields(table: ClipTable | None) -> object:
    """All that a table holds, to be compared."""
    if table is None:
        return None
    return {
        name: [np.asarray(item).tolist() for item in value] if hasattr(value, "__len__") else value
        for name, value in vars(table).items()
    }


@contextmanager
def exact_reader_alone() -> Iterator[None]:
    """Within it, no row is read in a stretch with others."""
    find, fast_rows.OrdinaryRows.find = fast_rows.OrdinaryRows.find, lambda *_: None
    try:
        yield
    finally:
        fast_rows.OrdinaryRows.find = find


@contextmanager
def small_pieces(chunk: int, ahead: int, block: int) -> Iterator[None]:
    """Within it, the reader's chunks (bytes) and blocks (rows) end within small files too."""
    kept = byte_lines._CHUNK, byte_lines._AHEAD, fast_rows._BLOCK
    byte_lines._CHUNK, byte_lines._AHEAD, fast_rows._BLOCK = chunk, ahead, block
    _clear_caches()
    try:
        yield
    finally:
        byte_lines._CHUNK, byte_lines._AHEAD, fast_rows._BLOCK = kept
        _clear_caches()


def _clear_caches() -> None:
    fast_rows._numbers_after.cache_clear()
    fast_rows._numbering.cache_clear()


def run_mutations(path: Path, runs: int, seed: int) -> int:
    """How many of `runs` inputs were tables."""
    rng = random.Random(seed)  # noqa: S311
    tables = 0
    for _ in range(runs):
        tables += check(path, mutated(annotation(rng), rng))
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tables = run_mutations(Path(folder) / "train.csv", args.runs, args.seed)
    print(f"{args.runs:,} inputs: {tables:,} tables, the rest one line each")


if __name__ == "__main__":
    main()
