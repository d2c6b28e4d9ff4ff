"""Measure on this machine: `python tools/bench.py data|model`. A table of ratios, no verdict."""

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
        description="How long the steps from the annotation to the batch take (data), SlowFast's "
        "own code beside ours in one run where this tree is of its repository; or those of the "
        "model (model). Let nothing else run.",
        epilog="Examples: python tools/bench.py data --only views; python tools/bench.py model "
        "--cfg configs/AK/I3D_8x8_R50.yaml NUM_GPUS 1",
    )
    parser.add_argument("what", choices=("data", "model"), help="what to measure")
    parser.add_argument("--only", choices=GROUPS, help="data: one part of it")
    parser.add_argument(
        "--cfg",
        type=Path,
        default=Path("configs/AK/SLOWFAST_8x8_R50.yaml"),
        metavar="FILE",
        help="model: the configuration that names it (SLOWFAST_8x8_R50.yaml)",
    )
    parser.add_argument("--batch", type=int, default=2, metavar="N", help="model: clips a step (2)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="medians of N (3)")
    parser.add_argument(
        "--annotation",
        type=Path,
        metavar="CSV",
        help="the annotation to read, say your train.csv; without it one of Animal Kingdom's size "
        "is made up",
    )
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="model: override keys")
    args = parser.parse_intermixed_args(argv)
    if args.opts and args.what != "model":
        parser.error(f"{args.opts[0]}: keys are for `bench.py model`")
    if args.batch < 1:
        parser.error(f"--batch {args.batch}: at least 1")
    if args.rounds < 1:
        parser.error(f"--rounds {args.rounds}: at least 1")
    return args


def machine() -> str:
    """What the numbers hold for, in one line."""
    import torch

    from actionrec import launched

    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return (
        f"{launched.num_cores()} cores of {platform.machine()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}{load}"
    )


def measure_model(args: argparse.Namespace) -> int:
    front_door.require_tree(TREE, "bench.py")
    from slowfast.ak import base
    from slowfast.ak.config import merge
    from slowfast.ak.settings import make_settings

    cfg = base.default_config()
    problems = merge(cfg, args.cfg, ["DATA.PATH_TO_DATA_DIR", ".", *args.opts])
    settings = make_settings(cfg, problems)
    from actionrec.bench import model, table

    rows = model.measure(lambda: base.build_model(cfg), settings, args.batch, args.rounds)
    title = f"{args.cfg.stem}, {args.batch} clips, {settings.device}"
    print("\n".join([machine(), *table.lines(title, rows)]))
    return 0


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
    work = measure_model if args.what == "model" else measure_and_print
    return front_door.answer("bench", lambda: work(args))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
