"""Sleep-EDF: small files of its shape are written by edfio and read back."""

import datetime
import os

import edfio
import numpy as np
import pytest
from cohort_files import REAL

from sacd.data import sleepedf
from sacd.data.cohort import CohortError
from sacd.data.eeg import open_channel, read_eeg
from sacd.data.sleepedf import ingest_sleepedf, recordings

START = datetime.time(16, 13, 0)
DAY = edfio.Recording(startdate=datetime.date(1989, 4, 24))
# 40 min of wake; sleep with both deep stages, movement and an unknown epoch; 35 min of wake; an
# annotation beyond the end of the EEG.
NIGHT = [
    (2400, "Sleep stage W"),
    (60, "Sleep stage 1"),
    (90, "Sleep stage 2"),
    (30, "Sleep stage 3"),
    (30, "Sleep stage 4"),
    (30, "Movement time"),
    (30, "Sleep stage ?"),
    (60, "Sleep stage R"),
    (2100, "Sleep stage W"),
    (3000, "Sleep stage ?"),
]
SCORED_S = sum(seconds for seconds, _ in NIGHT[:-1])


def write(folder, name="SC4001", scorer="C", night=NIGHT, seconds=SCORED_S, late_s=0, seed=0):
    """A PSG and its hypnogram; the EEG is a ramp of 1 uV per clip with 0.1 uV of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    n = seconds * 100
    x = np.arange(n) / 3000 + np.random.default_rng(seed).normal(0, 0.1, n)
    signals = [
        edfio.EdfSignal(
            x, 100, label="EEG Fpz-Cz", physical_dimension="uV", physical_range=(-250, 250)
        ),
        edfio.EdfSignal(
            -x, 100, label="EEG Pz-Oz", physical_dimension="uV", physical_range=(-250, 250)
        ),
        edfio.EdfSignal(np.zeros(seconds), 1, label="Temp rectal", physical_range=(0, 1)),
    ]
    edfio.Edf(signals, recording=DAY, starttime=START, data_record_duration=30).write(
        folder / f"{name}E0-PSG.edf"
    )
    notes, onset = [], 0
    for duration, text in night:
        notes.append(edfio.EdfAnnotation(onset, duration, text))
        onset += duration
    start = (
        datetime.datetime.combine(DAY.startdate, START) + datetime.timedelta(seconds=late_s)
    ).time()
    scored = edfio.Edf([], recording=DAY, starttime=start, annotations=notes)
    scored.write(folder / f"{name}E{scorer}-Hypnogram.edf")
    return folder


def test_stages_margins_and_counts(tmp_path):
    store = ingest_sleepedf(write(tmp_path / "edf"), tmp_path / "store")
    clips = store.clips
    sleep = [1, 1, 2, 2, 2, 3, 3, 4, 4]  # R&K 3 and 4 are one stage
    assert clips["stage"].tolist() == [0] * 60 + sleep + [0] * 60
    assert store.dropped == {
        "SC4001": {"movement": 1, "unknown": 101, "wake": 30, "beyond the EEG": 0}
    }
    assert set(clips["subject"]) == {"SC400"} and set(clips["recording"]) == {"SC4001"}
    # The two epochs that are dropped cut the night into two blocks.
    assert clips["block"].tolist() == [0] * 67 + [1] * 62
    assert (clips.groupby("block")["onset_s"].diff().dropna() == 30).all()


def test_eeg_belongs_to_its_clip(tmp_path):
    store = ingest_sleepedf(write(tmp_path / "edf"), tmp_path / "store")
    rows = store.clips.sample(frac=1, random_state=0)
    eeg = store.gather_eeg(rows)
    assert eeg.shape == (129, 3000) and eeg.dtype == np.float32
    # In uV, and of Fpz-Cz: the other channel has the opposite sign.
    np.testing.assert_allclose(eeg.mean(axis=1), rows["onset_s"] / 30 + 0.5, atol=0.02)


def test_both_nights_are_one_subject(tmp_path):
    for k, (name, scorer) in enumerate((("SC4001", "C"), ("SC4002", "C"), ("SC4011", "H"))):
        write(tmp_path / "edf" / "sleep-cassette", name, scorer, seed=k)
    write(tmp_path / "edf", "ST7011", "P")  # telemetry is another study
    assert [r.name for r in recordings(tmp_path / "edf")] == ["SC4001", "SC4002", "SC4011"]
    store = ingest_sleepedf(tmp_path / "edf", tmp_path / "store")
    assert (
        store.participants.index.tolist() == ["SC400", "SC401"]
        and store.participants["ahi"].isna().all()
    )
    assert not store.clips.duplicated(["subject", "clip"]).any()
    assert (
        store.clips.groupby("block")["recording"].nunique().max() == 1
        and store.clips["block"].nunique() == 6
    )


def test_a_night_in_two_folders_is_refused_and_not_counted_twice(tmp_path):
    write(tmp_path / "edf" / "a")
    write(tmp_path / "edf" / "b")
    with pytest.raises(CohortError, match=r"is the night SC4001, as is .*a.SC4001E0-PSG\.edf"):
        ingest_sleepedf(tmp_path / "edf", tmp_path / "store")


def test_two_scorers_of_a_night_are_refused(tmp_path):
    write(tmp_path, scorer="C")
    write(tmp_path, scorer="H")
    with pytest.raises(CohortError, match=r"has 2 hypnograms: SC4001EC-.*, SC4001EH-.*; keep"):
        recordings(tmp_path)


def test_names_in_capitals_are_read(tmp_path):
    for path in list(write(tmp_path).iterdir()):
        path.rename(path.with_name(path.name.upper()))
    assert recordings(tmp_path)[0].hypnogram.name == "SC4001EC-HYPNOGRAM.EDF"
    assert len(ingest_sleepedf(tmp_path, tmp_path / "store").clips) == 129


def test_a_hypnogram_that_starts_later_is_shifted(tmp_path):
    store = ingest_sleepedf(
        write(tmp_path / "edf", late_s=60, seconds=SCORED_S + 60), tmp_path / "store"
    )
    first = store.clips[store.clips["stage"] == 1].iloc[0]
    assert first["onset_s"] == 2460 and first["clip"] % 10_000 == 82


def test_clips_after_the_end_of_the_eeg_are_dropped(tmp_path):
    store = ingest_sleepedf(write(tmp_path / "edf", seconds=SCORED_S - 600), tmp_path / "store")
    # 300 of the 600 s are wake that is too far from sleep anyway.
    assert store.dropped["SC4001"] == {
        "movement": 1,
        "unknown": 101,
        "wake": 30,
        "beyond the EEG": 10,
    }
    assert len(store.clips) == 119


def test_a_second_ingest_reads_only_what_changed(tmp_path, monkeypatch):
    write(tmp_path / "edf", "SC4001")
    write(tmp_path / "edf", "SC4011", seed=1)
    first = ingest_sleepedf(tmp_path / "edf", tmp_path / "store")
    read = []
    whole = sleepedf.read_eeg
    monkeypatch.setattr(
        sleepedf,
        "read_eeg",
        lambda raw, rate: read.append(raw.file.path.name) or whole(raw, rate),
    )
    again = ingest_sleepedf(tmp_path / "edf", tmp_path / "store")
    assert read == [] and again.fingerprint == first.fingerprint
    write(tmp_path / "edf", "SC4011", seed=2)
    os.utime(tmp_path / "edf" / "SC4011E0-PSG.edf", (0, 0))  # files are compared by size and time
    changed = ingest_sleepedf(tmp_path / "edf", tmp_path / "store")
    assert read == ["SC4011E0-PSG.edf"] and changed.fingerprint != first.fingerprint
    assert changed.clips.equals(first.clips)
    (tmp_path / "store" / "SC4001.npy").write_bytes(b"damaged")
    assert ingest_sleepedf(tmp_path / "edf", tmp_path / "store").fingerprint == changed.fingerprint
    assert read[1:] == ["SC4001E0-PSG.edf"]
    other = ingest_sleepedf(tmp_path / "edf", tmp_path / "store", code="other code")
    assert other.fingerprint == changed.fingerprint
    assert read[2:] == ["SC4001E0-PSG.edf", "SC4011E0-PSG.edf"]
    for path in (tmp_path / "edf").glob("SC4011*"):
        path.unlink()
    left = ingest_sleepedf(tmp_path / "edf", tmp_path / "store")
    assert (
        set(left.clips["recording"]) == {"SC4001"}
        and not (tmp_path / "store" / "SC4011.npy").exists()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: [p.unlink() for p in d.glob("*Hypnogram*")],
            "SC4001E0-PSG.edf: has no hypnogram",
        ),
        (lambda d: [p.unlink() for p in d.glob("*PSG*")], "holds no SC4ssNE0-PSG.edf"),
        (lambda d: next(d.glob("*Hypnogram*")).write_text("x"), "cannot be read as EDF"),
        (lambda d: write(d, night=[(90, "Sleep stage W")]), "holds no sleep"),
        (lambda d: write(d, night=[(90, "Sleep stage 7")]), "has the stage 'Sleep stage 7'"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_leaves_no_store(tmp_path, change, message):
    folder = write(tmp_path / "edf")
    change(folder)
    with pytest.raises(CohortError, match=message) as error:
        ingest_sleepedf(folder, tmp_path / "store")
    assert "\n" not in str(error.value)
    with pytest.raises(CohortError, match="is no Sleep-EDF store"):
        sleepedf.SleepEdf(tmp_path / "store")


def test_a_real_recording_is_read_by_the_same_reader(tmp_path):
    """Two minutes of a real polysomnography as the PSG: C3, scored as N2 throughout."""
    path = REAL / "rsleep_psg_2min" / "subject1.edf"
    if not path.is_file():
        pytest.skip("no real data here")
    folder = write(tmp_path / "edf", night=[(120, "Sleep stage 2")])
    raw = open_channel(path, "C3")
    eeg = read_eeg(raw, sleepedf.RATE)
    recording = recordings(folder)[0]
    clips, dropped = sleepedf.scored_clips(recording, len(eeg))
    assert clips["stage"].tolist() == [2, 2, 2, 2] and not any(dropped.values())
    with pytest.raises(CohortError, match="has no channel 'Fpz-Cz'"):
        open_channel(path, sleepedf.CHANNEL)
