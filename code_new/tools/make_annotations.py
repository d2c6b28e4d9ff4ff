"""Make train.csv, val.csv and the class table from the official workbook `AR_metadata.xlsx`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Python puts the folder that this link leads to on the path; meant is the tree that it stands in.
TREE = Path(__file__).absolute().parents[1]
OVERLAY = Path(__file__).resolve().parent
sys.path[:] = [str(TREE), *(p for p in sys.path if Path(p).resolve() != OVERLAY)]


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make_annotations.py",
        description="Write train.csv, val.csv (the test split) and df_action.xlsx from the "
        "official workbook. Clips without frames are left out and listed; then the exit status "
        "is 3.",
        epilog="Example: python tools/make_annotations.py --metadata AR_metadata.xlsx "
        "--out data/ak_made --videos data/ak/video",
    )
    parser.add_argument("--metadata", type=Path, required=True, help="AR_metadata.xlsx")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument(
        "--class-table", type=Path, metavar="FILE", help="df_action.xlsx: names the classes instead"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files of these names")
    frames = parser.add_mutually_exclusive_group(required=True)
    frames.add_argument("--images", type=Path, metavar="DIR", help="holds <clip id>/<frame>.jpg")
    frames.add_argument("--videos", type=Path, metavar="DIR", help="holds <clip id>.mp4")
    frames.add_argument(
        "--frames-per-clip", type=int, metavar="N", help="every clip has N frames: for trying out"
    )
    args = parser.parse_args(argv)
    if args.frames_per_clip is not None and not 1 <= args.frames_per_clip <= 999_999:
        parser.error(f"--frames-per-clip {args.frames_per_clip}: must be 1 to 999999")
    return args


def main(argv: list[str]) -> int:
    args = parse(argv)
    from actionrec.data import frame_lists
    from actionrec.data.make_annotations import make_annotations
    from actionrec.errors import UserError

    try:
        if args.images:
            frames = frame_lists.in_image_folders(args.images)
        elif args.videos:
            frames = frame_lists.in_videos(args.videos)
        else:
            frames = frame_lists.fixed_number(args.frames_per_clip)
        made = make_annotations(
            args.metadata,
            args.out,
            frames,
            class_table=args.class_table,
            overwrite=args.overwrite,
        )
    except UserError as error:
        print(f"make_annotations: error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(made.lines(args.out)))
    return 3 if made.missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
