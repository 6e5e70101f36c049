"""Where the nights of `reality` come from: folders of public data, and the simulator.

The real data: sleep-accel (Walch et al. 2019, doi:10.13026/hmhs-py35), UCDDB
(doi:10.13026/C26C7D), Santa Fe data set B (Rigney et al. 1993) and Sleep-EDF
(doi:10.13026/C2X676), all under the Open Data Commons Attribution License.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sacd.analysis import night_measures as measure
from sacd.analysis import reality
from sacd.simulate import cohort, hypnogram, ucddb
from sacd.simulate.eeg import Head, eeg
from sacd.simulate.physiology import GROSS, LIMB, Breather, Movements, blocks, breathing, movements
from sacd.simulate.settings import SimulateConfig, stream
from sacd.stages import CLIP_S, STAGES, UNSCORED, label

SLEEP_ACCEL, UCDDB, SANTA_FE = "sleep-accel", "UCDDB", "Santa Fe B"
SLEEP_EDF: Final = "Sleep-EDF Fpz-Cz"
ODC_BY: Final = "ODC-By 1.0"
MOVED: Final = 0.1
"""Activity count of a 30 s epoch of sleep-accel above which the wrist moved."""
EEG_HZ: Final = 100
"""Sampling rate of the simulated EEG: that of Sleep-EDF."""
BREATH_HZ: Final = 2
"""Sampling rate of breathing: that of the Santa Fe data."""
AROUND_SLEEP: Final = 60
"""Clips of wake (30 min) kept before and after sleep in recordings of a whole day."""


def sleep_accel(folder: str | Path) -> pd.DataFrame:
    """31 nights of sleep-accel (`epochs.csv.gz`): hypnogram, and movement of the wrist."""
    table = pd.read_csv(Path(folder) / "epochs.csv.gz", dtype={"subject": str})
    nights = []
    for _, rows in table.sort_values(["subject", "epoch"]).groupby("subject"):
        stage = np.array([label(str(name)) for name in rows["stage"]])
        every = np.full(rows["epoch"].max() + 1, UNSCORED)  # epochs that are missing stay unscored
        every[rows["epoch"]] = stage
        moving = rows["activity_count"].to_numpy() > MOVED
        nights.append(measure.hypnogram(every) | measure.movement(stage, moving))
    return _lines(nights, SLEEP_ACCEL, "Walch et al. 2019, doi:10.13026/hmhs-py35")


def _lines(
    nights: list[measure.Measures], dataset: str, source: str, sleepers: list[str] | None = None
) -> pd.DataFrame:
    """Lines of a data set from its nights; `sleepers` as in `reality.summary`."""
    lines = reality.summary(reality.nights_table(nights), sleepers)
    return lines.assign(dataset=dataset, source=source, licence=ODC_BY)


def ucddb_nights(folder: str | Path) -> pd.DataFrame:
    """25 nights of UCDDB, most of them of sleepers with apnea: hypnogram."""
    nights = []
    for study in ucddb.subjects(ucddb.check(Path(folder))).index:
        stage = ucddb.stages(Path(folder) / f"{study.lower()}_stage.txt")
        nights.append(measure.hypnogram(stage))
    return _lines(nights, UCDDB, "doi:10.13026/C26C7D")


def santa_fe(folder: str | Path) -> pd.DataFrame:
    """One night of a sleeper with apnea, nobody scored it: breathing (chest volume at 2 Hz)."""
    path = Path(folder) / "SFI-heartRate_breathVol_bloodOx.txt"
    chest = np.loadtxt(path, comments="%")[:, 1]
    clips = measure.breaths(chest, BREATH_HZ)
    night = measure.breathing(None, clips)
    return _lines([night], SANTA_FE, "Rigney et al. 1993, PhysioNet santa-fe 1.0.0")


READERS: Final = {SLEEP_ACCEL: sleep_accel, UCDDB: ucddb_nights, SANTA_FE: santa_fe}
"""Data set -> function of its folder that gives its lines."""


def sleep_edf(nights: Mapping[str, tuple[NDArray, NDArray]]) -> pd.DataFrame:
    """Nights of Sleep-EDF (Fpz-Cz, two of each sleeper): band powers by stage and their spread.

    Nights without all five stages are incomplete recordings and left out.

    Args:
        nights: name, such as SC4001E0, -> labels `(n,)`, and `night_measures.log_powers` of the
            clips.
    """
    found, sleepers_of = [], []
    for name, (stage, power) in sorted(nights.items()):
        asleep = np.flatnonzero(stage > 0)
        if len(np.unique(stage[stage != UNSCORED])) < len(STAGES):
            continue
        near = slice(max(asleep[0] - AROUND_SLEEP, 0), asleep[-1] + AROUND_SLEEP + 1)
        found.append(measure.powers(stage[near], power[near]))
        sleepers_of.append(name[:5])
    return _lines(found, SLEEP_EDF, "Kemp et al. 2000, doi:10.13026/C2X676", sleepers_of)


def sleep_edf_powers(folder: str | Path) -> dict[str, tuple[NDArray, NDArray]]:
    """Nights for `sleep_edf` from files `<night>.npz` of band powers.

    They hold y, the labels, and X, whose first five columns are ln(density + 1e-10) of Fpz-Cz in
    V^2/Hz: as computed by github.com/matteo-omizzolo/sleep-EDF (a30daa3) in the bands of
    `night_measures.BANDS`.

    Raises:
        ValueError: there are none.
    """
    nights = {}
    for path in sorted(Path(folder).glob("*.npz")):
        with np.load(path, allow_pickle=False) as file:
            # Undoes the logarithm and its offset; 1e12 turns V^2 into uV^2.
            density = np.exp(file["X"][:, : len(measure.BANDS)]) - 1e-10
            nights[path.stem] = file["y"], np.log10(density * 1e12)
    if not nights:
        raise ValueError(f"{folder} holds no band powers of nights (*.npz)")
    return nights


def real_lines(
    folders: Mapping[str, str], eeg_nights: Mapping[str, tuple[NDArray, NDArray]] | None = None
) -> pd.DataFrame:
    """Lines of the real nights, computed where the data are there and committed otherwise.

    Args:
        folders: data set (a key of `READERS`) -> its folder; empty: the committed lines.
        eeg_nights: of `sleep_edf`; None: the committed lines.

    Returns:
        As `reality.committed`, and `recomputed`.
    """
    committed = reality.committed()
    parts = []
    for dataset, lines in committed.groupby("dataset", sort=False):
        fresh = None
        if dataset == SLEEP_EDF and eeg_nights:
            fresh = sleep_edf(eeg_nights)
        elif folders.get(dataset):
            fresh = READERS[dataset](folders[dataset])
        parts.append((lines if fresh is None else fresh).assign(recomputed=fresh is not None))
    return pd.concat(parts, ignore_index=True)


class Sleeper(NamedTuple):
    """One simulated sleeper: the whole night, before EEG and breathing are drawn."""

    config: SimulateConfig
    index: int
    night: hypnogram.SimulatedNight
    body: NDArray
    moves: Movements

    @classmethod
    def draw(cls, config: SimulateConfig, group: int, index: int) -> "Sleeper":
        """Sleeper `index` of AHI group 0..3, by the streams that the cohort's files use."""
        night = cohort.night_of(config, (index, group))
        body = hypnogram.state(night.stages, stream(config, index, "state"))
        return cls(
            config, index, night, body, movements(night, body, stream(config, index, "movement"))
        )

    @property
    def moving(self) -> NDArray[np.bool_]:
        """Clips `(n,)` into which a movement of a limb or the body reaches; twitches left out."""
        moving = np.zeros(len(self.night.stages), bool)
        for onset, seconds, kind in zip(
            self.moves.onset, self.moves.duration, self.moves.kind, strict=True
        ):
            if kind in (GROSS, LIMB):
                last = int((onset + seconds) // CLIP_S)
                moving[int(onset // CLIP_S) : last + 1] = True
        return moving

    def parts(self, count: int) -> list[tuple[int, int]]:
        """(first clip, clips) of `count` blocks spread over the night; 0: the whole night."""
        return blocks(len(self.night.stages), count, stream(self.config, self.index, "blocks"))

    def eeg(self, parts: list[tuple[int, int]]) -> NDArray:
        """EEG `(clips, samples)` in uV of parts of the night, at `EEG_HZ`."""
        rng, found = stream(self.config, self.index, "eeg"), []
        head = Head.draw(rng)
        for first, clips in parts:
            samples = clips * CLIP_S * EEG_HZ
            start = float(first * CLIP_S)
            found.append(eeg(head, self.night, self.body, self.moves, start, samples, EEG_HZ, rng))
        return np.concatenate(found).reshape(-1, CLIP_S * EEG_HZ)

    def breaths(self, parts: list[tuple[int, int]]) -> pd.DataFrame:
        """`night_measures.breaths` of parts of the night, sampled like the Santa Fe data."""
        rng, found = stream(self.config, self.index, "breathing"), []
        breather = Breather.draw(rng)
        for first, clips in parts:
            start, seconds = float(first * CLIP_S), clips * CLIP_S
            drawn = breathing(breather, self.night, self.body, start, start + seconds, rng)
            times = start + np.arange(seconds * BREATH_HZ) / BREATH_HZ
            chest, abdomen = drawn.at(times)
            found.append(measure.breaths((chest + abdomen) / 2, BREATH_HZ))
        return pd.concat(found, ignore_index=True)


def sleepers(count: int, seed: int = 0) -> list[Sleeper]:
    """Sleepers of the simulated population, AHI groups in the paper's shares."""
    config = SimulateConfig(n_subjects=count, seed=seed)
    groups = hypnogram.groups(count, [], stream(config, 0, "groups"))
    return [Sleeper.draw(config, group, index) for index, group in enumerate(groups)]


def simulated(people: list[Sleeper], count: int) -> pd.DataFrame:
    """Measures of simulated nights; EEG and breathing of `count` blocks of each (to save time)."""
    nights = []
    for sleeper in people:
        stage, parts = sleeper.night.stages, sleeper.parts(count)
        kept = np.concatenate([stage[first : first + clips] for first, clips in parts])
        found = measure.hypnogram(stage) | measure.movement(stage, sleeper.moving)
        found |= measure.powers(kept, measure.log_powers(sleeper.eeg(parts), EEG_HZ))
        nights.append(found | measure.breathing(kept, sleeper.breaths(parts)))
    return reality.summary(reality.nights_table(nights))


def staged_by_yasa(sleeper: Sleeper) -> measure.Measures:
    """How YASA, which learned from real nights, stages a whole simulated night from C3 alone.

    Source: Vallat and Walker 2021, doi:10.7554/eLife.70092.
    """
    import mne  # slow to import, and only this function needs it
    import yasa  # likewise

    samples = sleeper.eeg(sleeper.parts(0)).ravel()
    info = mne.create_info(["C3"], EEG_HZ, "eeg")
    raw = mne.io.RawArray(samples[None] * 1e-6, info, verbose="error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its label encoder was pickled by an older scikit-learn
        staged = yasa.SleepStaging(raw, eeg_name="C3").predict().hypno
    names = {"WAKE": "W"}
    labels = np.array([label(names.get(name, name)) for name in staged])
    return measure.staging(sleeper.night.stages, labels)
