import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import CLIPS, Student, World
from torch.nn import functional as F
from torchdistill.losses.mid_level import CRDLoss

from sacd.losses.base import build
from sacd.losses.cmc import CMC


def test_labels_do_not_matter():
    world, student = World(), Student()
    losses = []
    for labels in (world.labels, world.labels.flip(0), torch.zeros_like(world.labels)):
        method = CMC(world.context(student), k=6)
        batch = world.batch(student, torch.arange(8))._replace(labels=labels[:8])
        losses.append(float(method.losses(batch)["cmc"].detach()))
    assert losses[0] == losses[1] == losses[2] > 0


def test_naive_loops_over_all_other_clips():
    """Both directions of the published loss: p = e^(s/T) / Z against K draws of density 1/n."""
    world, student = World(), Student()
    method = CMC(world.context(student)).double()
    live = world.batch(student, torch.arange(6))
    live = live._replace(
        student=live.student._replace(embedding=live.student.embedding.double()),
        teacher=live.teacher._replace(embedding=live.teacher.embedding.double()),
    )
    views = [
        (F.normalize(method.head_student(live.student.embedding)), method.memory_teacher),
        (F.normalize(method.head_teacher(live.teacher.embedding)), method.memory_student),
    ]
    expected = 0.0
    for anchor, memory in views:
        scores = torch.exp(anchor @ memory.T / 0.07)
        z = CLIPS * scores.mean()  # all clips, own included
        for i in range(6):
            p, noise = scores[i] / z, (CLIPS - 1) / CLIPS
            expected -= torch.log(p[i] / (p[i] + noise)) / 6
            expected -= sum(torch.log(noise / (p[j] + noise)) for j in range(CLIPS) if j != i) / 6
    assert float(method.losses(live)["cmc"].detach()) == pytest.approx(
        0.8 * float(expected.detach()), rel=1e-9
    )


def test_equals_torchdistill_with_the_same_negatives():
    """CMC's loss is CRD's with negatives of any stage; torchdistill takes the rows as given."""
    world, student = World(), Student()
    method = CMC(world.context(student))
    published = CRDLoss("s", "empty", "t", 128, CLIPS, CLIPS - 1, CLIPS)
    (
        published.memory_v1.copy_(method.memory_student),
        published.memory_v2.copy_(method.memory_teacher),
    )
    batch = world.batch(student, torch.arange(8))
    rows = torch.stack(
        [
            torch.cat((torch.tensor([i]), torch.arange(CLIPS)[torch.arange(CLIPS) != i]))
            for i in range(8)
        ]
    )
    s = F.normalize(method.head_student(batch.student.embedding))
    t = F.normalize(method.head_teacher(batch.teacher.embedding))
    extra = {"pos_idx": torch.arange(8), "contrast_idx": rows}
    expected = published({"s": {"output": s}, "empty": {"input": extra}}, {"t": {"output": t}})
    assert float(method.losses(batch)["cmc"].detach()) == pytest.approx(
        0.8 * float(expected.detach()), rel=1e-4
    )


def test_takes_the_options_of_crd_except_negatives():
    world, student = World(), Student()
    method = build("cmc", world.context(student), k=12, weight=0.5)
    assert method.k == 12 and method.weight == 0.5
    with pytest.raises(TypeError):
        build("cmc", world.context(student), negatives="exact")


def in_float64(method, student, teacher, rows):
    """CMC's term of embeddings that are given, in float64."""
    world = World()
    live = world.batch(Student(), rows)
    sides = {
        "student": live.student._replace(embedding=student),
        "teacher": live.teacher._replace(embedding=teacher),
    }
    return method.double().losses(live._replace(**sides))["cmc"]


def test_gradcheck_and_no_gradient_to_teacher_or_memory():
    world = World()
    method = CMC(world.context(Student()), temperature=0.5)
    rows = torch.arange(3)
    student = torch.randn(
        3, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True
    )
    teacher = world.embedding[rows].double().requires_grad_()
    in_float64(method, student, teacher, rows)  # the first batch fixes z
    assert torch.autograd.gradcheck(lambda s: in_float64(method, s, teacher, rows), student)
    in_float64(method, student, teacher, rows).backward()
    assert student.grad.any() and teacher.grad is None
    assert method.memory_student.grad is None and method.memory_teacher.grad is None
    assert all(
        p.grad.any() for p in method.parameters()
    )  # both heads learn, the teacher's encoder does not


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), scale=st.floats(0.01, 100), size=st.integers(1, 8))
def test_order_of_the_clips_and_length_of_the_embeddings_after_the_heads_do_not_matter(
    seed, scale, size
):
    world, student = World(), Student()
    rows = torch.randperm(CLIPS, generator=torch.Generator().manual_seed(seed))[:size]
    g = torch.Generator().manual_seed(seed)
    s, t = (torch.randn(size, 32, generator=g, dtype=torch.float64) for _ in range(2))

    def loss(order, factor):
        method = CMC(world.context(student, seed))
        for head in (method.head_student, method.head_teacher):
            torch.nn.init.zeros_(head.bias)
        return float(in_float64(method, factor * s[order], t[order] / factor, rows[order]).detach())

    same, order = torch.arange(size), torch.randperm(size, generator=g)
    value = loss(same, 1.0)
    assert 0 < value < float("inf")
    assert loss(order, scale) == pytest.approx(value, rel=1e-6)


def test_aligned_views_are_below_random_ones():
    world, student = World(), Student()
    rows = torch.arange(8)
    method = CMC(world.context(student)).double()
    g = torch.Generator().manual_seed(2)
    one, other = (torch.randn(8, 32, generator=g, dtype=torch.float64) for _ in range(2))
    method.head_teacher.load_state_dict(method.head_student.state_dict())

    def after(view):
        """The loss once both memories hold the clips `one` of one view and `view` of the other."""
        for memory, x in ((method.memory_student, one), (method.memory_teacher, view)):
            memory[rows] = F.normalize(method.head_student(x)).detach()
        return float(in_float64(method, one, view, rows).detach())

    after(one)  # fixes z
    assert after(one) < after(one + 0.5 * other) < after(other)
