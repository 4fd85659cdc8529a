"""kill -9 of a worker and of the parent at random moments, then the same study again: the same content.

One round by default; PATHSCOPE_TORTURE_ROUNDS=50 for a long night, PATHSCOPE_TORTURE_SEED to repeat one.
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from archive.layout import Layout
from archive.store import Archive
from pathscope.__main__ import app
from tests.torture.invariants import broken

ROOT = Path(__file__).resolve().parent.parent.parent
ROUNDS = int(os.environ.get("PATHSCOPE_TORTURE_ROUNDS", "1"))
SEED = int(os.environ.get("PATHSCOPE_TORTURE_SEED", "0"))
# what is killed in the first call, one after the other; what comes after it goes on to the end
VICTIMS = ("worker", "parent")
# seconds from the first checkpoint to the first kill and from there to the next: work takes two or three
BETWEEN = (0.0, 2.0)
STUDY = """
name = "tortured"
[train]
steps = 300
task_params = { p = 7, frac_train = 0.5 }
model = { d_model = 16, n_heads = 2, d_mlp = 32 }
checkpoints = { per_octave = 1, every = 30 }
[seeds]
init = "0..2"
split = "0..2"
[measures]
names = ["loss", "accuracy", "weight_norm", "head.previous_token"]
[executor]
processes = 2
checkpoints_per_unit = 2
"""
CONTENT = (
    "SELECT run, step, measure, part, value FROM v_log ORDER BY ALL",
    "SELECT run, step, measure, part, value, se, n_items FROM v_scalar ORDER BY ALL",
    "SELECT run, step, measure, layer, head, value FROM v_head_score ORDER BY ALL",
    "SELECT run, step, measure, state, n_rows FROM v_cell ORDER BY ALL",
    "SELECT run, step, weights_hash, tokens_seen FROM v_checkpoint ORDER BY ALL",
    "SELECT run, condition, init_hash, data_order_hash, final_step FROM v_run ORDER BY ALL",
)


def content(path: Path) -> list[str]:
    archive = Archive(path)
    return [hashlib.sha256(repr(archive.rows(sql)).encode()).hexdigest() for sql in CONTENT]


def here(study: Path, archive: Path) -> int:
    """Carry the study out in this process, which has started already; returns the exit code."""
    words = ["ingest", str(study), "--archive", str(archive), "--quiet", "--executor", "inline"]
    return CliRunner().invoke(app, words, catch_exceptions=False).exit_code


def start(study: Path, archive: Path) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "pathscope", "ingest", str(study), "--archive", str(archive), "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=environment)


def workers_of(parent: int) -> list[int]:
    """Worker processes, from /proc."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            ppid = int(status.read_text().rsplit(")", 1)[1].split()[1])
            if ppid == parent and b"spawn_main" in (status.parent / "cmdline").read_bytes():
                found.append(int(status.parent.name))
        except (OSError, IndexError):  # ended meanwhile
            continue
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("undisturbed")
    study = folder / "study.toml"
    study.write_text(STUDY)
    assert here(study, folder / "x.duckdb") == 0
    return content(folder / "x.duckdb")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="workers are found in /proc")
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_whatever_is_killed_whenever(round_: int, tmp_path: Path, undisturbed: list[str]) -> None:
    luck = random.Random(1000 * SEED + round_)
    study, archive = tmp_path / "study.toml", tmp_path / "x.duckdb"
    study.write_text(STUDY)
    kills: list[tuple[str, float]] = []
    running = start(study, archive)
    while running.poll() is None and not any(Layout.of(archive).checkpoints.rglob("*.safetensors")):
        time.sleep(0.05)  # processes start in anything from three seconds to half a minute
    for victim in VICTIMS:
        kills.append((victim, luck.uniform(*BETWEEN)))
        try:
            running.wait(kills[-1][1])
        except subprocess.TimeoutExpired:
            workers = workers_of(running.pid)
            if victim == "worker" and workers:
                os.kill(luck.choice(workers), signal.SIGKILL)
            else:
                running.kill()
    said = running.communicate()[1]
    assert running.returncode in (0, -signal.SIGKILL, 1), said
    if running.returncode == 1:  # a worker killed twice over one unit is named, and the next call goes on
        assert "WorkerLost" in said, said
    # workers of the killed parent may be ending still
    assert here(study, archive) == 0, (kills, running.returncode)
    assert content(archive) == undisturbed, (kills, running.returncode)
    assert broken(Archive(archive)) == []
    assert list(Layout.of(archive).failed.iterdir()) == []
