"""L_D, the structure loss: both modalities give the same graph vector (paper IV-B, eqs. 2, 11).

The clips of a batch are the nodes of a graph, once with their video embeddings and once with those
of the EEG. A network per modality reduces each graph to a vector. The two vectors of a batch should
be nearer to each other than to those of other batches.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from sacd.models.bank import RingBuffer
from sacd.models.graph import GraphNetwork
from sacd.models.numerics import to_float32, unit

Reading = Literal["ours", "matched_only", "literal"]


def graph_distance(a: Tensor, b: Tensor, normalise: bool = True) -> Tensor:
    """Squared Euclidean distance d of graph vectors over the last axis (below eq. 11).

    By default the vectors are first scaled to unit length (reading A3): d is then in 0..4, 0 for
    equal and 2 for orthogonal vectors.

    >>> float(graph_distance(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 5.0])))
    2.0
    """
    if normalise:
        a, b = unit(a), unit(b)
    return (a - b).square().sum(dim=-1)


def pair_margin(d: Tensor, t: Tensor | float, gamma: float = 1.0) -> Tensor:
    """Pair margin loss, max(0, gamma - t (1 - d)).

    At gamma = 1 it is d for matched graphs (t = 1) and max(0, 2 - d) for mismatched ones (t = -1).

    Source: arXiv:1904.12787, from which eq. 11 is taken. Deviation: eq. 11 is printed without t and
    without "1 -" (reading A2); see `literal`.

    >>> d = torch.tensor([0.5, 3.0])
    >>> pair_margin(d, 1).tolist(), pair_margin(d, -1).tolist()
    ([0.5, 3.0], [1.5, 0.0])
    """
    return (gamma - t * (1 - d)).relu()


def literal(d: Tensor, gamma: float = 1.0) -> Tensor:
    """Eq. 11 as printed, max(0, gamma - d).

    Its gradient drives matched graphs apart until d = gamma and is 0 from there on. Graph vectors
    of two untrained networks are nearly orthogonal (d about 2 at unit length), so the gradient is
    0 from the start.

    >>> literal(torch.tensor([0.25, 2.0])).tolist()
    [0.75, 0.0]
    """
    return (gamma - d).relu()


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (weights * values).sum() / weights.sum()


class StructureResult(NamedTuple):
    """L_D and its diagnostics."""

    loss: Tensor
    figures: dict[str, Tensor]
    """Scalars: `d_matched`; with two graphs or more also `d_mismatched`, and both spreads.

    `spread_video` or `spread_eeg` near 0 means that the network has collapsed.
    """


class GraphQueue(RingBuffer):
    """Inputs of the last graphs of both modalities, re-encoded at each step.

    Cached graph vectors go stale and let the networks lower the loss by drifting, until they
    collapse; we store inputs and re-encode them.
    """

    video: Tensor
    eeg: Tensor
    count: Tensor
    """Clips of each graph; the rows after them are 0."""

    def __init__(self, past: int, size: int, video_dim: int, eeg_dim: int) -> None:
        super().__init__(
            video=torch.zeros(past, size, video_dim),
            eeg=torch.zeros(past, size, eeg_dim),
            count=torch.zeros(past, dtype=torch.long),
        )

    @torch.no_grad()
    def push(self, video: Tensor, eeg: Tensor) -> None:
        """Overwrite the oldest graph with one of `(n, d)` embeddings, n <= size."""
        n, size = len(video), self.video.shape[1]
        padding = (0, 0, 0, size - n)
        self.write(
            video=pad(video, padding)[None],
            eeg=pad(eeg, padding)[None],
            count=torch.full((1,), n, device=self.count.device),
        )


class StructureLoss(nn.Module):
    r"""L_D over the current graph and past ones, encoded by one graph network per modality.

    .. math:: L_D = \tfrac12 \mathrm{mean}_{i} \max(0, \gamma - 1 + d_{ii})
        + \tfrac12 \mathrm{mean}_{i \ne j} \max(0, \gamma + 1 - d_{ij}),
        \quad d_{ij} = d(O_{v,i}, O_{s,j}) \qquad (11)

    Matched and mismatched pairs have equal weight, although there are more of the latter. Until
    there is a second graph, L_D is the matched half at full weight. Past graphs train the graph
    networks only; the current graph also trains the student. In both means the past graphs
    together weigh as much as the current one: the pair (i, j) has weight w_i w_j, with w = 1 for
    the current graph and 1/5 for each of 5 past ones. In a plain mean, 5 of 6 matched pairs would
    not train the student.

    Deviation: eq. 11 has one matched pair per step. Both networks then collapse to a constant
    (reading A13; `matched_only` shows it), so mismatched pairs with past graphs are added, and d is
    taken at unit length (reading A3).

    The centre subtracted from every node is the mean over the current and the past clips, per
    modality and without gradient. It is defined at the first step, follows the student without lag,
    and is rebuilt from the queue after a resume. It keeps what distinguishes one graph from the
    others, which a mean within the graph would remove; a running mean would lag behind the student.
    Held-out graphs use the running mean of the networks, because six batches are too few for a
    precise centre.

    Source: arXiv:2208.05814, IV-B.

    Args:
        video_dim, eeg_dim: widths of the embeddings (512).
        layers: propagation layers of `GraphNetwork`.
        gamma: margin; 1 makes the matched hinge equal to d.
        reading: `ours`; `matched_only`, without the mismatched half; `literal`, eq. 11 as printed,
            on raw graph vectors.
        past: number of past graphs.
        size: maximum number of clips of a graph (paper: the batch of 16); a larger batch is split
            into several graphs.

    Raises:
        ValueError: `reading` is unknown.
    """

    def __init__(
        self,
        video_dim: int = 512,
        eeg_dim: int = 512,
        layers: int = 3,
        gamma: float = 1.0,
        reading: Reading = "ours",
        past: int = 5,
        size: int = 16,
    ) -> None:
        super().__init__()
        if reading not in ("ours", "matched_only", "literal"):
            raise ValueError(
                f"structure {reading!r} is unknown; known: ours, matched_only, literal"
            )
        self.gamma, self.reading, self.size = gamma, reading, size
        self.video = GraphNetwork(video_dim, layers)
        self.eeg = GraphNetwork(eeg_dim, layers)
        self.queue = GraphQueue(past, size, video_dim, eeg_dim)

    def forward(self, video: Tensor, eeg: Tensor) -> StructureResult:
        """L_D of `(B, d)` video and EEG embeddings of the same B >= 1 consecutive clips."""
        # Past inputs are encoded again by today's networks; see `GraphQueue`.
        o_video = self._encode(self.video, video, self.queue.video)
        o_eeg = self._encode(self.eeg, eeg, self.queue.eeg)
        d = graph_distance(o_video[:, None], o_eeg[None], normalise=self.reading != "literal")
        matched, others = d.diagonal(), 1 - torch.eye(len(d), dtype=d.dtype, device=d.device)
        # `_encode` puts the current graphs first.
        past = self.queue.fill
        now = len(d) - past
        weight = torch.cat([d.new_full((now,), 1 / now), d.new_full((past,), 1 / max(past, 1))])
        # The weight of the pair (i, j) is w_i w_j, and so w_i^2 for a matched one.
        if self.reading == "literal":
            loss = _mean(literal(matched, self.gamma), weight**2)
        else:
            loss = _mean(pair_margin(matched, 1, self.gamma), weight**2)
            if self.reading == "ours" and len(d) > 1:
                pairs = torch.outer(weight, weight) * others
                loss = 0.5 * (loss + _mean(pair_margin(d, -1, self.gamma), pairs))
        figures = {"d_matched": matched.detach().mean()}
        if len(d) > 1:
            figures["d_mismatched"] = _mean(d.detach(), others)
            figures["spread_video"], figures["spread_eeg"] = spread(o_video), spread(o_eeg)
        return StructureResult(loss, figures)

    @torch.no_grad()
    def push(self, video: Tensor, eeg: Tensor) -> None:
        """Store the inputs of the current graphs; call it after the loss."""
        video, eeg = to_float32(video), to_float32(eeg)
        self.video.follow(video)
        self.eeg.follow(eeg)
        for v, e in zip(video.split(self.size), eeg.split(self.size), strict=True):
            self.queue.push(v, e)

    def _encode(self, network: GraphNetwork, current: Tensor, past: Tensor) -> Tensor:
        """Graph vectors `(G, 1024)` of the current graphs, then of the past ones, in one call."""
        fill = self.queue.fill
        groups = to_float32(current).split(self.size)
        # Built from `count` and filled in place: a tensor of Python numbers would have to be copied
        # to the GPU.
        now = self.queue.count.new_full((len(groups),), self.size)
        now[-1:].fill_(len(groups[-1]))
        counts = torch.cat([now, self.queue.count[:fill]])
        nodes = pad_sequence([*groups, *past[:fill]], batch_first=True)
        present = torch.arange(nodes.shape[1], device=nodes.device) < counts[:, None]
        # Padding is 0 and adds nothing to the sum. Without a gradient: through the centre, the past
        # graphs would train the student.
        centre = nodes.detach().sum(dim=(0, 1)) / counts.sum()
        return network(nodes, present, centre=centre)


@torch.no_grad()
def spread(graphs: Tensor) -> Tensor:
    """Scalar: mean distance of unit graph vectors `(G, 1024)` from their mean.

    0 means that all are equal (collapsed); near 1, all are different.
    """
    o = unit(graphs)
    return (o - o.mean(dim=0)).norm(dim=-1).mean()
