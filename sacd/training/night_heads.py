"""Heads that stage a clip by the clips around it, and a hidden Markov model as their baseline."""

import math
from typing import Final, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from sacd.config import NightConfig
from sacd.data.batches import runs
from sacd.stages import STAGES, UNSCORED
from sacd.training.baselines import within_night

Rung = Literal["clip", "window", "night"]
REACH: Final = 4
"""Clips on each side that the rung `window` sees."""
LONGEST: Final = 128
"""Clips of a sequence in training; a longer night is cut."""
SMOOTH: Final = 1.0
"""Added to every count of a transition."""
SHARPNESS: Final = (0.25, 0.5, 0.75, 1.0, 1.5)
"""Exponents of the probabilities of a clip among which the validation subjects choose."""


class Head(nn.Module):
    """Logits of every clip of sequences `(B, T, F)`, from the clip, its neighbours or all.

    Args:
        rung: `clip`; `window`, `REACH` clips before and after; `night`, a bidirectional GRU.
        live: only earlier clips are seen, by a GRU in one direction.
    """

    def __init__(self, features: int, rung: Rung, live: bool, width: int, drop: float) -> None:
        super().__init__()
        self.rung, self.live = rung, live
        self.inward = nn.Sequential(nn.Dropout(drop), nn.Linear(features, width), nn.ReLU())
        self.context: nn.Module = nn.Identity()
        outward = width
        if rung == "window":
            seen = REACH + 1 if live else 2 * REACH + 1
            self.context = nn.Conv1d(width, width, seen)
        elif rung == "night":
            self.context = nn.GRU(width, width, batch_first=True, bidirectional=not live)
            outward = width if live else 2 * width
        self.drop, self.outward = nn.Dropout(drop), nn.Linear(outward, len(STAGES))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """`lengths` `(B,)`: clips of each sequence, where shorter ones are padded at the end."""
        h = self.inward(x)
        if self.rung == "window":
            if lengths is not None:
                h = h * (torch.arange(h.shape[1]) < lengths[:, None])[..., None]
            # Zeros stand for the clips before the first and after the last one.
            after = 0 if self.live else REACH
            padded = nn.functional.pad(h.transpose(1, 2), (REACH, after))
            h = self.context(padded).relu().transpose(1, 2)
        elif self.rung == "night" and lengths is None:
            h = self.context(h)[0]
        elif self.rung == "night":
            # Packed, so that the backward direction starts at the last clip, not in the padding.
            packed = pack_padded_sequence(h, lengths, batch_first=True, enforce_sorted=False)
            read, _ = self.context(packed)
            h, _ = pad_packed_sequence(read, batch_first=True, total_length=x.shape[1])
        return self.outward(self.drop(h))


def sequences(sequence: NDArray) -> list[NDArray[np.int64]]:
    """Row numbers of each sequence of equal numbers, cut to at most `LONGEST` rows."""
    pieces = []
    for rows in runs(sequence):
        pieces += [rows[k : k + LONGEST] for k in range(0, len(rows), LONGEST)]
    return pieces


def train_head(
    x: Tensor, stage: Tensor, sequence: NDArray, rung: Rung, live: bool, config: NightConfig
) -> Head:
    """A head trained by cross-entropy on sequences of clips.

    Args:
        x: `(n, F)` of the training clips, about standardised.
        stage: `(n,)`.
        sequence: `(n,)`, a number for each run of consecutive clips.
    """
    torch.manual_seed(config.seed)
    head = Head(x.shape[1], rung, live, config.width, config.drop)
    pieces = [torch.from_numpy(rows) for rows in sequences(sequence)]
    lengths = torch.tensor([len(rows) for rows in pieces])
    inputs = pad_sequence([x[rows] for rows in pieces], batch_first=True)
    labels = pad_sequence(
        [stage[rows] for rows in pieces], batch_first=True, padding_value=UNSCORED
    )
    steps = math.ceil(len(pieces) / config.batch)
    # Not fused, it takes roots by MKL, which differ between Intel and AMD (`numerics.root`).
    optimizer = torch.optim.AdamW(
        head.parameters(), config.lr, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, config.epochs * steps)
    # Of its own: the order of the batches does not depend on what dropout and weights have drawn.
    order = torch.Generator().manual_seed(config.seed)
    head.train()
    for _ in range(config.epochs):
        for rows in torch.randperm(len(pieces), generator=order).split(config.batch):
            logits = head(inputs[rows], lengths[rows]).flatten(0, 1)
            loss = nn.functional.cross_entropy(
                logits, labels[rows].flatten(), ignore_index=UNSCORED
            )
            optimizer.zero_grad()
            loss.backward()
            # Gradients of a recurrent network can grow with the length of the sequence.
            nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return head.eval()


@torch.inference_mode()
def stage_by(head: Head, x: Tensor, sequence: NDArray) -> Tensor:
    """Probabilities `(n, 5)` of clips; a sequence is read as a whole, however long it is."""
    parts = [head(x[rows][None])[0] for rows in runs(sequence)]
    return torch.cat(parts).softmax(dim=1)


class Markov:
    """Hidden Markov model: transitions as counted, emissions from a clip's probabilities.

    Args:
        stage, sequence: `(n,)` of the training clips; transitions are counted within a sequence.
    """

    def __init__(self, stage: NDArray, sequence: NDArray) -> None:
        # A transition that the training nights never show stays possible.
        count = np.full((len(STAGES), len(STAGES)), SMOOTH)
        same = sequence[1:] == sequence[:-1]
        np.add.at(count, (stage[:-1][same], stage[1:][same]), 1)
        share = np.bincount(stage, minlength=len(STAGES)) + SMOOTH
        self.prior = share / share.sum()
        self.change = count / count.sum(axis=1, keepdims=True)

    def weight(self, p: NDArray, sharpness: float) -> NDArray[np.float64]:
        """Likelihood of each clip up to a factor: `(p / prior) ** sharpness`."""
        # A network gives p(stage | clip); by Bayes' rule the likelihood is that over the prior.
        odds = (p.astype(float) + 1e-6) / self.prior
        odds = odds**sharpness
        return odds / odds.sum(axis=1, keepdims=True)

    def filtered(self, p: NDArray, sharpness: float) -> NDArray[np.float64]:
        """Probabilities of each clip's stage given it and the earlier ones, `(n, 5)`."""
        weights, now, found = self.weight(p, sharpness), self.prior, []
        for k, weight in enumerate(weights):
            now = weight * (now @ self.change if k else now)
            now = now / now.sum()  # or the product over a night underflows
            found.append(now)
        return np.stack(found)

    def smoothed(self, p: NDArray, sharpness: float) -> NDArray[np.float64]:
        """Probabilities given all clips of the sequence (forward-backward), `(n, 5)`."""
        forward, weights = self.filtered(p, sharpness), self.weight(p, sharpness)
        later, found = np.ones(len(STAGES)), []
        for k in range(len(p) - 1, -1, -1):
            both = forward[k] * later
            found.append(both / both.sum())
            later = self.change @ (weights[k] * later)
            later = later / later.sum()
        return np.stack(found[::-1])

    def path(self, p: NDArray, sharpness: float) -> NDArray[np.float64]:
        """The most probable sequence of stages (Viterbi 1967, doi:10.1109/TIT.1967.1054010).

        Returns:
            `(n, 5)`: 1 for the stage of each clip, 0 for the others; a path is one decision about
            all clips and has no probabilities of its own.
        """
        logs = np.log(self.weight(p, sharpness) + 1e-12)
        score, back = np.log(self.prior) + logs[0], []
        for log in logs[1:]:
            ways = score[:, None] + np.log(self.change)
            back.append(ways.argmax(axis=0))
            score = ways.max(axis=0) + log
        # Back from the best last stage, along the best ways that led there.
        state = [int(score.argmax())]
        for best in back[::-1]:
            state.append(int(best[state[-1]]))
        return np.eye(len(STAGES))[state[::-1]]


def beside_night(x: NDArray, subject: NDArray, live: bool) -> NDArray[np.float32]:
    """Append to `x` its difference from the subject's own level, which differs between subjects.

    The level is the median of the night; `live`, the mean of the clips so far.
    """
    beside = np.hstack([x, x - mean_so_far(x, subject)]) if live else within_night(x, subject)
    return beside.astype(np.float32)


def mean_so_far(x: NDArray, subject: NDArray) -> NDArray:
    """Mean of each column of `x` `(n, F)` over the subject's clips up to and with each clip."""
    groups = pd.DataFrame(x).groupby(subject, sort=False)
    # `expanding` returns the rows by subject; the index brings them back into the given order.
    return groups.expanding().mean().droplevel(0).sort_index().to_numpy()
