"""Other scales for the figure of an answer than those it was drawn with."""

from collections.abc import Callable

import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.seen import figures, plain
from ui.models.questions.scales import rescale


def test_a_log_axis_says_how_many_values_it_cannot_show() -> None:
    figure = go.Figure([go.Scatter(x=[0, 1, 10], y=[-1, 0, 5]), go.Scatter(x=[2], y=[0])])
    figure.update_yaxes(range=[-2, 6])
    assert rescale(figure, "y", "log") == "3 values at or below 0 are not on the log y axis."
    assert (figure.layout.yaxis.type, figure.layout.yaxis.range, figure.layout.xaxis.type) == (
        "log",
        None,
        None,
    )
    assert rescale(figure, "x", "linear") == ""
    assert figure.layout.xaxis.type == "linear"


@pytest.mark.parametrize(
    "figure",
    [
        go.Figure([go.Bar(x=["a", "b"], y=[1, 2])]),
        go.Figure(
            [go.Scatter(x=[0.5, 1], y=[1, 2])], {"xaxis": {"tickvals": [0.5, 1], "ticktext": ["0", "1"]}}
        ),
        go.Figure([go.Scatter(x=[-1, 0], y=[1, 2])]),
        go.Figure([go.Heatmap(z=[[1.0]])]),
    ],
    ids=["names", "a zero beside a log axis", "nothing above 0", "no places"],
)
def test_what_is_no_axis_of_numbers_stays_and_says_so(figure: go.Figure) -> None:
    before = figure.layout.xaxis.to_plotly_json()
    assert rescale(figure, "x", "log") == "The x axis stays as it is."
    assert figure.layout.xaxis.to_plotly_json() == before


def test_every_axis_of_numbers_changes_and_words_stay_at_their_values() -> None:
    figure = go.Figure([go.Scatter(x=[1, 100], y=[1, 2]), go.Scatter(x=[1, 4], y=[1, 2], xaxis="x2")])
    figure.update_layout(xaxis2={"type": "log", "autorange": "reversed"})
    figure.add_annotation(x=100, xref="x", text="a")
    figure.add_annotation(x=2, xref="x2", text="b")
    figure.add_annotation(x=0.5, xref="paper", text="c")
    figure.add_annotation(x=-1, xref="x", text="d")

    assert rescale(figure, "x", "log") == ""
    assert [a.x for a in figure.layout.annotations] == [2, 2, 0.5, -1]
    assert [a.visible for a in figure.layout.annotations] == [None, None, None, False]
    assert [figure.layout[name].type for name in ("xaxis", "xaxis2")] == ["log", "log"]
    assert figure.layout.xaxis2.autorange == "reversed"

    assert rescale(figure, "x", "linear") == ""
    assert [a.x for a in figure.layout.annotations][:3] == pytest.approx([100, 100, 0.5])


def test_an_answer_is_drawn_on_the_scales_of_the_address(page: Callable[..., AppTest]) -> None:
    asked = {"problem": "5.2", "ask": "true"}
    (usual,) = figures(page("questions", "questions", **asked))
    app = page("questions", "questions", **asked, x_axis="linear", y_axis="log")
    assert not app.exception
    (figure,) = figures(app)
    assert usual["layout"]["xaxis"]["type"] == "log"
    assert figure["layout"]["xaxis"]["type"] == "linear"
    assert "The y axis stays as it is." in plain(app), "its rows have names"
    assert any("x_axis=linear&y_axis=log" in c.value for c in app.code)


def test_a_scale_that_is_none_is_the_usual_one(page: Callable[..., AppTest]) -> None:
    app = page("questions", "questions", problem="5.2", ask="true", x_axis="cubic")
    assert not app.exception
    (figure,) = figures(app)
    assert figure["layout"]["xaxis"]["type"] == "log"
