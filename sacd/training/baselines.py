"""Reference results: guessing, a forest on EEG band powers, a bound from the simulator's truth."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.signal import welch
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

from sacd.config import BaselineConfig
from sacd.data.store import ClipStore
from sacd.files import write_parquet
from sacd.stages import CLIP_S, STAGES
from sacd.training.common import Inputs, Resources, open_clips, predictions, rows_of
from sacd.training.fit import Progress

# Delta (in two halves), theta, alpha, sigma (spindles), beta, gamma.
BANDS_HZ = ((0.5, 2), (2, 4), (4, 8), (8, 11), (11, 16), (16, 30), (30, 45))


def band_powers(eeg: np.ndarray, rate: int) -> np.ndarray:
    """Log power of each clip in `BANDS_HZ`, by Welch's method with windows of 4 s.

    Args:
        eeg: `(n, samples)` in uV.

    Returns:
        `(n, 7)`.
    """
    frequency, density = welch(eeg, fs=rate, nperseg=4 * rate, axis=-1)
    powers = []
    for low, high in BANDS_HZ:
        band = (frequency >= low) & (frequency < high)
        powers.append(density[:, band].mean(axis=1))
    return np.log(np.stack(powers, axis=1) + 1e-6)


def within_night(x: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Append to `x` its difference from the median over the subject's clips.

    Subjects differ in their overall level, which hides the differences between stages.
    """
    return np.hstack([x, x - pd.DataFrame(x).groupby(subjects).transform("median").to_numpy()])


def signal_facts(breathing: np.ndarray, activity: np.ndarray, rate: float) -> np.ndarray:
    """Features of true breathing and movement: rate, regularity, depth, amount and timing.

    Args:
        breathing, activity: `(n, T)` sampled at `rate` Hz over a clip.
    """
    x = breathing - breathing.mean(axis=1, keepdims=True)
    # Breathing spectrum without its mean, as shares of the total power.
    power = np.abs(np.fft.rfft(x * np.hanning(x.shape[1]), axis=1))[:, 1:] ** 2
    hertz = np.fft.rfftfreq(x.shape[1], 1 / rate)[1:]
    share = power / (power.sum(axis=1, keepdims=True) + 1e-9)
    coarse = np.stack([p.sum(axis=1) for p in np.array_split(share, 16, axis=1)], axis=1)
    envelope = np.abs(x).reshape(len(x), 8, -1).mean(axis=2)
    steps = np.diff(np.sign(x), axis=1) != 0
    columns = [
        x.std(axis=1),
        np.ptp(x, axis=1),
        steps.sum(axis=1),
        hertz[power.argmax(axis=1)],
        share.max(axis=1),
        (share * hertz).sum(axis=1),
        -(share * np.log(share + 1e-9)).sum(axis=1),
        envelope.min(axis=1),
        envelope.max(axis=1),
        envelope.std(axis=1),
        activity.mean(axis=1),
        activity.max(axis=1),
        (activity > 0.05).mean(axis=1),
        activity.std(axis=1),
    ]
    pieces = activity.reshape(len(activity), 8, -1).mean(axis=2)
    return np.hstack([np.stack(columns, axis=1), coarse, envelope, pieces])


def true_signals(cohort: Path, clips: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, float]:
    """True breathing and activity `(n, T)` of clips of one simulated subject, and their rate in Hz.

    Raises:
        ValueError: the cohort has no truth of this subject.
    """
    path = cohort / "derivatives" / "simulator" / f"{clips['subject'].iloc[0]}_truth.npz"
    if not path.exists():
        raise ValueError(f"{path} is missing; this bound needs the truth of a simulated cohort")
    rows = clips["clip"].to_numpy()  # the simulator writes one row per 30 s of the night
    with np.load(path) as truth:
        breathing, activity = truth["breathing"][rows], truth["activity"][rows]
    return breathing, activity, breathing.shape[1] / CLIP_S


def yasa_probabilities(eeg: np.ndarray, rate: int) -> np.ndarray:
    """Probability of each stage `(n, 5)` by YASA's published stager, which is not trained here.

    It was trained on some 3,000 real nights (Vallat and Walker 2021, doi:10.7554/eLife.70092), and
    uses the neighbouring clips and the statistics of the whole recording.

    Args:
        eeg: `(n, samples)` in uV, all clips of one night in order. Clips are joined as if they
            followed each other, which they do within a block.
    """
    import mne  # slow to import
    import yasa

    info = mne.create_info(["C3"], rate, "eeg")
    raw = mne.io.RawArray(1e-6 * eeg.reshape(1, -1).astype(np.float64), info, verbose="error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its label encoder was pickled by an older scikit-learn
        found = yasa.SleepStaging(raw, eeg_name="C3").predict().proba
    return found[["WAKE", "N1", "N2", "N3", "REM"]].to_numpy(float)


def _by_yasa(store: ClipStore, clips: pd.DataFrame) -> np.ndarray:
    """`yasa_probabilities` of every clip of the store, `(n, 5)`."""
    parts = [
        yasa_probabilities(store.gather_eeg(rows), store.config.eeg_rate)
        for _, rows in clips.groupby("subject", sort=False)
    ]
    return np.concatenate(parts)


def baseline(
    config: BaselineConfig, inputs: Inputs, folder: Path, resources: Resources, progress: Progress
) -> None:
    """Fit a baseline or a bound on the training subjects; writes `predictions.parquet`.

    YASA is fitted to nothing: it is the stager that others trained.

    True signals and band powers are features of one clip. The variants "by night" also have their
    difference from the night's median. This matches teachers, whose input is whitened by night, and
    students, whose frozen features are centred by night.
    """
    store, clips = open_clips(resources, config.split)
    if config.name == "YASA":
        _write(folder, clips, _by_yasa(store, clips))
        return
    rows = rows_of(clips, "train")
    if config.name.startswith("band-power forest"):
        x = band_powers(store.gather_eeg(clips), store.config.eeg_rate)
        model = RandomForestClassifier(300, min_samples_leaf=2, random_state=config.seed)
    elif config.name.startswith("true signals"):
        cohort, nights = Path(resources["cohort"]), clips.groupby("subject", sort=False)
        x = np.concatenate([signal_facts(*true_signals(cohort, night)) for _, night in nights])
        model = HistGradientBoostingClassifier(
            max_iter=150, learning_rate=0.06, random_state=config.seed
        )
    else:
        x = np.zeros((len(clips), 1))
        strategy = "prior" if config.name == "majority" else "stratified"
        model = DummyClassifier(strategy=strategy, random_state=config.seed)
    if config.name.endswith("by night"):
        x = within_night(x, clips["subject"].to_numpy())
    stage = clips["stage"].to_numpy()
    model.fit(x[rows], stage[rows])
    p = np.zeros((len(clips), len(STAGES)))
    p[:, model.classes_] = model.predict_proba(x)  # a stage may be missing from the training set
    _write(folder, clips, p)


def _write(folder: Path, clips: pd.DataFrame, p: np.ndarray) -> None:
    # A softmax of these logits gives p again; the constant keeps a probability of 0 finite.
    logits = torch.from_numpy(np.log(p + 1e-9))
    write_parquet(folder / "predictions.parquet", predictions(clips, logits))
