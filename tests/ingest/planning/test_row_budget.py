"""How many rows a plan writes, per measure, and what is refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from archive.store import Archive
from ingest.planning.estimate import BudgetExceeded, Estimate, check_budget
from ingest.planning.row_budget import MAX_OTHER_ROWS, MAX_ROWS, MeasureRows, rows_of_plan
from ingest.planning.rows import rows_of_cell
from ingest.planning.wanted import Wanted, WantedCondition, WantedMeasure
from ingest.studies.parts import Budget
from tests.ingest.run.running import TOML, go

GPT2_SMALL = SimpleNamespace(n_layers=12, n_heads=12, d_mlp=3072)


@pytest.mark.parametrize(
    ("scope", "params", "rows", "gigabytes"),
    [
        ("head", {}, 144, 144 * 40e-9),
        ("head pair", {}, 66, 66 * 144 * 12e-9),
        ("unit top", {"k": 20}, 36_864, 36_864 * 20 * 12e-9),
        ("unit", {}, 60, 60 * 3072 * 4e-9),
        ("token", {}, 200, 200 * 512 * 4e-9),
        ("token top", {"k": 64}, 200 * 511, 200 * 511 * 65 * 8e-9),
        ("attention", {"items": 4, "positions": 64}, 4 * 144, 4 * 144 * 64 * 64 * 4e-9),
        ("item", {}, 1500, 1500 * 40e-9),
    ],
)
def test_rows_of_gpt2_small(scope: str, params: dict[str, int], rows: int, gigabytes: float) -> None:
    found = rows_of_cell(scope, GPT2_SMALL, params, n_sequences=200, n_tokens=200 * 512, n_items=1500)
    assert found[0] == rows
    assert found[1] / 1e9 == pytest.approx(gigabytes, rel=1e-3)


def test_neurons_at_every_checkpoint_of_a_long_series_are_too_many_and_a_dozen_are_not() -> None:
    rows, _ = rows_of_cell("unit top", GPT2_SMALL, {"k": 20})
    assert 609 * 5 * rows > MAX_ROWS["unit top"] > 13 * 5 * rows
    rows, _ = rows_of_cell("head", GPT2_SMALL, {})
    assert 609 * 10 * rows < MAX_ROWS["head"]


def one(measure: str, scope: str, rows: int, eval_set: str = "") -> WantedMeasure:
    return WantedMeasure(
        measure,
        f"{measure}{eval_set}",
        (0, 1),
        eval_set=eval_set,
        scope=scope,
        rows=rows,
        row_bytes=10 * rows,
    )


def plan_of(*cells: dict[int, tuple[str, ...]]) -> Any:
    tasks = [SimpleNamespace(run=SimpleNamespace(label="a"), all_cells=of_run) for of_run in cells]
    return cast(Any, SimpleNamespace(tasks=tasks))


WANTED = Wanted(
    {
        "a": WantedCondition(
            1,
            (),
            (one("neuron.top", "unit top", 8), one("loss", "split", 3, "x"), one("loss", "split", 5, "y")),
        )
    },
    "",
)


def test_rows_are_those_of_the_cells_that_are_left() -> None:
    plan = plan_of({0: ("neuron.top", "loss@x"), 1: ("loss@x", "loss@y")}, {1: ("neuron.top",)})
    found = rows_of_plan(plan, WANTED, {"loss": 10})
    assert found == (
        MeasureRows("neuron.top", 2, 16, 160e-9, MAX_ROWS["unit top"]),
        MeasureRows("loss", 3, 11, 110e-9, 10),
    )
    assert [measure.is_beyond for measure in found] == [False, True]
    assert rows_of_plan(plan_of({1: ("loss@y",)}), WANTED, {}) == (
        MeasureRows("loss", 1, 5, 50e-9, MAX_OTHER_ROWS),
    )


def test_rows_of_runs_that_are_trained_are_those_that_are_written(tmp_path: Path) -> None:
    text = TOML.replace('"loss", "weight_norm"', '"loss", "token_loss", "head.previous_token", "neuron.top"')
    planned = go(tmp_path / "x.duckdb", text, dry_run=True).estimated
    assert planned is not None
    assert go(tmp_path / "x.duckdb", text).state == "done"
    stored = Archive(tmp_path / "x.duckdb").rows(
        """SELECT measure, count(*) AS cells, sum(n_rows)::BIGINT AS rows FROM v_cell
           WHERE measure IN ('token_loss', 'head.previous_token', 'neuron.top') GROUP BY ALL"""
    )
    found = {one.measure: (one.cells, one.rows) for one in planned.rows if one.measure != "loss"}
    assert found == {row["measure"]: (row["cells"], row["rows"]) for row in stored}
    assert len(found) == 3


def test_a_plan_beyond_it_is_refused_with_numbers_and_what_to_change() -> None:
    def check(*rows: MeasureRows) -> None:
        estimated = Estimate(2, 0.1, 0.1, 1, False, rows=rows)
        check_budget(estimated, Budget(), Path("s.toml"), Path("/tmp/x.duckdb"))

    check(MeasureRows("token_top", 5, 100, 0.1, limit=100))
    beyond = MeasureRows("token_top", 5, 12_345_678, 6.42, limit=100, less="fewer tokens")
    with pytest.raises(BudgetExceeded) as caught:
        check(MeasureRows("loss", 5, 100, 0.1, limit=100), beyond)
    said = str(caught.value)
    for words in (
        "12,345,678 rows (5 cells, 6.42 GB), allowed 100",
        'measures.schedule."token_top" = "sparse"',
        "fewer tokens",
        'measures.max_rows."token_top"',
        "Nothing was run.",
    ):
        assert words in said
    assert "loss" not in said
