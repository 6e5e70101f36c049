"""Where runs are computed: this process, worker processes on this machine, or a Dask cluster."""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from itertools import takewhile
from typing import Any, Final

from sacd.runs.compute import Listener, compute
from sacd.runs.provenance import edited_since_import
from sacd.runs.store import Run, RunError, RunStore


class Pool:
    """This process, one run at a time."""

    room: float = 1

    def __init__(self, store: RunStore, resources: Mapping[str, str]) -> None:
        self.root, self.resources = str(store.root.resolve()), dict(resources)

    def submit(self, run: Run, priority: float, listener: Listener) -> Any:
        future: Future = Future()
        future.set_result(compute(self.root, run, run.id, self.resources, listener))
        return future

    def wait(self, handles: list[Any]) -> None:
        pass


class DaskPool(Pool):
    """Worker processes of a Dask cluster. `room` is what is handed over at a time."""

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
                f"CLUSTER={cluster} does not answer ({error}); is its scheduler running?"
            ) from error
        with client:
            # All that is ready at once: the scheduler balances it, and a cluster that grows on
            # demand sees the demand.
            yield DaskPool(store, resources, client, float("inf"))
        return
    with (
        _local_cluster(workers, len(todo), resources) as (own, number),
        Client(own, set_as_default=False) as client,
    ):
        # Nothing in advance: a run waits here, not in the queue of one busy worker, so that the
        # longest start first.
        yield DaskPool(store, resources, client, number)


SPAWNED = "distributed.nanny.pre-spawn-environ"
MALLOC = {"MALLOC_TRIM_THRESHOLD_": 2**30, "MALLOC_MMAP_THRESHOLD_": 2**25, "MALLOC_ARENA_MAX": 1}
"""glibc keeps freed memory. Dask has it given back at once; a training step of a small network then
takes 1.6 times as long, zeroing the same pages again and again."""


@contextmanager
def _local_cluster(
    workers: int | None, runs: int, resources: Mapping[str, str]
) -> Iterator[tuple[Any, int]]:
    """Worker processes of one thread on loopback, restarted when they die; with GPUs, each sees one of them."""
    import dask  # slow to import
    from dask.system import CPU_COUNT
    from distributed import Nanny, Scheduler, SpecCluster

    gpus = _gpus() if resources["device"] in ("auto", "cuda") else []
    number = min(workers or len(gpus) or CPU_COUNT, runs)
    here = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    # Errors of a run come back as text; all that a worker would say itself is that the scheduler
    # went before it did.
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
        )
        try:
            yield cluster, number
        finally:  # results are on disk; a busy machine may be slow to say good-bye
            with suppress(TimeoutError):
                cluster.close()


_GPU: Final = re.compile(r"\d+$|(GPU|MIG)-.")


def _gpus() -> list[str]:
    """Ids of the CUDA devices that this process may use, without starting CUDA."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    # CUDA takes a list up to its first invalid id: "", "-1" and "none" hide all.
    ids = (
        None if visible is None else list(takewhile(_GPU.match, map(str.strip, visible.split(","))))
    )
    if ids == [] or (ids is None and not shutil.which("nvidia-smi")):
        return []  # without the seconds that it takes to import torch
    import torch  # slow to import

    number = torch.cuda.device_count()
    return [str(i) for i in range(number)] if ids is None else ids[:number]
