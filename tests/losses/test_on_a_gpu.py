"""A training step on a GPU: every tensor lies there, and no number is read back.

Reading a number makes the GPU wait for all of its work. Where there is no GPU, PyTorch's fake
tensors stand in: they have a device and a shape and no values, so a stray CPU tensor or a value
that is read is an error.
"""

import pytest
import torch
from test_sacd import Normed
from tiny import World
from torch._subclasses.fake_tensor import FakeTensorMode

from sacd.losses.base import METHODS, Batch, build
from sacd.models.output import Output

ROWS = torch.arange(16)
READINGS = {
    "structure as printed": {"structure": "literal"},
    "matched graphs only": {"structure": "matched_only"},
    "sp": {"structure": "sp"},
    "semi-hard": {"selection": "semi_hard_random"},
    "video anchors": {"directions": "video"},
    "several graphs": {"graph_size": 8},
}
CASES = [(name, {}) for name in METHODS] + [("sacd", options) for options in READINGS.values()]


def moved(batch: Batch, to) -> Batch:
    def output(o: Output) -> Output:
        return Output(to(o.embedding), to(o.logits), tuple(map(to, o.features)))

    tensors = to(batch.labels), to(batch.index), to(batch.clips)
    return Batch(output(batch.student), output(batch.teacher), *tensors, batch.epoch)


def one_step(student, method, batch: Batch, backward: bool = True) -> None:
    batch = batch._replace(student=student(batch.clips))
    terms = method.losses(batch)
    total = batch.student.logits.square().mean() + sum(terms.values())
    if backward:
        total.backward()
    with torch.no_grad():
        method.on_step_end(batch)


def ready(name, options):
    """A student and a method after two steps on the CPU, and the next batch."""
    world, student = World(), Normed()
    method = build(name, world.context(student), **options)
    for start in (0, 8):
        one_step(student, method, world.batch(student, torch.arange(start, start + 16)))
    return student, method, world.batch(student, ROWS)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_step_stays_on_its_device_and_reads_no_number(name, options):
    student, method, batch = ready(name, options)
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:

        def to(x: torch.Tensor) -> torch.Tensor:
            return mode.from_tensor(x).to("cuda").detach()

        for module in (student, method):
            for part in module.modules():
                for key, p in part._parameters.items():
                    if p is not None:
                        part._parameters[key] = torch.nn.Parameter(to(p), p.requires_grad)
                for key, b in part._buffers.items():
                    if b is not None:
                        part._buffers[key] = to(b)
        # Autograd asks for a real device; what it does follows from the forward pass.
        one_step(student, method, moved(batch, to), backward=False)


def test_what_the_fake_device_would_catch():
    with FakeTensorMode() as mode:
        x = mode.from_tensor(torch.zeros(3)).to("cuda")
        with pytest.raises(RuntimeError, match="device"):
            x + mode.from_tensor(torch.zeros(3))
        with pytest.raises(RuntimeError):
            float(x.sum())
        with pytest.raises(RuntimeError):
            x[x > 0]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_step_on_a_gpu_does_not_wait(name, options):
    student, method, batch = ready(name, options)
    student.cuda()
    method.cuda()
    batch = moved(batch, lambda x: x.detach().cuda())
    one_step(student, method, batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        one_step(student, method, batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")
