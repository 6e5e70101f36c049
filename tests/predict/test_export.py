"""The exported model gives the stages of the one that was trained."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from films import sleeper

from sacd.__main__ import main
from sacd.config import BackboneConfig
from sacd.data.motion import motion_level
from sacd.data.store import StoreConfig
from sacd.predict.export import _Level, write_onnx
from sacd.predict.frames import clips_of
from sacd.predict.model import SHIPPED, Stager, load
from sacd.training.pretext import make_student


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Whole clips of a simulated sleeper whom the model has not seen, `(n, 64, 24, 32)`."""
    video, _ = sleeper(tmp_path_factory.mktemp("export"))
    clips = clips_of([video], 0.0, load(SHIPPED).about.store)
    return np.stack([clip.frames for clip in clips if clip.whole])


def outputs(path, frames):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"frames": frames})[0]


@pytest.mark.slow
def test_onnxruntime_gives_the_same_stages(night, tmp_path):
    path = tmp_path / "student.onnx"
    assert main(["export", str(SHIPPED), "--onnx", str(path)]) == 0
    stager = load(SHIPPED)
    for frames in (night, night[:5]):  # any number of clips
        expected = stager.probabilities(stager.features(frames))
        found = outputs(path, frames)
        assert np.abs(found - expected).max() < 0.005
        assert (found.argmax(1) == expected.argmax(1)).all()
    assert len(set(outputs(path, night).argmax(1))) > 1
    said = onnxruntime.InferenceSession(str(path)).get_modelmeta().custom_metadata_map
    # The graph has no context, so what it says of itself has none either.
    student = stager.about.model_copy(update={"context": None})
    assert json.loads(said["about"]) == json.loads(student.model_dump_json())
    assert "context" not in said["model"]


def test_its_preprocessing_is_that_of_the_training(night):
    level = _Level(64, 24, 32)(torch.from_numpy(night).float())
    assert torch.allclose(level, motion_level(torch.from_numpy(night)), atol=1e-3)


@pytest.mark.slow
def test_a_student_of_grey_frames_is_exported_too(tmp_path):
    backbone = BackboneConfig(width=0.125, options={"stem_kernel": 3})
    store = StoreConfig(height=32, width=32, frames=8)
    other = {"backbone": backbone, "store": store, "context": None}
    about = load(SHIPPED).about.model_copy(update=other)
    torch.manual_seed(0)
    stager = Stager(about, make_student(backbone).state_dict())
    write_onnx(stager, tmp_path / "student.onnx")
    frames = np.random.default_rng(0).integers(0, 255, (4, 8, 32, 32)).astype(np.uint8)
    expected = stager.probabilities(stager.features(frames))
    assert np.allclose(outputs(tmp_path / "student.onnx", frames), expected, atol=1e-3)


def test_nothing_to_write_is_one_line(capsys):
    assert main(["export", str(SHIPPED)]) == 1
    assert capsys.readouterr().err == "error: nothing to write; say --onnx FILE or --model FILE\n"
