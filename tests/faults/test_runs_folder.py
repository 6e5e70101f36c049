"""Workers that write elsewhere, trainings nobody expects, and who may reach the workers."""

import sys

import pytest
from toy_tasks import run, tree

from sacd.experiments.items import NOTEBOOKS, Notebook
from sacd.experiments.session import Session
from sacd.runs import Report, RunError, RunStore, compute, execute, pools, tls
from sacd.runs.notebook_inputs import parameters_of

MODULE = sys.modules["sacd.runs.execute"]
"""The function of this name hides the module."""


class Elsewhere(pools.Pool):
    """Workers whose run store is another folder: what a cluster without a shared one does."""

    def submit(self, run, priority, listener):
        self.root = str(self.other)
        return super().submit(run, priority, listener)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(Elsewhere, "other", tmp_path / "of the worker", raising=False)
    monkeypatch.setattr(MODULE, "ARRIVAL_S", 0)

    def open_pool(store, todo, workers, cluster, resources):
        return _Opened(Elsewhere(store, resources))

    monkeypatch.setattr(MODULE, "open_pool", open_pool)


class _Opened:
    def __init__(self, pool):
        self.pool = pool

    def __enter__(self):
        return self.pool

    def __exit__(self, *error):
        return None


@pytest.mark.parametrize("found_there", [False, True])
def test_a_run_that_is_done_but_not_here_is_one_line(tmp_path, elsewhere, found_there):
    store = RunStore(tmp_path / "here")
    if found_there:
        there = RunStore(Elsewhere.other)
        there.open()
        compute.compute(str(there.root), run(1), run(1).id, {"threads": "1"})
    reader = run(2, inputs=(("a", run(1)),))
    with pytest.raises(RunError) as caught:
        execute([reader], store, quiet=True)
    said = str(caught.value)
    assert f"{store.folder(run(1))} is not here; the workers need the same run store" in said
    assert "\n" not in said and store.folders() == []


def test_a_folder_that_arrives_late_counts(tmp_path, monkeypatch):
    store = RunStore(tmp_path)
    execute([run(1)], store, workers=0, quiet=True)
    folder = store.folder(run(1))
    hidden = folder.rename(tmp_path / "later")
    monkeypatch.setattr(MODULE.time, "sleep", lambda seconds: hidden.rename(folder))
    assert MODULE._arrived(store, run(1)) and tree(folder)


def test_a_notebook_says_that_it_trains(tmp_path, monkeypatch, capsys):
    name = "50_explore"
    rows = {"a": [run(1), run(2)], "b": [run(2)]}
    monkeypatch.setitem(NOTEBOOKS, name, Notebook(name, lambda w: rows, (), lambda w: ()))
    monkeypatch.setattr(
        "sacd.experiments.workspace.execute", lambda runs, *a, **k: Report(tuple(runs), (), ())
    )
    declared = parameters_of(NOTEBOOKS[name].source)
    given = {key: default for key, (_, default) in declared.items()} | {"root": str(tmp_path)}
    RunStore(tmp_path / "runs").folder(run(1)).mkdir(parents=True)
    Session(name, given)
    assert f"1 of 2 runs are not in {tmp_path / 'runs'}: trained here, now" in (
        capsys.readouterr().out
    )
    RunStore(tmp_path / "runs").folder(run(2)).mkdir(parents=True)
    Session(name, given)
    assert "trained here" not in capsys.readouterr().out


def test_without_the_package_workers_have_no_certificates(monkeypatch):
    monkeypatch.setattr(tls, "find_spec", lambda name: None)
    assert tls.own_tls() is None


@pytest.mark.slow
def test_only_who_has_the_certificates_reaches_the_workers(tmp_path):
    pytest.importorskip("cryptography")
    from distributed import Client

    with pools._local_cluster(1, 2) as (own, _):
        assert own.scheduler_address.startswith("tls://127.0.0.1:")
        with pytest.raises((OSError, TypeError)):
            Client(own.scheduler_address, timeout=5, set_as_default=False)
        with Client(own, set_as_default=False) as client:
            assert client.submit(abs, -1).result() == 1
