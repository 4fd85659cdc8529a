"""Where units run: worker processes here, this process, or any executor of the user's.

Everything has the shape of concurrent.futures.Executor, so a cluster's executor can take the place.
"""

import importlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from archive.errors import UsageError
from ingest.run.stopping import prepare_worker
from ingest.studies.parts import ExecutorChoice
from ingest.train.spec import WORKER_ENV

T = TypeVar("T")


class WorkerProcesses(Executor):
    """n pools of one spawned process each.

    With one pool of n, the death of a process fails every unit in flight and does not say whose fault it
    was; here it fails the one unit that was running in it, and the next one gets a fresh process.
    """

    def __init__(self, n: int) -> None:
        self._pools: list[ProcessPoolExecutor | None] = [None] * n
        self._running: list[Future[Any] | None] = [None] * n

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Start a call in a free process; at most n may be running at a time."""
        slot = next(i for i, running in enumerate(self._running) if running is None or running.done())
        last = self._running[slot]
        if last is not None and last.exception() is not None:
            self._close(slot)  # the process may be dead; a unit's own errors never arrive as exceptions
        with _environment(WORKER_ENV), _no_interrupt():  # the process starts inside submit and inherits both
            try:
                future = self._pool(slot).submit(fn, *args, **kwargs)
            except BrokenProcessPool:  # killed while it had nothing to do
                self._close(slot)
                future = self._pool(slot).submit(fn, *args, **kwargs)
        self._running[slot] = future
        return future

    def _pool(self, slot: int) -> ProcessPoolExecutor:
        pool = self._pools[slot]
        if pool is None:
            spawn = multiprocessing.get_context("spawn")
            pool = self._pools[slot] = ProcessPoolExecutor(1, mp_context=spawn, initializer=prepare_worker)
        return pool

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes."""
        for pool in self._pools:
            if pool is not None:
                pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def kill(self) -> None:
        """End the processes at once; what they wrote to disk is whole."""
        for slot, pool in enumerate(self._pools):
            if pool is not None:
                for process in list((pool._processes or {}).values()):
                    process.kill()
                self._close(slot)

    def _close(self, slot: int) -> None:
        pool = self._pools[slot]
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
        self._pools[slot] = None


class InThisProcess(Executor):
    """Runs every call at once in the calling process: for notebooks, debuggers and tests."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run now; the future is done when this returns."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def make_executor(choice: ExecutorChoice) -> tuple[Executor, int]:
    """The executor a study (or --executor) asks for, and how many units may be under way in it.

    Raises UsageError for a kind that is neither known nor a callable giving an executor, and for a GPU where
    there is none.
    """
    n = n_processes(choice)
    if choice.kind in ("local", "inline") and choice.device == "cuda":
        _require_gpu()
    if choice.kind == "local":
        return WorkerProcesses(n), n
    if choice.kind == "inline":
        return InThisProcess(), 1
    module, _, name = choice.kind.partition(":")
    try:
        made = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"executor {choice.kind!r} is neither 'local' nor 'inline' nor an importable 'package.module:callable' "
            f"({type(error).__name__}: {error})"
        ) from None
    if not isinstance(made, Executor):
        raise UsageError(
            f"executor {choice.kind!r} gives a {type(made).__name__}, not a concurrent.futures.Executor"
        )
    return made, n


def _require_gpu() -> None:
    """Refuse here, or every run would be entered as failed for good."""
    import torch  # not on other devices: the parent of CPU workers does without

    if not torch.cuda.is_available():
        raise UsageError(
            f'executor.device = "cuda", but torch {torch.__version__} finds no GPU on this machine. Nothing was run. '
            'Install a CUDA build of torch (docs/torch.md), or write device = "cpu".'
        )


def n_processes(choice: ExecutorChoice) -> int:
    """Worker processes: as the study says, else one per core this process may use, or one for a GPU."""
    if choice.kind == "inline":
        return 1
    return choice.processes or (n_cores() if choice.device == "cpu" else 1)


def n_cores() -> int:
    """Cores this process may use, which in a container or under taskset are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Hold back Ctrl-C, for good in processes started meanwhile: theirs would die of it while still importing."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
