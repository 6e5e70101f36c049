"""The simulated EEG."""

from pathlib import Path

import numpy as np
from scipy.signal import welch
from simulated_files import CONFIG, SUBJECTS, clips_of, open_eeg, read

from sacd.stages import STAGES


def test_delta_power_is_highest_in_n3(cohort: Path) -> None:
    power: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for subject in SUBJECTS:
        clips = clips_of(read(cohort, subject)[0])
        signal = open_eeg(cohort, subject).get_data()[0].reshape(len(clips), -1) * 1e6
        frequency, density = welch(signal, CONFIG.eeg_rate, nperseg=4 * CONFIG.eeg_rate)
        for name, delta in zip(
            clips.trial_type, density[:, (frequency >= 0.5) & (frequency < 4)].mean(1), strict=True
        ):
            if name in power:
                power[name].append(delta)
    median = {stage: np.median(values) for stage, values in power.items() if values}
    assert len(median) == 5 and max(median, key=median.get) == "N3"
