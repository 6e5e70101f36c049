"""Everything that a training calls is in its fingerprint: no change leaves stale results."""

import inspect
import sys

import pytest
from cohort_files import write_noise

from sacd.config import (
    BackboneConfig,
    FitConfig,
    MethodConfig,
    SplitConfig,
    StudentConfig,
    TeacherConfig,
)
from sacd.data.ingest import ingest
from sacd.data.store import StoreConfig
from sacd.losses import METHODS
from sacd.models import TEACHERS
from sacd.runs.fingerprint import code_hashes
from sacd.training.student import student
from sacd.training.teacher import teacher

pytestmark = pytest.mark.slow  # trains

SHORT = FitConfig(epochs=1, batch=8, optimizer="adamw", lr=1e-2, schedule="onecycle", select="last")
SILENT = ("sacd.config", "sacd.cpu", "sacd.runs")
"""Modules without results: settings, whose values are in the identity, and provenance."""


def called_by(work):
    """Module and outermost name of each definition of the package that a function calls."""
    called = set()

    def note(frame, event, _):
        if event != "call":
            return
        module = frame.f_globals.get("__name__", "")
        # Code without this flag is the body of a module or class that is being imported.
        function = frame.f_code.co_flags & inspect.CO_OPTIMIZED
        if function and module.startswith("sacd.") and not module.startswith(SILENT):
            called.add((module, frame.f_code.co_qualname.partition(".")[0]))

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return {
        (module, name) for module, name in called if not name.startswith(("<", "__create_fn__"))
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("called")
    write_noise(folder / "cohort")
    ingest(folder / "cohort", folder / "store", StoreConfig(height=16, width=16, frames=4))
    (folder / "teacher").mkdir()
    return folder, {
        "store": str(folder / "store"),
        "cohort": str(folder / "cohort"),
        "device": "cpu",
    }


@pytest.fixture(scope="module")
def taught(place):
    folder, resources = place
    config = TeacherConfig(fit=SHORT, split=SplitConfig())
    return called_by(
        lambda: teacher(config, {}, folder / "teacher", resources, lambda share, text: None)
    )


def test_of_a_teacher(taught):
    hashed = {
        tuple(name.split(":"))
        for name in code_hashes(["sacd.training.teacher:teacher", TEACHERS["attnsleep"]])
    }
    assert len(taught) > 15 and taught <= hashed, taught - hashed


@pytest.mark.parametrize("method", ["ce", "sacd", "ccl", "crd", "pkt"])
def test_of_a_student(place, taught, method, tmp_path):
    folder, resources = place
    options = {"layers": 1} if method == "sacd" else {}
    backbone, how = BackboneConfig(width=0.0625), MethodConfig(name=method, options=options)
    config = StudentConfig(backbone=backbone, method=how, fit=SHORT, split=SplitConfig())
    inputs = {"teacher": folder / "teacher"}
    called = called_by(
        lambda: student(config, inputs, tmp_path, resources, lambda share, text: None)
    )
    hashed = {
        tuple(name.split(":"))
        for name in code_hashes(["sacd.training.student:student", METHODS[method]])
    }
    assert len(called) > 15 and called <= hashed, called - hashed
