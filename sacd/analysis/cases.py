"""Which clips are misclassified, and where in the night (Figs. 6 and 11 to 13, VI-D).

Predictions are tables with one row per clip: subject, clip (position in the night), block (run of
consecutive clips), stage, prediction, p_W .. p_REM. Several tables are training seeds over the same
clips.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sacd.analysis.auc import PROBABILITIES
from sacd.analysis.crossed import ratios, table
from sacd.analysis.stats import confusions, sums
from sacd.stages import STAGES

FAR: Final = 5
"""Distance to a stage change, in clips, from which a clip counts as far from it."""
PRINTED_ERRORS: Final = {"W": "N1", "N1": "N2", "N2": "N1", "N3": "N2", "REM": "N1"}
"""Fig. 13: the most frequent wrong stage of the paper's model. For N2 the text names N1 and N3."""


def _wrong(table: pd.DataFrame) -> NDArray[np.float64]:
    """1 where a clip is misclassified, else 0, as a column `(n, 1)`."""
    return (table["stage"] != table["prediction"]).to_numpy(float)[:, None]


def confusion_shares(
    tables: Sequence[pd.DataFrame], other: Sequence[pd.DataFrame] | None = None
) -> pd.DataFrame:
    """Cells of the confusion matrix in % of the true stage.

    Args:
        tables: one per training seed, of the same clips.
        other: those of another method; the cells are then differences in percentage points, in the
            seeds that both have.

    Returns:
        25 rows: stage, prediction (names), column (`N1 as N2`), and the columns of
        `crossed.ratios`.
    """
    counts = confusions(tables)[1]
    n, k = len(counts), len(STAGES)
    # Seeds share the clips, so the first one counts the true stages.
    of_stage = np.repeat(counts[:, 0].sum(-1), k, axis=1)
    numerator = counts
    if other is not None:
        seeds = min(len(tables), len(other))
        numerator = counts[:, :seeds] - confusions(other[:seeds])[1]
    cells = ratios(100 * numerator.reshape(n, -1, k * k), of_stage)
    names = [(true, predicted) for true in STAGES for predicted in STAGES]
    cells["stage"], cells["prediction"] = zip(*names, strict=True)
    return cells.assign(column=cells["stage"] + " as " + cells["prediction"])


def main_errors(shares: pd.DataFrame) -> pd.DataFrame:
    """The most frequent wrong prediction for each stage: rows of `confusion_shares` by stage."""
    wrong = shares[(shares["stage"] != shares["prediction"]) & (shares["value"] > 0)]
    ordered = wrong.sort_values("value", ascending=False, kind="stable")
    return ordered.groupby("stage").first().reindex(STAGES)


def distance_to_change(clips: pd.DataFrame, far: int = FAR) -> NDArray[np.float64]:
    """Distance `(n,)` of each clip to the nearest change of the true stage, in clips.

    A clip beside a change has distance 1; `far` stands for that distance or more. Only consecutive
    clips of a block count. The distance is NaN where the block ends too early to know it: a change
    may lie in clips that were not recorded or not scored.

    >>> stages = [0, 0, 2, 2, 2, 2, 2]
    >>> night = pd.DataFrame({"subject": "a", "block": 0, "clip": range(7), "stage": stages})
    >>> distance_to_change(night, far=3).tolist()
    [nan, 1.0, 1.0, 2.0, 3.0, nan, nan]
    """
    distance = np.full(len(clips), np.nan)
    # Numbered rows, because the caller's index may repeat.
    frame = clips.reset_index(drop=True)
    for _, block in frame.groupby(["subject", "block"], sort=False):
        block = block.sort_values("clip")
        stage, clip = block["stage"].to_numpy(), block["clip"].to_numpy()
        # Clips that were dropped within a block cut it: what lies between is unknown.
        for run in np.split(np.arange(len(block)), np.flatnonzero(np.diff(clip) != 1) + 1):
            at = np.arange(len(run))
            changes = np.flatnonzero(np.diff(stage[run]) != 0)  # between clip c and c + 1
            near = np.full(len(run), np.inf)
            if len(changes):
                before, after = changes - at[:, None] + 1, at[:, None] - changes
                near = np.where(at[:, None] <= changes, before, after).min(1)
            seen = np.minimum(at, len(run) - 1 - at)  # neighbours known on both sides
            unknown = np.where(seen >= far - 1, far, np.nan)
            values = np.where(near <= seen + 1, np.minimum(near, far), unknown)
            distance[block.index[run]] = values
    return distance


def error_by_distance(
    methods: Mapping[str, Sequence[pd.DataFrame]], far: int = FAR
) -> pd.DataFrame:
    """Error rate in % by distance to a stage change.

    Args:
        methods: name -> one table per seed.
        far: largest distance, see `distance_to_change`.

    Returns:
        One row per method and distance 1 .. `far`: method, distance, clips, and the columns of
        `crossed.ratios`.
    """
    distances, lines = np.arange(1, far + 1), []
    for name, tables in methods.items():
        bins = (distance_to_change(tables[0], far)[:, None] == distances).astype(float)
        subject = tables[0]["subject"].to_numpy()
        clips = sums(bins, subject)
        errors = np.stack([sums(_wrong(table) * bins, subject) for table in tables], 1)
        numbers = ratios(100 * errors, clips).drop(columns="p_value")
        numbers = numbers.assign(method=name, distance=distances)
        lines.append(numbers.assign(clips=clips.sum(0).astype(int)))
    return pd.concat(lines, ignore_index=True)


def beside_minus_far(tables: Sequence[pd.DataFrame], far: int = FAR) -> pd.DataFrame:
    """Error rate beside a stage change minus that far from one, in percentage points.

    Two rows: `all clips` pools the stages. `same stages` is the mean of the differences within each
    stage, weighted by its clips beside and far; a stage without clips at either place is left out.
    Short stages lie beside changes and long ones far from them, so a stager that fails on short
    stages has a large first difference wherever its errors are. Only the second shows an effect of
    the place itself.

    Returns:
        The columns of `crossed.table`.
    """
    distance, subject = distance_to_change(tables[0], far), tables[0]["subject"].to_numpy()
    place = np.stack([distance == 1, distance == far], 1).astype(float)
    stage = np.eye(len(STAGES))[tables[0]["stage"].to_numpy()]
    cells = (place[:, :, None] * stage[:, None]).reshape(len(place), -1)  # (n, 2 places x 5 stages)
    clips = sums(cells, subject)
    errors = np.stack([sums(_wrong(table) * cells, subject) for table in tables], 1)
    all_clips, all_errors = clips.sum(0), errors.sum(0)
    total = _gaps(all_clips, all_errors)
    left_out = _gaps(all_clips - clips, all_errors - errors)
    return table(total, left_out).set_index(pd.Index(["all clips", "same stages"]))


def _gaps(clips: NDArray, errors: NDArray) -> NDArray[np.float64]:
    """The two differences of `beside_minus_far` `(..., seeds, 2)`.

    Args:
        clips: `(..., 10)`, numbers of clips by place (beside, far) and stage.
        errors: `(..., seeds, 10)`, how many of them are misclassified.
    """
    n = clips.reshape(*clips.shape[:-1], 1, 2, -1)
    bad = errors.reshape(*errors.shape[:-1], 2, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate, by_stage = bad.sum(-1) / n.sum(-1), bad / n
        weight = np.where((n > 0).all(-2), n.sum(-2), 0)
        difference = np.where(weight > 0, by_stage[..., 0, :] - by_stage[..., 1, :], 0)
        pooled = rate[..., 0] - rate[..., 1]
        same = (weight * difference).sum(-1) / weight.sum(-1)
    return 100 * np.stack([pooled, same], -1)


def corrected(before: Sequence[pd.DataFrame], after: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Clips that `after` corrects, introduces errors in, and the net gain, in % by true stage.

    Seeds are compared one to one, as many as both methods have.

    Returns:
        Rows by stage (or "all") and column (corrected, introduced, net) with the columns of
        `crossed.ratios`; p_value is given for the net gain only.
    """
    pairs = list(zip(before, after, strict=False))
    right = [[_wrong(each)[:, 0] == 0 for each in pair] for pair in pairs]
    changes = {
        "corrected": [b & ~a for a, b in right],
        "introduced": [a & ~b for a, b in right],
        "net": [b.astype(float) - a for a, b in right],
    }
    stage, subject = before[0]["stage"].to_numpy(), before[0]["subject"].to_numpy()
    lines = []
    for name in ("all", *STAGES):
        here = np.ones(len(stage), bool) if name == "all" else stage == STAGES.index(name)
        if not here.any():
            continue
        clips = sums(here.astype(float), subject)
        for column, change in changes.items():
            of_seeds = [sums((c * here).astype(float), subject) for c in change]
            numbers = ratios(100 * np.stack(of_seeds, 1), clips)
            lines.append(numbers.assign(stage=name, column=column))
    found = pd.concat(lines, ignore_index=True)
    return found.assign(p_value=found["p_value"].where(found["column"] == "net"))


def examples(wrong: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """One clip per stage that `wrong` misclassifies and `right` classifies correctly (Fig. 11).

    Of all such clips, it is the one with the highest confidence of `right`.

    Returns:
        Rows of `right` with `before`, the wrong prediction. Stages without such a clip are absent.
    """
    probability = right[PROBABILITIES].to_numpy()
    confidence = probability[np.arange(len(right)), right["stage"]]
    table = right.assign(before=wrong["prediction"].to_numpy(), confidence=confidence)
    table = table[(table["before"] != table["stage"]) & (table["prediction"] == table["stage"])]
    # Stable, so that ties give the same clip on every machine.
    ordered = table.sort_values("confidence", ascending=False, kind="stable")
    return ordered.groupby("stage").head(1).sort_values("stage")


def stage_transition(wrong: pd.DataFrame, also: pd.DataFrame) -> pd.DataFrame:
    """Three consecutive clips, of which both methods misclassify the middle one (Fig. 12 a).

    The middle clip lies beside a stage change and has both neighbours. Of all such clips, it is the
    one with the highest confidence of `also`.

    Returns:
        Rows of `also` with `before`, the prediction of `wrong`; empty if there is no such clip.
    """
    table = also.assign(before=wrong["prediction"].to_numpy()).reset_index(drop=True)
    beside = distance_to_change(table) == 1
    last = table.shift()
    same = (table["subject"] == last["subject"]) & (table["block"] == last["block"])
    follows = same & (table["clip"].diff() == 1)
    whole = follows & follows.shift(-1, fill_value=False)
    missed = (table["prediction"] != table["stage"]) & (table["before"] != table["stage"])
    found = table[beside & whole & missed]
    if found.empty:
        return found
    at = int(found[PROBABILITIES].max(axis=1).idxmax())
    return table.iloc[at - 1 : at + 2]


def movement(video: ArrayLike) -> NDArray[np.float64]:
    """Movement in each clip: mean absolute change of grey level between successive frames.

    Args:
        video: `(n, frames, H, W)` uint8.

    Returns:
        `(n,)`, 0..255.
    """
    video = np.asarray(video)
    # One clip at a time, because a night as int16 would need twice its memory.
    return np.array([np.abs(np.diff(clip.astype(np.int16), axis=0)).mean() for clip in video])
