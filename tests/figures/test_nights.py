import numpy as np
import pandas as pd
import pytest

from sacd.figures import nights
from sacd.stages import COLOURS, STAGES

RNG = np.random.default_rng(0)
N = 60
LABELS = RNG.integers(0, 5, N)
GUESS = np.where(RNG.random(N) < 0.6, LABELS, RNG.integers(0, 5, N))
PROBABILITY = RNG.dirichlet(np.ones(5), N)
EEG = RNG.standard_normal((N, 3000))


def night():
    return nights.night(np.r_[5:35, 50:80], LABELS, GUESS, PROBABILITY)


def cohort():
    people = pd.DataFrame({"sex": list("MMF"), "ahi": [1.0, 15, 40]})
    return nights.cohort(people, LABELS)


DRAW = {
    "night": night,
    "cohort": cohort,
    "spectra": lambda: nights.spectra(EEG, LABELS, 100),
    "montage": lambda: nights.montage(EEG[:2], 100, np.zeros((2, 4, 12, 16), "uint8"), ["p", "q"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAW)
def test_every_figure_draws_names_its_data_and_saves_equal_bytes(name, check_figure):
    check_figure(DRAW[name])


def test_night_leaves_gaps_empty_and_uses_the_stage_colours():
    axes = night().axes[0]
    (line,) = axes.lines
    x, y = line.get_data()
    assert np.isnan(y[(x > 36 / 120) & (x < 49 / 120)]).all() and np.nanmax(y) <= 4
    assert len(axes.collections) == len(COLOURS)


def test_cohort_shows_shares_of_subjects_and_clips():
    sex, ahi, stages = cohort().axes
    assert [bar.get_height() for bar in sex.patches] == pytest.approx([200 / 3, 100 / 3])
    assert [bar.get_height() for bar in ahi.patches] == pytest.approx(
        [100 / 3, 0, 100 / 3, 100 / 3]
    )
    shares = 100 * np.bincount(LABELS, minlength=5) / N
    assert [bar.get_height() for bar in stages.patches] == pytest.approx(shares)


def test_spectra_peak_where_the_signal_is():
    t = np.arange(3000) / 100
    eeg = 20 * np.sin(2 * np.pi * 10 * t) + EEG[:6]
    axes = nights.spectra(eeg, [2] * 6, 100).axes[0]
    line = next(line for line in axes.lines if line.get_label().startswith("N2"))
    assert line.get_xdata()[np.argmax(line.get_ydata())] == pytest.approx(10)
    assert sum(line.get_label().startswith(STAGES) for line in axes.lines) == 1
