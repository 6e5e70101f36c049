"""What embeddings tell of sleep apnea: mean embedding of a subject's stages against its AHI (Fig. 7, VI-B3).

The unit is the subject. AHI groups are those of `sacd.stages.ahi_group`. Channels of one network
are far from independent: single channels are corrected for their number (`correlation.spearman`),
and what is said of a stage as a whole is tested by permuting the AHI over subjects, all channels
together.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import yasa
from numpy.typing import ArrayLike, NDArray
from scipy import stats as scipy_stats

from sacd.analysis import correlation
from sacd.analysis.bootstrap import Estimate
from sacd.simulate import ucddb
from sacd.stages import AHI_GROUPS, CLIP_S, STAGES, UNSCORED, ahi_group

ABOVE: Final = 0.4
"""|rho| of the channels that Fig. 8 selects."""
MIN_CORRELATED: Final = 8
"""Subjects from which a rank correlation is shown; of five, every 60th order of the AHI gives |rho| = 1."""
DEEP: Final = ("N2", "N3")
"""Stages whose correlation the paper finds "significantly higher" than that of the others (VI-B3)."""


def stage_means(
    embedding: ArrayLike, subject: ArrayLike, stage: ArrayLike, fewest: int = 1
) -> tuple[pd.Index, NDArray[np.float64]]:
    """Subjects `(S,)`, sorted, and the mean embedding of each one's clips of each true stage `(S, 5, d)`.

    NaN where a subject has no clip of the stage, and for everyone in a stage that fewer than
    `fewest` subjects have.

    >>> subjects, means = stage_means([[1.0], [3.0], [5.0]], ["a", "a", "b"], [2, 2, 0])
    >>> subjects.tolist(), means[0, 2, 0]
    (['a', 'b'], np.float64(2.0))
    """
    embedding = np.asarray(embedding, float)
    frame = pd.DataFrame(embedding).groupby([np.asarray(subject), np.asarray(stage)]).mean()
    subjects = pd.Index(np.unique(subject), name="subject")
    every = pd.MultiIndex.from_product([subjects, range(len(STAGES))])
    means = (
        frame.reindex(every)
        .to_numpy(copy=True)
        .reshape(len(subjects), len(STAGES), embedding.shape[1])
    )
    means[:, np.isfinite(means).all(2).sum(0) < fewest] = np.nan
    return subjects, means


def targets(ahi: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """What Fig. 7 correlates with: (a) the AHI, (b) to (e) membership in each group that some but not all are in."""
    ahi = np.asarray(ahi, float)
    group = np.array([ahi_group(a) for a in ahi])
    members = {name: (group == g).astype(float) for g, name in enumerate(AHI_GROUPS)}
    return {"AHI": ahi} | {
        name: member for name, member in members.items() if 0 < member.sum() < len(ahi)
    }


def correlations(
    means: ArrayLike, values: Mapping[str, ArrayLike], *, permutations: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """`correlation.spearman` for each target: target, stage, channel, n, rho, p, q, p_max.

    q (Benjamini-Hochberg) and p_max (permutation null of the largest |rho|) are over all stages and
    channels of a target, 5 x 512 in the paper.
    """
    tables = [
        correlation.spearman(means, v, permutations=permutations, seed=seed).assign(target=name)
        for name, v in values.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    table["stage"] = np.array(STAGES)[table.pop("group")]
    return table[["target", "stage", "channel", "n", "rho", "p", "q", "p_max"]]


def strength(
    means: ArrayLike, values: ArrayLike, *, permutations: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """How strongly all channels of a stage go with `values`, against permuting `values` over subjects.

    Returns:
        One row a stage: n (subjects), median_rho, mean_abs (mean |rho| over channels),
        null_mean_abs (its mean under permutation), p_mean_abs, above (channels with |rho| >
        `ABOVE`), null_above, p_above. NaN for a stage that fewer than three subjects have.
    """
    means = np.asarray(means, float)
    rho = correlation.rank_correlation(means, np.asarray(values, float)[None])[0]
    null = np.abs(
        correlation.rank_correlation(means, correlation.permuted(values, permutations, seed))
    )
    known = np.isfinite(rho).any(1)
    lines = []
    for s, name in enumerate(STAGES):
        line = {"stage": name, "n": int(np.isfinite(means[:, s]).all(1).sum())}
        if known[s]:
            r, constant = rho[s], np.isnan(rho[s])
            shuffled = null[:, s][:, ~constant]
            mean_abs, above = np.abs(r[~constant]).mean(), int((np.abs(r) > ABOVE).sum())
            null_mean, null_above = shuffled.mean(1), (shuffled > ABOVE).sum(1)
            line |= {
                "median_rho": np.nanmedian(r),
                "mean_abs": mean_abs,
                "null_mean_abs": null_mean.mean(),
            }
            line |= {
                "p_mean_abs": _p(null_mean, mean_abs),
                "above": above,
                "null_above": null_above.mean(),
            }
            line |= {"p_above": _p(null_above, above)}
        lines.append(line)
    columns = [
        "median_rho",
        "mean_abs",
        "null_mean_abs",
        "p_mean_abs",
        "above",
        "null_above",
        "p_above",
    ]
    return pd.DataFrame(lines, columns=["stage", "n", *columns]).set_index("stage")


def _p(null: NDArray, value: float) -> float:
    return float(((null >= value - 1e-12).sum() + 1) / (len(null) + 1))


SINGLED_OUT: Final = {"Normal": DEEP, "Mild": (*DEEP, "REM"), "Moderate": ("REM",), "Severe": DEEP}
"""Stages that the text finds to go with an AHI group more than the others do (VI-B3, Fig. 7 b to e)."""


def contrast(means: ArrayLike, values: ArrayLike, stages: tuple[str, ...] = DEEP) -> Estimate:
    """Mean |rho| of some stages minus that of the others, with a jackknife interval (each subject left out once).

    Resampling with replacement would not do: repeated subjects tie in rank and inflate |rho|. scipy
    has no jackknife of its own (`scipy.stats.bootstrap` uses one inside).
    """
    means, values = np.asarray(means, float), np.asarray(values, float)
    chosen = np.isin(STAGES, stages)

    def difference(rows: NDArray) -> float:
        size = np.abs(correlation.rank_correlation(means[rows], values[rows][None])[0])
        size = np.array([np.nanmean(s) if np.isfinite(s).any() else np.nan for s in size])
        if np.isnan(size[chosen]).all() or np.isnan(size[~chosen]).all():
            return np.nan
        return float(np.nanmean(size[chosen]) - np.nanmean(size[~chosen]))

    n = len(values)
    value = difference(np.arange(n))
    left = np.array([difference(np.delete(np.arange(n), i)) for i in range(n)])
    se = np.sqrt((n - 1) * left.var()) if n > 3 else np.nan
    reach = se * scipy_stats.t.ppf(0.975, max(n - 1, 1))
    return Estimate(value, value - reach, value + reach, n_subjects=n)


def over_seeds(estimates: Sequence[Estimate]) -> pd.DataFrame:
    """One row: means of value and bounds over training seeds; sd, n_seeds, n_subjects."""
    table = pd.DataFrame(estimates)
    means = table[["value", "ci_low", "ci_high"]].mean().to_frame().T
    return means.assign(sd=table["value"].std(), n_seeds=len(table), n_subjects=table["n_subjects"].max())


def replication(
    means: ArrayLike,
    values: ArrayLike,
    held_out: ArrayLike,
    *,
    permutations: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Do channels that go with `values` in the training subjects do so in held-out ones?

    Channels with |rho| > `ABOVE` are chosen on the subjects that are not `held_out`; `signed_rho`
    is the mean of their rho in the held-out subjects, counted as positive where the sign agrees;
    `p` is one-sided, from permuting `values` over the held-out subjects. One row a stage: channels,
    n (held-out subjects), signed_rho, p.
    """
    means, values, held_out = (
        np.asarray(means, float),
        np.asarray(values, float),
        np.asarray(held_out, bool),
    )
    chosen_on = correlation.rank_correlation(means[~held_out], values[~held_out][None])[0]
    shuffled = np.vstack(
        [values[held_out], correlation.permuted(values[held_out], permutations, seed)]
    )
    tested = correlation.rank_correlation(means[held_out], shuffled)
    lines = []
    for s, name in enumerate(STAGES):
        take = (np.abs(chosen_on[s]) > ABOVE) & np.isfinite(tested[0, s])
        line = {
            "stage": name,
            "channels": int(take.sum()),
            "n": int(np.isfinite(means[held_out, s]).all(1).sum()),
        }
        if take.any():
            signed = (tested[:, s, take] * np.sign(chosen_on[s, take])).mean(1)
            line |= {"signed_rho": signed[0], "p": _p(signed[1:], signed[0])}
        lines.append(line)
    return pd.DataFrame(lines, columns=["stage", "channels", "n", "signed_rho", "p"]).set_index(
        "stage"
    )


def hypnogram_measures(stages: ArrayLike) -> dict[str, float]:
    """Measures of one night's stages (0..4, -1 unscored), yasa's sleep statistics and stage changes an hour.

    In min: TST, WASO, SOL (latency of sleep), latency of REM; in % of TST: N1, N2, N3, REM; SE in %
    of the recording.
    """
    stages = np.asarray(stages, int)
    night = yasa.Hypnogram(
        np.array(
            ["ART" if s == UNSCORED else {"W": "WAKE"}.get(STAGES[s], STAGES[s]) for s in stages]
        ),
        freq=f"{CLIP_S}s",
        n_stages=5,
    ).sleep_statistics()
    scored = (stages[1:] >= 0) & (stages[:-1] >= 0)
    asleep = (stages > 0).sum() * CLIP_S / 3600
    names = {
        "TST": "TST (min)",
        "WASO": "WASO (min)",
        "SOL": "sleep latency (min)",
        "SE": "sleep efficiency (%)",
    }
    names |= {"Lat_REM": "REM latency (min)"} | {
        f"%{stage}": f"{stage} (% of TST)" for stage in STAGES[1:]
    }
    changes = float((np.diff(stages) != 0)[scored].sum()) / asleep if asleep else np.nan
    return {label: float(night.get(key, np.nan)) for key, label in names.items()} | {
        "stage changes (1/h)": changes
    }


def real_nights(folder: Path) -> pd.DataFrame:
    """AHI and `hypnogram_measures` of every night of UCDDB's tables, indexed by subject.

    Raises:
        ValueError: a table is missing.
    """
    people = ucddb.subjects(ucddb.check(folder))
    lines = [
        {"subject": name, "ahi": float(row["PSG AHI"])}
        | hypnogram_measures(ucddb.stages(Path(folder) / f"{name.lower()}_stage.txt"))
        for name, row in people.iterrows()
    ]
    return pd.DataFrame(lines).set_index("subject")


def correlate_measures(
    nights: pd.DataFrame, *, permutations: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Spearman of each measure with `ahi`, corrected for the number of measures: n, rho, p, q, p_max by measure."""
    measures = nights.drop(
        columns="ahi"
    )  # as groups of one channel: a night without REM is left out of REM only
    table = correlation.spearman(
        measures.to_numpy()[:, :, None], nights["ahi"], permutations=permutations, seed=seed
    )
    return table.assign(measure=measures.columns).set_index("measure")[
        ["n", "rho", "p", "q", "p_max"]
    ]
