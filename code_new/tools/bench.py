"""Measure on this machine: `python tools/bench.py data`. Prints a table of ratios, no verdict."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

# Python puts the folder that this link leads to on the path; meant is the tree that it stands in.
TREE = Path(__file__).absolute().parents[1]
OVERLAY = Path(__file__).resolve().parent
sys.path[:] = [str(TREE), *(p for p in sys.path if Path(p).resolve() != OVERLAY)]

from actionrec import front_door  # noqa: E402 needs the path

GROUPS = ("annotations", "views", "decoding")  # parsing imports nothing to learn them


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.py",
        description="How long the steps from the annotation to the batch take, SlowFast's own code "
        "beside ours in one run where this tree is of its repository. Let nothing else run.",
        epilog="Example: python tools/bench.py data --only views",
    )
    parser.add_argument("what", choices=("data",), help="what to measure")
    parser.add_argument("--only", choices=GROUPS, help="one part of it")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="medians of N (3)")
    parser.add_argument(
        "--annotation",
        type=Path,
        metavar="CSV",
        help="the annotation to read, say your train.csv; without it one of Animal Kingdom's size "
        "is made up",
    )
    args = parser.parse_args(argv)
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least 1")
    return args


def machine() -> str:
    """What the numbers hold for, in one line."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return (
        f"{cores} cores of {platform.machine()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}{load}"
    )


def measure_and_print(args: argparse.Namespace) -> int:
    from actionrec.bench import table

    is_git = (TREE / "slowfast" / "models" / "build.py").is_file()
    print(machine())
    if not is_git:
        print("this tree has none of SlowFast's own loaders (--upstream git has): ours alone")
    for group in GROUPS if args.only is None else (args.only,):
        rows = table.measure(group, TREE if is_git else None, args.rounds, args.annotation)
        print("\n".join(table.lines(group, rows)), flush=True)
    return 0


def main(argv: list[str]) -> int:
    args = parse(argv)
    return front_door.answer("bench", lambda: measure_and_print(args))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
