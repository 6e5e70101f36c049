"""Ingest on bad days: a worker that dies, a damaged record, a full disk; and what it lost."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
from cohort_files import paths, write_cohort, write_events, write_noise
from video_files import TIMES, write_film, write_night, zeros

import sacd.data.ingest as ingest_module
from sacd.data.account import account, too_much
from sacd.data.check import check
from sacd.data.cohort import CohortError
from sacd.data.ingest import ingest
from sacd.data.store import StoreConfig
from sacd.experiments.intake import CHECK, INGEST, account_for, check_cohort
from sacd.experiments.profiles import SMOKE
from sacd.experiments.workspace import Workspace

pytestmark = pytest.mark.slow  # encodes videos

CONFIG = StoreConfig(height=16, width=32, frames=60)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    root = tmp_path_factory.mktemp("good")
    return write_cohort(root / "cohort"), ingest(root / "cohort", root / "store", CONFIG)


def _record(change):
    def damage(path):
        record = json.loads(path.read_text())
        change(record)
        path.write_text(json.dumps(record))

    return damage


DAMAGES = {
    "empty": lambda path: path.write_text(""),
    "a list": lambda path: path.write_text("[1]"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-50]),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "no config": _record(lambda r: r.pop("config")),
    "no sources": _record(lambda r: r.pop("sources")),
    "sources a list": _record(lambda r: r.update(sources=[])),
    "a source a number": _record(lambda r: r["sources"].update(dict.fromkeys(r["sources"], 1))),
    "no files": _record(lambda r: r.update(files={})),
    "files a text": _record(lambda r: r.update(files="x")),
    "no stages": _record(lambda r: r.pop("stages")),
    "lost a number": _record(lambda r: r.update(lost=3)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_makes_its_night_anew(good, tmp_path, damage):
    cohort, store = good
    root = shutil.copytree(store.root, tmp_path / "store")
    before = (root / "sub-01" / "night.json").stat().st_mtime_ns
    DAMAGES[damage](root / "sub-02" / "night.json")
    again = ingest(cohort, root, CONFIG)
    assert again.fingerprint == store.fingerprint and again.manifest == store.manifest
    assert (root / "sub-01" / "night.json").stat().st_mtime_ns == before


def test_a_full_disk_names_the_night(good, tmp_path, monkeypatch):
    def full(self, row):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ingest_module.Rows, "append", full)
    with pytest.raises(OSError, match=r"No space left on device.*sub-01'$"):
        ingest(good[0], tmp_path / "store", CONFIG)
    assert [path.name for path in (tmp_path / "store").iterdir()] == [".lock"]


def dies(night, **settings):
    """In place of reading a night, in a worker: it is killed while it writes."""
    if night.subject == "sub-02":
        (settings["store"] / ".sub-02.partial").mkdir()
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_dead_worker_is_one_line_with_its_night(good, tmp_path, monkeypatch):
    monkeypatch.setattr(ingest_module, "_ingest_night", dies)
    with pytest.raises(CohortError, match=r"a process ended while it read sub-02: ") as caught:
        ingest(good[0], tmp_path / "store", CONFIG, workers=2)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "store").iterdir()] == [".lock"]


def lossy(root):
    """Five nights of 12 clips; the video of the second one misses two clips, both W."""
    write_noise(root)
    video = paths(root, "sub-02")[2]
    write_film(video, [t for t in (k / 2 for k in range(722)) if not 150 <= t < 180])
    events = [(30 * k, 30, "W" if k in (5, 6) else "N2") for k in range(12)]
    write_events(paths(root, "sub-02")[1], events)
    return root


def test_the_table_accounts_for_every_clip_by_night_and_stage(tmp_path):
    settings = StoreConfig(height=16, width=16, frames=30)
    store = ingest(lossy(tmp_path / "cohort"), tmp_path / "store", settings)
    table = account(store.manifest).set_index("night")
    assert table.loc["sub-02", ["scored", "kept", "lost: eeg", "lost: video"]].tolist() == [
        *(12, 11, 0, 1)
    ]
    assert table.loc["sub-02", ["W", "N2"]].tolist() == ["1 of 2", "10 of 10"]
    assert (table["kept"] + table["lost: eeg"] + table["lost: video"] == table["scored"]).all()
    assert table.loc["all nights", "kept"] == len(store.clips) == 59
    assert too_much(store.manifest) == [
        "sub-02 lost 1 of 12 scored clips (1 video)",
        "W lost 1 of 14 clips, 4.3 times the share of all: this is bias",
    ]


def test_losses_stop_the_chain_unless_they_are_accepted(tmp_path):
    w = Workspace(SMOKE, lossy(tmp_path / "lab"), root=tmp_path)
    assert len(check_cohort(w)) == 6  # five nights repeat frames, one loses clips
    w.prepare(1)
    with pytest.raises(CohortError, match=r"sub-02 lost 1 of 12 .*ACCEPT_LOSS=1") as caught:
        account_for(w, accept_loss=False)
    assert "\n" not in str(caught.value)
    kept = account_for(w, accept_loss=True)
    assert kept["night"].tolist() == ["sub-02", "all nights"]
    written = pd.read_csv(w.results / INGEST)
    assert written["night"].tolist() == [*(f"sub-0{k}" for k in range(1, 6)), "all nights"]
    first = (w.results / CHECK).stat().st_mtime_ns
    assert len(check_cohort(w)) == 6 and (w.results / CHECK).stat().st_mtime_ns == first
    paths(w.cohort, "sub-01")[0].unlink()
    os.utime(w.cohort / "participants.tsv")
    assert check_cohort(w)["problem"].str.contains("is missing").any()


def test_one_broken_video_does_not_hide_the_other_nights(tmp_path):
    root = tmp_path / "cohort"
    write_noise(root, subjects=3)
    stem = write_night(tmp_path / "other")
    zeros(write_film(stem, TIMES), 0, 10**6)
    Path(stem).replace(paths(root, "sub-02")[2])
    table = check(root)
    hits = table[table["problem"].str.contains("no frame that can be read")]
    assert hits["subject"].tolist() == ["sub-02"]
    assert not re.search("sub-0[13]", " ".join(table.loc[table["level"] == "error", "subject"]))
