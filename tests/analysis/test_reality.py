"""The simulator beside real nights: measures, summaries, verdicts, and the committed numbers."""

from pathlib import Path

import mne
import numpy as np
import pandas as pd
import pytest

from sacd.analysis import night_measures as measure
from sacd.analysis import reality, reality_nights, tables
from sacd.simulate import cohort
from sacd.simulate.settings import SimulateConfig

REAL = Path(__file__).resolve().parents[3] / "shared" / "realdata"
FOLDERS = {
    reality_nights.SLEEP_ACCEL: REAL / "sleep_accel",
    reality_nights.UCDDB: REAL / "ucddb_tables",
    reality_nights.SANTA_FE: REAL / "santa_fe_b",
}
POWERS = REAL / "sleepedf_powers"
KEYS = ["dataset", "measure", "column"]


def test_hypnogram_of_a_night_counted_by_hand():
    night = measure.hypnogram([0, 0, 1, 2, 2, -1, 2, 3, 4, 4])
    assert night[measure.NIGHT, "sleep efficiency (%)"] == pytest.approx(100 * 7 / 9)
    assert night[measure.SHARE, "N2"] == pytest.approx(100 * 3 / 7)
    assert night["next clip after W (%)", "N1"] == 50
    assert night["next clip after N2 (%)", "N2"] == 50  # no step crosses the unscored clip
    changes = 4 / (7 * 30 / 3600)
    assert night[measure.NIGHT, "stage changes per hour"] == pytest.approx(changes)
    assert np.isnan(measure.hypnogram([2, 2])["next clip after REM (%)", "W"])


def test_movement_is_counted_within_stages():
    found = measure.movement([0, 0, 2, 2, 2, 2], [1, 1, 1, 0, 0, 0])
    assert (found[measure.MOVING, "W"], found[measure.MOVING, "N2"]) == (100, 25)
    assert np.isnan(found[measure.MOVING, "REM"])


@pytest.mark.parametrize("rate", [100, 128])
def test_powers_of_white_noise_are_its_density_in_every_band(rate):
    noise = 5 * np.random.default_rng(0).standard_normal((40, 30 * rate))
    density = np.log10(25 / (rate / 2))
    power = measure.log_powers(noise, rate)
    np.testing.assert_allclose(power.mean(axis=0), density, atol=0.02)
    by_stage = measure.powers(np.repeat([2, 3], 20), np.vstack([power[:20], power[20:] + 1]))
    gap = by_stage[measure.POWER.format("N3"), "beta"]
    gap -= by_stage[measure.POWER.format("N2"), "beta"]
    assert gap == pytest.approx(1, abs=0.02)


def test_breaths_of_a_steady_and_of_an_irregular_sleeper():
    times = np.arange(0, 600, 0.5)
    steady = measure.breaths(np.sin(2 * np.pi * times * 14 / 60), 2)
    assert len(steady) == 20
    assert steady["rate"].median() == pytest.approx(14, abs=0.1)
    assert steady["variation"].median() < 2
    periods = np.random.default_rng(0).choice([3.0, 5.0], 200)
    phase = np.interp(times, np.r_[0, np.cumsum(periods)], np.arange(201))
    varied = measure.breaths(np.cos(2 * np.pi * phase), 2)
    assert varied["variation"].median() == pytest.approx(25, abs=5)


def test_summary_is_mean_and_sd_and_resamples_sleepers():
    rng = np.random.default_rng(0)
    nights = pd.DataFrame(
        {(measure.POWER.format("N2"), "beta"): rng.normal(1, 0.3, 30)}, index=range(30)
    )
    alone = reality.summary(nights).set_index("measure")
    power = alone.loc[measure.POWER.format("N2")]
    values = nights.to_numpy()[:, 0]
    assert power["value"] == pytest.approx(values.mean())
    assert power["sd"] == alone.loc[measure.SPREAD, "value"] == pytest.approx(values.std(ddof=1))
    assert power["ci_high"] - power["ci_low"] == pytest.approx(4 * 0.3 / 30**0.5, rel=0.25)
    spread = alone.loc[measure.SPREAD]
    assert spread["ci_low"] < 0.3 < spread["ci_high"] and np.isnan(spread["sd"])
    # The same night twice is no second sleeper.
    doubled = pd.concat([nights, nights], ignore_index=True)
    twice = reality.summary(doubled, sleepers=np.tile(range(30), 2)).set_index("measure")
    names = ["value", "ci_low", "ci_high"]
    np.testing.assert_allclose(twice.iloc[0][names].astype(float), power[names].astype(float))
    assert np.isnan(reality.summary(nights[:4])["ci_low"]).all()


def _real(value, sd=np.nan, nights=25, half=0.1):
    bounds = {"ci_low": value - half, "ci_high": value + half}
    return pd.Series({"value": value, "sd": sd, "nights": nights} | bounds)


@pytest.mark.parametrize(
    ("value", "error", "real", "said"),
    [
        (1.2, 0.05, _real(1.0, sd=0.5), reality.INSIDE),
        (1.6, 0.05, _real(1.0, sd=0.5), reality.HIGH),
        (0.4, 0.05, _real(1.0, sd=0.5), reality.LOW),
        (1.6, 0.50, _real(1.0, sd=0.5), reality.UNSURE),
        (1.05, 0.05, _real(1.0), reality.SAME),  # a spread, which has no sd
        (0.5, 0.05, _real(1.0), reality.LOW),
        (1.5, 0.05, _real(1.0, nights=1), reality.ONE),
        (3.5, 0.05, _real(1.0, nights=1), reality.HIGH),
        (1.0, 0.05, _real(np.nan), reality.NONE),
    ],
)
def test_verdicts(value, error, real, said):
    assert reality.verdict(value, error, 1.0, real) == said


def test_committed_numbers_name_source_licence_and_nights():
    lines = reality.committed()
    assert not lines.duplicated(KEYS).any()
    assert lines[["source", "licence", "value"]].notna().all(axis=None)
    counts = lines.groupby("dataset")["nights"].max().dropna().to_dict()
    assert counts == {"sleep-accel": 31, "UCDDB": 25, "Santa Fe B": 1, "Sleep-EDF Fpz-Cz": 19}


def _agree(computed: pd.DataFrame, dataset: str) -> None:
    committed = reality.committed().query("dataset == @dataset").set_index(KEYS)
    computed = computed.set_index(KEYS)
    assert committed.index.equals(computed.index)
    for name in ("value", "ci_low", "ci_high", "sd", "nights"):
        np.testing.assert_allclose(computed[name], committed[name], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("dataset", FOLDERS)
def test_committed_numbers_come_from_the_data(dataset):
    if not FOLDERS[dataset].is_dir():
        pytest.skip(f"the data of {dataset} are not beside the repository")
    lines = reality_nights.real_lines({dataset: str(FOLDERS[dataset])})
    fresh = lines[lines["recomputed"]]
    assert set(fresh["dataset"]) == {dataset}
    _agree(fresh, dataset)


def test_committed_powers_come_from_the_data():
    if not POWERS.is_dir():
        pytest.skip("band powers of Sleep-EDF's nights are not beside the repository")
    _agree(
        reality_nights.sleep_edf(reality_nights.sleep_edf_powers(POWERS)), reality_nights.SLEEP_EDF
    )


def test_band_powers_are_read_in_microvolt_and_incomplete_nights_left_out(tmp_path):
    rng = np.random.default_rng(0)
    stage = np.r_[np.zeros(100), np.tile([1, 2, 3, 4], 10), np.zeros(100)].astype(int)
    power = 10 ** rng.normal(0, 0.01, (240, 5))  # uV^2/Hz
    power[:30] = 1e6  # the day, more than half an hour before sleep
    for name, labels in (("SC4001E0", stage), ("SC4011E0", np.minimum(stage, 3))):
        x = np.log(np.c_[power, power] * 1e-12 + 1e-10)
        np.savez(tmp_path / f"{name}.npz", X=x, y=labels)
    lines = reality_nights.sleep_edf(reality_nights.sleep_edf_powers(tmp_path))
    assert lines["nights"].eq(1).all()
    values = lines[lines["measure"] != measure.SPREAD]["value"]
    np.testing.assert_allclose(values, 0, atol=0.02)
    with pytest.raises(ValueError, match="no band powers"):
        reality_nights.sleep_edf_powers(tmp_path / "empty")


def test_sleepers_are_those_of_the_cohort(tmp_path):
    config = SimulateConfig(n_subjects=1, blocks=1, eeg_rate=reality_nights.EEG_HZ, seed=3)
    root = cohort.simulate(tmp_path / "cohort", config)
    path = root / "sub-1" if (root / "sub-1").exists() else root / "sub-01"
    raw = mne.io.read_raw_edf(next(path.rglob("*_eeg.edf")), verbose="error")
    written = raw.get_data()[0] * 1e6
    sleeper = reality_nights.sleepers(1, seed=3)[0]
    drawn = sleeper.eeg(sleeper.parts(1)).ravel()
    np.testing.assert_allclose(written, np.clip(drawn, -500, 500), atol=0.05)


@pytest.fixture(scope="module")
def simulated():
    return reality_nights.simulated(reality_nights.sleepers(6), 1)


def test_simulated_nights_have_every_measure_of_the_real_ones(simulated):
    real = reality.committed()
    wanted = real.loc[real["measure"] != measure.STAGER, ["measure", "column"]].drop_duplicates()
    assert len(wanted.merge(simulated)) == len(wanted)
    value = simulated.set_index(["measure", "column"])["value"]
    assert value[measure.MOVING, "W"] > value[measure.MOVING, "N3"]
    assert 8 < value[measure.RATE, "N2"] < 20


def test_table_is_tidy_and_written_with_both_sides(simulated, tmp_path):
    table = reality.compare(simulated, reality_nights.real_lines({}), "6 simulated sleepers")
    assert not table.duplicated(["row", "column"]).any() and not table["recomputed"].eq(True).any()
    paths = reality.write(table, tmp_path)
    back = tables.read(paths[0])
    assert set(tables.COLUMNS) <= set(back) and len(back) == len(table)
    words = paths[1].read_text()
    assert "as committed" in words and "| too low |" in words
    # What no data set has stands alone.
    alone = table[table["column"].eq("REM") & table["measure"].eq(measure.RATE)]
    assert alone["verdict"].tolist() == [reality.NONE]
