"""What every method of `METHODS` must keep: finite terms, learning, and exact resumption."""

import io

import pytest
import torch
from tiny import SIZE, STAGES, Student, World, adam, step

from sacd.losses.base import METHODS, Batch, Method, build
from sacd.models.output import Output

ROWS = torch.arange(16)


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


def made(name, seed=0, **options):
    world, student = World(), Student(seed)
    method = build(name, world.context(student, seed), **options)
    assert isinstance(method, Method)
    return world, student, method


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match=r"'nothing' is unknown; known: ce, kd"):
        build("nothing", World().context(Student()))


def test_student_overfits_and_its_own_term_falls(name):
    world, student, method = made(name)
    optimizer = adam(student, method)
    own = []

    def learned():
        accuracy = (
            (student(world.clips[ROWS]).logits.argmax(1) == world.labels[ROWS]).float().mean()
        )
        # From the largest of the first 30 steps: a memory may be empty at the first.
        return accuracy == 1.0 and (name == "ce" or sum(own[-10:]) / 10 < 0.8 * max(own[:30]))

    for i in range(300):
        own.append(step(student, method, optimizer, world.batch(student, ROWS))[1])
        if i % 20 == 19 and learned():
            break
    assert learned(), own[::20]
    assert (max(own) == 0) == (name == "ce")


@pytest.mark.slow
@pytest.mark.parametrize("term", ["structure", "contrastive", "jsd"])
def test_each_term_of_sacd_falls_by_itself(term):
    """Their sum falls even if L_D does not learn, whose first step is 2 and the later ones about 1.

    Bank and past graphs hold other clips: with the batch itself as its past, no mismatched graph
    would be another one.
    """
    world, student = World(), Student()
    weights = {
        f"weight_{name}": float(name == term) for name in ("structure", "contrastive", "jsd")
    }
    method = build("sacd", world.context(student), layers=1, **weights)
    for start in (16, 20, 24):
        method.on_step_end(world.batch(student, torch.arange(start, start + 16)))
    trained = [p for module in (student, method) for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 3e-3)
    own = []
    for _ in range(60):
        own.append(sum(method.losses(world.batch(student, ROWS)).values()))
        optimizer.zero_grad()
        own[-1].backward()
        optimizer.step()
    assert own[-1] < 0.7 * own[0], own[::10]  # 1 is what a network that learns nothing keeps of L_D


def edge(case: str) -> Batch:
    """A batch that breaks careless arithmetic; the student's outputs are leaves."""
    g = torch.Generator().manual_seed(3)
    size = 1 if case == "one clip" else 16
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(case[:4], torch.float32)
    extreme = {"fp16": torch.finfo(dtype).max, "bf16": torch.finfo(dtype).max, "zero": 0.0}
    factor = torch.finfo(dtype).tiny if case.endswith("tiny") else extreme.get(case, 1)

    def x(*shape):
        drawn = (2 * torch.rand(size, *shape, generator=g) - 1) * factor
        return (drawn[:1].expand_as(drawn) if case == "identical" else drawn).to(dtype)

    student = Output(x(SIZE), x(STAGES), (x(4, 2, 4, 4), x(8, 2, 4, 4), x(SIZE, 2, 4, 4)))
    if case == "opposite":
        teacher = Output(
            -student.embedding, -student.logits, tuple(-f.flatten(2) for f in student.features)
        )
    else:
        teacher = Output(x(SIZE), x(STAGES), (x(SIZE, 6), x(SIZE, 3)))
    if case == "overflow":
        student.embedding[0, 0] = student.logits[1, 2] = torch.inf
    student = Output(
        *(x.clone().requires_grad_() for x in student[:2]),
        tuple(x.clone().requires_grad_() for x in student.features),
    )
    labels = (
        torch.full((size,), 2) if case in ("one stage", "one clip") else torch.arange(size) % STAGES
    )
    return Batch(
        student, teacher, labels, torch.arange(size), torch.randn(size, 1, 2, 4, 4, generator=g)
    )


CASES = (
    *("usual", "one clip", "one stage", "identical", "zero", "opposite", "overflow"),
    *("fp16", "bf16", "fp16 tiny", "bf16 tiny"),
)


@pytest.mark.parametrize("case", CASES)
def test_terms_are_finite_scalars(name, case):
    stays_finite(made(name)[2], edge(case))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_contrastive_terms_of_sacd_are_finite(case, autocast):
    stays_finite(made("sacd", weight_structure=0)[2], edge(case), autocast)


def stays_finite(method, batch, autocast=False):
    for _ in range(3):  # the second and third step meet what the first left in a memory
        with torch.autocast("cpu", torch.float16, enabled=autocast):
            terms = method.losses(batch)
        assert all(term.shape == () and term.isfinite() for term in terms.values()), terms
        total = sum(terms.values(), torch.zeros(()))
        if total.requires_grad:
            total.backward()
        with torch.no_grad(), torch.autocast("cpu", torch.float16, enabled=autocast):
            method.on_step_end(batch)
    seen = [*batch.student[:2], *batch.student.features, *method.parameters()]
    for x in seen:
        if x.grad is not None:
            # A gradient may be more than half precision holds; the loss scaler of the training loop
            # skips such a step.
            assert not x.grad.isnan().any() if x.dtype.itemsize == 2 else x.grad.isfinite().all()
    assert all(x.isfinite().all() for key, x in method.named_buffers() if key != "log_z")


def test_teacher_gets_no_gradient(name):
    world, student, method = made(name)
    live = world.batch(student, ROWS)
    watched = Output(
        *(x.clone().requires_grad_() for x in live.teacher[:2]),
        tuple(x.clone().requires_grad_() for x in live.teacher.features),
    )
    optimizer = adam(student, method)
    step(student, method, optimizer, live._replace(teacher=watched))
    step(student, method, optimizer, world.batch(student, ROWS)._replace(teacher=watched))
    assert all(x.grad is None for x in (watched.embedding, watched.logits, *watched.features))
    assert not any(x.requires_grad for x in method.buffers())


@pytest.mark.parametrize(
    ("name", "terms"),
    [("sacd", {"structure", "contrastive", "jsd"}), ("ccl", {"ccl_contrast", "ccl_divergence"})],
)
@pytest.mark.parametrize("train_teacher", [False, True])
def test_a_teacher_that_is_trained_gets_the_gradient_of_the_terms(name, terms, train_teacher):
    """The one exception (Table IV, F and G); its own cross-entropy would train it anyway."""
    world, student = World(), Student()
    method = build(name, world.context(student), train_teacher=train_teacher)
    step(student, method, adam(student, method), world.batch(student, ROWS))  # fills the banks
    batch = world.batch(student, ROWS)
    leaves = [x.clone().requires_grad_() for x in batch.teacher[:2]]
    found = method.losses(batch._replace(teacher=Output(*leaves, batch.teacher.features)))
    gradients = {
        k: torch.autograd.grad(v, leaves, retain_graph=True, allow_unused=True)
        for k, v in found.items()
    }
    reached = {k for k, of in gradients.items() if any(g is not None and g.any() for g in of)}
    assert reached == (terms if train_teacher else set())


def test_resumed_run_continues_exactly(name):
    def blocks(start):
        return [torch.arange(s, s + 8) for s in range(start, start + 24, 8)]

    world, student, method = made(name)
    optimizer = adam(student, method)
    for rows in blocks(0):
        step(student, method, optimizer, world.batch(student, rows))
    file = io.BytesIO()
    torch.save([x.state_dict() for x in (student, method, optimizer)], file)
    ahead = [step(student, method, optimizer, world.batch(student, rows)) for rows in blocks(16)]

    _, student2, method2 = made(name, seed=9)
    optimizer2 = adam(student2, method2)
    file.seek(0)
    for x, state in zip(
        (student2, method2, optimizer2), torch.load(file, weights_only=True), strict=True
    ):
        x.load_state_dict(state)
    assert ahead == [
        step(student2, method2, optimizer2, world.batch(student2, rows)) for rows in blocks(16)
    ]
    for a, b in zip(student.state_dict().values(), student2.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_same_seed_same_start(name):
    states = [made(name, seed=4)[2].state_dict() for _ in range(2)]
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=0, atol=0, equal_nan=True, msg=key)


def test_building_leaves_the_global_generator_alone(name):
    world, student = World(), Student()
    context = world.context(student)
    before = torch.get_rng_state()
    build(name, context)
    assert torch.equal(before, torch.get_rng_state())
