"""Faults of a cohort, and the file and problem that `check` must name for each of them."""

import numpy as np
from cohort_files import paths, write_edf, write_video


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def eeg(change):
    def fault(root):
        path, _, _ = paths(root, "sub-01")
        change(path)

    return fault


def sidecar(text):
    return lambda root: paths(root, "sub-01")[2].with_suffix(".json").write_text(text)


rng = np.random.default_rng(0)
NOISE = rng.normal(0, 20, 128 * 90)
# fault: what is done to the cohort, and the file and problem that `check` must name
ERRORS = {
    "no description": (
        lambda r: (r / "dataset_description.json").unlink(),
        "dataset_desc",
        "is missing",
    ),
    "no name": (
        lambda r: (r / "dataset_description.json").write_text("{}"),
        "dataset_desc",
        'no "Name"',
    ),
    "no participants": (
        lambda r: (r / "participants.tsv").unlink(),
        "participants.tsv",
        "is missing",
    ),
    "no ahi column": (
        lambda r: edit(r / "participants.tsv", "ahi", "bmi"),
        "participants.tsv",
        "column ahi",
    ),
    "no ahi": (
        lambda r: edit(r / "participants.tsv", "12.5", "n/a"),
        "participants.tsv",
        "sub-01: has no ahi",
    ),
    "negative ahi": (
        lambda r: edit(r / "participants.tsv", "12.5", "-3"),
        "participants.tsv",
        "ahi '-3' is not",
    ),
    "bad age": (
        lambda r: edit(r / "participants.tsv", "50", "old"),
        "participants.tsv",
        "age 'old' is not",
    ),
    "bad id": (
        lambda r: edit(r / "participants.tsv", "sub-01", "../x"),
        "participants.tsv",
        "'../x' is not sub-",
    ),
    "twice": (
        lambda r: edit(r / "participants.tsv", "sub-01", "sub-01\tF\t1\t1\t1\nsub-01"),
        "particip",
        "there twice",
    ),
    "no eeg": (lambda r: paths(r, "sub-01")[0].unlink(), "_eeg.edf", "is missing"),
    "no events": (lambda r: paths(r, "sub-01")[1].unlink(), "_events.tsv", "is missing"),
    "odd events": (
        lambda r: edit(paths(r, "sub-01")[1], "trial_type", "stage"),
        "_events.tsv",
        "column trial_type",
    ),
    "no video": (lambda r: paths(r, "sub-01")[2].unlink(), "_video", "no video here"),
    "two videos": (
        lambda r: paths(r, "sub-01")[2].with_suffix(".avi").touch(),
        "_video",
        "2 videos",
    ),
    "broken eeg": (eeg(lambda p: p.write_bytes(b"0" * 5000)), "_eeg.edf", "cannot be read as EDF"),
    "empty eeg": (eeg(lambda p: p.write_bytes(b"")), "_eeg.edf", "cannot be read as EDF"),
    "broken video": (
        lambda r: paths(r, "sub-01")[2].write_bytes(b"x" * 99),
        "_video.mp4",
        "cannot be opened",
    ),
    "wrong channel": (
        eeg(lambda p: write_edf(p, {"C4-M1": (NOISE, 128)})),
        "_eeg.edf",
        "has no channel 'C3'",
    ),
    "slow channel": (
        eeg(lambda p: write_edf(p, {"C3": (NOISE, 64)})),
        "_eeg.edf",
        "at 64 Hz, at least 100 Hz",
    ),
    "flat": (eeg(lambda p: write_edf(p, {"C3": (NOISE * 0, 128)})), "_eeg.edf", "C3 is flat"),
    "uV called V": (
        eeg(lambda p: write_edf(p, {"C3": (NOISE, 128)}, "V")),
        "_eeg.edf",
        "has 0.5 to 1000 uV",
    ),
    "V called uV": (
        eeg(lambda p: write_edf(p, {"C3": (NOISE / 1e6, 128)}, "uV", 1e-3)),
        "_eeg.edf",
        "of 2e-05 uV",
    ),
    "20 s of eeg": (
        eeg(lambda p: write_edf(p, {"C3": (NOISE[:2560], 128)})),
        "_events",
        "no scored clip lies",
    ),
    "odd offset": (sidecar('{"StartOffset": 4000}'), "_video.json", "runs from 4000 to 4090 s"),
    "offset no number": (
        sidecar('{"StartOffset": "1 s"}'),
        "_video.json",
        "StartOffset '1 s' is not a number",
    ),
    "offset no json": (sidecar("StartOffset: 3"), "_video.json", "is not a JSON object"),
}
WARNINGS = {
    "clipped": (
        eeg(lambda p: write_edf(p, {"C3": (NOISE.clip(-30, 30), 128)}, limit=30)),
        "_eeg.edf",
        "C3 is clipped: 1",
    ),
    "cut eeg": (
        eeg(lambda p: p.write_bytes(p.read_bytes()[:-2560])),
        "_eeg.edf",
        "promises 90 s, 83 s are there",
    ),
    "an event that may be a stage": (
        lambda r: edit(paths(r, "sub-01")[1], "0\t30\tW", "0\t30\tstartle sleep"),
        "_events.tsv",
        "counts as events 1 row as long as epochs where no known stage is: 'startle sleep' (1)",
    ),
    "70 s of eeg": (
        eeg(lambda p: write_edf(p, {"C3": (NOISE[: 128 * 70], 128)})),
        "_events.tsv",
        "it has 70 s",
    ),
    "70 s of video": (
        lambda r: write_video(paths(r, "sub-01")[2], [np.full((32, 64), 90, np.uint8)] * 70, 1),
        "_video.mp4",
        "runs from 0 to 70 s of the EEG (90 s), 1 scored clips are lost",
    ),
}
