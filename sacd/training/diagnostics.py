"""Does a distillation term do anything? Measured on nights that were not trained on, never used to select weights."""

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.linear_model import RidgeCV
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn


def matching_auc(distance: np.ndarray) -> float:
    """Area under the ROC curve of `-d` for matched (diagonal) against mismatched pairs of a `(G, G)` distance matrix.

    0.5 is chance, 1 is perfect. NaN for fewer than two groups.

    >>> matching_auc(np.array([[0.0, 1.0], [1.0, 0.0]]))
    1.0
    """
    if len(distance) < 2:
        return float("nan")
    return float(
        roc_auc_score(np.eye(len(distance), dtype=bool).ravel(), -np.asarray(distance).ravel())
    )


def block_stack(values: np.ndarray, blocks: np.ndarray, size: int) -> np.ndarray:
    """`(G, size, d)`: the first `size` clips of every block that has as many; rows of a block must be adjacent."""
    starts = np.flatnonzero(np.r_[True, blocks[1:] != blocks[:-1]])
    lengths = np.diff(np.r_[starts, len(blocks)])
    groups = [values[s : s + size] for s in starts[lengths >= size]]
    return np.stack(groups) if groups else np.empty((0, size, *values.shape[1:]), values.dtype)


@torch.inference_mode()
def graph_distances(
    video_graph: nn.Module, eeg_graph: nn.Module, video: Tensor, eeg: Tensor
) -> tuple[np.ndarray, float, float]:
    """Distances `(G, G)` between video graph i and EEG graph j of groups of clips `(G, n, 512)`, and both spreads.

    The spread is the mean distance of unit graph vectors from their mean: 0 means that a network
    has collapsed.
    """
    a = nn.functional.normalize(video_graph(video), dim=-1)
    b = nn.functional.normalize(eeg_graph(eeg), dim=-1)
    spreads = [float((o - o.mean(dim=0)).norm(dim=-1).mean()) for o in (a, b)]
    return torch.cdist(a, b).square().cpu().numpy(), *spreads


def ridge_distances(
    video: np.ndarray, eeg: np.ndarray, new_video: np.ndarray, new_eeg: np.ndarray
) -> np.ndarray:
    """The yardstick without a graph: a ridge from mean video to mean EEG embedding, fitted on training groups.

    Args:
        video, eeg: training groups `(G, n, d)`; new_video, new_eeg: held-out groups.

    Returns:
        Cosine distances `(G', G')` between predicted and true (centred) EEG means; empty without
        training groups.
    """
    if not len(video) or not len(new_video):
        return np.empty((0, 0))
    x, y = video.mean(axis=1), eeg.mean(axis=1)
    scale = x.std(axis=0) + 1e-6
    model = RidgeCV(alphas=np.logspace(-1, 5, 13)).fit(
        (x - x.mean(axis=0)) / scale, y - y.mean(axis=0)
    )
    predicted = model.predict((new_video.mean(axis=1) - x.mean(axis=0)) / scale)
    return cdist(predicted, new_eeg.mean(axis=1) - y.mean(axis=0), "cosine")


def retrieval_rank(video: np.ndarray, eeg: np.ndarray) -> float:
    """Mean share of other clips' EEG that is less similar (cosine) to a clip's video than its own EEG. Chance is 0.5.

    Args:
        video, eeg: `(n, d)`, row i of both is the same clip.
    """
    # A matrix product is several times as fast as `cdist`; rounded, since equal rows may differ in
    # their last bits.
    video, eeg = (x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12) for x in (video, eeg))
    similar = np.round(video.astype(float) @ eeg.astype(float).T, 9)
    own = np.diag(similar)[:, None]
    n = len(similar)
    return float(((similar < own).sum() + 0.5 * ((similar == own).sum() - n)) / (n * (n - 1)))


def held_out_hinge(video: Tensor, eeg: Tensor, stages: Tensor, margin: float) -> float:
    """Mean of `max(0, margin - cos(v_i, e_i) + cos(v_i, e_j))` over all pairs of clips i, j of different stages.

    The hinge of L_C from the video's side, with negatives that stay the same: that of the training
    rises as the K hardest entries of the bank get harder, this one can be compared over epochs. An
    embedding that says nothing about its clip has the margin (constant vectors exactly, others
    more, by their spread), a perfect one 0.

    Args:
        video, eeg: `(n, d)` embeddings, as L_C sees them, of any length; row i of both is the same
            clip.
        stages: `(n,)`.
        margin: alpha, in cosine.

    Returns:
        0..margin + 2; NaN where all clips are of one stage.
    """
    similar = nn.functional.normalize(video) @ nn.functional.normalize(eeg).T
    hinge = (margin - similar.diagonal()[:, None] + similar).relu()
    return float(hinge[stages[:, None] != stages].mean())
