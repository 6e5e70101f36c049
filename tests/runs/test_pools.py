"""Where runs are computed: worker processes of this machine, GPUs, and a Dask cluster."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import dask
import psutil
import pytest
from distributed import Client
from toy_tasks import run, tree

from sacd.files import read_json
from sacd.runs import RunError, RunStore, execute
from sacd.runs.pools import _local_cluster
from sacd.runs.provenance import REPOSITORY


def total(store, r):
    return json.loads((store.folder(r) / "sum.json").read_text())["sum"]


def pids(marks):
    return {path.name.split("-")[1] for path in marks.iterdir()}


def hold(folder, seeds):
    """Make the tasks of these seeds wait until `release` is called."""
    folder.mkdir()
    for seed in seeds:
        (folder / str(seed)).touch()
    return str(folder)


def release(folder):
    for path in folder.iterdir():
        if not path.name.endswith("-held"):
            path.unlink()


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


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two worker processes without nannies, as on a cluster."""
    file = tmp_path / "scheduler.json"
    environment = os.environ | {
        "PYTHONPATH": f"{Path(__file__).parents[1]}{os.pathsep}{REPOSITORY}",
        "OMP_NUM_THREADS": "1",
    }
    common = {
        "env": environment,
        "stderr": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "cwd": tmp_path,
    }

    def start(kind, *options):
        command = [
            sys.executable,
            "-m",
            f"distributed.cli.dask_{kind}",
            "--scheduler-file",
            str(file),
            "--no-dashboard",
        ]
        return subprocess.Popen([*command, "--host", "127.0.0.1", *options], **common)

    processes = [start("scheduler", "--port", "0")]
    while not (about := read_json(file)):  # missing, or half written
        assert processes[0].poll() is None
        time.sleep(0.05)
    processes += [start("worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
    yield about["address"], processes[1:]
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_gives_all_results(tmp_path, cluster):
    address, workers = cluster
    marks, held = tmp_path / "marks", tmp_path / "hold"
    runs = [run(seed, task="walk", epochs=60) for seed in range(4)]
    store, alone = RunStore(tmp_path / "runs"), RunStore(tmp_path / "alone")
    resources = {"marks": str(marks), "hold": hold(held, range(4))}
    killed = []

    def kill_one():  # while a run of it stands still half way
        while not (halfway := sorted(held.glob("*-held"))):
            time.sleep(0.01)
        seed = int(halfway[0].name.partition("-")[0])
        [pid] = {path.name.split("-")[1] for path in marks.glob(f"{seed}-*")}
        next(worker for worker in workers if str(worker.pid) == pid).kill()
        killed.append(runs[seed])
        release(held)

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    report = execute(runs, store, cluster=address, quiet=True, resources=resources)
    thread.join()
    assert set(report.done) == set(runs) and not report.failed
    [victim] = killed
    provenance = json.loads((store.folder(victim) / "provenance.json").read_text())
    starts = sorted(path.name.split("-")[2:] for path in marks.glob(f"{victim.config.seed}-*"))
    assert provenance["attempts"] == len(starts) == 2
    assert (
        int(starts[0][1]) == 0 < int(starts[1][1])
    )  # the second went on where the first was killed
    execute([victim], alone, workers=0, quiet=True)
    assert tree(store.folder(victim)) == tree(
        alone.folder(victim)
    )  # resumed elsewhere, to the same bytes


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


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(RunError, match="CLUSTER=nonsense://x does not answer"):
        execute([run()], RunStore(tmp_path), cluster="nonsense://x", quiet=True)
