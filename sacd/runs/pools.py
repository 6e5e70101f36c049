"""Where runs are computed: in this process, in local worker processes, or on a Dask cluster."""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import takewhile
from typing import Any, Final

from sacd.runs.compute import Listener, compute
from sacd.runs.provenance import edited_since_import
from sacd.runs.store import Run, RunError, RunStore


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

    def submit(self, run: Run, priority: float, listener: Listener) -> Any:
        return self.client.submit(
            compute, self.root, run, run.id, self.resources, pure=False, priority=priority
        )

    def wait(self, handles: list[Any]) -> None:
        from distributed import wait  # slow to import

        if handles:
            with suppress(TimeoutError), self.client.as_current():
                wait(handles, timeout=0.5, return_when="FIRST_COMPLETED")


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
    from distributed import Client  # slow to import

    if cluster is not None:
        try:
            client = Client(cluster, set_as_default=False, timeout=30)
        except (OSError, ValueError) as error:
            raise RunError(
                f"CLUSTER={cluster} does not answer ({error}); check that its scheduler is running"
            ) from error
        with client:
            # Submit everything that is ready: the scheduler balances the load, and an adaptive
            # cluster grows with its queue.
            yield DaskPool(store, resources, client, float("inf"))
        return
    with (
        _local_cluster(workers, len(todo), resources) as (own, number),
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
def _local_cluster(
    workers: int | None, runs: int, resources: Mapping[str, str]
) -> Iterator[tuple[Any, int]]:
    """Single-threaded worker processes on loopback; dead ones restart, and each sees one GPU."""
    import dask  # slow to import
    from dask.system import CPU_COUNT
    from distributed import Nanny, Scheduler, SpecCluster

    gpus = _gpus() if resources["device"] in ("auto", "cuda") else []
    number = min(workers or len(gpus) or CPU_COUNT, runs)
    here = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    if tls := _own_tls():
        here |= {"security": tls, "protocol": "tls://"}
    # Errors of a run come back as text. A worker itself would only log that the scheduler has
    # shut down before it.
    options = here | {"nthreads": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    environment = [
        {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {} for i in range(number)
    ]
    with dask.config.set({SPAWNED: dask.config.get(SPAWNED) | MALLOC}):
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


def _own_tls() -> Any:
    """Certificates of this one cluster, None where `cryptography` is not installed.

    Whoever reaches the port of a scheduler runs code, and on a machine of several users that is
    each of them. With these, only this process and its workers can connect.
    """
    from distributed.security import Security  # slow to import

    return Security.temporary() if find_spec("cryptography") else None


_GPU: Final = re.compile(r"\d+$|(GPU|MIG)-.")


def _gpus() -> list[str]:
    """Ids of the CUDA devices that this process may use, without initialising CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    ids: list[str] | None = None
    if visible is not None:
        # CUDA reads the list up to its first invalid id: "", "-1" and "none" hide all devices.
        ids = list(takewhile(_GPU.match, map(str.strip, visible.split(","))))
    if ids == [] or (ids is None and not shutil.which("nvidia-smi")):
        return []  # saves the seconds that importing torch takes
    import torch  # slow to import

    number = torch.cuda.device_count()
    return [str(i) for i in range(number)] if ids is None else ids[:number]
