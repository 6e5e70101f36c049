"""The smoke profile on an emulated older processor, and planted drifts: what verify says.

Minutes, so `make othermachine` and CI run these and `make test` does not. They compare with
`results/smoke` of this checkout, which `make test` has made.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sacd import cpu
from sacd.stages import STAGES

pytestmark = pytest.mark.whole

CHECKOUT = Path(__file__).resolve().parents[1]
SMOKE = CHECKOUT / "results" / "smoke"
OLDER = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}
"""A processor without AVX2, as settings of the user's own: these win over the pin."""

OTHER_CLIPS = "the clips or their stages differ: the data are not the same"

PATCHED = """
import sys
from sacd.experiments import profiles
smoke = profiles.PROFILES["smoke"]
{change}
from sacd.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def command(*words, change="", **environment):
    """Run a command of the package with a changed profile; returns exit code and output."""
    call = [sys.executable, "-c", PATCHED.format(change=change), *map(str, words)]
    clean = {name: value for name, value in os.environ.items() if name not in cpu.PINNED}
    done = subprocess.run(
        call,
        env=clean | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=CHECKOUT,
    )
    return done.returncode, done.stdout


def verified(root, **environment):
    """Exit code, output and verify.md of a comparison with this checkout's smoke results."""
    code, said = command(
        "verify", "--profile", "smoke", "--root", root, "--against", SMOKE, **environment
    )
    return code, said, (root / "results" / "smoke" / "verify.md").read_text()


@pytest.fixture(scope="module", autouse=True)
def here():
    if not (SMOKE / "MANIFEST.json").is_file():
        assert command("reproduce", "--profile", "smoke")[0] == 0


def test_another_processor_ends_well_and_what_differs_is_told(tmp_path):
    code, said = command(
        "reproduce", "--profile", "smoke", "--root", tmp_path, OMP_NUM_THREADS="1", **OLDER
    )
    assert code == 0, said
    assert "set by the user: bytes will differ" in said
    code, said, full = verified(tmp_path, **OLDER)
    assert code == 0, said
    assert "within the noise of retraining" in " ".join(said.split()), said  # lines are wrapped
    assert len(said.splitlines()) <= 50 and "error:" not in said
    assert "within the noise of retraining" in full


def test_a_halved_learning_rate_is_an_error(tmp_path):
    half = 'student = smoke.student.model_copy(update={"lr": smoke.student.lr / 2})\n'
    half += 'profiles.PROFILES["smoke"] = smoke.model_copy(update={"student": student})'
    only = ("reproduce", "--profile", "smoke", "--root", tmp_path, "--only", "fig6")
    code, said = command(*only, change=half, OMP_NUM_THREADS="1")
    assert "fig6_confusion.ipynb: executed" in said, said
    code, _, full = verified(tmp_path)
    assert code == 1 and "runs have other settings, for example" in full


def test_labels_shifted_by_a_clip_are_an_error(tmp_path):
    assert command("simulate", "--profile", "smoke", "--root", tmp_path)[0] == 0
    for path in (tmp_path / "data" / "smoke" / "cohort").rglob("*_events.tsv"):
        head, *lines = path.read_text().splitlines()
        rows = [line.split("\t") for line in lines]
        scored = [row for row in rows if row[2] in STAGES]  # the others are events in between
        stages = [row[2] for row in scored]
        for row, stage in zip(scored, [stages[-1], *stages[:-1]], strict=True):
            row[2] = stage
        path.write_text("\n".join([head, *("\t".join(row) for row in rows)]) + "\n")
    _, said = command("reproduce", "--profile", "smoke", "--root", tmp_path, "--only", "fig2")
    assert "fig2_cohort.ipynb: executed" in said, said
    code, _, full = verified(tmp_path)
    assert code == 1 and OTHER_CLIPS in full


def test_another_data_set_is_an_error(tmp_path):
    other = 'data = smoke.simulate.model_copy(update={"seed": 3})\n'
    other += 'profiles.PROFILES["smoke"] = smoke.model_copy(update={"simulate": data})'
    only = ("reproduce", "--profile", "smoke", "--root", tmp_path, "--only", "fig2")
    _, said = command(*only, change=other)
    assert "fig2_cohort.ipynb: executed" in said, said
    code, _, full = verified(tmp_path)
    assert code == 1 and OTHER_CLIPS in full
