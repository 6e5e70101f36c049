import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from tiny import CLIPS, SIZE, STAGES, Student, World, adam
from torch.nn import functional as F

from sacd.losses.c2kd import C2KD, kendall, non_target
from sacd.losses.kd import kd

EVERY = torch.ones(6, dtype=torch.bool)


def case(seed, size=6):
    g = torch.Generator().manual_seed(seed)
    student, teacher = (
        3 * torch.randn(size, STAGES, generator=g, dtype=torch.float64) for _ in range(2)
    )
    return student, teacher, torch.randint(STAGES, (size,), generator=g)


def naive(student, teacher, labels, selected):
    total = 0.0
    for s, t, own, chosen in zip(
        student.tolist(), teacher.tolist(), labels.tolist(), selected.tolist(), strict=True
    ):
        if chosen:
            p = [math.exp(x) for k, x in enumerate(t) if k != own]
            q = [math.exp(x) for k, x in enumerate(s) if k != own]
            for a, b in zip(p, q, strict=True):
                total += a / sum(p) * math.log(a / sum(p) / (b / sum(q)))
    return total / len(student)


row = st.lists(st.integers(-2, 2), min_size=STAGES, max_size=STAGES)  # few values, so many ties


@settings(max_examples=50)
@given(rows=st.lists(st.tuples(row, row), min_size=1, max_size=4))
def test_kendall_equals_scipy(rows):
    a, b = (torch.tensor(x, dtype=torch.float64) for x in zip(*rows, strict=True))
    expected = [kendalltau(x, y).statistic for x, y in rows]  # NaN where all of a row is tied
    assert kendall(a, b).tolist() == pytest.approx([0 if math.isnan(x) else x for x in expected])


def test_naive_loops():
    student, teacher, labels = case(0)
    selected = torch.tensor([True, False, True, True, False, True])
    found = float(non_target(student, teacher, labels, selected))
    assert found == pytest.approx(naive(student, teacher, labels, selected))


def test_gradcheck():
    student, teacher, labels = case(1)
    assert torch.autograd.gradcheck(
        lambda s: non_target(s, teacher, labels, EVERY), student.requires_grad_()
    )


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50))
def test_properties(seed, shift):
    student, teacher, labels = case(seed)
    loss = non_target(student, teacher, labels, EVERY)
    assert loss > 0
    own = shift * F.one_hot(labels, STAGES)
    for x, y in ((student + own, teacher - own), (student + shift, teacher)):
        torch.testing.assert_close(non_target(x, y, labels, EVERY), loss)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        non_target(student[order], teacher[order], labels[order], EVERY), loss
    )
    assert non_target(teacher + own, teacher, labels, EVERY) < 1e-12
    assert non_target(student, teacher, labels, ~EVERY) == 0


def test_nearer_is_lower():
    student, teacher, labels = case(2)
    near, half, far = (
        float(non_target(teacher + c * (student - teacher), teacher, labels, EVERY))
        for c in (0.1, 0.5, 1.0)
    )
    assert near < half < far


def built(**options):
    world, student = World(), Student()
    method = C2KD(world.context(student), **options)
    return world, student, method


def test_gradients_are_those_of_the_authors_losses():
    """Every divergence of the authors' code that does not train the teacher, clip by clip."""
    world, student, method = built(weight=2.0)
    rows = torch.arange(20)
    sum(method.losses(world.batch(student, rows)).values()).backward()
    trained = [*student.parameters(), *method.parameters()]
    found = [p.grad.clone() for p in trained]

    batch = world.batch(student, rows)
    s, t = batch.student.logits, batch.teacher.logits
    proxy_s = method.proxy_student(batch.student.embedding)
    proxy_t = method.proxy_teacher(batch.teacher.embedding)

    def learns(learner, guide):
        return F.kl_div(learner.log_softmax(-1), guide.detach().softmax(-1), reduction="sum")

    total, selected = 0, 0
    for i, label in enumerate(batch.labels.tolist()):
        total = total + learns(proxy_s[i], s[i]) + learns(s[i], proxy_s[i])
        total = total + learns(proxy_t[i], t[i])
        if kendalltau(proxy_s[i].tolist(), proxy_t[i].tolist()).statistic > 0:
            others = [k for k in range(STAGES) if k != label]
            total = total + learns(proxy_s[i, others], proxy_t[i, others])
            total = total + learns(proxy_t[i, others], proxy_s[i, others])
            selected += 1
    assert 0 < selected < 20
    assert method.monitor == {"selected": pytest.approx(selected / 20)}
    expected = torch.autograd.grad(2 * total / 20, trained)
    for got, grad in zip(found, expected, strict=True):
        torch.testing.assert_close(got, grad, rtol=1e-4, atol=1e-6)


def test_threshold_selects_no_clip_all_or_some():
    rows = torch.arange(CLIPS)
    shares, terms = [], []
    for threshold in (-1.01, 0.0, 1.0):
        world, student, method = built(threshold=threshold)
        terms.append(float(method.losses(world.batch(student, rows))["c2kd_cross"].detach()))
        shares.append(method.monitor["selected"])
    assert shares[0] == 1 > shares[1] > shares[2] == 0
    assert terms[0] > terms[1] > terms[2] == 0


def test_proxies_learn_and_come_to_agree():
    world, student, method = built()
    rows = torch.arange(CLIPS)
    optimizer = adam(student, method)
    method.losses(world.batch(student, rows))
    before = method.monitor["selected"]
    for _ in range(60):
        batch = world.batch(student, rows)
        ce = F.cross_entropy(batch.student.logits, batch.labels)
        loss = ce + sum(method.losses(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        batch = world.batch(student, rows)
        method.losses(batch)
        proxy_s = method.proxy_student(batch.student.embedding)
        proxy_t = method.proxy_teacher(batch.teacher.embedding)
    assert method.monitor["selected"] > max(before, 0.9)
    assert kd(proxy_t, batch.teacher.logits, temperature=1.0) < 0.1
    for logits in (proxy_s, proxy_t):
        assert (logits.argmax(1) == world.labels).float().mean() > 0.9


def test_embeddings_may_differ_in_size():
    world, student = World(), Student()
    context = world.context(student)
    short = context.teacher_example._replace(embedding=torch.zeros(2, 7))
    method = C2KD(context.__class__(student, context.student_example, short, world.labels))
    batch = world.batch(student, torch.arange(4))
    teacher = batch.teacher._replace(embedding=batch.teacher.embedding[:, :7])
    terms = method.losses(batch._replace(teacher=teacher))
    assert SIZE != 7 and set(terms) == {"c2kd_proxy", "c2kd_cross"}
    assert all(term.isfinite() for term in terms.values())
