"""Listing and pruning a run store, and the command line `runs`."""

import io
import json
import os
import sys

import pytest
from toy_tasks import Toy, run

from sacd.files import write_json
from sacd.runs import Run, RunError, RunStore, cli, execute, list_runs


def test_the_manifest_of_the_data_outlives_the_next_ingest(tmp_path, capsys):
    store, data = RunStore(tmp_path / "runs"), tmp_path / "store"
    ids = {}
    for fingerprint in ("f00d", "beef"):
        write_json(
            data / "manifest.json", {"fingerprint": fingerprint, "nights": {"sub-01": fingerprint}}
        )
        asked = [
            run(seed, data=fingerprint, resources=(("store", str(data)),)) for seed in range(2)
        ]
        assert execute(asked, store, workers=0, quiet=True).failed == ()
        ids[fingerprint] = asked[0].id
    assert {
        p.stem: json.loads(p.read_text())["nights"] for p in (store.root / "data").iterdir()
    } == {name: {"sub-01": name} for name in ids}
    for fingerprint, i in ids.items():
        cli(["show", i], store.root)
        assert (
            json.loads(capsys.readouterr().out)["provenance"]["data_manifest"]
            == f"data/{fingerprint}.json"
        )
    cli(["prune", "--yes", "--unasked"], store.root, wanted=dict)
    assert list_runs(store) == [] and len(list((store.root / "data").iterdir())) == 2


@pytest.fixture
def filled(tmp_path, monkeypatch):
    """A store with a good run, an altered one, one of older code, a half one."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "listed_task", raising=False)
    module = tmp_path / "listed_task.py"
    module.write_text("from toy_tasks import count as made\ndef count(*a): made(*a)\n")
    store = RunStore(tmp_path / "runs")
    old = Run("listed_task:count", Toy(seed=3), label="older")
    reader = run(4, inputs=(("older", old),), label="reader")
    execute(
        [run(0, label="good"), run(1, label="altered"), reader],
        store,
        workers=0,
        quiet=True,
    )
    module.write_text("from toy_tasks import count as made\ndef count(*a): return made(*a)\n")
    (store.folder(run(1)) / "sum.json").write_text("{}")
    half = run(2, label="half")
    work = store.begin(half)
    (work / "progress.json").write_text('{"share": 0.4}')
    return store, old, reader


def test_listing(filled):
    store, old, reader = filled
    entries = {entry.label: entry for entry in list_runs(store)}
    assert {k: e.state for k, e in entries.items()} == {
        "good": "done",
        "altered": "corrupt",
        "older": "stale",
        "reader": "stale",
        "half": "partial",
    }
    assert entries["good"].seed == 0 and entries["good"].item == "" and entries["good"].why == ""
    assert entries["altered"].why == "sum.json was altered or truncated (checksum differs)"
    assert entries["older"].why == "code changed: listed_task:count"
    assert (
        entries["reader"].why == f"input older ({old.id}) is stale: code changed: listed_task:count"
    )
    assert entries["half"].why == "interrupted at 40%"
    unwanted = {
        entry.label: entry for entry in list_runs(store, wanted={reader.id: "20_table2_comparison"})
    }
    assert (unwanted["good"].state, unwanted["good"].why) == (
        "unasked",
        "no notebook of a profile asks for it",
    )
    assert unwanted["half"].state == "partial"  # its checkpoint is worth something
    assert (unwanted["good"].item, unwanted["reader"].item) == ("", "20_table2_comparison")


def test_command_line(filled, capsys, monkeypatch):
    store, old, _ = filled
    monkeypatch.setenv("COLUMNS", "200")
    assert cli([], store.root) == 0
    text = capsys.readouterr().out
    assert all(
        word in text for word in ("good", "corrupt", "stale", "interrupted at 40%", "5 runs")
    )
    assert cli(["show", old.id[:6], "--store", str(store.root)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (
        shown["config"]["identity"]["config"]["seed"] == 3 and shown["provenance"]["id"] == old.id
    )
    with pytest.raises(RunError, match="no run starts with 'zz'"):
        cli(["show", "zz"], store.root)
    with pytest.raises(RunError, match="show needs the first digits"):
        cli(["show"], store.root)
    assert cli([], store.root, wanted=lambda: {old.id: "fig5"}) == 0
    text = capsys.readouterr().out
    assert "fig5" in text and "no notebook of a profile asks for it" in text
    assert (
        cli(["--store", str(store.root / "x")], store.root, wanted=lambda: 1 / 0) == 0
    )  # what is asked for is here


def test_prune_asks_and_keeps_what_is_good(filled, monkeypatch):
    store, *_ = filled
    questions = []
    cli(["prune"], store.root, ask=lambda question: questions.append(question) or "n")
    assert len(list_runs(store)) == 5 and questions == ["remove these 3 runs? [y/N] "]
    monkeypatch.setattr("sys.stdin", io.StringIO())
    cli(["prune"], store.root)  # nobody answers
    assert len(list_runs(store)) == 5
    cli(["prune"], store.root, ask=lambda question: "y")
    assert {entry.label for entry in list_runs(store)} == {"good", "half"}


def test_prune_keeps_what_nobody_asks_for_until_told(filled):
    store, *_ = filled
    for words, left in (([], {"good", "half"}), (["--unasked"], {"half"})):
        cli(["prune", "--yes", *words], store.root, wanted=dict)
        assert {entry.label for entry in list_runs(store)} == left


def test_prune_keeps_what_is_being_computed(filled, capsys):
    store, old, _ = filled
    with store.lock(old):
        cli(["prune", "--yes"], store.root)
    assert f"{old.id} is kept" in capsys.readouterr().out
    assert old.id in {entry.id for entry in list_runs(store)} and len(list_runs(store)) == 3


def test_an_empty_store_lists_nothing(tmp_path, capsys):
    assert cli([], tmp_path / "nowhere") == 0
    assert "0 runs" in capsys.readouterr().out and not os.path.exists(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"identity": 1, "about": 2}', '{"identity": {}, "about": {}}']
)
def test_a_damaged_config_is_listed_and_its_run_computed_again_or_refused(
    tmp_path, capsys, monkeypatch, text
):
    monkeypatch.setenv("COLUMNS", "400")  # a table is as wide as the screen
    store, r = RunStore(tmp_path), run()
    reader = run(1, inputs=(("first", r),))
    execute([reader], store, workers=0, quiet=True)
    (store.folder(r) / "config.json").write_text(text)
    assert {entry.id: entry.state for entry in list_runs(store)} == {
        r.id: "corrupt", reader.id: "stale",
    }  # fmt: skip
    assert cli(["list"], store.root) == 0 and "config.json" in capsys.readouterr().out
    report = execute([r], store, workers=0, quiet=True)
    if "identity" in text:  # it may be somebody else's
        assert "holds another run than its id says" in report.failed[0].reason
    else:
        assert report.done == (r,) and {entry.state for entry in list_runs(store)} == {"done"}
