"""The command on a simulated sleeper, with the model that is shipped."""

import json
import shutil
from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest
from browser import opened, with_chromium
from films import likeness, pictures_in, remade, sleeper, some_frames

from sacd.__main__ import main
from sacd.data.events import read_events
from sacd.predict import night as nights
from sacd.predict.model import SHIPPED, load
from sacd.stages import STAGES

pytestmark = pytest.mark.slow  # simulates and stages a night

P = [f"p_{name}" for name in STAGES]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of results, video, EEG."""
    folder = tmp_path_factory.mktemp("predict")
    video, eeg = sleeper(folder)
    out = folder / "out"
    assert main(["predict", str(video), "--out", str(out), "--eeg", str(eeg)]) == 0
    return out, video, eeg


def table(out: Path) -> pd.DataFrame:
    return pd.read_csv(out / "hypnogram.csv", na_values="n/a", keep_default_na=False)


def test_every_clip_has_a_stage_its_probabilities_and_its_measures(made):
    out, _, _ = made
    found = table(out)
    whole = found["stage"] != "unscored"
    assert whole.sum() >= 14 and (found["onset_s"].diff().dropna() == 30).all()
    scored = found[whole]
    assert np.allclose(scored[P].sum(axis=1), 1, atol=1e-3)
    assert (scored["stage"] == scored[P].idxmax(axis=1).str.removeprefix("p_")).all()
    below = scored["confidence"] < load(SHIPPED).about.threshold
    assert (scored["uncertain"] == below).all()
    assert scored["breaths_per_minute"].between(6, 42).all()
    assert scored["movement_s"].between(0, 30).all()


def test_other_programs_read_the_files(made):
    out, _, _ = made
    found = table(out)
    events = read_events(out / "sub-01_task-sleep_events.tsv")
    stages = events[events["trial_type"] != "body movement"]
    assert list(stages["trial_type"]) == list(found["stage"])
    notes = mne.read_annotations(out / "annotations.edf")
    names = {"REM": "Sleep stage R", "unscored": "Sleep stage ?"}
    expected = [names.get(name, f"Sleep stage {name}") for name in found["stage"]]
    assert [n for n in notes.description if n.startswith("Sleep")] == expected
    hypnogram = pd.read_csv(out / "sub-01_task-sleep_hypnogram.tsv", sep="\t")
    assert list(hypnogram["stage"]) == list(found["stage"])
    assert set(json.loads((out / "sub-01_task-sleep_hypnogram.json").read_text())) >= {"stage"}


def test_the_eeg_is_staged_beside_it(made):
    out, _, _ = made
    found, summary = table(out), json.loads((out / "summary.json").read_text())
    both = found[(found["stage"] != "unscored") & (found["stage_eeg"] != "unscored")]
    share = 100 * (both["stage"] == both["stage_eeg"]).mean()
    assert summary["agreement"]["accuracy"] == pytest.approx(share, abs=0.01)
    assert summary["agreement"]["clips"] == len(both) >= 14


def test_the_page_stands_alone_and_says_what_the_model_is(made):
    page = (made[0] / "index.html").read_text()
    assert "data:image/png;base64," in page and "Not a medical device" in page
    assert f"was trained on: {load(SHIPPED).about.data}." in page
    assert not [word for word in ("http://", "https://", "<script", "@import") if word in page]


@with_chromium
@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1280, "dark")])
def test_the_page_has_no_barrier(made, tmp_path, width, theme):
    page = made[0] / "index.html"
    assert opened(page, "tell(problems(window));", tmp_path, width, theme) == []


def test_no_frame_is_in_any_output(made):
    out, video, _ = made
    pictures, frames = pictures_in(out), some_frames(video, 400)
    assert len(pictures) == 2 and np.array_equal(*pictures)  # night.png, and it in the page
    every = b"".join(p.read_bytes() for p in out.iterdir())
    for frame in frames:
        assert frame.tobytes() not in every
        assert likeness(pictures[0], frame) < 0.85
    # The test would find one.
    spoilt = pictures[0].copy()
    spoilt[100:196, 100:228] = np.kron(frames[0], np.ones((4, 4)))
    assert likeness(spoilt, frames[0]) > 0.95


def test_the_cache_of_a_resume_holds_no_frame_and_is_removed(made, tmp_path):
    out, video, _ = made
    assert not (out / ".partial").exists()
    cache = tmp_path / "cache"
    nights.predict([video], load(SHIPPED), cache)
    held = b""
    for path in cache.glob("*.npz"):
        with np.load(path) as file:
            assert max(a[0].size for a in dict(file).values()) <= 2048  # a frame has 768 pixels
            held += b"".join(a.tobytes() for a in dict(file).values())
    assert held and not any(frame.tobytes() in held for frame in some_frames(video))


def test_an_interrupted_night_continues_with_the_same_result(made, tmp_path, monkeypatch):
    _, video, _ = made
    monkeypatch.setattr(nights, "BATCH", 4)
    stager, computed = load(SHIPPED), []
    whole = nights.predict([video], stager, tmp_path / "a")
    features = stager.features

    def counted(frames):
        computed.append(len(frames))
        if len(computed) == 3:
            raise KeyboardInterrupt
        return features(frames)

    monkeypatch.setattr(stager, "features", counted)
    with pytest.raises(KeyboardInterrupt):
        nights.predict([video], stager, tmp_path / "b")
    again = nights.predict([video], stager, tmp_path / "b")
    assert computed[0] == 4 and len(computed) == 3 + len(whole.clips) // 4 - 2 + bool(
        len(whole.clips) % 4
    )
    pd.testing.assert_frame_equal(again.clips, whole.clips)
    assert np.array_equal(again.trace, whole.trace, equal_nan=True)


def test_a_cache_of_another_video_is_not_used(made, tmp_path):
    _, video, _ = made
    stager = load(SHIPPED)
    other = tmp_path / "later.mp4"
    shutil.copy(video, other)
    nights.predict([video], stager, tmp_path / "cache")
    late = nights.predict([other], stager, tmp_path / "cache", start=45.0)
    assert late.clips["onset_s"].iloc[0] == 30 and late.clips["stage"].iloc[0] == -1


@pytest.mark.parametrize(
    ("name", "codec", "size"), [("a.avi", "mjpeg", (160, 120)), ("b.mkv", "ffv1", (96, 96))]
)
def test_any_container_and_size_gives_much_the_same(made, tmp_path, name, codec, size):
    out, video, _ = made
    film = remade(video, tmp_path / name, codec, size)
    assert main(["predict", str(film), "--out", str(tmp_path / "out")]) == 0
    one, two = table(out), table(tmp_path / "out")
    n = min(len(one), len(two))
    gap = (one[P].head(n) - two[P].head(n)).abs().mean().mean()
    assert n >= 14 and gap < 0.1


def test_anonymised_results_are_tables_without_names(made, tmp_path):
    _, video, _ = made
    secret = tmp_path / "Jane-Doe.mp4"
    shutil.copy(video, secret)
    out = tmp_path / "out"
    assert main(["predict", str(secret), "--out", str(out), "--anonymise"]) == 0
    assert {p.suffix for p in out.iterdir()} == {".csv", ".tsv", ".json", ".edf"}
    assert b"Jane" not in b"".join(p.read_bytes() for p in out.iterdir())


def test_what_cannot_be_staged_is_one_line(made, tmp_path, capsys):
    _, video, eeg = made
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    for wanted, said in (
        ([str(tmp_path / "none.mp4")], "is not a file"),
        ([str(text)], "notes.mp4"),
        ([str(video), "--eeg", str(eeg), "--channel", "O9"], "O9"),
        ([str(video), "--model", str(text)], "is not a model"),
        ([str(video), "--start", "nan"], "--start"),
    ):
        assert main(["predict", *wanted, "--out", str(tmp_path / "out")]) == 1
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith("error:") and said in lines[0]
