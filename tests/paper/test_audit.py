"""The numbers are pinned from the paper's text, not from the package's own output."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import differential_evolution, linprog

from sacd.analysis import tables
from sacd.metrics import scores
from sacd.paper import audit, bounds
from sacd.paper import printed as paper
from sacd.stages import STAGES

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "41_paper_audit.ipynb"
CLIPS = np.array([55878, 5909, 40522, 20237, 12290])
SACD = (0.644, np.array([0.756, 0.510, 0.602, 0.593, 0.678]))
STUDENT = (0.525, np.array([0.647, 0.413, 0.484, 0.478, 0.573]))


@pytest.fixture(scope="module")
def found():
    return audit.findings().set_index("finding")


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


def test_nine_kappas_are_impossible_at_any_prior(kappas):
    above = kappas.index[kappas["kappa"] - 0.005 > kappas["any_prior"]]
    assert set(above) == {
        "-/R(2+1)D-18",
        *(f"AttnSleep/{method}" for method in ("PKT", "CRD", "IFD", "CMC", "CCL", "SACD")),
        "Modified-SEN/PKT",
        "Modified-SEN/CMC",
    }


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


@pytest.mark.parametrize(
    ("finding", "value", "verdict"),
    [
        ("stage counts", 134836, "contradicts itself"),
        ("hours of the staged clips", 1123.6, "consistent"),
        ("hours of all clips", 1288.1, "contradicts itself"),
        ("clips per subject, all", 1472.1, "impossible"),
        ("clips per subject, staged", 1284.2, "consistent"),
        ("AHI groups", 105, "consistent"),
        ("sex", 105, "consistent"),
        ("frames of a clip", 25, "consistent"),
        ("split total", 154573, "contradicts itself"),
        ("validation inside train", 19.999, "consistent"),
        ("train and test alone", 134070 / 102, "consistent"),
        ("size of the memory bank", 320, "cannot be checked"),
        ("hardest or newest", 16, "contradicts itself"),
        ("clips of the removed subjects", 766 / 3, "cannot be checked"),
        ("test clips per subject", 1577.6, "impossible"),
        ("test subjects by clips", 24, "cannot be checked"),
        ("train and test subjects", 100, "contradicts itself"),
        ("test subjects by group", 21, "cannot be checked"),
        ("kappa, at prior", 22, "contradicts itself"),
        ("kappa, at prior implied", 9, "contradicts itself"),
        ("kappa, any prior", 9, "impossible"),
        ("unit of kappa's deviation", 1.36, "contradicts itself"),
        ("strongest rivals", 0.57, "contradicts itself"),
        ("order of the teachers", 7, "consistent"),
        ("accuracy from recalls", 66.7, "contradicts itself"),
        ("baseline of Table V", 30, "contradicts itself"),
        ("distillation below the baseline", 3, "consistent"),
        ("text: AttnSleep/SACD - baseline", 11.9, "consistent"),
        ("text: DeepSleepNet/SACD - baseline", 8.2, "contradicts itself"),
        ("text: Modified-SEN/SACD - baseline", 10.1, "contradicts itself"),
        ("text: F - G", 2.1, "contradicts itself"),
        ("text: ours - v1", 8.3, "consistent"),
        ("Fig. 5, lowest of panel c", 60.8, "cannot be checked"),
        ("Fig. 5, lowest of panel a", 52, "contradicts itself"),
        ("Fig. 5, step in lambda1", 0.2, "contradicts itself"),
        ("MC2SleepNet: README and abstract", 0.2, "cannot be checked"),
    ],
)
def test_pinned_findings(found, finding, value, verdict):
    assert found.at[finding, "verdict"] == verdict
    assert found.at[finding, "value"] == pytest.approx(value, rel=1e-3)


def test_only_what_no_stage_distribution_allows_is_impossible(found):
    impossible = found.index[found["verdict"] == audit.IMPOSSIBLE]
    assert set(impossible) == {
        "clips per subject, all",
        "test clips per subject",
        "kappa, any prior",
        *(f"one test set for all rows{which}" for which in ("", ", Table IV, A to G", ", Table V")),
    }
    assert not found.loc[impossible, "computation"].str.contains("Fig. 2").any()


def test_the_largest_kappa_of_a_rival_is_ifds(found):
    result = found.at["strongest rivals", "result"]
    assert "IFD 0.57 against 0.56 and 0.56" in result and "PKT, CRD, IFD, CMC above 53.8" in result


def test_all_deviations_of_kappa_are_named(found):
    line = found.loc["unit of kappa's deviation"]
    assert all(
        f"{value} ± {sd}" in line["claim"]
        for value, sd in (("0.60", 0.38), ("0.54", 0.45), ("0.56", 0.38))
    )
    assert line["result"].startswith("1.36, 1.44, 1.32; ")


def test_any_prior_can_be_below_at_prior(kappas):
    """It has to give the printed accuracy, which `at_prior` takes as it is: so says notebook 41."""
    assert kappas.at["Modified-SEN/PKT", "any_prior"] == pytest.approx(0.459, abs=5e-4)
    assert kappas.at["Modified-SEN/PKT", "at_prior"] == pytest.approx(0.485, abs=5e-4)
    right = kappas["kappa"] - kappas["any_prior"]
    assert ((right > 0) & (right <= 0.005)).any(), (
        "diamonds right of their dot that the rounding of kappa explains"
    )


def test_no_stage_distribution_explains_the_accuracies_of_table_2(found):
    assert found.at["one test set for all rows", "verdict"] == "impossible"
    table = paper.table("table2")
    rng = np.random.default_rng(0)
    priors = np.r_[
        np.eye(5), rng.dirichlet(np.ones(5), 20000), rng.dirichlet(np.full(5, 0.2), 20000)
    ]
    misses = np.abs(priors @ table[list(STAGES)].to_numpy().T - table["accuracy"].to_numpy()).max(1)
    assert misses.min() >= found.at["one test set for all rows", "value"] - 1e-9 > 1.4


def test_text_against_tables(found):
    assert (
        "text 78.8 to 80.1, table 78.8 to 80.4" in found.at["text: B - AttnSleep (EEG)", "result"]
    )
    assert "N1: 54.18 rounds to 54.2, table 54.1" in found.at["text: AttnSleep (EEG)", "result"]
    assert (
        found.loc[["text: E, F and R3D", "SACD is best", "order of the ablation"], "verdict"]
        .eq("consistent")
        .all()
    )


def test_findings_are_whole_and_follow_the_paper(found):
    assert found.index.is_unique and len(found) >= 60
    assert found["verdict"].isin(audit.VERDICTS).all()
    assert (
        (found[["where", "claim", "computation", "result"]].apply(lambda c: c.str.len()) > 0)
        .all()
        .all()
    )
    quoted = {
        row
        for row, _ in paper.load()
        .query("item == 'text' and column.str.endswith('_from')")[["row", "where"]]
        .values
    }
    assert {f"text: {row}" for row in quoted} <= set(found.index)


def test_a_mended_number_changes_the_verdict(monkeypatch):
    real = paper.value
    mended = {("dataset", "all", "clips"): 134836.0, ("settings", "contrastive", "bank"): 320.0}
    monkeypatch.setattr(paper, "value", lambda *key: mended.get(key, real(*key)))
    assert {f.finding: f.verdict for f in audit._data_set()}["stage counts"] == "consistent"
    assert {f.finding: f.verdict for f in audit._bank()}["size of the memory bank"] == "consistent"


def test_tidy_findings_are_written_and_read_back(found, tmp_path):
    table = tables.audit_rows(found.reset_index())
    files = tables.write(
        table,
        tmp_path,
        "audit",
        view=found.reset_index()[["finding", "claim", "result", "verdict"]],
    )
    back = tables.read(files[0])
    assert len(back) == len(found) and set(back["verdict"]) <= set(audit.VERDICTS)
    assert (
        len(files[1].read_text().splitlines()) == len(found) + 4
    )  # a caption and an empty line before it


@pytest.mark.slow
def test_notebook_is_clean_and_runs(tmp_path, monkeypatch):
    papermill = pytest.importorskip("papermill")
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(
        not c["outputs"] and c["execution_count"] is None for c in cells if c["cell_type"] == "code"
    )
    assert cells[1]["metadata"]["tags"] == ["parameters"]
    papermill.execute_notebook(
        str(NOTEBOOK),
        str(tmp_path / "out.ipynb"),
        parameters={"profile": "test", "results": str(tmp_path)},
        kernel_name="python3",
        progress_bar=False,
        cwd=str(NOTEBOOK.parent),
    )
    written = pd.read_csv(tmp_path / "test" / "tables" / "audit.csv")
    assert (written["verdict"] == "impossible").sum() >= 5
    assert (tmp_path / "test" / "figures" / "audit.png").stat().st_size > 5000
    assert '"image/png"' in (tmp_path / "out.ipynb").read_text()
