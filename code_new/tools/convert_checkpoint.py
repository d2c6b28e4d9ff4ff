"""Convert a Caffe2 checkpoint of SlowFast's model zoo, once, into a `.pyth` that loads safely."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

# Python puts the folder that this link leads to on the path; meant is the tree that it stands in.
TREE = Path(__file__).absolute().parents[1]
OVERLAY = Path(__file__).resolve().parent
sys.path[:] = [str(TREE), *(p for p in sys.path if Path(p).resolve() != OVERLAY)]

from actionrec import front_door  # noqa: E402 needs the path


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="convert_checkpoint.py",
        description="Write the weights of IN to OUT.pyth, which run_net.py starts from or tests. "
        "IN is a .pkl of SlowFast's model zoo, from Caffe2, or a checkpoint of PyTorch; its "
        "content tells. Nothing in it is executed. Where some of it was not converted, the exit "
        "status is 3.",
        epilog="Example: python tools/convert_checkpoint.py SLOWFAST_8x8_R50.pkl "
        "SLOWFAST_8x8_R50.pyth",
    )
    parser.add_argument("source", type=Path, metavar="IN", help="the checkpoint to read")
    parser.add_argument("out", type=Path, metavar="OUT.pyth", help="the file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT.pyth")
    return parser.parse_args(argv)


def convert_and_print(args: argparse.Namespace) -> int:
    front_door.require_tree(TREE, "convert_checkpoint.py")
    from actionrec.engine.convert_checkpoint import convert
    from slowfast.utils.c2_model_loading import get_name_convert_func

    converted = convert(args.source, args.out, get_name_convert_func(), overwrite=args.overwrite)
    print("\n".join(converted.lines(args.source, args.out)))
    print(
        "next: python tools/run_net.py --cfg FILE.yaml TRAIN.CHECKPOINT_FILE_PATH "
        f"{shlex.quote(str(args.out))}"
    )
    return 3 if converted.unknown else 0


def main(argv: list[str]) -> int:
    args = parse(argv)
    return front_door.answer("convert_checkpoint", lambda: convert_and_print(args))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
