"""EEG and video rows got mixed up once and no test noticed: a marker planted in one clip's EEG and
video is followed from the files through ingest, motion, cached early features, teacher outputs,
blocks and shuffling to a training batch.
"""

import json
import sys

import numpy as np
import pytest
import torch
from cohort_files import paths, write_about, write_edf, write_events, write_video
from safetensors.torch import load_file

from sacd.config import (
    BackboneConfig,
    FitConfig,
    MethodConfig,
    MotionConfig,
    PretextConfig,
    SplitConfig,
    StudentConfig,
    TeacherConfig,
)
from sacd.data.ingest import ingest
from sacd.data.motion import motion as motion_of
from sacd.data.splits import split_subjects
from sacd.data.store import ClipStore, StoreConfig
from sacd.losses.base import METHODS, Method
from sacd.training.pretext import centres, make_student, motion, pretext, reader
from sacd.training.student import student
from sacd.training.teacher import load_outputs, teacher
from sacd.training.views import View

pytestmark = pytest.mark.slow
CLIPS, FPS, RATE = 20, 2, 128
SPLIT = SplitConfig()


class Spy(Method):
    """Records for every row of every batch: video features, teacher's vector, label, index."""

    seen: list[tuple[np.ndarray, np.ndarray, int, int]] = []  # noqa: RUF012

    def losses(self, batch):
        for row in zip(
            batch.clips, batch.teacher.embedding, batch.labels, batch.index, strict=True
        ):
            Spy.seen.append(
                (row[0].numpy().copy(), row[1].numpy().copy(), int(row[2]), int(row[3]))
            )
        return {}


def oddness(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors - np.median(vectors, axis=0), axis=1)


def night(root, subject, marked, offset):
    """Noise, with a marker in EEG and video of clip `marked`, the cohort's only REM clip."""
    rng = np.random.default_rng(int(subject[-2:]))
    eeg, events, video = paths(root, subject)
    x = rng.normal(0, 10, CLIPS * 30 * RATE)
    pictures = rng.integers(90, 110, ((CLIPS + 1) * 30 * FPS, 32, 32)).astype(np.uint8)
    stages = ["N2", "W", "N1", "N3"] * (CLIPS // 4)
    if marked is not None:
        at = slice(marked * 30 * RATE, (marked + 1) * 30 * RATE)
        x[at] += 300 * np.sign(np.sin(np.arange(30 * RATE) * 2 * np.pi * 7 / RATE))
        first = marked * 30 - offset  # s of the marker in the video's own time
        for k in range(round(first * FPS), round((first + 30) * FPS)):
            pictures[k, 8:24, 8:24] = 30 + 200 * (k % 2)
        stages[marked] = "REM"
    write_edf(eeg, {"C3": (x, RATE)})
    rows = [(30 * k, 30, stage) for k, stage in enumerate(["unscored", *stages[1:]])]
    rows.insert(CLIPS // 2, (30 * (CLIPS // 2), 0, "boundary"))
    write_events(events, rows)
    write_video(video, pictures, FPS)
    (video.parent / f"{subject}_task-sleep_video.json").write_text(
        json.dumps({"StartOffset": offset})
    )


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairing")
    cohort, store = folder / "cohort", folder / "store"
    ahi = {f"sub-{k:02d}": 20.0 for k in range(1, 8)}
    write_about(cohort, ahi)
    import pandas as pd

    part = split_subjects(pd.DataFrame({"ahi": ahi}), SPLIT)
    marked = sorted(part.index[part == "train"])[1]
    for subject in ahi:
        night(
            cohort,
            subject,
            13 if subject == marked else None,
            offset=-4.5 if subject == marked else 0.0,
        )
    ingest(cohort, store, StoreConfig(height=16, width=16, frames=16))
    resources = {"store": str(store), "cohort": str(cohort), "device": "cpu"}
    quiet = lambda share, text: None  # noqa: E731
    inputs = {name: folder / name for name in ("motion", "pretext", "teacher")}
    for path in inputs.values():
        path.mkdir()
    backbone = BackboneConfig(width=0.0625, input="motion", frozen=2, options={"stem_kernel": 3})
    short = FitConfig(
        epochs=1, batch=16, order="shuffled", optimizer="adamw", schedule="onecycle", select="last"
    )
    motion(MotionConfig(), {}, inputs["motion"], resources, quiet)
    pretext(
        PretextConfig(backbone=backbone, fit=short, split=SPLIT),
        inputs,
        inputs["pretext"],
        resources,
        quiet,
    )
    teacher(TeacherConfig(fit=short, split=SPLIT), {}, inputs["teacher"], resources, quiet)
    return store, marked, inputs, resources, backbone, short, folder


def centred(features: np.ndarray) -> np.ndarray:
    """Without each channel's mean over a clip, which the cache shifts to that of all nights."""
    return features - features.mean(axis=(-3, -2, -1), keepdims=True)


def marked_features(store, marked, inputs, backbone):
    """Early features, in four flips, of the one clip of the store whose middle flashes."""
    clips = ClipStore(store).clips
    frames = ClipStore(store).gather_video(clips)
    flashes = np.flatnonzero(frames[:, :, 6:10, 6:10].mean(axis=(2, 3)).std(axis=1) > 40)
    assert clips.iloc[flashes][["subject", "clip"]].values.tolist() == [[marked, 13]]
    network = make_student(backbone)
    network.load_state_dict(load_file(inputs["pretext"] / "weights.safetensors"))
    x = motion_of(torch.from_numpy(frames[flashes]))
    with torch.inference_mode():
        flips = [x.flip(d) for d in ([], [3], [4], [3, 4])]
        return [centred(network.eval().frozen_stem(f, backbone.frozen)[0].numpy()) for f in flips]


@pytest.mark.parametrize("order", ["block", "shuffled"])
def test_the_marked_clips_eeg_and_video_are_in_the_same_training_row(chain, order, monkeypatch):
    store, marked, inputs, resources, backbone, short, folder = chain
    monkeypatch.setitem(METHODS, "spy", f"{__name__}:Spy")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Spy.__module__])
    Spy.seen.clear()
    config = StudentConfig(
        backbone=backbone,
        method=MethodConfig(name="spy"),
        fit=short.model_copy(update={"order": order, "epochs": 3, "batch": 8}),
        split=SPLIT,
    )
    out = folder / f"student_{order}"
    out.mkdir()
    student(config, inputs, out, resources, lambda share, text: None)
    eeg = oddness(np.stack([s[1] for s in Spy.seen]))
    labels = np.array([s[2] for s in Spy.seen])
    rem = labels == 4
    assert rem.sum() == 3  # the marked clip comes once an epoch
    # In the same row: the only REM label, the oddest EEG, and the features of the marked frames in
    # one of four flips.
    assert eeg[rem].min() > 1.5 * eeg[~rem].max()
    expected = marked_features(store, marked, inputs, backbone)
    near = np.array(
        [min(np.abs(centred(s[0]) - flip).max() for flip in expected) for s in Spy.seen]
    )
    assert near[rem].max() < 0.02 < 0.1 < near[~rem].min()
    # The index leads back to the marked clip.
    clips = ClipStore(store).clips
    part = clips["subject"].map(split_subjects(ClipStore(store).participants, SPLIT))
    train = clips[part == "train"].reset_index(drop=True)
    for _, _, _, index in (s for s, yes in zip(Spy.seen, rem, strict=True) if yes):
        assert (train.loc[index, "subject"], train.loc[index, "clip"]) == (marked, 13)


def test_the_teachers_outputs_are_in_the_order_of_the_store(chain):
    store, marked, inputs, *_ = chain
    clips = ClipStore(store).clips
    odd = int(oddness(load_outputs(inputs["teacher"]).embedding.numpy()).argmax())
    assert (clips.loc[odd, "subject"], clips.loc[odd, "clip"]) == (marked, 13)
    early = np.load(inputs["pretext"] / "stem.npy").astype(np.float32)
    for cached, expected in zip(
        early, marked_features(store, marked, inputs, chain[4]), strict=True
    ):
        distance = np.abs(centred(cached) - expected).reshape(len(cached), -1).max(axis=1)
        assert int(distance.argmin()) == odd and distance[odd] < 0.02


def test_frozen_features_have_the_same_channel_means_for_every_subject(chain):
    store, _, inputs, *_ = chain
    subjects = ClipStore(store).clips["subject"].to_numpy()
    stem = np.load(inputs["pretext"] / "stem.npy").astype(np.float32)
    shifts = load_file(inputs["pretext"] / "centres.safetensors")
    for cached, shift in zip(stem, shifts["night"].numpy(), strict=True):
        level = cached.mean(axis=(2, 3, 4)) + shift
        nights = [level[subjects == name].mean(axis=0) for name in np.unique(subjects)]
        assert np.ptp(nights, axis=0).max() < 2e-3 < 0.05 < np.ptp(level, axis=0).max()


def test_centring_by_the_start_of_a_night_uses_its_first_ten_minutes_only():
    level = np.random.default_rng(0).normal(size=(4, 60, 3)).astype(np.float32)
    subjects, train = np.repeat(["a", "b"], 30), np.arange(30)
    found = centres(level, subjects, train)
    later = level.copy()
    later[:, 20:30] += 5  # after the first 20 clips of the first subject
    then = centres(later, subjects, np.arange(30, 60))
    for flip in range(4):
        own = level[flip, 30:50].mean(axis=0)
        expected = level[flip, train].mean(axis=0) - own
        assert np.allclose(found["start"][flip, 30:], expected, atol=1e-6)
        own, mean = level[flip, :20].mean(axis=0), later[flip, 30:].mean(axis=0)
        assert np.allclose(then["start"][flip, :30], mean - own, atol=1e-6)
        own = later[flip, :30].mean(axis=0)
        assert np.allclose(then["night"][flip, :30], mean - own, atol=1e-6)


def test_a_student_reads_the_centring_that_its_settings_name(chain):
    inputs, backbone = chain[2], chain[4]
    rows = np.array([3, 40])
    stem = np.load(inputs["pretext"] / "stem.npy").astype(np.float32)[0, rows]
    shifts = load_file(inputs["pretext"] / "centres.safetensors")
    for name in ("night", "start", "none"):
        read = reader(backbone.model_copy(update={"centre": name}), inputs, {})
        shift = 0 if name == "none" else shifts[name][0, rows].numpy()[..., None, None, None]
        assert np.allclose(read(rows, View()).numpy(), stem + shift, atol=1e-6)
