"""MC2SleepNet: sequences of clips, its three trainings, hidden clips."""

import pytest
import torch
import torch.nn.functional as F

from sacd.models.eeg import build_teacher
from sacd.models.mc2sleepnet import cross_mask


def model(**options):
    return build_teacher("mc2sleepnet", **({"width": 0.125, "layers": 2, "depth": 1} | options))


def test_restoring_against_loops():
    """Mean absolute error over the 128 values of the hidden clips of both streams."""
    net = model().eval()
    x, labels = torch.randn(20, 1, 3000) * 25, torch.arange(20) % 5
    with torch.no_grad():
        out = net(x)
        torch.manual_seed(7)
        got = float(net.auxiliary_loss(x, out, labels)["restore"])
        torch.manual_seed(7)
        hide = cross_mask(20, net.sequence, net.mask)
        clips = [f.squeeze(2) for f in out.features[:2]]
        errors = []
        for i, stream in enumerate(net.mix(*clips, hide)):
            for clip in hide[i].nonzero()[:, 0].tolist():
                restored = net.restore[i](stream[clip])
                errors += [
                    abs(float(u) - float(v)) for u, v in zip(restored, clips[i][clip], strict=True)
                ]
    assert len(errors) == 2 * 5 * 128 and got == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def test_sequences_do_not_see_each_other():
    net = model().eval()
    x = torch.randn(32, 1, 3000) * 25
    other = x.clone()
    other[16:] = torch.randn(16, 1, 3000) * 25
    first, second = net(x).logits, net(other).logits
    torch.testing.assert_close(first[:16], second[:16])
    assert not torch.allclose(first[16:], second[16:])
    torch.testing.assert_close(first[:16], net(x[:16]).logits)


def test_a_clip_sees_its_sequence_and_its_place():
    net = model().eval()
    x = torch.randn(16, 1, 3000) * 25
    assert not torch.allclose(net(x).logits[:1], net(x[:1]).logits, atol=1e-4)
    swapped = x[[1, 0, *range(2, 16)]]
    assert not torch.allclose(net(x).logits[5], net(swapped).logits[5], atol=1e-6)


@pytest.mark.parametrize("n", [1, 5, 17, 20])
def test_short_and_ragged_batches(n):
    net = model().eval()
    x = torch.randn(n, 1, 3000) * 25
    out = net(x)
    assert out.embedding.shape == (n, 512) and torch.isfinite(out.logits).all()
    if n > 16:  # the rest is a separate sequence, and padding has no effect
        torch.testing.assert_close(out.logits[16:], net(x[16:]).logits)


def gradients(net, stage):
    net.set_stage(stage)
    net.train()
    net.zero_grad()
    x = torch.randn(16, 1, 3000) * 25
    labels = torch.arange(16) % 5
    out = net(x)
    terms = net.auxiliary_loss(x, out, labels)
    (F.cross_entropy(out.logits, labels) + sum(terms.values())).backward()
    moved = {
        name.split(".")[0]
        for name, p in net.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    }
    return set(terms), moved


HEADS = {"streams", "project", "classify", "classify_stream"}
ENCODERS = {"raw", "spectrogram"}


@pytest.mark.parametrize(
    ("stage", "terms", "moved"),
    [
        ("contrast", {"contrast"}, ENCODERS),
        (
            "sequence",
            {"raw", "spectrogram", "restore"},
            ENCODERS | HEADS | {"restore", "hidden_clip"},
        ),
        ("finetune", {"raw", "spectrogram"}, HEADS),
    ],
)
def test_stages(stage, terms, moved):
    assert gradients(model(), stage) == (terms, moved)


def test_contrast_stage_ignores_the_labels():
    net = model()
    net.set_stage("contrast")
    x = torch.randn(8, 1, 3000)
    out = net(x)
    assert not out.logits.requires_grad
    assert out.features[0].requires_grad


def test_finetuning_leaves_the_encoders_as_they_are():
    net = model()
    net.set_stage("finetune")
    before = {k: v.clone() for k, v in net.state_dict().items() if k.split(".")[0] in ENCODERS}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    net.train()
    for _ in range(2):
        x = torch.randn(16, 1, 3000) * 25
        F.cross_entropy(net(x).logits, torch.arange(16) % 5).backward()
        optimizer.step()
    after = net.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())  # batch-norm statistics too
    net.set_stage("sequence")
    assert net.raw.training and all(p.requires_grad for p in net.parameters())


def test_hidden_clips_do_not_reach_the_streams():
    net = model().eval()
    raw, spectrogram = torch.randn(2, 16, 128)
    hide = cross_mask(16, 16, 0.25, torch.Generator().manual_seed(0))
    changed = torch.where(hide[0][:, None], torch.randn(16, 128), raw)
    for a, b in zip(
        net.mix(raw, spectrogram, hide), net.mix(changed, spectrogram, hide), strict=True
    ):
        torch.testing.assert_close(a, b)
    assert not torch.allclose(
        net.mix(raw, spectrogram)[0], net.mix(changed, spectrogram)[0], atol=1e-4
    )


def test_every_layer_counts():
    """Differs from the published pretraining code, where only the last layer has an effect.

    There, each layer gets the original input.
    """
    net = model().eval()
    x = torch.randn(4, 1, 3000) * 25
    before = net(x).logits
    with torch.no_grad():
        net.streams[0][0].linear1.weight.mul_(-3)
    assert not torch.allclose(before, net(x).logits, atol=1e-5)


@pytest.mark.slow
def test_contrast_falls_and_restoring_is_learned():
    net = model(layers=1)
    x = (
        torch.randn(16, 1, 1)
        * torch.sin(torch.arange(3000) * torch.linspace(0.05, 1, 16)[:, None, None])
        * 25
    )
    labels = torch.zeros(16, dtype=torch.long)
    for stage, term in (("contrast", "contrast"), ("sequence", "restore")):
        net.set_stage(stage)
        net.train()
        optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-3)
        values = []
        for _ in range(25):
            terms = net.auxiliary_loss(x, net(x), labels)
            optimizer.zero_grad()
            terms[term].backward()
            optimizer.step()
            values.append(terms[term].item())
        assert sum(values[-3:]) < 0.8 * sum(values[:3]), (term, values)


def test_refuses_too_large_a_mask():
    with pytest.raises(ValueError, match=r"0\.\.0\.5"):
        model(mask=0.6)
