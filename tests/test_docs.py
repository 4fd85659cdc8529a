"""The documentation agrees with the code: nothing missing, nothing invented, nothing that only works here."""

import importlib.util
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer.main

import pathscope
from archive.create import ensure_archive
from archive.layout import Layout
from archive.store import Archive, open_archive
from pathscope.__main__ import app
from pathscope.guard import PACKAGES
from tests.data.make_archive import populate

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
FOLDER_READMES = sorted([*ROOT.glob("*/README.md"), ROOT / "alembic" / "README"])
COMMANDS = typer.main.get_command(app)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# both are opened once for all statements: opening takes longer than most of them


@pytest.fixture(scope="module")
def empty_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    archive = open_archive(ensure_archive(tmp_path_factory.mktemp("docs") / "empty.duckdb").database)
    with archive.session():
        yield archive


@pytest.fixture(scope="module")
def populated(empty_archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Rows in every table."""
    layout = Layout.of(tmp_path_factory.mktemp("docs") / "full.duckdb")
    layout.make_folders()
    shutil.copy(empty_archive.layout.database, layout.database)
    populate(layout)
    archive = open_archive(layout.database)
    with archive.session():
        yield archive


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Fenced blocks of the given languages ("" for those without one)."""
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        if language in languages:
            yield body


def pairs(*languages: str) -> list[object]:
    """(page, block) as test parameters with readable names."""
    return [
        pytest.param(page, block, id=f"{page.name}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks(page, *languages))
    ]


def typed_commands() -> list[object]:
    """Every `pathscope ...` or `make ...` that a page tells people to type."""
    found: dict[str, Path] = {}
    for page in PAGES:
        text = page.read_text()
        lines = [line for block in blocks(page, "", "sh", "bash") for line in block.splitlines()]
        for piece in [*lines, *re.findall(r"`([^`\n]+)`", text)]:
            words = piece.strip().removeprefix("$ ")
            if re.match(r"(pathscope|make) ", words):
                found.setdefault(words, page)
    return [pytest.param(words, id=f"{page.name}: {words}") for words, page in found.items()]


def test_generated_pages_are_fresh(generate: ModuleType) -> None:
    for path, text in generate.pages().items():
        assert path.read_text() == text, f"{path.name} is stale: run `make docs`"


@pytest.mark.parametrize("words", typed_commands())
def test_commands_in_the_documentation_exist(words: str) -> None:
    program, name, *rest = shlex.split(words)
    if program == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert {word for word in (name, *rest) if "=" not in word} <= targets
        return
    command = COMMANDS
    waiting = [name, *rest]
    while hasattr(command, "get_command") and waiting and re.match("[a-z0-9]", waiting[0]):
        word = waiting.pop(0)
        found = command.get_command(None, word)
        assert found is not None, f"no command {word!r}"
        command = found
    options = {
        spelling for parameter in command.params for spelling in (*parameter.opts, *parameter.secondary_opts)
    }
    assert {word.split("=")[0] for word in waiting if re.match("--?[a-z]", word)} <= options | {"--help"}


@pytest.mark.parametrize(("page", "statement"), pairs("sql"))
def test_sql_in_the_documentation_runs(
    page: Path, statement: str, empty_archive: Archive, populated: Archive
) -> None:
    columns = empty_archive.query(statement).schema.names
    assert columns
    if not statement.startswith("PIVOT"):  # whose columns are values
        assert populated.query(statement).schema.names == columns


@pytest.mark.parametrize(("page", "program"), pairs("python"))
def test_python_in_the_documentation_uses_names_that_exist(page: Path, program: str) -> None:
    compile(program, str(page), "exec")
    for name in re.findall(r"\bpathscope\.(\w+)", re.sub(r'"[^"]*"', "", program)):
        assert hasattr(pathscope, name)


@pytest.mark.parametrize("page", [*PAGES, *FOLDER_READMES], ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def mentions() -> list[object]:
    """Every `docs/page.md`, with the heading where one follows, that code and messages send people to."""
    found = {
        (page, heading): str(path.relative_to(ROOT))
        for package in ("pathscope", *PACKAGES)
        for path in (ROOT / package).rglob("*.py")
        for page, heading in re.findall(r"docs/(\w+[.]md)(?:, ([A-Z][\w ]+))?", path.read_text())
    }
    return [pytest.param(*mention, id=f"{path}: {mention[0]}") for mention, path in found.items()]


@pytest.mark.parametrize(("page", "heading"), mentions())
def test_pages_and_headings_that_messages_name_exist(page: str, heading: str) -> None:
    assert re.search(rf"^#+ {re.escape(heading)}", (ROOT / "docs" / page).read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", FOLDER_READMES, ids=lambda p: str(p.relative_to(ROOT)))
def test_folder_readmes_are_short(page: Path) -> None:
    written = re.sub(r"<!-- measured: .*?<!-- end -->\s*", "", page.read_text(), flags=re.DOTALL)
    assert len(written.splitlines()) <= 25


def test_every_page_is_reachable_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    unlinked = {page.name for page in PAGES} - set(re.findall(r"\]\((\w+\.md)", index))

    assert unlinked == {"README.md", "index.md"}


def test_the_changelog_starts_with_this_version() -> None:
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert newest is not None
    assert newest[1] == pathscope.__version__


def tracked_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout: which files are tracked is unknown")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_file_names_a_package_registry_or_a_path_of_one_machine() -> None:
    # one-letter classes, so that this file passes its own test
    forbidden = re.compile(
        r"pypi[.]org|python[h]osted|download[.]pytorch|npm[j]s|/work[/](main|shared)|/opt[/]wheels"
    )
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in tracked_files()
        if (match := forbidden.search(path.read_bytes().decode("utf-8", errors="replace")))
    ]

    assert found == []
