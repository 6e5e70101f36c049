import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import SupConLoss
from tiny import SIZE, STAGES, Student, World, adam
from torch.nn import functional as F

from sacd.losses.ccl import CCL, class_nce
from sacd.losses.divergence import divergence


def case(seed, size=6):
    g = torch.Generator().manual_seed(seed)
    anchor, keys = (torch.randn(size, 5, generator=g, dtype=torch.float64) for _ in range(2))
    return anchor, keys, torch.tensor([0, 0, 1, 1, 2, 4])[:size]


def parts(anchor, keys, labels, temperature=0.5):
    """Mean attraction and repulsion of all anchors, entry by entry."""

    def cos(a, b):
        return sum(u * v for u, v in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    a, k, y = anchor.tolist(), keys.tolist(), labels.tolist()
    attract = repel = 0.0
    for i in range(len(a)):
        e = [math.exp(cos(a[i], x) / temperature) for x in k]
        p = [v / sum(e) for v in e]
        same = [-math.log(v) for v, c in zip(p, y, strict=True) if c == y[i]]
        other = [-math.log(1 - v) for v, c in zip(p, y, strict=True) if c != y[i]]
        attract += sum(same) / len(same) / len(a)
        repel += sum(other) / len(other) / len(a) if other else 0
    return attract, repel


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_naive_loops(temperature):
    expected = sum(parts(*case(0), temperature))
    assert float(class_nce(*case(0), temperature=temperature)) == pytest.approx(expected)


def test_gradcheck():
    anchor, keys, labels = case(1, size=4)
    inputs = anchor.requires_grad_(), keys.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, k: class_nce(a, k, labels), inputs)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100))
def test_properties(seed, scale):
    anchor, keys, labels = case(seed)
    g = torch.Generator().manual_seed(seed)
    loss = class_nce(anchor, keys, labels)
    assert loss > 0
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=g, dtype=torch.float64)).Q
    torch.testing.assert_close(
        class_nce(scale * anchor @ rotation, keys @ rotation, (labels + 1) % 5), loss
    )
    order = torch.randperm(6, generator=g)
    torch.testing.assert_close(class_nce(anchor[order], keys[order], labels[order]), loss)


def test_aligned_classes_are_below_random():
    anchor, keys, labels = case(2)
    centres = F.one_hot(labels, 5).double()
    assert (
        class_nce(centres, centres, labels)
        < class_nce(anchor, keys, labels)
        < class_nce(-centres, centres, labels)
    )


def test_attraction_equals_the_supervised_contrastive_loss():
    """pytorch-metric-learning has the attracting part (SupCon with references)."""
    anchor, keys, labels = case(3)
    attract, repel = parts(anchor, keys, labels)
    published = SupConLoss(temperature=0.5)(anchor, labels, ref_emb=keys, ref_labels=labels.clone())
    assert float(published) == pytest.approx(attract, rel=1e-6)
    assert float(class_nce(anchor, keys, labels)) == pytest.approx(
        float(published) + repel, rel=1e-6
    )


def test_composition_adds_a_residual_of_the_normalised_pair():
    world, student = World(), Student()
    head = CCL(world.context(student)).head
    v, a = torch.randn(3, SIZE), torch.randn(3, SIZE)
    pair = torch.cat((a / a.norm(dim=1, keepdim=True), v / v.norm(dim=1, keepdim=True)), 1)
    composed = a + pair @ head.compose.weight.T + head.compose.bias
    torch.testing.assert_close(
        head(v, a), (composed, composed @ head.classify.weight.T + head.classify.bias)
    )


def test_gradients_are_those_of_two_optimizers():
    """The authors step the student on L_v and the head on L_a, each with its own gradient."""
    world, student = World(), Student()
    method = CCL(world.context(student))
    batch = world.batch(student, torch.arange(10))
    sum(method.losses(batch).values()).backward()
    got = {
        name: p.grad.clone()
        for m in (student, method)
        for name, p in m.named_parameters()
        if p.grad is not None
    }

    batch = world.batch(student, torch.arange(10))
    v, a, y = batch.student.embedding, batch.teacher.embedding, batch.labels
    av, logits = method.head(v, a)

    def both(x, z):
        return class_nce(x, z, y) + class_nce(z, x, y)

    likeness = divergence(batch.student.logits, logits, "half_jeffreys")
    on_student = both(v, av) + both(v, a) + likeness
    on_head = F.cross_entropy(logits, y) + both(v, av) + both(av, a) + likeness
    for module, loss in ((student, on_student), (method, on_head)):
        names, parameters = zip(*module.named_parameters(), strict=True)
        for name, grad in zip(
            names, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True
        ):
            torch.testing.assert_close(got[name], grad, rtol=1e-3, atol=1e-6)


def test_embeddings_of_two_sizes_are_refused():
    world, student = World(), Student()
    context = world.context(student)
    short = context.teacher_example._replace(embedding=torch.zeros(2, 7))
    with pytest.raises(ValueError, match="student has 32, teacher 7"):
        CCL(context.__class__(student, context.student_example, short, world.labels, 10))


def test_head_learns_the_stages():
    world, student = World(), Student()
    method = CCL(world.context(student))
    optimizer = adam(student, method)
    for _ in range(30):
        terms = method.losses(world.batch(student, torch.arange(20)))
        optimizer.zero_grad()
        terms["ccl_head"].backward()
        optimizer.step()
    with torch.no_grad():
        logits = method.head(student(world.clips[:20]).embedding, world.embedding[:20])[1]
    assert logits.shape == (20, STAGES) and (logits.argmax(1) == world.labels[:20]).all()
