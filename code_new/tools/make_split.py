"""Choose clips of train.csv to hold out of training, and write their ids to dev.txt."""

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
        prog="make_split.py",
        description="Hold clips of DIR/train.csv out of training, so that checkpoints are chosen "
        "on them and not on the test set. Every class gets its share, as far as it has clips. "
        "Training finds DIR/dev.txt by itself; see DATA.DEV_SPLIT.",
        epilog="Example: python tools/make_split.py --annot data/ak_made",
    )
    parser.add_argument("--annot", type=Path, required=True, metavar="DIR", help="has train.csv")
    parser.add_argument("--fraction", type=float, default=0.1, metavar="F", help="default 0.1")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    together = parser.add_mutually_exclusive_group()
    together.add_argument(
        "--groups", type=Path, metavar="FILE", help="CSV clip_id,group: clips that stay together"
    )
    together.add_argument(
        "--by-origin",
        action="store_true",
        help="clips whose Animal Kingdom ids end in the same three letters stay together",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default DIR/dev.txt")
    parser.add_argument("--overwrite", action="store_true", help="replace that file")
    args = parser.parse_args(argv)
    if not 0 < args.fraction <= 0.5:
        parser.error(f"--fraction {args.fraction:g}: must be above 0 and at most 0.5")
    if args.seed < 0:
        parser.error(f"--seed {args.seed}: must be 0 or more")
    return args


def split_and_print(args: argparse.Namespace) -> int:
    from actionrec.data.dev_split import FILE_NAME
    from actionrec.data.make_split import make_split

    made = make_split(
        args.annot,
        args.out or args.annot / FILE_NAME,
        fraction=args.fraction,
        seed=args.seed,
        groups=args.groups,
        by_origin=args.by_origin,
        overwrite=args.overwrite,
    )
    print("\n".join(made.lines()))
    return 0


def main(argv: list[str]) -> int:
    args = parse(argv)
    return front_door.answer("make_split", lambda: split_and_print(args))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
