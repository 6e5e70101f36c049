"""Changes of a healthy night that the tests of faults make: its EEG, its tables, its JSON files."""

import json

import numpy as np
from cohort_files import numbered, paths, write_about, write_events, write_video
from raw_edf import RATE, overwrite, stepped, write_raw

from sacd.data.store import StoreConfig

CONFIG = StoreConfig(height=16, width=32, frames=8)
NAMES = ("W", "N1", "N2", "N3", "REM")
ROWS = [(30 * k, 30, name) for k, name in enumerate(NAMES)]
X = stepped(range(5))
SECOND = np.arange(len(X)) / RATE
AT_40_S = (SECOND >= 40) & (SECOND < 55)


def write_night(root):
    """A night of five clips that is read whole."""
    write_about(root, {"sub-01": 12.5})
    eeg, events, video = paths(root, "sub-01")
    write_events(events, ROWS)
    write_raw(eeg, {"C3": X})
    write_video(video, (numbered(k) for k in range(152)), 1)
    return root


def eeg(*args, **more):
    return lambda root: write_raw(paths(root, "sub-01")[0], *args, **more)


def patch(at, data):
    return lambda root: overwrite(paths(root, "sub-01")[0], at, data)


def events(text, encoding="utf-8"):
    return lambda root: paths(root, "sub-01")[1].write_bytes(text.encode(encoding))


def names(*written, sep="\t", end="\n"):
    lines = [sep.join(("onset", "duration", "trial_type"))]
    lines += [sep.join((str(30 * k), "30", name)) for k, name in enumerate(written)]
    return "".join(line + end for line in lines)


def people(text, encoding="utf-8"):
    return lambda root: (root / "participants.tsv").write_bytes(text.encode(encoding))


def about(text, encoding="utf-8"):
    return lambda root: (root / "dataset_description.json").write_bytes(text.encode(encoding))


def sidecar(value, encoding="utf-8"):
    text = value if isinstance(value, str) else json.dumps(value)
    return lambda root: (
        paths(root, "sub-01")[2].with_suffix(".json").write_bytes(text.encode(encoding))
    )


def beside(name, text):
    """Another file of the cohort."""
    return lambda root: (root / name).write_text(text)


def capitals(root):
    for path in paths(root, "sub-01"):
        path.rename(path.with_suffix(path.suffix.upper()))


AHI = "participant_id\tage\tsex\tahi\nsub-01\t{}\tF\t12.5\n"
CLEAN = names(*NAMES)
