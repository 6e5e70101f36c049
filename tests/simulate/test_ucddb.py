"""Real nights of UCDDB that drive the simulator."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from simulated_files import CONFIG, NIGHTS, clips_of, needs_nights, read

from sacd.simulate import ucddb
from sacd.simulate.cohort import _jobs, night_of, simulate
from sacd.simulate.settings import SimulateConfig
from sacd.stages import CLIP_S


@needs_nights
def test_real_nights_come_through_unchanged(tmp_path: Path) -> None:
    config = SimulateConfig(n_subjects=2, blocks=1)
    root = simulate(tmp_path / "cohort", config, nights=NIGHTS)
    people = pd.read_csv(root / "participants.tsv", sep="\t", index_col=0)
    details = ucddb.subjects(NIGHTS)
    codes = {"0": "W", "1": "REM", "2": "N1", "3": "N2", "4": "N3", "5": "N3"}
    for subject, person in people.iterrows():
        assert person.ahi == details.loc[person.source, "PSG AHI"]
        events, side, truth = read(root, subject)
        raw = (NIGHTS / f"{person.source.lower()}_stage.txt").read_text().split()
        kept = slice(int(side["StartOffset"] > 0), None)
        clips = (truth["night_s"][kept] // CLIP_S).astype(int)
        assert [codes.get(raw[clip], "unscored") for clip in clips] == list(
            clips_of(events).trial_type[kept]
        )


@needs_nights
def test_real_events_fall_into_sleep_and_give_the_tables_ahi() -> None:
    config = SimulateConfig(n_subjects=25)
    jobs = _jobs(config, NIGHTS)
    assert len(jobs) == 25 and all(isinstance(study, str) for _, study in jobs)
    nights = [night_of(config, job, NIGHTS) for job in jobs]
    counted, inside = [], []
    for night in nights:
        events = night.respiratory()
        counted.append(len(events) / ((night.stages > 0).sum() * CLIP_S / 3600))
        inside.append(np.mean([night.stages[int(event.onset // CLIP_S)] > 0 for event in events]))
    assert min(inside) >= ucddb.IN_SLEEP
    nominal = np.array([night.person["ahi"] for night in nights])
    assert np.abs(nominal - counted).max() < 4 and spearmanr(nominal, counted).statistic > 0.99


def test_a_folder_without_the_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"SubjectDetails\.xls is missing"):
        simulate(tmp_path / "cohort", CONFIG, nights=tmp_path)


def test_codes_of_rechtschaffen_and_kales_become_labels(tmp_path: Path) -> None:
    (tmp_path / "a_stage.txt").write_text("\n".join("012345678"))
    assert ucddb.stages(tmp_path / "a_stage.txt").tolist() == [0, 4, 1, 2, 3, 3, -1, -1, -1]
