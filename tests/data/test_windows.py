"""Several windows a clip: which frames they hold, and what training and evaluation take of them."""

import json

import numpy as np
import pytest
import torch
from cohort_files import number, numbered, write_cohort, write_video

from sacd.config import BackboneConfig
from sacd.data.check import check
from sacd.data.ingest import ingest
from sacd.data.look import survey_film
from sacd.data.problems import CohortError
from sacd.data.store import StoreConfig
from sacd.data.video import probe, read_clips
from sacd.experiments.profiles import PROFILES
from sacd.models.output import Output
from sacd.training.common import mean_of_windows
from sacd.training.pretext import reader
from sacd.training.views import View, evaluation_views, random_view, windows_of

CONFIG = StoreConfig(height=16, width=32, frames=4, sampling="consecutive")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """100 s at 8 frames/s."""
    path = tmp_path_factory.mktemp("film") / "v.mp4"
    write_video(path, (numbered(n) for n in range(800)), 8)
    return path


@pytest.mark.parametrize(("frames", "windows"), [(5, 1), (5, 3), (16, 2), (4, 40), (1, 10)])
def test_each_window_is_the_middle_of_its_part(film, frames, windows):
    onsets = [3, 33, 63]
    clips = list(read_clips(film, onsets, frames, (32, 64), "consecutive", windows=windows))
    for onset, clip in zip(onsets, clips, strict=True):
        assert clip.shape == (windows * frames, 32, 64)
        got = np.array([number(frame) for frame in clip]).reshape(windows, frames)
        for k, window in enumerate(got):
            first = (onset + (k + 0.5) * 30 / windows) * 8 - frames // 2
            assert abs(window[0] - first) <= 0.5 and np.all(np.diff(window) == 1)
        assert onset * 8 <= got.min() and got.max() < (onset + 30) * 8


def test_a_gap_in_any_window_drops_the_clip_and_check_knows_it(tmp_path):
    path = tmp_path / "v.mp4"
    ticks = [n for n in range(720) if not 270 < n < 290]  # around 35 s: the first of three windows
    write_video(path, map(numbered, ticks), 8, ticks)
    wanted = ([0, 30, 60], 5)
    for windows, whole in ((1, [True] * 3), (3, [True, False, True])):
        clips = list(read_clips(path, *wanted, (16, 32), "consecutive", windows=windows))
        assert [clip is not None for clip in clips] == whole
        surveyed = survey_film(path, probe(path), *wanted, "consecutive", 0.0, windows)
        assert surveyed.whole == whole


def test_more_windows_than_the_clip_has_frames_for_are_refused(film):
    with pytest.raises(CohortError, match="240 frames a clip, 259 consecutive ones are wanted"):
        list(read_clips(film, [0], 5, (16, 32), "consecutive", windows=37))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """One window and three of the same cohort."""
    root = tmp_path_factory.mktemp("stores")
    cohort = write_cohort(root / "cohort", ("sub-01", "sub-02"))
    assert check(cohort, frames=4, sampling="consecutive", windows=3)["level"].ne("error").all()
    three = CONFIG.model_copy(update={"windows": 3})
    return ingest(cohort, root / "one", CONFIG), ingest(cohort, root / "three", three)


def test_a_store_gives_the_window_that_is_asked_for(stores):
    one, three = stores
    rows = three.clips.iloc[[4, 0, 3]]
    whole = three.windows("sub-01")
    assert whole.shape == (3, 3, 4, 16, 32) and three.video("sub-01").shape == (3, 4, 16, 32)
    assert np.array_equal(three.gather_video(rows), one.gather_video(rows)), "the middle one"
    chosen = np.array([2, 0, 1])
    got = three.gather_video(rows, chosen)
    for k, (_, row) in enumerate(rows.iterrows()):
        assert np.array_equal(got[k], three.windows(row["subject"])[row["row"], chosen[k]])
    assert np.array_equal(three.gather_eeg(rows), one.gather_eeg(rows))


def test_training_draws_a_window_of_each_clip_and_evaluation_sees_all(stores):
    _, three = stores
    backbone = BackboneConfig(flips="horizontal")
    assert windows_of(backbone, three.config) == 3
    views = [random_view(backbone, 300, torch.Generator().manual_seed(s), 3) for s in (0, 0, 1)]
    assert torch.equal(views[0].window, views[1].window)
    assert not torch.equal(views[0].window, views[2].window)
    assert torch.bincount(views[0].window, minlength=3).min() > 70
    read = reader(backbone, {}, {"store": str(three.root)})
    rows = np.arange(3)
    every = torch.cat([read(rows, view) for view in evaluation_views(3)], dim=1)
    stored = torch.from_numpy(three.windows("sub-01").copy()).float()
    torch.testing.assert_close(every, (stored / 255 - 0.4) / 0.28)
    drawn = read(rows, View(window=torch.tensor([1, 2, 0])))
    assert torch.equal(drawn[:, 0], every[rows, [1, 2, 0]])


def test_windows_are_averaged_as_probabilities():
    generator = torch.Generator().manual_seed(0)
    logits = [5 * torch.randn(4, 5, generator=generator) for _ in range(3)]
    outputs = [Output(torch.full((4, 2), float(k)), x, ()) for k, x in enumerate(logits)]
    mean = mean_of_windows(outputs)
    for clip in range(4):
        for stage in range(5):
            p = [float(x[clip].exp()[stage] / x[clip].exp().sum()) for x in logits]
            assert float(mean.logits[clip].softmax(0)[stage]) == pytest.approx(sum(p) / 3, rel=1e-4)
    assert torch.equal(mean.embedding, torch.ones(4, 2))
    assert mean_of_windows(outputs[:1]) is outputs[0]


def test_only_the_profile_paper_has_several(stores):
    one, three = stores
    assert PROFILES["paper"].store.parts == 3
    for name in ("smoke", "demo"):
        assert PROFILES[name].store.parts == 1
    assert StoreConfig(height=1, width=1, frames=1, windows=5).parts == 1, "spread frames"
    night = json.loads((one.root / "sub-01" / "night.json").read_text())
    assert "windows" not in night["config"] and three.manifest["config"]["windows"] == 3
    frozen = BackboneConfig(frozen=2, input="motion")
    assert windows_of(frozen, three.config) == 1
