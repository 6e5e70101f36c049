"""Video students: against a plain reimplementation, published sizes, split, freezing, gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F

from sacd.models.conv3d import max_pool
from sacd.models.video import Tail, VideoResNet, mid_channels

CLIP = (2, 1, 16, 24, 32)
"""Shape of a small batch of clips.

Its grids are 12x16, 6x8, 3x4, 2x2 and 1x1, so every branch of `Conv` runs.
"""


def tiny(conv="r2plus1d", **options):
    torch.manual_seed(0)
    return VideoResNet(conv, width=0.125, in_channels=1, **options)


def clips(seed=1, dtype=torch.float32):
    return torch.randn(CLIP, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference(model, x, training):
    """The network from its state dict with plain 3-D operations only."""
    state = {**dict(model.named_buffers()), **dict(model.named_parameters())}

    def norm(name, x):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        mean, var = state[f"{name}.running_mean"].clone(), state[f"{name}.running_var"].clone()
        return F.batch_norm(x, mean, var, weight, bias, training)

    def conv(name, x, stride):
        weight = state[f"{name}.weight"]
        stride = tuple(s if k > 1 else 1 for s, k in zip(stride, weight.shape[2:], strict=True))
        return F.conv3d(x, weight, None, stride, [k // 2 for k in weight.shape[2:]])

    def unit(prefix, n, x, stride):
        if f"{prefix}conv{n}.weight" in state:
            return norm(f"{prefix}bn{n}", conv(f"{prefix}conv{n}", x, stride))
        x = norm(f"{prefix}bn{n}_s", conv(f"{prefix}conv{n}_s", x, stride)).relu()
        return norm(f"{prefix}bn{n}_t", conv(f"{prefix}conv{n}_t", x, stride))

    x = F.max_pool3d(unit("", 1, x, (1, 2, 2)).relu(), 3, 2, 1)
    features = []
    for layer in range(1, 5):
        for block in range(2):
            prefix, stride = (
                f"layer{layer}.{block}.",
                (2,) * 3 if layer > 1 and block == 0 else (1,) * 3,
            )
            y = unit(prefix, 2, unit(prefix, 1, x, stride).relu(), (1, 1, 1))
            if f"{prefix}downsample.0.weight" in state:
                x = norm(
                    f"{prefix}downsample.1",
                    F.conv3d(x, state[f"{prefix}downsample.0.weight"], None, stride),
                )
            x = (y + x).relu()
        features.append(x)
    embedding = F.linear(x.mean((2, 3, 4)), state["project.weight"], state["project.bias"])
    return embedding, F.linear(embedding, state["fc.weight"], state["fc.bias"]), tuple(features)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("conv", ["r2plus1d", "r3d"])
def test_equals_plain_3d_operations_and_so_do_its_gradients(conv, training):
    model = tiny(conv).double()
    model(clips(0, torch.float64))  # moves the running statistics away from their initial values
    model.train(training)
    x = clips(dtype=torch.float64).requires_grad_()
    expected = reference(model, x, training)
    got = model(x)
    for a, b in zip((*got[:2], *got.features), (*expected[:2], *expected[2]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    inputs = [x, *model.parameters()]
    weight = torch.randn(2, 5, dtype=torch.float64)
    grads = [torch.autograd.grad((o * weight).sum(), inputs) for o in (got.logits, expected[1])]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_max_pool_is_the_3d_one():
    x = torch.randn(2, 3, 7, 9, 10).contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(max_pool(x), F.max_pool3d(x, 3, 2, 1))


@pytest.mark.parametrize(
    ("conv", "n_classes", "millions"),
    [("r3d", 5, 33.2), ("r3d", 1039, 33.7), ("r2plus1d", 5, 33.2), ("r2plus1d", 700, 33.6)],
)
def test_sizes_at_width_1_are_the_published_ones(conv, n_classes, millions):
    with torch.device("meta"):
        model = VideoResNet(conv, n_classes=n_classes)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions
    stem = model.conv1 if conv == "r3d" else model.conv1_s
    assert tuple(stem.weight.shape) == ((64, 3, 7, 7, 7) if conv == "r3d" else (110, 3, 1, 7, 7))
    assert not list(model.project.parameters())


def test_stage_shapes_of_r3d_at_112_pixels():
    with torch.device("meta"):
        output = VideoResNet("r3d").eval()(torch.empty(1, 3, 16, 112, 112))
    assert [tuple(f.shape[1:]) for f in output.features] == [
        (64, 8, 28, 28),
        (128, 4, 14, 14),
        (256, 2, 7, 7),
        (512, 1, 4, 4),
    ]
    assert output.embedding.shape == (1, 512) and output.logits.shape == (1, 5)


def test_mid_channels_keep_the_number_of_parameters():
    for c_in, c_out in ((64, 64), (64, 128), (256, 512)):
        mid = mid_channels(c_in, c_out)
        assert 0 <= 27 * c_in * c_out - mid * (9 * c_in + 3 * c_out) < 9 * c_in + 3 * c_out


@pytest.mark.parametrize("training", [True, False])
def test_tail_of_frozen_stem_equals_forward(training):
    model, x = tiny().train(training), clips()
    whole = model(x)
    for k in range(5):
        split = model.tail(model.frozen_stem(x, k), k)
        assert torch.equal(split.logits, whole.logits) and torch.equal(
            split.embedding, whole.embedding
        )
        assert len(split.features) == (4 if k < 2 else 5 - k)
        assert all(
            torch.equal(a, b)
            for a, b in zip(split.features[::-1], whole.features[::-1], strict=False)
        )


def test_a_cached_feature_of_any_memory_layout_gives_the_same():
    model, x = tiny().eval(), clips()
    h = model.frozen_stem(x, 3)
    assert torch.equal(model.tail(h.contiguous(), 3).logits, model.tail(h, 3).logits)


def test_freezing_stops_gradient_and_statistics_and_can_be_undone():
    model = tiny().freeze(2).train()
    before = copy.deepcopy(model.state_dict())
    model(clips()).logits.sum().backward()
    frozen = ("conv1", "bn1", "layer1")
    for name, p in model.named_parameters():
        assert (p.grad is None) == name.startswith(frozen), name
    moved = {name for name, t in model.state_dict().items() if not torch.equal(t, before[name])}
    assert moved and not any(name.startswith(frozen) for name in moved)
    model.freeze(0)
    assert all(p.requires_grad for p in model.parameters()) and model.bn1_s.training
    with pytest.raises(ValueError, match=r"k 6 is outside 0\.\.5"):
        model.freeze(6)


def test_tail_trains_only_the_parts_after_the_cache():
    model, x = tiny(), clips()
    tail = Tail(model, 3).train()
    with torch.no_grad():
        h = model.frozen_stem(x, 3)
    output = tail(h)
    assert torch.equal(output.logits, model(x).logits)
    output.logits.sum().backward()
    trained = {name.split(".")[1] for name, p in tail.named_parameters() if p.grad is not None}
    assert trained == {"layer3", "layer4", "project", "fc"}
    assert not model.layer2[0].bn1_s.training and model.layer3[0].bn1_s.training


def test_gradient_reaches_every_parameter():
    for conv in ("r2plus1d", "r3d"):
        model = tiny(conv)
        model(torch.randn(2, 1, 8, 16, 16)).logits.square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("stem_kernel", [3, 7])
def test_shapes_of_long_clips_of_few_pixels(stem_kernel):
    x = torch.zeros(2, 2, 64, 24, 32)  # batch norm needs two values where the grid is 1x1
    student = VideoResNet(width=0.125, in_channels=2, stem_kernel=stem_kernel)
    shapes = [tuple(feature.shape[1:]) for feature in student(x).features]
    assert shapes == [(8, 32, 6, 8), (16, 16, 3, 4), (32, 8, 2, 2), (64, 4, 1, 1)]


def test_overfits_a_small_batch():
    model, x, y = tiny(), clips()[:, :, :8, :16, :16], torch.tensor([3, 1])
    # The norms see two clips only. Larger steps oscillate, and rounding then decides the final
    # loss.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005)
    for _ in range(40):
        optimizer.zero_grad()
        F.cross_entropy(model(x).logits, y).backward()
        optimizer.step()
    assert torch.equal(model(x).logits.argmax(1), y)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: tiny("c3d"), "conv 'c3d' is unknown; known: r2plus1d, r3d"),
        (lambda: VideoResNet(width=0.01), "width 0.01 leaves the stem without a channel"),
        (
            lambda: tiny()(torch.zeros(2, 3, 8, 32, 32)),
            r"\(2, 3, 8, 32, 32\): expected \(B, 1, T, H, W\)",
        ),
    ],
)
def test_errors_have_one_line(call, says):
    with pytest.raises(ValueError, match=says) as error:
        call()
    assert "\n" not in str(error.value)


def test_looks_linear_units_are_odd_functions_at_the_start_and_others_are_not():
    x = torch.randn(2, 8, 5, 6, 8, generator=torch.Generator().manual_seed(1))
    for init, odd in (("looks_linear", True), ("kaiming", False)):
        block = tiny(init=init).eval().layer1[0]
        assert torch.allclose(block.unit(1, -x), -block.unit(1, x), atol=1e-5) == odd
        assert block.unit(2, x).abs().mean() > 0.1
    with pytest.raises(ValueError, match="init 'linear' is unknown; known: kaiming, looks_linear"):
        tiny(init="linear")
