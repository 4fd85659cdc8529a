from pathlib import Path

import pytest

from archive.errors import UsageError
from pathscope.commands.common import archive_path
from pathscope.settings import load_settings


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PATHSCOPE_ARCHIVE", raising=False)
    return tmp_path


def test_the_default_is_in_this_folder(empty_folder: Path) -> None:
    assert archive_path(None) == empty_folder / "pathscope.duckdb"


def test_the_file_beats_the_default(empty_folder: Path) -> None:
    (empty_folder / "pathscope.toml").write_text('archive = "mine.duckdb"\n')
    assert archive_path(None) == empty_folder / "mine.duckdb"


def test_the_environment_beats_the_file(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_folder / "pathscope.toml").write_text('archive = "mine.duckdb"\n')
    monkeypatch.setenv("PATHSCOPE_ARCHIVE", "/elsewhere/x.duckdb")
    assert archive_path(None) == Path("/elsewhere/x.duckdb")


def test_the_option_beats_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATHSCOPE_ARCHIVE", "/elsewhere/x.duckdb")
    assert archive_path(Path("/given/y.duckdb")) == Path("/given/y.duckdb")


def test_a_wrong_value_is_named_with_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATHSCOPE_SQL_SECONDS", "soon")
    with pytest.raises(UsageError, match=r"'sql_seconds' is 'soon'.*PATHSCOPE_SQL_SECONDS"):
        load_settings()


def test_an_unknown_setting_is_refused(empty_folder: Path) -> None:
    (empty_folder / "pathscope.toml").write_text("archiv = 1\n")
    with pytest.raises(UsageError, match="'archiv' is 1"):
        load_settings()
