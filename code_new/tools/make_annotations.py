"""Make train.csv, val.csv and the class table: from the official workbook, or from own videos."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Python puts the folder that this link leads to on the path; meant is the tree that it stands in.
TREE = Path(__file__).absolute().parents[1]
OVERLAY = Path(__file__).resolve().parent
sys.path[:] = [str(TREE), *(p for p in sys.path if Path(p).resolve() != OVERLAY)]

from actionrec import front_door  # noqa: E402 needs the path

# What goes with --events alone: how to cut, and what to take.
OF_CUT = ("window_sec", "stride_sec", "min_overlap", "background", "short_side_px")
OF_CHOICE = ("format", "subjects", "classes", "boxes", "val_fraction", "val_videos")
OF_EVENTS = OF_CUT + OF_CHOICE


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make_annotations.py",
        description="Write train.csv, val.csv and df_action.xlsx. With --metadata, from the "
        "official workbook (val.csv is the test split). With --events, from what was observed in "
        "your own videos, which are cut into clips. What has no pixels is left out and listed; "
        "then the exit status is 3.",
        epilog="Examples: python tools/make_annotations.py --metadata AR_metadata.xlsx "
        "--out data/ak_made --videos data/ak/video; "
        "python tools/make_annotations.py --events observations.tsv --videos videos --out data/lab",
        argument_default=argparse.SUPPRESS,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--metadata", type=Path, help="AR_metadata.xlsx")
    source.add_argument(
        "--events", type=Path, nargs="+", metavar="FILE", help="exports of BORIS or ELAN, tables"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--overwrite", action="store_true", help="replace files of these names")
    frames = parser.add_mutually_exclusive_group()
    frames.add_argument(
        "--videos", type=Path, metavar="DIR", help="holds <clip id>.mp4; with --events: the videos"
    )
    official = parser.add_argument_group("with --metadata")
    frames.add_argument("--images", type=Path, metavar="DIR", help="holds <clip id>/<frame>.jpg")
    frames.add_argument(
        "--frames-per-clip", type=int, metavar="N", help="every clip has N frames: for trying out"
    )
    official.add_argument(
        "--class-table", type=Path, metavar="FILE", help="df_action.xlsx: names the classes instead"
    )
    own = parser.add_argument_group("with --events")
    own.add_argument("--format", metavar="NAME", help="of the files; else told from their content")
    own.add_argument(
        "--subjects", nargs="+", metavar="NAME", help="only events of these subjects or ELAN tiers"
    )
    own.add_argument("--window-sec", type=float, metavar="S", help="length of a clip (3)")
    own.add_argument("--stride-sec", type=float, metavar="S", help="from clip to clip (1.5)")
    own.add_argument(
        "--min-overlap",
        type=float,
        metavar="F",
        help="a clip carries a behaviour that fills this part of the clip, or of which this part "
        "lies in it (0.5)",
    )
    own.add_argument(
        "--background", metavar="NAME", help="class of clips without any behaviour (drop: none)"
    )
    own.add_argument(
        "--short-side-px", type=int, metavar="PX", help="scale clips down to this; 0: do not (360)"
    )
    own.add_argument("--boxes", type=Path, metavar="FILE", help="video,frame,x,y,w,h,track: crop")
    own.add_argument("--classes", type=Path, metavar="FILE", help="the classes, one a line")
    split = own.add_mutually_exclusive_group()
    split.add_argument(
        "--val-fraction", type=float, metavar="F", help="part of the clips for validation (0.2)"
    )
    split.add_argument(
        "--val-videos", type=Path, metavar="FILE", help="the videos for validation, one a line"
    )
    args = parser.parse_args(argv)
    check(parser, vars(args))
    return args


def check(parser: argparse.ArgumentParser, given: dict) -> None:
    """End with one line for options that do not go together, or numbers out of range."""
    from_events = "events" in given
    other, foreign = ("--metadata", ("class_table",)) if from_events else ("--events", OF_EVENTS)
    for name in foreign:
        if name in given:
            parser.error(f"--{name.replace('_', '-')} goes with {other} only")
    if from_events and "videos" not in given:
        parser.error("--events needs --videos DIR, the folder of the videos")
    if not given.keys() & {"videos", "images", "frames_per_clip"}:
        parser.error("one of the arguments --images --videos --frames-per-clip is required")
    for option, lowest, highest in (
        ("frames_per_clip", 1, 999_999),
        ("window_sec", 0.1, 600),
        ("stride_sec", 0.05, 600),
        ("min_overlap", 0.01, 1),
        ("val_fraction", 0.01, 0.99),
        ("short_side_px", 0, 4096),
    ):
        if option in given and not lowest <= given[option] <= highest:
            name = option.replace("_", "-")
            parser.error(f"--{name} {given[option]}: must be {lowest} to {highest}")


def from_metadata(args: argparse.Namespace) -> int:
    from actionrec.data import frame_lists
    from actionrec.data.make_annotations import make_annotations

    if "images" in args:
        frames = frame_lists.in_image_folders(args.images)
    elif "videos" in args:
        frames = frame_lists.in_videos(args.videos)
    else:
        frames = frame_lists.fixed_number(args.frames_per_clip)
    made = make_annotations(
        args.metadata,
        args.out,
        frames,
        class_table=vars(args).get("class_table"),
        overwrite="overwrite" in args,
    )
    print("\n".join(made.lines(args.out)))
    return 3 if made.missing else 0


def from_events(args: argparse.Namespace) -> int:
    from actionrec.data.own.events import is_frame_table
    from actionrec.data.own.own_data import CutSettings, OwnDataSettings, make_own_data
    from actionrec.data.own.train_command import checked_lines, summary

    if all(is_frame_table(path) for path in args.events):
        print("\n".join(checked_lines(args.events)))
        return 0
    given = vars(args)
    if given.get("background") == "drop":
        del given["background"]
    cut = CutSettings(**{name: given[name] for name in OF_CUT if name in given})
    choice = {name: given[name] for name in OF_CHOICE if name in given}
    settings = OwnDataSettings(**choice, overwrite="overwrite" in args)
    data = make_own_data(args.events, args.videos, args.out, cut, settings)
    print("\n".join(summary(data, args.out, TREE)))
    return 0 if data.is_complete else 3


def main(argv: list[str]) -> int:
    args = parse(argv)
    make = from_events if "events" in args else from_metadata
    return front_door.answer("make_annotations", lambda: make(args), "the same command goes on")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
