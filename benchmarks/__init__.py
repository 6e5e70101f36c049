"""`make bench`: speed and memory of the package.

Most results are ratios of two measurements that run alternately, since ratios depend less on the
machine. Each part returns rows (`Row`); `run` keeps the last measurement of every part in
`results/bench/`.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.execution import grid, stages
from benchmarks.ingest import growth, ingest_speed, memory
from benchmarks.losses import losses
from benchmarks.measure import Row
from benchmarks.predict import speed
from benchmarks.scale import long_store
from benchmarks.training import distilling, loading
from sacd.files import write_json, write_text
from sacd.runs.provenance import git_state, machine

PARTS: Final[dict[str, Callable[[Path], list[Row]]]] = {
    "ingest": ingest_speed,
    "memory": memory,
    "loader": loading,
    "step": distilling,
    "losses": losses,
    "grid": grid,
    "stages": stages,
    "growth": growth,
    "predict": speed,
    "scale": long_store,
}


def run(
    output: Path, only: Sequence[str] | None = None, parts: Mapping[str, Callable] = PARTS
) -> dict[str, Any]:
    """Measure some parts (default: all), and write `bench.json` and `bench.md`.

    Earlier measurements of other parts are kept.

    Raises:
        ValueError: there is no such part.
    """
    names = list(only or parts)
    if unknown := [name for name in names if name not in parts]:
        raise ValueError(f"no part {', '.join(unknown)} of the bench; known: {', '.join(parts)}")
    path = output / "bench.json"
    record = json.loads(path.read_text()) if path.is_file() else {}
    for name in names:
        start, load = time.perf_counter(), round(os.getloadavg()[0], 1)
        with tempfile.TemporaryDirectory(prefix="sacd-bench-") as folder:
            rows = parts[name](Path(folder))
        took, facts = round(time.perf_counter() - start, 1), machine()
        about = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "took_s": took, **git_state()}
        about |= {key: facts.get(key) for key in ("cpu", "cores", "threads", "gpu", "system")}
        about["load"] = load
        measured = [
            row._asdict() | {"value": float(f"{row.value:.4g}"), "met": row.met} for row in rows
        ]
        record[name] = {"about": about, "rows": measured}
        record = {name: record[name] for name in PARTS if name in record} | record
        write_json(path, record)
        write_text(output / "bench.md", markdown(record))
    return record


def markdown(record: Mapping[str, Any]) -> str:
    """Table of all parts, with the date and the machine of each measurement."""
    lines = ["| part | measured | value | aim | met | how |", "|---|---|---|---|---|---|"]
    for name, part in record.items():
        for row in part["rows"]:
            met = {True: "yes", False: "**no**", None: ""}[row["met"]]
            value = f"{row['value']:.3g}" + ("" if row["unit"] == "ratio" else f" {row['unit']}")
            lines.append(
                f"| {name} | {row['measure']} | {value} | {row['aim']} | {met} | {row['detail']} |"
            )
    lines += [
        "",
        "Values with pairs are medians: both sides ran alternately in one process, and "
        "core-seconds were counted, so that other jobs have little influence. All other values "
        "were measured once; seconds are wall time on the machine named below.",
        "",
    ]
    for name, part in record.items():
        a = part["about"]
        commit = (a["commit"] or "no commit")[:7] + (" with changes" if a["dirty"] else "")
        lines.append(
            f"- {name}: {a['date']}, {a['cpu']}, {a['cores']} cores, load {a['load']} at the "
            f"start, {a['threads'] or 1} thread(s), {commit}, {a['took_s']:.0f} s"
        )
    return "\n".join(lines) + "\n"
