"""The upkeep commands as people and cron call them: exit codes, JSON, nothing left behind."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from archive.layout import FOLDERS, Layout
from archive.store import Archive
from archive.upkeep import status as status_module
from archive.upkeep.raw_file import block_offset
from pathscope.__main__ import main
from tests.archive.upkeep import sample
from tests.archive.upkeep.conftest import Make
from tests.archive.upkeep.crash import open_elsewhere
from tests.archive.upkeep.test_damage import blocks, flip

ROOT = Path(__file__).resolve().parents[3]
Ran = tuple[int, str, str]


class Command:
    """Runs `pathscope ...` in this process on one archive."""

    def __init__(
        self, layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.layout, self.monkeypatch, self.capsys = layout, monkeypatch, capsys
        monkeypatch.setenv("COLUMNS", "200")

    def __call__(self, *words: str) -> Ran:
        """(exit code, stdout, stderr)."""
        self.monkeypatch.setattr(sys, "argv", ["pathscope", *words, "--archive", str(self.layout.database)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        out, err = self.capsys.readouterr()
        return int(code or 0), out, err

    def json(self, *words: str) -> tuple[int, Any]:
        code, out, _ = self(*words, "--json")
        return code, json.loads(out)


@pytest.fixture
def run(full: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(full, monkeypatch, capsys)


def test_status_for_people_and_for_programs(run: Command) -> None:
    code, out, _ = run("status")
    assert code == 0
    for words in (
        "4 runs",
        "toy.fact_head@1",
        "published",
        "OutOfMemory",
        "pathscope ingest toy.toml",
        "no published copy",
    ):
        assert words in out
    code, document = run.json("status", "--disk")

    assert code == 0
    assert document["contents"]["n_runs"] == 4
    assert [Path(d["path"]).name for d in document["disk"]] == ["x.duckdb", *(f.name for f in FOLDERS)]
    assert document["queue"]["n_shards"] == 0
    code, out, _ = run("status", "--disk")
    assert all(folder.kept[:20] in out for folder in FOLDERS)


def test_status_is_an_alarm_for_cron(run: Command) -> None:
    assert run("status", "--max-age", "26h")[0] == 0
    code, out, _ = run("status", "--max-age", "0s")
    assert (code, "stale" in out) == (1, True)
    assert run.json("status", "--max-age", "0s")[1]["stale"] is True
    code, _, err = run("status", "--max-age", "soon")
    assert (code, "26h" in err) == (2, True)


def test_status_while_somebody_writes(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module.read_status, "__kwdefaults__", {"patience": 0.05})
    with open_elsewhere(run.layout.database, read_only=False) as (pid, _):
        code, out, _ = run("status")
        assert (code, str(pid) in out, "there is no published copy" in out) == (75, True, True)
    assert run("publish")[0] == 0
    with open_elsewhere(run.layout.database, read_only=False):
        code, out, _ = run("status")
        assert (code, "Read from the published copy" in out, "4 runs" in out) == (0, True, True)
        assert run.json("status")[1]["read_from"].endswith("current.duckdb")


def test_verify_and_its_exit_code(run: Command) -> None:
    code, out, _ = run("verify")
    assert (code, "everything is whole" in out) == (0, True)
    assert run("verify", "--quiet")[:2] == (0, "")
    flip(run.layout.database, block_offset(min(blocks(run.layout.database)["fact_token"])) + 50)
    code, out, err = run("verify")
    assert (code, "fact_token" in out, "docs/recovery.md" in out) == (1, True, True)
    assert "Traceback" not in out + err
    code, document = run.json("verify")
    assert (code, document["ok"]) == (1, False)
    assert {f["kind"] for f in document["findings"]} == {"damage"}


def test_publish_and_optimize(run: Command) -> None:
    code, document = run.json("publish")
    assert (code, Path(document["snapshot"]).is_file(), document["previous"]) == (0, True, None)
    assert "published" in run("publish")[1]
    assert run("publish", "--quiet")[:2] == (0, "")
    code, document = run.json("optimize")
    assert (code, document["n_bytes_after"] > 0) == (0, True)
    assert "before" in run("optimize")[1]


def test_upgrade_of_a_new_archive_renews_its_views(run: Command) -> None:
    code, document = run.json("upgrade")

    assert (code, document["copy"], document["before"]) == (0, None, document["after"])
    assert "already" in run("upgrade")[1]


def test_export_and_its_warning(run: Command, tmp_path: Path) -> None:
    code, out, err = run("export", str(tmp_path / "out"), "--format", "parquet")
    assert (code, "README.md" in out, "published" in err) == (0, True, True)
    code, _, err = run("export", str(tmp_path / "out"))
    assert (code, "rm -r" in err) == (2, True)
    code, document = run.json("export", str(tmp_path / "two"), "--no-text", "--runs", "toy/*")
    assert (code, document["runs"], document["unlicensed_sources"]) == (0, 3, [])
    assert run("export", str(tmp_path / "three"), "--format", "csv")[0] == 2


def test_drop_asks_first(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def names() -> list[str]:
        return [r["run"] for r in Archive(run.layout.database).rows("SELECT run FROM v_run ORDER BY run")]

    before = names()
    code, out, _ = run("drop", "--run", "toy/a", "--dry-run")
    assert (code, "would drop" in out, "fact_head" in out) == (0, True, True)
    for words in (("--run", "toy/a"), ("--run", "toy/a", "--json")):
        code, out, err = run("drop", *words)
        assert (code, "--yes" in out + err) == (2, True)
    for words in ((), ("--run", "toy/a", "--measure", "loss", "--yes")):
        assert run("drop", *words)[0] == 2
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

    def no(*args: object, **options: object) -> None:
        raise typer.Abort

    monkeypatch.setattr("typer.confirm", no)
    assert run("drop", "--run", "toy/a")[0] == 1
    assert names() == before
    monkeypatch.setattr("typer.confirm", lambda *args, **options: True)
    code, out, _ = run("drop", "--run", "toy/a")
    assert (code, "pathscope optimize" in out) == (0, True)
    code, document = run.json("drop", "--run", "toy/b", "--yes")
    assert (code, document["dropped"], document["runs"]) == (0, True, ["toy/b"])
    assert names() == ["pub/a", "toy/log"]
    code, _, err = run("drop", "--run", "toy/lag", "--yes")
    assert (code, "toy/log" in err) == (2, True)


def test_tag_and_exclude(run: Command) -> None:
    assert run.json("tag", "toy/a", "good")[1] == {"run": "toy/a", "action": "tag", "changed": True}
    assert "as before" in run("tag", "toy/a", "good")[1]
    assert run("tag", "toy/a", "good", "--remove", "--quiet")[:2] == (0, "")
    assert run("exclude", "toy/a")[0] == 2
    code, out, _ = run("exclude", "toy/a", "--reason", "spike [see log]")
    assert (code, "spike [see log]" in out) == (0, True)
    assert "spike" in run("status")[1]
    assert run("exclude", "toy/a", "--undo", "--reason", "x")[0] == 2
    assert run.json("exclude", "toy/a", "--undo")[1]["changed"] is True


def test_merge(run: Command, make: Make) -> None:
    other = make("other", sample.little("toy/z"), sample.little("toy/a", value=9.0))
    code, out, _ = run("merge", str(other.database), "--dry-run")
    assert (code, "lacked here" in out, "1 run" in out) == (0, True, True)
    code, out, _ = run("merge", str(other.database))
    assert (code, "what is here stays" in out, "entered" in out) == (0, True, True)
    code, document = run.json("merge", str(other.database))
    assert (code, document["n_cells"], set(document["wanted"].values())) == (0, 0, {0})
    assert run("merge", str(run.layout.database))[0] == 2


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("verify",),
        ("publish",),
        ("optimize",),
        ("upgrade",),
        ("export", "out"),
        ("drop", "--run", "a", "--yes"),
        ("tag", "a", "b"),
        ("exclude", "a", "--reason", "b"),
        ("merge", "other.duckdb"),
        ("commit",),
        ("commit", "--replay"),
    ],
    ids=" ".join,
)
def test_a_path_without_an_archive_is_left_as_it_was(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command = Command(Layout.of(tmp_path / "none.duckdb"), monkeypatch, capsys)
    code, _, err = command(*words)
    assert (code, "no archive at" in err) == (2, True)
    code, document = command.json(*words)
    assert (code, document["error"], document["exit_code"]) == (2, "ArchiveNotFound", 2)

    assert list(tmp_path.iterdir()) == []


def test_status_loads_nothing_slow(full: Layout) -> None:
    program = (
        "import sys; from pathscope.__main__ import app; app(standalone_mode=False)\n"
        "print('LOADED', *[m for m in ('torch', 'streamlit', 'alembic', 'plotly', 'pandas', 'numpy.f2py') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "status", "--archive", str(full.database)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"
