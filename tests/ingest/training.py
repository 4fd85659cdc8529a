"""Small trainings, in this process and in others, and what they leave behind."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from ingest.models.small import initial_rows
from ingest.train.checkpoints import checkpoint_runs, iter_checkpoints, iter_log_segments, load_run
from ingest.train.spec import Seeds

ROOT = Path(__file__).parents[2]
SMALL = {
    "task_params": {"p": 7},
    "model": {"d_model": 16, "d_mlp": 32},
    "optimizer": {"weight_decay": 1.0},
    "checkpoints": {"per_octave": 1, "every": 5},
    "steps": 24,
}
BATCHES = {**SMALL, "batch": 4}


def seeds(k):
    """k for all three."""
    return Seeds(init=k, data_order=k, split=k)


def runs(*numbers):
    """Runs by name, number k with k for all its seeds."""
    return [(f"run{k}", seeds(k)) for k in numbers]


def hashes(folder):
    """{(run, step): weights hash} of every kept checkpoint."""
    return {
        (run, step): load_run(path, run).weights_hash
        for step, path in iter_checkpoints(folder)
        for run in checkpoint_runs(path)
    }


def logs(folder):
    """{(run, metric): values from step 0 on}, checking that segments join without gap or overlap."""
    joined, expected = {}, {}
    for segment in iter_log_segments(folder):
        assert segment.after_step == expected.get(segment.run, -1)
        assert segment.steps.tolist() == list(range(segment.after_step + 1, segment.last_step + 1))
        expected[segment.run] = segment.last_step
        for metric, values in segment.values.items():
            joined[segment.run, metric] = [*joined.get((segment.run, metric), []), *values]
    return joined


def train_in_another_process(spec, named, folder, *, die_at=None, saves=(), env=None):
    """Exit code of a process that trains, saves after the updates `saves`, and kills itself after `die_at`."""
    arguments = {
        "spec": spec.model_dump_json(),
        "runs": [[name, own.model_dump()] for name, own in named],
        "folder": str(folder),
        "die_at": die_at,
        "saves": list(saves),
    }
    command = [sys.executable, "-m", "tests.ingest.train.killed_trainer", json.dumps(arguments)]
    return subprocess.run(command, cwd=ROOT, check=False, env=env).returncode


def same_log(a, b):
    """True when two results of `logs` are equal bit for bit."""
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k], equal_nan=True) for k in a)


def poisoned(layout, init_seeds, dtype):
    """As initial_rows, but the run of init seed 1 starts with weights that are far too large."""
    rows = initial_rows(layout, init_seeds, dtype)
    for row, seed in enumerate(init_seeds):
        if seed == 1:
            rows[row] *= 1e30  # overflows in the first product
    return rows
