"""Examine annotations, the official workbook and the pixels, and say what is wrong with them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# Python puts the folder that this link leads to on the path; meant is the tree that it stands in.
TREE = Path(__file__).absolute().parents[1]
OVERLAY = Path(__file__).resolve().parent
sys.path[:] = [str(TREE), *(p for p in sys.path if Path(p).resolve() != OVERLAY)]

from actionrec import front_door  # noqa: E402 needs the path


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="doctor.py",
        description="Say what is wrong with the data. They are not changed. Exit status: 0 nothing "
        "or notes only; 3 warnings: clips are lost, or names are wrong; 2 errors: a run would end.",
        epilog="Example: python tools/doctor.py --annot data/ak/annot --images data/ak/image",
    )
    parser.add_argument(
        "--annot", type=Path, required=True, metavar="DIR", help="holds train.csv and val.csv"
    )
    parser.add_argument("--metadata", type=Path, metavar="FILE", help="AR_metadata.xlsx: compare")
    parser.add_argument(
        "--class-table", type=Path, metavar="FILE", help="instead of df_action.xlsx in --annot"
    )
    parser.add_argument(
        "--num-classes", type=int, metavar="N", help="where no class table says how many"
    )
    parser.add_argument(
        "--dataset",
        default="animalkingdom",
        choices=["animalkingdom", "charades"],
        help="charades: frames may have no label",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="holds <clip id>/<frame>.jpg")
    parser.add_argument("--videos", type=Path, metavar="DIR", help="holds <clip id>.mp4")
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--quick", action="store_true", help="headers only (the default)")
    depth.add_argument("--full", action="store_true", help="decode every frame")
    parser.add_argument(
        "--hash", action="store_true", help="write a sha256 of each file, or compare with it"
    )
    parser.add_argument(
        "--manifest", type=Path, metavar="FILE", help="for --hash, instead of DIR.sha256"
    )
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="threads, %(default)s"
    )
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="write the report there too")
    parser.add_argument(
        "--write-class-table",
        type=Path,
        metavar="OUT.xlsx",
        help="write df_action.xlsx with the names and counts that the clips support",
    )
    args = parser.parse_args(argv)
    _check(parser, args)
    return args


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    folders = [folder for folder in (args.images, args.videos) if folder]
    for option in ("quick", "full", "hash"):
        if getattr(args, option) and not folders:
            parser.error(f"--{option}: looks at pixels; add --images DIR or --videos DIR")
    if args.manifest and not (args.hash and len(folders) == 1):
        parser.error("--manifest: is for --hash with one of --images and --videos")
    if args.workers < 1:
        parser.error(f"--workers {args.workers}: must be at least 1")
    if args.num_classes is not None and args.num_classes < 1:
        parser.error(f"--num-classes {args.num_classes}: must be at least 1")
    # The file is replaced: not by a slip of the hand one that is no report.
    if args.json and args.json.suffix != ".json":
        parser.error(f"--json {args.json}: the name must end in .json")
    table = args.write_class_table
    if table and table.suffix != ".xlsx":
        parser.error(f"--write-class-table {table}: the name must end in .xlsx")


def _manifests(args: argparse.Namespace) -> tuple[tuple[Path, Path], ...]:
    """Each folder with its manifest, beside it as a rule: data/ak/image.sha256."""
    folders = [folder for folder in (args.images, args.videos) if folder]
    named = [folder if folder.name.strip(".") else folder.resolve() for folder in folders]
    return tuple(
        (folder, args.manifest or name.with_name(f"{name.name}.sha256"))
        for folder, name in zip(folders, named, strict=True)
    )


def examine_and_print(args: argparse.Namespace) -> int:
    from actionrec.atomic_file import atomic_file
    from actionrec.data.doctor.examination import Request, examine
    from actionrec.data.doctor.page import as_json, page
    from actionrec.errors import UserError

    request = Request(
        annot=args.annot,
        metadata=args.metadata,
        class_table=args.class_table,
        num_classes=args.num_classes,
        unlabelled_frames=args.dataset == "charades",
        images=args.images,
        videos=args.videos,
        decode=args.full,
        manifests=_manifests(args) if args.hash else (),
        corrected=args.write_class_table,
        workers=args.workers,
    )
    report = examine(request)
    if args.json:
        try:
            with atomic_file(args.json) as file:
                file.write(as_json(report))
        except OSError as error:
            raise UserError(f"--json {args.json}: {error.strerror}") from None
    try:
        print("\n".join(page(report)), flush=True)
    except BrokenPipeError:  # the reader has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return report.exit_code


def main(argv: list[str]) -> int:
    args = parse(argv)
    return front_door.answer("doctor", lambda: examine_and_print(args), "there is no report")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
