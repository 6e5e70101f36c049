import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import CLIPS, SIZE, STAGES, Student, World, adam, step
from torch.nn import functional as F
from torchdistill.losses.mid_level import CRDLoss

from sacd.losses.crd import CRD, nce

NAN = torch.tensor(math.nan, dtype=torch.float64)


def case(seed, size=4, keys=7, dimensions=6):
    g = torch.Generator().manual_seed(seed)
    anchor, positive = (
        F.normalize(torch.randn(size, dimensions, generator=g, dtype=torch.float64))
        for _ in range(2)
    )
    negatives = F.normalize(torch.randn(keys, dimensions, generator=g, dtype=torch.float64))
    valid = torch.rand(size, keys, generator=g) < 0.6
    valid[:, 0] = True
    return anchor, positive, negatives, valid


def naive(anchor, positive, negatives, valid, temperature, n=1000):
    """The published form: Z = n x mean e^(s/T), noise density 1/n, plain probabilities."""

    def e(a, b):
        return math.exp(
            sum(u * v for u, v in zip(a.tolist(), b.tolist(), strict=True)) / temperature
        )

    every = [e(a, p) for a, p in zip(anchor, positive, strict=True)]
    every += [
        e(anchor[i], k) for i in range(len(anchor)) for j, k in enumerate(negatives) if valid[i, j]
    ]
    z = n * sum(every) / len(every)
    total = 0.0
    for i, a in enumerate(anchor):
        used = [k for j, k in enumerate(negatives) if valid[i, j]]
        noise = len(used) / n
        total -= math.log(e(a, positive[i]) / z / (e(a, positive[i]) / z + noise))
        total -= sum(math.log(noise / (e(a, k) / z + noise)) for k in used)
    return total / len(anchor), math.log(z / n)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_naive_loops(temperature):
    got = nce(*case(0), NAN, temperature=temperature)
    assert [float(x) for x in got] == pytest.approx(naive(*case(0), temperature))


def test_gradcheck():
    anchor, *rest = case(1)
    z = torch.tensor(0.3, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a: nce(a, *rest, z, temperature=0.5)[0], anchor.requires_grad_()
    )


def test_only_the_anchor_gets_a_gradient():
    anchor, positive, negatives, valid = case(2)
    for x in (anchor, positive, negatives):
        x.requires_grad_()
    nce(anchor, positive, negatives, valid, NAN)[0].backward()
    assert anchor.grad.abs().sum() > 0 and positive.grad is None and negatives.grad is None


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_properties(seed):
    anchor, positive, negatives, valid = case(seed)
    z = torch.tensor(0.5, dtype=torch.float64)
    loss = nce(anchor, positive, negatives, valid, z)[0]
    assert loss > 0
    order, keys = torch.randperm(4), torch.randperm(7)
    same = nce(anchor[order], positive[order], negatives[keys], valid[order][:, keys], z)[0]
    torch.testing.assert_close(same, loss)
    without = torch.cat((negatives, torch.randn(2, 6, dtype=torch.float64))), F.pad(valid, (0, 2))
    torch.testing.assert_close(
        nce(anchor, positive, *without, z)[0], loss
    )  # keys that are not valid do not count
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    torch.testing.assert_close(
        nce(*(x @ rotation for x in (anchor, positive, negatives)), valid, z)[0], loss
    )


def test_aligned_is_below_random():
    anchor, positive, negatives, valid = case(3)
    z = torch.tensor(0.5, dtype=torch.float64)
    order = [
        nce(anchor, p, negatives, valid, z)[0]
        for p in (anchor, F.normalize(anchor + positive), positive)
    ]
    assert order[0] < order[1] < order[2]


def test_no_negative_at_all():
    anchor, positive, negatives, valid = case(4)
    loss, z = nce(anchor.requires_grad_(), positive, negatives, torch.zeros_like(valid), NAN)
    loss.backward()
    assert loss == 0 and z.isnan() and anchor.grad.abs().sum() == 0
    assert nce(anchor, positive, negatives[:0], valid[:, :0], NAN)[0] == 0


def test_three_steps_equal_torchdistill():
    """Loss, constant Z and both memories; torchdistill adds 1e-7 to denominators."""
    world, student = World(), Student()
    method = CRD(world.context(student))
    published = CRDLoss(
        "s",
        "empty",
        "t",
        128,
        CLIPS,
        CLIPS - CLIPS // STAGES,
        CLIPS,
        temperature=0.07,
        momentum=0.5,
    )
    (
        published.memory_v1.copy_(method.memory_student),
        published.memory_v2.copy_(method.memory_teacher),
    )
    other = torch.stack(
        [(world.labels != y).nonzero()[:, 0] for y in world.labels]
    )  # equal counts: 8 clips a stage
    optimizer = adam(student, method)
    for start in (0, 8, 4):
        rows = torch.arange(start, start + 8)
        batch = world.batch(student, rows)
        s, t = (
            F.normalize(head(side.embedding))
            for head, side in (
                (method.head_student, batch.student),
                (method.head_teacher, batch.teacher),
            )
        )
        extra = {"pos_idx": rows, "contrast_idx": torch.cat((rows[:, None], other[rows]), 1)}
        with torch.no_grad():
            expected = published(
                {"s": {"output": s}, "empty": {"input": extra}}, {"t": {"output": t}}
            )
        loss = method.losses(batch)["crd"]
        assert float(loss.detach()) == pytest.approx(0.8 * float(expected), rel=1e-4)
        method.on_step_end(
            batch
        )  # before the optimizer's step here: torchdistill updates inside the loss
        torch.testing.assert_close(method.memory_student, published.memory_v1)
        torch.testing.assert_close(method.memory_teacher, published.memory_v2)
        torch.testing.assert_close(
            method.log_z.exp() * CLIPS, published.params[2:4], rtol=1e-4, atol=0
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def drawn(method, batch):
    """Which memory rows the loss takes as negatives of which anchor, and how many."""
    copy = torch.Generator()
    copy.set_state(method.generator.get_state())
    keys = torch.randperm(len(method.memory_label), generator=copy)[: method.drawn]
    seen = {}

    def spy(anchor, positive, negatives, valid, z, temperature):
        seen["valid"] = valid
        return nce(anchor, positive, negatives, valid, z, temperature=temperature)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sacd.losses.crd.nce", spy)
        method.losses(batch)
    return [set(keys[row].tolist()) for row in seen["valid"]], [
        int(row.sum()) for row in seen["valid"]
    ]


@pytest.mark.parametrize(("negatives", "available"), [("exact", 32), ("own", 39)])
@pytest.mark.parametrize("k", [5, 31, 100])
def test_negatives_are_distinct_allowed_and_limited(negatives, available, k):
    world, student = World(), Student()
    method = CRD(world.context(student), negatives=negatives, k=k)
    rows = torch.arange(12)
    batch = world.batch(student, rows)
    first, second = drawn(method, batch), drawn(method, batch)
    for clip, (used, count) in enumerate(zip(*first, strict=True)):
        assert len(used) == count == min(k, available)
        assert clip not in used
        if negatives == "exact":
            assert all(world.labels[j] != world.labels[clip] for j in used)
    assert (first[0] != second[0]) == (k < available)  # a new draw each step, unless all are used


@pytest.mark.parametrize("options", [{"k": 7}, {"negatives": "own", "k": 9}])
def test_resume_with_few_negatives(options):
    """Few negatives make the draw matter: the generator's state must travel with the memory."""
    world, student = World(), Student()
    method = CRD(world.context(student), **options)
    optimizer = adam(student, method)

    def three(student, method, optimizer):
        return [
            step(student, method, optimizer, world.batch(student, torch.arange(8) + s))
            for s in (0, 8, 16)
        ]

    three(student, method, optimizer)
    states = deepcopy([x.state_dict() for x in (student, method, optimizer)])
    uninterrupted = three(student, method, optimizer)
    student = Student(5)
    method = CRD(world.context(student, seed=5), **options)
    optimizer = adam(student, method)
    for x, state in zip((student, method, optimizer), states, strict=True):
        x.load_state_dict(state)
    assert three(student, method, optimizer) == uninterrupted


def test_z_is_that_of_random_vectors_whatever_the_clips():
    world, student = World(), Student()
    zs = []
    for rows in (torch.arange(8), torch.arange(20, 28)):
        method = CRD(world.context(student))
        method.losses(world.batch(student, rows))
        zs += method.log_z.exp().tolist()
    assert all(1.2 < z < 4 for z in zs)  # about 2.2, see the docstring


def test_one_stage_in_the_training_set_and_wrong_options():
    world, student = World(), Student()
    context = replace(world.context(student), labels=torch.zeros(CLIPS, dtype=torch.long))
    batch = world.batch(student, torch.arange(4))._replace(labels=torch.zeros(4, dtype=torch.long))
    assert CRD(context).losses(batch)["crd"] == 0
    with pytest.raises(ValueError, match="negatives 'any' is unknown"):
        CRD(context, negatives="any")


def test_heads_learn_to_tell_clips_apart():
    """After training, the right teacher vector ranks first far more often than by chance."""
    world, student = World(), Student()
    method = CRD(world.context(student), negatives="own")
    optimizer = adam(student, method)
    for _ in range(150):
        step(student, method, optimizer, world.batch(student, torch.arange(CLIPS)))
    with torch.no_grad():
        s = F.normalize(method.head_student(student(world.clips).embedding))
        hit = (
            (
                (s @ F.normalize(method.head_teacher(world.embedding)).T).argmax(1)
                == torch.arange(CLIPS)
            )
            .float()
            .mean()
        )
    assert s.shape == (CLIPS, 128) and SIZE != 128 and hit > 0.5
