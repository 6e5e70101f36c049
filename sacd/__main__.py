"""Command line: `python -m sacd COMMAND`; `make` calls it."""

import argparse
import fcntl
import logging
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from sacd import cpu
from sacd.files import write_text
from sacd.predict import cli as predict_cli
from sacd.workers import Terminated, raise_on_sigterm


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
    """Refuse (ValueError) arguments that contradict each other, and folders that are not there."""
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


def _flag(help: str) -> dict[str, Any]:
    return {"action": "store_true", "help": help}


def _folder(help: str) -> dict[str, Any]:
    return {"type": _path, "help": help}


OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "--profile": {"default": "demo", "choices": ("smoke", "demo", "paper")},
    "--data": _folder("a cohort that exists"),
    "--nights": _folder("folder of the UCDDB tables; drives the simulated cohort"),
    "--workers": {"type": _number(0), "help": "parallel runs; default: one per core"},
    "--cluster": {"type": _address, "help": "tcp://host:port of a Dask scheduler"},
    "--seeds": {"type": _number(1), "help": "seeds per row, instead of the profile's"},
    "--root": _folder("folder of data, runs and results; default: the checkout"),
    "--ucf101": _folder("folder of UCF101's videos, for Table III"),
    "--channel": {"help": "EEG channel of the cohort; default: the profile's"},
    "--eeg-rate": {"type": int, "help": "Hz"},
    "--frames": {"type": int, "help": "frames kept of a clip"},
    "--sampling": {"choices": ("spread", "consecutive"), "help": "which frames"},
    "--windows": {"type": int, "help": "windows of consecutive frames in a clip"},
    "--sleepedf": _folder("folder of Sleep-EDF, for the EEG stagers"),
    "--accept-loss": _flag("go on although a night or a stage lost more than 5 %% of its clips"),
    "--only": {"action": "append", "help": "an item or a notebook's name; may be repeated"},
    "--against": _folder("results folder to compare with; default: what is committed"),
    "--readme": _flag("fill in the generated parts of README.md as well"),
    # Of import-lab.
    "folder": {"type": Path, "help": "EDF recordings, scorings, videos; only read"},
    "--table": {"type": Path, "required": True, "help": "CSV, one row per night: subject"},
    "--out": {"type": Path, "required": True, "help": "folder of the cohort, a new one"},
    "--name": {"default": "", "help": "of the cohort; every output states it"},
    "--timezone": {"default": "", "help": "of the lab, as Europe/Paris"},
    "--copy": _flag("copy videos instead of linking them"),
    "--eeg-only": _flag("keep nights without a video"),
    "--dry-run": _flag("say what would be done, write nothing"),
    # Of runs, which has a parser of its own.
    "rest": {"nargs": argparse.REMAINDER},
}
_SETTINGS: Final = ("--channel", "--eeg-rate", "--frames", "--sampling", "--windows")
"""What a cohort may set; see `sacd.data.settings`."""
_SPACE: Final = (
    *("--profile", "--data", "--nights", "--workers", "--cluster", "--seeds", "--root", "--ucf101"),
    *_SETTINGS,
)
"""Of every command on a profile's data and results."""
_LAB: Final = (
    *("folder", "--table", "--out", "--name", "--timezone", "--copy", "--eeg-only", "--dry-run"),
    *_SETTINGS,
)


class Command(NamedTuple):
    """A command of the command line."""

    help: str
    kept: str
    """What Ctrl-C and SIGTERM leave of its work."""
    options: tuple[str, ...]


_WHOLE = "a cohort is written whole or not at all, so nothing of it is kept"
COMMANDS: Final = {
    "simulate": Command("write the profile's simulated cohort", _WHOLE, _SPACE),
    "check": Command("report the problems of a cohort", "nothing was changed", _SPACE),
    "reproduce": Command(
        "compute what is missing, execute the notebooks, write the report, verify",
        "finished cohorts, ingested nights, runs and notebooks are kept, and of an unfinished run "
        "its last epoch",
        (*_SPACE, "--sleepedf", "--accept-loss", "--only"),
    ),
    "verify": Command(
        "check the manifest of the results, compare every number with the paper",
        "nothing was changed but verify.md and CLAIMS.md",
        (*_SPACE, "--against"),
    ),
    "report": Command(
        "build the site from what lies in the results",
        "what lies in the results is kept",
        (*_SPACE, "--readme"),
    ),
    "import-lab": Command("make a cohort of a sleep laboratory's folder", _WHOLE, _LAB),
    "runs": Command(
        "list, show or prune runs", "runs that are not yet removed are kept", ("rest",)
    ),
}
_KEPT: Final = {
    **{name: command.kept for name, command in COMMANDS.items()},
    "predict": "stages of finished parts are kept",
    "export": "a file is written whole or not at all",
}


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sacd", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.help, allow_abbrev=False)
        for option in command.options:
            sub.add_argument(option, **OPTIONS[option])
    predict_cli.add_commands(commands)
    return parser


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    names = [option.removeprefix("--").replace("-", "_") for option in _SETTINGS]
    given = {name: getattr(args, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def _import_lab(args: argparse.Namespace) -> int:
    from sacd.data.lab import import_lab  # --help and a refusal need none of it
    from sacd.experiments.intake import show

    about = (_settings(args), args.name, args.timezone)
    how = (args.copy, args.eeg_only, args.dry_run)
    report = import_lab(args.folder, args.table, args.out, *about, *how)
    kept = int((report["result"] == "imported").sum())
    files = report[["eeg", "stages", "video"]].agg("\n".join, axis=1).str.strip()
    shown = report[["subject", "result", "clips", "ahi", "video_offset_s", "notes"]].assign(
        notes=report["notes"].str.replace("; ", "\n")
    )
    shown.insert(2, "EEG, stages, video", files)
    show(shown, f"{args.folder}: {kept} of {len(report)} nights")
    if args.dry_run:
        print("nothing was written (--dry-run)")
    else:
        print(f"{args.out} is written; next: make check DATA={args.out}")
    return int(not kept)


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
        print(
            f"\nstopped: {_KEPT[args.command]}; to continue: {shlex.join(words)}", file=sys.stderr
        )
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
        return predict_cli.run(args, _demo_nights)
    from sacd.experiments import intake, reproduce  # --help and a refusal need none of it
    from sacd.experiments.workspace import Workspace

    names = ("profile", "data", "nights", "root", "seeds", "ucf101", "sleepedf")
    given = {name: getattr(args, name, None) for name in names}
    space = Workspace(**given, settings=_settings(args))
    if args.command == "check":
        return intake.show_problems(space)
    if args.command == "simulate":
        print(space.simulate(args.workers or 1))
        return 0
    if args.command == "reproduce":
        how = (args.only, args.workers, args.cluster, args.accept_loss)
        return reproduce.reproduce(space, *how, lambda results: _conclude(results, site=True))
    with reproduce.locked(space.results, fcntl.LOCK_EX):
        if not space.simulated:  # a fresh clone has results of simulated data, and not the data
            reproduce.withdraw_frames(space)
        if args.command == "verify":
            return _conclude(space.results, site=False, against=args.against)
        return _conclude(space.results, site=True, readme=args.readme)


def _demo_nights() -> list[Path]:
    """Folders of the demo's heads of a night on students of the paper's method, one per seed."""
    from sacd.experiments.night import ladder  # --help and a refusal need none of it
    from sacd.experiments.workspace import Workspace

    space = Workspace()
    return [space.runs.folder(run) for run in ladder(space, ["SACD"])["SACD"]]


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
