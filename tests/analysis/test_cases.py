import numpy as np
import pandas as pd
import pytest

from sacd.analysis import cases, crossed, stats
from sacd.stages import STAGES


def predictions(seed, subjects=6, right=0.6, stage_seed=0):
    """Nights of three blocks of 12 clips with persistent stages, and predictions for them."""
    stages = np.random.default_rng(stage_seed)
    rng = np.random.default_rng(seed)
    rows = []
    for s in range(subjects):
        for block in range(3):
            stage = stages.integers(5)
            for k in range(12):
                stage = stages.integers(5) if stages.random() < 0.2 else stage
                rows.append(
                    {
                        "subject": f"s{s}",
                        "block": 3 * s + block,
                        "clip": 40 * block + k,
                        "stage": int(stage),
                    }
                )
    table = pd.DataFrame(rows)
    p = rng.dirichlet(np.ones(5), len(table))
    keep = rng.random(len(table)) < right
    p[keep] = 0.05 + 0.75 * np.eye(5)[table["stage"][keep]]
    return table.assign(
        prediction=p.argmax(1), **{f"p_{name}": p[:, k] for k, name in enumerate(STAGES)}
    )


def naive_distances(table, far):
    """Look outwards clip by clip; unknown as soon as a neighbour is missing."""
    by_place = {(r.subject, r.block, r.clip): r.stage for r in table.itertuples()}
    return [
        naive_distance(by_place, *place, far)
        for place in zip(table.subject, table.block, table["clip"], strict=True)
    ]


def naive_distance(by_place, subject, block, clip, far):
    for d in range(1, far):
        sides = []
        for sign in (-1, 1):
            inner = by_place.get((subject, block, clip + sign * (d - 1)))
            outer = by_place.get((subject, block, clip + sign * d))
            sides.append(None if inner is None or outer is None else inner != outer)
        if any(sides):
            return d
        if None in sides:
            return np.nan
    return far


@pytest.mark.parametrize("far", [2, 5])
def test_distance_to_change_by_a_naive_loop(far):
    table = predictions(0).drop(index=[5, 40, 41, 100]).sample(frac=1, random_state=1)
    found = cases.distance_to_change(table, far)
    expected = naive_distances(table, far)
    # A change may be at distance `far` itself: the loop stops before and says `far` as well.
    np.testing.assert_array_equal(found, expected)
    assert np.isnan(found).any() and (found == far).any() and (found == 1).any()


def test_error_by_distance_by_a_naive_count():
    tables = [predictions(1), predictions(2)]
    found = cases.error_by_distance({"a": tables}, far=3).set_index("distance")
    for d in (1, 2, 3):
        rates = []
        for table in tables:
            errors = clips = 0
            for k, distance in enumerate(naive_distances(table, 3)):
                if distance == d:
                    clips += 1
                    errors += table["stage"].iloc[k] != table["prediction"].iloc[k]
            rates.append(100 * errors / clips)
        assert (
            found.loc[d, "value"] == pytest.approx(np.mean(rates))
            and found.loc[d, "clips"] == clips
        )
        assert found.loc[d, "sd"] == pytest.approx(np.std(rates, ddof=1))
        assert found.loc[d, "ci_low"] <= found.loc[d, "value"] <= found.loc[d, "ci_high"]
    gap = cases.beside_minus_far(tables, far=3)
    assert gap.loc["all clips", "value"] == pytest.approx(
        found.loc[1, "value"] - found.loc[3, "value"]
    )
    same, weights = [], []
    for s in range(5):
        here = []
        for t in tables:
            for line, d in zip(t.itertuples(), naive_distances(t, 3), strict=True):
                if line.stage == s:
                    here.append((d, line.stage != line.prediction))
        rates = {d: [wrong for at, wrong in here if at == d] for d in (1, 3)}
        if rates[1] and rates[3]:
            same.append(100 * (np.mean(rates[1]) - np.mean(rates[3])))
            weights.append(len(rates[1]) + len(rates[3]))
    assert gap.loc["same stages", "value"] == pytest.approx(np.average(same, weights=weights))
    assert (gap["ci_low"] <= gap["value"]).all() and (gap["value"] <= gap["ci_high"]).all()
    rest = [[t[t["subject"] != s] for t in tables] for s in sorted(tables[0]["subject"].unique())]
    for of in gap.index:
        total = np.array([cases.beside_minus_far([t], far=3).loc[of, "value"] for t in tables])
        left = [[cases.beside_minus_far([t], far=3).loc[of, "value"] for t in r] for r in rest]
        expected = crossed.estimates(total[:, None], np.array(left)[..., None])[0]
        assert gap.loc[of, ["value", "ci_low", "ci_high"]].tolist() == pytest.approx(expected[:3])


def test_planted_errors_at_stage_transitions_are_found():
    table = predictions(3, subjects=12, right=1.0)
    beside = cases.distance_to_change(table) == 1
    table.loc[beside, "prediction"] = (table["stage"][beside] + 1) % 5
    gap = cases.beside_minus_far([table])
    assert (gap["value"] == 100).all() and (gap["ci_low"] > 99).all() and gap["sd"].isna().all()


def test_a_hard_stage_beside_changes_is_no_error_of_the_place():
    """N1 lasts one clip and is always misclassified; W and N2 last long and never are."""
    night = np.tile([0] * 12 + [1] + [2] * 12, 8)
    table = pd.DataFrame({"subject": np.repeat(list("abcdefgh"), 25), "block": 0, "stage": night})
    table = table.assign(clip=np.tile(np.arange(25), 8), prediction=np.where(night == 1, 0, night))
    gap = cases.beside_minus_far([table, table])
    assert gap.loc["all clips", "value"] > 30 and gap.loc["all clips", "ci_low"] > 0
    assert gap.loc["same stages", ["value", "ci_low", "ci_high"]].to_list() == [0, 0, 0]
    assert cases.beside_minus_far([table[table["subject"] == "a"]])["ci_low"].isna().all(), (
        "one subject"
    )
    still = cases.beside_minus_far([table.assign(stage=2)])
    assert still[["value", "ci_low"]].isna().all(axis=None), "nothing ever changes"


def test_confusion_shares_and_differences_by_hand():
    a, b = predictions(4), predictions(5)
    shares = cases.confusion_shares([a]).set_index(["stage", "prediction"])
    both = cases.confusion_shares([a], [b]).set_index(["stage", "prediction"])
    for i, true in enumerate(STAGES):
        for j, guess in enumerate(STAGES):
            rate = [100 * np.mean(t["prediction"][t["stage"] == i] == j) for t in (a, b)]
            assert shares.loc[(true, guess), "value"] == pytest.approx(rate[0])
            assert both.loc[(true, guess), "value"] == pytest.approx(rate[0] - rate[1])
    same = cases.confusion_shares([a], [a])
    assert (same["value"] == 0).all() and (same["p_value"] == 1).all()
    c, d = predictions(9), predictions(10)
    gap = cases.confusion_shares([a, c], [b, d, a]).set_index(["stage", "prediction"])
    assert (gap["n_seeds"] == 2).all(), "only matched seeds are compared"
    each = [cases.confusion_shares([x], [y])["value"] for x, y in ((a, b), (c, d))]
    assert gap["value"].tolist() == pytest.approx(np.mean(each, axis=0).tolist())


def test_a_stage_that_never_occurs_is_nan_and_has_no_main_error():
    table = predictions(6)
    table = table[table["stage"] != 3]
    shares = cases.confusion_shares([table])
    assert shares[shares["stage"] == "N3"]["value"].isna().all()
    errors = cases.main_errors(shares)
    assert list(errors.index) == list(STAGES) and pd.isna(errors.loc["N3", "prediction"])
    worst = (
        shares[(shares["stage"] == "W") & (shares["prediction"] != "W")]
        .sort_values("value")
        .iloc[-1]
    )
    assert errors.loc["W", "value"] == worst["value"]


def test_corrected_and_introduced_by_hand():
    before, after = predictions(7, right=0.4), predictions(8, right=0.8)
    table = cases.corrected([before], [after]).set_index(["stage", "column"])
    was, now = ((t["stage"] == t["prediction"]).to_numpy() for t in (before, after))
    assert table.loc[("all", "corrected"), "value"] == pytest.approx(100 * np.mean(~was & now))
    assert table.loc[("all", "introduced"), "value"] == pytest.approx(100 * np.mean(was & ~now))
    net = table.loc[("all", "net")]
    assert net["value"] == pytest.approx(100 * (now.mean() - was.mean())) and net["ci_low"] > 0
    difference = stats.paired_difference(after, before, "accuracy")
    assert net[["ci_low", "ci_high", "p_value"]].tolist() == pytest.approx(difference[1:4])
    assert table.loc[("all", "corrected"), "p_value"] != net["p_value"]


def test_examples_are_right_after_and_wrong_before():
    before, after = predictions(9, right=0.4), predictions(10, right=0.8)
    found = cases.examples(before, after)
    assert (found["prediction"] == found["stage"]).all() and (
        found["before"] != found["stage"]
    ).all()
    assert found["stage"].is_unique and found["stage"].is_monotonic_increasing
    assert cases.examples(after, after).empty


def test_a_stage_transition_has_its_neighbours():
    before, after = predictions(11, right=0.2), predictions(12, right=0.2)
    three = cases.stage_transition(before, after)
    assert (
        len(three) == 3 and three["block"].nunique() == 1 and three["clip"].diff()[1:].eq(1).all()
    )
    assert three["stage"].nunique() > 1
    middle = three.iloc[1]
    assert middle["stage"] not in (middle["prediction"], middle["before"])
    perfect = predictions(13, right=1.0)
    assert cases.stage_transition(perfect, perfect).empty


def test_movement_of_still_and_moving_clips():
    clip = np.zeros((2, 4, 3, 3), "uint8")
    clip[1, 1::2] = 200
    assert cases.movement(clip).tolist() == [0, 200]


def test_of_clips_leaves_out_missing_values():
    subject = np.repeat(list("abc"), 4)
    values = np.arange(12.0)
    values[:4] = np.nan
    line = stats.of_clips([values, values + 1], subject)
    assert (
        line["value"][0] == pytest.approx(np.nanmean(values) + 0.5) and line["n_subjects"][0] == 2
    )
