import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import Student, World
from torchdistill.losses.mid_level import SimpleLossWrapper

from sacd.losses.fitnet import FitNet, hint


def pair(seed, size=4, dimensions=7):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(size, dimensions, generator=g, dtype=torch.float64) for _ in range(2)]


def test_naive_loops():
    guess, teacher = pair(0)
    expected = sum((guess[i, j] - teacher[i, j]) ** 2 for i in range(4) for j in range(7)) / 28
    assert float(hint(guess, teacher)) == pytest.approx(float(expected))


def test_gradcheck():
    guess, teacher = pair(1)
    assert torch.autograd.gradcheck(lambda x: hint(x, teacher), guess.requires_grad_())


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 10))
def test_properties(seed, scale):
    guess, teacher = pair(seed)
    loss = hint(guess, teacher)
    assert loss > 0 and hint(teacher, teacher) == 0
    torch.testing.assert_close(hint(scale * guess, scale * teacher), scale**2 * loss)
    torch.testing.assert_close(hint(guess.flip(0), teacher.flip(0)), loss)


def test_a_linear_student_can_be_regressed_and_a_random_one_less():
    """The best linear regressor leaves nothing of a student that is a linear map of the teacher."""
    g = torch.Generator().manual_seed(0)
    teacher = torch.randn(64, 16, generator=g)
    aligned, apart = teacher @ torch.randn(16, 16, generator=g), torch.randn(64, 16, generator=g)
    left = [
        float(hint(s @ torch.linalg.lstsq(s, teacher).solution, teacher)) for s in (aligned, apart)
    ]
    assert left[0] < 1e-6 < 0.3 < left[1]


def test_equals_the_published_weighting():
    """torchdistill trains the hint by PyTorch's MSE; RepDistiller multiplies it by 100."""
    world, student = World(), Student()
    method = FitNet(world.context(student))
    batch = world.batch(student, torch.arange(8))
    published = SimpleLossWrapper(
        torch.nn.MSELoss(),
        input={"is_from_teacher": False, "module_path": "s", "io": "output"},
        target={"is_from_teacher": True, "module_path": "t", "io": "output"},
    )
    guess = batch.student.embedding @ method.regressor.weight.T + method.regressor.bias
    expected = published({"s": {"output": guess}}, {"t": {"output": batch.teacher.embedding}}, None)
    torch.testing.assert_close(method.losses(batch)["fitnet"], 100 * expected)
