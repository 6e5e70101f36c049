import numpy as np
import pandas as pd
import pytest

from sacd.experiments.intake import suited
from sacd.experiments.items import NOTEBOOKS
from sacd.experiments.night import heads, ladder, nights_of
from sacd.experiments.workspace import Workspace
from sacd.training.night_facts import SUMMARY, of_pixels

NIGHT = NOTEBOOKS["45_night"]


def test_the_nights_are_other_sleepers_in_folders_of_their_own(tmp_path):
    w = Workspace("demo", root=tmp_path)
    nights = nights_of(w)
    assert nights.profile.simulate.blocks == 0 and nights.profile.simulate.n_subjects >= 12
    assert nights.profile.simulate.seed != w.profile.simulate.seed
    assert nights.profile.store == w.profile.store
    assert {nights.cohort, nights.store_path}.isdisjoint({w.cohort, w.store_path})
    assert w.profile.simulate.blocks > 0  # the workspace itself is as before


def test_of_a_cohort_that_is_given_the_nights_are_its_own(tmp_path):
    w = Workspace("demo", data=tmp_path / "given", root=tmp_path)
    assert nights_of(w) is w


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sampling": "consecutive"}, "the frames of a clip are consecutive, and breathing shows"),
        ({"frames": 42}, "42 frames of a clip are too few to show breathing, 43 do; set `frames`"),
    ],
)
def test_frames_that_show_no_breathing_are_refused(tmp_path, capsys, settings, said):
    """Consecutive frames taken for spread ones would give a breath of a wrong rate."""
    w = Workspace("demo", data=tmp_path / "given", root=tmp_path, settings=settings)
    with pytest.raises(ValueError, match=said):
        heads(w, None, "pixels", 0)
    with pytest.raises(ValueError, match=f"^45_night: {said}"):
        suited(w, [NIGHT], named=True)
    assert ladder(w, ["SACD"]) == {}
    assert suited(w, [NOTEBOOKS["00_tour"], NIGHT], named=False) == ["00_tour"]
    assert f"45_night is left out: {said}" in capsys.readouterr().out


def test_frames_that_show_breathing_are_taken(tmp_path):
    w = Workspace("demo", data=tmp_path / "given", root=tmp_path, settings={"frames": 43})
    assert suited(w, [NIGHT], named=True) == ["45_night"]
    assert suited(Workspace("demo", root=tmp_path), [NIGHT], named=True) == ["45_night"]


def test_facts_of_a_clip_do_not_depend_on_the_clips_beside_it():
    rng = np.random.default_rng(0)
    t = np.arange(64) * 30 / 64
    breath = np.sin(2 * np.pi * 0.25 * t)[:, None, None]
    still = rng.uniform(60, 150, (24, 32))
    body = np.zeros((24, 32))
    body[6:18, 8:20] = rng.uniform(1, 3, (12, 12))
    clips = np.stack(
        [still + size * breath * body + rng.normal(0, 0.3, (64, 24, 32)) for size in (1, 2, 3)]
    )
    together, table = of_pixels(clips, 64 / 30)
    alone, one = of_pixels(clips[1:2], 64 / 30)
    assert np.isfinite(together).all() and list(table.columns) == list(SUMMARY)
    assert np.allclose(alone[0], together[1], rtol=1e-3, atol=1e-3)
    pd.testing.assert_series_equal(one.iloc[0], table.iloc[1], check_names=False, rtol=1e-3)
    assert (abs(table["rate"] - 15) < 1).all() and table["depth"].is_monotonic_increasing
