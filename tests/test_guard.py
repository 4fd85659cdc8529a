"""The facade notices when a generic top-level name belongs to somebody else, before it imports anything."""

import subprocess
import sys
from pathlib import Path

import pytest

from pathscope.guard import MARKER, PACKAGES, ForeignPackage, check_packages

ROOT = Path(__file__).resolve().parent.parent


def test_this_installation_is_whole() -> None:
    check_packages()


def test_every_package_carries_the_marker_where_it_can_be_imported() -> None:
    for name in PACKAGES:
        assert MARKER in (ROOT / name / "__init__.py").read_text()


def install_foreign(site: Path, name: str, *, owner: str) -> None:
    """What pip leaves behind for a small distribution that owns the top-level package `name`."""
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").write_text("raise RuntimeError('the foreign package was imported')\n")
    info = site / f"{owner}-2.1.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {owner}\nVersion: 2.1.1\n")
    (info / "top_level.txt").write_text(f"{name}\n")
    (info / "RECORD").write_text(f"{name}/__init__.py,,\n")


@pytest.mark.parametrize("name", PACKAGES)
def test_a_foreign_package_is_named_with_its_distribution(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_foreign(tmp_path, name, owner="someones-package")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)

    with pytest.raises(
        ForeignPackage, match=f"{name!r} belongs to someones-package .*environment of its own"
    ):
        check_packages()


def test_a_folder_left_behind_without_its_init_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "left_behind").mkdir()
    (tmp_path / "left_behind" / "py.typed").touch()
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ForeignPackage, match=f"'left_behind' is not pathscope's .*{tmp_path.name}"):
        check_packages(["left_behind"])


def test_a_missing_package_says_how_to_install_again() -> None:
    with pytest.raises(ForeignPackage, match=r"'no_such_package' is missing.*--force-reinstall"):
        check_packages(["no_such_package"])


def test_parts_of_two_installations_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other_part").mkdir()
    (tmp_path / "other_part" / "__init__.py").write_text(f"{MARKER}\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ForeignPackage, match=r"two pathscope installations.*'other_part'"):
        check_packages(["archive", "other_part"])


def test_importing_pathscope_checks_first(tmp_path: Path) -> None:
    install_foreign(tmp_path, "queries", owner="someones-package")
    program = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import pathscope"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)

    assert result.returncode == 1
    assert "ForeignPackage: the top-level package 'queries' belongs to someones-package" in result.stderr
    assert "the foreign package was imported" not in result.stderr
