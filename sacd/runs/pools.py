"""Where runs are computed: in this process, in local worker processes, or on a Dask cluster."""

import logging
import re
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from typing import Any, Final

from sacd.runs.compute import Listener, compute
from sacd.runs.device import device_kind, gpus, runs_per_gpu
from sacd.runs.provenance import edited_since_import
from sacd.runs.store import Run, RunError, RunStore
from sacd.runs.tls import client_tls, own_tls
from sacd.workers import deaf_children

log = logging.getLogger(__name__)
SAY_AFTER_S: Final = 10
"""Time without a worker after which the user is told."""
GIVE_UP_AFTER_S: Final = 3600
"""Time without a worker after which nothing is waited for; a queue of a cluster may be long."""
CONNECT_S: Final = 10
"""Longest time until a scheduler's port accepts a connection."""


class Pool:
    """Computes in this process, one run at a time."""

    room: float = 1
    """Maximum number of runs submitted at a time."""

    def __init__(self, store: RunStore, resources: Mapping[str, str]) -> None:
        self.root, self.resources = str(store.root.resolve()), dict(resources)

    def submit(self, run: Run, priority: float, listener: Listener) -> Any:
        future: Future = Future()
        future.set_result(compute(self.root, run, run.id, self.resources, listener))
        return future

    def wait(self, handles: list[Any]) -> None:
        pass


class DaskPool(Pool):
    """Computes in the worker processes of a Dask cluster."""

    def __init__(
        self, store: RunStore, resources: Mapping[str, str], client: Any, room: float
    ) -> None:
        super().__init__(store, resources)
        self.client, self.room = client, room

    def submit(self, run: Run, priority: float, listener: Listener, **chosen: Any) -> Any:
        # pure=False: Dask would take a run that failed before for the same task, and not repeat it.
        task = (compute, self.root, run, run.id, self.resources)
        return self.client.submit(*task, pure=False, priority=priority, **chosen)

    def wait(self, handles: list[Any]) -> None:
        from distributed import wait  # slow to import

        if handles:
            with suppress(TimeoutError), self.client.as_current():
                wait(handles, timeout=0.5, return_when="FIRST_COMPLETED")


class ClusterPool(DaskPool):
    """Computes on a cluster that somebody else runs; workers with other code are left out.

    A worker is asked once, when it appears, which ids it gives to some of the runs.
    """

    def __init__(
        self, store: RunStore, resources: Mapping[str, str], client: Any, todo: list[Run], name: str
    ) -> None:
        super().__init__(store, resources, client, 0)
        self.name = name
        # One run of each kind: they have the code of all.
        self.samples = list({(run.task, run.modules): run for run in todo}.values())
        self.threads: dict[str, int] = {}
        """Of the workers that are good."""
        self.left_out: set[str] = set()
        self.alone_since, self.said = time.monotonic(), False
        self._survey()
        if self.left_out and not self.threads:
            number = len(self.left_out)
            raise RunError(f"CLUSTER={name}: no worker is left but {number} left out, see above")

    def submit(self, run: Run, priority: float, listener: Listener) -> Any:
        chosen = {"workers": sorted(self.threads)} if self.threads else {}
        handle = super().submit(run, priority, listener, **chosen)
        handle.chosen = set(self.threads)
        return handle

    def wait(self, handles: list[Any]) -> None:
        try:
            super().wait(handles)
        except CancelledError as error:
            raise _lost(f"CLUSTER={self.name}") from error
        self._survey()
        if self.threads:
            self.alone_since, self.said = time.monotonic(), False
            for handle in handles:
                # A worker that was started again has another address.
                if not handle.done() and not handle.chosen & self.threads.keys():
                    handle.astray = True
                    handle.cancel()
            return
        waited = time.monotonic() - self.alone_since
        kind = "worker with this code" if self.left_out else "worker"
        what = f"CLUSTER={self.name}: no {kind} is connected to its scheduler"
        if waited >= GIVE_UP_AFTER_S:
            raise RunError(f"{what} for {GIVE_UP_AFTER_S / 60:g} minutes; start workers and repeat")
        if waited >= SAY_AFTER_S and not self.said:
            self.said = True
            log.warning(
                "%s; start one by `dask worker %s` (waiting up to %g minutes)",
                what, self.name, GIVE_UP_AFTER_S / 60,
            )  # fmt: skip

    def _survey(self) -> None:
        """Ask the workers that are new, and forget those that are gone."""
        if self.client.status != "running":
            raise _lost(f"CLUSTER={self.name}")
        try:
            # `client.scheduler_info()` may return a copy that names no worker.
            asked = self.client.sync(self.client.scheduler.identity, n_workers=-1)
            there = {worker: about["nthreads"] for worker, about in asked["workers"].items()}
            new = sorted(there.keys() - self.threads.keys() - self.left_out)
            said = {}
            if new:
                said = self.client.run(_ids, self.samples, workers=new, on_error="return")
        except OSError as error:  # the scheduler ended meanwhile, or the worker did
            if self.client.status != "running":
                raise _lost(f"CLUSTER={self.name}") from error
            return
        self.threads = {w: n for w, n in self.threads.items() if w in there}
        self.left_out &= there.keys()
        wanted = _ids(self.samples)
        for worker, ids in said.items():
            if ids == wanted:  # an id holds a hash of the code: equal ids, equal code
                self.threads[worker] = there[worker]
                continue
            why = "it has other code than this machine; check out the same commit on both"
            if isinstance(ids, Exception):
                why = f"it cannot import this package ({ids}); install it there"
            self.left_out.add(worker)
            log.warning("worker %s is left out: %s, and restart it", worker, _one_line(why))
        # Little waits in the queue, so that workers that come later get their share, too; an
        # adaptive cluster grows as long as anything waits.
        self.room = 2 * sum(self.threads.values()) + 2


def _ids(runs: list[Run]) -> list[str]:
    return [run.id for run in runs]


def _lost(cluster: str) -> RunError:
    # Its client would log a traceback while it closes.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    return RunError(
        f"{cluster}: the scheduler is lost; what was finished is kept: start it again, and "
        "repeat the command"
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _connect(cluster: str) -> Any:
    """Client of a cluster; an address where nothing listens is noticed within seconds."""
    from distributed import Client  # slow to import

    # Before a connection: a scheduler that answers says nothing of a key that is not there.
    security = client_tls(cluster) if cluster.startswith("tls://") else None
    address = re.fullmatch(r"(?:tcp|tls)://\[?([^/\]]+)\]?:(\d+)/?", cluster)
    try:
        if address is None:
            raise ValueError("write it as tcp://host:port")
        socket.create_connection((address[1], int(address[2])), CONNECT_S).close()
        return Client(cluster, set_as_default=False, timeout=30, security=security)
    except (OSError, ValueError, OverflowError) as error:
        raise RunError(
            f"CLUSTER={cluster} does not answer ({_one_line(str(error))}); check that its "
            "scheduler is running"
        ) from error


def outcome_of(handle: Any) -> tuple[str, str]:
    """What `compute` returned; errors of the worker or the cluster are "failed" or "refused".

    Raises:
        RunError: the scheduler is lost.
    """
    if getattr(handle, "astray", False):
        return "refused", "its worker was lost"
    try:
        return handle.result()
    except ImportError as error:  # on a worker that lacks the package
        return "refused", f"{type(error).__name__}: {error}"
    except CancelledError:
        raise _lost("CLUSTER") from None
    # Errors of the task come back as text, so this is an error of the worker or the cluster.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        if type(error).__name__ == "KilledWorker":
            reason = "its worker process died repeatedly (out of memory, or a native crash)"
        return "failed", reason


@contextmanager
def open_pool(
    store: RunStore,
    todo: list[Run],
    workers: int | None,
    cluster: str | None,
    resources: Mapping[str, str],
) -> Iterator[Pool]:
    """The pool for the runs `todo`, see `sacd.runs.execute.execute`."""
    # A single run needs no worker process, unless this process has imported an older version.
    alone = workers is None and len(todo) == 1 and not edited_since_import(todo[0].entries)
    if cluster is None and (workers == 0 or alone):
        yield Pool(store, resources)
        return
    if cluster is not None:
        with _connect(cluster) as client:
            yield ClusterPool(store, resources, client, todo, cluster)
        return
    from distributed import Client  # slow to import

    with (
        _local_cluster(workers, len(todo)) as (own, number),
        Client(own, set_as_default=False) as client,
    ):
        # One run per worker: the others wait here instead of in the queue of a busy worker, so
        # that the longest run starts first.
        yield DaskPool(store, resources, client, number)


SPAWNED = "distributed.nanny.pre-spawn-environ"
MALLOC = {"MALLOC_TRIM_THRESHOLD_": 2**30, "MALLOC_MMAP_THRESHOLD_": 2**25, "MALLOC_ARENA_MAX": 1}
"""Lets glibc keep freed memory. With Dask's setting it returns memory at once, and zeroing the same
pages again makes a training step of a small network 1.6 times slower."""


@contextmanager
def _local_cluster(workers: int | None, runs: int) -> Iterator[tuple[Any, int]]:
    """Single-threaded worker processes on loopback; dead ones restart, and each sees one GPU.

    Several share a GPU; see `runs_per_gpu`.
    """
    import dask  # slow to import
    from dask.system import CPU_COUNT
    from distributed import Nanny, Scheduler, SpecCluster

    cards = gpus() if device_kind() == "cuda" else []
    fitting = min(len(cards) * runs_per_gpu(), CPU_COUNT) if cards else CPU_COUNT
    number = min(workers or fitting, runs)
    here = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    if tls := own_tls():
        here |= {"security": tls, "protocol": "tls://"}
    # Errors of a run come back as text. A worker itself would only log that the scheduler has
    # shut down before it.
    options = here | {"nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    environment = [
        {"CUDA_VISIBLE_DEVICES": cards[i % len(cards)]} if cards else {} for i in range(number)
    ]
    with dask.config.set({SPAWNED: dask.config.get(SPAWNED) | MALLOC}):
        # The thread that starts the workers inherits that it does not hear Ctrl-C, and so do they.
        with deaf_children():
            cluster = SpecCluster(
                scheduler={"cls": Scheduler, "options": here | {"port": 0}},
                workers={
                    i: {"cls": Nanny, "options": options | {"env": env}}
                    for i, env in enumerate(environment)
                },
                silence_logs=logging.ERROR,
                security=tls,
            )
        try:
            yield cluster, number
        finally:  # results are on disk, so a slow shutdown on a busy machine does no harm
            with suppress(TimeoutError):
                cluster.close()
