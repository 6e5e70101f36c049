from pathlib import Path

import pytest
from simulated_files import CONFIG

from sacd.simulate.cohort import _jobs, night_of, simulate
from sacd.simulate.hypnogram import state
from sacd.simulate.physiology import movements
from sacd.simulate.settings import SimulateConfig, stream


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of six subjects."""
    return simulate(tmp_path_factory.mktemp("simulate") / "cohort", CONFIG)


@pytest.fixture(scope="session")
def subjects() -> list[tuple]:
    """Complete nights of 40 subjects without files: (night, movements)."""
    config = SimulateConfig(n_subjects=40)
    found = []
    for job in _jobs(config, None):
        night = night_of(config, job)
        body = state(night.stages, stream(config, job[0], "state"))
        found.append((night, movements(night, body, stream(config, job[0], "movement"))))
    return found
