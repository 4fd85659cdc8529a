from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from archive.store import Archive
from tests.ui.archives import HOSTILE
from tests.ui.published.archive import HOSTILE_SET, MAIN_SET, STEPS, UNLICENSED
from ui.models.sources.figure import MOST_MEASURES, MOST_RUNS, grid_figure, grid_in_words, grid_notes
from ui.models.sources.files import PAGE_ROWS, files_page, problems, problems_in_words
from ui.models.sources.page import (
    SourceFacts,
    facts_html,
    overview,
    overview_in_words,
    source_grid,
    source_measures,
    sources,
    web_address,
)

Made = Callable[[str], Path]


@pytest.fixture
def archive(made: Made) -> Archive:
    return Archive(made("published"))


@pytest.fixture
def odd(made: Made) -> Archive:
    return Archive(made("published odd"))


def facts(archive: Archive) -> dict[str, SourceFacts]:
    return {f.source: f for f in sources(archive)}


def test_every_source_has_its_own_counts(archive: Archive) -> None:
    found = facts(archive)
    assert list(found) == ["pathscope", "suite"]
    here, suite = found["pathscope"], found["suite"]
    # 7 models × 6 steps × (3 tasks of acc, ppl, pct_stereotype)
    assert (suite.n_files, suite.n_runs, suite.n_measures, suite.n_numbers) == (42, 7, 3, 42 * 5)
    assert (suite.formats, suite.folders, suite.is_unlicensed) == (("lm-eval",), ("/data/suite",), False)
    assert suite.n_bytes == 7 * (6 * 1000 + sum(STEPS))
    assert (here.is_here, here.n_files, here.n_runs, here.first_import) == (True, 0, 1, None)
    assert here.n_numbers > 0
    words = overview_in_words(list(found.values()))
    assert "1 imported set with 210 rows of results, beside" in words
    assert "never mixed" in words


def test_a_catalogue_describes_runs_without_results(made: Made) -> None:
    listed = facts(Archive(made("registry only")))["suite"]
    assert (listed.n_runs, listed.n_described, listed.n_numbers) == (0, 3, 0)


def test_measures_say_which_other_source_has_them(archive: Archive) -> None:
    rows = {r["measure"]: r for r in source_measures(archive, source_id=1).to_pylist()}
    assert sorted(rows) == ["benchmark.acc", "benchmark.pct_stereotype", "benchmark.ppl"]
    assert rows["benchmark.acc"]["n_variants"] == 3
    assert rows["benchmark.acc"]["n_numbers"] == 42 * 3
    assert rows["benchmark.acc"]["others"] is None
    here = source_measures(archive, source_id=0).to_pylist()
    assert "loss" in {r["measure"] for r in here}
    assert not {r["measure"] for r in here} & set(rows)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://example.org/a/b?c=1#d", "https://example.org/a/b?c=1#d"),
        (" http://example.org ", "http://example.org"),
        ("https://example.org/(a)<b>\"'", "https://example.org/%28a%29%3Cb%3E%22'"),
        ("javascript:alert(1)", ""),
        ("data:text/html,<script>", ""),
        ("file:///etc/passwd", ""),
        ("git@github.com:a/b", ""),
        ("//example.org", ""),
        ("https:///path", ""),
        ("https://[bad", ""),
        ("https://example.org/ onclick=x", ""),
        ("", ""),
    ],
)
def test_only_web_addresses_become_links(text: str, address: str) -> None:
    assert web_address(text) == address


def test_facts_are_escaped_and_say_what_is_not_known(made: Made, odd: Archive) -> None:
    hostile = facts(Archive(made("published hostile")))[HOSTILE_SET.name]
    told = facts_html(hostile)
    assert "<img" not in told
    assert "<a " not in told  # neither javascript: nor an address with spaces in it
    assert "&lt;img src=x onerror=alert(1)&gt;" in told
    unknown = facts(odd)[UNLICENSED.name]
    assert unknown.is_unlicensed
    told = facts_html(unknown)
    assert "<dt>Licence</dt><dd>none found</dd>" in told
    assert "<code>--citation</code>" in told
    assert "<a " not in told
    known = facts_html(facts(Archive(made("published")))[MAIN_SET.name])
    assert f'<a href="{MAIN_SET.repository}" target="_blank" rel="noopener noreferrer">' in known
    assert f"<dd>{'a' * 40}</dd>" in known


def test_the_overview_links_only_what_may_be_followed(made: Made) -> None:
    tables = [overview(sources(Archive(made(name)))) for name in ("published", "published hostile")]
    assert [t["link"].to_pylist() for t in tables] == [[None, MAIN_SET.repository], [None, None]]
    assert tables[0]["n_files"].to_pylist() == [None, 42]
    assert tables[0]["licence"].to_pylist() == ["", "Apache-2.0"]


def test_files_come_in_pages_and_by_a_part_of_their_path(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PAGE_ROWS == 100
    monkeypatch.setattr("ui.models.sources.files.PAGE_ROWS", 10)
    first = files_page(archive, source="suite", word="", page=1)
    assert (first.n_files, first.n_pages, first.table.num_rows) == (42, 5, 10)
    last = files_page(archive, source="suite", word="", page=99)
    assert (last.page, last.table.num_rows) == (5, 2)
    assert last.sentence == "Files 41–42 of 42 files, by path. They gave 126 rows."
    found = files_page(archive, source="suite", word="SEED1_STEP10", page=1)
    assert found.table["path"].to_pylist() == sorted(found.table["path"].to_pylist())
    # steps 10, 100 and 1000 of two models
    assert found.n_files == 6
    none = files_page(archive, source="suite", word="%", page=1)
    assert (none.n_files, none.page, none.n_pages) == (0, 1, 1)
    assert "No file" in none.sentence
    # words are no patterns and no SQL
    assert files_page(archive, source="suite", word="' OR '1'='1", page=1).n_files == 0


def test_problems_are_counted_with_their_first_place(odd: Archive, archive: Archive) -> None:
    rows = {r["kind"]: r for r in problems(odd, source=UNLICENSED.name).to_pylist()}
    n_points = 4 * len(STEPS) - 2
    assert rows["result absent upstream"]["n"] == n_points
    assert rows["said of a run"] == {
        "kind": "said of a run",
        "words": "the seed is a guess",
        "n": 4,
        "example": "toy-70m-seed0",
    }
    assert rows["suspect checkpoint"]["n"] == 1
    assert rows["suspect checkpoint"]["example"] == "toy-70m-seed0 at step 2000"
    assert problems(archive, source="suite").num_rows == 0


def test_problems_are_told_letter_by_letter() -> None:
    found = pa.table(
        {"kind": ["note"] * 30, "words": [HOSTILE] * 30, "n": [1] * 30, "example": [HOSTILE] * 30}
    )
    lines = problems_in_words(found)
    assert len(lines) == 20
    assert "<img" not in lines[0].replace("\\<img", "")


def test_the_grid_is_fuller_where_a_run_has_more(odd: Archive) -> None:
    grid = source_grid(odd, source_id=1)
    figure = grid_figure(grid)
    (heat,) = figure.data
    z = np.array(heat.z)
    assert z.shape == (3, 4)
    # the second run has 4 of 6 checkpoints
    assert z[0].tolist() == pytest.approx([1, 0.3 + 0.7 * 4 / 6, 1, 1])
    assert "4 steps" in heat.hovertext[0][1]
    assert [t.strip() for t in figure.layout.yaxis.ticktext] == [
        "benchmark.acc",
        "benchmark.pct_stereotype",
        "benchmark.ppl",
    ]
    assert (
        grid_in_words(grid, "x")
        == "Grid of what x measured: 3 measures by 4 runs; every run has every measure."
    )
    assert grid_notes(grid) == []


def test_large_grids_are_cut_visibly() -> None:
    n_runs, n_measures = MOST_RUNS + 5, MOST_MEASURES + 1
    rows = [(f"r{i}", "m000") for i in range(n_runs)] + [("r0", f"m{k:03d}") for k in range(1, n_measures)]
    grid = pa.table(
        {
            "run_id": [int(r[1:]) for r, _ in rows],
            "run": [r for r, _ in rows],
            "measure": [m for _, m in rows],
            "n_cells": [1] * len(rows),
            "n_steps": [0] * len(rows),
            "n_numbers": [5] * len(rows),
        }
    )
    figure = grid_figure(grid)
    assert np.array(figure.data[0].z).shape == (MOST_MEASURES, MOST_RUNS)
    assert not figure.layout.xaxis.ticktext  # two hundred names cannot be read
    assert [line.split(" are drawn")[0] for line in grid_notes(grid)] == [
        f"The first {MOST_MEASURES} of {n_measures} measures",
        f"The first {MOST_RUNS} of {n_runs} runs",
    ]
    assert "cells have results" in grid_in_words(grid, "x")
    assert "training log" in figure.data[0].hovertext[0][0]
    assert "none" in figure.data[0].hovertext[1][1]
