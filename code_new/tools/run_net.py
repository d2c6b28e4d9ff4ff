"""Train and test: `python tools/run_net.py --cfg FILE.yaml [KEY VALUE ...]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Python puts the folder that this link leads to on the path; meant is the tree that it stands in.
TREE = Path(__file__).absolute().parents[1]
OVERLAY = Path(__file__).resolve().parent
sys.path[:] = [str(TREE), *(p for p in sys.path if Path(p).resolve() != OVERLAY)]

from actionrec import front_door  # noqa: E402 needs the path


def parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, and the KEY VALUE overrides, with or without `--opts` before them."""
    parser = argparse.ArgumentParser(
        prog="run_net.py",
        description="Train and test a video model as a YAML configuration says.",
        epilog="Example: python tools/run_net.py --cfg configs/AK/SLOWFAST_8x8_R50.yaml "
        "MODEL.LOSS_FUNC LDAM OUTPUT_DIR results/ldam",
    )
    parser.add_argument("--cfg", metavar="FILE", help="the YAML configuration (required)")
    parser.add_argument("--shard_id", type=int, default=0, help="number of this machine, from 0")
    parser.add_argument("--num_shards", type=int, default=1, help="number of machines")
    parser.add_argument("--init_method", default="tcp://localhost:9999", help="where they meet")
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="override keys of the file"
    )
    args = parser.parse_args([a for a in argv if a != "--opts"])
    if args.cfg is None:
        parser.error(
            "--cfg FILE is missing before the KEY VALUE pairs, for example "
            "--cfg configs/AK/SLOWFAST_8x8_R50.yaml"
        )
    overrides = list(args.opts)
    if args.num_shards != 1 or args.shard_id != 0:
        overrides += ["NUM_SHARDS", str(args.num_shards), "SHARD_ID", str(args.shard_id)]
    return args, overrides


def main(argv: list[str]) -> int:
    args, overrides = parse(argv)

    def work() -> int:
        front_door.require_tree(TREE, "run_net.py")
        from slowfast.ak import runner

        command = [str(TREE / "tools" / "run_net.py"), *argv]
        return runner.main(Path(args.cfg), overrides, args.init_method, command)

    return front_door.answer(
        "run_net",
        work,
        "the same command goes on from the last checkpoint, or begins again where none was saved "
        "(TRAIN.AUTO_RESUME True, the default)",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
