"""`pathscope ingest` as cron runs it: empty environment, another directory, real processes, signals."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from archive.create import ensure_archive
from archive.store import Archive
from ingest.run.lock import study_lock
from pathscope.__main__ import app
from tests.torture.invariants import broken

ROOT = Path(__file__).resolve().parent.parent
STUDY = """
name = "tiny"
archive = "../results/x.duckdb"
[train]
steps = 12
task_params = { p = 5, frac_train = 0.5 }
model = { d_model = 8, n_heads = 2, d_mlp = 8 }
checkpoints = { per_octave = 0, every = 4 }
[seeds]
init = "0..1"
split = "0..1"
[measures]
names = ["loss", "head.previous_token"]
[executor]
processes = 1
seeds_per_process = 1
checkpoints_per_unit = 2
"""
N_CELLS = 2 * (5 + 2 * 4)


def command(*arguments: str) -> list[str]:
    """The installed script by its absolute path; in a checkout that is not installed, what it does."""
    script = Path(sys.executable).with_name("pathscope")
    if script.exists():
        return [str(script), *arguments]
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathscope.__main__ import main; main()"
    return [sys.executable, "-c", program, *arguments]


def cron(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to the end as cron would."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, cwd="/", env={})


def here(*arguments: str) -> Result:
    """The same in this process, where what is said counts and not who says it."""
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "studies" / "tiny.toml"
    path.parent.mkdir()
    path.write_text(STUDY)
    return path


@pytest.fixture
def archive(study: Path) -> Path:
    return study.parent.parent / "results" / "x.duckdb"


@pytest.fixture(scope="module")
def empty_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new archive to copy: making one takes a process that has just started a second."""
    return ensure_archive(tmp_path_factory.mktemp("template") / "x.duckdb").database


@pytest.fixture
def made(archive: Path, empty_archive: Path) -> Path:
    """The archive before its first study, where `archive` is."""
    archive.parent.mkdir()
    return Path(shutil.copy(empty_archive, archive))


def said(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


def test_a_night_is_silent_and_the_next_one_has_nothing_to_do(study: Path, made: Path) -> None:
    arguments = ("ingest", str(study), "--quiet", "--max-minutes", "10")
    assert said(cron(*arguments)) == (0, "", "")
    assert Archive(made).value("SELECT count(*) FROM v_cell WHERE state = 'done'") == N_CELLS
    assert broken(Archive(made)) == []
    silent = here(*arguments)
    assert (silent.exit_code, silent.output) == (0, "")

    report = here("ingest", str(study), "--json")
    assert (report.exit_code, report.stderr) == (0, "")
    [outcome] = json.loads(report.stdout)["studies"]
    assert (outcome["state"], outcome["cells"]["present"]) == ("nothing to do", N_CELLS)


def test_no_time_left_is_75_and_silent(study: Path, archive: Path) -> None:
    silent = here("ingest", str(study), "--quiet", "--max-minutes", "0")
    assert (silent.exit_code, silent.output) == (75, "")
    told = here("ingest", str(study), "--max-minutes", "0")
    assert told.exit_code == 75
    assert f"{N_CELLS} cells left (the time budget is spent); the same command again goes on" in told.stdout


def test_a_second_call_leaves_the_study_to_the_first(study: Path, made: Path) -> None:
    layout = ensure_archive(made)
    with study_lock(layout.folder / "study-tiny.lock", "tiny"):
        assert said(cron("ingest", str(study), "--quiet")) == (75, "", "")
        told = here("ingest", str(study))
        assert told.exit_code == 75
        assert f"is being ingested by process {os.getpid()} since" in told.stderr


def test_one_wrong_study_does_not_hold_up_the_others(study: Path, archive: Path) -> None:
    wrong = study.with_name("wrong.toml")
    wrong.write_text(STUDY.replace("steps", "stepps"))
    done = here("ingest", str(wrong), str(study), "--dry-run")
    assert done.exit_code == 2
    assert f"{wrong}: unknown key train.stepps = 12; did you mean 'steps'?" in done.stderr
    assert f"tiny: {N_CELLS} of {N_CELLS} cells to fill" in done.stdout
    assert not archive.exists()


@pytest.mark.slow
# what SIGKILL leaves is what torture/test_killed_ingest.py goes on from every time
@pytest.mark.parametrize(
    "sent", [signal.SIGTERM, signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.thorough)]
)
def test_a_signal_to_all_processes_is_survived(sent: signal.Signals, study: Path, made: Path) -> None:
    """As Ctrl-C and systemd send it: to the parent and its workers alike."""
    running = subprocess.Popen(
        command("ingest", str(study)),
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={},
        start_new_session=True,
    )
    assert running.stderr is not None
    assert "2 runs to train" in running.stderr.readline()
    os.killpg(running.pid, sent)
    running.communicate()
    assert running.returncode == (-9 if sent == signal.SIGKILL else 75)
    again = here("ingest", str(study), "--quiet", "--executor", "inline")
    assert (again.exit_code, again.output) == (0, "")
    assert Archive(made).value("SELECT count(*) FROM v_cell WHERE state = 'done'") == N_CELLS
    assert broken(Archive(made)) == []
