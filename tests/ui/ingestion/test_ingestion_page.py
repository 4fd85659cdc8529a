"""The Ingest page: what it says, that it never stands in a writer's way, and that a real ingest goes on beside it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from archive.committer import commit_inbox
from archive.errors import ArchiveBusy
from archive.layout import Layout
from archive.store import Archive
from tests.ui.ingestion.archive import WANTED, unit
from tests.ui.seen import figures, plain
from tests.ui.test_state import held
from ui.parts.ingestion import page as parts

Page = Callable[..., AppTest]
Made = Callable[[str], Path]

STUDY = """
name = "beside"
[train]
steps = 12
task_params = { p = 5, frac_train = 0.5 }
model = { d_model = 8, n_heads = 2, d_mlp = 8 }
checkpoints = { per_octave = 0, every = 4 }
[seeds]
init = "0..1"
[measures]
names = ["loss", "weight_norm"]
[executor]
kind = "inline"
seeds_per_process = 1
checkpoints_per_unit = 2
"""


def cards(app: AppTest) -> dict[str, str]:
    return {m.label: m.value for m in app.metric}


def test_it_says_what_is_there_and_what_is_not(page: Page, made: Made) -> None:
    app = page("ingestion", "ingestion")
    assert not app.exception
    assert (cards(app)["Wait in the inbox"], cards(app)["Set aside"], cards(app)["Failed cells"]) == (
        "1",
        "1",
        "3",
    )
    assert cards(app)["Being ingested"] == "0"
    table = app.dataframe[0].value
    assert table["n_missing"].tolist() == [0, WANTED - 16]
    assert len(figures(app)) == 2
    commands = [c.value for c in app.code]
    path = made("ingestion")
    # the study that is not done is the one whose commands are shown
    assert app.selectbox(key="study").value == "half way"
    assert f"pathscope ingest 'half way.toml' --archive {path}" in commands
    assert f"pathscope ingest 'half way.toml' --retry-failed --archive {path}" in commands
    assert f"pathscope commit --archive {path}" in commands
    said = plain(app)
    assert "its checksum is <i>wrong</i>" in said
    assert any(c.startswith("Traceback") and c.endswith("RuntimeError: out of memory") for c in commands)


def test_an_address_sets_the_study_and_holds_the_page_still(page: Page) -> None:
    app = page("ingestion", "ingestion", study="done", paused="true")
    assert "Everything it wants is there" in plain(app)
    assert "does not look again by itself" in plain(app)
    link = next(c.value for c in app.code if "study=" in c.value)
    assert "study=done&paused=true" in link
    assert page("ingestion", "ingestion", study="<b>", paused="x").selectbox(key="study").value == "half way"


def test_an_empty_archive_shows_the_command_that_fills_it(page: Page, made: Made) -> None:
    app = page("empty", "ingestion")
    assert app.code[0].value == f"pathscope demo --archive {made('empty')}"


def test_a_study_that_somebody_is_at_says_so(page: Page, own: Made) -> None:
    path = own("ingestion")
    lock = Layout.of(path).folder / "study-half way.lock"
    lock.write_text(f"process {os.getpid()} since 2026-01-01 09:00:00")
    app = page(path, "ingestion")
    assert cards(app)["Being ingested"] == "1"
    assert f"half way is being ingested by process {os.getpid()}" in plain(app)
    assert "Units wait and nobody ingests" not in plain(app)
    assert "at least 3 are needed" in app.dataframe[0].value["basis"][1]


@pytest.mark.parametrize("name", ["ingestion", "integrity"])
def test_in_the_first_seconds_of_an_ingest_the_pages_say_that_it_is_running(
    page: Page, own: Made, name: str
) -> None:
    path = own("empty")
    lock = Layout.of(path).folder / "study-first.lock"
    lock.write_text(f"process {os.getpid()} since 2026-01-01 09:00:00")
    app = page(path, name)
    assert not app.exception
    assert f"first is being ingested by process {os.getpid()}" in plain(app)
    assert "looks every few seconds and shows them by itself" in plain(app)
    assert not [c.value for c in app.code if c.value.startswith("pathscope demo")]
    lock.write_text("")
    unit("later", ("z0",), 4).write(Layout.of(path).inbox)
    app = page(path, name)
    assert next(c.value for c in app.code if c.value.startswith("pathscope ")).startswith("pathscope commit")


def test_new_results_show_up_without_a_restart(page: Page, own: Made) -> None:
    path = own("ingestion")
    app = page(path, "ingestion")
    layout = Layout.of(path)
    assert not commit_inbox(layout).refused
    app.run()
    assert cards(app)["Wait in the inbox"] == "0"
    assert app.dataframe[0].value["n_missing"].tolist() == [WANTED - 16 - 8, 0]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> dict[str, parts.Look]:
    """What a visitor's session remembers, for looks as the fragment makes them: the harness runs whole pages only."""
    kept: dict[str, parts.Look] = {}
    monkeypatch.setattr(parts.st, "session_state", kept)
    monkeypatch.setattr(parts, "PATIENCE", 0.05)
    return kept


def test_while_somebody_writes_the_last_numbers_stay(own: Made, memory: dict[str, parts.Look]) -> None:
    path = own("ingestion")
    before, busy = parts._look(Archive(path))
    assert busy == ""
    unit("later", ("z0",), 4).write(Layout.of(path).inbox)
    commit_inbox(Layout.of(path))
    memory[parts._LAST] = replace(before, seconds=0.0)
    with held(path):
        found, busy = parts._look(Archive(path))
        assert "being written" in busy
        assert found.reading is before.reading
    found, busy = parts._look(Archive(path))
    assert busy == ""
    assert found.reading.progress.study("later") is not None
    assert before.reading.progress.study("later") is None


@pytest.mark.usefixtures("memory")
def test_the_first_look_at_a_held_archive_is_for_the_page_to_say(own: Made) -> None:
    path = own("ingestion")
    archive = Archive(path, patience=0.05)
    with held(path), pytest.raises(ArchiveBusy):
        parts._look(archive)


def test_a_slow_ledger_is_read_less_often(own: Made, memory: dict[str, parts.Look]) -> None:
    path = own("ingestion")
    first, _ = parts._look(Archive(path))
    assert parts._look(Archive(path)) == (first, "")
    commit_inbox(Layout.of(path))
    memory[parts._LAST] = replace(first, seconds=100.0)
    found, why = parts._look(Archive(path))
    assert "read less often" in why
    assert found.reading is first.reading


def test_a_real_ingest_goes_on_beside_the_page(page: Page, own: Made, tmp_path: Path) -> None:
    """Another process trains, measures and commits while the page is drawn again and again."""
    path = own("empty")
    study = tmp_path / "beside.toml"
    study.write_text(STUDY)
    words = [sys.executable, "-m", "pathscope", "ingest", str(study), "--archive", str(path), "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    app = page(path, "ingestion")
    assert "Nothing has come in yet" in plain(app)
    seen = set()
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            app.run()
            assert not app.exception
            assert not app.error
            seen.add(cards(app)["Being ingested"])
            time.sleep(0.4)  # as little as a fragment would: the ingest needs the core
        assert process.stderr is not None
        assert process.returncode == 0, process.stderr.read()
    app.run()
    assert "1" in seen, "the page saw nobody at work"
    assert cards(app)["Being ingested"] == "0"
    table = app.dataframe[0].value
    assert (table["study"].tolist(), table["share"].tolist(), table["n_missing"].tolist()) == (
        ["beside"],
        [100.0],
        [0],
    )
    assert "Everything it wants is there" in plain(app)
    assert not list(Layout.of(path).failed.iterdir())
