"""Graph network over the clips of a mini-batch: embeddings to one graph vector (paper IV-B)."""

import math

import torch
from torch import Tensor, nn

from sacd.models.numerics import Linear, linear, matmul, unit

NODE_INPUT, NODE, EDGE, MESSAGE, GRAPH = 64, 128, 64, 512, 1024
"""Widths printed in the paper: node input, h, e, m and O_G.

Hidden layers are not printed; the edge MLP has 64 hidden units, the others 128.
"""


def _mlp(inputs: int, outputs: int) -> nn.Sequential:
    hidden = min(NODE, outputs)
    return nn.Sequential(Linear(inputs, hidden), nn.ReLU(), Linear(hidden, outputs))


class GraphNetwork(nn.Module):
    r"""Graph vector O_G of a complete directed graph whose nodes are clips (eqs. 6-10).

    .. math::
        h_i^{(0)} &= MLP_{node}(x_i) & (6) \\
        e_{ij} &= MLP_{edge}([|x_i - x_j|, x_i \circ x_j]) & (7) \\
        m_{j \to i} &= F_m(h_i, h_j, e_{ij}) & (8) \\
        h_i &\leftarrow LN(h_i + U([h_i, \sum_{j \ne i} \alpha_{ij} m_{j \to i}])) & (9) \\
        O_G &= MLP_G(mean_i\, READOUT(h_i)) & (10)

    with x_i = W (F_i - centre) / |F_i - centre|, scaled by sqrt(dim) to coordinates of unit
    variance, and alpha_ij = softmax_j LeakyReLU_{0.2}(a [h_i, h_j]) (graph attention,
    arXiv:1710.10903; not the margin alpha of eq. 12). x_i has 64 values, h_i 128, e_ij 64, m 512
    and O_G 1024; LN is layer normalisation. All layers share their parameters. The paper leaves the
    input, the edges, the neighbourhood, the messages, the update and the readout open (readings A5
    to A11).

    Embeddings share a large common component, especially after a ReLU, which makes all nodes and
    all graphs look alike. The centre removes it. It has to be a mean over several batches: a mean
    within one graph would also remove the content of that graph. As in batch norm, training passes
    the mean of recent batches, and evaluation uses the buffer `centre`, a running mean updated by
    `follow`. Embeddings are scaled to unit length because their length depends on the modality and
    the training step rather than on the clip.

    The result is exact, but computed cheaply. The first layer of F_m is a sum of a target, a source
    and an edge part, and the edge part is the same in every layer. The last layer of F_m is applied
    after the attention-weighted sum, because the weights sum to 1. Two linear layers in a row, the
    last of MLP_edge and the first of F_m, or the last of F_m and the first of U, are multiplied
    once per call, so that nodes and edges pass one narrow layer instead of two.

    Source: arXiv:2208.05814 (SACD), IV-B, which follows the embedding variant of graph matching
    networks, arXiv:1904.12787.

    Args:
        dim: width of an embedding F (512).
        layers: propagation layers, >= 0 (reading A8); 0 is the control without messages.
    """

    centre: Tensor
    steps: Tensor

    def __init__(self, dim: int = 512, layers: int = 3) -> None:
        super().__init__()
        self.layers = layers
        self.project = Linear(dim, NODE_INPUT)
        self.node = _mlp(NODE_INPUT, NODE)
        self.edge = _mlp(2 * NODE_INPUT, EDGE)
        self.message = _mlp(2 * NODE + EDGE, MESSAGE)
        self.attention = Linear(2 * NODE, 1, bias=False)
        self.update = _mlp(NODE + MESSAGE, NODE)
        self.norm = nn.LayerNorm(NODE)
        self.readout = Linear(NODE, GRAPH)
        self.graph = nn.Sequential(nn.ReLU(), Linear(GRAPH, GRAPH))
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("steps", torch.tensor(0))

    @torch.no_grad()
    def follow(self, embeddings: Tensor) -> None:
        """Update `centre` with the mean of `(n, dim)` embeddings.

        It is the plain mean over the first 50 calls, then a running mean of momentum 1/50.
        """
        self.steps += 1
        mean = embeddings.to(self.centre.dtype).mean(dim=0)
        self.centre.lerp_(mean, (1 / self.steps).clamp_min(1 / 50))

    def forward(
        self, embeddings: Tensor, present: Tensor | None = None, centre: Tensor | None = None
    ) -> Tensor:
        """Graph vectors.

        Args:
            embeddings: `(n, dim)` clips of one graph, or `(G, n, dim)`.
            present: `(G, n)` bool; False marks padding of graphs with fewer clips. Each graph has
                at least one clip.
            centre: `(dim,)`, used instead of the buffer.

        Returns:
            `(1024,)` or `(G, 1024)`.
        """
        if embeddings.ndim == 2:
            return self(embeddings[None], None if present is None else present[None], centre)[0]
        groups, n, dim = embeddings.shape
        if present is None:
            present = embeddings.new_ones(groups, n, dtype=torch.bool)
        neighbour = present[:, None, :] & ~torch.eye(n, dtype=torch.bool, device=embeddings.device)
        centred = embeddings - (self.centre if centre is None else centre)
        x = self.project(unit(centred) * math.sqrt(dim))
        h = self.node(x)
        if self.layers:
            edge_part, update_part = self._edge_part(x), self._update_part()
        for _ in range(self.layers):
            h = self._propagate(h, edge_part, update_part, neighbour)
        # The mean over the clips that are present, so that O_G does not grow with their number.
        weight = present.to(h.dtype) / present.sum(dim=1, keepdim=True)
        # READOUT is linear, so the mean can be taken before it. READOUT then runs once per graph.
        return self.graph(self.readout((weight[..., None] * h).sum(dim=1)))

    def _edge_part(self, x: Tensor) -> Tensor:
        """`(G, n, n, hidden)`: what e_ij adds to the first layer of F_m, including the bias."""
        n = x.shape[1]
        # e_ij equals e_ji, so only the upper triangle is computed. The diagonal is never used, but
        # a graph of one clip has nothing else.
        rows, columns = torch.triu_indices(n, n, offset=min(n - 1, 1), device=x.device)
        a, b = x[:, rows], x[:, columns]
        hidden = self.edge[:2](torch.cat([(a - b).abs(), a * b], dim=-1))
        last, first = self.edge[2], self.message[0]
        weight = first.weight[:, 2 * NODE :]
        part = linear(hidden, matmul(weight, last.weight), first.bias + weight @ last.bias)
        pair = torch.zeros(n, n, dtype=torch.long, device=x.device)
        pair[rows, columns] = pair[columns, rows] = torch.arange(len(rows), device=x.device)
        return part[:, pair]

    def _update_part(self) -> tuple[Tensor, Tensor]:
        """Weight and bias that take the sum of hidden messages to the first layer of U."""
        last, first = self.message[2], self.update[0]
        weight = first.weight[:, NODE:]
        return matmul(weight, last.weight), weight @ last.bias

    def _propagate(
        self, h: Tensor, edge_part: Tensor, update_part: tuple[Tensor, Tensor], neighbour: Tensor
    ) -> Tensor:
        """One layer, eqs. 8 and 9: `(G, n, 128)` nodes to nodes of the same shape."""
        # a [h_i, h_j] is a sum of a part of i and a part of j: two products of n rows, not n^2.
        score_i, score_j = linear(h, self.attention.weight.view(2, NODE)).unbind(dim=-1)
        score = nn.functional.leaky_relu(score_i[:, :, None] + score_j[:, None, :], 0.2)
        # A finite floor, then zeros: a node without neighbours gets no message instead of NaN.
        score = score.masked_fill(~neighbour, torch.finfo(score.dtype).min)
        attention = score.softmax(dim=-1).to(h.dtype) * neighbour
        parts = self.message[0].weight[:, : 2 * NODE].split(NODE, dim=1)
        target, source = (linear(h, part) for part in parts)
        # In place, because this is the largest tensor of the network: (G, n, n, 128).
        hidden = (edge_part + target[:, :, None]).add_(source[:, None, :]).relu_()
        gathered = torch.einsum("gij,gijk->gik", attention, hidden)
        weight, bias = update_part
        message = linear(gathered, weight) + attention.sum(dim=-1, keepdim=True) * bias
        first = self.update[0]
        own = linear(h, first.weight[:, :NODE], first.bias)
        return self.norm(h + self.update[1:](own + message))
