"""One weight for every method: the best of the grid, the weight in use, and the words."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from sacd.analysis import tables, tuning
from sacd.analysis.auc import PROBABILITIES
from sacd.stages import STAGES

WEIGHTS = [0.1, 1.0, 10.0]


def predictions(skill, subjects=8, clips=20):
    """Probabilities that know the stage the better, the larger `skill` is."""
    stage = np.tile(np.arange(clips) % len(STAGES), subjects)
    p = np.random.default_rng(0).dirichlet(np.ones(len(STAGES)), len(stage))
    p[np.arange(len(stage)), stage] += skill
    p /= p.sum(1, keepdims=True)
    names = np.repeat([f"s{k}" for k in range(subjects)], clips)
    table = pd.DataFrame(p, columns=PROBABILITIES)
    return [table.assign(subject=names, stage=stage, prediction=p.argmax(1))]


def made(used, skills=None):
    """KD is best at 0.1, SACD at 1; CCL is the same everywhere."""
    skills = skills or {"KD": (0.3, 0.2, 0.0), "SACD": (0.1, 0.3, 0.2), "CCL": (0.1, 0.1, 0.1)}
    grid = {}
    for method, each in skills.items():
        grid[method] = dict(zip(WEIGHTS, map(predictions, each), strict=True))
    return tuning.table(predictions(0.05), grid, dict(zip(grid, used, strict=True)), "made up")


def test_the_table_has_the_auc_at_every_weight_and_the_weights():
    table = made((1.0, 1.0, 1.0))
    assert list(table.columns) == tables.COLUMNS and set(table["item"]) == {"tuning"}
    cell = table.set_index(["row", "column"])
    (known,) = predictions(0.3)
    auc = roc_auc_score(known["stage"], known[PROBABILITIES], multi_class="ovr")
    line = cell.loc[("KD", "validation AUC at weight 0.1")]
    assert line["value"] == pytest.approx(auc) and line["n_subjects"] == 8
    assert line["ci_low"] < line["value"] < line["ci_high"]
    assert ("student alone", "validation AUC") in cell.index
    assert cell.loc[("KD", tuning.BEST), "value"] == 0.1
    assert cell.loc[("CCL", tuning.BEST), "value"] == 1, "a tie goes to the authors' own"
    assert tables.wide(table).loc["SACD", (tuning.USED, "ours")] == "1"


def test_best_weight_at_a_tie_is_the_nearest_to_one():
    assert tuning.best_weight({0.01: 0.8, 10.0: 0.8, 1.0: 0.7}) == 10
    assert tuning.best_weight({0.1: 0.6, 1.0: 0.7, 10.0: 0.7}) == 1


def test_the_words_name_the_methods_whose_weight_is_not_the_best():
    table = made((0.1, 1.0, 1.0))
    assert tuning.in_short(table, WEIGHTS) == (
        "**for 3 of 3 methods the weight in use is the best of the grid** (0.1, 1, 10)."
    )
    table = made((1.0, 1.0, 1.0))
    aucs = tuning.curve(table, "KD", WEIGHTS)
    said = tuning.in_short(table, WEIGHTS)
    assert said.startswith("**for 2 of 3 methods")
    assert f"KD uses 1 (AUC {aucs[1.0] - aucs[0.1]:+.4f}), best is 0.1" in said
    assert aucs[1.0] < aucs[0.1] and "SACD uses" not in said


def test_a_weight_outside_the_grid_is_named_as_such():
    said = tuning.in_short(made((0.1, 3.0, 1.0)), WEIGHTS)
    assert said.startswith("**for 2 of 3") and "SACD uses 3 (not in the grid), best is 1" in said
