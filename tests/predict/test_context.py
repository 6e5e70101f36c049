"""The head of the shipped model reads the whole night; what has no context says so."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from films import sleeper
from safetensors.numpy import load_file

from sacd.__main__ import main
from sacd.predict import night as nights
from sacd.predict.context import LEAST_CLIPS
from sacd.predict.frames import clips_of
from sacd.predict.model import SHIPPED, Stager, load, save
from sacd.predict.summary import summarise
from sacd.stages import STAGES, UNSCORED
from sacd.training.night_facts import of_pixels
from sacd.training.night_heads import Head, beside_night, stage_by

pytestmark = pytest.mark.slow  # simulates and stages 40 minutes

P = [f"p_{name}" for name in STAGES]


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """80 clips of a simulated sleeper."""
    return sleeper(tmp_path_factory.mktemp("context"), blocks=5)[0]


@pytest.fixture(scope="module")
def made(video, tmp_path_factory):
    """Folder of results."""
    out = tmp_path_factory.mktemp("made") / "out"
    assert main(["predict", str(video), "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def computed(video, tmp_path_factory):
    """The staged night, and what was computed of each clip."""
    cache = tmp_path_factory.mktemp("cache")
    night = nights.predict([video], load(SHIPPED), cache)
    pieces = [dict(np.load(path)) for path in sorted(cache.glob("*.npz"))]
    return night, {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}


def test_the_night_is_staged_as_the_training_stages_one(video, computed):
    """From the frames and the tensors of the file, by the functions of `sacd.training`."""
    night, _ = computed
    stager, tensors = load(SHIPPED), load_file(SHIPPED)
    held = {k.removeprefix("context."): v for k, v in tensors.items() if k.startswith("context.")}
    clips = [clip for clip in clips_of([video], 0.0, stager.about.store) if clip.whole]
    frames = np.stack([clip.frames for clip in clips])
    h = torch.from_numpy(stager.features(frames)).float()
    with torch.inference_mode():
        shift = stager.mean - h.mean(dim=(2, 3, 4)).mean(dim=0)
        embedding = stager.tail(h + shift[:, None, None, None]).embedding.half().float().numpy()
    pixels, _ = of_pixels(frames, stager.about.store.frames / 30)
    x = np.hstack([(embedding - held["center"]) @ held["axes"], pixels])
    x = beside_night(x, np.array(["sub-01"] * len(x)), live=False)
    x = ((x - held["mean"]) / held["spread"]).clip(-5, 5)
    head = Head(x.shape[1], "night", False, stager.about.context.width, 0.5)
    weights = {k.removeprefix("head."): torch.from_numpy(v) for k, v in held.items() if "." in k}
    head.load_state_dict(weights)
    p = stage_by(head.eval(), torch.from_numpy(x), np.zeros(len(x), int)).double()
    expected = torch.softmax(p.log() + torch.tensor(stager.about.context.biases), dim=1)
    found = night.clips.set_index("clip").loc[[clip.number for clip in clips], P]
    assert len(clips) >= 75 and np.allclose(found, expected, atol=1e-5)


def test_page_and_tables_say_that_the_night_was_the_context(made):
    summary = json.loads((made / "summary.json").read_text())
    context = load(SHIPPED).about.context
    assert summary["context"] == "whole night" and "whole night as context" in summary["lead"]
    assert summary["certainty"]["threshold (largest probability)"] == f"{context.threshold:.2f}"
    assert not any("by itself" in text for text in summary["warnings"])
    page = (made / "index.html").read_text()
    assert summary["lead"] in page and "the whole night</td>" in page
    said = json.loads((made / "sub-01_task-sleep_hypnogram.json").read_text())
    assert said["Context"] == "whole night" and str(context.threshold) in str(said["uncertain"])
    table = pd.read_csv(made / "hypnogram.csv", na_values="n/a", keep_default_na=False)
    scored = table[table["stage"] != "unscored"]
    assert (scored["uncertain"] == (scored["confidence"] < context.threshold)).all()


def test_an_interrupted_night_ends_in_the_same_files(made, video, tmp_path, monkeypatch):
    out, features, calls = tmp_path / "out", Stager.features, []

    def stopped(self, frames):
        calls.append(len(frames))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return features(self, frames)

    monkeypatch.setattr(Stager, "features", stopped)
    assert main(["predict", str(video), "--out", str(out)]) == 130
    assert main(["predict", str(video), "--out", str(out)]) == 0
    assert len(calls) == 4  # of three batches, the first was kept
    assert sorted(p.name for p in out.iterdir()) == sorted(p.name for p in made.iterdir())
    for path in made.iterdir():
        assert path.read_bytes() == (out / path.name).read_bytes(), path.name


def test_the_head_sees_across_gaps_as_on_the_test_nights(computed):
    """A part of the video is missing, another is incomplete, and the recording starts late."""
    _, every = computed
    stager = load(SHIPPED)
    kept = np.r_[5:30, 34 : len(every["number"])]
    cut = {key: value[kept] for key, value in every.items()}
    cut["whole"] = cut["whole"] & (cut["number"] != cut["number"][40])
    whole = cut["whole"]
    assert whole.sum() >= LEAST_CLIPS
    night = nights._staged(cut, stager, 64 / 30)
    clips = night.clips.set_index("clip")
    assert not night.alone and clips.index[0] == every["number"][5]
    expected = stager.in_context(cut["features"][whole], cut["pixels"][whole])
    assert np.array_equal(clips.loc[cut["number"][whole], P], expected)
    missing = [*every["number"][30:34], cut["number"][40]]
    assert (clips.loc[missing, "stage"] == UNSCORED).all()


def test_a_night_that_is_too_short_is_staged_clip_by_clip(computed):
    _, every = computed
    stager = load(SHIPPED)
    whole = np.flatnonzero(every["whole"])
    for number, alone in ((LEAST_CLIPS, False), (LEAST_CLIPS - 1, True)):
        cut = {key: value[whole[:number]] for key, value in every.items()}
        night = nights._staged(cut, stager, 64 / 30)
        assert bool(night.alone) == alone
    assert np.array_equal(night.clips[P].dropna(), stager.probabilities(cut["features"]))
    summary = summarise(night, stager.about, None)
    (said,) = [text for text in summary["warnings"] if "by itself" in text]
    assert f"fewer than {LEAST_CLIPS} clips" in said and "\n" not in said
    assert "each by itself" in summary["lead"] and summary["context"].startswith("none: fewer")
    about = stager.about
    assert summary["certainty"]["threshold (largest probability)"] == f"{about.threshold:.2f}"
    assert summary["certainty"]["kappa there"] == f"{about.figures['test']['kappa']:.2f}"


def test_a_file_without_a_head_is_used_clip_by_clip(computed, tmp_path):
    _, every = computed
    stager = load(SHIPPED)
    stager.context = None
    stager.about = stager.about.model_copy(update={"context": None})
    save(stager, tmp_path / "m.safetensors")
    headless = load(tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").stat().st_size < SHIPPED.stat().st_size
    night = nights._staged(every, headless, 64 / 30)
    whole = every["whole"]
    expected = load(SHIPPED).probabilities(every["features"][whole])
    assert np.array_equal(night.clips[P].dropna(), expected)
    warnings = summarise(night, headless.about, None)["warnings"]
    (said,) = [text for text in warnings if "by itself" in text]
    assert said.endswith("by itself: the model file has no head that reads a whole night.")
