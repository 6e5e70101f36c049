"""The crossed test: by hand, against published special cases, and by simulation."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from sacd.analysis import crossed
from sacd.analysis.crossed import Estimate, Verdict, decide


def of_means(pseudo):
    """`total` and `left_out` of tables `(..., K, n)` whose statistic is the mean over subjects."""
    pseudo = np.atleast_3d(np.asarray(pseudo, float).T).transpose(2, 1, 0)  # (m, K, n)
    n, total = pseudo.shape[-1], pseudo.mean(-1)
    left_out = (n * total[..., None] - pseudo) / (n - 1)
    return total.T, left_out.transpose(2, 1, 0)


def estimate(pseudo):
    return crossed.estimates(*of_means(pseudo))[0]


def test_a_table_of_two_seeds_and_three_subjects_by_hand():
    """Means of seeds 2 and 4, of subjects 1, 3 and 5; the rest is 0, 1, -1 and the reverse."""
    pseudo = np.array([[0.0, 3.0, 3.0], [2.0, 3.0, 7.0]])
    assert crossed.mean_squares(pseudo) == pytest.approx((6.0, 8.0, 2.0))
    found = estimate(pseudo)
    error = 6 + (8 - 2)
    assert found.value == 3 and found.se == pytest.approx(np.sqrt(error / 6))
    assert found.df == pytest.approx(1 * error / 6)
    reach = found.se * scipy_stats.t.ppf(0.975, found.df)
    assert found[1:3] == pytest.approx((3 - reach, 3 + reach))
    assert found.p_value == pytest.approx(2 * scipy_stats.t.sf(3 / found.se, found.df))
    assert (found.n_subjects, found.n_seeds) == (3, 2)
    assert found[-3:] == pytest.approx(((8 - 2) / 2, (6 - 2) / 3, 2.0))


def test_mean_squares_are_those_of_the_analysis_of_variance():
    pseudo = np.random.default_rng(0).normal(size=(4, 9))
    k, n = np.indices(pseudo.shape)
    table = pd.DataFrame({"y": pseudo.ravel(), "seed": k.ravel(), "subject": n.ravel()})
    anova = anova_lm(ols("y ~ C(seed) + C(subject)", table).fit())
    expected = (anova["sum_sq"] / anova["df"]).tolist()
    assert crossed.mean_squares(pseudo) == pytest.approx(tuple(expected))


def test_one_seed_is_the_paired_t_test_and_decides_nothing():
    gaps = np.random.default_rng(1).normal(1.0, 1.0, 20)
    found, test = estimate(gaps[None]), scipy_stats.ttest_1samp(gaps, 0)
    interval = test.confidence_interval()
    assert found.p_value == pytest.approx(test.pvalue, rel=1e-5)
    assert found[1:3] == pytest.approx((interval.low, interval.high))
    assert found.n_seeds == 1 and np.isnan(found.var_seed)
    assert decide(found, 1.0) is Verdict.UNDECIDED and crossed.needs(found, 1.0) == "a second seed"


def test_subjects_that_do_not_count_are_left_out():
    pseudo = np.random.default_rng(2).normal(size=(3, 10))
    total, left_out = of_means(pseudo)
    with_others = np.concatenate([left_out, np.full((5, 3, 1), total)])
    there = np.arange(15)[:, None] < 10
    assert crossed.estimates(total, with_others, there) == crossed.estimates(total, left_out)


def test_what_is_not_known_has_no_interval():
    total, left_out = of_means(np.random.default_rng(3).normal(size=(2, 5)))
    left_out[0] = np.nan
    for found in (
        crossed.estimates(total, left_out)[0],
        crossed.estimates(total, left_out[1:2])[0],
    ):
        assert found.value == pytest.approx(total.mean())
        assert np.isnan([*found[1:4], found.se]).all()
        assert decide(found, 1.0) is Verdict.UNDECIDED and crossed.needs(found, 1.0) == ""


def test_a_difference_that_is_nothing_everywhere():
    found = estimate(np.zeros((2, 8)))
    assert found[:4] == (0, 0, 0, 1) and decide(found, 1.0) is Verdict.EQUAL
    always = estimate(np.full((2, 8), 0.1) + 0.2 - 0.3)
    assert always[:4] == (0, 0, 0, 1), "rounding errors are no difference"


def test_ratios_by_a_naive_loop():
    rng = np.random.default_rng(4)
    clips = rng.integers(0, 20, (12, 2))
    clips[:3, 1] = 0
    hits = rng.binomial(clips[:, None], 0.4, (12, 3, 2))
    found = crossed.ratios(hits, clips)
    for m in range(2):
        here = clips[:, m] > 0
        c, h = clips[here, m], hits[here, :, m]
        n = len(c)
        total = h.sum(0) / c.sum()
        pseudo = np.empty((3, n))
        for s in range(n):
            rest = np.arange(n) != s
            pseudo[:, s] = n * total - (n - 1) * h[rest].sum(0) / c[rest].sum()
        seeds, subjects, both = crossed.mean_squares(pseudo)
        line = found.iloc[m]
        assert line["value"] == pytest.approx(total.mean())
        assert line["se"] == pytest.approx(
            np.sqrt((seeds + max(subjects - both, 0)) / (3 * n)), abs=1e-9
        )
        assert line["sd"] == pytest.approx(total.std(ddof=1))
        assert (line["n_subjects"], line["n_seeds"]) == (n, 3)


def test_ratios_of_nobody_and_of_one():
    one = crossed.ratios(np.ones((1, 2, 1)), np.full((1, 1), 4))
    assert one["value"][0] == 0.25 and one[["ci_low", "ci_high", "p_value"]].isna().all(axis=None)
    nobody = crossed.ratios(np.zeros((3, 1, 1)), np.zeros((3, 1)))
    assert nobody["value"].isna().all() and nobody["n_subjects"][0] == 0


def made(value, se, df=20.0, n_seeds=3, n_subjects=30, **more):
    reach = se * scipy_stats.t.ppf(0.975, df)
    p_value = 2 * scipy_stats.t.sf(abs(value) / se, df)
    bounds = value - reach, value + reach
    return Estimate(value, *bounds, p_value, n_subjects, n_seeds, se, df, **more)


@pytest.mark.parametrize(
    ("value", "se", "verdict"),
    [
        (3.0, 1.0, Verdict.BETTER),
        (-3.0, 1.0, Verdict.WORSE),
        (0.1, 0.3, Verdict.EQUAL),
        (0.1, 1.0, Verdict.UNDECIDED),
        (0.5, 0.1, Verdict.BETTER),  # within the margin, but a direction says more
    ],
)
def test_a_verdict_is_a_direction_or_equality_or_nothing(value, se, verdict):
    found = made(value, se)
    assert decide(found, 1.0) is verdict
    assert decide(found._replace(n_seeds=1), 1.0) is Verdict.UNDECIDED
    assert decide(found._replace(n_subjects=5), 1.0) is Verdict.UNDECIDED
    uncorrected = {Verdict.EQUAL, Verdict.UNDECIDED}
    assert decide(found, np.nan, p_value=0.06) in uncorrected, "Holm's p counts"
    lacking = found._replace(se=np.nan, p_value=np.nan)
    assert decide(lacking, 1.0) is Verdict.UNDECIDED


def test_equality_is_that_of_two_one_sided_tests():
    """The 90 % interval just reaches the margin where the larger p is 5 %."""
    found = made(0.3, 0.4)
    edge = 0.3 + 0.4 * scipy_stats.t.ppf(0.95, 20)
    assert crossed.within(found, edge + 1e-9) and not crossed.within(found, edge - 1e-9)
    above, below = (crossed.shifted(found, level) for level in (edge, -edge))
    assert above.p_value / 2 == pytest.approx(0.05) and below.p_value / 2 < 0.05
    assert above.value == pytest.approx(0.3 - edge)
    assert above.ci_high - above.ci_low == pytest.approx(found.ci_high - found.ci_low)


def test_margins_follow_the_unit_of_the_column():
    columns = ["accuracy", "REM", "F1 N1", "N1 as W", "net (%)", "macro_f1_calibrated"]
    assert {crossed.margin(column) for column in columns} == {1.0}
    assert crossed.margin("kappa") == crossed.margin("kappa_calibrated") == 0.02
    assert crossed.margin("auc") == 0.01 and np.isnan(crossed.margin("mean |rho|"))


def test_the_needed_design_is_the_smallest_that_is_precise_enough():
    parts = {"var_subject": 0.0025, "var_seed": 0.0002, "var_residual": 0.0036}
    found = made(0.005, 0.012, **parts)
    target = 0.02 / (1.645 + 0.842)
    designs = []
    for seeds in (3, 5, 8, 15, 30):
        for subjects in range(6, 5001):
            error = 0.0025 / subjects + 0.0002 / seeds + 0.0036 / (subjects * seeds)
            if error <= target**2:
                designs.append((subjects * seeds, seeds, subjects))
                break
    _, seeds, subjects = min(designs)
    assert crossed.needed(found, 0.02) == (subjects, seeds)
    assert crossed.needs(found, 0.02).endswith(f" subjects x {seeds} seeds")
    assert crossed.needed(found._replace(var_seed=1.0), 0.02) is None
    assert (
        crossed.needs(found._replace(var_seed=1.0), 0.02) == "more than 5,000 subjects x 30 seeds"
    )
    assert crossed.needs(found._replace(se=0.001), 0.02).startswith("more than this design")
    assert crossed.needed(found, np.nan) is None and crossed.needs(found, np.nan) == ""


def test_judged_corrects_over_its_lines_and_plans_only_what_is_undecided():
    parts = {"var_subject": 3.0, "var_seed": 0.01, "var_residual": 3.0}
    lines = [made(3.0, 1.0, **parts), made(2.2, 1.0, **parts), made(0.0, 0.3, **parts)]
    found = crossed.judged(pd.DataFrame(lines), "accuracy")
    assert found["p_holm"].tolist() == crossed.correct([x.p_value for x in lines]).tolist()
    assert lines[1].p_value < 0.05 < found["p_holm"][1]
    assert found["verdict"].tolist() == ["better", "undecided", "equal"]
    assert [bool(text) for text in found["needs"]] == [False, True, False]
    assert crossed.judged(pd.DataFrame(lines), ["kappa", "auc", "N1"])["margin"].tolist() == [
        *(0.02, 0.01, 1.0)
    ]


def test_correction():
    assert crossed.correct([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert crossed.correct([0.01, 0.04, 0.03], "fdr_bh") == pytest.approx([0.03, 0.04, 0.04])
    assert np.isnan(crossed.correct([np.nan])).all()


def simulated(subjects, seeds, difference=0.0, tables=3000):
    """Estimates of made-up differences of kappa with the components that the demo has."""
    rng = np.random.default_rng(subjects + seeds)
    pseudo = difference + 0.05 * rng.standard_normal((tables, 1, subjects))
    pseudo = pseudo + 0.014 * rng.standard_normal((tables, seeds, 1))
    pseudo += 0.06 * rng.standard_normal((tables, seeds, subjects))
    return crossed.estimates(*of_means(pseudo))


@pytest.mark.parametrize(("subjects", "seeds"), [(120, 8), (120, 3), (15, 3)])
def test_without_a_difference_5_percent_are_significant(subjects, seeds):
    found = simulated(subjects, seeds)
    assert 0.035 < np.mean([x.p_value < 0.05 for x in found]) < 0.065
    assert 0.935 < np.mean([x.ci_low <= 0 <= x.ci_high for x in found]) < 0.965


@pytest.mark.parametrize(("subjects", "seeds"), [(120, 8), (120, 3), (15, 3)])
def test_at_the_margin_no_more_than_5_percent_are_called_equal(subjects, seeds):
    found = simulated(subjects, seeds, difference=0.02)
    equal = np.mean([crossed.within(x, 0.02) for x in found])
    assert equal < 0.05 + 2 * np.sqrt(0.05 * 0.95 / len(found)), "within Monte-Carlo error"


def test_120_subjects_and_8_seeds_find_a_difference_and_equality():
    found = simulated(120, 8, difference=0.025, tables=1000)
    assert np.mean([decide(x, 0.02) is Verdict.BETTER for x in found]) > 0.7
    same = simulated(120, 8, tables=1000)
    assert np.mean([crossed.within(x, 0.02) for x in same]) > 0.7


def test_the_components_are_recovered():
    found = pd.DataFrame(simulated(120, 8, tables=500))
    means = found[["var_subject", "var_seed", "var_residual"]].mean()
    assert means.tolist() == pytest.approx([0.05**2, 0.014**2, 0.06**2], rel=0.05)
