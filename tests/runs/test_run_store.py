"""Identity of runs, and the store of their results."""

import json
import os
import pickle

import pytest
from pydantic import ValidationError
from toy_tasks import Toy, run, tree

from sacd.config import Config
from sacd.runs import Run, RunStore, execute


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
    assert run().id == run(label="x", cost=9, resources=(("store", "elsewhere"),)).id
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
    store, r = RunStore(tmp_path), run(5, label="toy", data="d4ta")
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
            resources={"marks": str(tmp_path / "marks"), "hold": "elsewhere"},
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


def test_what_a_task_resumes_from_goes_when_it_is_done(tmp_path):
    store = RunStore(tmp_path)
    work = store.begin(run())
    for name in ("checkpoint.pt", "checkpoint_first.pt", "weights.safetensors"):
        (work / name).touch()
    store.finish(run(), {})
    kept = {path.name for path in store.folder(run()).iterdir()}
    assert kept == {"config.json", "provenance.json", "checksums.json", "weights.safetensors"}
    assert store.state(run()).name == "done"
