"""The bounds against linear programming, global optimisation and random search."""

import numpy as np
import pytest
from scipy.optimize import differential_evolution, linprog

from sacd.metrics import scores
from sacd.paper import audit, bounds
from sacd.paper import printed as paper
from sacd.stages import STAGES

CLIPS = np.array([55878, 5909, 40522, 20237, 12290])
SACD = (0.644, np.array([0.756, 0.510, 0.602, 0.593, 0.678]))
STUDENT = (0.525, np.array([0.647, 0.413, 0.484, 0.478, 0.573]))


@pytest.fixture(scope="module")
def kappas():
    return audit.kappa_bounds()


def test_prior_is_that_of_fig_2():
    assert bounds.stage_prior() == pytest.approx(CLIPS / 134836)


def by_linear_programme(accuracy, recall, prior):
    """Smallest chance agreement over all 5x5 tables of joint shares with these recalls."""
    k = 5
    cost = np.tile(prior, (k, 1)).ravel()  # a clip predicted c adds prior_c
    rows = [(np.arange(k * k) // k == c).astype(float) for c in range(k)]
    hits = [(np.arange(k * k) == c * k + c).astype(float) for c in range(k)]
    chance = linprog(cost, A_eq=rows + hits, b_eq=np.r_[prior, prior * recall]).fun
    return (accuracy - chance) / (1 - chance)


@pytest.mark.parametrize("seed", range(8))
def test_largest_kappa_solves_the_linear_programme(seed):
    rng = np.random.default_rng(seed)
    prior, recall = rng.dirichlet(np.ones(5)), rng.uniform(0.1, 0.95, 5)
    assert bounds.largest_kappa(0.6, recall, prior) == pytest.approx(
        by_linear_programme(0.6, recall, prior), abs=1e-9
    )


@pytest.mark.parametrize("seed", range(4))
def test_no_confusion_matrix_beats_the_bound(seed):
    rng = np.random.default_rng(seed)
    matrices = rng.dirichlet(np.full(25, 0.3), 500).reshape(-1, 5, 5)
    for matrix, kappa in zip(matrices, scores(matrices)[:, 2], strict=True):
        prior = matrix.sum(1)
        recall = np.diagonal(matrix) / prior
        assert kappa <= bounds.largest_kappa(np.trace(matrix), recall, prior) + 1e-9


def test_rounding_widens_the_bound_and_is_exact():
    accuracy, recall = SACD
    prior = bounds.stage_prior()
    corners = np.stack(np.meshgrid(*[[-0.0005, 0.0005]] * 5), -1).reshape(-1, 5)
    best = max(
        bounds.largest_kappa(accuracy + 0.0005, recall + corner, prior) for corner in corners
    )
    assert bounds.largest_kappa(accuracy, recall, prior, 0.0005) == pytest.approx(best)


def test_22_of_23_kappas_exceed_the_bound_at_the_papers_prior(kappas):
    table = paper.table("table2")
    above = []
    for row, line in table.iterrows():
        rates = line[list(STAGES)].to_numpy() / 100
        above.append(
            line["kappa"] - 0.005
            > by_linear_programme(line["accuracy"] / 100, rates, CLIPS / CLIPS.sum())
        )
        assert kappas.at[row, "at_prior"] == pytest.approx(
            by_linear_programme(line["accuracy"] / 100, rates, CLIPS / CLIPS.sum()), abs=0.001
        )
    assert len(table) == 23 and sum(above) == 22
    assert list(table.index[~np.array(above)]) == ["-/R3D-18"]
    assert kappas.at["AttnSleep/SACD", "at_prior"] == pytest.approx(0.544, abs=0.001)


@pytest.mark.parametrize(("row", "case"), [("AttnSleep/SACD", SACD), ("-/R(2+1)D-18", STUDENT)])
def test_bound_at_any_prior_against_a_global_optimiser(kappas, row, case):
    accuracy, recall = case

    def loss(x):
        prior = x / x.sum()
        miss = max(0, abs(prior @ recall - accuracy) - 0.0005)
        return -bounds.largest_kappa(prior @ recall, recall, prior) + 100 * miss

    best = -differential_evolution(
        loss, [(1e-6, 1)] * 5, rng=0, maxiter=300, popsize=12, tol=1e-9
    ).fun
    assert best <= kappas.at[row, "any_prior"] + 1e-6
    assert best == pytest.approx(
        kappas.at[row, "any_prior"], abs=0.004
    )  # the recalls' rounding is not searched here


def test_largest_macro_f1_by_search():
    recall, prior, rng = SACD[1], bounds.stage_prior(), np.random.default_rng(0)
    best = 0
    for _ in range(3000):
        matrix = np.zeros((5, 5))
        for c in range(5):
            others = rng.dirichlet(np.full(4, 0.05)) * (1 - recall[c])
            matrix[c] = prior[c] * np.insert(others, c, recall[c])
        best = max(best, scores(matrix)[1] / 100)
    bound = bounds.largest_macro_f1(recall, prior)
    assert best <= bound + 1e-9 and best > bound - 0.01


def test_common_prior_finds_the_prior_that_made_the_rows():
    rng = np.random.default_rng(0)
    recall, prior = rng.uniform(0.3, 0.9, (12, 5)), rng.dirichlet(np.ones(5))
    found, miss = bounds.common_prior(recall @ prior, recall)
    assert found == pytest.approx(prior, abs=1e-6) and miss == pytest.approx(0, abs=1e-8)
    _, miss = bounds.common_prior(recall @ prior + np.r_[0.01, np.zeros(11)], recall)
    assert 0 < miss <= 0.01
