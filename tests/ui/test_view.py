import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ui
from ui.view import discover, view

HOME = Path(ui.__file__).parent


def test_pages_are_found_in_order() -> None:
    found = discover()
    assert [v.url_path for v in found] == [
        "home",
        "questions",
        "curves",
        "transitions",
        "grokking",
        "trajectory",
        "seeds",
        "sizes",
        "compare",
        "benchmarks",
        "heads",
        "neuron",
        "search",
        "ingest",
        "integrity",
        "sources",
        "sql",
    ]
    assert list(dict.fromkeys(v.section for v in found)) == ["", "Training", "Runs", "Inside", "Archive"]
    assert all(v.file.is_file() and v.about.endswith(".") for v in found)


def test_every_page_runs_itself() -> None:
    # Streamlit runs the file as a script: without these lines the page is blank
    for v in discover():
        assert v.file.read_text().rstrip().endswith('if __name__ == "__main__":\n    show(render)'), v.file


def test_no_module_here_hides_another() -> None:
    # `streamlit run ui/app.py` puts ui/ first on the module path: a file there shadows what has its name
    here = {m.name for m in pkgutil.iter_modules([str(HOME)])}
    outside = [p for p in sys.path if Path(p or ".").resolve() != HOME]
    for name in here:
        assert name not in sys.stdlib_module_names
        assert importlib.machinery.PathFinder.find_spec(name, outside) is None, name
    assert not here & {"archive", "ingest", "queries", "pathscope"}


def test_a_page_needs_words() -> None:
    with pytest.raises(TypeError, match="'Mute': render needs a docstring"):

        @view(title="Mute", order=1, icon="", url_path="mute")
        def render(archive: object) -> None:
            pass


PAGE = '''
from ui.view import view
@view(title="T", order={order}, icon="", url_path="{path}")
def render(archive):
    """Says something."""
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "invented_views"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [m for m in sys.modules if m.startswith("invented_views")]:
        del sys.modules[name]


def test_two_pages_cannot_share_an_address(package: Path) -> None:
    (package / "one.py").write_text(PAGE.format(order=1, path="same"))
    (package / "two.py").write_text(PAGE.format(order=2, path="same"))
    with pytest.raises(TypeError, match=r"one\.py and two\.py share url_path 'same'"):
        discover("invented_views")


def test_a_file_without_a_page_is_named(package: Path) -> None:
    (package / "one.py").write_text("x = 1\n")
    with pytest.raises(TypeError, match=r"one\.py has no render"):
        discover("invented_views")
