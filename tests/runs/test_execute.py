"""Runs in parallel: on worker processes of this machine, and on a Dask cluster that loses a worker."""

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
from toy_tasks import Toy

from sacd.files import read_json
from sacd.runs import Run, RunError, RunStore, execute
from sacd.runs.execute import _priorities
from sacd.runs.pools import _gpus, _local_cluster
from sacd.runs.provenance import REPOSITORY


def run(seed=0, task="count", pause_s=0.0, epochs=3, **more):
    return Run(f"toy_tasks:{task}", Toy(seed=seed, pause_s=pause_s, epochs=epochs), **more)


def tree(folder):
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {
        n: (folder / n).read_bytes()
        for n in names
        if n not in ("provenance.json", "checksums.json")
    }


def total(store, r):
    return json.loads((store.folder(r) / "sum.json").read_text())["sum"]


def pids(marks):
    return {path.name.split("-")[1] for path in marks.iterdir()}


def hold(folder, seeds):
    """Stop the runs of these seeds at the place where their task can be held; `release` lets them go on."""
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


def test_two_workers_share_the_runs_and_listen_on_loopback_only(tmp_path, capsys):
    store, marks, held = RunStore(tmp_path / "runs"), tmp_path / "marks", tmp_path / "hold"
    first = run(100, epochs=1)
    bad = run(50, task="fail", label="the bad one")
    runs = [run(seed, inputs=(("first", first),), label=f"toy {seed}") for seed in range(4)]
    resources = {"marks": str(marks), "hold": hold(held, range(4))}
    found = set()

    def watch():  # two runs are held at a time, hence by two workers, until the sockets of both have been seen
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


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0", "1", "2"]),
        ("", []),
        ("-1", []),
        ("none", []),
        ("NoDevFiles", []),
        ("2", ["2"]),
        (" 2, 0", ["2", "0"]),
        ("1,-1,2", ["1"]),
        ("GPU-8f3a91c2,GPU-77aa0b1d", ["GPU-8f3a91c2", "GPU-77aa0b1d"]),
        ("MIG-5c1e,x", ["MIG-5c1e"]),
        ("0,1,2,3,4", ["0", "1", "2"]),
    ],
)
def test_which_gpus_there_are(monkeypatch, visible, expected):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.setattr("shutil.which", lambda name: name)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert _gpus() == expected


def test_each_gpu_has_a_worker_that_sees_it_alone(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa,GPU-bb")
    with (
        _local_cluster(None, 9, {"device": "auto"}) as (own, number),
        Client(own, set_as_default=False) as client,
    ):
        assert number == 2
        client.wait_for_workers(2, timeout=120)
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
    assert sorted(seen.values()) == ["GPU-aa", "GPU-bb"]


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(RunError, match="CLUSTER=nonsense://x does not answer"):
        execute([run()], RunStore(tmp_path), cluster="nonsense://x", quiet=True)


def test_the_critical_path_starts_first():
    teacher = run(1, cost=1)
    student = run(2, inputs=(("teacher", teacher),), cost=10)
    alone = run(3, cost=5)
    priority = _priorities({r.id: r for r in (teacher, student, alone)})
    assert (priority[teacher.id], priority[student.id], priority[alone.id]) == (11, 10, 5)


def test_longest_first_each_once_inputs_before_readers(tmp_path):
    marks = tmp_path / "marks"
    teacher = run(1, cost=1)
    runs = [
        run(3, cost=5),
        run(2, inputs=(("a", teacher), ("b", run(4, cost=0.5))), cost=10),
        run(3, cost=5),
    ]
    report = execute(
        runs, RunStore(tmp_path / "runs"), workers=0, quiet=True, resources={"marks": str(marks)}
    )
    order = [
        p.name.split("-")[0] for p in sorted(marks.iterdir(), key=lambda p: p.name.split("-")[2])
    ]
    assert order == ["1", "4", "2", "3"] and len(report.done) == 4


def test_inputs_of_a_finished_run_are_not_needed(tmp_path):
    store = RunStore(tmp_path)
    teacher = run(1)
    student = run(2, inputs=(("teacher", teacher),))
    execute([student], store, workers=0, quiet=True)
    (store.folder(teacher) / "sum.json").unlink()
    assert execute([student], store, workers=0, quiet=True).hit == (student,)
    assert execute([student, teacher], store, workers=0, quiet=True).done == (teacher,)


def test_one_run_alone_is_computed_here_with_the_threads_of_a_worker(tmp_path):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        store, r = RunStore(tmp_path), run(task="threads")
        execute([r], store, quiet=True)
        assert json.loads((store.folder(r) / "threads.json").read_text()) == {
            "torch": 1, "device": "cuda" if torch.cuda.is_available() else "cpu",
        }  # fmt: skip
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_run_may_have_resources_of_its_own(tmp_path):
    store, own, common = (
        RunStore(tmp_path),
        run(task="threads", resources=(("threads", "2"),)),
        run(1, "threads"),
    )
    execute([own, common], store, workers=0, resources={"threads": "3"}, quiet=True)
    found = [
        json.loads((store.folder(r) / "threads.json").read_text())["torch"] for r in (own, common)
    ]
    assert found == [2, 3]


def test_progress_of_runs_in_this_process(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    execute([run(1, pause_s=0.15, epochs=4, label="toy one")], RunStore(tmp_path), workers=0)
    text = capsys.readouterr().err
    assert "0/1 runs, 1 running, 0 failed" in text and "toy one: step 2" in text
    assert text.rstrip().splitlines()[-1].count("1/1 runs, 0 running, 0 failed") and "100%" in text


def test_nothing_to_do_shows_no_bar_and_starts_nothing(tmp_path, capsys, monkeypatch):
    runs = [run(seed) for seed in range(3)]
    execute(runs, RunStore(tmp_path), workers=0, quiet=True)
    module = sys.modules["sacd.runs.execute"]  # by its name `sacd.runs` has the function
    monkeypatch.setattr(module, "open_pool", lambda *a: pytest.fail("workers were started"))
    report = execute(runs, RunStore(tmp_path), workers=2)
    assert len(report.hit) == 3
    assert capsys.readouterr().err == ""
    assert str(report) == "0 runs computed, 3 found on disk, 0 without results"


def test_a_worker_with_other_code_refuses(tmp_path):
    from sacd.runs.compute import compute

    outcome, text = compute(str(tmp_path), run(), "0" * 16, {"device": "cpu", "threads": "1"})
    assert outcome == "failed" and "other code than the client" in text
