"""One part of the chain, small: `python victim.py PART ROOT`. `kills.py` ends it at any moment.

Each part imports what it needs: its worker processes import this module again.
"""

import json
import os
import sys
from pathlib import Path

from sacd.__main__ import main
from sacd.workers import raise_on_sigterm

SEEDS = (1, 2, 3)


def small_cohort() -> None:
    """Make the cohort of the smoke profile smaller yet."""
    from sacd.data.store import StoreConfig
    from sacd.experiments.profiles import PROFILES
    from sacd.simulate.settings import SimulateConfig

    PROFILES["smoke"] = PROFILES["smoke"].model_copy(
        update={
            "simulate": SimulateConfig(n_subjects=2, blocks=1, seed=5, height=24, width=32),
            "store": StoreConfig(height=16, width=16, frames=2),
        }
    )


def simulate(root: Path) -> int:
    small_cohort()
    return main(["simulate", "--profile", "smoke", "--root", str(root), "--workers", "2"])


def ingest(root: Path) -> int:
    from sacd.experiments.workspace import Workspace

    small_cohort()
    Workspace("smoke", root=root).prepare(2)
    return 0


def train(root: Path) -> int:
    import toy_tasks

    from sacd.runs import RunStore, execute

    first = toy_tasks.run(9, task="walk", epochs=10)
    runs = [toy_tasks.run(seed, task="walk", epochs=10) for seed in SEEDS]
    runs.append(toy_tasks.run(8, inputs=(("first", first),), task="walk"))
    report = execute(runs, RunStore(root / "runs"), workers=2, quiet=True)
    return int(bool(report.failed))


def notebooks(root: Path) -> int:
    """Two notebooks side by side, each of which writes a file."""
    from sacd.experiments import reproduce

    class Space:
        pass

    def command(_, name: str) -> list[str]:
        source, output = root / f"{name}.ipynb", root / "results" / "notebooks" / f"{name}.ipynb"
        words = [sys.executable, "-m", "sacd.runs.notebook", str(source), str(output)]
        options = {"expects": [str(root / "results" / f"{name}.txt")], "end_with": os.getpid()}
        return [*words, json.dumps(options)]

    Space.root = root
    reproduce._command = command
    return len(reproduce.execute_notebooks(Space, "ab", 2))


def report(root: Path) -> int:
    return main(["report", "--profile", "demo", "--root", str(root)])


if __name__ == "__main__":
    part, root = sys.argv[1], Path(sys.argv[2])
    raise_on_sigterm()
    try:
        sys.exit({f.__name__: f for f in (simulate, ingest, train, notebooks, report)}[part](root))
    except KeyboardInterrupt:
        sys.exit(130)
