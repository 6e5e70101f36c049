"""`verify`: files, verdicts on numbers and claims, and what it prints and writes."""

import made_up_results
import pandas as pd
import pytest
import yaml

from sacd.__main__ import _conclude
from sacd.analysis import tables
from sacd.files import write_json
from sacd.paper import audit as audit_of_the_paper
from sacd.paper import printed as paper
from sacd.paper.contents import items
from sacd.report import claims, verify
from sacd.report import numbers as of_paper
from sacd.results import MANIFEST, read_manifest

S3VE = "S3VE, paper profile"


@pytest.fixture
def results(tmp_path, monkeypatch):
    return made_up_results.make(tmp_path, monkeypatch, seeds=3).results


def change(results, row, column, value):
    table = tables.read(results / "tables" / "table2.csv")
    table.loc[(table["row"] == row) & (table["column"] == column), "value"] = value
    tables.write(table, results / "tables", "table2")


def test_untouched_results_pass(results, capsys):
    assert _conclude(results, site=False) == 0
    text = capsys.readouterr().out
    assert "demo: simulated cohort, demo profile" in text and " needs S3VE" in text
    assert "missing: no table yet for table3 (make table3)" in " ".join(text.split())
    assert "nothing to compare with" in text


def test_an_altered_or_missing_file_fails(results, capsys):
    (results / "figures" / "a.png").unlink()
    assert _conclude(results, site=False) == 1
    assert "error: figures/a.png: missing (made by 20_table2_comparison)" in " ".join(
        capsys.readouterr().out.split()
    )


def test_an_added_file_is_noted(results):
    (results / "tables" / "notes.txt").touch()
    found = verify.verify(results)
    assert not found.problems and "tables/notes.txt: is not in the manifest" in found.notes


def test_simulated_numbers_are_never_reproduced(results):
    row = "AttnSleep/SACD"
    change(results, row, "accuracy", 64.4)
    numbers = verify.verify(results).numbers.query("item == 'table2'").set_index(["row", "column"])
    assert numbers.at[(row, "accuracy"), "difference"] == 0
    assert set(numbers.loc[numbers["ours"].notna(), "verdict"]) == {"needs S3VE"}


def test_every_printed_number_is_listed_once_with_or_without_ours(results, capsys):
    found = verify.verify(results)
    numbers = found.numbers.set_index(["item", "row", "column"])
    printed = paper.load().set_index(["item", "row", "column"])["value"]
    assert numbers.index.is_unique and set(printed.index) <= set(numbers.index)
    alone = numbers[numbers["ours"].isna()]
    assert (
        alone["paper"].equals(printed[alone.index].rename("paper"))
        and len(alone) == len(printed) - 24
    )
    verdict = alone["verdict"]
    assert verdict["table6", "A", "age"] == of_paper.NOT_YET  # its notebook was not executed here
    assert verdict["dataset", "all", "clips"] == of_paper.ALONE
    assert verdict["mc2sleepnet", "SHHS", "accuracy"] == of_paper.NOT_YET
    assert verdict["text", "AttnSleep/SACD - CCL", "accuracy"] == of_paper.AS_CLAIM
    assert verdict["text", "AttnSleep/SACD - CCL", "accuracy_from"] == of_paper.AS_CELL
    assert (
        verdict["text", "DeepSleepNet/SACD - baseline", "accuracy_from"] == of_paper.ALONE
    )  # 54.6, Table II has 52.5
    judged = {claims.HOLDS, claims.FAILS, claims.EQUAL, claims.UNDECIDED, claims.CONTRADICTS}
    assert not set(verdict) & {of_paper.REPRODUCED, of_paper.DIFFERS, *judged}
    title, table = list(verify.numbers_by_item(found))[-1]
    assert "neither confirmed nor refuted" in title and table["n"].sum() == len(alone)
    verify.show(found)
    assert f"{(verdict == of_paper.ALONE).sum()} {of_paper.ALONE}" in " ".join(
        capsys.readouterr().out.split()
    )


def test_numbers_on_s3ve_are_judged(tmp_path, monkeypatch):
    results = made_up_results.make(tmp_path, monkeypatch, data=S3VE, simulated=False).results
    table = tables.read(results / "tables" / "table2.csv")
    cell = (table["row"] == "AttnSleep/SACD") & (table["column"] == "accuracy")
    table.loc[cell, ["value", "ci_low", "ci_high"]] = [63.0, 61.0, 65.0]
    tables.write(table, results / "tables", "table2")
    numbers = verify.verify(results).numbers.set_index(["row", "column"])["verdict"]
    assert numbers["AttnSleep/SACD", "accuracy"] == "reproduced"
    assert numbers["AttnSleep/SACD", "macro_f1"] == "differs"


def test_a_name_does_not_make_data_real(tmp_path, monkeypatch):
    """Simulated data may have any name, and a manifest may not say what its data are."""
    results = made_up_results.make(tmp_path, monkeypatch, data=S3VE).results
    manifest = read_manifest(results)
    assert manifest.pop("simulated") == [S3VE]
    for _ in range(2):
        found = verify.verify(results)
        assert found.simulated
        measured = found.numbers.query("item == 'table2' and ours == ours")
        assert set(measured["verdict"]) == {"needs S3VE"}
        write_json(results / MANIFEST, manifest)


def test_cells_that_the_audit_refutes(results):
    audited = [
        ("kappa, any prior", "impossible"),
        ("kappa of the two students", "consistent"),
        ("baseline of Table V", "contradicts itself"),
        ("hours of all clips", "cannot be checked"),
    ]
    audit = pd.DataFrame(audited, columns=["row", "verdict"])
    texts = {"data": "none", "where": "II", "claim": "x", "computation": "y", "result": "z"}
    audit = audit.assign(item="audit", column="computed", **texts)
    words = ["where", "claim", "computation", "result", "verdict"]
    audit = audit.reindex(columns=[*tables.COLUMNS, *words])
    tables.write(audit, results / "tables", "audit", view=audit[["row"]])
    found = verify.verify(results)
    refuted = found.numbers[found.numbers["verdict"] == claims.CONTRADICTS]
    assert refuted[["row", "column"]].values.tolist() == [
        [row, "kappa"] for row in made_up_results.ROWS
    ]
    assert found.audit.set_index("claim")["verdict"].to_dict() == {
        "kappa, any prior": claims.CONTRADICTS,
        "kappa of the two students": claims.HOLDS,
        "baseline of Table V": claims.CONTRADICTS,
        "hours of all clips": "cannot be checked",
    }
    audit["verdict"] = "consistent"
    tables.write(audit, results / "tables", "audit", view=audit[["row"]])
    assert not (verify.verify(results).numbers["verdict"] == claims.CONTRADICTS).any()


def test_every_verdict_of_the_audit_is_mapped():
    assert set(verify._AUDIT_VERDICTS) == set(audit_of_the_paper.VERDICTS)


def test_claims_are_judged_from_the_folder_alone(results):
    judged = verify.verify(results).claims.set_index("claim")
    assert (
        judged.at["SACD is better than the video student alone (AttnSleep)", "verdict"]
        == claims.HOLDS
    )
    assert judged.at["SACD is better than CCL (AttnSleep)", "verdict"] == claims.UNDECIDED


def test_what_is_written(results):
    found = verify.verify(results)
    verify.write(found)
    first = {name: (results / name).read_bytes() for name in ("verify.md", "codecheck.yml")}
    verify.write(verify.verify(results))
    assert first == {name: (results / name).read_bytes() for name in first}
    text = first["verify.md"].decode()
    assert "Data: simulated cohort, demo profile." in text and "## Table II, the comparison" in text
    assert "| AttnSleep/SACD | kappa | 0.6 |" in text
    assert first["codecheck.yml"].startswith(b"%YAML 1.1\n---\n")
    check = yaml.safe_load(first["codecheck.yml"])
    assert {
        "file": "figures/a.png",
        "comment": "Table II, the comparison; made by 20_table2_comparison",
    } in check["manifest"]
    assert all((results / entry["file"]).is_file() for entry in check["manifest"])
    assert len(check["paper"]["authors"]) == 7 and check["paper"]["reference"].endswith(
        "2208.05814"
    )
    assert check["source"].startswith("the workflow simulates the data")


def test_the_data_of_a_laboratory_are_not_called_simulated(results):
    manifest = read_manifest(results) | {"data": "Lab A, demo profile", "simulated": []}
    write_json(results / MANIFEST, manifest)
    check = yaml.safe_load(verify.codecheck(results))
    assert check["source"] == "recordings that are not published here: Lab A, demo profile"


def test_no_manifest_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="`make reproduce` writes it"):
        verify.verify(tmp_path)


def test_every_claimed_item_has_a_make_target():
    assert {claim.item for claim in claims.load()} <= set(items())
