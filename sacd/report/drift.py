"""Compares a results folder with an earlier computation: the committed one, or another folder.

A number is equal to the digit (as on pinned x86-64 machines), within the noise of retraining, or
outside it. Retraining is noisy because other floating-point results, for example from another
processor, act on a training like another seed. The noise of a number is measured: it is the spread
of its row over seeds on the same test subjects, which includes the interaction of seed and subject,
and, for the rows of Table II, the spread of the student alone over seeds of the pretraining, which
all rows share. That of the teachers, trained once, is not measured.
Only the numbers of `PRIMARY`, fixed beforehand, and the verdicts of the claims are judged. Other
numbers outside the noise are listed but are no error, because among a thousand numbers some always
are. A change of settings, clips or labels is not noise; hashes detect it.
"""

import subprocess
from collections.abc import Callable, Mapping
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from sacd.analysis import tables
from sacd.files import read_json_text
from sacd.report import claims
from sacd.report.evidence import read_subjects
from sacd.results import FROM_PRETRAINING, MANIFEST, RUNS, SUBJECTS, is_tidy

ALONE: Final = "-/R(2+1)D-18"
_RIVALS: Final = (ALONE, "AttnSleep/CCL", "AttnSleep/KD")
_LEVELS: Final = (ALONE, "AttnSleep/CCL", "AttnSleep/SACD")
PRIMARY: Final = (
    *product(("table2",), _LEVELS, ("auc", "kappa", "macro_f1", "accuracy")),
    *(("table2", f"AttnSleep/SACD - {rival}", "auc") for rival in _RIVALS),
)
"""Numbers that are judged: of the student alone, the closest rival, and SACD; and differences.

What moves all rows alike cancels in a difference of matched seeds, so its noise is small. The
teacher is not among them: it is trained once, so the noise of its training is not measured.
"""
LEVEL: Final = 0.01
"""Family-wise error rate over the primary numbers if only rounding differs (Bonferroni)."""

EQUAL: Final = "equal to the digit"
WITHIN: Final = "within the noise of retraining"
OUTSIDE: Final = "outside the noise"
ABSENT: Final = "not here"
_KEY: Final = ["item", "row", "column"]


class Drift(NamedTuple):
    """What differs between two computations."""

    numbers: pd.DataFrame
    """item, row, column, before, now, noise (half width; NaN if unknown), verdict, primary."""
    claims: pd.DataFrame
    """item, claim, before, now: claims whose verdict changed."""
    problems: list[str]
    notes: list[str]


Reader = Callable[[str], str | None]
"""Returns the text of a file by its name in a results folder, or None."""


def committed(results: Path) -> Reader:
    """Reader of a results folder as committed at HEAD."""

    def read(name: str) -> str | None:
        command = ["git", "-C", str(results), "show", f"HEAD:./{name}"]
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            return None  # an unpacked archive of the repository has no history
        return found.stdout

    return read


def folder(results: Path) -> Reader:
    """Reader of a results folder as it is on disk."""

    def read(name: str) -> str | None:
        path = results / name
        return path.read_text(encoding="utf-8") if path.is_file() else None

    return read


def drift(results: Path, before: Reader) -> Drift:
    """Compare a results folder with an earlier computation.

    `Drift.problems` are differences that the noise of retraining does not explain.
    """
    now = folder(results)
    manifests = read_json_text(before(MANIFEST)), read_json_text(now(MANIFEST))
    problems, pairs = [], {}
    for name in manifests[0].get("files", {}):
        if not is_tidy(name):
            continue
        earlier, current = before(name), now(name)
        if not current:
            problems.append(f"{name}: missing here, but among the results compared with")
        elif earlier:
            pairs[name] = earlier, current
    numbers = _numbers(pairs)
    wrong, notes = _asked_for(manifests, before(RUNS), now(RUNS))
    problems += wrong
    outside = numbers["primary"] & numbers["verdict"].isin([OUTSIDE, ABSENT])
    for line in numbers[outside].itertuples():
        problems.append(
            f"{line.item}, {line.row}, {line.column}: {line.now:.4g}, before {line.before:.4g}, "
            f"noise of retraining {line.noise:.2g}"
        )
    changed = _claims(before, now, pairs)
    for line in changed.itertuples():
        if {line.before, line.now} == {claims.HOLDS, claims.FAILS} or line.now == claims.MISSING:
            problems.append(f"{line.item}: {line.claim!r}: {line.now}, before: {line.before}")
    return Drift(numbers, changed, problems, notes)


def _numbers(pairs: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Every number of the earlier tables beside the current one."""
    columns = [*_KEY, "before", "now", "noise", "verdict", "primary"]
    parts, shared = [], _of_pretraining(pairs)
    for name, texts in pairs.items():
        old, new = (tables.read(StringIO(text)) for text in texts)
        # Only rows of the earlier table: what is new here cannot have drifted.
        both = old.merge(new, on=_KEY, how="left", suffixes=("", "_now"), indicator=True)
        both = both[both["value"].notna()]
        there = both["_merge"] == "both"
        noise = _noise(both, shared if name == "tables/table2.csv" else shared[:0])
        # A gap of NaN (no number here) compares as False and ends up outside.
        gap = (both["value_now"] - both["value"]).abs()
        verdict = np.select([~there, gap == 0, gap <= noise], [ABSENT, EQUAL, WITHIN], OUTSIDE)
        part = both.rename(columns={"value": "before"}).assign(
            now=both["value_now"], noise=noise, verdict=verdict
        )
        parts.append(part.reindex(columns=columns))
    found = pd.concat(parts) if parts else pd.DataFrame(columns=columns)
    keys = zip(found["item"], found["row"], found["column"], strict=True)
    return found.assign(
        primary=pd.Series([key in PRIMARY for key in keys], found.index, bool)
    ).reset_index(drop=True)


def _of_pretraining(pairs: Mapping[str, tuple[str, str]]) -> pd.Series:
    """Variance of the student alone over seeds of its pretraining, by column; empty if unknown."""
    texts = pairs.get("tables/readings.csv")
    if texts is None:
        return pd.Series(dtype=float)
    table = tables.read(StringIO(texts[0]))
    rows = table[table["row"].str.startswith(FROM_PRETRAINING)]
    return rows.groupby("column")["value"].var()


def _noise(both: pd.DataFrame, shared: pd.Series) -> pd.Series:
    """Half width within which two trainings of the same row lie.

    By the spread over seeds, and by a variance that all rows share (`shared`, by column; 0 for
    columns that it lacks). The spread of a row over a few seeds is a poor estimate, so the pooled
    spread of the column replaces it where that is larger.
    """
    # Variances are pooled, weighted by their degrees of freedom.
    known = both[(both["n_seeds"] >= 2) & both["sd"].notna()]
    freedom = known["n_seeds"] - 1
    squares = (known["sd"] ** 2 * freedom).groupby(known["column"]).sum()
    pooled = squares / freedom.groupby(known["column"]).sum()
    spread = both["column"].map(np.sqrt(pooled.astype(float)))
    spread = np.fmax(spread, both["sd"].where(both["n_seeds"] >= 2))
    seeds, seeds_now = both["n_seeds"].clip(lower=1), both["n_seeds_now"].clip(lower=1)
    variance = spread**2 * (1 / seeds + 1 / seeds_now)
    # Each computation has one pretraining, which more seeds of the student do not average out.
    variance += both["column"].map(2 * shared).astype(float).fillna(0)
    # The difference of two means over seeds; two-sided, Bonferroni over the primary numbers.
    reach = stats.norm.ppf(1 - LEVEL / (2 * len(PRIMARY)))
    return (reach * np.sqrt(variance)).astype(float)


def _asked_for(
    manifests: tuple[dict, dict], before: str | None, now: str | None
) -> tuple[list[str], list[str]]:
    """Compare settings, code and data of the runs by their hashes.

    Returns:
        Problems, if it is another experiment, and notes on smaller changes.
    """
    problems, notes = [], []
    clips = [manifest.get("clips") for manifest in manifests]
    if all(clips) and clips[0] != clips[1]:
        problems.append("the clips or their stages differ: the data are not the same")
    if not before or not now:
        return problems, notes
    old, new = (
        pd.read_csv(StringIO(text), dtype=str, keep_default_na=False) for text in (before, now)
    )
    if "settings" not in old:  # an earlier version wrote it
        return problems, notes
    both = old.merge(new, on=["item", "row", "seed"], suffixes=("", "_now"))
    other = both[both["settings"] != both["settings_now"]]
    if len(other):
        first = other.iloc[0]
        problems.append(
            f"{len(other)} of {len(both)} runs have other settings, for example "
            f"{first['item']}, {first['row']}, seed {first['seed']}: {first['label']}"
        )
    if "content" in old and "content" in new:
        known = both[(both["content"] != "") & (both["content_now"] != "")]
        known = known.drop_duplicates("run_now")  # one run may stand in several rows
        equal = (known["content"] == known["content_now"]).sum()
        notes.append(f"{len(known)} runs compared: {equal} with the same bytes")
    lacking = len(old) - len(both)
    if lacking:
        notes.append(f"{lacking} of the {len(old)} runs compared with were not computed here")
    for what in ("code", "data"):
        number = (both[what] != both[f"{what}_now"]).sum()
        if number:
            notes.append(
                f"{number} of {len(both)} runs were computed with other {what} (by its hash)"
            )
    return problems, notes


def _claims(before: Reader, now: Reader, pairs: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Claims whose verdict changed; the current rules judge both computations."""
    judged = []
    for side, reader in enumerate((before, now)):
        found = {Path(name).stem: tables.read(StringIO(pair[side])) for name, pair in pairs.items()}
        subjects = reader(SUBJECTS)
        if subjects is None:
            return pd.DataFrame(columns=["item", "claim", "before", "now"])
        judged.append(claims.judge(read_subjects(StringIO(subjects)), found))
    both = judged[0][["item", "claim", "verdict"]].rename(columns={"verdict": "before"})
    both = both.assign(now=judged[1]["verdict"])
    return both[both["before"] != both["now"]].reset_index(drop=True)


def summary(found: Drift) -> list[str]:
    """What was compared, in a few lines."""
    if found.numbers.empty:
        return ["nothing to compare with: this folder has no committed results"]
    verdicts = found.numbers["verdict"]
    primary = _counted(verdicts[found.numbers["primary"]])
    return [
        f"{len(verdicts)} numbers compared: {_counted(verdicts)}",
        f"primary numbers (only these are judged): {primary or 'none here'}",
        f"claims whose verdict changed: {len(found.claims)}",
        *found.notes,
    ]


def _counted(verdicts: pd.Series) -> str:
    """How many numbers have which verdict, such as "9 equal to the digit"."""
    counts = verdicts.value_counts()
    kinds = [kind for kind in (EQUAL, WITHIN, OUTSIDE, ABSENT) if kind in counts]
    return ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
