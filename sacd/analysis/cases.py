"""Which clips go wrong, and where in the night (Figs. 6 and 11 to 13, VI-D).

Predictions are tables with one row a clip: subject, clip (position in the night), block (run of
consecutive clips), stage, prediction, p_W .. p_REM. Several tables are training seeds over the same
clips.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sacd.analysis.bootstrap import (
    RESAMPLES,
    percentiles,
    ratios,
    resample_weights,
    seed_noise,
)
from sacd.metrics import subject_confusions
from sacd.stages import STAGES

FAR: Final = 5
"""Distances to a stage change are told apart up to this many clips; from here on they count as far."""
PRINTED_ERRORS: Final = {"W": "N1", "N1": "N2", "N2": "N1", "N3": "N2", "REM": "N1"}
"""Fig. 13: what the paper's model takes each stage for most often (of N2 it names N1 and N3 and shows N1)."""


def _numbers(tables: Sequence[pd.DataFrame]) -> NDArray[np.float64]:
    """Confusion matrices `(S, seeds, 5, 5)`."""
    return np.stack([subject_confusions(table)[1] for table in tables], 1).astype(float)


def confusion_shares(
    tables: Sequence[pd.DataFrame], other: Sequence[pd.DataFrame] | None = None, seed: int = 0
) -> pd.DataFrame:
    """Each cell of the confusion matrix in % of its true stage, or the difference to another method in points.

    Args:
        tables, other: one table a seed, of the same clips.
        seed: of the resampling of subjects.

    Returns:
        25 rows: stage, prediction (names), column (`N1 as N2`), and what `stats.ratios` gives; of a
        difference `stats.seed_noise` too.
    """
    counts = _numbers(tables)
    others = None if other is None else _numbers(other)
    numerator = (
        counts if others is None else counts.mean(1, keepdims=True) - others.mean(1, keepdims=True)
    )
    n, k = len(counts), len(STAGES)
    of_stage = np.repeat(counts[:, 0].sum(-1), k, axis=1)
    names = [(a, b) for a in STAGES for b in STAGES]
    cells = ratios(100 * numerator.reshape(n, -1, k * k), of_stage, seed=seed)
    cells = cells.assign(stage=[a for a, _ in names], prediction=[b for _, b in names])
    if others is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            noise = seed_noise(
                *(100 * x.sum(0) / x.sum((0, -1))[..., None] for x in (counts, others))
            )
        cells = cells.assign(n_seeds=min(len(tables), len(other)), seed_noise=noise.ravel())
    return cells.assign(column=cells["stage"] + " as " + cells["prediction"])


def main_errors(shares: pd.DataFrame) -> pd.DataFrame:
    """For each stage the wrong stage it is taken for most often: a row of `confusion_shares`, indexed by stage."""
    wrong = shares[(shares["stage"] != shares["prediction"]) & (shares["value"] > 0)]
    return (
        wrong.sort_values("value", ascending=False, kind="stable")
        .groupby("stage")
        .first()
        .reindex(STAGES)
    )


def distance_to_change(clips: pd.DataFrame, far: int = FAR) -> NDArray[np.float64]:
    """Clips from each clip to the nearest change of the true stage, `(n,)`: 1 is beside a change, `far` is far or more.

    Only consecutive clips of a block count. Where a block ends before the answer is known, it is
    NaN: the next clip was not recorded or not scored, and a change may hide there.

    >>> night = pd.DataFrame({"subject": "a", "block": 0, "clip": range(7), "stage": [0, 0, 2, 2, 2, 2, 2]})
    >>> distance_to_change(night, far=3).tolist()
    [nan, 1.0, 1.0, 2.0, 3.0, nan, nan]
    """
    distance = np.full(len(clips), np.nan)
    frame = clips.reset_index(drop=True)
    for _, block in frame.groupby(["subject", "block"], sort=False):
        block = block.sort_values("clip")
        stage, clip = block["stage"].to_numpy(), block["clip"].to_numpy()
        for run in np.split(np.arange(len(block)), np.flatnonzero(np.diff(clip) != 1) + 1):
            at = np.arange(len(run))
            changes = np.flatnonzero(np.diff(stage[run]) != 0)  # between clip c and c + 1
            near = np.full(len(run), np.inf)
            if len(changes):
                near = np.where(
                    at[:, None] <= changes, changes - at[:, None] + 1, at[:, None] - changes
                ).min(1)
            seen = np.minimum(at, len(run) - 1 - at)  # neighbours known on both sides
            known = near <= seen + 1
            values = np.where(known, np.minimum(near, far), np.where(seen >= far - 1, far, np.nan))
            distance[block.index[run]] = values
    return distance


def error_by_distance(
    methods: Mapping[str, Sequence[pd.DataFrame]], far: int = FAR, seed: int = 0
) -> pd.DataFrame:
    """Error rate in % by distance to a stage change, and the difference of the clips beside a change to those far off.

    Args:
        methods: name -> one table a seed.

    Returns:
        Rows for each method and distance 1 .. `far`: method, distance, clips, and what
        `stats.ratios` gives.
    """
    lines = []
    for name, tables in methods.items():
        distance = distance_to_change(tables[0], far)
        bins = (distance[:, None] == np.arange(1, far + 1)).astype(float)
        subject = tables[0]["subject"].to_numpy()
        clips = pd.DataFrame(bins).groupby(subject).sum().to_numpy()
        wrong = [(t["stage"] != t["prediction"]).to_numpy(float)[:, None] * bins for t in tables]
        errors = np.stack([pd.DataFrame(w).groupby(subject).sum().to_numpy() for w in wrong], 1)
        numbers = ratios(100 * errors, clips, seed=seed).drop(columns="p_value")
        lines.append(
            numbers.assign(
                method=name, distance=np.arange(1, far + 1), clips=clips.sum(0).astype(int)
            )
        )
    return pd.concat(lines, ignore_index=True)


def beside_minus_far(
    tables: Sequence[pd.DataFrame], far: int = FAR, seed: int = 0, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Error rate beside a stage change minus that far from one, in points, with intervals over subjects.

    Rows: `all clips`, each rate pooled over stages; `same stages`, the mean of the stages' own
    differences, weighted by their clips beside and far (stages without clips at either place are
    left out). Short stages lie beside changes and long ones far from them, so that a stager that is
    bad at the short ones has the first difference wherever its errors are; only the second tells of
    the place.

    Returns:
        value, ci_low, ci_high, sd (over seeds), n_seeds, n_subjects.
    """
    distance, subject = distance_to_change(tables[0], far), tables[0]["subject"].to_numpy()
    place = np.stack([distance == 1, distance == far], 1).astype(float)
    stage = np.eye(len(STAGES))[tables[0]["stage"].to_numpy()]
    cells = (place[:, :, None] * stage[:, None]).reshape(len(place), -1)  # (n, 2 places x 5 stages)
    wrong = [(t["stage"] != t["prediction"]).to_numpy(float)[:, None] for t in tables]
    sums = [
        pd.DataFrame(x).groupby(subject).sum().to_numpy()
        for x in (cells, *(w * cells for w in wrong))
    ]

    def gaps(clips: NDArray, errors: NDArray) -> NDArray:
        """`(..., seeds, 2)` of `(..., 10)` and `(..., seeds, 10)`."""
        n, bad = (
            clips.reshape(*clips.shape[:-1], 1, 2, -1),
            errors.reshape(*errors.shape[:-1], 2, -1),
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            rate, own = bad.sum(-1) / n.sum(-1), bad / n
            weight = np.where((n > 0).all(-2), n.sum(-2), 0)
            same = np.where(weight > 0, own[..., 0, :] - own[..., 1, :], 0)
            return 100 * np.stack(
                [rate[..., 0] - rate[..., 1], (weight * same).sum(-1) / weight.sum(-1)], -1
            )

    clips, errors = sums[0], np.stack(sums[1:], 1)
    n = len(clips)
    values = gaps(clips.sum(0), errors.sum(0))
    weights = resample_weights(n, resamples, seed)
    draws = gaps(weights @ clips, np.einsum("rs,skc->rkc", weights, errors)).mean(1)
    low, high = percentiles(draws) if n > 1 else np.full((2, 2), np.nan)
    return pd.DataFrame(
        {"value": values.mean(0), "ci_low": low, "ci_high": high}
        | {
            "sd": values.std(0, ddof=1) if len(tables) > 1 else np.nan,
            "n_seeds": len(tables),
            "n_subjects": n,
        },
        index=["all clips", "same stages"],
    )


def corrected(
    before: Sequence[pd.DataFrame], after: Sequence[pd.DataFrame], seed: int = 0
) -> pd.DataFrame:
    """Clips in % that one method gets wrong and another right, the reverse, and the difference, by true stage.

    Seeds are compared one to one, as many as both have. Rows: stage (or "all"), column (corrected,
    introduced, net), and what `stats.ratios` gives; p is that of the net difference, as is
    `stats.seed_noise` of the two accuracies.
    """
    pairs = list(zip(before, after, strict=False))
    right = [[(t["stage"] == t["prediction"]).to_numpy() for t in pair] for pair in pairs]
    stage, subject = before[0]["stage"].to_numpy(), before[0]["subject"].to_numpy()
    lines = []
    for name in ("all", *STAGES):
        here = np.ones(len(stage), bool) if name == "all" else stage == STAGES.index(name)
        if not here.any():
            continue
        clips = pd.Series(here.astype(float)).groupby(subject).sum().to_numpy()[:, None]
        for column, change in (
            ("corrected", [b & ~a for a, b in right]),
            ("introduced", [a & ~b for a, b in right]),
            ("net", [b.astype(float) - a for a, b in right]),
        ):
            sums = [
                pd.Series(c * here).astype(float).groupby(subject).sum().to_numpy() for c in change
            ]
            numbers = ratios(100 * np.stack(sums, 1)[:, :, None], clips, seed=seed)
            rates = (np.array([100 * pair[k][here].mean() for pair in right]) for k in (0, 1))
            lines.append(
                numbers.assign(stage=name, column=column, seed_noise=float(seed_noise(*rates)))
            )
    table = pd.concat(lines, ignore_index=True)
    table.loc[table["column"] != "net", ["p_value", "seed_noise"]] = np.nan
    return table


def examples(wrong: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Of each stage the clip that one method misses and the other is surest of, of those that it gets right (Fig. 11).

    Rows of `right`, with `before` (the wrong prediction); stages without such a clip have no row.
    """
    confidence = right[[f"p_{s}" for s in STAGES]].to_numpy()[np.arange(len(right)), right["stage"]]
    table = right.assign(before=wrong["prediction"].to_numpy(), confidence=confidence)
    table = table[(table["before"] != table["stage"]) & (table["prediction"] == table["stage"])]
    return (
        table.sort_values("confidence", ascending=False, kind="stable")
        .groupby("stage")
        .head(1)
        .sort_values("stage")
    )


def stage_transition(wrong: pd.DataFrame, also: pd.DataFrame) -> pd.DataFrame:
    """The clip before, the clip, and the clip after, of one at a stage change that both methods miss (Fig. 12 a).

    Of all that have both neighbours and a change on one side at least, the one that `also` is
    surest of, wrongly. Empty if there is none.
    """
    table = also.assign(before=wrong["prediction"].to_numpy()).reset_index(drop=True)
    beside = distance_to_change(table) == 1
    same = (table["subject"] == table["subject"].shift()) & (
        table["block"] == table["block"].shift()
    )
    follows = same & (table["clip"].diff() == 1)
    whole = follows & follows.shift(-1, fill_value=False)
    missed = (table["prediction"] != table["stage"]) & (table["before"] != table["stage"])
    found = table[beside & whole & missed]
    if found.empty:
        return found
    at = int(found[[f"p_{s}" for s in STAGES]].max(axis=1).idxmax())
    return table.iloc[at - 1 : at + 2]


def movement(video: ArrayLike) -> NDArray[np.float64]:
    """Mean absolute change of grey level between successive frames of each clip `(n, frames, H, W)`: `(n,)`, 0..255."""
    video = np.asarray(video)
    return np.array([np.abs(np.diff(clip.astype(np.int16), axis=0)).mean() for clip in video])
