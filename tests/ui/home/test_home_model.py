from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from archive.store import Archive
from tests.ui.archives import HOSTILE, Plan, schedule, write_archive
from ui.models.home.coverage import MAX_BINS, MAX_ROWS, coverage, coverage_figure, coverage_in_words, families
from ui.models.home.page import measures, overview, questions

Made = Callable[[str], Path]
N_STEPS = len(schedule(70))


def test_counts_of_the_demo(demo: Archive) -> None:
    found = overview(demo)
    # per run: 65 checkpoints × (2 losses + 2 accuracies + 2 norms + 4 heads) + 2 × 1201 logged losses
    assert found.n_numbers == 5 * (N_STEPS * 10 + 2 * 1201)
    assert (found.n_runs, found.n_checkpoints, found.n_conditions) == (5, 5 * N_STEPS, 1)
    assert (found.n_excluded, found.n_suspect, found.n_failed) == (0, 0, 0)
    assert found.n_bytes == demo.file.stat().st_size
    assert found.last_commit is not None
    assert abs((datetime.now(UTC) - found.last_commit).total_seconds()) < 3600
    assert not found.is_empty


def test_counts_of_an_empty_archive(made: Made) -> None:
    found = overview(Archive(made("empty")))
    assert found.is_empty
    assert (found.n_numbers, found.last_commit) == (0, None)


def test_what_is_wrong_is_counted(made: Made) -> None:
    found = overview(Archive(made("suspect")))
    assert (found.n_excluded, found.n_suspect) == (1, 2)
    assert overview(Archive(made("gaps"))).n_failed == 1


def test_measures_have_one_row_each(demo: Archive) -> None:
    rows = {row["measure"]: row for row in measures(demo).to_pylist()}
    assert set(rows) == {"accuracy", "head.previous_token", "log.loss", "loss", "weight_norm"}
    assert rows["loss"] == {
        "measure": "loss",
        "summary": "Mean cross-entropy.",
        "unit": "nats",
        "table_name": "fact_scalar",
        "n_variants": 1,
        "n_runs": 5,
        "n_cells": 5 * N_STEPS,
        "n_numbers": 5 * N_STEPS * 2,
        "n_failed": 0,
        "sources": "pathscope",
    }


def table(**names: str) -> pa.Table:
    n_runs = pa.array([3] * len(names), pa.int64())
    return pa.table({"measure": list(names), "table_name": list(names.values()), "n_runs": n_runs})


def test_there_are_three_questions_for_the_demo(demo: Archive) -> None:
    found = questions(measures(demo))
    assert [q.page for q in found] == ["curves", "transitions", "heads"]
    assert [q.parameters["measure"] for q in found] == ["accuracy", "loss", "head.previous_token"]


def test_questions_fall_back_on_what_is_there() -> None:
    found = questions(table(weight_norm="fact_scalar", event="fact_event"))
    assert [q.parameters["measure"] for q in found] == ["weight_norm"]
    assert questions(table()) == []


def test_questions_ask_of_what_most_runs_have() -> None:
    names = pa.table(
        {
            "measure": ["loss", "log.loss", "accuracy", "log.accuracy"],
            "table_name": ["fact_scalar", "fact_log"] * 2,
            "n_runs": [1, 148, 5, 5],
        }
    )
    assert [q.parameters["measure"] for q in questions(names)] == ["accuracy", "log.loss", "log.accuracy"]


def test_coverage_of_the_demo_is_whole(demo: Archive) -> None:
    (family,) = families(demo)
    found = coverage(demo, family=family.family)
    assert found.measures == ("accuracy", "head.previous_token", "loss", "weight_norm", "log.loss")
    assert found.first_step.tolist() == schedule(70)
    assert (found.n_points == 5).all()
    assert (found.share == 1).all()
    assert not found.n_failed.any()
    assert not found.n_suspect.any()
    assert found.is_log.tolist() == [False] * 4 + [True]


def test_coverage_shows_what_is_missing_and_what_failed(made: Made) -> None:
    archive = Archive(made("gaps"))
    found = coverage(archive, family="modular-addition")
    loss = found.measures.index("loss")
    missing = [k for k in range(found.n_columns) if found.share[loss, k] == 0]
    assert missing == [k for k in range(N_STEPS) if k % 7 == 3]
    assert found.n_failed[loss].nonzero()[0].tolist() == [N_STEPS - 1]
    assert found.share[loss, -1] == pytest.approx(2 / 3)
    assert "1 cell failed" in coverage_in_words(found, "x")


def test_coverage_marks_suspect_checkpoints(made: Made) -> None:
    found = coverage(Archive(made("suspect")), family="modular-addition")
    loss = found.measures.index("loss")
    assert found.n_suspect[loss].nonzero()[0].tolist() == [40, 41]
    figure = coverage_figure(found)
    (marks,) = [t for t in figure.data if t.name == "suspect"]
    assert set(marks.x) == {40, 41}


def test_many_steps_share_columns_and_lose_none(tmp_path: Path) -> None:
    steps = tuple(range(500))
    path = write_archive(tmp_path / "x.duckdb", [Plan("long", 0, steps=steps)], log=False, heads=False)
    found = coverage(Archive(path), family="modular-addition")
    assert found.n_columns == MAX_BINS
    assert found.n_points.sum() == 500
    assert (found.first_step[1:] == found.last_step[:-1] + 1).all()
    assert (found.share == 1).all()


def test_a_family_with_logs_alone_has_a_strip(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "x.duckdb", [Plan("log", 0, steps=())])
    found = coverage(Archive(path), family="modular-addition")
    assert coverage_in_words(found, "toy") == "toy: 1 measure in training logs, 1 of the 1 drawn complete."
    assert "even ranges" in coverage_figure(found).layout.xaxis.title.text
    assert found.measures == ("log.loss",)
    assert found.first_step[0] == 0
    assert found.last_step[-1] == 1200
    assert (found.share == 1).all()


def test_names_in_the_strip_are_not_markup(made: Made) -> None:
    archive = Archive(made("hostile"))
    (family,) = families(archive)
    found = coverage(archive, family=family.family)
    renamed = type(found)(**{**found.__dict__, "measures": (HOSTILE, *found.measures[1:])})
    figure = coverage_figure(renamed)
    assert not any("<img" in text for text in figure.layout.yaxis.ticktext)
    assert not any("<img" in text for row in figure.data[0].hovertext for text in row)


def test_rows_are_limited_and_said(demo: Archive) -> None:
    found = coverage(demo, family="modular-addition")
    assert found.n_hidden == 0
    assert len(found.measures) <= MAX_ROWS
    assert np.isfinite(found.share).all()
