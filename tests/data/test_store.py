import json
import os
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
from test_cohort import ERRORS

import sacd.data.store as store_module
from sacd.data.cohort import CohortError
from sacd.data.store import ClipStore, StoreConfig, ingest
from sacd.runs import fingerprint

CONFIG = StoreConfig(height=16, width=32, frames=60)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Cohort of two nights and its store."""
    root = tmp_path_factory.mktemp("good")
    return write_cohort(root / "cohort"), ingest(root / "cohort", root / "store", CONFIG)


@pytest.fixture
def cohort(good, tmp_path):
    return shutil.copytree(good[0], tmp_path / "cohort")


# --- pairing


def write_marked(root, offset, rate):
    """Two nights with clips of different kinds; clip m of sub-02 carries a step in the EEG and a bright video.

    Times in s of the EEG: 4.5 unscored, 34.5 scored but without video if it starts late, 64.5 and
    94.5, a boundary, then scored clips up to 244.5 with one unscored between. The marker fills
    154.5..184.5 to the sample and frame.
    """
    write_about(root, {"sub-01": 3, "sub-02": 40})
    marked = 154.5
    for subject in ("sub-01", "sub-02"):
        rng = np.random.default_rng(0)  # the nights differ by the marker alone
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
    """The step of the EEG and the bright frames come out in one row, whole, and nowhere else."""
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
    assert dropped == {"unscored": 2, "eeg": 0, "video": int(late)}

    rows = store.clips.sample(frac=1, random_state=3)
    for order in (store.clips, rows, pd.concat([rows, rows])):
        video, eeg = store.gather(order)
        wanted = ((order["subject"] == "sub-02") & (order["onset_s"] == 154.5)).to_numpy()
        assert wanted.sum() == len(order) / len(store.clips)
        frames, samples = video.mean(axis=(2, 3)), eeg.reshape(len(eeg), 300, 10).mean(axis=2)
        assert frames[wanted].min() > 180 and frames[~wanted].max() < 80
        # means over 0.1 s: every one in the marked clip is up, from its first to its last, and none
        # elsewhere
        assert samples[wanted].min() > 100 and samples[~wanted].max() < 50
        assert np.array_equal(store.gather_video(order), video) and np.array_equal(
            store.gather_eeg(order), eeg
        )


def test_rows_are_the_clips_of_their_times(tmp_path):
    """Every clip, not one: EEG level and frame numbers both say the clip's onset."""
    root = tmp_path / "cohort"
    write_about(root, {"sub-01": 1})
    eeg, events, video = paths(root, "sub-01")
    write_edf(eeg, {"C3": (np.repeat(np.arange(9) * 40.0 + np.sin(np.arange(9)), 30 * 128), 128)})
    write_events(events, [(0, 60, "W"), (60, 30, "?"), (90, 0, "boundary"), (90, 180, "N2")])
    write_video(video, (numbered(n) for n in range(4 * 270)), 4)
    video.with_suffix(".json").write_text('{"StartOffset": -2.5}')
    store = ingest(root, tmp_path / "store", CONFIG)
    frames, samples = store.gather(store.clips.sample(frac=1, random_state=0))
    levels = samples[:, 100:-100].mean(axis=1) / 40
    times = [number(clip[0]) / 4 - 2.5 for clip in frames]
    assert np.abs(levels - np.array(times) / 30).max() < 0.05
    assert sorted(times) == [
        0,
        30,
        90,
        120,
        150,
        180,
        210,
    ]  # the last clip has no video: it ends at 267.5 s


# --- what a store holds


def test_store(good):
    _, store = good
    assert (
        store.name == "made for a test"
        and store.config == CONFIG
        and store.nights == ("sub-01", "sub-02")
    )
    assert store.clips.columns.tolist() == ["subject", "clip", "onset_s", "stage", "block", "row"]
    assert (
        store.clips["block"].tolist() == [0, 0, 0, 1, 1, 1]
        and store.clips["row"].tolist() == [0, 1, 2] * 2
    )
    assert store.participants.loc["sub-02", "ahi"] == 12.5 and np.isnan(
        store.participants.loc["sub-02", "weight_kg"]
    )
    video, eeg = store.video("sub-01"), store.eeg("sub-01")
    assert (
        isinstance(video, np.memmap) and video.shape == (3, 60, 16, 32) and video.dtype == np.uint8
    )
    assert isinstance(eeg, np.memmap) and eeg.shape == (3, 3000) and eeg.dtype == np.float32
    assert [number(f) for f in video[1]] == list(range(120, 240, 2))
    assert store.verify() == []
    night = store.manifest["nights"]["sub-01"]
    assert night["eeg"] == {"channel": "EEG C3-M2", "rate": 128} and night["stages"]["N2"] == 2
    empty = store.gather(store.clips[:0])
    assert empty[0].shape == (0, 60, 16, 32) and empty[1].shape == (0, 3000)


@pytest.mark.slow
def test_workers_do_not_change_a_byte(good, tmp_path):
    cohort, store = good
    assert ingest(cohort, tmp_path / "store", CONFIG, workers=2).fingerprint == store.fingerprint


def test_a_dropped_clip_ends_its_block(cohort, tmp_path):
    ticks = [n for n in range(360) if not 150 < n < 200]  # no frames for 12 s of the middle clip
    write_video(paths(cohort, "sub-01")[2], map(numbered, ticks), 4, ticks)
    store = ingest(cohort, tmp_path / "store", CONFIG)
    clips = store.clips[store.clips["subject"] == "sub-01"]
    assert (
        clips["clip"].tolist() == [0, 2]
        and clips["block"].tolist() == [0, 1]
        and clips["row"].tolist() == [0, 1]
    )
    assert store.manifest["nights"]["sub-01"]["dropped"]["video"] == 1


def stamps(store):
    return {
        p.relative_to(store): p.stat().st_mtime_ns for p in sorted(store.rglob("*")) if p.is_file()
    }


def test_second_ingest_does_nothing(cohort, tmp_path, monkeypatch):
    first = ingest(cohort, tmp_path / "store", CONFIG)
    before = stamps(first.root)
    os.utime(paths(cohort, "sub-01")[0], (0, 0))  # another time, the same content
    monkeypatch.setattr(store_module, "_ingest_night", lambda *_: pytest.fail("decoded again"))
    assert ingest(cohort, first.root, CONFIG).fingerprint == first.fingerprint
    assert stamps(first.root) == before


def test_other_code_makes_the_nights_anew_and_equal_bytes_keep_their_identity(
    cohort, tmp_path, monkeypatch
):
    first = ingest(cohort, tmp_path / "store", CONFIG)
    nights, decode = [], store_module._ingest_night
    monkeypatch.setattr(
        store_module,
        "_ingest_night",
        lambda night, *more: nights.append(night) or decode(night, *more),
    )
    second = ingest(cohort, first.root, CONFIG, code="other code")
    assert [night.subject for night in nights] == ["sub-01", "sub-02"]
    assert second.fingerprint == first.fingerprint and second.manifest != first.manifest
    ingest(cohort, first.root, CONFIG, code="other code")
    assert len(nights) == 2
    record = first.root / "sub-02" / "night.json"  # as written before code was recorded
    record.write_text(
        json.dumps({k: v for k, v in json.loads(record.read_text()).items() if k != "code"})
    )
    ingest(cohort, first.root, CONFIG, code="other code")
    assert [night.subject for night in nights[2:]] == ["sub-02"]


def test_the_code_of_a_night_is_what_decides_its_bytes(monkeypatch):
    """A change of any module that is left out leaves it, a change of any other changes it."""
    entry = "sacd.data.store:ingest"
    before, hashes = fingerprint.reader_fingerprint(entry), fingerprint.code_hashes([entry])
    modules = {name.partition(":")[0] for name in hashes}
    deciding = {
        *(f"sacd.data.{name}" for name in ("cohort", "eeg", "store", "video")),
        "sacd.stages",
    }
    assert modules == deciding | {"sacd.files", "sacd.data.check"}
    for module in modules:
        changed = {
            name: "changed" if name.startswith(f"{module}:") else code
            for name, code in hashes.items()
        }
        monkeypatch.setattr(fingerprint, "code_hashes", lambda entries, changed=changed: changed)
        assert (fingerprint.reader_fingerprint(entry) != before) == (module in deciding)


def test_the_truth_of_a_simulated_night_is_part_of_the_identity(cohort, tmp_path):
    first = ingest(cohort, tmp_path / "store", CONFIG)
    truth = cohort / "derivatives" / "simulator" / "sub-02_truth.npz"
    truth.parent.mkdir(parents=True)
    fingerprints = [first.fingerprint]
    for value in (1, 2):
        np.savez(truth, breathing=np.full((3, 64), value))
        os.utime(truth, (value, value))  # of equal size: told apart by time
        fingerprints.append(ingest(cohort, first.root, CONFIG).fingerprint)
    truth.unlink()
    assert (
        len(set(fingerprints)) == 3
        and ingest(cohort, first.root, CONFIG).fingerprint == first.fingerprint
    )


def test_changed_sources_are_read_again_and_only_they(cohort, tmp_path):
    first = ingest(cohort, tmp_path / "store", CONFIG)
    events = paths(cohort, "sub-02")[1]
    for path in first.root.rglob("*"):
        os.utime(path, (0, 0))  # whatever is written now is newer
    before = stamps(first.root)
    events.write_text(events.read_text().replace("N2", "N3"))  # the same size
    os.utime(events, (0, 0))
    second = ingest(cohort, first.root, CONFIG)
    assert (
        second.clips["stage"].tolist() == [0, 2, 2, 0, 3, 3]
        and second.fingerprint != first.fingerprint
    )
    after = stamps(first.root)
    assert {str(p) for p in after if after[p] != before[p]} == {
        "manifest.json",
        *(f"sub-02/{name}" for name in ("video.npy", "eeg.npy", "clips.parquet", "night.json")),
    }
    paths(cohort, "sub-01")[2].with_suffix(".json").write_text('{"StartOffset": 1}')
    third = ingest(cohort, first.root, CONFIG)
    assert (third.clips["subject"] == "sub-01").sum() == 2


def test_ahi_and_config_are_part_of_the_identity(cohort, tmp_path):
    first = ingest(cohort, tmp_path / "store", CONFIG)
    write_about(cohort, {"sub-01": 12.5, "sub-02": 30})
    second = ingest(cohort, first.root, CONFIG)
    assert second.participants["ahi"].tolist() == [12.5, 30]
    third = ingest(cohort, first.root, CONFIG.model_copy(update={"frames": 15}))
    assert third.video("sub-01").shape == (3, 15, 16, 32)
    write_about(cohort, {"sub-01": 12.5})
    fourth = ingest(cohort, first.root, third.config)
    assert fourth.nights == ("sub-01",) and not (first.root / "sub-02").exists()
    assert len({s.fingerprint for s in (first, second, third, fourth)}) == 4


# --- faults


@pytest.mark.parametrize("fault", ERRORS)
def test_bad_input_is_one_line_and_leaves_nothing(cohort, tmp_path, fault):
    damage, _, problem = ERRORS[fault]
    damage(cohort)
    with pytest.raises(CohortError) as caught:
        ingest(cohort, tmp_path / "store", CONFIG)
    message = str(caught.value)
    assert problem in message and "\n" not in message and "; " in message
    store = tmp_path / "store"
    assert not store.exists() or [p.name for p in store.iterdir()] == [".lock"]


def test_interrupted_ingest_goes_on_where_it_stopped(good, cohort, tmp_path, monkeypatch):
    read = store_module.read_clips

    def fails_in_night_2(path, *args):
        for k, clip in enumerate(read(path, *args)):
            if "sub-02" in str(path) and k == 1:
                raise OSError(28, "No space left on device")
            yield clip

    root = tmp_path / "store"
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(store_module, "read_clips", fails_in_night_2)
        ingest(cohort, root, CONFIG)
    assert sorted(p.name for p in root.iterdir()) == [".lock", "sub-01"]
    with pytest.raises(
        CohortError, match=r"is no clip store, or its ingest did not finish; run the ingest again"
    ):
        ClipStore(root)
    before = stamps(root / "sub-01")
    (root / ".sub-02.partial").mkdir()  # as a killed process leaves it
    store = ingest(cohort, root, CONFIG)
    assert stamps(root / "sub-01") == before and store.fingerprint == good[1].fingerprint
    assert sorted(p.name for p in root.iterdir()) == [".lock", "manifest.json", "sub-01", "sub-02"]


@pytest.mark.parametrize("name", ["video.npy", "eeg.npy", "clips.parquet"])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damaged_shard_is_found_and_made_again(good, tmp_path, name, damage):
    cohort, store = good
    root = shutil.copytree(store.root, tmp_path / "store")
    path = root / "sub-02" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink() if damage == "remove" else path.write_bytes(
        data if damage == "flip" else data[:-7]
    )
    if name != "clips.parquet":
        [line] = ClipStore(root).verify()
        assert str(path) in line and "run the ingest again" in line
    again = ingest(cohort, root, CONFIG)
    assert again.verify() == [] and again.fingerprint == store.fingerprint


def test_refusals(good, tmp_path):
    cohort, _ = good
    with pytest.raises(
        CohortError, match=r"4 frames/s are 120 frames a clip, 500 are wanted; lower `frames`"
    ):
        ingest(cohort, tmp_path / "store", CONFIG.model_copy(update={"frames": 500}))
    assert [p.name for p in (tmp_path / "store").iterdir()] == [".lock"]
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        StoreConfig(height=0, width=1, frames=1)
    with pytest.raises(CohortError, match="is no clip store"):
        ClipStore(tmp_path)


# --- real input


def test_real_eeg_and_real_video(tmp_path):
    """A real polysomnography and a real film, 13 s long and so played ten times, as one night."""
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

    with av.open(
        str(film)
    ) as container:  # the same frames, by another way: luma planes and means of 4 x 4 pixels
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
