"""Graph network over the clips of a mini-batch (paper IV-B, eqs. 6-10): 16 embeddings become one graph vector."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from sacd.models.numerics import unit

NODE_INPUT, NODE, EDGE, MESSAGE, GRAPH = 64, 128, 64, 512, 1024
"""Widths printed in the paper: h before its MLP, h, e, m, O_G. Hidden layers (not printed): 64 for e, else 128."""


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    hidden = min(NODE, outputs)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class GraphNetwork(nn.Module):
    r"""Graph vector O_G of a complete directed graph whose nodes are clips.

    .. math::
        h_i^{(0)} &= MLP_{node}(x_i) & (6) \\
        e_{ij} &= MLP_{edge}([|x_i - x_j|, x_i \circ x_j]) & (7) \\
        m_{j \to i} &= F_m(h_i, h_j, e_{ij}) & (8) \\
        h_i &\leftarrow LN(h_i + U([h_i, \sum_{j \ne i} \alpha_{ij} m_{j \to i}])) & (9) \\
        O_G &= MLP_G(mean_i\, READOUT(h_i)) & (10)

    with x_i = W (F_i - centre) / |F_i - centre| (times sqrt(dim), so that coordinates have unit
    variance) and alpha_ij = softmax_j LeakyReLU_{0.2}(a [h_i, h_j]) (graph attention,
    arXiv:1710.10903). The layers share parameters.

    Embeddings have a large common part, all the more after a ReLU: left in, all nodes and all
    graphs look alike. Their length differs by modality and training step and says little about the
    clip. The centre is the common part over several batches; taken within one graph it would take
    the content along. As in batch norm, training passes the mean of recent batches, and the buffer
    `centre`, a running mean kept by `follow`, serves when none is passed.

    The arithmetic is exact but cheap: F_m's first layer is a sum of a target, a source and an edge
    part (the last is the same in every layer), and its last layer is applied to the
    attention-weighted sum, as the weights add up to 1.

    Source: arXiv:2208.05814 (SACD), IV-B; the pattern is arXiv:1904.12787 (graph matching networks,
    embedding variant).

    Args:
        dim: width of an embedding F (512).
        layers: propagation layers, >= 0; 0 is the control without messages.
        update: `residual` as above, or `gru`: a GRU cell on (message, h).
    """

    centre: Tensor
    steps: Tensor

    def __init__(
        self, dim: int = 512, layers: int = 3, update: Literal["residual", "gru"] = "residual"
    ) -> None:
        super().__init__()
        if update not in ("residual", "gru"):
            raise ValueError(f"update {update!r} is unknown; known: residual, gru")
        self.layers = layers
        self.project = nn.Linear(dim, NODE_INPUT)
        self.node = _mlp(NODE_INPUT, NODE)
        self.edge = _mlp(2 * NODE_INPUT, EDGE)
        self.message = _mlp(2 * NODE + EDGE, MESSAGE)
        self.attention = nn.Linear(2 * NODE, 1, bias=False)
        self.update = (
            _mlp(NODE + MESSAGE, NODE) if update == "residual" else nn.GRUCell(MESSAGE, NODE)
        )
        self.norm = nn.LayerNorm(NODE)
        self.readout = nn.Linear(NODE, GRAPH)
        self.graph = nn.Sequential(nn.ReLU(), nn.Linear(GRAPH, GRAPH))
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("steps", torch.tensor(0))

    @torch.no_grad()
    def follow(self, embeddings: Tensor) -> None:
        """Move `centre` towards the mean of `(n, dim)`: the plain mean over the first 50 calls, then by 1/50 each."""
        self.steps += 1
        self.centre.lerp_(
            embeddings.to(self.centre.dtype).mean(dim=0), max(1 / int(self.steps), 1 / 50)
        )

    def forward(
        self, embeddings: Tensor, present: Tensor | None = None, centre: Tensor | None = None
    ) -> Tensor:
        """Graph vectors.

        Args:
            embeddings: `(n, dim)` clips of one graph, or `(G, n, dim)`.
            present: `(G, n)` bool; False marks padding of graphs with fewer clips. Each graph has
                one clip or more.
            centre: `(dim,)` in place of the buffer.

        Returns:
            `(1024,)` or `(G, 1024)`.
        """
        if embeddings.ndim == 2:
            return self(embeddings[None], None if present is None else present[None], centre)[0]
        groups, n, dim = embeddings.shape
        if present is None:
            present = embeddings.new_ones(groups, n, dtype=torch.bool)
        neighbour = present[:, None, :] & ~torch.eye(n, dtype=torch.bool, device=embeddings.device)
        x = self.project(
            unit(embeddings - (self.centre if centre is None else centre)) * math.sqrt(dim)
        )
        h = self.node(x)
        if self.layers:
            edge_part = self._edge_part(x)
        for _ in range(self.layers):
            h = self._propagate(h, edge_part, neighbour)
        weight = present.to(h.dtype) / present.sum(dim=1, keepdim=True)
        return self.graph(
            self.readout((weight[..., None] * h).sum(dim=1))
        )  # the mean commutes with one linear layer

    def _edge_part(self, x: Tensor) -> Tensor:
        """`(G, n, n, hidden)`: what e_ij adds to the first layer of F_m, bias included."""
        n = x.shape[1]
        rows, columns = torch.triu_indices(n, n, device=x.device)
        a, b = x[:, rows], x[:, columns]
        first = self.message[0]
        part = nn.functional.linear(
            self.edge(torch.cat([(a - b).abs(), a * b], dim=-1)),
            first.weight[:, 2 * NODE :],
            first.bias,
        )
        pair = torch.empty(n, n, dtype=torch.long, device=x.device)
        pair[rows, columns] = pair[columns, rows] = torch.arange(len(rows), device=x.device)
        return part[:, pair]

    def _propagate(self, h: Tensor, edge_part: Tensor, neighbour: Tensor) -> Tensor:
        score_i, score_j = (h @ self.attention.weight.view(2, NODE).T).unbind(dim=-1)
        score = nn.functional.leaky_relu(score_i[:, :, None] + score_j[:, None, :], 0.2)
        # A finite floor, then zeros: a node without neighbours gets no message instead of NaN.
        score = score.masked_fill(~neighbour, torch.finfo(score.dtype).min)
        attention = score.softmax(dim=-1).to(h.dtype) * neighbour
        first, last = self.message[0], self.message[2]
        target, source = (h @ w.T for w in first.weight[:, : 2 * NODE].split(NODE, dim=1))
        hidden = (edge_part + target[:, :, None]).add_(source[:, None, :]).relu_()
        gathered = torch.einsum("gij,gijk->gik", attention, hidden)
        message = gathered @ last.weight.T + attention.sum(dim=-1, keepdim=True) * last.bias
        if isinstance(self.update, nn.GRUCell):
            return self.update(message.flatten(0, 1), h.flatten(0, 1)).view_as(h)
        return self.norm(h + self.update(torch.cat([h, message], dim=-1)))
