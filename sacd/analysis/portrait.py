"""The "feature portrait" of VI-B3: how often does the position in a map give the AHI group?

The paper selects channels by their correlation with the AHI of the same subjects that it then maps
(Fig. 8), so a gradient in the map is no evidence: noise would show one as well. `leave_one_out`
therefore selects channels, maps and neighbours without the subject that is predicted.
"""

from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from sacd.analysis import correlation
from sacd.analysis.ahi import ABOVE
from sacd.analysis.crossed import Estimate
from sacd.analysis.maps import PERPLEXITY, DangerZone, fit_map, transform
from sacd.stages import ahi_group

FALL_BACK: Final = 16
"""Number of channels (those of largest |rho|) taken if fewer than two pass the threshold."""
NEIGHBOURS: Final = 5
PERMUTATIONS: Final = 9999


def select(means: ArrayLike, ahi: ArrayLike) -> tuple[NDArray[np.int64], bool]:
    """Channels of `(S, d)` with |rho| to the AHI above `ABOVE`, and whether at least two pass.

    If not, the `FALL_BACK` channels of largest |rho| take their place.
    """
    means, ahi = np.asarray(means, float)[:, None], np.asarray(ahi, float)[None]
    rho = np.abs(correlation.rank_correlation(means, ahi)[0, 0])
    passed = np.flatnonzero(rho > ABOVE)
    if len(passed) > 1:
        return passed, True
    return np.sort(np.argsort(-np.nan_to_num(rho), kind="stable")[:FALL_BACK]), False


class Portrait:
    """Map of subjects by the channels that correlate with the AHI, and a classifier on it (Fig. 8).

    Args:
        means: `(S, d)` mean embeddings of one stage, finite.
        ahi: `(S,)` events/h.
        perplexity: of the map.

    Attributes:
        channels, passed: see `select`.
        map: coordinates `(S, 2)`.
    """

    def __init__(self, means: ArrayLike, ahi: ArrayLike, perplexity: float = PERPLEXITY) -> None:
        means = np.asarray(means, float)
        group = np.array([ahi_group(a) for a in np.asarray(ahi, float)])
        self.channels, self.passed = select(means, ahi)
        # Channels have different ranges; unscaled, the largest would make the map.
        self._scale = StandardScaler().fit(means[:, self.channels])
        self.map = fit_map(self._scale.transform(means[:, self.channels]), perplexity)
        near = min(NEIGHBOURS, len(means))
        nearest = KNeighborsClassifier(near, weights="distance")
        self._groups = nearest.fit(np.asarray(self.map), group)

    def transform(self, means: ArrayLike) -> NDArray[np.float64]:
        """Coordinates `(k, 2)` of new subjects with mean embeddings `(k, d)`."""
        return transform(self.map, self._scale.transform(np.atleast_2d(means)[:, self.channels]))

    def group(self, points: ArrayLike) -> NDArray[np.int64]:
        """AHI group `(k,)` at points `(k, 2)`: distance-weighted vote of the nearest subjects."""
        return self._groups.predict(np.asarray(points, float))


def leave_one_out(means: ArrayLike, ahi: ArrayLike, perplexity: float = PERPLEXITY) -> pd.DataFrame:
    """Predict the AHI group of each subject from a map made without it; arguments of `Portrait`.

    Returns:
        Columns group and prediction, one row per subject, in order.
    """
    means, ahi = np.asarray(means, float), np.asarray(ahi, float)
    lines = []
    for i in range(len(ahi)):
        portrait = Portrait(np.delete(means, i, 0), np.delete(ahi, i), perplexity)
        prediction = int(portrait.group(portrait.transform(means[i]))[0])
        lines.append({"group": ahi_group(ahi[i]), "prediction": prediction})
    return pd.DataFrame(lines)


class Hits(NamedTuple):
    """Share of correctly predicted groups in %, compared with shuffled true groups."""

    value: float
    ci_low: float
    ci_high: float
    chance: float
    p_value: float
    n: int


def hits(table: pd.DataFrame) -> Hits:
    """Share of correct AHI groups in a table of `leave_one_out`: Wilson interval and one-sided p.

    Shuffling the true groups over subjects preserves how often each group occurs and how often it
    is predicted. Leaving out a subject makes its group rarer among the neighbours, so noise scores
    slightly below this chance level and the test is conservative.
    """
    true, predicted = table["group"].to_numpy(), table["prediction"].to_numpy()
    right, n = int((true == predicted).sum()), len(table)
    if not n:
        return Hits(*[np.nan] * 5, 0)
    low, high = binomtest(right, n).proportion_ci(method="wilson")
    # Wilson's interval is about the share itself; chance is what shuffled groups reach.
    null = (correlation.permuted(true, PERMUTATIONS) == predicted).sum(1)
    p_value = correlation.permutation_p(null, right)
    return Hits(100 * right / n, 100 * low, 100 * high, 100 * null.mean() / n, p_value, n)


def typical_four(ahi: pd.Series) -> pd.Series:
    """AHI of one subject per AHI group: the one with the median AHI of its group (our Table VI).

    Groups without a subject are left out.
    """
    group = ahi.map(ahi_group)
    chosen = []
    for g in sorted(group.unique()):
        members = ahi[group == g].sort_values()
        chosen.append(members.index[len(members) // 2])
    return ahi[chosen].set_axis(pd.Index(chosen, name="subject"))


class ClipPortrait(NamedTuple):
    """Map of the clips of a few subjects in one stage, with all others placed in it (Fig. 9).

    The zone is estimated from the clips that made the map.
    """

    fitted: NDArray[np.float64]
    """Coordinates of the clips that made the map, `(n, 2)`."""
    subject: NDArray
    """Subject of each, `(n,)`."""
    zone: DangerZone
    placed: pd.DataFrame
    """Clips of the other subjects, placed in the map: subject, x, y, in_zone."""

    def zone_shares(self, ahi: pd.Series) -> pd.DataFrame:
        """One row per placed subject: ahi (events/h), clips, in_zone (% of clips in the zone)."""
        clips = self.placed.groupby("subject")["in_zone"]
        table = pd.DataFrame({"clips": clips.size(), "in_zone": 100 * clips.mean()})
        return table.assign(ahi=ahi.reindex(table.index))[["ahi", "clips", "in_zone"]]


def clip_portrait(
    embedding: ArrayLike,
    subject: ArrayLike,
    ahi: pd.Series,
    chosen: ArrayLike,
    perplexity: float = PERPLEXITY,
) -> ClipPortrait:
    """Map the clips of `chosen` subjects, estimate the danger zone, and place all other clips.

    Args:
        embedding: `(n, d)`, clips of one stage.
        subject: `(n,)`.
        ahi: events/h by subject.
        chosen: subjects whose clips make the map.

    Raises:
        ValueError: too few clips, or none or all of the chosen subjects have AHI > 30 events/h.
    """
    embedding, subject = np.asarray(embedding, float), np.asarray(subject)
    inside = np.isin(subject, chosen)
    fitted = fit_map(embedding[inside], perplexity)
    coordinates, names = np.asarray(fitted), subject[inside]
    zone = DangerZone(coordinates, names, ahi[names])
    placed = transform(fitted, embedding[~inside]) if not inside.all() else np.empty((0, 2))
    table = pd.DataFrame({"subject": subject[~inside], "x": placed[:, 0], "y": placed[:, 1]})
    table["in_zone"] = zone.contains(placed) if len(placed) else False
    return ClipPortrait(coordinates, names, zone, table)


def zone_correlation(shares: pd.DataFrame) -> Estimate:
    """Spearman's rho of the AHI with the share of clips in the danger zone, over placed subjects.

    The interval is that of `correlation.rho_interval`, the p-value two-sided by permutation.

    Args:
        shares: columns ahi and in_zone, one row per subject (`ClipPortrait.zone_shares`). Fewer
            than four subjects, or equal shares, give NaN.
    """
    n = len(shares)
    if n < 4 or shares["in_zone"].nunique() < 2:
        return Estimate(np.nan, n_subjects=n)
    in_zone = shares[["in_zone"]].to_numpy()[:, None]
    table = correlation.spearman(in_zone, shares["ahi"], permutations=PERMUTATIONS)
    rho = float(table["rho"][0])
    return Estimate(rho, *correlation.rho_interval(rho, n), float(table["p_max"][0]), n)
