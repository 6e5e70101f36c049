"""Correlation of embeddings with sleep apnea: mean embedding per stage and AHI (Fig. 7, VI-B3).

The unit is the subject. AHI groups are those of `sacd.stages.ahi_group`. The channels of a network
are far from independent. Single channels are therefore corrected for their number
(`correlation.spearman`), and statements about a stage as a whole are tested by permuting the AHI
over subjects, for all channels together.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import yasa
from numpy.typing import ArrayLike, NDArray

from sacd.analysis import correlation
from sacd.analysis.auc import mean_known
from sacd.analysis.crossed import Estimate, estimates
from sacd.simulate import ucddb
from sacd.stages import AHI_GROUPS, CLIP_S, STAGES, UNSCORED, ahi_group

ABOVE: Final = 0.4
"""Fig. 8 selects the channels with |rho| above this."""
MIN_CORRELATED: Final = 8
"""Fewest subjects for a rank correlation; of five, every 60th order of the AHI has |rho| = 1."""
DEEP: Final = ("N2", "N3")
"""Stages for which the paper finds a "significantly higher" correlation than for others (VI-B3)."""


def stage_means(
    embedding: ArrayLike, subject: ArrayLike, stage: ArrayLike, fewest: int = 1
) -> tuple[pd.Index, NDArray[np.float64]]:
    """Subjects `(S,)`, sorted, and their mean embeddings by true stage `(S, 5, d)`.

    NaN where a subject has no clip of the stage, and for all subjects if fewer than `fewest` have
    the stage.

    >>> subjects, means = stage_means([[1.0], [3.0], [5.0]], ["a", "a", "b"], [2, 2, 0])
    >>> subjects.tolist(), means[0, 2, 0]
    (['a', 'b'], np.float64(2.0))
    """
    embedding = np.asarray(embedding, float)
    frame = pd.DataFrame(embedding).groupby([np.asarray(subject), np.asarray(stage)]).mean()
    subjects = pd.Index(np.unique(subject), name="subject")
    every = pd.MultiIndex.from_product([subjects, range(len(STAGES))])
    means = frame.reindex(every).to_numpy(copy=True)
    means = means.reshape(len(subjects), len(STAGES), embedding.shape[1])
    # A rank correlation over very few subjects is large by chance.
    rare = np.isfinite(means).all(2).sum(0) < fewest
    means[:, rare] = np.nan
    return subjects, means


def targets(ahi: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Targets of Fig. 7: (a) the AHI, (b) to (e) membership in an AHI group.

    A group that contains no subject, or all of them, is left out.
    """
    ahi = np.asarray(ahi, float)
    group = np.array([ahi_group(a) for a in ahi])
    found = {"AHI": ahi}
    for g, name in enumerate(AHI_GROUPS):
        member = (group == g).astype(float)
        if 0 < member.sum() < len(ahi):
            found[name] = member
    return found


def correlations(
    means: ArrayLike, values: Mapping[str, ArrayLike], *, permutations: int
) -> pd.DataFrame:
    """`correlation.spearman` for each target: target, stage, channel, n, rho, p, q, p_max.

    q (Benjamini-Hochberg) and p_max (permutation null of the largest |rho|) cover all stages and
    channels of a target, 5 x 512 in the paper.
    """
    tables = []
    for name, target in values.items():
        found = correlation.spearman(means, target, permutations=permutations)
        tables.append(found.assign(target=name))
    table = pd.concat(tables, ignore_index=True)
    table["stage"] = np.array(STAGES)[table.pop("group")]
    return table[["target", "stage", "channel", "n", "rho", "p", "q", "p_max"]]


def strength(means: ArrayLike, values: ArrayLike, *, permutations: int) -> pd.DataFrame:
    """Correlation of all channels of a stage with `values`, tested by permutation over subjects.

    Returns:
        One row per stage: n (subjects), median_rho, mean_abs (mean |rho| over channels),
        null_mean_abs (its mean under permutation), p_mean_abs, above (number of channels with |rho|
        > `ABOVE`), null_above, p_above. NaN for a stage that fewer than three subjects have.
    """
    means = np.asarray(means, float)
    rho = correlation.rank_correlation(means, np.asarray(values, float)[None])[0]
    permuted = correlation.permuted(values, permutations)
    null = np.abs(correlation.rank_correlation(means, permuted))
    known = np.isfinite(rho).any(1)
    lines = []
    for s, name in enumerate(STAGES):
        line = {"stage": name, "n": int(np.isfinite(means[:, s]).all(1).sum())}
        if known[s]:
            # Channels that are constant (a dead ReLU) have no rho.
            r, constant = rho[s], np.isnan(rho[s])
            shuffled = null[:, s][:, ~constant]
            mean_abs, above = np.abs(r[~constant]).mean(), int((np.abs(r) > ABOVE).sum())
            null_mean, null_above = shuffled.mean(1), (shuffled > ABOVE).sum(1)
            line |= {
                "median_rho": np.nanmedian(r),
                "mean_abs": mean_abs,
                "null_mean_abs": null_mean.mean(),
                "p_mean_abs": correlation.permutation_p(null_mean, mean_abs),
                "above": above,
                "null_above": null_above.mean(),
                "p_above": correlation.permutation_p(null_above, above),
            }
        lines.append(line)
    return pd.DataFrame(lines, columns=_STRENGTH).set_index("stage")


_STRENGTH: Final = [
    *("stage", "n", "median_rho", "mean_abs", "null_mean_abs"),
    *("p_mean_abs", "above", "null_above", "p_above"),
]
SINGLED_OUT: Final = {"Normal": DEEP, "Mild": (*DEEP, "REM"), "Moderate": ("REM",), "Severe": DEEP}
"""Stages that correlate more with an AHI group than the others, by the text (Fig. 7 b to e)."""


def contrast(
    means: Sequence[ArrayLike], values: ArrayLike, stages: tuple[str, ...] = DEEP
) -> Estimate:
    """Mean |rho| of some stages minus that of the others, crossed over seeds and subjects.

    Args:
        means: `(S, 5, C)` of each training seed, as from `stage_means`.
        values: `(S,)`.
    """
    chosen, values = np.isin(STAGES, stages), np.asarray(values, float)

    def difference(rho: NDArray) -> NDArray:
        """`(...)` of `(..., 5, C)`; stages and channels that are unknown are left out."""
        size = mean_known(np.abs(rho))
        return mean_known(size[..., chosen]) - mean_known(size[..., ~chosen])

    total, left_out = [], []
    for of_seed in means:
        every = correlation.rank_correlation(of_seed, values[None])[0]
        total.append(difference(every))
        left_out.append(difference(correlation.without_each(of_seed, values)))
    return estimates(np.array(total)[:, None], np.stack(left_out, 1)[..., None])[0]


def replication(
    means: ArrayLike, values: ArrayLike, held_out: ArrayLike, *, permutations: int
) -> pd.DataFrame:
    """Test whether channels selected in training subjects correlate in held-out subjects.

    Channels with |rho| > `ABOVE` are selected on the subjects that are not held out.

    Returns:
        One row per stage: channels (number selected), n (held-out subjects), signed_rho (mean rho
        of these channels in the held-out subjects, positive where the sign agrees), p (one-sided,
        from permuting `values` over the held-out subjects).
    """
    means, values = np.asarray(means, float), np.asarray(values, float)
    held_out = np.asarray(held_out, bool)
    chosen_on = correlation.rank_correlation(means[~held_out], values[~held_out][None])[0]
    permuted = correlation.permuted(values[held_out], permutations)
    # The true order first, so that one call ranks all of them.
    shuffled = np.vstack([values[held_out], permuted])
    tested = correlation.rank_correlation(means[held_out], shuffled)
    lines = []
    for s, name in enumerate(STAGES):
        # The sign is that of the training subjects: a flipped correlation is no replication.
        take = (np.abs(chosen_on[s]) > ABOVE) & np.isfinite(tested[0, s])
        n = int(np.isfinite(means[held_out, s]).all(1).sum())
        line = {"stage": name, "channels": int(take.sum()), "n": n}
        if take.any():
            signed = (tested[:, s, take] * np.sign(chosen_on[s, take])).mean(1)
            p = correlation.permutation_p(signed[1:], signed[0])
            line |= {"signed_rho": signed[0], "p": p}
        lines.append(line)
    columns = ["stage", "channels", "n", "signed_rho", "p"]
    return pd.DataFrame(lines, columns=columns).set_index("stage")


def hypnogram_measures(stages: ArrayLike) -> dict[str, float]:
    """Sleep statistics of a night by yasa, and stage changes per hour of sleep.

    Times and latencies are in min, N1 to REM in % of the total sleep time (TST), and sleep
    efficiency in % of the recording.

    Args:
        stages: stages 0..4 of consecutive clips; -1 is unscored.
    """
    stages = np.asarray(stages, int)
    names = {k: "WAKE" if name == "W" else name for k, name in enumerate(STAGES)}
    # yasa leaves artefacts out of every statistic.
    names[UNSCORED] = "ART"
    scoring = np.array([names[s] for s in stages])
    night = yasa.Hypnogram(scoring, freq=f"{CLIP_S}s", n_stages=5).sleep_statistics()
    scored = (stages[1:] >= 0) & (stages[:-1] >= 0)
    asleep = (stages > 0).sum() * CLIP_S / 3600
    labels = {
        "TST": "TST (min)",
        "WASO": "WASO (min)",
        "SOL": "sleep latency (min)",
        "SE": "sleep efficiency (%)",
        "Lat_REM": "REM latency (min)",
    }
    labels |= {f"%{stage}": f"{stage} (% of TST)" for stage in STAGES[1:]}
    measures = {label: float(night.get(key, np.nan)) for key, label in labels.items()}
    changes = float((np.diff(stages) != 0)[scored].sum())
    return measures | {"stage changes (1/h)": changes / asleep if asleep else np.nan}


def real_nights(folder: Path) -> pd.DataFrame:
    """AHI and `hypnogram_measures` of every night in the tables of UCDDB, indexed by subject.

    Raises:
        ValueError: a table is missing.
    """
    people = ucddb.subjects(ucddb.check(folder))
    lines = []
    for name, row in people.iterrows():
        stages = ucddb.stages(Path(folder) / f"{name.lower()}_stage.txt")
        line = {"subject": name, "ahi": float(row["PSG AHI"])}
        lines.append(line | hypnogram_measures(stages))
    return pd.DataFrame(lines).set_index("subject")


def correlate_measures(nights: pd.DataFrame, *, permutations: int = 10_000) -> pd.DataFrame:
    """Spearman correlation of each measure with `ahi`, corrected for the number of measures.

    Returns:
        n, rho, p, q, p_max by measure.
    """
    # Each measure is a group of one channel, so a night without REM is left out of REM only.
    measures = nights.drop(columns="ahi")
    table = correlation.spearman(
        measures.to_numpy()[:, :, None], nights["ahi"], permutations=permutations
    )
    table = table.assign(measure=measures.columns).set_index("measure")
    return table[["n", "rho", "p", "q", "p_max"]]
