"""Training: our batch of seeds against a plain module per seed, writing checkpoints, and a GPU where there is one.

CPU seconds of processes with one thread, each started as its kind is: ours as `ingest` starts its workers.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from benchmarks.measured import Measured, compare, words

ROOT = Path(__file__).resolve().parent.parent
MAINLINE = {"p": 113, "frac_train": 0.3, "d_model": 128, "lr": 1e-3, "weight_decay": 1.0}
TINY = {"p": 17, "frac_train": 0.5, "d_model": 32, "lr": 1e-3, "weight_decay": 1.0}
# updates that are not timed: memory is mapped, kernels are chosen
N_BEFORE = 2


def measure(folder: Path) -> Iterable[Measured]:
    """Speed on one thread, the share of writing, and a GPU's batches."""
    for what, settings, n_seeds, steps, promised in (
        ("p = 113, 1 seed", MAINLINE, 1, 8, 0.4),
        ("p = 17 (144 examples), 16 seeds", TINY, 16, 60, 0.2),
    ):
        ours = partial(_timed, "ours", settings, n_seeds, steps)
        plain = partial(_timed, "plain", settings, n_seeds, steps)
        yield compare(
            f"training, {what}, {steps} steps; the published form as a module per seed (CPU seconds, one thread)",
            ours, plain, times=3, promised=promised,
        )  # fmt: skip
        yield compare(
            f"the same, the module with the allocator settings of our workers as well ({what})",
            ours, partial(_timed, "plain", settings, n_seeds, steps, with_allocator=True), times=2, promised=None,
        )  # fmt: skip
    yield _writing(folder)
    yield from _on_a_gpu()


def _timed(
    kind: str, settings: dict[str, float], n_seeds: int, steps: int, *, with_allocator: bool = False
) -> float:
    """CPU seconds of `steps` updates of all seeds, in a process of its own."""
    from ingest.train.spec import WORKER_ENV

    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    added = WORKER_ENV if kind == "ours" or with_allocator else one_thread
    without = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_train", kind, json.dumps([settings, n_seeds, steps])],
        cwd=ROOT, env={**without, **added}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return float(done.stdout)


def train_ours(settings: dict[str, float], n_seeds: int, steps: int, device: str = "cpu") -> float:
    """Seconds of `steps` updates with everything an update does but keeping checkpoints: CPU, or wall on a GPU."""
    from ingest.train.spec import Seeds, TrainSpec
    from ingest.train.trainer import train_batch

    d_model = int(settings["d_model"])
    spec = TrainSpec.model_validate(
        {
            "task_params": {"p": int(settings["p"]), "frac_train": settings["frac_train"]},
            "model": {"d_model": d_model, "d_mlp": 4 * d_model},
            "optimizer": {"lr": settings["lr"], "weight_decay": settings["weight_decay"]},
            "checkpoints": {"per_octave": 0, "every": None},
            "steps": N_BEFORE + steps + 1,  # the last step is not timed: it writes
        }
    )
    clock = time.process_time if device == "cpu" else _gpu_clock
    at: dict[int, float] = {}

    def on_step(step: int) -> None:
        if step in (N_BEFORE, N_BEFORE + steps):
            at[step] = clock()

    runs = [(f"run{k}", Seeds(init=k, data_order=k, split=k)) for k in range(n_seeds)]
    with tempfile.TemporaryDirectory() as folder:
        train_batch(spec, runs, Path(folder), on_step=on_step, device=device)
    return at[N_BEFORE + steps] - at[N_BEFORE]


def train_plain(settings: dict[str, float], n_seeds: int, steps: int) -> float:
    """CPU seconds of `steps` updates of every seed, one seed after the other."""
    import torch

    from benchmarks.plain_module import PlainTraining

    torch.set_num_threads(1)
    p = int(settings["p"])
    total = 0.0
    for seed in range(n_seeds):
        training = PlainTraining(
            seed, p=p, n_train=int(settings["frac_train"] * p**2), d_model=int(settings["d_model"]),
            lr=settings["lr"], weight_decay=settings["weight_decay"],
        )  # fmt: skip
        for _ in range(N_BEFORE):
            training.update()
        began = time.process_time()
        for _ in range(steps):
            training.update()
        total += time.process_time() - began
    return total


def _writing(folder: Path) -> Measured:
    """Wall seconds of the quick start's checkpoints, states and logs for five seeds, against those of its updates."""
    from unittest import mock

    from ingest.train import trainer
    from ingest.train.checkpoints import write_checkpoint
    from ingest.train.spec import Seeds, TrainSpec

    spent = [0.0]

    def timing(write: Callable[..., object]) -> Callable[..., object]:
        def timed(*args: object, **named: object) -> object:
            began = time.perf_counter()
            result = write(*args, **named)
            spent[0] += time.perf_counter() - began
            return result

        return timed

    quick_start = TrainSpec()
    # a stretch of the even part of the schedule: so many updates and checkpoints as the whole has on average
    n_kept = len(quick_start.checkpoint_steps())
    every = round(quick_start.steps / n_kept)
    spec = TrainSpec.model_validate(
        {"steps": 6 * every, "checkpoints": {"per_octave": 0, "every": every}},
    )
    runs = [(f"run{k}", Seeds(init=k, data_order=k, split=k)) for k in range(5)]
    with (
        tempfile.TemporaryDirectory(dir=folder) as into,
        mock.patch("ingest.train.trainer.write_checkpoint", timing(write_checkpoint)),
        mock.patch.object(trainer._Training, "save", timing(trainer._Training.save)),
    ):
        began = time.perf_counter()
        trainer.train_batch(spec, runs, Path(into))
        took = time.perf_counter() - began - spent[0]
    what = f"writing checkpoints, states and logs (left) against training (right): quick start, 5 seeds, one every {every}"
    return Measured(f"{what} steps", words(spent[0]), words(took), spent[0] / took, 0.02)


def _on_a_gpu() -> Iterable[Measured]:
    import torch

    if not torch.cuda.is_available():
        print("no CUDA device: training on one is not measured")
        return
    alone = train_ours(MAINLINE, 1, 500, "cuda") / 500
    for n_seeds in (64, 96):
        steps = 100
        each = train_ours(MAINLINE, n_seeds, steps, "cuda") / steps / n_seeds
        what = f"p = 113 on {torch.cuda.get_device_name()}: a seed-step among {n_seeds} seeds (left), alone (right)"
        yield Measured(what, f"{1000 * each:.3f} ms", f"{1000 * alone:.3f} ms", each / alone)


def _gpu_clock() -> float:
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    named = {"ours": train_ours, "plain": train_plain}
    print(named[sys.argv[1]](*json.loads(sys.argv[2])))
