"""The Transitions page without Streamlit: planted changes come out where they were put, and words say what they are."""

import math

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from archive.store import Archive
from queries.compare_transition_times import compare_transition_times
from queries.phase_transitions import PhaseTransitions, phase_transitions
from queries.reading.select import ALL_RUNS, RunSelection
from queries.transition_times import transition_times
from queries.transitions_per_position import transitions_per_position
from tests.ui.browser import Made
from tests.ui.transitions.archive import LABELS, SMOOTH, STEPS, SUDDEN
from ui.models.conditions import condition_labels
from ui.models.transitions.curve import curve_figure, figure_in_words, panel_of
from ui.models.transitions.groups import groups_in_short, in_short, with_short
from ui.models.transitions.measures import chosen_of, kinds
from ui.models.transitions.page import (
    EVERY,
    MAIN,
    RunsUsed,
    asked_of,
    csv_rows,
    duration,
    event_words,
    half_way,
    pairs_of_groups,
    partner_of,
    positions_of,
    runs_used,
)
from ui.models.transitions.page import (
    test_seconds as seconds_of_test,
)
from ui.models.transitions.table import MOST_ROWS, bracket, headline_of, joined, row_in_words, shown_table
from ui.models.transitions.together import (
    ALL,
    counts_table,
    in_transition,
    positions_figure,
    together_figure,
    together_in_words,
)
from ui.models.transitions.when import MOST_ROWS as MOST_DRAWN
from ui.models.transitions.when import drawn_rows, groups_of, summary_table, when_figure, when_in_words


@pytest.fixture(scope="module")
def archive(made: Made) -> Archive:
    return Archive(made("transitions"))


@pytest.fixture(scope="module")
def described(archive: Archive) -> dict[str, PhaseTransitions]:
    return {
        m: phase_transitions(archive, measure=m, describe_only=True, pair=False) for m in ("loss", "accuracy")
    }


@pytest.fixture(scope="module")
def tested(archive: Archive) -> dict[str, PhaseTransitions]:
    return {m: phase_transitions(archive, measure=m, draws=499) for m in ("loss", "accuracy")}


def test_kinds_are_what_the_question_can_read(archive: Archive, made: Made) -> None:
    known = kinds(archive)
    assert [k.label for k in known] == ["loss", "accuracy", "position_loss"]
    assert [k.is_scalar for k in known] == [True, True, False]
    assert known[0].parts == ("test",)
    assert known[0].directed
    assert not known[0].can_split
    assert [k.measure for k in chosen_of(known, ["accuracy", "nothing", "loss"])] == ["accuracy", "loss"]
    assert kinds(Archive(made("empty"))) == []
    published = {k.label: k for k in kinds(Archive(made("published")))}
    assert published["benchmark.acc, 0-shot · suite"].tasks == ("*",)
    assert published["benchmark.acc, 0-shot · suite"].shots == 0


def test_described_rows_have_the_planted_place_and_no_verdict(described: dict[str, PhaseTransitions]) -> None:
    rows = {r["run"]: r for r in joined({"loss": described["loss"]}, {})}
    for k, at in enumerate((400, 600, 900)):
        row = rows[f"sudden-s{k}"]
        assert row["t50_after"] / 1.2 < at < row["t50"] * 1.2
        assert row["share_low"] > 0.9
        assert row["class"] is None
        assert not row["tested"]
        assert row["midpoint_octaves"] == pytest.approx(0.25, abs=0.02)
    assert rows["smooth-s1"]["share_high"] < 0.4
    assert "nothing" not in headline_of(list(rows.values()))
    assert "described but not tested" in headline_of(list(rows.values()))


def test_the_test_is_joined_and_what_people_look_for_comes_first(
    described: dict[str, PhaseTransitions], tested: dict[str, PhaseTransitions]
) -> None:
    rows = joined(described, tested)
    by_name = {(r["measure"], r["run"]): r for r in rows}
    assert all(by_name["loss", f"sudden-s{k}"]["class"] == "major_transition" for k in range(3))
    # the accuracy jumps in all runs; where the loss is smooth that is the metric
    assert all(by_name["accuracy", f"smooth-s{k}"]["class"] == "metric_only" for k in range(3))
    assert [r["class"] for r in rows][:6] == ["major_transition"] * 6
    # a discrete measure keeps its own shape beside the verdict of the pair
    assert (
        by_name["accuracy", "smooth-s1"]["t50_after"] / 1.2
        < 700
        < by_name["accuracy", "smooth-s1"]["t50"] * 1.2
    )
    assert headline_of(rows).startswith("12 series of 6 runs: 6 major transition, 6 metric only")
    table = shown_table(rows)
    assert table.num_rows == 12
    assert set(table["class"].to_pylist()) == {"major transition", "metric only"}
    assert shown_table(rows, most=3).num_rows == 3 < MOST_ROWS
    assert [r["measure"] for r in csv_rows(tested)] == ["loss"] * 6 + ["accuracy"] * 6


def test_words_of_a_row_say_when_how_wide_and_what_cannot_be_claimed(
    described: dict[str, PhaseTransitions], tested: dict[str, PhaseTransitions]
) -> None:
    row = joined(described, tested)[0]
    words = row_in_words(row)
    assert f"half of it at step {bracket(row['t50_after'], row['t50'])}" in words
    assert "no smaller width can be claimed" in words
    assert words.endswith("Test: major transition.")
    flat = {
        **row,
        "t50": None,
        "t50_after": None,
        "share_low": None,
        "spacing": None,
        "tested": False,
        "width_low": None,
    }
    assert row_in_words(flat) == "It does not change."


@pytest.mark.parametrize(
    ("after", "by", "words"),
    [(200, 320, "200–320"), (None, 16, "by 16"), (1400, None, "> 1\u202f400"), (None, None, "")],
)
def test_brackets_in_words(after: float | None, by: float | None, words: str) -> None:
    assert bracket(after, by) == words


def test_half_way_is_between_the_ends_and_knows_the_direction(described: dict[str, PhaseTransitions]) -> None:
    level, rises = half_way(described["accuracy"])
    assert (level, rises) == (pytest.approx(0.53, abs=0.02), True)
    assert half_way(described["loss"])[1] is False


def test_durations_are_rounded_up_and_the_cost_grows_with_points(
    described: dict[str, PhaseTransitions],
) -> None:
    assert [duration(s) for s in (0.1, 9.2, 13, 89, 100)] == ["1 s", "10 s", "20 s", "90 s", "2 min"]
    # six series of 49 points after step 0
    assert seconds_of_test([described["loss"]]) == pytest.approx(6 * (0.02 + 0.049))


def test_partners_events_and_pairs(archive: Archive) -> None:
    loss = kinds(archive)[0]
    assert (partner_of("loss"), partner_of("accuracy"), partner_of("weight_norm")) == ("accuracy", "loss", "")
    assert event_words(loss, "test", 1.5, rises=False) == "loss[test] <= 1.5"
    assert pairs_of_groups(archive, selection=ALL_RUNS, by="condition") == 1
    assert pairs_of_groups(archive, selection=ALL_RUNS, by="init") == math.comb(6, 2)
    assert pairs_of_groups(archive, selection=ALL_RUNS, by="split") == 0


def test_ordering_positions_takes_as_long_as_there_are_positions_and_conditions(
    archive: Archive, made: Made
) -> None:
    one = positions_of(archive, selection=RunSelection(conditions=(SUDDEN,)))
    assert positions_of(archive, selection=ALL_RUNS).seconds == pytest.approx(2 * one.seconds)
    assert one.n == len(LABELS)
    assert one.seconds == pytest.approx(math.comb(len(LABELS), 2) * (1.5e-4 + 3 * 1.5e-5))
    nothing = positions_of(Archive(made("demo")), selection=ALL_RUNS)
    assert (nothing.n, nothing.seconds, nothing.level) == (0, 0, 0.35)


def test_positions_are_there_at_half_a_coin_or_half_way_where_they_never_come_to_that(
    own: Made, archive: Archive
) -> None:
    learned = positions_of(archive, selection=ALL_RUNS)
    assert (learned.level, learned.half_way) == (0.35, False)
    path = own("transitions")
    with duckdb.connect(str(path)) as connection:
        connection.execute('UPDATE fact_position SET "values" = list_transform("values", v -> v + 1)')

    found = positions_of(Archive(path), selection=ALL_RUNS)

    with duckdb.connect(str(path), read_only=True) as connection:
        first, last = (
            connection.execute(
                f"SELECT median(value) FROM v_position WHERE step = (SELECT {end}(step) FROM v_position)"
            ).fetchall()[0][0]
            for end in ("min", "max")
        )
    assert found.half_way
    assert found.level == pytest.approx((first + last) / 2, rel=0.05)


def test_parts_and_tasks_are_asked_for(made: Made) -> None:
    loss = next(k for k in kinds(Archive(made("demo"))) if k.measure == "loss")
    used = RunsUsed(ALL_RUNS, 1, 1)
    main = asked_of(loss, used, parts=MAIN, suspect=False, describe_only=True, pair=False)
    every = asked_of(loss, used, parts=EVERY, suspect=True, describe_only=False, pair=True)
    assert "part" not in main
    assert main["describe_only"]
    assert (every["part"], every["with_suspect"], every["pair"]) == ("all", True, True)
    assert "describe_only" not in every


def test_of_many_runs_the_first_are_used_and_that_is_said(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = Archive(made("demo"))
    assert runs_used(demo, selection=RunSelection()).words == []
    monkeypatch.setattr("ui.models.transitions.page.MOST_RUNS", 3)
    used = runs_used(demo, selection=RunSelection())
    assert (used.n_used, used.n_there, len(used.selection.names)) == (3, 5, 3)
    assert used.words == ["The first 3 of 5 runs are used; choose others in the sidebar."]


def test_the_figure_has_curve_smooth_curve_marks_and_control(described: dict[str, PhaseTransitions]) -> None:
    panels = [panel_of(described[m], "sudden-s1", "test") for m in ("loss", "accuracy")]
    assert all(p is not None and p.n_points == len(STEPS) for p in panels)
    found = [p for p in panels if p is not None]
    figure = curve_figure(found, x_scale="log", y_scale="log")
    assert [t.name for t in figure.data] == ["as measured", "best smooth curve"] * 2
    # step 0 has no place on the log axis of the fit
    assert len(figure.data[1].x) == len(STEPS) - 1
    assert figure.layout.yaxis2.type == "log"
    midpoint = [s for s in figure.layout.shapes if s.type == "rect"][1]
    assert midpoint.x0 < 600 < midpoint.x1 * 1.1
    assert {"onset", "midpoint"} <= {a.text for a in figure.layout.annotations}
    assert "sudden-s1 over training" in figure_in_words(found, "sudden-s1")
    assert panel_of(described["loss"], "nobody", "test") is None


def test_times_are_dots_with_brackets_and_open_ends(archive: Archive) -> None:
    answer = transition_times(archive, measure="loss", level=1.0)
    groups = groups_of(answer, condition_labels([SUDDEN, SMOOTH]))
    assert [(g.label, g.reached) for g in groups] == [("smooth", "2 of 3 runs"), ("sudden", "3 of 3 runs")]
    figure = when_figure(groups, x_scale="log", unit=answer.unit)
    texts = [t.text for t in figure.data if t.text is not None]
    assert texts == ["> 16\u202f384"]
    ticks = figure.layout.yaxis.ticktext
    assert ticks[4] == "<b>sudden</b>, 3 of 3 runs"
    assert len(ticks) == 8
    brackets = [t for t in figure.data if t.mode == "lines" and t.line.width == 2]
    assert len(brackets) == 5
    rows = summary_table(groups).to_pylist()
    assert rows[1]["reached"] == "3 of 3"
    assert rows[1]["low"] < 600 < rows[1]["high"]
    assert "smooth: 2 of 3 runs" in when_in_words(groups, answer.label)
    assert drawn_rows(groups) == (True, 2)
    assert drawn_rows(groups * MOST_DRAWN) == (False, MOST_DRAWN)


def test_series_in_transition_are_counted_once_a_pair(
    described: dict[str, PhaseTransitions], tested: dict[str, PhaseTransitions]
) -> None:
    rows = joined(described, tested)
    (found,) = in_transition(rows)
    assert (found.label, found.n, found.n_found, found.n_runs) == ("loss", 6, 3, 6)
    assert found.counts.max() <= 3
    # each is in transition for one octave
    at = np.flatnonzero(found.counts > 0)
    assert found.steps[at[0]] < 400
    assert found.steps[at[-1]] >= 900 / 2
    assert in_transition(joined(described, {})) == []
    lines = together_in_words([found], 0.05)
    assert lines[0].startswith("loss: 3 of 6 tested series have a transition")
    assert "5%" in lines[0]
    two = in_transition([*rows, *({**r, "measure": "other"} for r in rows if r["measure"] == "loss")])
    assert [f.label for f in two] == ["loss", "other", ALL]
    assert two[-1].n == 12
    figure = together_figure(two, x_scale="linear")
    assert max(max(t.y) for t in figure.data) <= 1
    assert counts_table([found])["in_transition"].to_pylist() == found.counts.tolist()


def test_positions_arrive_one_by_one(archive: Archive) -> None:
    answer = transitions_per_position(archive, runs="sudden-s0")
    (line,) = positions_figure(answer, x_scale="log").data
    assert list(line.y) == [0.25, 0.5, 0.75, 0.75]
    assert list(line.x[:3]) == [16, 64, 256]


def test_conditions_are_told_apart_by_what_they_do_not_share(archive: Archive) -> None:
    short = groups_in_short(archive, selection=ALL_RUNS)
    assert short[SUDDEN] == "sudden"
    assert in_short(f"{SUDDEN} is later than {SMOOTH}.", short) == "sudden is later than smooth."
    table = with_short(pa.table({"earlier": [f"{SUDDEN} (3)"]}), ["earlier"], short)
    assert table["earlier"].to_pylist() == ["sudden (3)"]
    answer = compare_transition_times(archive, measure="accuracy", level=0.5)
    assert SUDDEN not in in_short(answer.sentence, short)
