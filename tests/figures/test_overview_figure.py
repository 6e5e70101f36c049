"""The summary figure shows every rung and every count."""

import numpy as np
import pandas as pd

from sacd.figures import overview

LADDER = pd.DataFrame(
    {
        "value": [0.0, 0.26, 0.67],
        "ci_low": [np.nan, 0.2, 0.6],
        "ci_high": [np.nan, 0.3, 0.7],
        "paper": [np.nan, 0.47, np.nan],
    },
    index=["majority", "video alone", "EEG teacher"],
)
VERDICTS = pd.DataFrame(
    [[3, 0, 4, 0, 0], [0, 2, 0, 7, 1]],
    index=["Table II", "Fig. 6"],
    columns=list(overview.COLOURS),
)


def test_every_number_is_written_and_printed_ones_are_diamonds(check_figure):
    check_figure(lambda: overview.overview(LADDER, VERDICTS))
    left, right = overview.overview(LADDER, VERDICTS).axes
    assert [text.get_text() for text in left.texts] == ["0.00", "0.26", "0.47", "0.67"]
    assert [text.get_text() for text in right.texts] == ["3", "2", "4", "7", "1"]
    assert right.get_title(loc="left").startswith("17 claims")
    widths = [[bar.get_width() for bar in bars] for bars in right.containers]
    assert np.transpose(widths).tolist() == VERDICTS.to_numpy().tolist()


def test_without_printed_numbers_there_is_no_diamond():
    left, _ = overview.overview(LADDER.assign(paper=np.nan), VERDICTS).axes
    assert [text.get_text() for text in left.get_legend().texts] == ["here, with 95 % interval"]
