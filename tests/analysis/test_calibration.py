"""Reliability curves and the expected calibration error."""

import numpy as np
import pandas as pd
import pytest

from sacd.analysis.calibration import calibration_error, pooled, reliability
from sacd.stages import STAGES


def predictions(top, right):
    """Clips with a highest probability, always of W, and whether that is right."""
    top = np.asarray(top, float)
    p = np.repeat((1 - top)[:, None] / 4, 5, 1)
    p[:, 0] = top
    table = pd.DataFrame(p, columns=[f"p_{stage}" for stage in STAGES])
    return table.assign(stage=np.where(right, 0, 1), prediction=0)


def test_bins_hold_mean_probability_and_accuracy():
    curve = reliability(predictions([0.52, 0.58, 0.91, 1.0], [True, False, True, True]))
    assert list(curve.index) == [5, 9] and list(curve["clips"]) == [2, 2]
    assert list(curve["confidence"]) == pytest.approx([0.55, 0.955])
    assert list(curve["accuracy"]) == [0.5, 1.0]
    assert calibration_error(curve) == pytest.approx((0.05 + 0.045) / 2)


def test_who_is_as_often_right_as_sure_has_a_small_error_and_the_rest_a_large_one():
    rng = np.random.default_rng(0)
    top = rng.uniform(0.3, 1, 20_000)
    chance = rng.random(20_000)
    calibrated = calibration_error(reliability(predictions(top, chance < top)))
    too_sure = calibration_error(reliability(predictions(top, chance < top - 0.2)))
    assert calibrated < 0.02 and too_sure == pytest.approx(0.2, abs=0.02)


def test_seeds_pooled_are_the_seeds_one_after_the_other():
    tables = [predictions([0.55, 0.95, 0.4], [1, 0, 1]), predictions([0.51, 0.33], [0, 0])]
    together = reliability(pd.concat(tables, ignore_index=True))
    pd.testing.assert_frame_equal(pooled([reliability(t) for t in tables]), together)
