"""Where runs are computed: worker processes of this machine, and its GPUs."""

import json
import os
import threading
import time

import dask
import psutil
import pytest
from distributed import Client
from toy_tasks import hold, release, run

from sacd.runs import RunStore, execute
from sacd.runs.pools import _local_cluster


def total(store, r):
    return json.loads((store.folder(r) / "sum.json").read_text())["sum"]


def pids(marks):
    return {path.name.split("-")[1] for path in marks.iterdir()}


def listening():
    """Addresses that this process and its children listen on."""
    found = set()
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            found |= {
                c.laddr.ip
                for c in process.net_connections("inet")
                if c.status == psutil.CONN_LISTEN
            }
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_two_workers_share_the_runs_and_listen_on_loopback_only(tmp_path, capsys):
    store, marks, held = RunStore(tmp_path / "runs"), tmp_path / "marks", tmp_path / "hold"
    first = run(100, epochs=1)
    bad = run(50, task="fail", label="the bad one")
    runs = [run(seed, inputs=(("first", first),), label=f"toy {seed}") for seed in range(4)]
    resources = {"marks": str(marks), "hold": hold(held, range(4))}
    found = set()

    # Two runs wait, hence in two workers, until the sockets of both have been listed.
    def watch():
        while len(list(held.glob("*-held"))) < 2:
            time.sleep(0.01)
        found.update(listening())
        release(held)

    watcher, start = threading.Thread(target=watch, daemon=True), time.monotonic()
    watcher.start()
    report = execute(
        [*runs, bad, run(6, inputs=(("bad", bad),))], store, workers=2, resources=resources
    )
    watcher.join()
    assert set(report.done) == {first, *runs}
    assert [total(store, r) for r in runs] == [100, 101, 102, 103]
    assert [f.run.config.seed for f in report.failed] == [50, 6]
    assert "seed 50 does not converge" in report.failed[0].reason
    assert len(pids(marks)) == 2 and str(os.getpid()) not in pids(marks)
    assert found and found <= {"127.0.0.1", "::1"}
    text = capsys.readouterr().err
    assert (
        "0/7 runs" in text and "5/7 runs, 0 running, 2 failed" in text
    )  # start and end; no line a step in a log
    periods = (time.monotonic() - start) // 30  # of a log, which gets a line in each
    assert sum(" runs, " in line for line in text.splitlines()) < 10 + periods


@pytest.mark.slow
def test_a_worker_of_the_machine_that_dies_is_replaced_and_a_deadly_run_given_up(tmp_path):
    store = RunStore(tmp_path)
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        report = execute([run(1, task="die"), run(2)], store, workers=2, quiet=True)
    assert report.done == (run(2),)
    assert "its worker process died repeatedly" in report.failed[0].reason


@pytest.mark.slow
def test_each_gpu_has_a_worker_that_sees_it_alone(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa,GPU-bb")
    with (
        _local_cluster(None, 9) as (own, number),
        Client(own, set_as_default=False) as client,
    ):
        assert number == 2
        client.wait_for_workers(2, timeout=120)
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
    assert sorted(seen.values()) == ["GPU-aa", "GPU-bb"]
