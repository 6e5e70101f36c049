"""Flat, railed and stuck stretches of an EEG are found, whatever their value; what is quiet or
coarse is kept. Clip k of the night has a standard deviation of 10 (k + 1) uV."""

import numpy as np
import pytest
from raw_edf import RATE, overwrite, stepped, write_raw

from sacd.data.eeg import open_channel
from sacd.data.unusable import clip_losses

X = stepped(range(5))
T = np.arange(len(X)) / RATE
HALF = (T >= 60) & (T < 80)  # most of clip 2
SPIKED = np.where(T == 1, 900, np.where(T == 2, -900, X))
SWINGS = 200 * np.sign(np.sin(2 * np.pi * 7 * T))


def again(seconds, start, times):
    """The night, where a block repeats so many times from a second on, before and after none."""
    n, at = round(seconds * RATE), round(start * RATE)
    night = X.copy()
    night[at : at + n * times] = np.tile(X[at : at + n], times)
    return night


NIGHTS = {
    "flat at 57 uV": (np.where(HALF, 57, X), "flat"),
    "flat but for its last digit": (np.where(HALF, 0.03 * (np.arange(len(X)) % 2), X), "flat"),
    "lost samples filled in by a line": (np.where(HALF, 40 * (T - 60) - 400, X), "flat"),
    "drift of a loose electrode": (np.where(HALF, 300 * np.sin(0.2 * T), X), "flat"),
    "cut off at 5 uV from above": (np.where(HALF, np.minimum(X, 5), X), "railed"),
    "the same, and a spike elsewhere": (np.where(HALF, np.minimum(X, 5), SPIKED), "railed"),
    "cut off from below": (np.where(HALF, np.maximum(X, -5), SPIKED), "railed"),
    "from rail to rail, and a spike elsewhere": (np.where(HALF, SWINGS, SPIKED), "railed"),
    "in steps of 20 uV": (np.round(X / 20) * 20, ""),
    "one second for most of a clip": (again(1, 60, 20), "stuck"),
    "a short buffer": (again(0.25, 65, 20), "stuck"),
    "three times, between two seconds": (again(1, 61.3, 3), "stuck"),
    "a long buffer": (again(4.3, 62.1, 6), "stuck"),
    "twice": (again(4.3, 62.1, 2), ""),
    "three times, but for one sample": (again(1, 61, 3) + 50 * (T == 63), ""),
    "a test signal": (np.where(HALF, 40 * np.sin(20 * np.pi * T) + 9 * np.cos(14 * T), X), ""),
    "a test signal that repeats": (np.where(HALF, 40 * np.sin(20 * np.pi * T), X), ""),
    "quiet": (np.where(HALF, X / 15, X), ""),
    "on a slow wave": (X + 300 * np.sin(0.2 * T), ""),
}


@pytest.mark.parametrize("name", NIGHTS)
def test_clips_without_a_signal_are_found(tmp_path, name):
    night, reason = NIGHTS[name]
    write_raw(tmp_path / "n.edf", {"C3": night})
    raw = open_channel(tmp_path / "n.edf", "C3")
    assert clip_losses(raw, 100, 30.0 * np.arange(5)).tolist() == ["", "", reason, "", ""]


def test_a_length_of_the_header_that_is_too_long_shifts_no_sample(tmp_path):
    path = tmp_path / "n.edf"
    write_raw(path, {"C3": X})
    whole = open_channel(path, "C3").microvolts(0, 150)
    overwrite(path, 184, b"768     ")  # 512 are there; the file would lack a record
    raw = open_channel(path, "C3")
    assert raw.file.records == 150
    np.testing.assert_array_equal(raw.microvolts(0, 150), whole)
    # A header that really is longer.
    data = path.read_bytes()
    path.write_bytes(data[:512] + bytes(256) + data[512:])
    np.testing.assert_array_equal(open_channel(path, "C3").microvolts(0, 150), whole)
