"""t-SNE maps of embeddings, and measures of their structure (Figs. 8 to 10, VI-B3 and VI-C1).

t-SNE preserves neighbourhoods, not distances: the sizes and gaps of clusters have no meaning, and
another seed gives another map. Silhouette and purity are therefore computed on the embeddings
themselves. Maps are made by openTSNE (doi:10.18637/jss.v109.i03).
"""

from typing import Final

import numpy as np
import openTSNE
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.metrics import silhouette_samples
from sklearn.neighbors import KernelDensity, NearestNeighbors

from sacd.stages import AHI_GROUPS, ahi_group

PERPLEXITY: Final = 30.0
MIN_POINTS: Final = 8
"""Fewer points cannot be mapped."""
SEVERE: Final = len(AHI_GROUPS) - 1
LEAST: Final = 0.5
"""Smallest share of severe subjects inside a danger zone."""


def fitted_perplexity(n: int, wanted: float) -> float:
    """The wanted perplexity, or the largest that n points allow: a third of the other points.

    >>> fitted_perplexity(1000, 30), fitted_perplexity(31, 30)
    (30.0, 10.0)
    """
    return float(min(wanted, (n - 1) / 3))


def fit_map(features: ArrayLike, perplexity: float = PERPLEXITY) -> openTSNE.TSNEEmbedding:
    """t-SNE map `(n, 2)` of features `(n, d)`; equal features give equal maps.

    The result is an array into which `transform` places new points.

    Raises:
        ValueError: fewer than `MIN_POINTS` points, or features that are not finite.
    """
    features = np.asarray(features, np.float64)
    if len(features) < MIN_POINTS:
        raise ValueError(
            f"a t-SNE map needs at least {MIN_POINTS} points, there are {len(features)}"
        )
    if not np.isfinite(features).all():
        bad = (~np.isfinite(features)).any(1).sum()
        raise ValueError(f"{bad} of {len(features)} points have features that are not finite")
    fitted = openTSNE.TSNE(
        perplexity=fitted_perplexity(len(features), perplexity),
        # PCA keeps the large-scale order and needs no random start.
        initialization="pca",
        negative_gradient_method="bh",
        neighbors="exact",  # an approximate search may find others on another machine
        n_jobs=1,  # with more, the order of sums, and so the map, would depend on the machine
        random_state=0,
    ).fit(features)
    # openTSNE's `transform` centres the map at its first call. Doing it here keeps the coordinates
    # that were read before valid.
    fitted -= (fitted.max(0) + fitted.min(0)) / 2
    return fitted


def transform(fitted: openTSNE.TSNEEmbedding, features: ArrayLike) -> NDArray[np.float64]:
    """Coordinates `(k, 2)` of new points in a fixed map, each placed independently."""
    perplexity = fitted_perplexity(len(fitted), 5)
    return np.asarray(fitted.transform(np.asarray(features, np.float64), perplexity=perplexity))


def purity(
    features: ArrayLike, label: ArrayLike, subject: ArrayLike, k: int = 15
) -> NDArray[np.float64]:
    """Share `(n,)` of the k nearest clips of **other subjects** that have the label of the clip.

    Clips of the same subject look alike in any stage, so they are no evidence. Chance is the share
    of the label among the clips of the other subjects (`chance_purity`). NaN if there is only one
    subject.
    """
    features = np.asarray(features, np.float64)
    label, subject = np.asarray(label), np.asarray(subject)
    share = np.full(len(label), np.nan)
    for name in np.unique(subject):
        own = subject == name
        if not own.all():
            # The subject's own clips are left out of the search, not of its result: they
            # would fill the k places.
            finder = NearestNeighbors(n_neighbors=min(k, int((~own).sum()))).fit(features[~own])
            near = finder.kneighbors(features[own], return_distance=False)
            share[own] = (label[~own][near] == label[own][:, None]).mean(1)
    return share


def chance_purity(label: ArrayLike, subject: ArrayLike) -> NDArray[np.float64]:
    """Expected `purity` `(n,)` if neighbours were random clips of the other subjects."""
    label, subject = np.asarray(label), np.asarray(subject)
    share = np.full(len(label), np.nan)
    for i in range(len(label)):
        others = label[subject != subject[i]]
        if len(others):
            share[i] = (others == label[i]).mean()
    return share


def silhouette(features: ArrayLike, label: ArrayLike) -> NDArray[np.float64]:
    """Silhouette `(n,)` of each clip, -1..1, by Euclidean distance; NaN for a single label."""
    label = np.asarray(label)
    if not 1 < len(np.unique(label)) < len(label):
        return np.full(len(label), np.nan)
    return silhouette_samples(np.asarray(features, np.float64), label)


class DangerZone:
    """Region of a t-SNE map of clips that is dominated by subjects with severe apnea.

    The paper draws it by hand; we estimate it. `share` is the local share of subjects with AHI > 30
    events/h, from two Gaussian kernel densities with a common bandwidth (Scott's rule). Subjects
    have equal weights, however many clips they have. The zone is the part of the map where the
    share is at least `LEAST` and the density is at least the 5 % quantile over the points.

    Args:
        coordinates: `(n, 2)`.
        subject: `(n,)`.
        ahi: `(n,)`, AHI in events/h of the subject of each point.

    Raises:
        ValueError: no subject is severe, or all are.
    """

    def __init__(self, coordinates: ArrayLike, subject: ArrayLike, ahi: ArrayLike) -> None:
        coordinates, subject = np.asarray(coordinates, np.float64), np.asarray(subject)
        severe = np.array([ahi_group(a) == SEVERE for a in np.asarray(ahi, float)])
        if severe.all() or not severe.any():
            raise ValueError(
                "a danger zone needs points of subjects with AHI > 30 events/h and of others"
            )
        _, inverse, counts = np.unique(subject, return_inverse=True, return_counts=True)
        weight = 1 / counts[inverse]
        # Scott: n^(-1 / (d + 4)) with d = 2.
        bandwidth = coordinates.std(0).mean() * len(coordinates) ** (-1 / 6)
        self._share = weight[severe].sum() / weight.sum()
        kernel = KernelDensity(bandwidth=bandwidth)
        self._severe = clone(kernel).fit(coordinates[severe], sample_weight=weight[severe])
        self._all = clone(kernel).fit(coordinates, sample_weight=weight)
        self._floor = np.quantile(self._all.score_samples(coordinates), 0.05)

    def share(self, points: ArrayLike) -> NDArray[np.float64]:
        """Local share of severe subjects `(n,)` at points `(n, 2)`; NaN where the map is empty."""
        points = np.asarray(points, np.float64)
        density = self._all.score_samples(points)
        share = self._share * np.exp(self._severe.score_samples(points) - density)
        return np.where(density >= self._floor, share, np.nan)

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Which of the points `(n, 2)` lie in the zone."""
        return np.nan_to_num(self.share(points)) >= LEAST
