"""Clusters that somebody else runs, and what is wrong with them: each fault is one line."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import toy_tasks
from toy_tasks import hold, release, run, tree

from sacd.files import read_json
from sacd.runs import RunError, RunStore, execute, pools
from sacd.runs.provenance import REPOSITORY

PACKAGE_MISSING = "import sys; sys.modules['sacd'] = None"
SCHEDULER = "from distributed.cli.dask_scheduler import main; main()"
WORKER = "from distributed.cli.dask_worker import main; main()"


@pytest.fixture
def start(tmp_path):
    """Starts processes of a cluster: a function of code and folders of modules; one line each."""
    processes = []

    def call(code: str, *options: str, paths=(Path(toy_tasks.__file__).parent, REPOSITORY)):
        words = ["--scheduler-file", str(tmp_path / "scheduler.json"), "--host", "127.0.0.1"]
        log = (tmp_path / f"log-{len(processes)}").open("w")
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words, "--no-dashboard", *options],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
            cwd=tmp_path, stdout=log, stderr=log,
        )  # fmt: skip
        processes.append(process)
        return process

    yield call
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def scheduler(start, tmp_path):
    """A scheduler: its process and its address."""
    process = start(SCHEDULER, "--port", "0")
    while not (about := read_json(tmp_path / "scheduler.json")):
        assert process.poll() is None
    return process, about["address"]


def worker(start, code: str = WORKER, **options):
    return start(code, "--nthreads", "1", "--no-nanny", **options)


def wait_for_workers(address: str, number: int) -> None:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(number)


def lines(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


@pytest.mark.slow
def test_workers_with_other_code_or_without_the_package_are_left_out(
    tmp_path, start, scheduler, caplog
):
    """They would answer at once, and so get all runs but the first."""
    other = tmp_path / "other"
    other.mkdir()
    text = Path(toy_tasks.__file__).read_text()
    (other / "toy_tasks.py").write_text(text.replace("total = config.seed", "total = 1"))
    shutil.copytree(REPOSITORY / "sacd", other / "sacd")
    worker(start)
    worker(start, f"{PACKAGE_MISSING}; {WORKER}")
    worker(start, paths=(other,))
    wait_for_workers(scheduler[1], 3)
    store, runs = RunStore(tmp_path / "runs"), [run(seed, pause_s=0.1) for seed in range(6)]
    report = execute(runs, store, cluster=scheduler[1], quiet=True)
    assert set(report.done) == set(runs), str(report)
    assert len(lines(caplog)) == 2 and all("\n" not in line for line in lines(caplog))
    told = "\n".join(lines(caplog))
    assert "is left out: it has other code than this machine; check out the same commit" in told
    assert "is left out: it cannot import this package" in told


@pytest.mark.slow
def test_a_worker_with_other_code_that_comes_late_loses_no_run(tmp_path, start, scheduler, caplog):
    worker(start)
    wait_for_workers(scheduler[1], 1)
    store, runs = RunStore(tmp_path / "runs"), [run(seed) for seed in range(6)]
    held = tmp_path / "hold"
    resources = {"hold": hold(held, range(6))}
    late = f"""
import pathlib, time
while not list(pathlib.Path({str(held)!r}).glob('*-held')):
    time.sleep(0.01)
{PACKAGE_MISSING}
{WORKER}"""
    worker(start, late)

    def go_on():  # the good worker stands still until the other one is known
        while not lines(caplog):
            time.sleep(0.01)
        release(held)

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    report = execute(runs, store, cluster=scheduler[1], quiet=True, resources=resources)
    assert set(report.done) == set(runs), str(report)


@pytest.mark.slow
def test_a_cluster_that_loses_a_worker_gives_all_results(tmp_path, start, scheduler):
    address, workers = scheduler[1], [worker(start) for _ in range(2)]
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
        next(process for process in workers if str(process.pid) == pid).kill()
        killed.append(runs[seed])
        release(held)

    thread = threading.Thread(target=kill_one, daemon=True)
    thread.start()
    report = execute(runs, store, cluster=address, quiet=True, resources=resources)
    thread.join()
    assert set(report.done) == set(runs) and not report.failed
    [victim] = killed
    provenance = read_json(store.folder(victim) / "provenance.json")
    starts = sorted(path.name.split("-")[2:] for path in marks.glob(f"{victim.config.seed}-*"))
    assert provenance["attempts"] == len(starts) == 2
    # The second went on where the first was killed.
    assert int(starts[0][1]) == 0 < int(starts[1][1])
    execute([victim], alone, workers=0, quiet=True)
    # It was resumed elsewhere, to the same bytes.
    assert tree(store.folder(victim)) == tree(alone.folder(victim))


@pytest.mark.slow
def test_only_workers_with_other_code_is_one_line(tmp_path, start, scheduler):
    worker(start, f"{PACKAGE_MISSING}; {WORKER}")
    wait_for_workers(scheduler[1], 1)
    with pytest.raises(RunError, match="no worker is left but 1 left out") as caught:
        execute([run()], RunStore(tmp_path / "runs"), cluster=scheduler[1], quiet=True)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_scheduler_without_workers_is_told_and_given_up(tmp_path, scheduler, caplog, monkeypatch):
    monkeypatch.setattr(pools, "SAY_AFTER_S", 0)
    monkeypatch.setattr(pools, "GIVE_UP_AFTER_S", 1.5)
    address = scheduler[1]
    with pytest.raises(RunError, match="no worker is connected to its scheduler for"):
        execute([run()], RunStore(tmp_path / "runs"), cluster=address, quiet=True)
    [line] = lines(caplog)
    assert line == (
        f"CLUSTER={address}: no worker is connected to its scheduler; start one by "
        f"`dask worker {address}` (waiting up to 0.025 minutes)"
    )


@pytest.mark.slow
def test_a_lost_scheduler_is_one_line_and_nothing_finished_is_lost(tmp_path, start, scheduler):
    worker(start)
    process, address = scheduler
    store = RunStore(tmp_path / "runs")
    first, second = run(1), run(2)

    def kill_after_the_first(self, handles, wait=pools.ClusterPool.wait):
        wait(self, handles)
        if store.folder(first).exists():
            process.kill()
            process.wait()

    resources = {"hold": hold(tmp_path / "hold", [2])}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools.ClusterPool, "wait", kill_after_the_first)
        lost = "scheduler is lost; what was finished is kept"
        with pytest.raises(RunError, match=lost) as caught:
            execute([first, second], store, cluster=address, quiet=True, resources=resources)
    assert "\n" not in str(caught.value)
    assert store.state(first).name == "done"


TLS = "tls://127.0.0.1:1"


def tls_fault(tmp_path, **files) -> str:
    """What is said of a scheduler behind TLS with these settings of Dask."""
    from dask import config

    keys = {"ca": "ca-file", "cert": "client.cert", "key": "client.key"}
    settings = {f"distributed.comm.tls.{keys[name]}": str(path) for name, path in files.items()}
    with config.set(settings), pytest.raises(RunError) as caught:
        execute([run()], RunStore(tmp_path / "runs"), cluster=TLS, quiet=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_tls_files_are_one_line(tmp_path):
    noise, absent = tmp_path / "noise.pem", tmp_path / "absent.pem"
    noise.write_text("no certificate")
    variable = "DASK_DISTRIBUTED__COMM__TLS__"
    said = tls_fault(tmp_path)
    assert f"CLUSTER={TLS}: TLS needs {variable}CA_FILE, which is not set; docs/clusters" in said
    assert f"{variable}CLIENT__CERT, which is not set" in tls_fault(tmp_path, ca=noise)
    said = tls_fault(tmp_path, ca=noise, cert=noise, key=absent)
    assert f"{variable}CLIENT__KEY={absent}: no such file" in said
    said = tls_fault(tmp_path, ca=noise, cert=noise, key=noise)
    assert f"{noise}: no certificate with its key that can be read (" in said


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes the files")
def test_with_its_tls_files_a_scheduler_is_asked(tmp_path):
    key, cert = tmp_path / "sacd.key", tmp_path / "sacd.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=sacd"]
    command = ["openssl", *words, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    assert "does not answer" in tls_fault(tmp_path, ca=cert, cert=cert, key=key)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tcp://127.0.0.1:1", "refused"),
        ("127.0.0.1:8786", "write it as tcp://host:port"),
        ("tcp://127.0.0.1:99999", ""),
        ("nonsense://x", "write it as"),
    ],
)
def test_a_bad_address_is_one_line(tmp_path, address, why):
    with pytest.raises(RunError, match=f"CLUSTER={address} does not answer .*{why}") as caught:
        execute([run()], RunStore(tmp_path / "runs"), cluster=address, quiet=True)
    assert "\n" not in str(caught.value)
