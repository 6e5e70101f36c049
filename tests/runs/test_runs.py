"""Identity, store and listing of runs."""

import io
import json
import os
import pickle
import sys

import pytest
from pydantic import ValidationError
from toy_tasks import Toy

from sacd.config import Config
from sacd.files import write_json
from sacd.runs import Run, RunError, RunStore, cli, execute, list_runs


def run(seed=0, task="count", **more):
    return Run(f"toy_tasks:{task}", Toy(seed=seed), **more)


def tree(folder):
    """Bytes of every result file; provenance holds times, and so do the checksums."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {
        n: (folder / n).read_bytes()
        for n in names
        if n not in ("provenance.json", "checksums.json")
    }


def test_what_enters_the_identity():
    base = run()
    assert len(base.id) == 16 and int(base.id, 16) >= 0
    others = [
        run(seed=1),
        run(task="train"),
        run(data="f00d"),
        run(inputs=(("a", run(seed=1)),)),
        run(inputs=(("b", run(seed=1)),)),
        run(inputs=(("a", run(seed=2)),)),
        run(modules=("sacd.stages:STAGES",)),
        run(modules=("sacd.stages:COLOURS",)),
    ]
    assert len({base.id, *(other.id for other in others)}) == 9


def test_settings_are_the_identity_without_code_and_data():
    assert run().settings == run(data="f00d").settings == run(inputs=()).settings
    assert (
        run(inputs=(("a", run(1, data="x")),)).settings
        == run(inputs=(("a", run(1, data="y")),)).settings
    )
    others = [
        run(seed=1),
        run(task="train"),
        run(inputs=(("a", run(seed=1)),)),
        run(inputs=(("a", run(seed=2)),)),
    ]
    assert len({run().settings, *(other.settings for other in others)}) == 5


def test_what_does_not_enter_the_identity():
    assert run().id == run(item="table2", label="x", cost=9, resources=(("store", "elsewhere"),)).id
    assert (
        Run("toy_tasks:count", Toy(epochs=3, seed=0)).id
        == Run("toy_tasks:count", Toy(seed=0, epochs=3)).id
    )
    assert Run("toy_tasks:count", Toy()).id == run().id  # a default, said or not


def test_order_of_fields_does_not_matter_and_the_class_name_does():
    def toy(name, **fields):
        return type(name, (Config,), {"__annotations__": dict.fromkeys(fields, int), **fields})()

    ab, ba, other = toy("Same", a=1, b=2), toy("Same", b=2, a=1), toy("Other", a=1, b=2)
    assert (
        Run("toy_tasks:count", ab).id
        == Run("toy_tasks:count", ba).id
        != Run("toy_tasks:count", other).id
    )


def test_an_extra_field_is_refused():
    with pytest.raises(ValidationError, match="device"):
        Toy(device="cuda")


def test_identity_follows_the_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "identity_task.py"
    ids = []
    texts = (
        "def t(x):\n    return 1",
        '# c\ndef t(x):\n    """Doc."""\n    return 1',
        "def t(x):\n    return 2",
    )
    for k, text in enumerate(texts):
        module.write_text(text)
        os.utime(module, (k, k))
        ids.append(Run("identity_task:t", Toy()).id)
        module.unlink()
    assert ids[0] == ids[1] != ids[2]


def test_runs_travel_by_pickle_without_their_id():
    original = run(inputs=(("a", run(1)),))
    back = pickle.loads(pickle.dumps((original.id, original))[:])[1]
    assert "id" not in vars(back) and back == original and hash(back) == hash(original)


def test_a_finished_run_has_everything(tmp_path):
    store, r = RunStore(tmp_path), run(5, item="table2", label="toy", data="d4ta")
    assert store.state(r).name == "missing"
    report = execute([r], store, resources={"store": "here"}, quiet=True)
    assert report.done == (r,) and store.state(r) == ("done", "checksums of 3 files agree")
    names = {p.name for p in store.folder(r).iterdir()}
    assert names == {"config.json", "provenance.json", "checksums.json", "sum.json"}
    config = json.loads((store.folder(r) / "config.json").read_text())
    assert config["identity"]["config"] == {"seed": 5, "epochs": 3, "pause_s": 0.0}
    provenance = json.loads((store.folder(r) / "provenance.json").read_text())
    assert provenance["id"] == r.id and provenance["data"] == "d4ta" and provenance["attempts"] == 1
    assert {
        "started",
        "duration_s",
        "peak_memory_mb",
        "git",
        "machine",
        "code",
    } <= provenance.keys()
    assert {"lock", "packages", "cpu", "gpu"} <= provenance["machine"].keys()
    assert set(provenance["code"]) >= {"toy_tasks:count", "sacd.files:write_json"}
    assert not (tmp_path / ".work" / r.id).exists()


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


def test_a_second_time_is_a_hit_and_says_why(tmp_path, caplog):
    store, r = RunStore(tmp_path), run()
    with caplog.at_level("INFO"):
        execute([r], store, quiet=True, resources={"marks": str(tmp_path / "marks")})
        assert "to compute, never computed" in caplog.text
        before = tree(store.folder(r)), (store.folder(r) / "provenance.json").read_bytes()
        report = execute(
            [r, run()],
            store,
            quiet=True,
            resources={"marks": str(tmp_path / "marks"), "device": "cpu"},
        )
    assert report.hit == (r,) and not report.done
    assert "not computed, checksums of 3 files agree" in caplog.text
    assert (tree(store.folder(r)), (store.folder(r) / "provenance.json").read_bytes()) == before
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_why_a_run_is_computed_again(tmp_path, caplog):
    store = RunStore(tmp_path)
    execute([run(data="old")], store, workers=0, quiet=True)
    with caplog.at_level("INFO"):
        execute([run(data="new")], store, workers=0, quiet=True)
    assert "data changed since an earlier run" in caplog.text


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
        [run(0, item="table2", label="good"), run(1, label="altered"), reader],
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
        "good": "done", "altered": "corrupt", "older": "stale", "reader": "stale", "half": "partial",
    }  # fmt: skip
    assert (
        entries["good"].seed == 0 and entries["good"].item == "table2" and entries["good"].why == ""
    )
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
    assert (unwanted["good"].item, unwanted["reader"].item) == ("table2", "20_table2_comparison")


def test_command_line(filled, capsys, monkeypatch):
    store, old, _ = filled
    monkeypatch.setenv("COLUMNS", "200")
    assert cli([], store.root) == 0
    text = capsys.readouterr().out
    assert all(
        word in text
        for word in ("good", "table2", "corrupt", "stale", "interrupted at 40%", "5 runs")
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


def test_what_a_task_resumes_from_goes_when_it_is_done(tmp_path):
    store = RunStore(tmp_path)
    work = store.begin(run())
    for name in ("checkpoint.pt", "checkpoint_first.pt", "weights.safetensors"):
        (work / name).touch()
    store.finish(run(), {})
    kept = {path.name for path in store.folder(run()).iterdir()}
    assert kept == {"config.json", "provenance.json", "checksums.json", "weights.safetensors"}
    assert store.state(run()).name == "done"


def test_prune_keeps_what_is_being_computed(filled, capsys):
    store, old, _ = filled
    with store.lock(old):
        cli(["prune", "--yes"], store.root)
    assert f"{old.id} is kept" in capsys.readouterr().out
    assert old.id in {entry.id for entry in list_runs(store)} and len(list_runs(store)) == 3


def test_an_empty_store_lists_nothing(tmp_path, capsys):
    assert cli([], tmp_path / "nowhere") == 0
    assert "0 runs" in capsys.readouterr().out and not os.path.exists(tmp_path / "nowhere")
