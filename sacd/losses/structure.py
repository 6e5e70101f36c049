"""L_D: graphs of the same clips in both modalities shall have the same graph vector (paper IV-B, eq. 11)."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from sacd.models.graph import GraphNetwork
from sacd.models.numerics import to_float32, unit

Reading = Literal["ours", "matched_only", "literal"]


def graph_distance(a: Tensor, b: Tensor, normalise: bool = True) -> Tensor:
    """Squared Euclidean distance d of graph vectors (below eq. 11), over the last axis, by default at unit length.

    In 0..4 when normalised (A3): 0 equal, 2 orthogonal.

    >>> float(graph_distance(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 5.0])))
    2.0
    """
    if normalise:
        a, b = unit(a), unit(b)
    return (a - b).square().sum(dim=-1)


def pair_margin(d: Tensor, t: Tensor | float, gamma: float = 1.0) -> Tensor:
    """max(0, gamma - t (1 - d)): at gamma = 1, d itself for matched graphs (t = 1), max(0, 2 - d) for others (t = -1).

    Source: arXiv:1904.12787, the origin of eq. 11. Deviation: eq. 11 is printed without t and "1
    -", see `literal`.

    >>> d = torch.tensor([0.5, 3.0])
    >>> pair_margin(d, 1).tolist(), pair_margin(d, -1).tolist()
    ([0.5, 3.0], [1.5, 0.0])
    """
    return (gamma - t * (1 - d)).relu()


def literal(d: Tensor, gamma: float = 1.0) -> Tensor:
    """max(0, gamma - d), eq. 11 as printed: its gradient pushes matched graphs apart until d = gamma, then vanishes.

    Normalised graph vectors of two untrained networks are near orthogonal (d about 2), where it is
    0 from the start.

    >>> literal(torch.tensor([0.25, 2.0])).tolist()
    [0.75, 0.0]
    """
    return (gamma - d).relu()


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (weights * values).sum() / weights.sum()


class StructureResult(NamedTuple):
    """L_D and what it was made of."""

    loss: Tensor
    figures: dict[str, float]
    """d_matched, spread_video, spread_eeg; d_mismatched once there are two graphs. A spread near 0 is a collapse."""


class GraphQueue(nn.Module):
    """The inputs of the last graphs of both modalities, as buffers: re-encoded at each step, never trained through.

    Queued *graph vectors* would be stale, and a network can escape them by moving (FEASIBILITY:
    collapse).
    """

    video: Tensor
    eeg: Tensor
    count: Tensor
    pointer: Tensor
    fill: Tensor

    def __init__(self, past: int, size: int, video_dim: int, eeg_dim: int) -> None:
        super().__init__()
        self.register_buffer("video", torch.zeros(past, size, video_dim))
        self.register_buffer("eeg", torch.zeros(past, size, eeg_dim))
        self.register_buffer("count", torch.zeros(past, dtype=torch.long))
        self.register_buffer("pointer", torch.tensor(0))
        self.register_buffer("fill", torch.tensor(0))

    @torch.no_grad()
    def push(self, video: Tensor, eeg: Tensor) -> None:
        """Overwrite the oldest graph by one of `(n, d)` embeddings, n <= size."""
        at, n = int(self.pointer), len(video)
        for buffer, value in ((self.video, video), (self.eeg, eeg)):
            buffer[at] = 0
            buffer[at, :n] = value.to(buffer.dtype)
        self.count[at] = n
        self.pointer.fill_((at + 1) % len(self.count))
        self.fill.fill_(min(int(self.fill) + 1, len(self.count)))


class StructureLoss(nn.Module):
    r"""L_D over the current graph and the past ones, each encoded by a graph network per modality.

    .. math:: L_D = \tfrac12 \mathrm{mean}_{i} \max(0, \gamma - 1 + d_{ii})
        + \tfrac12 \mathrm{mean}_{i \ne j} \max(0, \gamma + 1 - d_{ij}), \quad d_{ij} = d(O_{v,i}, O_{s,j}) \qquad (11)

    Matched and mismatched pairs have equal say, though there are more of the latter; until a second
    graph is there, L_D is the matched half alone at full weight. Past graphs train the graph
    networks only, the current one the student too. In the means the past graphs together weigh as
    much as the current one (pair i, j: w_i w_j with w = 1 now and 1/5 for each of 5 past ones): in
    a plain mean 5 of 6 matched pairs would pass the student by.

    Deviation: eq. 11 knows one matched pair a step. Both networks then agree on a constant (A13;
    `matched_only` shows it), so mismatched pairs with the past graphs are added, and d is taken at
    unit length (A3).

    The centre subtracted from every node is the mean over the current and the past clips, per
    modality and without gradient. It exists from the first step, follows the student without lag,
    is rebuilt from the queue after a resume, and keeps what sets one graph off from the others: a
    mean within the graph would erase that, a running mean lags. Held-out graphs take the networks'
    running mean instead: six batches are too few to place them well.

    Source: arXiv:2208.05814, IV-B.

    Args:
        video_dim, eeg_dim: widths of the embeddings (512).
        layers, update: of `GraphNetwork`.
        gamma: margin; 1 makes the matched hinge equal to d.
        reading: `ours`; `matched_only` without the mismatched half; `literal`, eq. 11 as printed,
            on raw graph vectors.
        past: graphs kept.
        size: clips of a graph at most (paper: the batch of 16); a larger batch makes several
            graphs.

    Raises:
        ValueError: `reading` is unknown.
    """

    def __init__(
        self,
        video_dim: int = 512,
        eeg_dim: int = 512,
        layers: int = 3,
        update: Literal["residual", "gru"] = "residual",
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
        self.video = GraphNetwork(video_dim, layers, update)
        self.eeg = GraphNetwork(eeg_dim, layers, update)
        self.queue = GraphQueue(past, size, video_dim, eeg_dim)

    def forward(self, video: Tensor, eeg: Tensor) -> StructureResult:
        """L_D of `(B, d)` video and EEG embeddings of the same B >= 1 consecutive clips."""
        o_video = self._encode(self.video, video, self.queue.video)
        o_eeg = self._encode(self.eeg, eeg, self.queue.eeg)
        d = graph_distance(o_video[:, None], o_eeg[None], normalise=self.reading != "literal")
        matched, others = d.diagonal(), ~torch.eye(len(d), dtype=torch.bool, device=d.device)
        now = len(d) - int(self.queue.fill)
        weight = torch.cat(
            [d.new_full((now,), 1 / now), d.new_full((len(d) - now,), 1 / max(len(d) - now, 1))]
        )
        if self.reading == "literal":
            loss = _mean(literal(matched, self.gamma), weight**2)
        else:
            loss = _mean(pair_margin(matched, 1, self.gamma), weight**2)
            if self.reading == "ours" and len(d) > 1:
                pairs = torch.outer(weight, weight)[others]
                loss = 0.5 * (loss + _mean(pair_margin(d[others], -1, self.gamma), pairs))
        figures = {"d_matched": float(matched.detach().mean())}
        if len(d) > 1:
            figures["d_mismatched"] = float(d.detach()[others].mean())
            figures["spread_video"], figures["spread_eeg"] = spread(o_video), spread(o_eeg)
        return StructureResult(loss, figures)

    @torch.no_grad()
    def push(self, video: Tensor, eeg: Tensor) -> None:
        """Remember the inputs of a step's graphs; call it after the loss."""
        video, eeg = to_float32(video), to_float32(eeg)
        self.video.follow(video)
        self.eeg.follow(eeg)
        for v, e in zip(video.split(self.size), eeg.split(self.size), strict=True):
            self.queue.push(v, e)

    def _encode(self, network: GraphNetwork, current: Tensor, past: Tensor) -> Tensor:
        """Graph vectors `(G, 1024)` of the current graphs, then of the past ones, in one call."""
        fill = int(self.queue.fill)
        groups = to_float32(current).split(self.size)
        counts = torch.cat(
            [torch.tensor([len(g) for g in groups], device=past.device), self.queue.count[:fill]]
        )
        nodes = pad_sequence([*groups, *past[:fill]], batch_first=True)
        present = torch.arange(nodes.shape[1], device=nodes.device) < counts[:, None]
        return network(nodes, present, centre=nodes.detach()[present].mean(dim=0))


@torch.no_grad()
def spread(graphs: Tensor) -> float:
    """Mean distance of unit graph vectors `(G, 1024)` from their mean: 0 collapsed, near 1 all different."""
    o = unit(graphs)
    return float((o - o.mean(dim=0)).norm(dim=-1).mean())
