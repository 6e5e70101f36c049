import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import pair
from tiny import Student, World
from torchdistill.losses.mid_level import SimpleLossWrapper

from sacd.losses.fitnet import FitNet, hint


def views(seed):
    return pair(seed, 4, (7,), (7,))


def test_naive_loops():
    guess, teacher = views(0)
    expected = sum((guess[i, j] - teacher[i, j]) ** 2 for i in range(4) for j in range(7)) / 28
    assert float(hint(guess, teacher)) == pytest.approx(float(expected))


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 10))
def test_grows_with_the_square_of_the_scale_and_is_0_of_oneself(seed, scale):
    guess, teacher = views(seed)
    loss = hint(guess, teacher)
    torch.testing.assert_close(hint(scale * guess, scale * teacher), scale**2 * loss)
    assert hint(teacher, teacher) == 0


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
