"""What reading one annotation costs, in time and in memory, as rows.

SlowFast's reader and ours each read the same file in processes of their own, in turns; the file is
in the page cache. Memory is what a process holds beyond what it held before; a worker is a process
forked after reading, and its memory what it no longer shares once it has touched every id and path.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import actionrec
from actionrec.bench.rows import Row
from actionrec.errors import UserError

_MEASURE = """
import json, os, pathlib, sys, time

def mebibytes(file, name):
    lines = pathlib.Path("/proc/self", file).read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

def in_worker(touch):
    ours, theirs = os.pipe()
    if os.fork() == 0:
        before = mebibytes("smaps_rollup", "Private")
        touch()
        os.write(theirs, str(mebibytes("smaps_rollup", "Private") - before).encode())
        os._exit(0)
    os.wait()
    return float(os.read(ours, 100))

pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before, started = mebibytes("status", "VmRSS"), time.perf_counter()
table = read(sys.argv[1])
seconds = time.perf_counter() - started
peak = mebibytes("status", "VmHWM") - before
print(json.dumps([seconds, peak, in_worker(lambda: touch(table))]))
"""

_OURS = """
from pathlib import Path
from actionrec.data.annotations import read_clips

def read(path):
    return read_clips(Path(path), num_classes=140, unlabelled_frames=True)

def touch(table):
    for clip, num_frames in enumerate(table.num_frames.tolist()):
        table.ids[clip], table.frame_paths(clip, range(num_frames))
"""

# Its reader as its Charades dataset calls it for validation.
_THEIRS = """
from slowfast.datasets.utils import convert_to_video_level_labels, load_image_lists

def read(path):
    paths, labels = load_image_lists(path, return_list=True)
    return paths, convert_to_video_level_labels(labels)

def touch(table):
    for paths in table[0]:
        for path in paths:
            len(path)
"""


def measure(annotation: Path, git_tree: Path | None = None, rounds: int = 3) -> list[Row]:
    """The medians of `rounds`. annotation: a CSV that may be copied, its columns SlowFast's first.

    git_tree: a tree of SlowFast's repository; without one its column is None. The ceiling of the
    first read is finding the ends of the lines.
    """
    ours, again, theirs, scans = [], [], [], []
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "train.csv"
        _copy_five_columns(annotation, path)
        time.sleep(3)  # a file that has just been written leaves no index
        for _ in range(rounds):
            scans.append(_scan_seconds(path))
            if git_tree is not None:
                theirs.append(_run(_THEIRS, git_tree, path))
            index = path.with_name(f".{path.name}.index")
            index.unlink(missing_ok=True)
            ours.append(_run(_OURS, Path(actionrec.__path__[0]).parent, path))
            again.append(_run(_OURS, Path(actionrec.__path__[0]).parent, path))
    ceiling = statistics.median(scans) / statistics.median(run[0] for run in ours)
    return [
        _row("annotation, first start, s", theirs, ours, 0, ceiling),
        _row("annotation, first start, MiB", theirs, ours, 1),
        _row("annotation, second start, s", theirs, again, 0),
        _row("annotation, second start, MiB", theirs, again, 1),
        _row("annotation, MiB of each worker", theirs, again, 2),
    ]


def _copy_five_columns(annotation: Path, path: Path) -> None:
    """SlowFast's reader knows no sixth column."""
    with annotation.open() as source, path.open("w") as copy:
        copy.writelines(" ".join(line.split()[:5]) + "\n" for line in source)


def _scan_seconds(path: Path) -> float:
    started, piece = time.perf_counter(), bytearray(2**18)
    values = np.frombuffer(piece, np.uint8)
    with path.open("rb", buffering=0) as file:
        while length := file.readinto(piece):
            np.flatnonzero(values[:length] == ord("\n"))
    return time.perf_counter() - started


def _run(side: str, home: Path, path: Path) -> list[float]:
    """Seconds, MiB and MiB of a worker. home: the folder that its packages are in."""
    code = f"import sys; sys.path.insert(0, {str(home)!r})\n{side}{_MEASURE}"
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603  our own code
    if done.returncode:
        raise UserError(f"{home}: its reader failed: {done.stderr.strip().splitlines()[-1]}")
    numbers: list[float] = json.loads(done.stdout)
    return numbers


def _row(
    name: str,
    theirs: list[list[float]],
    ours: list[list[float]],
    column: int,
    ceiling: float | None = None,
) -> Row:
    own = statistics.median(run[column] for run in ours)
    if not theirs:
        return Row(name, None, own, None, ceiling)
    other = statistics.median(run[column] for run in theirs)
    return Row(name, other, own, other / own, ceiling)
