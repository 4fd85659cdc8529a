"""The SQL page in Streamlit's test harness: macros, worked questions, and passing a statement on."""

from collections.abc import Callable

from streamlit.testing.v1 import AppTest

from archive.macros import MACROS
from archive.worked import WORKED

Page = Callable[..., AppTest]


def texts(app: AppTest) -> str:
    return "\n".join(element.value for element in app.caption).replace("\\", "")


def test_a_macro_shows_its_arguments_its_columns_and_its_first_rows(page: Page) -> None:
    app = page("demo", "sql_console", view="m_reached")
    assert not app.exception
    assert set(app.selectbox(key="view").options) >= {macro.name for macro in MACROS}
    assert app.sidebar.code[0].value == "m_reached(measure_name, part_name, level, downwards := false)"
    assert "by_step" in app.sidebar.dataframe[0].value["Column"].tolist()
    app.sidebar.button[0].click().run()
    assert app.text_area(key="sql").value == "SELECT *\nFROM m_reached('accuracy', 'test', 0.99)\nLIMIT 20"
    assert len(app.main.dataframe[0].value) == 5


def test_a_worked_question_fills_the_editor_and_says_what_to_know(page: Page) -> None:
    app = page("demo", "sql_console")
    app.selectbox(key="example").select(f"4. {WORKED[3].question}").run()
    assert not app.exception
    assert app.text_area(key="sql").value == WORKED[3].sql
    assert "Between two steps, never at one" in texts(app)
    assert len(app.main.dataframe[0].value) == 5
    app.text_area(key="sql").set_value("SELECT 1 AS one")
    next(button for button in app.main.button if button.label == "Run").click().run()
    assert "Between two steps" not in texts(app), "another statement has another answer"


def test_a_statement_is_passed_on_as_link_python_and_command(page: Page) -> None:
    app = page("demo", "sql_console", sql="SELECT step, loss FROM v_loss", chart_y_scale="log")
    assert "Saved by its link" in texts(app)
    codes = [c.value for c in app.main.code]
    assert any(
        "sql=SELECT+step%2C+loss+FROM+v_loss&view=v_curve&chart_x=step&chart_y=loss" in c for c in codes
    )
    assert any('archive.query("""\\\nSELECT step, loss FROM v_loss""")' in c for c in codes)
    assert any(c.startswith("pathscope sql 'SELECT step, loss FROM v_loss' --archive ") for c in codes)


def test_one_value_larger_than_a_message_to_the_browser_is_said_and_not_sent(page: Page) -> None:
    app = page("demo", "sql_console", sql="SELECT repeat('x', 60_000_000) AS long")
    assert not app.exception
    assert [w.value for w in app.warning] == [
        "Too large for a browser: 0 rows shown. The files have all of them."
    ]
    assert app.main.dataframe[0].value.empty
