import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sacd.analysis import explore
from sacd.stages import STAGES


@pytest.fixture
def results(tmp_path):
    rng = np.random.default_rng(0)
    n = 120
    table = pd.DataFrame(
        {"subject": np.repeat(["s1", "s2", "s3"], 40), "clip": np.tile(np.arange(40), 3)}
    ).assign(block=np.repeat([0, 0, 1, 2, 2, 3], 20))
    p = rng.dirichlet(np.ones(5), n)
    table = table.assign(stage=rng.integers(0, 5, n), prediction=p.argmax(1))
    table = table.assign(**{f"p_{s}": p[:, k] for k, s in enumerate(STAGES)})
    ahi = pd.Series({"s1": 2.0, "s2": 17.5, "s3": 44.0})
    parts = [
        explore.clips_of(run, table, rng.standard_normal((n, 30)), rng.standard_normal((n, 2)), ahi)
        for run in ("SACD, seed 0", "baseline, seed 0")
    ]
    chosen = table[table["subject"] == "s3"]
    wave = np.tile(60 * np.sin(2 * np.pi * 2 * np.arange(3000) / 100), (40, 1)).astype(np.float32)
    video = rng.integers(0, 9, (40, 16, 6, 8)).astype(np.uint8)
    signals = explore.signals(chosen, wave, 100, video, frames=False)
    explore.write(parts, tmp_path, signals)
    return tmp_path, parts, signals


def test_what_is_written_is_read_and_equal_bytes(results):
    folder, parts, signals = results
    table = explore.read(folder)
    assert len(table) == 240 and table["run"].unique().tolist() == [
        "SACD, seed 0",
        "baseline, seed 0",
    ]
    assert table["ahi"].unique().tolist() == [2.0, 17.5, 44.0]
    first = (folder / explore.FILE).read_bytes()
    explore.write(parts, folder, signals)
    assert (folder / explore.FILE).read_bytes() == first


def test_large_cohorts_lose_whole_subjects(results, monkeypatch):
    folder, parts, signals = results
    monkeypatch.setattr(explore, "LARGEST", 90)
    explore.write(parts, folder, signals)
    table = explore.read(folder)
    assert sorted(table["subject"].unique()) == ["s1", "s2"] and len(table) == 160


def test_subjects_that_are_left_out_are_counted_with_the_reason(results, monkeypatch):
    table = explore.read(results[0])
    assert explore.left_out(table, 3) == ""
    monkeypatch.setattr(explore, "LARGEST", 1300)
    said = explore.left_out(table, 7)
    assert said.startswith("Shown are 3 of 7 test subjects") and "at most 1,300 clips" in said


def test_choice_and_map(results):
    table = explore.read(results[0])
    run = "SACD, seed 0"
    clips = explore.choose(table, run, ["N2", "REM"], "s3")
    assert (
        set(clips["stage"]) == {2, 4}
        and set(clips["subject"]) == {"s3"}
        and set(clips["run"]) == {run}
    )
    whole = explore.choose(table, run)
    assert len(whole) == 120
    other = explore.remap(whole, 5)
    assert not np.allclose(other["x"], whole["x"]) and explore.remap(whole, 30).equals(whole)


def test_signals_are_those_of_the_clips_in_few_bytes(results):
    first = results[2].iloc[0]
    wave = np.frombuffer(first["eeg"], np.int8) * float(explore.EEG_STEP)
    assert len(wave) == 30 * explore.RATE
    expected = 60 * np.sin(2 * np.pi * 2 * np.arange(len(wave)) / explore.RATE)
    assert np.abs(wave - expected)[50:-50].max() < 2, "2 Hz stay 2 Hz, in uV"
    moved = np.frombuffer(first["movement"], np.uint8) * explore.MOVEMENT_STEP
    assert len(moved) == 15 and 1.5 < moved.mean() < 5, "grey levels of random frames"


def decoded(content) -> np.ndarray:
    """Frames `(n, 24, 32)` of the picture that the page shows, in the order of the clips."""
    image = Image.open(io.BytesIO(base64.b64decode(content["frames"])))
    grey = np.asarray(image.convert("L"))
    high, wide = explore.SHAPE
    cells = grey.reshape(-1, high, content["across"], wide).swapaxes(1, 2)
    return cells.reshape(-1, high, wide)


@pytest.mark.parametrize("size", [(24, 32), (48, 64)])
def test_frames_are_the_middles_of_the_quarters_with_the_contrast_of_their_clip(results, size):
    """Clip k is dark but for a bright row k, whose brightness rises from quarter to quarter."""
    folder, parts, _ = results
    by = size[0] // 24
    video = np.full((40, 16, *size), 10, np.uint8)
    for k in range(40):
        row = slice(by * (k % 24), by * (k % 24 + 1))
        video[k, 2::4, row] = np.array([70, 100, 130, 160])[:, None, None]
    clips = parts[0][parts[0]["subject"] == "s3"]
    made = explore.signals(clips, np.zeros((40, 3000), np.float32), 100, video, frames=True)
    assert set(made["frames"].str.len()) == {explore.FRAMES * 24 * 32 // 2}
    path = explore.write(parts, folder, made)
    content = explore.payload(explore.read(folder), "made-up data")
    shown = decoded(content)
    for k in range(40):
        clip = shown[explore.FRAMES * k : explore.FRAMES * (k + 1)]
        rows = clip[:, k % 24]
        assert rows[:, 0].tolist() == [102, 153, 204, 255] and (rows == rows[:, :1]).all()
        assert clip.sum() == rows.sum(), "all else is black"
    assert (shown[explore.FRAMES * 40 :] == 0).all() and path.stat().st_size < 100_000


def test_without_leave_no_frame_is_in_file_or_page(results):
    table = explore.read(results[0])
    assert "frames" not in results[2] and "frames" not in table
    assert explore.payload(table, "a cohort")["frames"] == ""


def test_signals_are_of_whole_nights_from_low_to_high_ahi(monkeypatch):
    clips = pd.DataFrame({"subject": np.repeat([f"s{k}" for k in range(9)], 20)})
    ahi = pd.Series({f"s{k}": float(9 - k) for k in range(9)})
    monkeypatch.setattr(explore, "SIGNALLED", 65)
    assert explore.with_signals(clips, ahi)["subject"].unique().tolist() == ["s0", "s4", "s8"]
    monkeypatch.setattr(explore, "SIGNALLED", 5)
    assert explore.with_signals(clips, ahi)["subject"].nunique() == 1, "one night at least"
    monkeypatch.setattr(explore, "LARGEST", 40)
    monkeypatch.setattr(explore, "SIGNALLED", 999)
    assert explore.with_signals(clips, ahi)["subject"].unique().tolist() == ["s0", "s1"]


def test_the_payload_has_every_clip_of_every_run(results):
    content = explore.payload(explore.read(results[0]), "made-up data")

    def array(text, kind):
        return np.frombuffer(base64.b64decode(text), kind)

    assert [run["name"] for run in content["runs"]] == ["SACD, seed 0", "baseline, seed 0"]
    assert content["subjects"] == ["s1", "s2", "s3"] and content["group"] == [0, 2, 3]
    signal = array(content["signal"], "<u2")
    begins = np.flatnonzero(array(content["begins"], np.uint8))
    assert begins.tolist() == [0, 40, 60, 80, 100], "nights, and parts of a night"
    assert (signal == 65535).sum() == 80 and signal[-1] == 39, "those of s3 alone"
    assert len(array(content["eeg"], np.int8)) == 40 * content["samples"]
    for run, part in zip(content["runs"], results[1], strict=True):
        xy, p = array(run["xy"], "<u2").reshape(-1, 2), array(run["p"], np.uint8).reshape(-1, 5)
        assert xy.max() == 4095 and xy.min() == 0 and len(xy) == 120
        assert (
            np.allclose(p, part[[f"p_{s}" for s in STAGES]])
            and (abs(p.sum(1, int) - 100) < 4).all()
        )
        assert (array(run["prediction"], np.uint8) == part["prediction"]).all()


def test_components_keep_the_distances(results):
    rng = np.random.default_rng(1)
    flat = rng.standard_normal((50, 4)) @ rng.standard_normal((4, 100))
    table, share = explore.components(flat)
    assert share == pytest.approx(1) and table.shape == (50, 16)
    a, b = (np.linalg.norm(x[:, None] - x, axis=2) for x in (flat, table.to_numpy(float)))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9999


def test_a_missing_or_damaged_file_is_named(tmp_path, results):
    with pytest.raises(ValueError, match="make fig10"):
        explore.read(tmp_path / "nowhere")
    table = explore.read(results[0]).drop(columns="ahi")
    table.to_parquet(results[0] / explore.FILE)
    with pytest.raises(ValueError, match="lacks 1 column: "):
        explore.read(results[0])
