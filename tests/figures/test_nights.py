import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from sacd.figures import nights
from sacd.stages import CLIP_S, COLOURS, STAGES

RNG = np.random.default_rng(0)
N = 60
LABELS = RNG.integers(0, 5, N)
GUESS = np.where(RNG.random(N) < 0.6, LABELS, RNG.integers(0, 5, N))
PROBABILITY = RNG.dirichlet(np.ones(5), N)
EEG = RNG.standard_normal((N, 3000))


def night():
    return nights.night(CLIP_S * np.r_[5:35, 50:80], LABELS, GUESS, PROBABILITY)


def cohort():
    people = pd.DataFrame({"sex": list("MMF"), "ahi": [1.0, 15, 40]})
    return nights.cohort(people, LABELS)


DRAW = {
    "night": night,
    "cohort": cohort,
    "spectra": lambda: nights.spectra(EEG, LABELS, 100),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAW)
def test_every_figure_draws_names_its_data_and_saves_equal_bytes(name, check_figure):
    check_figure(DRAW[name])


def test_no_line_crosses_a_gap_and_its_band_says_how_long_it_is():
    above, below = night().axes
    widest = 0.04 * N  # the gap of 15 clips is cut short
    ends = [(line.get_xdata().min(), line.get_xdata().max()) for line in above.lines]
    assert ends == [(0, 30), (30 + widest, 60 + widest)]
    (band,) = above.patches
    assert (band.get_x(), band.get_width()) == pytest.approx((30, widest))
    assert above.texts[0].get_text() == "8 min not recorded"
    drawn = [path for stack in below.collections for path in stack.get_paths()]
    spans = {tuple(np.round(path.get_extents().intervalx, 3)) for path in drawn}
    assert spans == {(0, 30), (30 + widest, 60 + widest)}


def test_short_gaps_keep_their_length_and_ticks_stand_at_their_time():
    start = CLIP_S * np.r_[0:100, 102:200]
    stage = np.zeros(len(start), int)
    above, below = nights.night(start, stage, stage, np.eye(5)[stage]).axes
    (band,) = above.patches
    assert band.get_width() == 2 and not above.texts
    ticks = dict(
        zip([t.get_text() for t in below.get_xticklabels()], below.get_xticks(), strict=True)
    )
    assert ticks["0:30"] == 60 and ticks["1:00"] == 120 and len(ticks) <= 12


def test_stages_have_one_order_in_axis_stack_and_legend():
    above, below = night().axes
    order = ["W", "REM", "N1", "N2", "N3"]
    assert [t.get_text() for t in above.get_yticklabels()][::-1] == order
    assert [t.get_text() for t in below.get_legend().get_texts()] == order
    tops = {s.get_label(): s.get_paths()[0].get_extents().y1 for s in below.collections}
    assert sorted(order, key=lambda name: -tops[name]) == order
    predicted = {to_hex(c.get_colors()[0]).upper() for c in above.collections}
    assert predicted == set(COLOURS.values())


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
