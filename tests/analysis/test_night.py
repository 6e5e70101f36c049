import numpy as np
import pandas as pd
import pytest

from sacd.analysis import night, night_sleep
from sacd.metrics import confusion, scores
from sacd.stages import STAGES


def made_up(seed=0, right=0.8, nights=8, clips=120, rung="one clip"):
    rng = np.random.default_rng(seed)
    stage = np.tile(np.repeat(rng.integers(0, 5, clips // 10), 10), nights)
    guess = np.where(rng.random(len(stage)) < right, stage, rng.integers(0, 5, len(stage)))
    p = 0.1 + 0.5 * np.eye(5)[guess]
    return pd.DataFrame(
        {
            "subject": np.repeat([f"sub-{k}" for k in range(nights)], clips),
            "onset_s": np.tile(30.0 * np.arange(clips), nights),
            "stage": stage,
            "prediction": guess,
            "rung": rung,
        }
    ).assign(**{f"p_{name}": p[:, k] for k, name in enumerate(STAGES)})


def all_rungs(right, seed=0):
    """The same clips at two rungs of which the upper one is better."""
    low = made_up(0, right, rung="one clip")
    high = made_up(0, right, rung=night.TOP)
    rng = np.random.default_rng(seed)
    better = np.where(rng.random(len(high)) < 0.7, high["stage"], high["prediction"])
    return pd.concat([low, high.assign(prediction=better)], ignore_index=True)


@pytest.fixture(scope="module")
def tests():
    runs = {"alone": [all_rungs(0.5, 1)], "KD": [all_rungs(0.6, 2)]}
    bound = all_rungs(0.9, 3).replace({"rung": {night.TOP: "whole night"}})
    return night.by_rung({**runs, "bound": [bound]})


def test_four_stages_are_those_without_n1():
    table = made_up(3)
    merged = [table[name].replace({1: 2}) for name in ("stage", "prediction")]
    expected = scores(confusion(*merged))
    kappa, macro_f1, accuracy = night.four_stages(confusion(table["stage"], table["prediction"]))
    assert kappa == pytest.approx(expected[2]) and accuracy == pytest.approx(expected[0])
    present = [expected[1] * 5 / 4]  # N1 neither occurs nor is predicted
    assert macro_f1 == pytest.approx(present[0])


def test_rows_are_students_by_rungs_in_the_order_of_the_ladder(tests):
    assert list(tests) == [
        *(f"{who}: {rung}" for who in ("alone", "KD") for rung in ("one clip", night.TOP)),
        "bound: one clip",
        "bound: whole night",
    ]


def test_shares_are_of_the_bound_at_the_same_rung(tests):
    table = night.ladder(tests, "made up")
    assert {*night.COLUMNS, *night.FOUR} == set(table["column"])
    row = f"KD: {night.TOP}"
    expected = night.level(table, row) / night.level(table, "bound: whole night")
    assert night.shares(table)[row] == pytest.approx(expected)
    assert not any(name.startswith("bound") for name in night.shares(table).index)


def test_a_missed_aim_is_said(tests):
    table = night.ladder(tests, "made up")
    low = table.assign(value=table["value"].where(table["row"].str.startswith("bound"), 0.1))
    assert "missed" in night.aims(low, f"KD: {night.TOP}")
    high = table.assign(value=np.where(table["row"].str.startswith("bound"), 0.8, 0.7))
    said = night.aims(high, f"KD: {night.TOP}")
    assert "missed" not in said and "kappa 0.70" in said


def test_validation_sleepers_choose_the_row_that_is_named():
    def held(kappa):
        return pd.DataFrame({"rung": ["one clip", night.TOP], "kappa": [0.9, kappa]})

    seeds = {"alone": [held(0.5), held(0.5)], "KD": [held(0.7), held(0.4)]}
    pixels = {"pixels": [pd.DataFrame({"rung": ["whole night"], "kappa": [0.99]})]}
    assert night.best(seeds | pixels) == f"KD: {night.TOP}"


def test_the_typical_night_is_the_one_in_the_middle():
    nights = night.sleepers([made_up(0), made_up(1).assign(stage=made_up(0)["stage"])])
    ordered = nights["kappa"].sort_values(ascending=False)
    assert night.typical(nights) == ordered.index[3]  # of eight, the better of the two
    assert sorted(nights["rank"]) == list(range(1, 9)) and (nights["clips"] == 120).all()


def test_sleep_statistics_are_those_of_yasa():
    yasa = pytest.importorskip("yasa")
    rng = np.random.default_rng(4)
    stage = np.r_[np.zeros(20, int), np.repeat(rng.integers(0, 5, 60), 12), np.zeros(9, int)]
    names = ["WAKE", "N1", "N2", "N3", "REM"]
    theirs = yasa.Hypnogram([names[k] for k in stage], freq="30s").sleep_statistics()
    ours = night_sleep.sleep_statistics(stage)
    for name in ("TST", "SE", "SOL", "WASO"):
        assert ours[name] == pytest.approx(theirs[name], abs=0.01), name
    assert ours["REM latency"] == pytest.approx(theirs["Lat_REM"] - theirs["SOL"])
    for name in STAGES[1:]:
        assert ours[f"{name} share"] == pytest.approx(theirs[f"%{name}"], abs=0.01)


def test_a_night_without_sleep_or_rem_has_none():
    awake = night_sleep.sleep_statistics([0, 0, 0])
    assert awake["TST"] == 0 and awake["SE"] == 0 and np.isnan(awake["SOL"])
    assert np.isnan(night_sleep.sleep_statistics([0, 2, 3])["REM latency"])


def test_icc_is_that_of_shrout_and_fleiss():
    """Their example of six targets and four judges, here judges 1 and 4: computed by hand."""
    first, fourth = [9, 6, 8, 7, 10, 6], [8, 2, 6, 6, 9, 7]  # fmt: skip
    pairs = np.stack([first, fourth], 1).astype(float)
    n, k, mean = 6, 2, pairs.mean()
    msr = k * ((pairs.mean(1) - mean) ** 2).sum() / 5
    msc = n * ((pairs.mean(0) - mean) ** 2).sum()
    mse = (((pairs - mean) ** 2).sum() - 5 * msr - msc) / 5
    assert night_sleep.icc(first, fourth) == pytest.approx(
        (msr - mse) / (msr + mse + 2 * (msc - mse) / n)
    )
    x = np.arange(10.0)
    assert night_sleep.icc(x, x) == pytest.approx(1)
    assert night_sleep.icc(x, x + 5) < 0.8  # agreement, not correlation
    assert np.isnan(night_sleep.icc([1, 2], [1, 2]))


def test_agreement_is_bias_and_limits():
    true = np.array([1.0, 2, 3, 4, np.nan])
    found = night_sleep.agreement(true, true + np.array([1, 2, 1, 2, 0]))
    assert found["bias"] == 1.5 and found["n"] == 4
    spread = np.std([1, 2, 1, 2], ddof=1)
    assert found["loa_high"] == pytest.approx(1.5 + 1.96 * spread)
    assert found["ci_low"] < 1.5 < found["ci_high"]


def test_pauses_of_breathing_tell_the_ahi():
    rng = np.random.default_rng(0)

    def clips(ahi):
        parts = []
        for subject, events in ahi.items():
            calm = rng.random(80) > events / 60
            parts.append(
                pd.DataFrame(
                    {
                        "subject": subject,
                        "pause": np.where(calm, 0.6, 0.1) + 0.05 * rng.standard_normal(80),
                        "regularity": np.where(calm, 0.8, 0.4),
                        "rate": 15 + rng.standard_normal(80),
                        "movement": 1 + rng.random(80),
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)

    known, new = ({f"{name}{k}": rng.uniform(0, 50) for k in range(40)} for name in "ab")
    guess = night_sleep.estimated_ahi(clips(known), known, clips(new))
    assert guess.corr(pd.Series(new), method="spearman") > 0.8
    assert (guess >= 0).all() and set(guess.index) == set(new)
