"""Table macros against planted curves and against the same computed in plain Python."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from archive.layout import Layout
from archive.macros import MACROS, Macro
from archive.records import Quantity
from archive.store import Archive
from archive.upkeep.marks import exclude
from tests.queries.simulated import (
    ACCURACY_HERE,
    GRID,
    HEADS_HERE,
    LOG_LOSS_HERE,
    LOSS_HERE,
    TEST,
    Simulation,
    measure,
)

STEPS = [0, 1, 2, 4, 8, 16, 32, 64]
LEAP = [0.0, 0.0, 0.0, 0.1, 0.1, 0.9, 1.0, 1.0]
LATE = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
TOKENS = Quantity(measure=measure("token_loss", "fact_token", scope="token"), encoding=GRID)


@pytest.fixture(scope="module")
def archive(empty_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Two seeds with curves, heads and tokens, a suspect checkpoint, and a larger model's tokens."""
    made = Simulation(empty_archive, tmp_path_factory.mktemp("macros"))
    a, b = made.seeds(2, prefix="small")
    large = made.run("large")
    made.curve(a, ACCURACY_HERE, STEPS, LEAP)
    made.curve(b, ACCURACY_HERE, STEPS, LATE)
    for run, shift in ((a, 0.0), (b, 0.5)):
        made.curve(run, LOSS_HERE, STEPS, [3 + shift - s / 64 for s in STEPS])
        made.heads(run, 8, np.array([[0.9, 0.1], [0.2, 0.3]]))
        made.heads(run, 64, np.array([[0.1, 0.2], [0.8 + shift / 10, 0.4]]))
    made.log(a, LOG_LOSS_HERE, [1, 2], {TEST: [5.0, 4.0]})
    made.scalar(a, LOSS_HERE, 70, {TEST: 99.0}, checkpoint={"integrity": "defect"})
    for run, values in (
        (a, [[1.0, 2.0, math.nan]]),
        (b, [[1.5, 1.0, math.nan]]),
        (large, [[2.0, 1.5, math.nan]]),
    ):
        owner, q = made._cell(run, TOKENS, 64, None)
        made.builder.add("fact_token", owner, q, sequence=np.arange(1), values=np.array(values))
    owner, q = made._cell(a, TOKENS, 1, None)
    made.builder.add("fact_token", owner, q, sequence=np.arange(1), values=np.array([[4.0, 4.0, math.nan]]))
    return made.commit()


@pytest.mark.parametrize("macro", MACROS, ids=lambda macro: macro.name)
def test_a_macro_says_what_it_is_and_answers_its_example(macro: Macro, archive: Archive) -> None:
    found = archive.rows(
        "SELECT comment FROM duckdb_functions() WHERE function_name = $name", {"name": macro.name}
    )
    assert found == [{"comment": macro.about}]
    assert re.fullmatch(r"[A-Z].{20,}\.", macro.about)
    assert archive.query(f"SELECT * FROM {macro.example}").num_columns > 3


def test_at_takes_the_last_point_no_later_and_leaves_suspects_out(archive: Archive) -> None:
    rows = archive.rows("SELECT run, step, value FROM m_at('loss', 100) ORDER BY run")
    assert [(r["run"], r["step"], r["value"]) for r in rows] == [("small0", 64, 2.0), ("small1", 64, 2.5)]
    assert [r["step"] for r in archive.rows("FROM m_at('loss', 63)")] == [32, 32]
    assert archive.rows("FROM m_at('loss', -1)") == []


def test_spread_counts_runs(archive: Archive) -> None:
    (row,) = archive.rows("FROM m_spread('loss') WHERE step = 64")
    assert (row["n_runs"], row["mean"], row["lowest"], row["highest"]) == (2, 2.25, 2.0, 2.5)
    assert row["sd"] == pytest.approx(0.5 / math.sqrt(2))


def test_reached_gives_brackets_and_keeps_those_that_never_do(archive: Archive) -> None:
    rows = archive.rows("FROM m_reached('accuracy', 'test', 0.9) ORDER BY run")
    assert [(r["run"], r["after_step"], r["by_step"], r["followed_to"]) for r in rows] == [
        ("small0", 8, 16, 64),
        ("small1", 64, None, 64),
    ]
    (first,) = archive.rows("FROM m_reached('accuracy', 'test', -1) WHERE run = 'small0'")
    assert (first["after_step"], first["by_step"]) == (None, 0)
    (falls,) = archive.rows("FROM m_reached('loss', 'test', 2.5, downwards := true) WHERE run = 'small0'")
    assert (falls["after_step"], falls["by_step"]) == (16, 32)


@pytest.mark.parametrize(("run", "values"), [("small0", LEAP), ("small1", LATE)])
def test_octave_share_is_that_of_a_plain_loop(run: str, values: list[float], archive: Archive) -> None:
    points = [(s, v) for s, v in zip(STEPS, values, strict=True) if s > 0]
    whole = max(v for _, v in points) - min(v for _, v in points)
    best = max(abs([w for t, w in points if t <= 2 * s][-1] - v) / whole for s, v in points)
    (row,) = archive.rows(f"FROM m_octave_share('accuracy', 'test') WHERE run = '{run}'")
    assert row["share"] == pytest.approx(best)
    assert row["n_points"] == len(points)
    if run == "small0":
        assert (row["share"], row["from_step"]) == (pytest.approx(0.8), 8)


def test_octave_share_of_a_logistic_is_its_closed_form(empty_archive: Path, tmp_path: Path) -> None:
    """tanh(1 / (4 w)) for a logistic in log2 steps of width w; less where points are sparse, never more."""
    simulation = Simulation(empty_archive, tmp_path)
    run = simulation.run("one")
    steps = np.unique(np.round(2 ** np.linspace(0, 16, 2000)).astype(int))
    simulation.curve(run, LOSS_HERE, steps.tolist(), list(1 / (1 + np.exp(-(np.log2(steps) - 10) / 0.5))))
    (row,) = simulation.commit().rows("FROM m_octave_share('loss', 'test')")
    assert row["share"] == pytest.approx(math.tanh(1 / 2), abs=0.005)


def test_top_heads_come_from_the_last_checkpoint(archive: Archive) -> None:
    name = HEADS_HERE.measure.name
    rows = archive.rows(f"FROM m_top_heads('{name}', 2) ORDER BY run, value DESC")
    assert [(r["run"], r["step"], r["layer"], r["head"]) for r in rows] == [
        (run, 64, 1, head) for run in ("small0", "small1") for head in (0, 1)
    ]
    assert archive.rows(f"FROM m_top_heads('{name}', 0)") == []


def test_token_delta_pairs_tokens_and_leaves_unpredicted_ones_out(archive: Archive) -> None:
    rows = archive.rows("FROM m_token_delta('small0', 1, 'small0', 64) ORDER BY position")
    assert [(r["position"], r["loss_a"], r["loss_b"], r["delta"]) for r in rows] == [
        (0, 4.0, 1.0, -3.0),
        (1, 4.0, 2.0, -2.0),
    ]


def test_small_only_takes_the_worst_case_of_both_sides(archive: Archive) -> None:
    rows = archive.rows("FROM m_small_only('small*', 'large*', 64) ORDER BY position")
    assert [(r["position"], r["n_small"], r["n_large"], r["margin"]) for r in rows] == [
        (0, 2, 1, 0.5),
        (1, 2, 1, -0.5),
    ]
    assert archive.rows("FROM m_small_only('none*', 'large*', 64)") == []


def test_excluded_runs_stay_out(archive: Archive, tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / "x.duckdb")
    layout.make_folders()
    layout.database.write_bytes(archive.file.read_bytes())
    exclude(layout, "small1", "a test")
    assert [r["run"] for r in Archive(layout.database).rows("FROM m_at('loss', 64)")] == ["small0"]
