import copy
import math
import warnings

import pytest
import torch
import torch.nn.functional as F

from sacd.models import RATES
from sacd.models.eeg import FEATURE_VALUES, TEACHERS, Teacher, build_teacher, class_weights
from sacd.models.modified_sen import reverse_gradient

OPTIONS = {
    "attnsleep": {},
    "deepsleepnet": {"width": 0.25},
    "modified_sen": {"width": 0.25, "n_domains": 3},
    "mc2sleepnet": {"width": 0.25, "layers": 1, "depth": 1},
}
WHAT_FLAT = {  # length of the flat vector at full width
    ("attnsleep", 100): 2400,
    ("attnsleep", 125): 3000,
    ("deepsleepnet", 100): 1024,
    ("deepsleepnet", 125): 1024,
    ("modified_sen", 100): (16 + 8) * 128,
    ("modified_sen", 128): (15 + 8) * 128,  # SEN-DAL's own rate and 23 steps
}


def small(name: str, sfreq: int = 100) -> Teacher:
    return build_teacher(name, sfreq=sfreq, **OPTIONS[name])


def toy(n: int, sfreq: int = 100) -> tuple[torch.Tensor, torch.Tensor]:
    """Clips of five classes that differ in frequency, in uV."""
    labels = torch.arange(n) % 5
    time = torch.arange(30 * sfreq) / sfreq
    tone = torch.tensor([10.0, 6.0, 13.0, 1.5, 4.0])[labels, None]
    x = 25 * torch.sin(2 * math.pi * (tone * time + torch.rand(n, 1))) + 5 * torch.randn(
        n, len(time)
    )
    return x[:, None], labels


@pytest.mark.parametrize("sfreq", [100, 125])
@pytest.mark.parametrize("name", TEACHERS)
def test_output(name, sfreq):
    model = small(name, sfreq)
    out = model(torch.randn(3, 1, 30 * sfreq) * 25)
    assert out.embedding.shape == (3, 512) and out.logits.shape == (3, 5)
    assert len(out.features) >= 3
    for feature in out.features:
        assert feature.ndim == 3 and len(feature) == 3 and feature[0].numel() <= FEATURE_VALUES
    assert torch.isfinite(out.logits).all()


@pytest.mark.parametrize("name", TEACHERS)
def test_the_rates_that_are_stated_are_those_that_are_taken(name):
    for sfreq in (31, 32, 33, 99, 100, 101, 125, 200, 512, 513):
        if sfreq in RATES[name]:
            model = small(name, sfreq)
            assert model(torch.randn(2, 1, 30 * sfreq)).logits.shape == (2, 5)
        else:
            with pytest.raises(ValueError, match=f"{sfreq} Hz"):
                small(name, sfreq)


@pytest.mark.parametrize(("name", "sfreq"), WHAT_FLAT)
def test_feature_sizes_at_full_width(name, sfreq):
    model = build_teacher(name, sfreq=sfreq, n_domains=3)
    flat, _ = model.eval().trunk(torch.randn(1, 1, 30 * sfreq))
    assert flat.shape[1] == model.project.in_features == WHAT_FLAT[name, sfreq]


@pytest.mark.parametrize("name", ["attnsleep", "deepsleepnet"])
def test_recording_features_does_not_change_braindecode(name):
    model = small(name).eval()
    x = torch.randn(2, 1, 3000)
    flat, features = model.trunk(x)
    torch.testing.assert_close(flat, model.net(x))
    deep = features[-1].flatten(1)
    torch.testing.assert_close(deep, flat)
    assert not any(m._forward_hooks for m in model.modules())


def test_deepsleepnet_follows_the_publication():
    net = build_teacher("deepsleepnet").net
    assert not any(isinstance(m, torch.nn.ELU) for m in net.modules())
    first = [p.conv1[0] for p in (net.cnn1, net.cnn2)]
    assert [(c.kernel_size[1], c.stride[1]) for c in first] == [(50, 6), (400, 50)]
    first = [
        p.conv1[0]
        for p in (lambda n: (n.cnn1, n.cnn2))(
            build_teacher("deepsleepnet", sfreq=128, width=0.1).net
        )
    ]
    assert [(c.kernel_size[1], c.stride[1]) for c in first] == [(64, 8), (512, 64)]


@pytest.mark.parametrize("sfreq", [100, 125])
def test_attnsleep_begins_with_tones(sfreq):
    model = build_teacher("attnsleep", sfreq=sfreq, drop=0.1)
    random = build_teacher("attnsleep", sfreq=sfreq, tones=False).net.feature_extractor[0]
    cnn = model.net.feature_extractor[0]
    assert [m.p for m in cnn.modules() if isinstance(m, torch.nn.Dropout)] == [0.1] * 3
    for branch, other in ((cnn.features1, random.features1), (cnn.features2, random.features2)):
        weight = branch[0].weight[:, 0].detach()
        assert weight.shape == other[0].weight[:, 0].shape
        assert weight.norm(dim=1).mean() == pytest.approx(
            other[0].weight.norm(dim=2).mean().item(), rel=0.05
        )
        hz = torch.fft.rfft(weight, 8 * sfreq).abs().argmax(1) / 8  # spectral peak of each filter
        assert hz[-1] == pytest.approx(32, abs=1) and (hz[3::2].diff() >= -0.2).all()
        # The cosine and the sine of a pair have the same frequency.
        torch.testing.assert_close(hz[24::2], hz[25::2], atol=1.0, rtol=0)
        assert branch[0].weight.requires_grad


@pytest.mark.parametrize("name", TEACHERS)
def test_copy_after_a_forward_pass_and_batch_of_one(name):
    """EMA copies a trained model, and the last batch of a training set may have one clip."""
    model = small(name)
    x, labels = toy(1)
    out = model(x)
    terms = model.auxiliary_loss(x, out, labels, torch.zeros(1, dtype=torch.long))
    sum([F.cross_entropy(out.logits, labels), *terms.values()]).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    twin = copy.deepcopy(model).eval()
    torch.testing.assert_close(twin(x).logits, model.eval()(x).logits)


@pytest.mark.parametrize("name", TEACHERS)
@pytest.mark.parametrize(
    "x", [torch.zeros(2, 1, 3000), torch.full((2, 1, 3000), 1e30), torch.randn(2, 1, 3000) * 1e8]
)
def test_extremes_give_no_nan(name, x):
    model = small(name)
    labels = torch.tensor([0, 1])
    out = model(x)
    loss = F.cross_entropy(out.logits, labels) + sum(
        model.auxiliary_loss(x, out, labels, labels).values()
    )
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert torch.isfinite(model.eval()(x).logits).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", TEACHERS)
def test_overfits_one_batch(name):
    model = small(name)
    x, labels = toy(20)
    domains = torch.arange(20) % 3
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(60):
        out = model(x)
        loss = F.cross_entropy(out.logits, labels) + sum(
            model.auxiliary_loss(x, out, labels, domains).values()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (model.eval()(x).logits.argmax(1) == labels).all():
            return
        model.train()
    pytest.fail("training accuracy 1.0 was not reached in 60 steps")


@pytest.mark.parametrize("name", ["attnsleep", "deepsleepnet"])
def test_no_auxiliary_terms(name):
    model = small(name)
    assert model.auxiliary_loss(None, None, None) == {}
    assert model.stages == ("train",)


def test_reversal():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, dtype=torch.float64)
    assert torch.equal(reverse_gradient(x, 0.001), x)
    (reverse_gradient(x, 0.001) @ weight).sum().backward()
    torch.testing.assert_close(x.grad, (-0.001 * weight).expand(3, 4))


def test_domain_loss_trains_its_head_and_reverses_into_the_trunk():
    model = small("modified_sen").eval()
    x, labels = toy(6)
    domains = torch.arange(6) % 3
    out = model(x)
    model.auxiliary_loss(x, out, labels, domains)["domain"].backward()
    got = [p.grad.clone() for p in (model.project.weight, model.domain[0].weight)]
    assert all(p.grad is None for p in model.classify.parameters())
    model.zero_grad()
    F.cross_entropy(model.domain(model(x).embedding), domains).backward()
    torch.testing.assert_close(got[0], -0.001 * model.project.weight.grad, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(got[1], model.domain[0].weight.grad)
    with pytest.raises(ValueError, match="training subject"):
        model.auxiliary_loss(x, out, labels)


def naive_weights(labels):
    mu = [0.3, 0.4, 0.3, 0.2, 0.3]
    counts = [sum(1 for v in labels if v == c) for c in range(5)]
    weights = []
    for m, n in zip(mu, counts, strict=True):
        score = math.log(m * sum(counts) / n)
        weights.append(round((score if score > 1 else 1.0) * m, 2))
    return weights


def test_class_weights_are_attnsleeps():
    labels = [0] * 8285 + [1] * 2804 + [2] * 17799 + [3] * 5703 + [4] * 7717
    expected = torch.tensor(naive_weights(labels))
    torch.testing.assert_close(class_weights(labels), expected)
    torch.testing.assert_close(class_weights(torch.tensor([*labels, -1, -1])), expected)
    assert class_weights(labels)[1] == class_weights(labels).max()


def test_class_weights_of_a_missing_stage_are_finite():
    weights = class_weights([0, 2, 2, 3, 4] * 100)
    assert torch.isfinite(weights).all()
    assert weights[1] == pytest.approx(0.4 * math.log(0.4 * 500), abs=0.005)


@pytest.mark.parametrize("labels", [[], [-1], [5]])
def test_class_weights_refuse_labels_that_are_no_stage(labels):
    with pytest.raises(ValueError, match=r"class weights need stages 0\.\.4"):
        class_weights(labels)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("attn", {}, "known: attnsleep"),
        ("attnsleep", {"sfreq": 128}, "128 Hz"),
        ("attnsleep", {"width": 0.5}, "width must be 1"),
        ("modified_sen", {}, "n_domains"),
        ("deepsleepnet", {"sfreq": 8}, "8 Hz"),
    ],
)
def test_builder_refuses(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_teacher(name, **options)


def test_stage_unknown():
    with pytest.raises(ValueError, match="known"):
        small("attnsleep").set_stage("contrast")


def test_scaling_is_the_same_for_every_teacher_and_cuts_artefacts():
    x = torch.randn(2, 1, 3000) * 25
    loud = x.clone()
    loud[0, 0, 5] = 1e6
    cut = x.clone()
    cut[0, 0, 5] = 500
    for name in TEACHERS:
        model = small(name).eval()
        torch.testing.assert_close(model(loud).logits, model(cut).logits)


def test_import_is_quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        small("attnsleep")
