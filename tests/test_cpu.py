"""The pinned instruction set: equal bytes on emulated processors, other bytes without the pin."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sacd import cpu

ROOT = Path(__file__).parents[1]
NO_AVX512 = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD"
PROCESSORS: dict[str, dict[str, str]] = {
    "as it is": {},
    "without AVX-512": {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "GLIBC_TUNABLES": NO_AVX512},
    "unknown to MKL": {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "GLIBC_TUNABLES": NO_AVX512},
}
"""Variables that emulate other processors for MKL and the C library; the pin does not set them."""

CHOICES: dict[str, dict[str, str]] = {
    "as it is": {},
    "without AVX-512": {
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Zen",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    },
    "unknown to MKL": {
        "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Nehalem",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    },
}
"""What the other libraries select on those processors, emulated without the pin."""

SCRIPT = """
import hashlib, json, os, sys
from pathlib import Path
choices, pinned, folder = json.loads(sys.argv[1]), sys.argv[2] == "pinned", Path(sys.argv[3])
import sacd  # pins
from sacd import cpu
if not pinned:
    for name in cpu.PINNED:
        os.environ.pop(name, None)
    os.environ.update(choices)

def digest(*arrays):
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()[:16]

def main():
    from sacd.simulate.cohort import simulate
    from sacd.simulate.settings import SimulateConfig
    from sacd.data.ingest import ingest
    from sacd.data.store import StoreConfig
    cohort = simulate(folder / "cohort", SimulateConfig(n_subjects=1, blocks=1, seed=3))
    video = next((folder / "cohort").rglob("*.mp4")).read_bytes()
    store = ingest(cohort, folder / "store", StoreConfig(height=24, width=32, frames=16))
    import torch
    from sacd.losses.base import Batch, Context
    from sacd.losses.sacd import SACD
    from sacd.models.eeg import build_teacher
    from sacd.models.registry import build_student
    torch.manual_seed(0)
    clips = store.clips
    frames = torch.from_numpy(store.gather_video(clips)).float()[:, None] / 255
    eeg = torch.from_numpy(store.gather_eeg(clips).copy())[:, None]
    stages = torch.from_numpy(clips["stage"].to_numpy().copy())
    out = {"video": hashlib.sha256(video).hexdigest()[:16], "store": store.fingerprint[:16]}
    teacher = build_teacher("attnsleep")
    student = build_student("r2plus1d_18", in_channels=1, width=0.125)
    for name, network, x in (("teacher", teacher, eeg), ("student", student, frames)):
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-2)
        for _ in range(2):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x).logits, stages).backward()
            optimizer.step()
        out[name] = digest(*(p.detach().numpy() for p in network.parameters()))
    with torch.inference_mode():
        taught = teacher.eval()(eeg)
        example = student.eval()(frames)
    method = SACD(Context(student, example, taught, stages), layers=1)
    optimizer = torch.optim.SGD([*student.parameters(), *method.structure.parameters()], lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        batch = Batch(student.train()(frames), taught, stages, torch.arange(len(stages)), frames)
        sum(method.losses(batch).values()).backward()
        optimizer.step()
        with torch.no_grad():
            method.on_step_end(batch)
    parameters = [*student.parameters(), *method.structure.parameters()]
    out["SACD step"] = digest(*(p.detach().numpy() for p in parameters))
    print(json.dumps(out | {"state": cpu.state()}))

if __name__ == "__main__":
    main()
"""


def compute(tmp_path, name, pinned):
    """What a process computes on an emulated processor."""
    folder = tmp_path / name / pinned
    folder.mkdir(parents=True)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {k: v for k, v in os.environ.items() if k not in cpu.PINNED} | {
        "OMP_NUM_THREADS": "1"
    }
    environment |= PROCESSORS[name]
    command = [sys.executable, str(script), json.dumps(CHOICES[name]), pinned, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cpu")
    pinned = {(name, "pinned"): compute(folder, name, "pinned") for name in PROCESSORS}
    return pinned | {(name, "free"): compute(folder, name, "free") for name in EXTREMES}


EXTREMES = ("as it is", "unknown to MKL")
"""Without the pin these two differ; the one between them would prove nothing more."""
WHAT = ("video", "store", "teacher", "student", "SACD step")


@pytest.mark.slow
@pytest.mark.parametrize("what", WHAT)
def test_pinned_all_processors_give_the_same_bytes(computed, what):
    assert len({computed[name, "pinned"][what] for name in PROCESSORS}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("what", WHAT)
def test_without_the_pin_they_differ(computed, what):
    assert len({computed[name, "free"][what] for name in EXTREMES}) > 1


@pytest.mark.slow
def test_every_process_tells_whether_the_pin_was_honoured(computed):
    assert {computed[name, "pinned"]["state"]["honoured"] for name in PROCESSORS} == {has_avx2()}
    old = computed["unknown to MKL", "free"]["state"]
    assert not old["honoured"] and {"ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES"} <= set(
        old["own"]
    )


def has_avx2():
    return {"avx2", "fma"} <= cpu.cpu_flags()


def started(text, **environment):
    """What a new Python prints, whose environment holds nothing of the pin but what is given."""
    left = (*cpu.PINNED, "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    clean = {k: v for k, v in os.environ.items() if k not in left} | environment
    return subprocess.run(
        [sys.executable, "-c", text], env=clean, capture_output=True, text=True, check=True
    ).stdout


def test_a_value_of_the_user_wins_and_is_named():
    text = "import sacd; from sacd import cpu; print(cpu.state()['own'], cpu.warning())"
    said = started(text, MKL_CBWR="AUTO")
    assert said.startswith("['MKL_CBWR'] note: MKL_CBWR set by the user: bytes will differ")


def test_child_processes_inherit_the_pin():
    text = "import os, subprocess, sys, sacd; subprocess.run([sys.executable, '-c', {!r}])"
    assert (
        started(text.format("import os; print(os.environ['MKL_CBWR'])")).strip()
        == cpu.PINNED["MKL_CBWR"]
    )


def test_matrices_are_multiplied_on_one_thread_unless_the_user_sets_more():
    text = """import sacd, numpy
from threadpoolctl import threadpool_info
print([pool["num_threads"] for pool in threadpool_info() if pool["internal_api"] == "openblas"])"""
    assert started(text).strip() == "[1]"
    assert started(text, OPENBLAS_NUM_THREADS="2").strip() == "[2]"


def test_a_library_that_was_imported_before_is_told(monkeypatch):
    from numpy._core import _multiarray_umath

    monkeypatch.setattr(cpu, "cpu_flags", lambda: frozenset({"avx2", "fma"}))
    assert cpu.state()["honoured"] == (not cpu.state()["own"])
    features = dict(_multiarray_umath.__cpu_features__) | {"X86_V4": True}
    monkeypatch.setattr(_multiarray_umath, "__cpu_features__", features)
    assert "numpy was imported before sacd" in cpu.state()["reason"]


@pytest.mark.parametrize(
    ("architecture", "flags", "reason"), [("aarch64", (), "aarch64"), ("x86_64", ("sse2",), "AVX2")]
)
def test_other_processors_are_told_in_one_line(monkeypatch, architecture, flags, reason):
    monkeypatch.setattr(cpu.platform, "machine", lambda: architecture)
    monkeypatch.setattr(cpu, "cpu_flags", lambda: frozenset(flags))
    assert (
        reason in cpu.warning()
        and "bytes will differ" in cpu.warning()
        and "\n" not in cpu.warning()
    )
    assert not cpu.state()["honoured"]


def test_no_loss_and_no_training_takes_a_root_by_mkl():
    """It differs between Intel and AMD, which no variable emulates; `numerics.root` does not."""
    crops = "sacd/training/views.py"  # random crops, which only the profile `paper` draws
    folders = ("data", "losses", "models", "simulate", "training")
    paths = [path for name in folders for path in (ROOT / "sacd" / name).glob("*.py")]
    found = {path.relative_to(ROOT).as_posix() for path in paths if by_mkl(path.read_text())}
    assert found == {crops}
    assert by_mkl("x.sqrt()") and by_mkl("torch.sqrt(x)") and not by_mkl("np.sqrt(x)")
    assert by_mkl("optim.AdamW(m.parameters(), 1)") and not by_mkl("optim.SGD(x(), fused=True)")


def by_mkl(text):
    optimizers = re.findall(r"optim\.(?:Adam|SGD|RMSprop)\w*\([^()]*(?:\(\)[^()]*)*\)", text)
    return re.search(r"(?<!np)(?<!math)\.sqrt\(", text) or any(
        "fused=True" not in call for call in optimizers
    )
