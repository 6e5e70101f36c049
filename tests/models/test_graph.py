import itertools

import pytest
import torch
from torch.nn.functional import layer_norm, leaky_relu

from sacd.models.graph import GraphNetwork

DIM = 24


def network(layers: int = 2, seed: int = 0) -> GraphNetwork:
    torch.manual_seed(seed)
    net = GraphNetwork(DIM, layers).double()
    net.centre.normal_()
    return net


def embeddings(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(
        *shape, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def literally(net: GraphNetwork, f: torch.Tensor) -> torch.Tensor:
    """Equations 6 to 10, one node and one neighbour at a time, with none of the shortcuts."""
    n = len(f)
    x = [net.project((c := f[i] - net.centre) / c.norm() * DIM**0.5) for i in range(n)]
    h = [net.node(x[i]) for i in range(n)]  # (6)
    e = {
        (i, j): net.edge(torch.cat([(x[i] - x[j]).abs(), x[i] * x[j]]))  # (7)
        for i, j in itertools.permutations(range(n), 2)
    }
    for _ in range(net.layers):
        new = []
        for i in range(n):
            others = [j for j in range(n) if j != i]
            total = torch.zeros(512, dtype=f.dtype)
            if others:
                messages = [net.message(torch.cat([h[i], h[j], e[i, j]])) for j in others]  # (8)
                scores = torch.stack(
                    [leaky_relu(net.attention(torch.cat([h[i], h[j]])), 0.2)[0] for j in others]
                )
                total = sum(w * m for w, m in zip(scores.softmax(0), messages, strict=True))
            step = h[i] + net.update(torch.cat([h[i], total]))  # (9)
            new.append(layer_norm(step, (128,), net.norm.weight, net.norm.bias))
        h = new
    return net.graph(torch.stack([net.readout(node) for node in h]).mean(0))  # (10)


@pytest.mark.parametrize(("layers", "n"), [(0, 4), (1, 5), (3, 4), (2, 2), (2, 1)])
def test_equals_the_equations_node_by_node(layers, n):
    net, f = network(layers), embeddings(n)
    torch.testing.assert_close(net(f), literally(net, f), rtol=1e-10, atol=1e-12)


def test_gradients_equal_those_of_the_equations():
    net, f = network(2), embeddings(4)
    fast = torch.autograd.grad(net(f).square().sum(), list(net.parameters()))
    slow = torch.autograd.grad(literally(net, f).square().sum(), list(net.parameters()))
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_gradcheck():
    net = network(1)
    f = embeddings(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: net(x)[:5], f)


def test_batched_and_padded_graphs_equal_single_ones():
    net, f = network(2), embeddings(3, 5)
    counts = [5, 3, 1]
    present = torch.arange(5) < torch.tensor(counts)[:, None]
    padded = f.masked_fill(~present[..., None], 1e3)
    single = torch.stack([net(g[:n]) for g, n in zip(f, counts, strict=True)])
    torch.testing.assert_close(net(padded, present), single)
    torch.testing.assert_close(net(f), torch.stack([net(g) for g in f]))


def test_order_of_the_clips_does_not_matter_but_the_clips_do():
    net, f = network(3), embeddings(6)
    torch.testing.assert_close(net(f), net(f[torch.randperm(6)]))
    other = f.clone()
    other[0] = -other[0]
    assert (net(f) - net(other)).norm() > 1e-3


def test_scale_of_centred_embeddings_does_not_matter():
    net, f = network(2), embeddings(4)
    torch.testing.assert_close(net(f), net(net.centre + 7 * (f - net.centre)))


def test_one_clip_gets_no_message_and_a_finite_gradient():
    net = network(2)
    f = embeddings(1).requires_grad_()
    net(f).sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
    assert f.grad.isfinite().all()
    silent = network(2)
    torch.nn.init.zeros_(silent.message[2].weight)
    torch.nn.init.zeros_(silent.message[2].bias)
    torch.testing.assert_close(net(f), silent(f))  # a node without neighbours gets no message


def test_shapes_of_the_paper():
    net = GraphNetwork()
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    assert shapes["project.weight"] == (64, 512)  # 512-d embedding, 64-d node input
    assert shapes["node.0.weight"][1] == 64 and shapes["node.2.weight"][0] == 128
    assert shapes["edge.2.weight"][0] == 64
    assert shapes["message.0.weight"][1] == 128 + 128 + 64 and shapes["message.2.weight"][0] == 512
    assert shapes["update.0.weight"][1] == 128 + 512 and shapes["update.2.weight"][0] == 128
    assert shapes["readout.weight"] == (1024, 128)
    assert shapes["graph.1.weight"] == (1024, 1024)
    assert net(torch.randn(16, 512)).shape == (1024,)
    assert net(torch.randn(3, 16, 512)).shape == (3, 1024)


def test_layers_share_parameters_and_none_is_the_control():
    count = {
        layers: sum(p.numel() for p in GraphNetwork(DIM, layers).parameters())
        for layers in (0, 1, 5)
    }
    assert count[0] == count[1] == count[5]
    net, f = network(0), embeddings(4)
    before = net(f)
    for p in (*net.message.parameters(), *net.edge.parameters(), *net.attention.parameters()):
        torch.nn.init.zeros_(p)
    torch.testing.assert_close(net(f), before)
