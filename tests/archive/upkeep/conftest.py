import pickle
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from archive.committer import commit_inbox
from archive.layout import Layout
from archive.shard import ShardBuilder
from archive.upkeep.publish import publish
from archive.upkeep.verify import verify
from tests.archive.upkeep import sample

Make = Callable[..., Layout]
Shown = dict[str, list[tuple[Any, ...]]]
Built = dict[tuple[str | bytes, ...], Layout]


def build(template: Path, folder: Path, name: str, *builders: ShardBuilder) -> Layout:
    """An archive with the given units committed, in this order; called again, it adds to the same archive."""
    layout = Layout.of(folder / f"{name}.duckdb")
    layout.make_folders()
    if not layout.database.exists():
        shutil.copy(template, layout.database)
    for builder in builders:
        builder.write(layout.inbox)
    if builders:
        assert commit_inbox(layout, patience=5).refused == []
    return layout


def twin(layout: Layout, folder: Path, name: str) -> Layout:
    """A copy of a whole archive, folders and all."""
    copy = Layout.of(folder / f"{name}.duckdb")
    shutil.copy(layout.database, copy.database)
    shutil.copytree(layout.folder, copy.folder)
    return copy


def content_of(builder: ShardBuilder) -> bytes:
    """Equal for two builders only if both would write the same."""
    said = {k: v for k, v in vars(builder).items() if k != "_quantity_index"}  # which holds ids of objects
    return pickle.dumps(said)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Archives that a test of this file has begun with, by name and content: committing again takes 20 times longer."""
    folder = tmp_path_factory.mktemp("built")
    known: Built = defaultdict(lambda: Layout.of(folder / f"{len(known)}.duckdb"))
    yield known
    shutil.rmtree(folder)


@pytest.fixture
def make(empty_archive: Path, built: Built, tmp_path: Path) -> Make:
    def make(name: str, *builders: ShardBuilder) -> Layout:
        if not builders or (tmp_path / f"{name}.duckdb").exists():
            return build(empty_archive, tmp_path, name, *builders)
        template = built[name, *map(content_of, builders)]
        if template.database.exists():
            return twin(template, tmp_path, name)
        layout = build(empty_archive, tmp_path, name, *builders)
        twin(layout, template.database.parent, template.database.stem)
        return layout

    return make


@pytest.fixture(scope="session")
def full_template(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return build(
        empty_archive,
        tmp_path_factory.mktemp("full"),
        "full",
        sample.everything(),
        sample.content(),
        sample.everything("toy/b", value=2.0),
        sample.imported(),
        sample.told_by_others(),
        sample.failed(),
        sample.log_segment(-1, 4),
        sample.log_segment(4, 9),
    )


@pytest.fixture
def full(full_template: Layout, tmp_path: Path) -> Layout:
    """An archive of its own with something in every table."""
    return twin(full_template, tmp_path, "x")


@pytest.fixture(scope="session")
def full_shown(full_template: Layout) -> Shown:
    """What `full` shows before anybody does anything with it."""
    return sample.shown(full_template)


@pytest.fixture(scope="session")
def safe_template(full_template: Layout, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    layout = twin(full_template, tmp_path_factory.mktemp("safe"), "safe")
    assert verify(layout).ok
    publish(layout)
    return layout


@pytest.fixture
def safe(safe_template: Layout, tmp_path: Path) -> Layout:
    """The same, verified and published, so that only time decides what retention removes."""
    return twin(safe_template, tmp_path, "x")
