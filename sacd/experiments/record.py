"""Records what made a results folder: `runs.csv`, `tables/subjects.csv`, `MANIFEST.json`.

These are equal whenever the results are. What differs when the same is computed again, such as
dates, durations and the machine, stands in `record.csv` alone; a line there stays as long as its
run or executed notebook is the same.
"""

import hashlib
from collections.abc import Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from sacd.experiments.items import DATA, ITEMS, NOTEBOOKS
from sacd.experiments.manifest import manifest_files
from sacd.experiments.workspace import Workspace
from sacd.files import read_json, sha256, write_json, write_text
from sacd.metrics import ERRORS, right_or_wrong
from sacd.results import MANIFEST, RECORD, RUNS, SUBJECTS, read_manifest
from sacd.runs import Run
from sacd.runs.notebook import record_of
from sacd.runs.notebook_inputs import read_notebook
from sacd.runs.provenance import machine
from sacd.stages import STAGES

_SHARED: Final = "shared"
_FACTS: Final = [
    *("item", "row", "method", "seed", "run", "label", "settings", "code", "data", "content"),
]
_RECORD: Final = [
    *("kind", "name", "id", "commit", "dirty", "started", "duration_s"),
    *("peak_cpu_mb", "peak_gpu_mb", "cores", "threads", "cpu", "lock", "pinned", "pin_honoured"),
]


def write_manifest(w: Workspace) -> Path:
    """Write those of the four files that are out of date, each atomically.

    Equal results leave `MANIFEST.json` untouched.

    Lines of runs that are asked for but were not computed here stay as they are: they came with the
    repository.
    """
    known = read_manifest(w.results)
    asked = list(shown_runs(w))
    shown = [line for line in asked if (w.runs.folder(line[2]) / "provenance.json").is_file()]
    subjects, runs = w.results / SUBJECTS, w.results / RUNS
    trusted = all(
        path.is_file() and known.get("files", {}).get(name, {}).get("sha256") == sha256(path)
        for name, path in ((SUBJECTS, subjects), (RUNS, runs))
    )
    computed = pd.DataFrame([_facts(w, *line) for line in shown], columns=_FACTS)
    lines = _as_text(computed.convert_dtypes())
    if trusted:
        before = _read(runs)
        kept = _kept(w, before, lines, asked)
        lines = _in_order(pd.concat([lines, kept]), before)
    # Runs of the same content have the same predictions, whose matrices are not counted again.
    if not trusted or runs.read_text(encoding="utf-8") != _csv(lines):
        matrices = sparse(_by_subject(w, shown))
        if trusted:
            earlier = _read(subjects)
            matrices = pd.concat([matrices, earlier[_keys(earlier).isin(_keys(kept))]])
            matrices = _in_order(matrices, lines)
        write_text(subjects, _csv(matrices))
        write_text(runs, _csv(lines))
    notebooks = {name: _notebook(w, name) for name in NOTEBOOKS if _executed(w, name).is_file()}
    content = {
        "profile": w.profile.name,
        "data": w.data_name if w.prepared else known.get("data", "none"),
        "simulated": _simulated(w, known.get("simulated")),
        "clips": _clips(w) if w.prepared else known.get("clips", ""),
        "notebooks": notebooks,
        "files": manifest_files(w.results, known.get("files", {}), NOTEBOOKS),
    }
    # The machine alone is no reason to write: a manifest that came along stays as it is.
    if {key: known.get(key) for key in content} != content:
        write_json(w.results / MANIFEST, content | {"machine": machine()})
    _write_record(w, lines)
    return w.results / MANIFEST


def _simulated(w: Workspace, known: list[str] | None) -> list[str] | None:
    """Names of the simulated data, with those that the manifest knows; None if nothing is known."""
    sources = ((w, w.frames_may_be_shown), (w.ucf51, w.ucf51.simulated))
    names = [source.data_name for source, simulated in sources if simulated and source.prepared]
    if known is None and not w.prepared:
        return None
    return sorted({*(known or ()), *names})


def _clips(w: Workspace) -> str:
    """Hash of the clips and their stages. It does not depend on pixels, so machines agree on it."""
    staged = w.store.clips[["subject", "onset_s", "stage"]].to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(staged.encode()).hexdigest()


def _write_record(w: Workspace, runs: pd.DataFrame) -> None:
    """Bring `record.csv` up to date: a line for each of `runs` and for each executed notebook."""
    path = w.results / RECORD
    before = _read(path) if path.is_file() else pd.DataFrame()
    before = before.reindex(columns=_RECORD, fill_value="")  # an older file has fewer columns
    known = {line["id"]: line for line in before.to_dict("records")}
    lines = {}
    for run in runs.itertuples():
        facts = read_json(w.runs.folder(run.run) / "provenance.json")
        made = _record("run", run.label or run.row, run.run, facts) if facts else None
        lines[run.run] = known.get(run.run) or made
    for copy in map(partial(_executed, w), NOTEBOOKS):
        if not copy.is_file():
            continue
        facts, digest = read_json(record_of(copy)), sha256(copy)
        made_here = facts.get("content") == digest
        made = _record("notebook", copy.stem, digest, facts) if made_here else None
        lines[digest] = known.get(digest) or made
    kept = [line for line in lines.values() if line]
    text = _csv(pd.DataFrame(kept, columns=_RECORD))
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _record(kind: str, name: str, key: str, facts: dict[str, Any]) -> dict[str, str]:
    """One line of `record.csv`, as text."""
    place, memory = facts.get("machine", {}), facts.get("peak_memory_mb", {})
    git = facts.get("git", facts)  # of a notebook they stand at the top
    pin = place.get("instructions", {})
    line = {
        "kind": kind,
        "name": name,
        "id": key,
        **{field: git.get(field) for field in ("commit", "dirty")},
        **{field: facts.get(field) for field in ("started", "duration_s")},
        **{f"peak_{device}_mb": memory.get(device) for device in ("cpu", "gpu")},
        **{field: place.get(field) for field in ("cores", "threads", "cpu")},
        "lock": (place.get("lock") or "")[:12],
        "pinned": " ".join(f"{name}={value}" for name, value in pin.get("pinned", {}).items()),
        "pin_honoured": pin.get("honoured"),
    }
    return {field: "" if value is None else str(value) for field, value in line.items()}


def shown_runs(w: Workspace) -> Iterator[tuple[str, str, Run]]:
    """Item, row and run of all that is shown, then the inputs of these runs.

    Within an item each run occurs once.
    """
    seen: dict[str, Run] = {}
    notebooks = {name: notebook for name, notebook in NOTEBOOKS.items() if notebook.prepared(w)}
    items = [notebook for notebook in notebooks.values() if notebook.item]
    for notebook in items:
        for row, runs in notebook.rows(w).items():
            for run in runs:
                seen[run.id] = run
                yield notebook.item, row, run
    for name, notebook in notebooks.items():
        for run in notebook.runs(w):
            if run.id not in seen:
                seen[run.id] = run
                yield name, run.label, run
    waiting = list(seen.values())
    while waiting:
        for _, run in waiting.pop().inputs:
            if run.id not in seen:
                seen[run.id] = run
                waiting.append(run)
                yield _SHARED, run.label, run


def _read(path: Path | StringIO) -> pd.DataFrame:
    """A CSV whose cells stay text, so that lines which are kept stay as they are."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False, lineterminator="\n")


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    return _read(StringIO(_csv(table)))


def sparse(matrices: pd.DataFrame) -> pd.DataFrame:
    """Confusion matrices as text, without the zeros, which are two thirds of the cells."""
    text = _as_text(matrices)
    text[list(ERRORS)] = text[list(ERRORS)].replace("0", "")
    return text


def _keys(table: pd.DataFrame) -> pd.Series:
    """Item, row and seed of each line, as text."""
    return table["item"] + "\n" + table["row"] + "\n" + table["seed"]


def _in_order(lines: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Lines of an item in one piece, as in `before`; items and lines that are new there come last.

    So the order does not depend on which of the lines were computed here.
    """
    places = {key: place for place, key in enumerate(dict.fromkeys(_keys(before)))}
    items = {item: place for place, item in enumerate(dict.fromkeys(before["item"]))}
    item = lines["item"].map(items).fillna(len(items))
    place = _keys(lines).map(places).fillna(len(places))
    order = np.lexsort((place, item))  # stable
    return lines.iloc[order]


def _kept(
    w: Workspace, before: pd.DataFrame, lines: pd.DataFrame, asked: list[tuple[str, str, Run]]
) -> pd.DataFrame:
    """Lines of an earlier `runs.csv` that are still asked for and that `lines` do not replace."""
    wanted = set()
    for item, row, run in asked:
        seed = getattr(run.config, "seed", None)
        wanted.add(f"{item}\n{row}\n{'' if seed is None else seed}")
    known = {item for item, _, _ in asked}
    # Lines of an item that was renamed or removed since then are dropped.
    items = {notebook.item or name for name, notebook in NOTEBOOKS.items()}
    before = before[before["item"].isin(items | {_SHARED})]
    if not all(notebook.prepared(w) for notebook in NOTEBOOKS.values()):
        known -= {_SHARED}  # other notebooks share other runs
    keys = _keys(before)
    kept = before[~keys.isin(_keys(lines)) & (keys.isin(wanted) | ~before["item"].isin(known))]
    return kept.reindex(columns=_FACTS, fill_value="")  # an older file has fewer columns


def _facts(w: Workspace, item: str, row: str, run: Run) -> dict[str, Any]:
    """One line of `runs.csv`."""
    method = getattr(run.config, "method", None)
    return {
        "item": item,
        "row": row,
        "method": method.name if method else run.task.partition(":")[2],
        "seed": getattr(run.config, "seed", None),
        "run": run.id,
        "label": run.label,
        "settings": run.settings,
        "code": run.identity["code"],
        "data": run.data[:12],
        "content": w.runs.content(run),
    }


def _by_subject(w: Workspace, shown: list[tuple[str, str, Run]]) -> pd.DataFrame:
    """Confusion matrices of the test subjects: one line for each row, seed and subject.

    Table III has groups of videos in place of subjects; its first cell counts correct predictions,
    its second cell wrong ones.
    """
    tables = []
    for item, row, run in shown:
        path = w.runs.folder(run) / "predictions.parquet"
        if item not in ITEMS or not ITEMS[item].claimed or not path.is_file():
            continue
        clips = w.predictions(run)
        if "label" in clips:  # the 51 actions of Table III
            clips = right_or_wrong(clips)
        cell = pd.Categorical(
            np.asarray(ERRORS)[clips["stage"] * len(STAGES) + clips["prediction"]],
            categories=ERRORS,
        )
        counts = pd.crosstab(clips["subject"], cell, dropna=False)
        counts = counts.reindex(columns=ERRORS, fill_value=0)
        seed = getattr(run.config, "seed", 0)
        tables.append(counts.reset_index().assign(item=item, row=row, seed=seed))
    columns = ["item", "row", "seed", "subject", *ERRORS]
    return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)


def _executed(w: Workspace, name: str) -> Path:
    return w.results / "notebooks" / f"{name}.ipynb"


def _notebook(w: Workspace, name: str) -> dict[str, Any]:
    """The runs that an execution showed."""
    record = read_notebook(_executed(w, name))["metadata"].get("sacd", {})
    depends = record.get("depends", {})
    other = NOTEBOOKS[name].reads
    # `depends` also holds the data and the files of other notebooks.
    runs = {
        value.partition(" ")[0]  # the id; its content follows
        for label, value in depends.items()
        if label not in other and not label.startswith(DATA)
    }
    return {"runs": sorted(runs)}
