"""The clip store: its content, and EEG and video of the same clip in the same row."""

import json
import shutil

import av
import numpy as np
import pandas as pd
import pytest
from cohort_files import (
    REAL,
    number,
    numbered,
    paths,
    write_about,
    write_cohort,
    write_edf,
    write_events,
    write_video,
)

from sacd.data.cohort import CohortError
from sacd.data.ingest import ingest
from sacd.data.store import ClipStore, StoreConfig

CONFIG = StoreConfig(height=16, width=32, frames=60)


def write_marked(root, offset, rate):
    """Two nights of clips; one clip of sub-02 is marked by a step in the EEG and a bright video.

    Clips by their time in s of the EEG: 4.5 is unscored; 34.5, 64.5 and 94.5 are scored, the first
    of them without video if the camera starts late; then a boundary; 124.5 is unscored; 154.5 to
    214.5 are scored. The mark covers 154.5 to 184.5, to the sample and to the frame.
    """
    write_about(root, {"sub-01": 3, "sub-02": 40})
    marked = 154.5
    for subject in ("sub-01", "sub-02"):
        rng = np.random.default_rng(0)  # the nights differ by the mark alone
        eeg, events, video = paths(root, subject)
        t = np.arange(int(250 * rate)) / rate
        x = rng.normal(0, 15, len(t))
        if subject == "sub-02":
            x += 150 * ((t >= marked) & (t < marked + 30))
        write_edf(eeg, {"EEG C4-M1": (x * 0, rate), "EEG C3-M2": (x, rate)})
        rows = [
            (4.5, 30, "?"),
            (34.5, 90, "W"),
            (60.0, 12, "obstructive apnea"),
            (124.5, 0, "boundary"),
            (124.5, 30, "movement time"),
            (154.5, 30, "N3"),
            (184.5, 60, "N2"),
        ]
        write_events(events, rows)
        times = offset + np.arange(4 * 260) / 4
        bright = (times > marked - 1e-6) & (times < marked + 30 - 1e-6) & (subject == "sub-02")
        write_video(video, (np.full((32, 64), 200 if b else 60, np.uint8) for b in bright), 4)
        video.with_suffix(".json").write_text(json.dumps({"StartOffset": offset}))


@pytest.mark.parametrize("sampling", ["spread", "consecutive"])
@pytest.mark.parametrize(("offset", "rate"), [(47.3, 128), (-6.05, 128), (40.0, 250)])
def test_pairing(tmp_path, offset, rate, sampling):
    """The step of the EEG and the bright frames end up in the same row, and nowhere else."""
    write_marked(tmp_path / "cohort", offset, rate)
    config = CONFIG.model_copy(
        update={"sampling": sampling, "frames": 120 if sampling == "spread" else 16}
    )
    store = ingest(tmp_path / "cohort", tmp_path / "store", config)
    late = offset > 34.5
    clips = store.clips[store.clips["subject"] == "sub-02"]
    assert clips["onset_s"].tolist() == [34.5, 64.5, 94.5, 154.5, 184.5, 214.5][late:]
    assert clips["clip"].tolist() == [1, 2, 3, 5, 6, 7][late:]
    assert clips["stage"].tolist() == [0, 0, 0, 3, 2, 2][late:]
    assert (clips["block"] - clips["block"].iloc[0]).tolist() == [0, 0, 0, 1, 1, 1][late:]
    dropped = store.manifest["nights"]["sub-02"]["dropped"]
    reasons = dict.fromkeys(("unscored", "eeg", "gap", "flat", "railed", "stuck"), 0)
    assert dropped == reasons | {"unscored": 2, "video": int(late)}

    rows = store.clips.sample(frac=1, random_state=3)
    for order in (store.clips, rows, pd.concat([rows, rows])):
        video, eeg = store.gather(order)
        wanted = ((order["subject"] == "sub-02") & (order["onset_s"] == 154.5)).to_numpy()
        assert wanted.sum() == len(order) / len(store.clips)
        frames, samples = video.mean(axis=(2, 3)), eeg.reshape(len(eeg), 300, 10).mean(axis=2)
        assert frames[wanted].min() > 180 and frames[~wanted].max() < 80
        # Means over 0.1 s: all of the marked clip are high, and none of the others.
        assert samples[wanted].min() > 100 and samples[~wanted].max() < 50
        assert np.array_equal(store.gather_video(order), video) and np.array_equal(
            store.gather_eeg(order), eeg
        )


def test_rows_are_the_clips_of_their_times(tmp_path):
    """For every clip: EEG level and frame numbers both encode its onset."""
    root = tmp_path / "cohort"
    write_about(root, {"sub-01": 1})
    eeg, events, video = paths(root, "sub-01")
    level = np.repeat(np.arange(9) * 40.0 + np.sin(np.arange(9)), 30 * 128)
    wave = 3 * np.sin(2 * np.pi * 5 * np.arange(len(level)) / 128)  # a constant would be dropped
    write_edf(eeg, {"C3": (level + wave, 128)})
    write_events(events, [(0, 60, "W"), (60, 30, "?"), (90, 0, "boundary"), (90, 180, "N2")])
    write_video(video, (numbered(n) for n in range(4 * 270)), 4)
    video.with_suffix(".json").write_text('{"StartOffset": -2.5}')
    store = ingest(root, tmp_path / "store", CONFIG)
    frames, samples = store.gather(store.clips.sample(frac=1, random_state=0))
    levels = samples[:, 100:-100].mean(axis=1) / 40
    times = [number(clip[0]) / 4 - 2.5 for clip in frames]
    assert np.abs(levels - np.array(times) / 30).max() < 0.05
    # The video ends at 267.5 s, so the last clip has none.
    assert sorted(times) == [0, 30, 90, 120, 150, 180, 210]


def test_store(tmp_path):
    store = ingest(write_cohort(tmp_path / "cohort"), tmp_path / "store", CONFIG)
    assert store.name == "made for a test" and store.config == CONFIG
    assert store.nights == ("sub-01", "sub-02")
    assert store.clips.columns.tolist() == ["subject", "clip", "onset_s", "stage", "block", "row"]
    assert store.clips["block"].tolist() == [0, 0, 0, 1, 1, 1]
    assert store.clips["row"].tolist() == [0, 1, 2] * 2
    assert store.participants.loc["sub-02", "ahi"] == 12.5
    assert np.isnan(store.participants.loc["sub-02", "weight_kg"])
    video, eeg = store.video("sub-01"), store.eeg("sub-01")
    assert (
        isinstance(video, np.memmap) and video.shape == (3, 60, 16, 32) and video.dtype == np.uint8
    )
    assert isinstance(eeg, np.memmap) and eeg.shape == (3, 3000) and eeg.dtype == np.float32
    assert [number(f) for f in video[1]] == list(range(120, 240, 2))
    night = store.manifest["nights"]["sub-01"]
    assert night["eeg"] == {"channel": "EEG C3-M2", "rate": 128} and night["stages"]["N2"] == 2
    empty = store.gather(store.clips[:0])
    assert empty[0].shape == (0, 60, 16, 32) and empty[1].shape == (0, 3000)


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(CohortError, match="is no clip store"):
        ClipStore(tmp_path)


def test_real_eeg_and_real_video(tmp_path):
    """A real polysomnography and a real film (13 s, repeated ten times) as one night."""
    source, film = REAL / "rsleep_psg_2min" / "subject1.edf", REAL / "video" / "nasa_13013.mp4"
    if not (source.is_file() and film.is_file()):
        pytest.skip("no real data here")
    root = tmp_path / "cohort"
    write_about(root, {"sub-01": 5}, "real snippets, made-up stages")
    eeg, events, video = paths(root, "sub-01")
    write_events(events, [(0, 60, "W"), (60, 60, "N1")])
    shutil.copy(source, eeg)
    video.parent.mkdir(parents=True)
    with av.open(str(video), "w") as out:
        stream = None
        for turn in range(10):
            with av.open(str(film)) as container:
                template = container.streams.video[0]
                stream = stream or out.add_stream_from_template(template)
                for packet in container.demux(template):
                    if packet.dts is not None:
                        shift = round(turn * 13 / packet.time_base)
                        packet.pts, packet.dts, packet.stream = (
                            packet.pts + shift,
                            packet.dts + shift,
                            stream,
                        )
                        out.mux(packet)
    config = StoreConfig(channel="C3-M2", height=45, width=80, frames=64)
    store = ingest(root, tmp_path / "store", config)
    assert store.clips["stage"].tolist() == [0, 0, 1, 1]
    assert store.manifest["nights"]["sub-01"]["eeg"] == {"channel": "C3-M2", "rate": 200}
    frames, samples = store.gather(store.clips)
    assert (
        5 < samples.std(axis=1).min() < samples.std(axis=1).max() < 200
        and np.abs(samples).max() < 1000
    )

    # The same frames computed in another way: luma planes, and means of 4 x 4 pixels.
    with av.open(str(film)) as container:
        plain = [np.asarray(f.to_ndarray()[:180], float) for f in container.decode(video=0)]
    for clip in range(4):
        for k in (0, 1, 31, 63):
            time = clip * 30 + k * 30 / 64
            near = {int(np.floor(time * 25 + 0.5 - e)) % 325 for e in (0, 1e-6)}
            means = [
                ((plain[n] - 16) * 255 / 219).clip(0, 255).reshape(45, 4, 80, 4).mean((1, 3))
                for n in near
            ]
            assert min(np.abs(frames[clip, k] - m).mean() for m in means) < 1.5
