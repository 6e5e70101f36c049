"""Command line: `python -m sacd COMMAND`; `make` calls it."""

import argparse
import fcntl
import logging
import os
import re
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from sacd import cpu
from sacd.files import remove_leftovers, write_text
from sacd.predict import cli as predict_cli
from sacd.workers import Terminated, raise_on_sigterm

KEPT = {
    "simulate": "a cohort is written whole or not at all, so nothing of it is kept",
    "check": "nothing was changed",
    "reproduce": "finished cohorts, ingested nights, runs and notebooks are kept, and of an "
    "unfinished run its last epoch",
    "verify": "nothing was changed but verify.md and CLAIMS.md",
    "report": "what lies in the results is kept",
    "runs": "runs that are not yet removed are kept",
    "predict": "stages of finished parts are kept",
    "export": "a file is written whole or not at all",
    "import-lab": "a cohort is written whole or not at all, so nothing of it is kept",
}
"""What Ctrl-C and SIGTERM leave of each command's work."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def _number(least: int) -> Callable[[str], int]:
    """Reads a whole number of at least `least`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to 9999")
        return int(text)

    return read


def _address(text: str) -> str:
    """Reads the address of a scheduler."""
    if not re.fullmatch(r"(tcp|tls)://[^\s/]+:[0-9]{1,5}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not tcp://host:port or tls://host:port")
    return text


def _path(text: str) -> Path:
    """Reads a path that can be followed and written down."""
    path = Path(text)
    try:
        text.encode()
        path.resolve()
    except (UnicodeEncodeError, RuntimeError, OSError, ValueError) as error:
        reason = "is not UTF-8" if isinstance(error, UnicodeEncodeError) else f"({error})"
        raise argparse.ArgumentTypeError(f"{text!r} {reason}; give another path") from None
    return path


def _check(args: argparse.Namespace) -> None:
    """Refuse arguments that contradict each other, and folders that are not there.

    Raises:
        ValueError: one line for the user.
    """
    given = {name: getattr(args, name, None) for name in ("data", "nights", "ucf101", "sleepedf")}
    if given["data"] and args.command == "simulate":
        raise ValueError(
            f"DATA={given['data']}: simulate reads no cohort and writes into none; leave DATA out, "
            "or `make check DATA=` looks at a cohort"
        )
    if given["data"] and given["nights"]:
        raise ValueError(
            "NIGHTS drives the simulated cohort, and DATA takes its place; leave one of them out"
        )
    if args.command in ("verify", "report"):  # they read the results alone
        return
    for name, path in given.items():
        if path and not path.is_dir():
            fix = "say DATA=/path/to/cohort, or make simulate first" if name == "data" else ""
            raise ValueError(f"{path}: no such folder; {fix or f'correct {name.upper()}='}")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sacd", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("simulate", "write the profile's simulated cohort"),
        ("check", "report the problems of a cohort"),
        ("reproduce", "compute what is missing, execute the notebooks, write the report, verify"),
        ("verify", "check the manifest of the results, compare every number with the paper"),
        ("report", "build the site from what lies in the results"),
    ):
        sub = commands.add_parser(name, help=text, allow_abbrev=False)
        sub.add_argument("--profile", default="demo", choices=("smoke", "demo", "paper"))
        sub.add_argument("--data", type=_path, help="a cohort that exists")
        sub.add_argument(
            "--nights", type=_path, help="folder of the UCDDB tables; drives the simulated cohort"
        )
        sub.add_argument("--workers", type=_number(0), help="parallel runs; default: one per core")
        sub.add_argument("--cluster", type=_address, help="tcp://host:port of a Dask scheduler")
        sub.add_argument("--seeds", type=_number(1), help="seeds a row, instead of the profile's")
        sub.add_argument(
            "--root", type=_path, help="folder of data, runs and results; default: the checkout"
        )
        sub.add_argument("--ucf101", type=_path, help="folder of UCF101's videos, for Table III")
        _add_settings(sub)
        if name == "reproduce":
            sub.add_argument(
                "--sleepedf", type=_path, help="folder of Sleep-EDF, for the EEG stagers"
            )
            sub.add_argument(
                "--accept-loss",
                action="store_true",
                help="go on although a night or a stage lost more than 5 % of its clips",
            )
            sub.add_argument(
                "--only", action="append", help="an item or a notebook's name; may be repeated"
            )
        if name == "verify":
            sub.add_argument(
                "--against",
                type=_path,
                help="results folder to compare with; default: what is committed",
            )
        if name == "report":
            sub.add_argument(
                "--readme",
                action="store_true",
                help="fill in the generated parts of README.md as well",
            )
    lab = commands.add_parser("import-lab", help="make a cohort of a sleep laboratory's folder")
    lab.add_argument("folder", type=Path, help="EDF recordings, scorings, videos; only read")
    lab.add_argument("--table", type=Path, required=True, help="CSV, one row per night: subject")
    lab.add_argument("--out", type=Path, required=True, help="folder of the cohort, a new one")
    lab.add_argument("--name", default="", help="of the cohort; every output states it")
    lab.add_argument("--timezone", default="", help="of the lab, as Europe/Paris")
    lab.add_argument("--copy", action="store_true", help="copy videos instead of linking them")
    lab.add_argument("--eeg-only", action="store_true", help="keep nights without a video")
    lab.add_argument("--dry-run", action="store_true", help="say what would be done, write nothing")
    _add_settings(lab)
    predict_cli.add_commands(commands)
    runs = commands.add_parser("runs", help="list, show or prune runs")
    runs.add_argument("rest", nargs=argparse.REMAINDER)
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """What a cohort may set; see `sacd.data.settings`."""
    parser.add_argument("--channel", help="EEG channel of the cohort; default: the profile's")
    parser.add_argument("--eeg-rate", type=int, help="Hz")
    parser.add_argument("--frames", type=int, help="frames kept of a clip")
    parser.add_argument("--sampling", choices=("spread", "consecutive"), help="which frames")
    parser.add_argument("--windows", type=int, help="windows of consecutive frames in a clip")


def _settings(args: argparse.Namespace) -> dict:
    names = ("channel", "eeg_rate", "frames", "sampling", "windows")
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def _import_lab(args: argparse.Namespace) -> int:
    from sacd.data.lab import import_lab  # --help and a refusal need none of it

    report = import_lab(
        args.folder,
        args.table,
        args.out,
        _settings(args),
        args.name,
        args.timezone,
        args.copy,
        args.eeg_only,
        args.dry_run,
    )
    kept = int((report["result"] == "imported").sum())
    files = report[["eeg", "stages", "video"]].agg("\n".join, axis=1).str.strip()
    shown = report[["subject", "result", "clips", "ahi", "video_offset_s", "notes"]].assign(
        notes=report["notes"].str.replace("; ", "\n")
    )
    shown.insert(2, "EEG, stages, video", files)
    _print(shown, f"{args.folder}: {kept} of {len(report)} nights")
    if args.dry_run:
        print("nothing was written (--dry-run)")
    else:
        print(f"{args.out} is written; next: make check DATA={args.out}")
    return int(not kept)


def _print(frame, title: str) -> None:
    table = Table(title=title, title_justify="left")
    for column in frame.columns:
        table.add_column(str(column), overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*map(str, row))
    Console(markup=False).print(table)  # a path may hold brackets


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code. An expected error is one line, without a traceback."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("sacd").setLevel(logging.INFO)
    # Dask sets up its own logging when it is imported.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
    if args.command in ("simulate", "reproduce") and (text := cpu.warning()):
        print(text, file=sys.stderr)
    try:
        _check(args)
        return _run(args)
    except KeyboardInterrupt as stop:
        words = [sys.executable, "-m", "sacd", *(sys.argv[1:] if argv is None else argv)]
        print(f"\nstopped: {KEPT[args.command]}; to continue: {shlex.join(words)}", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    if args.command == "runs":
        from sacd.experiments.reproduce import wanted  # --help and a refusal need none of it
        from sacd.experiments.workspace import CHECKOUT
        from sacd.runs import cli

        return cli(args.rest, CHECKOUT / "runs", wanted)
    if args.command == "import-lab":
        return _import_lab(args)
    if args.command in predict_cli.COMMANDS:
        return predict_cli.run(args, _demo_students)
    from sacd.experiments.workspace import Workspace  # --help and a refusal need none of it

    sleepedf = getattr(args, "sleepedf", None)
    space = Workspace(
        args.profile,
        args.data,
        args.nights,
        args.root,
        args.seeds,
        args.ucf101,
        sleepedf,
        _settings(args),
    )
    if args.command == "check":
        from sacd.data.check import FEWEST_SUBJECTS, check  # --help and a refusal need none of it

        if not space.cohort.is_dir():
            raise ValueError(
                f"{space.cohort}: no such folder; say DATA=/path/to/cohort, or make simulate first"
            )
        wanted = space.profile.store
        problems = check(
            space.cohort,
            wanted.channel,
            wanted.eeg_rate,
            wanted.frames,
            wanted.sampling,
            subjects=FEWEST_SUBJECTS,
            windows=wanted.parts,
        )
        _print(problems.attrs["nights"], f"{space.cohort}: nights")
        _print(problems, f"{space.cohort}: {len(problems)} problem(s)")
        return int((problems["level"] == "error").any())
    if args.command == "simulate":
        print(space.simulate(args.workers or 1))
        return 0
    if args.command == "reproduce":
        return _reproduce(space, args)
    with _locked(space.results, fcntl.LOCK_EX):
        if not space.simulated:  # a fresh clone has results of simulated data, and not the data
            _withdraw(space)
        against, readme = getattr(args, "against", None), getattr(args, "readme", False)
        return _conclude(
            space.results, site=args.command == "report", readme=readme, against=against
        )


def _withdraw(space) -> None:
    """Remove pictures of sleepers that may not be shown, and say which."""
    from sacd.experiments.reproduce import withdraw_frames  # --help and a refusal need none of it

    if removed := withdraw_frames(space):
        print(f"{space.results}: removed, for frames of real sleepers are not shown: {removed}")


def _demo_students() -> list[Path]:
    """Folders of the demo's students of the paper's method, one a seed."""
    from sacd.experiments.workspace import Workspace  # --help and a refusal need none of it

    space = Workspace()
    seeds = range(space.seeds)
    return [space.runs.folder(space.student(method="sacd", seed=seed)) for seed in seeds]


@contextmanager
def _locked(results: Path, how: int) -> Iterator[None]:
    """Lock a results folder: shared to execute notebooks, exclusive to hash what they wrote."""
    results.mkdir(parents=True, exist_ok=True)
    with open(results / ".lock", "a") as file:
        fcntl.flock(file, how)
        if how == fcntl.LOCK_EX:
            remove_leftovers(results)
        yield


def _refuse_read_only(results: Path) -> None:
    """Notice before hours of training that their results could not be written."""
    from sacd.runs.store import explain_os_error  # --help and a refusal need none of it

    results.mkdir(parents=True, exist_ok=True)
    for folder in (results, *results.glob("*/")):
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ValueError(
                explain_os_error(OSError(error.errno, error.strerror, str(folder)), folder)
            ) from None


def _reproduce(space, args: argparse.Namespace) -> int:
    from sacd.experiments.intake import account_for, check_cohort  # as below
    from sacd.experiments.items import NOTEBOOKS  # --help and a refusal need none of it
    from sacd.experiments.record import write_manifest
    from sacd.experiments.reproduce import execute_notebooks
    from sacd.experiments.workspace import Workspace
    from sacd.paper.contents import CONTENTS, notebook_of

    every = [item.notebook for item in CONTENTS if not item.beyond]
    # Two items may share a notebook; it is executed once.
    names = list(dict.fromkeys(map(notebook_of, args.only or every)))
    _refuse_read_only(space.results)
    marks = [("start", time.perf_counter())]
    sources = [source for name in names for source in NOTEBOOKS[name].data(space)]
    for source in {source.store_path: source for source in sources}.values():
        # Of a cohort that somebody recorded: what is wrong with it, and what was lost of it.
        recorded = isinstance(source, Workspace) and not source.simulated
        if recorded and source.original is source:
            problems = check_cohort(source)
            if len(problems):
                _print(problems, f"{source.cohort}: {len(problems)} problem(s)")
        source.prepare(args.workers)
        if recorded:
            kept = account_for(source, args.accept_loss)
            _print(kept, f"{source.cohort}: clips kept and lost")
    marks.append(("simulate and ingest", time.perf_counter()))
    runs = [run for name in names for run in NOTEBOOKS[name].runs(space)]
    report = space.execute(runs, workers=args.workers, cluster=args.cluster)
    print(report)
    marks.append(("train", time.perf_counter()))
    lost = {failure.run.id for failure in report.failed}
    blocked = [name for name in names if lost & {run.id for run in NOTEBOOKS[name].runs(space)}]
    with _locked(space.results, fcntl.LOCK_SH):
        _withdraw(space)
        failed = execute_notebooks(
            space, [name for name in names if name not in blocked], args.workers
        )
    marks.append(("notebooks", time.perf_counter()))
    with _locked(space.results, fcntl.LOCK_EX):  # of `make -j`: else half of another one's tables
        write_manifest(space)
        wrong = _conclude(space.results, site=True)
    marks.append(("report and verify", time.perf_counter()))
    spent = ", ".join(f"{name} {b - a:.0f} s" for (_, a), (name, b) in pairwise(marks))
    data = ", ".join(dict.fromkeys(source.data_name for source in sources)) or "no data"
    print(f"{data}: {spent}; results in {space.results}")
    if failed:
        print(
            f"failed notebooks: {', '.join(failed)}; what went wrong is told above", file=sys.stderr
        )
    if report.failed:
        print(
            f"{report}\nnot executed for want of these: {', '.join(blocked) or 'none'}",
            file=sys.stderr,
        )
    return int(bool(report.failed or failed or wrong))


def _conclude(results: Path, site: bool, readme: bool = False, against: Path | None = None) -> int:
    """Verify, and build the report if asked; returns 1 if a file or number is wrong."""
    from sacd.report import page as report  # --help and a refusal need none of it
    from sacd.report import verify
    from sacd.report.readme import write_readme
    from sacd.report.summary import claims_markdown

    if against and not (against / "MANIFEST.json").is_file():
        raise ValueError(
            f"{against}: not a results folder, it has no MANIFEST.json; "
            "name one that `make reproduce` wrote"
        )
    found = verify.verify(results, against)
    verify.write(found)
    if len(found.claims):
        write_text(results / "CLAIMS.md", claims_markdown(found))
    verify.show(found)
    if site:
        print(f"report: {report.build(found)}")
    if readme:
        write_readme(found)
    return int(bool(found.problems))


if __name__ == "__main__":
    raise_on_sigterm()
    sys.exit(main())
