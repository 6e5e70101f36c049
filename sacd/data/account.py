"""What ingest kept and dropped of a cohort, why, and of which stages.

A loss of clips of mostly one stage is a bias: the clips of that stage that are left are fewer, and
not a random sample.
"""

from typing import Any

import pandas as pd

from sacd.stages import STAGES

MOST_LOST = 0.05
"""Largest share of a night's or of a stage's scored clips that is dropped without being asked."""
_MOSTLY = 2.0
"""A stage that loses so many times the share of all clips is lost more than the others."""
ALL = "all nights"


def account(manifest: dict[str, Any]) -> pd.DataFrame:
    """One row per night, and one for all.

    Args:
        manifest: of a clip store.

    Returns:
        `night`; clips `scored` (with a stage), `kept`, `unscored`; one column for each reason why
        scored clips were dropped; and for each stage "kept of scored".
    """
    nights = {name: _counts(record) for name, record in manifest["nights"].items()}
    every = pd.concat(nights).groupby(level=1, sort=False).sum()
    rows = []
    for name, counts in [*nights.items(), (ALL, every)]:
        lost = counts.drop("kept")
        row = {"night": name, "scored": counts.to_numpy().sum(), "kept": counts.loc["kept"].sum()}
        row |= {f"lost: {why}": lost.loc[why].sum() for why in lost.index}
        for stage in STAGES:
            row[stage] = f"{counts.loc['kept', stage]} of {counts[stage].sum()}"
        rows.append(row)
    table = pd.DataFrame(rows)
    numbers = [column for column in table.columns if column not in ("night", *STAGES)]
    table[numbers] = table[numbers].fillna(0).astype(int)
    unscored = [record["dropped"]["unscored"] for record in manifest["nights"].values()]
    table.insert(3, "unscored", [*unscored, sum(unscored)])
    return table


def too_much(manifest: dict[str, Any]) -> list[str]:
    """One line for each night and stage that lost more than `MOST_LOST` of its scored clips."""
    nights = {name: _counts(record) for name, record in manifest["nights"].items()}
    lines = []
    for name, counts in nights.items():
        lost, scored = int(counts.drop("kept").to_numpy().sum()), int(counts.to_numpy().sum())
        if lost > MOST_LOST * scored:
            reasons = counts.drop("kept").sum(axis=1)
            why = ", ".join(f"{n} {reason}" for reason, n in reasons.items() if n)
            lines.append(f"{name} lost {lost} of {scored} scored clips ({why})")
    every = pd.concat(nights).groupby(level=1, sort=False).sum()
    scored, lost = every.sum(), every.drop("kept").sum()
    # Against the loss of all clips: what hits every stage alike is no bias.
    overall = lost.sum() / max(scored.sum(), 1)
    for stage in STAGES:
        share = lost[stage] / max(scored[stage], 1)
        if share > MOST_LOST:
            biased = share > _MOSTLY * overall
            more = f", {share / overall:.1f} times the share of all: this is bias" if biased else ""
            lines.append(f"{stage} lost {lost[stage]} of {scored[stage]} clips{more}")
    return lines


def _counts(record: dict[str, Any]) -> pd.DataFrame:
    """Clips of a night by stage (columns): kept, and dropped for each reason (rows)."""
    rows = {"kept": record["stages"]} | record["lost"]
    return pd.DataFrame(rows, index=list(STAGES)).T.fillna(0).astype(int)
