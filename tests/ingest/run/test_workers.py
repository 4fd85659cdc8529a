"""Where training runs: a process per core, each with one thread and the allocator settings it needs from its start."""

import os
import sys
from pathlib import Path

import pytest

from ingest.run.groups import batch_size
from ingest.run.workers import InThisProcess, WorkerProcesses, make_executor, n_cores, n_processes
from ingest.studies.parts import ExecutorChoice
from ingest.train.spec import WORKER_ENV, TrainSpec


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_are_processes_that_started_with_the_allocator_settings_and_one_thread() -> None:
    before = dict(os.environ)
    workers = WorkerProcesses(2)
    try:
        # as it was when the program started: the allocator looks then and never again
        asked = [workers.submit(Path.read_bytes, Path("/proc/self/environ")) for _ in range(2)]
        environments = [
            dict(entry.split("=", 1) for entry in one.result(60).decode().split("\0") if entry)
            for one in asked
        ]
        processes = {one.result(60) for one in [workers.submit(os.getpid) for _ in range(2)]}
    finally:
        workers.shutdown()
    for environment in environments:
        assert WORKER_ENV.items() <= environment.items()
    assert int(WORKER_ENV["MALLOC_MMAP_THRESHOLD_"]) >= 2**30  # large buffers come from the heap too
    assert int(WORKER_ENV["MALLOC_TRIM_THRESHOLD_"]) > int(WORKER_ENV["MALLOC_MMAP_THRESHOLD_"])
    assert WORKER_ENV["OMP_NUM_THREADS"] == WORKER_ENV["MKL_NUM_THREADS"] == "1"
    assert len(processes | {os.getpid()}) == 3
    assert dict(os.environ) == before


def test_there_is_a_process_for_every_core_or_one_for_a_gpu() -> None:
    assert n_processes(ExecutorChoice()) == n_cores() >= 1
    assert n_processes(ExecutorChoice(processes=5)) == 5
    assert n_processes(ExecutorChoice(device="cuda")) == 1
    assert n_processes(ExecutorChoice(kind="inline", processes=5)) == 1
    executor, n = make_executor(ExecutorChoice(kind="inline"))
    assert isinstance(executor, InThisProcess)
    assert n == 1


@pytest.mark.parametrize(("n_runs", "n_workers", "most"), [(5, 2, 3), (2, 8, 1), (6, 2, 3)])
def test_no_core_is_idle_while_another_has_runs_to_share(n_runs: int, n_workers: int, most: int) -> None:
    tiny = TrainSpec(task_params={"p": 5, "frac_train": 0.5}, model={"d_model": 8, "n_heads": 2, "d_mlp": 8})
    assert batch_size(tiny, n_runs, n_workers) == most
