import math
from copy import deepcopy

import numpy as np
import pytest
import torch
from tiny import SIZE, Student, World, adam, step

from sacd.losses.base import build
from sacd.losses.contrastive import k_hard_contrastive
from sacd.losses.divergence import divergence
from sacd.losses.sp import similarity_preserving
from sacd.models.numerics import unit
from sacd.models.output import Output
from sacd.training.student import distillation_figures

WEIGHTS = ("weight_structure", "weight_contrastive", "weight_jsd")
BLOCKS = [torch.arange(s, s + 8) for s in (0, 8, 16, 24, 32)]


class Normed(Student):
    """A student with batch norm and dropout, which an encoder in training mode would give away."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = torch.nn.BatchNorm1d(SIZE), torch.nn.Dropout(0.5)

    def forward(self, clips: torch.Tensor) -> Output:
        output = super().forward(clips)
        embedding = self.drop(self.norm(output.embedding))
        return Output(embedding, self.head(embedding), output.features)


def made(student=None, **options):
    world, student = World(), student or Student()
    return world, student, build("sacd", world.context(student), **{"layers": 1, **options})


def test_terms_are_weighted_and_monitored():
    world, student, method = made(weight_structure=0.25, weight_contrastive=2.0, weight_jsd=3.0)
    optimizer = adam(student, method)
    first = method.losses(world.batch(student, BLOCKS[0]))
    assert first["contrastive"].item() == 0 and method.monitor["negatives"] == 0, (
        "the banks are empty"
    )
    for rows in BLOCKS[:3]:
        step(student, method, optimizer, world.batch(student, rows))
    batch = world.batch(student, BLOCKS[3])
    terms = method.losses(batch)
    assert set(terms) == {"structure", "contrastive", "jsd"}
    for name, weight in (("structure", 0.25), ("contrastive", 2.0), ("jsd", 3.0)):
        assert (
            terms[name].item() == pytest.approx(weight * method.monitor[name].item())
            and terms[name].item() > 0
        )
    assert method.monitor["jsd"].item() == pytest.approx(
        divergence(batch.student.logits, batch.teacher.logits).item()
    )
    assert set(method.monitor) == {
        *terms, "d_matched", "d_mismatched", "spread_video", "spread_eeg",
        "negatives", "active", "positive",
    }  # fmt: skip
    assert all(v.ndim == 0 and v.isfinite() for v in method.monitor.values())
    # 24 entries in the bank, 8 anchors of stages 4 0 1 2 3 4 0 1: the bank holds 5 of stages 0 to 3
    # and 4 of stage 4.
    assert method.monitor["negatives"].item() == pytest.approx((19 * 6 + 20 * 2) / 8)


@pytest.mark.parametrize("name", ["structure", "contrastive", "jsd"])
def test_weight_zero_computes_nothing(name, monkeypatch):
    world, student, method = made(**{f"weight_{name}": 0.0})
    target = {
        "structure": "sacd.losses.sacd.similarity_preserving",
        "contrastive": "sacd.losses.sacd.k_hard_contrastive",
        "jsd": "sacd.losses.sacd.divergence",
    }[name]
    monkeypatch.setattr(target, lambda *a, **k: pytest.fail(f"{name} was computed"))
    batch = world.batch(student, BLOCKS[0])
    assert set(method.losses(batch)) == {"structure", "contrastive", "jsd"} - {name}
    method.on_step_end(batch)
    if name == "structure":
        assert method.structure is None and not any(
            k.startswith("structure") for k in method.state_dict()
        )
    if name == "contrastive":
        assert method.ema is None and not any(
            k.startswith(("bank", "ema")) for k in method.state_dict()
        )


def test_keys_are_enqueued_after_the_step_by_the_momentum_encoder():
    world, student, method = made(Normed())
    optimizer = adam(student, method)
    student.train()
    method.train()
    assert not method.ema.module.training, "the momentum encoder stays in eval mode"
    for k, rows in enumerate(BLOCKS[:3]):
        batch = world.batch(student, rows)
        step(student, method, optimizer, batch)
        keys_v, labels = method.bank_v.get()
        keys_s, labels_s = method.bank_s.get()
        now = slice(8 * k, 8 * k + 8)
        with torch.no_grad():
            expected = unit(method.ema.module(batch.clips).embedding)
        torch.testing.assert_close(keys_v[now], expected)
        torch.testing.assert_close(keys_s[now], unit(batch.teacher.embedding))
        assert torch.equal(labels[now], batch.labels) and torch.equal(labels_s, labels)


def test_momentum_encoder_follows_by_its_rule():
    world, student, method = made(Normed())
    expected = {n: p.detach().clone() for n, p in student.named_parameters()}
    optimizer = adam(student, method)
    for t, rows in enumerate(BLOCKS, start=1):
        step(student, method, optimizer, world.batch(student, rows))
        decay = min(0.999, 1 - t ** (-2 / 3))
        for n, p in student.named_parameters():
            expected[n] = decay * expected[n] + (1 - decay) * p.detach()
    for n, p in method.ema.module.named_parameters():
        torch.testing.assert_close(p, expected[n])
    for a, b in zip(method.ema.module.buffers(), student.buffers(), strict=True):
        assert torch.equal(a, b), "batch-norm statistics are copied"
    assert method.ema.get_decay(10**6) == 0.999


def test_student_and_momentum_encoder_are_not_trained_through_the_method():
    _, student, method = made()
    own = {id(p) for p in method.parameters() if p.requires_grad}
    assert own == {id(p) for p in method.structure.parameters()}
    assert not own & {id(p) for p in student.parameters()}
    assert not any(k.startswith("_student") for k in method.state_dict())


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"selection": "semi_hard_random"},
        {"directions": "eeg", "selection": "per_class", "divergence": "half_jeffreys"},
        {"structure": "literal", "directions": "video"},
        {"structure": "matched_only", "layers": 0},
        {"structure": "sp", "bank": 5, "k": 2},
    ],
)
def test_every_option_resumes_to_three_equal_steps(options):
    world, student, method = made(Normed(), **options)
    optimizer = adam(student, method)
    for rows in BLOCKS[:3]:
        step(student, method, optimizer, world.batch(student, rows))
    saved = [deepcopy(m.state_dict()) for m in (student, method)]
    random = torch.get_rng_state()

    def three():
        values = []
        for rows in (BLOCKS[3], BLOCKS[4], BLOCKS[0]):
            batch = world.batch(student, rows)
            terms = method.losses(batch)
            trained = [p for m in (student, method) for p in m.parameters() if p.requires_grad]
            total = sum(terms.values()) + batch.student.logits.square().mean()
            for p, g in zip(
                trained, torch.autograd.grad(total, trained, allow_unused=True), strict=True
            ):
                p.data -= 0.01 * (0 if g is None else g)
            method.on_step_end(batch)
            values.append({k: v.item() for k, v in terms.items()})
        return values

    ahead = three()
    _, student, method = made(Normed(), **options)
    student.load_state_dict(saved[0])
    method.load_state_dict(saved[1])
    torch.set_rng_state(random)
    assert three() == ahead
    assert all(math.isfinite(v) for values in ahead for v in values.values())


def test_one_direction_needs_no_momentum_encoder():
    assert made(directions="video")[2].ema is None
    world, student, method = made(directions="eeg")
    assert method.ema is not None
    method.on_step_end(world.batch(student, BLOCKS[0]))
    assert method.losses(world.batch(student, BLOCKS[1]))["contrastive"].item() > 0


def test_sp_replaces_the_graph_loss():
    world, student, method = made(structure="sp")
    batch = world.batch(student, BLOCKS[0])
    value = similarity_preserving(batch.student.embedding, batch.teacher.embedding)
    assert method.losses(batch)["structure"].item() == pytest.approx(0.5 * 8 * value.item())
    assert method.structure is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"structure": "theirs"},
            "structure 'theirs' is unknown; known: ours, literal, matched_only, sp",
        ),
        ({"directions": "one"}, "directions 'one' is unknown; known: both, video, eeg"),
        (
            {"selection": "easy"},
            "selection 'easy' is unknown; known: top_k, semi_hard_random, per_class",
        ),
        ({"divergence": "kl"}, "divergence 'kl' is unknown; known: jsd, half_jeffreys"),
        ({"weight_jsd": -1.0}, "weight_jsd -1.0 is not >= 0"),
        ({"margin": math.nan}, "margin nan is not >= 0"),
        ({"layers": -1}, "layers -1 is not >= 0"),
        ({"bank": 0}, "bank 0 is not >= 1"),
        ({"k": 0}, "k 0 is not >= 1"),
        ({"graph_size": 0}, "graph_size 0 is not >= 1"),
        ({"decay": 1.5}, "decay 1.5 is not in 0..1"),
        ({"structure_lr_multiplier": 0.0}, "structure_lr_multiplier 0.0 is not > 0"),
    ],
)
def test_bad_options_are_refused_in_one_line_even_where_the_term_is_off(options, message):
    weights = {} if "weight_jsd" in options else dict.fromkeys(WEIGHTS, 0.0)
    for more in ({}, weights):
        with pytest.raises(ValueError) as refused:
            made(**options, **more)
        assert str(refused.value) == message


def test_widths_that_differ_are_refused():
    world, student = World(), Student()
    context = world.context(student)
    narrow = context.teacher_example._replace(embedding=torch.zeros(2, 7))
    with pytest.raises(ValueError, match="L_C needs equal ones"):
        build("sacd", type(context)(student, context.student_example, narrow, world.labels))


def test_without_decay_the_keys_are_those_of_the_student_of_the_last_step():
    world, student, method = made(decay=0.0)
    optimizer = adam(student, method)
    for rows in BLOCKS[:3]:
        step(student, method, optimizer, world.batch(student, rows))
    for a, b in zip(method.ema.module.parameters(), student.parameters(), strict=True):
        assert torch.equal(a, b)
    last = student(world.clips[BLOCKS[2]]).embedding.detach()
    assert torch.allclose(method.bank_v.get()[0][-8:], unit(last))


def test_graph_networks_have_their_own_learning_rate():
    assert made()[2].lr_multipliers == {"structure": 0.3}
    assert made(structure_lr_multiplier=1.0)[2].lr_multipliers == {"structure": 1.0}
    assert (
        made(weight_structure=0.0)[2].lr_multipliers == {} == made(structure="sp")[2].lr_multipliers
    )


def test_held_out_hinge_is_that_of_all_candidates_as_the_method_sees_them():
    world, student = World(), Student()
    options = {"weight_structure": 0, "margin": 0.7}
    method = build("sacd", world.context(student), **options)
    video, eeg, stages, blocks = (
        student(world.clips).embedding.detach(),
        world.embedding,
        world.labels,
        np.zeros(40),
    )
    whole = k_hard_contrastive(
        video, eeg, eeg, video, stages, stages, margin=0.7, k=len(eeg), directions="video"
    )
    got = distillation_figures(method, video, eeg, stages, blocks)
    assert got.keys() == {"retrieval_rank", "hinge"} and got["hinge"] == pytest.approx(
        float(whole.loss), rel=1e-5
    )
    without = build("sacd", world.context(student), **{**options, "weight_contrastive": 0})
    assert distillation_figures(without, video, eeg, stages, blocks).keys() == {"retrieval_rank"}
