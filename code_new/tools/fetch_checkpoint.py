"""Download a checkpoint and check its sha256. Nothing else of the project downloads weights."""

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
        prog="fetch_checkpoint.py",
        description="Download URL to OUT over https. OUT is there only when all of it came and its "
        "sha256 is the expected one.",
        epilog="Example: python tools/fetch_checkpoint.py https://HOST/SLOWFAST_8x8_R50.pkl "
        "--sha256 SUM",
    )
    parser.add_argument("url", metavar="URL", help="the file, https://...")
    parser.add_argument(
        "out", type=Path, nargs="?", metavar="OUT", help="default: the name in the URL, here"
    )
    known = parser.add_mutually_exclusive_group()
    known.add_argument("--sha256", metavar="SUM", help="what its publisher says it is")
    known.add_argument(
        "--trust-first-use",
        action="store_true",
        help="take the file as it comes and print its sum, where nobody states one",
    )
    return parser.parse_args(argv)


def fetch_and_print(args: argparse.Namespace) -> int:
    from actionrec.engine.download import download
    from actionrec.errors import UserError

    if not (args.sha256 or args.trust_first_use):
        raise UserError(
            f"{args.url}: --sha256 SUM is missing; take it from the file's publisher, or from a "
            "colleague who has the file. Where nobody states it, --trust-first-use prints it"
        )
    path, sha256 = download(args.url, args.out, sha256=args.sha256)
    said = "as expected" if args.sha256 else "NOT compared with anything: keep it for the next time"
    print(f"{path}: {path.stat().st_size:,} bytes, sha256 {sha256}, {said}")
    print(f"next: {next_command(path)}")
    return 0


def next_command(path: Path) -> str:
    if path.suffix == ".pkl":
        files = shlex.join(map(str, (path, path.with_suffix(".pyth"))))
        return f"python tools/convert_checkpoint.py {files}"
    checkpoint = shlex.quote(str(path))
    return f"python tools/run_net.py --cfg FILE.yaml TRAIN.CHECKPOINT_FILE_PATH {checkpoint}"


def main(argv: list[str]) -> int:
    args = parse(argv)
    return front_door.answer("fetch_checkpoint", lambda: fetch_and_print(args))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
