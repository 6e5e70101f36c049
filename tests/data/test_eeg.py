import mne
import numpy as np
import pytest
from cohort_files import REAL, write_edf
from raw_edf import RATE, stepped, write_raw

from sacd.data.cohort import CohortError
from sacd.data.eeg import covered, open_channel, pick_channel, read_eeg


@pytest.mark.parametrize(
    ("asked", "names", "found"),
    [
        ("C3", ["C3-M2", "C3", "c3"], "C3"),
        ("C3", ["EOG", "c3"], "c3"),
        ("C3", ["EEG C3-M2", "EEG C4-M1", "EEG A2-C3"], "EEG C3-M2"),
        ("C3", ["C3:A2", "C4:A1", "C30"], "C3:A2"),
        ("C3", ["EEG_C3_A2"], "EEG_C3_A2"),
        ("C3-M2", ["C3", "EEG C3:M2"], "EEG C3:M2"),
        ("EEG Fpz-Cz", ["EEG Fpz-Cz", "EEG Pz-Oz"], "EEG Fpz-Cz"),
    ],
)
def test_pick_channel(asked, names, found):
    assert pick_channel(asked, names) == found


@pytest.mark.parametrize(
    ("asked", "names", "message"),
    [
        (
            "C3",
            ["C3-M2", "C3-A2"],
            "night.edf: channel 'C3' fits C3-M2, C3-A2; set `channel` (CHANNEL=) to one of:"
            " C3-M2, C3-A2",
        ),
        (
            "C3",
            ["C4-M1", "M1-C3"],
            "night.edf: has no channel 'C3'; set `channel` (CHANNEL=) to one of: C4-M1, M1-C3",
        ),
        (
            "",
            ["C4-M1"],
            "night.edf: has no channel ''; set `channel` (CHANNEL=) to one of: C4-M1",
        ),
    ],
)
def test_pick_channel_refuses(asked, names, message):
    with pytest.raises(CohortError) as caught:
        pick_channel(asked, names, "night.edf")
    assert str(caught.value) == message


@pytest.mark.parametrize(("unit", "scale"), [("uV", 1.0), ("mV", 1e-3), ("V", 1e-6)])
def test_units_become_microvolts(tmp_path, unit, scale):
    x = np.random.default_rng(0).normal(0, 40, 3000)
    write_edf(tmp_path / "a.edf", {"C3": (x * scale, 100)}, unit, 1000 * scale)
    y = read_eeg(open_channel(tmp_path / "a.edf", "C3"), 100)
    assert y.dtype == np.float32 and np.abs(y - x).max() < 0.05


@pytest.mark.parametrize("rate", [100, 128, 200, 250, 256, 500, 512])
def test_resampling_keeps_time_and_shape(tmp_path, rate):
    def wave(t):
        return 50 * np.sin(2 * np.pi * 3 * t) + 20 * np.sin(2 * np.pi * 17 * t + 1) + 30

    write_edf(
        tmp_path / "a.edf",
        {"C3": (wave(np.arange(40 * rate) / rate), rate), "ECG": (np.zeros(40 * 512), 512)},
    )
    y = read_eeg(open_channel(tmp_path / "a.edf", "C3"), 100)
    assert len(y) == 4000
    assert np.abs(y - wave(np.arange(4000) / 100))[20:-20].max() < 0.5


def test_frequencies_above_half_the_rate_are_removed(tmp_path):
    t = np.arange(20 * 512) / 512
    write_edf(tmp_path / "a.edf", {"C3": (80 * np.sin(2 * np.pi * 95 * t), 512)})
    y = read_eeg(open_channel(tmp_path / "a.edf", "C3"), 100)
    assert np.abs(y[50:-50]).max() < 1


def test_slow_channel_is_refused(tmp_path):
    write_edf(tmp_path / "a.edf", {"C3": (np.ones(64 * 30), 64), "ECG": (np.ones(256 * 30), 256)})
    with pytest.raises(
        CohortError, match=r"a\.edf: C3 is sampled at 64 Hz, at least 100 Hz are needed"
    ):
        read_eeg(open_channel(tmp_path / "a.edf", "C3"), 100)


@pytest.mark.parametrize(
    ("channel", "picked"), [("C3", "C3"), ("C3-M2", "C3-M2"), ("c4:m1", "C4-M1")]
)
def test_real_recording(channel, picked):
    """Two minutes of a Noxturnal polysomnography: about 90 channels at several rates, EEG in V."""
    path = REAL / "rsleep_psg_2min" / "subject1.edf"
    if not path.is_file():
        pytest.skip("no real data here")
    raw = open_channel(path, channel)
    assert raw.name == picked and raw.rate == 200
    x = read_eeg(raw, 100)
    assert x.shape == (12000,)
    # Plausible in uV, not in V or mV.
    assert np.std(x.reshape(-1, 3000), axis=1).min() > 5 and np.abs(x).max() < 1000


@pytest.mark.parametrize(("unit", "scale"), [("uV", 1.0), ("mV", 1e-3), ("V", 1e-6)])
def test_voltages_have_the_bits_that_mne_reads(tmp_path, unit, scale):
    """Stores were made with MNE's reader: the same file must give the same bytes."""
    rng = np.random.default_rng(1)
    signals = {"C3": (rng.normal(0, 40, 128 * 31) * scale, 128), "ECG": (np.zeros(31 * 512), 512)}
    write_edf(tmp_path / "a.edf", signals, unit, 317.3 * scale)
    theirs = mne.io.read_raw_edf(tmp_path / "a.edf", include=["C3"], verbose="error")
    ours = open_channel(tmp_path / "a.edf", "C3")
    assert np.array_equal(ours.microvolts(0, ours.file.records), theirs.get_data(units="uV")[0])
    assert ours.rate == theirs.info["sfreq"]


def placed(path, starts):
    """First sample at 128 Hz and sample after the last of every stretch, for records of 1 s."""
    write_raw(path, {"C3": stepped(range(7))[: RATE * len(starts)]}, "EDF+D", starts)
    return covered(open_channel(path, "C3"), RATE)


def test_records_that_are_early_or_late_lie_side_by_side(tmp_path):
    for jitter in (0.06, 0.49):
        starts = [k + jitter * (k % 2) for k in range(60)]
        assert placed(tmp_path / "n.edf", starts) == [(0, 60 * RATE)]
    late = [k + 0.7 * (k > 30) for k in range(60)]
    assert placed(tmp_path / "n.edf", late) == [(0, 31 * RATE), (4058, 4058 + 29 * RATE)]


@pytest.mark.parametrize("step", [0.99, 1.01])
def test_a_clock_that_drifts_is_followed(tmp_path, step):
    spans = placed(tmp_path / "n.edf", [round(step * k, 3) for k in range(200)])
    assert abs(spans[-1][1] / RATE - 200 * step) < 0.5 and len(spans) > 3


@pytest.mark.parametrize("step", [0, 0.5, 0.9])
def test_records_that_cannot_last_as_long_as_they_say(tmp_path, step):
    with pytest.raises(CohortError, match="within the one before"):
        placed(tmp_path / "n.edf", [round(step * k, 1) for k in range(60)])
