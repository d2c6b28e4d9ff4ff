"""Compare losses over seeds and models: `python tools/sweep.py FILE.yaml [--features]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Python puts the folder that this link leads to on the path; meant is the tree that it stands in.
TREE = Path(__file__).absolute().parents[1]
OVERLAY = Path(__file__).resolve().parent
sys.path[:] = [str(TREE), *(p for p in sys.path if Path(p).resolve() != OVERLAY)]

from actionrec import front_door  # noqa: E402 needs the path


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sweep.py",
        description="Train and test every model of FILE with every loss and seed, and compare each "
        "loss with the baseline. What is finished is not run again.",
        epilog="Example: python tools/sweep.py configs/AK/sweeps/demo.yaml",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the sweep, see docs/sweep.md")
    parser.add_argument(
        "--features",
        action="store_true",
        help="train linear heads on the features of a trained model, seconds each, not whole runs",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (1)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run")
    args = parser.parse_args(argv)
    if args.jobs < 1:
        parser.error(f"--jobs {args.jobs}: at least 1")
    if args.features and args.jobs > 1:
        parser.error("--jobs: heads are trained in one process")
    return args


def main(argv: list[str]) -> int:
    args = parse(argv)

    def work() -> int:
        front_door.require_tree(TREE, "sweep.py")
        from slowfast.ak import sweep

        return sweep.main(
            args.file,
            with_features=args.features,
            jobs=args.jobs,
            dry_run=args.dry_run,
            script=TREE / "tools" / "run_net.py",
        )

    return front_door.answer("sweep", work, "the same command goes on from there")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
