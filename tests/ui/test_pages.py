"""Every page on every kind of archive: it opens, it says the right thing, and strangers' names stay text."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from archive.console import Limits
from tests.ui.seen import assert_fine, figures, texts
from ui import state
from ui.view import discover

Page = Callable[..., AppTest]
Made = Callable[[str], Path]

# every way in which an archive may be odd; the others are for tests of their own
KINDS = ("demo", "empty", "one run", "gaps", "suspect", "hostile", "10,000 runs")
PAGES = [v.file.stem for v in discover()]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("archive", KINDS)
def test_a_page_opens(page: Page, archive: str, name: str) -> None:
    app = page(archive, name)
    assert_fine(app)
    assert app.main.children


@pytest.mark.parametrize("name", ["home", "curves"])
def test_an_empty_archive_shows_the_one_command_that_fills_it(page: Page, made: Made, name: str) -> None:
    app = page("empty", name)
    assert app.code[0].value == f"pathscope demo --archive {made('empty')}"
    assert not figures(app)


def test_home_counts_and_links(page: Page) -> None:
    app = page("demo")
    assert [m.value for m in app.metric][:2] == ["5", "325"]
    links = app.get("page_link")
    assert len(links) == 3
    assert len(figures(app)) == 1
    assert app.dataframe[0].value["n_runs"].tolist() == [5] * 5


def test_home_asks_for_a_family_only_where_there_are_several(page: Page) -> None:
    assert not page("demo").selectbox
    app = page("many runs")
    box = app.selectbox(key="coverage_of")
    assert len(box.options) == 3
    box.select("family-2").run()
    assert "family\\-2" in texts(app)


def test_curves_open_with_both_splits_of_the_loss(page: Page) -> None:
    app = page("demo", "curves")
    (figure,) = figures(app)
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert figure["layout"]["xaxis2"]["ticktext"] == ["0"]
    assert {a["text"] for a in figure["layout"]["annotations"]} == {"//", "test (5 runs)", "train (5 runs)"}
    assert app.dataframe[0].value["curve"].tolist() == ["loss (test)", "loss (train)"]


def test_a_single_run_is_not_said_to_have_a_mean(page: Page) -> None:
    assert "a mean and its interval take two runs" in texts(page("one run", "curves"))
    assert "mean and 95% interval" in texts(page("two conditions", "curves")).replace("\\", "")


def test_an_address_sets_every_choice(page: Page) -> None:
    app = page(
        "two conditions",
        "curves",
        measure="accuracy",
        part=["train"],
        axis="tokens",
        x_scale="linear",
        y_scale="log",
        colour_by="run",
        condition="modular addition p=47, weight decay 1",
        run="*-s1",
        excluded="true",
        suspect="true",
    )
    (figure,) = figures(app)
    assert figure["layout"]["xaxis"]["title"]["text"] == "tokens seen"
    assert (figure["layout"]["xaxis"]["type"], figure["layout"]["yaxis"]["type"]) == ("linear", "log")
    assert figure["layout"]["yaxis"]["title"]["text"] == "accuracy [fraction]"
    assert [a["text"] for a in figure["layout"]["annotations"]] == ["wd1-s1"]
    assert app.toggle(key="excluded").value
    assert app.toggle(key="suspect").value


def test_the_link_on_the_page_says_what_was_chosen(page: Page) -> None:
    app = page("demo", "curves", y_scale="log")
    link = next(c.value for c in app.code if "measure=" in c.value)
    assert "measure=loss&part=test&part=train&axis=step&x_scale=log&y_scale=log" in link


def test_nonsense_in_the_address_is_ignored(page: Page) -> None:
    app = page("demo", "curves", measure="<script>", x_scale="sideways", part=["nowhere"], family=["none"])
    assert not app.exception
    assert app.selectbox(key="measure").value == "loss"
    assert len(figures(app)) == 1


def test_a_pattern_that_fits_no_run_is_answered_with_the_nearest(page: Page) -> None:
    app = page("demo", "curves", run="demo-s9")
    assert not app.exception
    assert "no run" in app.warning[0].value
    assert not figures(app)


def test_changing_a_choice_redraws(page: Page) -> None:
    app = page("demo", "curves")
    app.selectbox(key="measure").select("weight_norm").run()
    assert not app.exception
    assert figures(app)[0]["layout"]["yaxis"]["title"]["text"] == "weight_norm [norm]"
    app.segmented_control(key="x_scale").set_value("linear").run()
    assert figures(app)[0]["layout"]["xaxis"]["type"] == "linear"


def test_what_is_left_out_is_in_sight_and_can_be_brought_in(page: Page) -> None:
    app = page("suspect", "curves")
    assert "1 excluded run" in texts(app)
    assert "trained on the wrong split" in texts(app)
    assert "2 checkpoint" in texts(app)
    assert app.dataframe[0].value["n_runs"].tolist() == [3, 3]
    app.toggle(key="excluded").set_value(True).run()
    assert app.dataframe[0].value["n_runs"].tolist() == [4, 4]
    assert "excluded run" not in texts(app)


def test_thinning_is_said(page: Page) -> None:
    app = page("demo", "curves", measure="log.loss")
    assert "1 of 2" in texts(app).replace("\\", "")
    assert "The CSV has all of them" in texts(app).replace("\\", "")


def test_many_conditions_are_cut_visibly(page: Page) -> None:
    app = page("many runs", "curves", part=["test"])
    assert "12 of 30 conditions are drawn" in texts(app)


def run_sql(page: Page, sql: str, archive: str = "demo", **address: str) -> AppTest:
    return page(archive, "sql_console", sql=sql, **address)


def test_sql_answers_the_first_example_at_once(page: Page) -> None:
    app = page("demo", "sql_console")
    assert app.main.dataframe[0].value["measure"].tolist()[0] == "accuracy"
    assert "5 rows in" in texts(app)


def test_sql_comes_from_the_address(page: Page) -> None:
    app = run_sql(page, "SELECT run FROM v_run ORDER BY run DESC")
    assert app.main.dataframe[0].value["run"].tolist() == [f"demo-s{k}" for k in (4, 3, 2, 1, 0)]
    assert not figures(app), "one column of text makes no chart"


def test_an_example_fills_the_editor_and_runs(page: Page) -> None:
    app = page("demo", "sql_console")
    app.selectbox(key="example").select("Loss curves, one row per run and step").run()
    assert "FROM v_loss" in app.text_area(key="sql").value
    assert len(app.main.dataframe[0].value) == 5 * 65
    (figure,) = figures(app)
    assert [t["name"] for t in figure["data"]] == [f"demo-s{k}" for k in range(5)]
    assert figure["layout"]["xaxis"]["title"]["text"] == "step"


def test_a_view_shows_its_columns_and_its_first_rows(page: Page) -> None:
    app = page("demo", "sql_console")
    app.selectbox(key="view").select("v_head_score").run()
    assert "head" in app.sidebar.dataframe[0].value["Column"].tolist()
    app.sidebar.button[0].click().run()
    assert app.text_area(key="sql").value == "SELECT *\nFROM v_head_score\nLIMIT 20"
    assert len(app.main.dataframe[0].value) == 20


# the page says what the console says, and the console is asked all of these by tests of its own
again = pytest.mark.thorough


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT x FROM v_run", "line 1, column 8"),
        ("DROP VIEW v_run", "DROP is not run here"),
        pytest.param("SELECT 1; SELECT 2", "2 statements", marks=again),
        ("SELECT * FROM read_csv('/etc/passwd')", "no other file"),
        pytest.param("SELECT * FROM '/etc/passwd'", "does not exist", marks=again),
        pytest.param("COPY (SELECT 1) TO '/tmp/x.csv'", "COPY is not run here", marks=again),
        pytest.param("ATTACH '/tmp/other.duckdb'", "ATTACH is not run here", marks=again),
        pytest.param("SET memory_limit = '1TB'", "SET is not run here", marks=again),
        ("<script>alert(1)</script>", "syntax error"),
    ],
)
def test_what_is_not_allowed_or_wrong_is_explained(page: Page, sql: str, words: str) -> None:
    app = run_sql(page, sql)
    assert not app.exception
    assert len(app.error) == 1
    assert words in app.code[0].value
    assert not app.main.dataframe


def test_a_statement_without_end_is_stopped(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "SQL_LIMITS", Limits(seconds=0.5, memory_mb=1024, rows=100))
    app = run_sql(page, "SELECT count(*) FROM range(1000000000) a, range(1000000000) b")
    assert not app.exception
    assert "stopped after 0.5 s" in app.code[0].value


def test_a_result_that_is_too_long_is_cut_visibly(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "SQL_LIMITS", Limits(rows=100))
    app = run_sql(page, "FROM range(1000)")
    assert len(app.main.dataframe[0].value) == 100
    assert "Cut after 100 rows" in app.warning[0].value


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM v_run WHERE false",
        "SELECT [1, 2] AS l, {'a': 1} AS s, INTERVAL 3 DAY AS i, NULL AS n, 1.5::DECIMAL(4, 2) AS d",
        "SELECT a.run, b.run FROM v_run a JOIN v_run b USING (run_id)",
        "SELECT 1 AS x, 'NaN'::DOUBLE AS y UNION ALL SELECT NULL, 'inf'::DOUBLE",
        "SELECT '<img src=x onerror=alert(1)>' AS \"<b>\", 1 AS x, 2 AS y UNION ALL SELECT 'b', 2, 3",
        "EXPLAIN SELECT 1",
        "SUMMARIZE v_run",
        "   ",
    ],
)
def test_any_result_can_be_shown(page: Page, sql: str) -> None:
    app = run_sql(page, sql)
    assert not app.exception
    assert not app.error


def test_a_chart_comes_from_the_address(page: Page) -> None:
    app = run_sql(
        page,
        "SELECT step, value, layer, head FROM v_head_score WHERE run = 'demo-s0' ORDER BY head, step",
        chart_x="step",
        chart_y="value",
        chart_colour="head",
        chart_x_scale="log",
    )
    (figure,) = figures(app)
    assert [t["name"] for t in figure["data"]] == ["0", "1", "2", "3"]
    assert figure["layout"]["xaxis"]["type"] == "log"
