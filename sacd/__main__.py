"""Command line: `python -m sacd COMMAND`; `make` calls it."""

import argparse
import fcntl
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sacd import cpu
from sacd.files import write_text
from sacd.predict import cli as predict_cli


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sacd", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("simulate", "write the profile's simulated cohort"),
        ("check", "report the problems of a cohort"),
        ("reproduce", "compute what is missing, execute the notebooks, write the report, verify"),
        ("verify", "check the manifest of the results, compare every number with the paper"),
        ("report", "build the site from what lies in the results"),
    ):
        sub = commands.add_parser(name, help=text)
        sub.add_argument("--profile", default="demo", choices=("smoke", "demo", "paper"))
        sub.add_argument("--data", type=Path, help="a cohort that exists")
        sub.add_argument(
            "--nights", type=Path, help="folder of the UCDDB tables; drives the simulated cohort"
        )
        sub.add_argument("--workers", type=int, help="parallel runs; default: one per core")
        sub.add_argument("--cluster", help="tcp://host:port of a Dask scheduler")
        sub.add_argument("--seeds", type=int, help="seeds a row, instead of the profile's")
        sub.add_argument(
            "--root", type=Path, help="folder of data, runs and results; default: the checkout"
        )
        sub.add_argument("--ucf101", type=Path, help="folder of UCF101's videos, for Table III")
        if name == "reproduce":
            sub.add_argument(
                "--sleepedf", type=Path, help="folder of Sleep-EDF, for the EEG stagers"
            )
            sub.add_argument(
                "--only", action="append", help="an item or a notebook's name; may be repeated"
            )
        if name == "verify":
            sub.add_argument(
                "--against",
                type=Path,
                help="results folder to compare with; default: what is committed",
            )
        if name == "report":
            sub.add_argument(
                "--readme",
                action="store_true",
                help="fill in the generated parts of README.md as well",
            )
    predict_cli.add_commands(commands)
    runs = commands.add_parser("runs", help="list, show or prune runs")
    runs.add_argument("rest", nargs=argparse.REMAINDER)
    return parser


def _print(frame, title: str) -> None:
    table = Table(title=title, title_justify="left")
    for column in frame.columns:
        table.add_column(str(column), overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*map(str, row))
    Console().print(table)


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
        return _run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(args: argparse.Namespace) -> int:
    if args.command == "runs":
        from sacd.experiments.reproduce import wanted  # --help and a refusal need none of it
        from sacd.experiments.workspace import CHECKOUT
        from sacd.runs import cli

        return cli(args.rest, CHECKOUT / "runs", wanted)
    if args.command in predict_cli.COMMANDS:
        return predict_cli.run(args, _demo_students)
    from sacd.experiments.workspace import Workspace  # --help and a refusal need none of it

    sleepedf = getattr(args, "sleepedf", None)
    space = Workspace(
        args.profile, args.data, args.nights, args.root, args.seeds, args.ucf101, sleepedf
    )
    if args.command == "check":
        from sacd.data.check import check  # --help and a refusal need none of it

        if not space.cohort.is_dir():
            raise ValueError(
                f"{space.cohort}: no such folder; say DATA=/path/to/cohort, or make simulate first"
            )
        problems = check(space.cohort, space.profile.store.channel, space.profile.store.eeg_rate)
        _print(problems, f"{space.cohort}: {len(problems)} problem(s)")
        return int((problems["level"] == "error").any())
    if args.command == "simulate":
        print(space.simulate(args.workers or 1))
        return 0
    if args.command == "reproduce":
        return _reproduce(space, args)
    with _locked(space.results, fcntl.LOCK_EX):
        against, readme = getattr(args, "against", None), getattr(args, "readme", False)
        return _conclude(
            space.results, site=args.command == "report", readme=readme, against=against
        )


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
        yield


def _reproduce(space, args: argparse.Namespace) -> int:
    from sacd.experiments.items import NOTEBOOKS  # --help and a refusal need none of it
    from sacd.experiments.record import write_manifest
    from sacd.experiments.reproduce import execute_notebooks
    from sacd.paper.contents import CONTENTS, notebook_of

    every = [item.notebook for item in CONTENTS if not item.beyond]
    # Two items may share a notebook; it is executed once.
    names = list(dict.fromkeys(map(notebook_of, args.only or every)))
    marks = [("start", time.perf_counter())]
    sources = [source for name in names for source in NOTEBOOKS[name].data(space)]
    for source in {source.store_path: source for source in sources}.values():
        source.prepare(args.workers)
    marks.append(("simulate and ingest", time.perf_counter()))
    runs = [run for name in names for run in NOTEBOOKS[name].runs(space)]
    report = space.execute(runs, workers=args.workers, cluster=args.cluster)
    print(report)
    marks.append(("train", time.perf_counter()))
    lost = {failure.run.id for failure in report.failed}
    blocked = [name for name in names if lost & {run.id for run in NOTEBOOKS[name].runs(space)}]
    with _locked(space.results, fcntl.LOCK_SH):
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
    sys.exit(main())
