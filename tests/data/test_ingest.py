"""Ingest: what is decoded again and what is not, worker processes, faults and interruptions."""

import json
import os
import shutil

import numpy as np
import pytest
from cohort_faults import ERRORS
from cohort_files import numbered, paths, write_about, write_cohort, write_video

import sacd.data.ingest as ingest_module
from sacd.data.cohort import CohortError
from sacd.data.ingest import ingest
from sacd.data.store import ClipStore, StoreConfig
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
    monkeypatch.setattr(
        ingest_module, "_ingest_night", lambda *_, **__: pytest.fail("decoded again")
    )
    assert ingest(cohort, first.root, CONFIG).fingerprint == first.fingerprint
    assert stamps(first.root) == before


def test_other_code_decodes_the_nights_again_and_equal_bytes_keep_their_identity(
    cohort, tmp_path, monkeypatch
):
    first = ingest(cohort, tmp_path / "store", CONFIG)
    nights, decode = [], ingest_module._ingest_night
    monkeypatch.setattr(
        ingest_module,
        "_ingest_night",
        lambda night, **more: nights.append(night) or decode(night, **more),
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
    """A change of an excluded module keeps the fingerprint, a change of any other changes it."""
    entry = "sacd.data.ingest:ingest"
    before, hashes = fingerprint.reader_fingerprint(entry), fingerprint.code_hashes([entry])
    modules = {name.partition(":")[0] for name in hashes}
    readers = ("cohort", "decode", "edf", "eeg", "events", "ingest", "picture", "rows")
    readers = (*readers, "scoring", "sidecar", "store", "texts", "unusable", "video", "windows")
    deciding = {*(f"sacd.data.{name}" for name in readers), "sacd.stages"}
    looking = ("check", "eeg_problems", "look", "offset", "twins")
    looking = [f"sacd.data.{name}" for name in looking]
    assert modules == deciding | {"sacd.files", "sacd.workers", "sacd.data.problems", *looking}
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
    read = ingest_module.read_clips

    def fails_in_night_2(path, *args):
        for k, clip in enumerate(read(path, *args)):
            if "sub-02" in str(path) and k == 1:
                raise OSError(28, "No space left on device")
            yield clip

    root = tmp_path / "store"
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(ingest_module, "read_clips", fails_in_night_2)
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
    again = ingest(cohort, root, CONFIG)
    assert again.fingerprint == store.fingerprint
    assert path.read_bytes() == (store.root / "sub-02" / name).read_bytes()


def test_impossible_settings_are_refused(good, tmp_path):
    cohort, _ = good
    with pytest.raises(
        CohortError, match=r"4 frames/s are 120 frames a clip, 500 consecutive ones are wanted; "
    ):
        settings = CONFIG.model_copy(update={"frames": 500, "sampling": "consecutive"})
        ingest(cohort, tmp_path / "store", settings)
    assert [p.name for p in (tmp_path / "store").iterdir()] == [".lock"]
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        StoreConfig(height=0, width=1, frames=1)
