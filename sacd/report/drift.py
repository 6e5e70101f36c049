"""Compares a results folder with another computation of the same: with what is committed, or with a folder.

Three things are told apart. Equal to the digit: what pinned x86-64 machines give. Within the noise
of retraining: other bits, as of another processor, act on a training as another seed does. Outside.
The noise of a number is measured: the spread of its row over seeds on the same test subjects, which
holds the seed's own effect and that of seed and subject together. Only the numbers of `PRIMARY`,
fixed beforehand, and the verdicts of the claims are judged; what else left the noise is listed and
is no error, for among a thousand numbers some always do. A change of what was asked for (other
settings, other clips, other labels) is no noise: it is told by hashes.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping
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

PRIMARY: Final = tuple(
    product(
        ("table2",),
        ("-/R(2+1)D-18", "AttnSleep/CCL", "AttnSleep/SACD", "teacher/AttnSleep"),
        ("kappa", "macro_f1", "accuracy"),
    )
)
"""Item, row and column of the numbers that are judged: the student alone, its rival, the method, the teacher."""
LEVEL: Final = 0.01
"""Chance that at least one primary number is called outside when nothing but rounding differs (Bonferroni)."""

EQUAL: Final = "equal to the digit"
WITHIN: Final = "within the noise of retraining"
OUTSIDE: Final = "outside the noise"
ABSENT: Final = "not here"
TABLES: Final = "tables/"
SUBJECTS: Final = "tables/subjects.csv"
_KEY: Final = ["item", "row", "column"]


class Drift(NamedTuple):
    """What differs between two computations."""

    numbers: pd.DataFrame
    """item, row, column, before, now, noise (half width; NaN where no spread over seeds is known), verdict, primary."""
    claims: pd.DataFrame
    """item, claim, before, now: claims whose verdict is another one."""
    problems: list[str]
    notes: list[str]


Reader = Callable[[str], str | None]
"""Text of a file of a results folder by its name there, or None."""


def committed(results: Path) -> Reader:
    """Reads the files of a results folder as they are committed at HEAD."""
    return lambda name: _git(results, "show", f"HEAD:./{name}")


def folder(results: Path) -> Reader:
    """Reads the files of a results folder as they are."""

    def read(name: str) -> str | None:
        path = results / name
        return path.read_text(encoding="utf-8") if path.is_file() else None

    return read


def _git(folder: Path, *words: str) -> str | None:
    """What git prints; None where there is no repository, or nothing committed of this name."""
    command = ["git", "-C", str(folder), *words]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def drift(results: Path, before: Reader) -> Drift:
    """Compare a results folder with an earlier computation; `problems` are what no noise explains."""
    now = folder(results)
    manifests = read_json_text(before("MANIFEST.json")), read_json_text(now("MANIFEST.json"))
    names = [
        name
        for name in manifests[0].get("files", {})
        if name.startswith(TABLES) and name.endswith(".csv")
    ]
    read = {name: (before(name), now(name)) for name in names if name != SUBJECTS}
    problems = [
        f"{name}: is among the results compared with, but not here"
        for name, (_, b) in read.items()
        if not b
    ]
    pairs = {name: pair for name, pair in read.items() if all(pair)}
    numbers = _numbers(pairs)
    notes = list(_asked_for(manifests, before("runs.csv"), now("runs.csv"), problems))
    for line in numbers[
        numbers["primary"] & numbers["verdict"].isin([OUTSIDE, ABSENT])
    ].itertuples():
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
    """Every number of the earlier tables beside the present one."""
    columns = [*_KEY, "before", "now", "noise", "verdict", "primary"]
    parts = []
    for texts in pairs.values():
        old, new = (tables.read(StringIO(text)) for text in texts)
        if not {*_KEY, "value"} <= set(old.columns):
            continue  # pairs, tests: what follows from the numbers
        both = old.merge(new, on=_KEY, how="left", suffixes=("", "_now"), indicator=True)
        both = both[both["value"].notna()]
        there = both["_merge"] == "both"
        noise = _noise(both)
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


def _noise(both: pd.DataFrame) -> pd.Series:
    """Half width within which two trainings of the same row lie, by the spread over seeds.

    A row's own spread of a few seeds is a poor estimate: the column's pooled one is taken where it
    is larger.
    """
    known = both[(both["n_seeds"] >= 2) & both["sd"].notna()]
    freedom = known["n_seeds"] - 1
    pooled = (known["sd"] ** 2 * freedom).groupby(known["column"]).sum() / freedom.groupby(
        known["column"]
    ).sum()
    spread = both["column"].map(np.sqrt(pooled.astype(float)))
    spread = np.fmax(spread, both["sd"].where(both["n_seeds"] >= 2))
    seeds, seeds_now = both["n_seeds"].clip(lower=1), both["n_seeds_now"].clip(lower=1)
    reach = stats.norm.ppf(1 - LEVEL / (2 * len(PRIMARY)))
    return (reach * spread * np.sqrt(1 / seeds + 1 / seeds_now)).astype(float)


def _asked_for(
    manifests: tuple[dict, dict], before: str | None, now: str | None, problems: list[str]
) -> Iterator[str]:
    """Compare what was asked for; adds to `problems` what is another experiment, yields what is worth telling."""
    clips = [manifest.get("clips") for manifest in manifests]
    if all(clips) and clips[0] != clips[1]:
        problems.append("other clips, or other stages of the same clips: these are other data")
    if not before or not now:
        return
    keys = ["item", "row", "seed"]
    old, new = (
        pd.read_csv(StringIO(text), dtype=str, keep_default_na=False) for text in (before, now)
    )
    if "settings" not in old:
        return  # committed by an earlier version
    both = old.merge(new, on=keys, suffixes=("", "_now"))
    other = both[both["settings"] != both["settings_now"]]
    if len(other):
        first = other.iloc[0]
        problems.append(
            f"{len(other)} of {len(both)} runs have other settings, such as {first['item']}, {first['row']}, "
            f"seed {first['seed']}: {first['label']}"
        )
    if lacking := len(old) - len(both):
        yield f"{lacking} of the {len(old)} runs compared with were not computed here"
    for what in ("code", "data"):
        if number := int((both[what] != both[f"{what}_now"]).sum()):
            yield f"{number} of {len(both)} runs were computed with other {what} (by its hash)"


def _claims(before: Reader, now: Reader, pairs: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """Claims whose verdict changed, both judged by today's rules."""
    judged = []
    for side, reader in enumerate((before, now)):
        found = {Path(name).stem: tables.read(StringIO(pair[side])) for name, pair in pairs.items()}
        subjects = reader(SUBJECTS)
        if subjects is None:
            return pd.DataFrame(columns=["item", "claim", "before", "now"])
        judged.append(claims.judge(pd.read_csv(StringIO(subjects)), found))
    both = judged[0][["item", "claim", "verdict"]].rename(columns={"verdict": "before"})
    both = both.assign(now=judged[1]["verdict"])
    return both[both["before"] != both["now"]].reset_index(drop=True)


def summary(found: Drift) -> list[str]:
    """What was compared, in a few lines."""
    if found.numbers.empty:
        return ["nothing to compare with: no committed results of this folder"]
    counts = found.numbers["verdict"].value_counts()
    primary = found.numbers.loc[found.numbers["primary"], "verdict"].value_counts()
    kinds = (EQUAL, WITHIN, OUTSIDE, ABSENT)
    lines = [
        f"{len(found.numbers)} numbers compared: "
        + ", ".join(f"{counts[k]} {k}" for k in kinds if k in counts)
    ]
    told = ", ".join(f"{primary[k]} {k}" for k in kinds if k in primary)
    lines.append(f"primary numbers, which alone are judged: {told or 'none here'}")
    lines.append(f"verdicts of claims that changed: {len(found.claims)}")
    return lines + found.notes
