"""Figures of `45_night`."""

import pandas as pd

from sacd.analysis.night import ALONE, BOUND, RUNGS
from sacd.figures import night_ladder

APART = ("Markov model", "Viterbi", "forward filter")


def table():
    lines = []
    for who in (ALONE, BOUND):
        for number, rung in enumerate(RUNGS):
            value = 0.05 * (number + 1)
            bounds = {"ci_low": value - 0.02, "ci_high": value + 0.02}
            lines.append({"row": f"{who}: {rung}", "column": "kappa", "value": value} | bounds)
    return pd.DataFrame(lines)


def test_hidden_markov_models_stand_beside_the_ladder_and_no_line_joins_them():
    value = {rung: 0.05 * (number + 1) for number, rung in enumerate(RUNGS)}
    for axes in night_ladder.ladder(table()).axes:
        names = [tick.get_text().replace("\n", " ") for tick in axes.get_xticklabels()]
        apart = [name for name in APART if name in names]
        assert apart and names[-len(apart) :] == apart
        lines = [bars.lines[0] for bars in axes.containers]
        joined = [y for line in lines if line.get_linestyle() != "None" for y in line.get_ydata()]
        alone = [y for line in lines if line.get_linestyle() == "None" for y in line.get_ydata()]
        assert not {value[name] for name in apart} & set(joined)
        assert {value[name] for name in apart} == set(alone)
