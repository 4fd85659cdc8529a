"""Who is at work, read from the lock files without taking a lock."""

import os
import subprocess
import sys
from pathlib import Path

from archive.holders import Holder, ingests, writer
from archive.layout import Layout
from archive.lock import writer_lock
from ingest.run.lock import study_lock


def test_nobody_is_at_work_where_there_is_no_folder(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / "x.duckdb")
    assert writer(layout) is None
    assert ingests(layout) == {}
    assert not layout.folder.exists()


def test_a_writer_is_named_while_it_writes(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / "x.duckdb")
    with writer_lock(layout, "commit", patience=1):
        found = writer(layout)
        assert found is not None
        assert found.alive
        assert f"process {os.getpid()} (commit) since" in found.words
    assert writer(layout) is None


def test_every_study_has_its_own(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / "x.duckdb")
    with study_lock(layout.folder / "study-tiny-2.lock", "tiny-2"):
        assert list(ingests(layout)) == ["tiny-2"]
        assert ingests(layout)["tiny-2"].alive
        # looking has not taken it from anybody
        with study_lock(layout.folder / "study-other.lock", "other"):
            assert list(ingests(layout)) == ["other", "tiny-2"]
    assert ingests(layout) == {}


def test_one_that_was_killed_leaves_its_words(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / "x.duckdb")
    layout.folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    words = f"process {process.pid} since 2026-01-01 00:00:00"
    (layout.folder / "study-gone.lock").write_text(words)
    assert ingests(layout) == {"gone": Holder(words, alive=False)}
    (layout.folder / "study-gone.lock").write_text("process 99999999999999999999 since")
    assert not ingests(layout)["gone"].alive
    (layout.folder / "study-gone.lock").write_text("something else")
    assert not ingests(layout)["gone"].alive
