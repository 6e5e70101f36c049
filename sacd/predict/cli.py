"""Commands `predict` and `export`."""

import argparse
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

COMMANDS: Final = ("predict", "export")


def add_commands(commands: Any) -> None:
    """Add both commands to the subparsers of the command line."""
    predict = commands.add_parser("predict", help="stage a night from its video alone")
    predict.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="parts in order")
    predict.add_argument("--out", type=Path, required=True, help="folder of the results")
    predict.add_argument("--model", help="id of a run, or a model file; default: shipped")
    predict.add_argument("--eeg", type=Path, help="EDF of the same night, staged by YASA beside it")
    predict.add_argument("--channel", default="C3", help="channel of the EEG (default C3)")
    predict.add_argument(
        "--start",
        type=float,
        help="first frame in s after the EEG's start; default: StartOffset of VIDEO.json, or 0",
    )
    predict.add_argument(
        "--anonymise", action="store_true", help="write tables only, without names of files"
    )
    export = commands.add_parser("export", help="write a trained student as one file")
    export.add_argument(
        "run",
        help="id of a student's run; or of a run of a night's heads on one, which adds the context "
        "of the night; a model file; or `best` of the demo's",
    )
    export.add_argument(
        "--onnx",
        type=Path,
        help="the student with its preprocessing, for onnxruntime; without the night's context",
    )
    export.add_argument("--model", type=Path, help="for `sacd predict --model`")


def run(args: argparse.Namespace, demo: Callable[[], Sequence[Path]]) -> int:
    """Run a command; returns the exit code.

    Args:
        demo: gives the folders of the demo's heads on students of the paper's method.
    """
    return _predict(args) if args.command == "predict" else _export(args, demo)


def _predict(args: argparse.Namespace) -> int:
    # --help needs none of it, and torch takes seconds to import
    from sacd.data.cohort import stated_offset
    from sacd.files import FileError
    from sacd.predict.model import find
    from sacd.predict.night import predict

    for path in [*args.videos, *([args.eeg] if args.eeg else [])]:
        if not path.is_file():
            raise FileError(path, "is not a file", "give the path of a video or an EDF file")
    start = (stated_offset(args.videos[0]) or 0.0) if args.start is None else args.start
    if not math.isfinite(start):
        raise ValueError(f"--start {start} is not a number of seconds; correct it")
    stager = find(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    cache = args.out / ".partial"
    night = predict(args.videos, stager, cache, start)
    summary = _write(args, night, stager)
    shutil.rmtree(cache)  # only now: an error in writing must not cost the decoding
    print(summary["lead"])
    for text in summary["warnings"]:
        print(f"warning: {text}")
    print(args.out / ("hypnogram.csv" if args.anonymise else "index.html"))
    return 0


def _write(args: argparse.Namespace, night, stager) -> dict[str, Any]:
    """Write every file of a night; returns what summary.json says."""
    # --help needs none of it
    from sacd.figures.base import label_data, save
    from sacd.figures.predicted import predicted_night
    from sacd.files import write_json
    from sacd.predict.eeg import staged
    from sacd.predict.model import about_text
    from sacd.predict.page import write_page
    from sacd.predict.summary import summarise
    from sacd.predict.write import tables

    other = staged(args.eeg, args.channel, night.clips["clip"]) if args.eeg else None
    tables(args.out, night, stager.about, other)
    summary = summarise(night, stager.about, other)
    files = {} if args.anonymise else {"videos": [path.name for path in args.videos]}
    model = stager.about.model_dump(mode="json")
    write_json(args.out / "summary.json", summary | files | {"model": model})
    if not args.anonymise:
        title = f"A night from video: {args.videos[0].name}"
        figure = label_data(predicted_night(night.clips, other), args.videos[0].name)
        png, pdf = save(figure, args.out, "night")
        pdf.unlink()  # the page shows the PNG
        write_page(args.out / "index.html", png, summary, title, about_text(stager.about))
    return summary


def _export(args: argparse.Namespace, demo: Callable[[], Sequence[Path]]) -> int:
    # --help needs none of it
    from sacd.predict.card import write_card
    from sacd.predict.model import SHIPPED, best, find, from_run, save
    from sacd.runs.provenance import REPOSITORY

    if not (args.onnx or args.model):
        raise ValueError("nothing to write; say --onnx FILE or --model FILE")
    stager = from_run(best(demo())) if args.run == "best" else find(args.run)
    if args.model:
        save(stager, args.model)
        if args.model.resolve() == SHIPPED:
            write_card(REPOSITORY / "docs" / "model_card.md", stager.about)
        print(f"{args.model}: {args.model.stat().st_size / 1e6:.2f} MB")
    if args.onnx:
        from sacd.predict.export import write_onnx  # needs onnx

        write_onnx(stager, args.onnx)
        print(f"{args.onnx}: {args.onnx.stat().st_size / 1e6:.2f} MB")
    return 0
