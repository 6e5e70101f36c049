import json

import numpy as np
import pandas as pd
import pytest

from sacd.analysis import explore
from sacd.stages import COLOURS, STAGES


@pytest.fixture
def results(tmp_path):
    rng = np.random.default_rng(0)
    n = 120
    table = pd.DataFrame(
        {"subject": np.repeat(["s1", "s2", "s3"], 40), "clip": np.tile(np.arange(40), 3)}
    )
    p = rng.dirichlet(np.ones(5), n)
    table = table.assign(stage=rng.integers(0, 5, n), prediction=p.argmax(1))
    table = table.assign(**{f"p_{s}": p[:, k] for k, s in enumerate(STAGES)})
    ahi = pd.Series({"s1": 2.0, "s2": 17.5, "s3": 44.0})
    parts = [
        explore.clips_of(run, table, rng.standard_normal((n, 30)), rng.standard_normal((n, 2)), ahi)
        for run in ("SACD, seed 0", "baseline, seed 0")
    ]
    explore.write(parts, tmp_path)
    return tmp_path, parts


def test_what_is_written_is_read_and_equal_bytes(results):
    folder, parts = results
    table = explore.read(folder)
    assert len(table) == 240 and table["run"].unique().tolist() == [
        "SACD, seed 0",
        "baseline, seed 0",
    ]
    assert table["ahi"].unique().tolist() == [2.0, 17.5, 44.0]
    first = (folder / explore.FILE).read_bytes()
    explore.write(parts, folder)
    assert (folder / explore.FILE).read_bytes() == first


def test_large_cohorts_lose_whole_subjects(results, monkeypatch):
    folder, parts = results
    monkeypatch.setattr(explore, "LARGEST", 90)
    explore.write(parts, folder)
    table = explore.read(folder)
    assert sorted(table["subject"].unique()) == ["s1", "s2"] and len(table) == 160


def test_choice_map_and_hover(results):
    table = explore.read(results[0])
    run = "SACD, seed 0"
    clips = explore.choose(table, run, ["N2", "REM"], "s3")
    assert (
        set(clips["stage"]) == {2, 4}
        and set(clips["subject"]) == {"s3"}
        and set(clips["run"]) == {run}
    )
    whole = explore.choose(table, run)
    assert len(whole) == 120
    other = explore.remap(whole, 5)
    assert not np.allclose(other["x"], whole["x"]) and explore.remap(whole, 30).equals(whole)
    figure = explore.scatter(clips, "title", "made-up data")
    assert sum(len(trace.x) for trace in figure.data) == len(clips)
    groups = [trace.legendgroup.split()[0] for trace in figure.data]
    assert set(groups) == {"N2", "REM"}
    listed = [trace for trace in figure.data if trace.showlegend]
    assert [trace.name for trace in listed] == [
        f"{STAGES[k]} ({(clips['stage'] == k).sum()})" for k in (2, 4)
    ], "one entry per stage hides both its correct and its wrong clips"
    assert [trace.marker.symbol for trace in listed] == ["circle", "circle"]
    assert [trace.marker.color for trace in listed] == [COLOURS["N2"], COLOURS["REM"]]
    wrong = sum(len(trace.x) for trace in figure.data if trace.marker.symbol != "circle")
    assert wrong == (clips["prediction"] != clips["stage"]).sum() > 0
    assert f"made-up data<br>n = 1 subject, {len(clips)} clips" in figure.layout.title.text
    assert figure.layout.autosize and figure.layout.width is None
    clip, *hover = figure.data[0].customdata[0]
    assert clip.startswith("s3, clip ") and hover == ["N2", "N2", hover[2], 44.0, "Severe"]
    first = clips[clips["stage"].eq(2) & clips["prediction"].eq(2)].iloc[0]
    assert hover[2] == pytest.approx(100 * first["confidence"], abs=0.5)
    assert len(json.dumps(figure.to_plotly_json(), default=str)) < 100_000


def test_components_keep_the_distances(results):
    rng = np.random.default_rng(1)
    flat = rng.standard_normal((50, 4)) @ rng.standard_normal((4, 100))
    table, share = explore.components(flat)
    assert share == pytest.approx(1) and table.shape == (50, 16)
    a, b = (np.linalg.norm(x[:, None] - x, axis=2) for x in (flat, table.to_numpy(float)))
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9999


def test_a_missing_or_damaged_file_is_named(tmp_path, results):
    with pytest.raises(ValueError, match="make fig10"):
        explore.read(tmp_path / "nowhere")
    table = explore.read(results[0]).drop(columns="ahi")
    table.to_parquet(results[0] / explore.FILE)
    with pytest.raises(ValueError, match="lacks the column"):
        explore.read(results[0])
