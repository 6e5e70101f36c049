"""t-SNE maps of embeddings (openTSNE), and what can be measured beside a picture (Figs. 8 to 10, VI-B3 and VI-C1).

t-SNE keeps neighbourhoods, not distances: size and gaps of clusters mean nothing, and another seed
gives another map. Therefore silhouette and purity are those of the embeddings themselves. openTSNE:
doi:10.18637/jss.v109.i03.
"""

from typing import Final

import numpy as np
import openTSNE
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import KernelDensity, NearestNeighbors

from sacd.stages import AHI_GROUPS, ahi_group

SEED: Final = 0
PERPLEXITY: Final = 30.0
MIN_POINTS: Final = 8
"""Points of the smallest map."""
SEVERE: Final = len(AHI_GROUPS) - 1


def fitted_perplexity(n: int, wanted: float = PERPLEXITY) -> float:
    """The wanted perplexity, or the largest that n points allow: a third of the others.

    >>> fitted_perplexity(1000), fitted_perplexity(31)
    (30.0, 10.0)
    """
    return float(min(wanted, (n - 1) / 3))


def fit_map(
    features: ArrayLike, perplexity: float = PERPLEXITY, seed: int = SEED
) -> openTSNE.TSNEEmbedding:
    """Map `(n, 2)` of features `(n, d)`; it is an array that also takes new points (`transform`). Equal seed, equal map.

    Raises:
        ValueError: fewer than `MIN_POINTS` points, or features that are not finite.
    """
    features = np.asarray(features, np.float64)
    if len(features) < MIN_POINTS:
        raise ValueError(
            f"a t-SNE map needs at least {MIN_POINTS} points, there are {len(features)}"
        )
    if not np.isfinite(features).all():
        raise ValueError(
            f"{np.isnan(features).any(1).sum()} of {len(features)} points have features that are not finite"
        )
    fitted = openTSNE.TSNE(
        perplexity=fitted_perplexity(len(features), perplexity),
        initialization="pca",
        negative_gradient_method="bh",
        neighbors="exact",
        n_jobs=1,  # with more, the order of sums and with it the map would depend on the machine
        random_state=seed,
    ).fit(features)
    # `transform` would do this at its first call, and so move the map away from what was made of it
    # before.
    fitted -= (fitted.max(0) + fitted.min(0)) / 2
    return fitted


def transform(fitted: openTSNE.TSNEEmbedding, features: ArrayLike) -> NDArray[np.float64]:
    """Coordinates `(k, 2)` of new points in a map, which stays as it is; each is placed as if it were the only one."""
    perplexity = fitted_perplexity(len(fitted), 5)
    return np.asarray(fitted.transform(np.asarray(features, np.float64), perplexity=perplexity))


def purity(
    features: ArrayLike, label: ArrayLike, subject: ArrayLike, k: int = 15
) -> NDArray[np.float64]:
    """Share `(n,)` of the k nearest clips **of other subjects** that have the clip's label.

    Clips of the same subject look alike whatever the stage, so they are no evidence. Chance is the
    share of the label among the other subjects' clips (`chance_purity`). NaN for a subject that is
    alone.
    """
    features, label, subject = (
        np.asarray(features, np.float64),
        np.asarray(label),
        np.asarray(subject),
    )
    share = np.full(len(label), np.nan)
    for name in np.unique(subject):
        own = subject == name
        if not own.all():
            finder = NearestNeighbors(n_neighbors=min(k, int((~own).sum()))).fit(features[~own])
            near = finder.kneighbors(features[own], return_distance=False)
            share[own] = (label[~own][near] == label[own][:, None]).mean(1)
    return share


def chance_purity(label: ArrayLike, subject: ArrayLike) -> NDArray[np.float64]:
    """Expectation `(n,)` of `purity` if neighbours were drawn at random from the other subjects' clips."""
    label, subject = np.asarray(label), np.asarray(subject)
    others = [label[subject != s] for s in subject]
    return np.array(
        [(o == mine).mean() if len(o) else np.nan for o, mine in zip(others, label, strict=True)]
    )


def silhouette(features: ArrayLike, label: ArrayLike) -> NDArray[np.float64]:
    """Silhouette `(n,)` of each clip, -1..1, by Euclidean distance; NaN if there are fewer than two labels."""
    label = np.asarray(label)
    if not 1 < len(np.unique(label)) < len(label):
        return np.full(len(label), np.nan)
    return silhouette_samples(np.asarray(features, np.float64), label)


class DangerZone:
    """Where on a map of clips severe apnea is at home: estimated, not drawn by hand.

    `share` is the local share of subjects with AHI > 30 events/h, by two Gaussian kernel densities
    with one bandwidth (Scott's rule); each subject weighs as much as any other, however many clips
    it has. The zone is where the share is at least `least` and where the map has points at all
    (density at least that of all but 5 % of the points).

    Args:
        coordinates: `(n, 2)`.
        subject: `(n,)`.
        ahi: `(n,)` events/h of each point's subject.
        least: share from which a place belongs to the zone.

    Raises:
        ValueError: no point is of a severe subject, or all are.
    """

    def __init__(
        self, coordinates: ArrayLike, subject: ArrayLike, ahi: ArrayLike, least: float = 0.5
    ) -> None:
        coordinates, subject = np.asarray(coordinates, np.float64), np.asarray(subject)
        severe = np.array([ahi_group(a) == SEVERE for a in np.asarray(ahi, float)])
        if severe.all() or not severe.any():
            raise ValueError(
                "a danger zone needs points of subjects with AHI > 30 events/h and of others"
            )
        _, inverse, counts = np.unique(subject, return_inverse=True, return_counts=True)
        weight = 1 / counts[inverse]
        bandwidth = coordinates.std(0).mean() * len(coordinates) ** (-1 / 6)
        self.least, self._share = least, weight[severe].sum() / weight.sum()
        self._severe, self._all = (
            KernelDensity(bandwidth=bandwidth).fit(coordinates[rows], sample_weight=weight[rows])
            for rows in (severe, np.ones(len(severe), bool))
        )
        self._floor = np.quantile(self._all.score_samples(coordinates), 0.05)

    def share(self, points: ArrayLike) -> NDArray[np.float64]:
        """Local share of severe subjects `(n,)` at points `(n, 2)`; NaN where the map is empty."""
        points = np.asarray(points, np.float64)
        density = self._all.score_samples(points)
        share = self._share * np.exp(self._severe.score_samples(points) - density)
        return np.where(density >= self._floor, share, np.nan)

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Which points `(n, 2)` lie in the zone."""
        return np.nan_to_num(self.share(points)) >= self.least
