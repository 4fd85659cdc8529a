"""The Questions page in Streamlit's test harness."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from queries.problems.catalogue import problems
from queries.registry import all_queries
from tests.ui.seen import figures, plain

Page = Callable[..., AppTest]


def words(app: AppTest) -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def test_the_list_counts_states_and_has_every_problem_by_section(page: Page) -> None:
    app = page("questions", "questions")
    assert not app.exception
    assert sum(int(m.value) for m in app.metric) == len(problems())
    assert [m.label for m in app.metric][:2] == ["● answered here", "◐ answered in part"]
    listed = [number for table in app.dataframe for number in table.value["number"]]
    assert sorted(listed) == sorted(problems())
    assert [s.value for s in app.main.subheader] == list(dict.fromkeys(p.group for p in problems().values()))
    assert not figures(app)


def test_filters_come_from_the_address(page: Page) -> None:
    app = page("questions", "questions", state=["answered here"])
    assert [list(table.value["number"]) for table in app.dataframe] == [["5.1"]]
    app = page("questions", "questions", like="digits BACKWARDS")
    assert [list(table.value["number"]) for table in app.dataframe] == [["5.2"]]
    app = page("questions", "questions", like="zebra")
    assert not app.dataframe
    assert "change the filters" in plain(app)


def test_a_problem_says_what_it_reads_and_what_is_missing_before_it_is_asked(page: Page) -> None:
    app = page("questions", "questions", problem="5.2")
    assert not app.exception
    assert "5.2  Why are the digits learned in that order?" in plain(app)
    assert "Can be asked here of 3 runs of digit_addition" in plain(app)
    assert "no run here has position_loss on 'digit_addition*, least significant first'" in plain(app)
    assert "runs whose loss weighs the digits apart" in plain(app)
    command = next(c.value for c in app.code if "--write-study" in c.value)
    assert command.splitlines()[1] == "pathscope ingest 5.2.toml --dry-run"
    assert not figures(app), "nothing is worked out before somebody asks"


def test_an_answer_comes_on_a_press_and_with_the_address(page: Page) -> None:
    app = page("questions", "questions", problem="5.2")
    app.toggle(key="ask").set_value(True).run()
    assert not app.exception
    (figure,) = figures(app)
    assert len(figure["data"]) > 0
    told = plain(app)
    assert "carry < hundreds < tens < units" in told
    assert "before the first results of these runs" in told
    assert "What this cannot tell" in told
    assert "<dt>Rests on</dt><dd>3 runs" in words(app)
    assert "position_loss version 1" in words(app)
    again = page("questions", "questions", problem="5.2", ask="true")
    assert figures(again) == [figure]
    codes = [c.value for c in again.code]
    assert any(c.startswith("import pathscope\n\npathscope.transitions_per_position(") for c in codes)
    assert any(c.startswith("pathscope ask 5.2 --archive ") for c in codes)
    assert any("problem=5.2&ask=true" in c for c in codes)


def test_options_runs_and_hypothesis_go_into_the_question(page: Page) -> None:
    address = {"problem": "5.2", "ask": "true", "options": "--level 1.5", "run": "digits/s[01]"}
    app = page("questions", "questions", hypothesis="late", **address)
    assert not app.exception
    python = next(c.value for c in app.code if "transitions_per_position(" in c.value)
    assert "level=1.5" in python
    assert "digits/s[01]" in python
    assert "confidence=0.99" in python  # the level of the hypothesis is 0.01
    line = next(
        c.value for c in app.code if c.value.startswith("pathscope ask") and "write-study" not in c.value
    )
    assert "--runs 'digits/s[01]' --hypothesis late --level 1.5" in line
    assert "too late" not in plain(app)
    assert "only after the first results" in plain(app)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--lvel 1", "lvel"),
        ("--level high", "level='high'"),
        ("<script>", "two dashes"),
        ("--level '", "quotation"),
    ],
)
def test_options_that_cannot_be_used_are_explained(page: Page, options: str, says: str) -> None:
    app = page("questions", "questions", problem="5.2", ask="true", options=options)
    assert not app.exception
    assert says in "\n".join(w.value for w in app.warning).replace("\\", "")
    assert not figures(app)


def test_runs_that_cannot_answer_are_refused_in_the_words_of_the_question(page: Page) -> None:
    app = page("demo", "questions", problem="5.2", ask="true", run="demo-*")
    assert not app.exception
    assert "position_loss" in app.warning[0].value.replace("\\", "")


def test_buttons_go_from_problem_to_problem_and_forget_the_press(page: Page) -> None:
    app = page("questions", "questions", problem="5.2", ask="true")
    app.button(key="next").click().run()
    assert app.selectbox(key="problem").value == "5.3"
    assert not app.toggle(key="ask").value
    app.button(key="previous").click().run()
    assert app.selectbox(key="problem").value == "5.2"
    next(b for b in app.button if b.label == "All problems").click().run()
    assert len(app.metric) > 1
    assert not app.exception


def test_nonsense_in_the_address_is_ignored(page: Page) -> None:
    app = page("questions", "questions", problem="9.99", list="<b>", state=["none"], ask="perhaps", query="x")
    assert not app.exception
    assert app.selectbox(key="problem").value is None
    assert len(app.metric) > 1


def test_queries_are_listed_and_one_is_told(page: Page) -> None:
    app = page("questions", "questions", list="queries", query="head_scores")
    assert not app.exception
    parameters, table = app.dataframe
    assert list(table.value["query"]) == list(all_queries())
    assert "step" in list(parameters.value["parameter"])
    assert "Heads" in [link.proto.label for link in app.get("page_link")]
    app.button(key="problem-5.29").click().run()
    assert not app.exception
    assert app.selectbox(key="problem").value == "5.29"


def test_hypotheses_are_listed_with_how_they_stand(page: Page) -> None:
    app = page("questions", "questions", list="hypotheses")
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table["name"]) == ["early", "late", "other"]
    assert [words.split(":")[0] for words in table["state"]] == ["in time", "too late", "waiting"]
    none = page("demo", "questions", list="hypotheses")
    assert "No hypothesis is registered yet" in plain(none)
    assert any(c.value.startswith("pathscope hypothesis add") for c in none.code)


@pytest.mark.parametrize("number", ["5.19", "5.6", "5.8", "5.30", "H-ft"])
def test_problems_of_every_kind_open_in_an_empty_archive(page: Page, number: str) -> None:
    app = page("empty", "questions", problem=number, ask="true")
    assert not app.exception
    assert number in plain(app)
    assert not figures(app)


def test_a_question_that_cannot_be_asked_says_so_when_it_is(page: Page) -> None:
    assert "Not asked" not in plain(page("demo", "questions", problem="5.4"))
    assert "Not asked, since no run has what it reads" in plain(
        page("demo", "questions", problem="5.4", ask="true")
    )
