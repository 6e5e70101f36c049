"""The "feature portrait" of VI-B3: a subject's place among others tells its AHI group. How often does it?

The paper chooses channels by their correlation with the AHI of the very subjects that it then maps
(Fig. 8), so a gradient in the picture is no evidence: it would be seen in noise as well.
`leave_one_out` therefore chooses channels, maps and neighbours without the subject that is judged.
"""

from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from sacd.analysis import correlation
from sacd.analysis.ahi import ABOVE
from sacd.analysis.maps import DangerZone, fit_map, transform
from sacd.stages import ahi_group

FALL_BACK: Final = 16
"""Channels taken, those of largest |rho|, where fewer than two pass the threshold."""
NEIGHBOURS: Final = 5


def select(
    means: ArrayLike, ahi: ArrayLike, above: float = ABOVE
) -> tuple[NDArray[np.int64], bool]:
    """Channels of `(S, d)` whose |rho| with the AHI is above a threshold, and whether enough (two) are.

    If not, the `FALL_BACK` channels of largest |rho| stand in for them.
    """
    rho = np.abs(
        correlation.rank_correlation(
            np.asarray(means, float)[:, None], np.asarray(ahi, float)[None]
        )[0, 0]
    )
    passed = np.flatnonzero(rho > above)
    if len(passed) > 1:
        return passed, True
    return np.sort(np.argsort(-np.nan_to_num(rho), kind="stable")[:FALL_BACK]), False


class Portrait:
    """A map of subjects on the channels that go with the AHI, and the AHI group of a neighbourhood in it (Fig. 8).

    Args:
        means: `(S, d)` mean embeddings of one stage, finite.
        ahi: `(S,)` events/h.
        perplexity, seed: of the map.

    Attributes:
        channels, passed: as `select` returns them.
        map: `(S, 2)`.
    """

    def __init__(
        self, means: ArrayLike, ahi: ArrayLike, perplexity: float = 30, seed: int = 0
    ) -> None:
        means = np.asarray(means, float)
        group = np.array([ahi_group(a) for a in np.asarray(ahi, float)])
        self.channels, self.passed = select(means, ahi)
        self._scale = StandardScaler().fit(means[:, self.channels])
        self.map = fit_map(self._scale.transform(means[:, self.channels]), perplexity, seed)
        near = min(NEIGHBOURS, len(means))
        self._groups = KNeighborsClassifier(near, weights="distance").fit(
            np.asarray(self.map), group
        )

    def transform(self, means: ArrayLike) -> NDArray[np.float64]:
        """Coordinates `(k, 2)` of new subjects with mean embeddings `(k, d)`."""
        return transform(self.map, self._scale.transform(np.atleast_2d(means)[:, self.channels]))

    def group(self, points: ArrayLike) -> NDArray[np.int64]:
        """AHI group `(k,)` of the nearest subjects, by distance."""
        return self._groups.predict(np.asarray(points, float))


def leave_one_out(
    means: ArrayLike, ahi: ArrayLike, perplexity: float = 30, seed: int = 0
) -> pd.DataFrame:
    """Each subject placed in a map made without it: columns group, prediction, one row a subject, in order.

    Args: as `Portrait`.
    """
    means, ahi = np.asarray(means, float), np.asarray(ahi, float)
    lines = []
    for i in range(len(ahi)):
        portrait = Portrait(np.delete(means, i, 0), np.delete(ahi, i), perplexity, seed)
        lines.append(
            {
                "group": ahi_group(ahi[i]),
                "prediction": int(portrait.group(portrait.transform(means[i]))[0]),
            }
        )
    return pd.DataFrame(lines)


class Hits(NamedTuple):
    """How often a group was told right, in %, against shuffling the true groups over subjects."""

    value: float
    ci_low: float
    ci_high: float
    chance: float
    p_value: float
    n: int


def hits(table: pd.DataFrame, *, permutations: int = 9999, seed: int = 0) -> Hits:
    """Right AHI groups of a table of `leave_one_out`: share with Wilson's 95 % interval, chance, one-sided p.

    Shuffling keeps how often each group occurs and how often each is predicted. Leaving a subject
    out makes its own group rarer among its neighbours, so that noise scores a little below this
    chance: the test is conservative.
    """
    from statsmodels.stats.proportion import proportion_confint  # slow to import

    true, predicted = table["group"].to_numpy(), table["prediction"].to_numpy()
    right, n = int((true == predicted).sum()), len(table)
    if not n:
        return Hits(*[np.nan] * 5, 0)
    low, high = proportion_confint(right, n, method="wilson")
    null = (correlation.permuted(true, permutations, seed) == predicted).sum(1)
    p_value = ((null >= right).sum() + 1) / (permutations + 1)
    return Hits(100 * right / n, 100 * low, 100 * high, 100 * null.mean() / n, p_value, n)


def typical_four(ahi: pd.Series) -> pd.Series:
    """AHI of one subject of each AHI group that occurs, the one with the group's median AHI (as Table VI of ours)."""
    group = ahi.map(ahi_group)
    chosen = [
        ahi[group == g].sort_values().index[(group == g).sum() // 2]
        for g in range(4)
        if (group == g).any()
    ]
    return ahi[chosen].set_axis(pd.Index(chosen, name="subject"))


class ClipPortrait(NamedTuple):
    """Map of all clips of a few subjects in one stage (Fig. 9), with everyone else's clips placed in it."""

    fitted: NDArray[np.float64]
    """Coordinates of the clips that made the map, `(n, 2)`."""
    subject: NDArray
    """Subject of each, `(n,)`."""
    zone: DangerZone
    placed: pd.DataFrame
    """Every clip of the other subjects, placed in the map: subject, x, y, in_zone."""

    def zone_shares(self, ahi: pd.Series) -> pd.DataFrame:
        """One row for each placed subject: ahi (events/h), clips, in_zone (% of its clips in the danger zone)."""
        clips = self.placed.groupby("subject")["in_zone"]
        table = pd.DataFrame({"clips": clips.size(), "in_zone": 100 * clips.mean()})
        return table.assign(ahi=ahi.reindex(table.index))[["ahi", "clips", "in_zone"]]


def clip_portrait(
    embedding: ArrayLike,
    subject: ArrayLike,
    ahi: pd.Series,
    chosen: ArrayLike,
    perplexity: float = 30,
    seed: int = 0,
) -> ClipPortrait:
    """Map the clips of `chosen` subjects, estimate the danger zone, place the clips of all others one by one.

    Args:
        embedding: `(n, d)`, clips of one stage.
        subject: `(n,)`.
        ahi: events/h by subject.
        chosen: subjects that make the map.

    Raises:
        ValueError: too few clips, or nobody (or everybody) chosen has AHI > 30 events/h.
    """
    embedding, subject = np.asarray(embedding, float), np.asarray(subject)
    inside = np.isin(subject, chosen)
    fitted = fit_map(embedding[inside], perplexity, seed)
    coordinates, names = np.asarray(fitted), subject[inside]
    zone = DangerZone(coordinates, names, ahi[names])
    placed = transform(fitted, embedding[~inside]) if not inside.all() else np.empty((0, 2))
    table = pd.DataFrame({"subject": subject[~inside], "x": placed[:, 0], "y": placed[:, 1]})
    return ClipPortrait(
        coordinates,
        names,
        zone,
        table.assign(in_zone=zone.contains(placed) if len(placed) else False),
    )


class ZoneCorrelation(NamedTuple):
    """Spearman's rho of the share of clips in the danger zone with the AHI, over n subjects that were placed."""

    rho: float
    p_value: float
    n: int


def zone_correlation(
    shares: pd.DataFrame, *, permutations: int = 9999, seed: int = 0
) -> ZoneCorrelation:
    """Does a high AHI bring clips into the danger zone? Two-sided p from shuffling the AHI over subjects.

    Args:
        shares: columns ahi and in_zone, one row a subject (`ClipPortrait.zone_shares`); fewer than
            four, or one share for all, give NaN.
    """
    n = len(shares)
    if n < 4 or shares["in_zone"].nunique() < 2:
        return ZoneCorrelation(np.nan, np.nan, n)
    table = correlation.spearman(
        shares[["in_zone"]].to_numpy()[:, None], shares["ahi"], permutations=permutations, seed=seed
    )
    return ZoneCorrelation(float(table["rho"][0]), float(table["p_max"][0]), n)
