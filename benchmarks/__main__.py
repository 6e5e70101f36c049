"""Command line: `python -m benchmarks [--only PART] [--output FOLDER]`; `make bench` calls it."""

import argparse
import sys
from pathlib import Path

import benchmarks
from sacd.runs.provenance import REPOSITORY


def main(argv: list[str] | None = None) -> int:
    """Measure the parts and print their table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", help="a part's name; may be repeated")
    where = "folder of bench.json and bench.md; default: results/bench"
    parser.add_argument("--output", type=Path, help=where)
    args = parser.parse_args(argv)
    try:
        record = benchmarks.run(args.output or REPOSITORY / "results" / "bench", args.only)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(benchmarks.markdown(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
