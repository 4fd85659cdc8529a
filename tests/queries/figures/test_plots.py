"""Figures show every run, keep step 0, and never draw over what is not there."""

import math

import numpy as np
import plotly.graph_objects as go
import pytest

from queries.benchmark_curves import benchmark_curves
from queries.figures.axes import COLOURS, TimeAxis, colour, dash, short, symbol
from queries.head_score_history import head_score_history
from queries.head_scores import head_scores
from queries.loss_curves import loss_curves
from queries.transition_times import transition_times
from queries.variance_components import variance_components
from tests.queries.simulated import (
    ACC,
    ACCURACY_HERE,
    LOG_LOSS_HERE,
    LOSS_HERE,
    TEST,
    Simulation,
    benchmark_quantity,
    rising,
)

STEPS = [0, 1, 10, 100]


def xs(trace: go.Scatter) -> list[float]:
    return [float(x) for x in trace.x]


def test_every_run_is_drawn_thin_under_the_mean_and_its_band(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(3)):
        simulation.curve(run, LOSS_HERE, STEPS, np.array([5, 4, 3, 2]) + k)
    figure = loss_curves(simulation.commit()).plot()
    runs, band, mean = figure.data

    assert {text for text in runs.text} == {"s0", "s1", "s2"}
    assert (runs.line.width, mean.line.width) == (1, 2.5)
    assert list(mean.y) == [6, 5, 4, 3]
    assert band.fill == "toself"
    assert not runs.showlegend
    # runs are joined into one trace with a break after each
    assert sum(math.isnan(y) for y in runs.y) == 3


def test_step_zero_is_kept_on_a_log_axis_behind_a_break(simulation: Simulation) -> None:
    simulation.curve(simulation.run("a"), LOSS_HERE, STEPS, [5, 4, 3, 2])
    archive = simulation.commit()
    figure = loss_curves(archive).plot()
    axis = figure.layout.xaxis

    assert axis.type == "log"
    assert 0 < xs(figure.data[0])[0] < 1
    assert axis.ticktext[0] == "0"
    assert axis.tickvals[0] == xs(figure.data[0])[0]
    assert len(figure.layout.shapes) == 1
    # what is hovered is the step itself
    assert list(figure.data[0].customdata)[:4] == STEPS
    assert xs(loss_curves(archive).plot(x_scale="linear").data[0])[:4] == STEPS


def test_a_log_axis_without_step_zero_is_plotlys_own(simulation: Simulation) -> None:
    simulation.curve(simulation.run("a"), LOSS_HERE, [1, 10], [2, 1])
    figure = loss_curves(simulation.commit()).plot()

    assert figure.layout.xaxis.tickvals is None
    assert not figure.layout.shapes


def test_a_checkpoint_that_is_left_out_is_a_gap(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.curve("a", LOSS_HERE, [0, 1, 3], [5, 4, 2])
    simulation.scalar("a", LOSS_HERE, 2, {TEST: 9.0}, checkpoint={"integrity": "defect"})
    (line,) = loss_curves(simulation.commit()).plot().data

    assert [None if math.isnan(y) else y for y in line.y] == [5, 4, None, 2, None]


def test_values_without_a_logarithm_are_counted(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        simulation.curve(run, LOSS_HERE, [0, 1], [1.0, 0.0 if run == "s0" else 0.5])
    figure = loss_curves(simulation.commit()).plot(y_scale="log")

    assert "1 values at or below 0" in figure.layout.annotations[0].text
    assert min(figure.data[1].y) > 0


def test_thousands_of_points_are_drawn_by_the_graphics_card(simulation: Simulation) -> None:
    simulation.run("a")
    simulation.log("a", LOG_LOSS_HERE, range(25_000), {TEST: np.linspace(5, 1, 25_000)})

    assert isinstance(loss_curves(simulation.commit()).plot().data[0], go.Scattergl)


def test_brackets_arrows_and_medians(simulation: Simulation) -> None:
    for run, at in zip(simulation.seeds(6), (2, 20, 20, 20, 50, None), strict=True):
        simulation.curve(
            run, ACCURACY_HERE, STEPS, np.zeros(4) if at is None else rising(STEPS, at, width=0.01)
        )
    answer = transition_times(simulation.commit(), level=0.5)
    lines, points, never = answer.plot().data

    assert list(points.y) == ["s0", "s1", "s2", "s3", "s4"]
    assert xs(points) == [10, 100, 100, 100, 100]
    assert (list(never.y), xs(never)) == (["s5"], [100])
    assert never.marker.symbol == "triangle-right-open"
    assert lines.mode == "lines"


def test_head_grids_have_a_square_per_head_and_a_menu_of_runs(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        simulation.heads(run, 0, np.arange(6.0).reshape(2, 3))
    figure = head_scores(simulation.commit()).plot()

    assert [trace.visible for trace in figure.data] == [True, False]
    assert len(figure.data[0].x) == 6
    assert [b.label for b in figure.layout.updatemenus[0].buttons] == ["s0", "s1"]
    assert figure.layout.yaxis.autorange == "reversed"


def test_head_histories_are_a_line_per_run_and_head(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        for step in STEPS:
            simulation.heads(run, step, np.array([[0.1, 0.2]]) * (1 + step))
    figure = head_score_history(simulation.commit(), top=2).plot()

    assert [t.name for t in figure.data] == ["s0 · L0H1", "s0 · L0H0", "s1 · L0H1", "s1 · L0H0"]
    assert figure.data[0].line.color == figure.data[1].line.color != figure.data[2].line.color


def test_benchmarks_have_error_bars_where_there_is_an_error(simulation: Simulation) -> None:
    for run in simulation.seeds(2):
        simulation.benchmark(run, benchmark_quantity(ACC, "sciq", 0), 1, 0.5, se=0.1 if run == "s0" else None)
    first, second = benchmark_curves(simulation.commit(), task="sciq").plot().data

    assert list(first.error_y.array) == [0.1]
    assert second.error_y.array is None


def test_components_are_drawn_with_their_intervals(simulation: Simulation) -> None:
    for k, run in enumerate(simulation.seeds(4)):
        simulation.curve(run, LOSS_HERE, [0], [float(k)])
    (bar,) = variance_components(simulation.commit()).plot().data

    assert list(bar.x) == ["seed"]
    assert bar.error_y.array[0] > bar.error_y.arrayminus[0] > 0


def test_groups_differ_by_more_than_colour() -> None:
    looks = [(colour(k), dash(k), symbol(k)) for k in range(32)]

    assert len(set(looks)) == 32
    assert len(set(COLOURS)) == len(COLOURS)


def test_an_axis_over_less_than_a_decade_still_has_ticks() -> None:
    axis, figure = TimeAxis([np.array([0.0, 3, 5, 8])], "log"), go.Figure()
    axis.apply(figure, "step")

    assert len(figure.layout.xaxis.tickvals) >= 4


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (10, "10"), (2000, "2k"), (1.5e6, "1.5M"), (3e11, "300B")]
)
def test_ticks_are_short(value: float, text: str) -> None:
    assert short(value) == text
