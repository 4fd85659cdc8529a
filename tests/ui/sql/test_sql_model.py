import io
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import pytest

from archive.macros import MACROS
from archive.store import Archive
from archive.views import VIEWS
from archive.worked import WORKED
from tests.ui.archives import HOSTILE
from ui.models.copies import in_python, in_shell, to_csv, to_parquet
from ui.models.sql.examples import best_head, every_example
from ui.models.sql.page import (
    MOST_COLOURS,
    Axes,
    colour_columns,
    figure_in_words,
    first_rows,
    hidden_points,
    likely_axes,
    numeric_columns,
    result_figure,
    unique_names,
)
from ui.models.sql.schema import macro_names, public_views, table_macro

Made = Callable[[str], Path]

CURVES = pa.table(
    {
        "run": ["a", "a", "b", "b"],
        "step": [1, 2, 1, 2],
        "value": [0.1, 0.2, 0.3, None],
        "note": [None, "x", "y", "z"],
    }
)


def test_every_public_view_is_there_with_its_sentence_and_columns(demo: Archive) -> None:
    found = {v.name: v for v in public_views(demo)}
    assert {name: v.about for name, v in found.items()} == {v.name: v.about for v in VIEWS}
    assert ("value", "DOUBLE") in found["v_curve"].columns
    assert all(v.columns for v in found.values())


@pytest.mark.parametrize("archive", ["demo", "empty"])
def test_every_sample_and_every_example_runs(made: Made, archive: str) -> None:
    opened = Archive(made(archive))
    with opened.session():
        schema = [*public_views(opened), *(table_macro(opened, name=name) for name in macro_names())]
        for statement in [v.sample for v in schema] + [e.sql for e in every_example()]:
            opened.query(statement)


def test_every_macro_is_there_with_its_sentence_its_arguments_and_its_columns(demo: Archive) -> None:
    found = {name: table_macro(demo, name=name) for name in macro_names()}
    assert {name: m.about for name, m in found.items()} == {m.name: m.about for m in MACROS}
    assert found["m_at"].signature == "m_at(measure_name, at_step)"
    assert found["m_at"].sample == "SELECT *\nFROM m_at('loss', 1000)\nLIMIT 20"
    assert [name for name, _ in found["m_spread"].columns][-5:] == [
        "n_runs",
        "mean",
        "sd",
        "lowest",
        "highest",
    ]


def test_the_worked_questions_are_examples_under_their_numbers_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sql.md").read_text()
    titles = [one.title for one in every_example()]
    assert len(titles) == len(set(titles))
    numbered = [one for one in every_example() if one.title[0].isdigit()]
    assert [one.title.split(".")[0] for one in numbered] == [str(k) for k in range(1, len(WORKED) + 1)]
    assert len(WORKED) == 18
    for one in numbered:
        assert f"**{one.title}**" in page
        assert f"```sql\n{one.sql}\n```" in page


@pytest.mark.parametrize(
    "sql",
    ["SELECT 1 AS x", "SELECT '''' AS \"a b\"", "SELECT '\\' AS x, '\"\"\"' AS y", "SELECT run\nFROM v_run"],
)
def test_a_statement_is_passed_on_letter_by_letter(demo: Archive, sql: str) -> None:
    words = shlex.split(in_shell(demo, sql))
    assert words == ["pathscope", "sql", sql, "--archive", str(demo.layout.database)]
    asked: list[str] = []

    class Opened:
        def query(self, statement: str) -> None:
            asked.append(statement)

    exec(in_python(demo, sql), {"pathscope": SimpleNamespace(open_archive=lambda path: Opened())})
    assert asked == [sql]


def test_examples_find_what_they_promise(demo: Archive) -> None:
    by_title = {e.title: e.sql for e in every_example()}
    grokked = demo.rows(by_title["When does each run first beat a test accuracy of 0.9?"])
    assert [row["run"] for row in grokked] == ["demo-s3", "demo-s0", "demo-s4", "demo-s2", "demo-s1"]
    heads = demo.rows(best_head("head.previous_token"))
    assert {row["head"] for row in heads} == {"L0H3"}


def test_time_goes_across_and_names_get_colours() -> None:
    assert numeric_columns(CURVES) == ["step", "value"]
    assert colour_columns(CURVES) == ["run", "step", "note"]
    assert likely_axes(CURVES) == Axes("step", "value", "run")
    assert likely_axes(CURVES.select(["run", "value"])) is None


def test_too_many_values_get_no_colours() -> None:
    table = pa.table(
        {
            "run": [str(k) for k in range(MOST_COLOURS + 1)],
            "a": range(MOST_COLOURS + 1),
            "b": 1.0 * np.arange(MOST_COLOURS + 1),
        }
    )
    assert colour_columns(table) == []
    assert likely_axes(table) == Axes("a", "b")


def test_the_figure_has_one_trace_a_colour_and_every_row() -> None:
    figure = result_figure(CURVES, Axes("step", "value", "run"), x_scale="linear", y_scale="log")
    assert [t.name for t in figure.data] == ["a", "b"]
    assert [list(t.x) for t in figure.data] == [[1, 2], [1, 2]]
    assert np.isnan(figure.data[1].y[1])
    assert len({(t.line.color, t.line.dash) for t in figure.data}) == 2
    assert figure.layout.yaxis.type == "log"
    assert figure_in_words(CURVES, Axes("step", "value", "run")).endswith("one colour per run; 4 rows.")


def test_what_a_log_axis_cannot_show_is_counted() -> None:
    table = pa.table({"x": [0, 1, 2, 3], "y": [1.0, -1.0, None, 2.0]})
    axes = Axes("x", "y")
    assert hidden_points(table, axes, x_scale="linear", y_scale="linear") == 0
    assert hidden_points(table, axes, x_scale="log", y_scale="linear") == 1
    assert hidden_points(table, axes, x_scale="log", y_scale="log") == 2


def test_points_out_of_order_are_not_joined() -> None:
    table = pa.table({"x": [3, 1, 2], "y": [1.0, 2.0, 3.0]})
    (trace,) = result_figure(table, Axes("x", "y"), x_scale="linear", y_scale="linear").data
    assert trace.mode == "markers"


def test_a_null_among_the_colours_keeps_its_rows() -> None:
    figure = result_figure(CURVES, Axes("step", "value", "note"), x_scale="linear", y_scale="linear")
    assert sum(len(t.x) for t in figure.data) == 4
    assert figure.data[0].name == "None"


def test_hostile_names_are_text() -> None:
    table = pa.table({HOSTILE: ["<b>", "<i>"], "<u>x": [1, 2], "y": [1.0, 2.0]})
    figure = result_figure(table, Axes("<u>x", "y", HOSTILE), x_scale="linear", y_scale="linear")
    assert "<" not in figure.to_json().replace("\\u003c", "<")


def test_csv_and_parquet_bring_the_table_back() -> None:
    assert pv.read_csv(io.BytesIO(to_csv(CURVES))).column("value").to_pylist() == [0.1, 0.2, 0.3, None]
    assert pq.read_table(io.BytesIO(to_parquet(CURVES))).equals(CURVES)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT [1, 2] AS l, {'a': 1, 'b': [NULL, 'x']} AS s, MAP {'k': 1} AS m, 1.5::DECIMAL(4, 2) AS d",
        "SELECT TIMESTAMP '2026-01-01' AS t, INTERVAL 3 DAY AS i, 'x'::BLOB AS b, NULL AS n, 12::HUGEINT AS h",
        "SELECT tags, run FROM v_run",
        "SELECT * FROM v_run LIMIT 0",
    ],
)
def test_any_result_can_be_taken_home(demo: Archive, sql: str) -> None:
    table = demo.query(sql)
    text = to_csv(table).decode()
    assert text.splitlines()[0] == ",".join(f'"{name}"' for name in table.column_names)
    assert len(text.splitlines()) == 1 + table.num_rows
    assert pq.read_table(io.BytesIO(to_parquet(table))).num_rows == table.num_rows


def test_columns_of_one_name_are_told_apart() -> None:
    assert unique_names(["run", "run", "x", "run"]) == ["run", "run (2)", "x", "run (3)"]
    assert len(set(unique_names(["a", "a (2)", "a"]))) == 3


def test_a_result_too_large_for_a_browser_is_shown_in_part() -> None:
    table = pa.table({"x": np.arange(1000)})
    assert first_rows(table).equals(table)
    assert first_rows(table, most=1000 * 8 - 1)["x"].to_pylist() == list(range(500))
    assert first_rows(table, most=7).num_rows == 0
    assert first_rows(table.slice(0, 0)).num_rows == 0
