"""Effect of the distillation terms, measured on held-out nights; never used to select weights."""

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from sacd.data.batches import runs


def matching_auc(distance: np.ndarray) -> float:
    """Area under the ROC curve of matched against mismatched pairs, scored by `-distance`.

    Args:
        distance: `(G, G)`; the matched pairs are on the diagonal.

    Returns:
        0.5 is chance, 1 is perfect; NaN for fewer than two groups.

    >>> matching_auc(np.array([[0.0, 1.0], [1.0, 0.0]]))
    1.0
    """
    if len(distance) < 2:
        return float("nan")
    matched = np.eye(len(distance), dtype=bool)
    return float(roc_auc_score(matched.ravel(), -np.asarray(distance).ravel()))


def block_stack(values: np.ndarray, blocks: np.ndarray, size: int) -> np.ndarray:
    """The first `size` clips of every block that is long enough, `(G, size, d)`.

    Args:
        values: `(n, d)`; the rows of a block must be adjacent.
        blocks: `(n,)` block ids.
    """
    groups = [values[rows[:size]] for rows in runs(blocks) if len(rows) >= size]
    return np.stack(groups) if groups else np.empty((0, size, *values.shape[1:]), values.dtype)


@torch.inference_mode()
def graph_distances(
    video_graph: nn.Module, eeg_graph: nn.Module, video: Tensor, eeg: Tensor
) -> tuple[np.ndarray, float, float]:
    """Distances between the graph vectors of video group i and EEG group j, and both spreads.

    Args:
        video, eeg: groups of clips `(G, n, 512)`.

    Returns:
        Squared distances of unit vectors `(G, G)`, and for video and EEG the mean distance of the
        unit vectors from their mean; 0 means that the network has collapsed.
    """
    # Unit vectors, as L_D compares them (reading A3).
    a = nn.functional.normalize(video_graph(video), dim=-1)
    b = nn.functional.normalize(eeg_graph(eeg), dim=-1)
    spreads = [float((o - o.mean(dim=0)).norm(dim=-1).mean()) for o in (a, b)]
    return torch.cdist(a, b).square().cpu().numpy(), *spreads


def ridge_distances(
    video: np.ndarray, eeg: np.ndarray, new_video: np.ndarray, new_eeg: np.ndarray
) -> np.ndarray:
    """Reference without a graph: ridge regression from the mean video to the mean EEG embedding.

    Args:
        video, eeg: training groups `(G, n, d)`, on which the regression is fitted.
        new_video, new_eeg: held-out groups `(G', n, d)`.

    Returns:
        Cosine distances `(G', G')` between predicted and true (centred) EEG means; empty if there
        are no training or held-out groups.
    """
    if not len(video) or not len(new_video):
        return np.empty((0, 0))
    x, y = video.mean(axis=1), eeg.mean(axis=1)
    # Ridge penalises all coefficients alike, so the inputs are brought to one scale.
    scale = x.std(axis=0) + 1e-6
    model = RidgeCV(alphas=np.logspace(-1, 5, 13)).fit(
        (x - x.mean(axis=0)) / scale, y - y.mean(axis=0)
    )
    predicted = model.predict((new_video.mean(axis=1) - x.mean(axis=0)) / scale)
    return cdist(predicted, new_eeg.mean(axis=1) - y.mean(axis=0), "cosine")


def retrieval_rank(video: np.ndarray, eeg: np.ndarray) -> float:
    """Share of other clips' EEG less similar to a clip's video than its own EEG; chance is 0.5.

    Mean over all clips; the similarity is the cosine, and ties count one half.

    Args:
        video, eeg: `(n, d)`, row i of both is the same clip.
    """
    # A matrix product is several times faster than `cdist`. It is rounded, since the products of
    # equal rows may differ in the last bits.
    video, eeg = (x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12) for x in (video, eeg))
    similar = np.round(video.astype(float) @ eeg.astype(float).T, 9)
    own = np.diag(similar)[:, None]
    n = len(similar)
    return float(((similar < own).sum() + 0.5 * ((similar == own).sum() - n)) / (n * (n - 1)))


def held_out_hinge(video: Tensor, eeg: Tensor, stages: Tensor, margin: float) -> float:
    """Mean of `max(0, margin - cos(v_i, e_i) + cos(v_i, e_j))` over clips i, j of different stages.

    This is the hinge of L_C with video anchors, but with fixed negatives, so that it can be
    compared over epochs: the training loss rises when the K hardest entries of the bank get harder.
    Constant embeddings give the margin, uninformative ones at least the margin, and perfect ones 0.

    Args:
        video, eeg: `(n, d)` embeddings of any norm; row i of both is the same clip.
        stages: `(n,)`.
        margin: alpha, in cosine.

    Returns:
        0..margin + 2; NaN where all clips are of one stage.
    """
    similar = nn.functional.normalize(video) @ nn.functional.normalize(eeg).T
    # Row i: the video of clip i with its own EEG, against the EEG of every other clip.
    hinge = (margin - similar.diagonal()[:, None] + similar).relu()
    return float(hinge[stages[:, None] != stages].mean())
