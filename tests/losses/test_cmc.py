import pytest
import torch
from tiny import CLIPS, Student, World
from torch.nn import functional as F
from torchdistill.losses.mid_level import CRDLoss

from sacd.losses import build
from sacd.losses.cmc import CMC


def test_labels_do_not_matter():
    world, student = World(), Student()
    losses = []
    for labels in (world.labels, world.labels.flip(0), torch.zeros_like(world.labels)):
        method = CMC(world.context(student), k=6)
        batch = world.batch(student, torch.arange(8))._replace(labels=labels[:8])
        losses.append(float(method.terms(batch)["cmc"].detach()))
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
    assert float(method.terms(live)["cmc"].detach()) == pytest.approx(0.8 * float(expected.detach()), rel=1e-9)


def test_equals_torchdistill_with_the_same_negatives():
    """CMC's loss is CRD's with other clips of any stage; torchdistill has the latter and takes the rows as given."""
    world, student = World(), Student()
    method = CMC(world.context(student))
    published = CRDLoss("s", "empty", "t", 128, CLIPS, CLIPS - 1, CLIPS)
    published.memory_v1.copy_(method.memory_student), published.memory_v2.copy_(method.memory_teacher)
    batch = world.batch(student, torch.arange(8))
    rows = torch.stack(
        [torch.cat((torch.tensor([i]), torch.arange(CLIPS)[torch.arange(CLIPS) != i])) for i in range(8)]
    )
    s = F.normalize(method.head_student(batch.student.embedding))
    t = F.normalize(method.head_teacher(batch.teacher.embedding))
    extra = {"pos_idx": torch.arange(8), "contrast_idx": rows}
    expected = published({"s": {"output": s}, "empty": {"input": extra}}, {"t": {"output": t}})
    assert float(method.terms(batch)["cmc"].detach()) == pytest.approx(0.8 * float(expected.detach()), rel=1e-4)


def test_options_reach_it_by_name_but_not_the_kind_of_negatives():
    world, student = World(), Student()
    method = build("cmc", world.context(student), memory="fifo", rows=12, weight=0.5)
    assert method.memory_student.shape == (12, 128) and method.weight == 0.5
    with pytest.raises(TypeError):
        build("cmc", world.context(student), negatives="exact")
