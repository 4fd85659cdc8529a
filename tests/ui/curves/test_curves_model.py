import io
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow.csv as pv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.records import Encoding, Quantity
from archive.store import Archive
from queries.loss_curves import LossCurves, loss_curves
from queries.reading.select import RunSelection, select_runs
from tests.ui.archives import LOSS, Plan, demo, schedule, write_archive
from ui.models.address import permalink
from ui.models.axes import decades, log_ticks, spread
from ui.models.bundles import bundles
from ui.models.curves.figure import (
    MOST_TRACES,
    curve_figure,
    cut_intervals,
    figure_in_words,
    hidden_values,
)
from ui.models.curves.page import (
    Choices,
    as_csv,
    drawable,
    ends,
    notes,
    parameters,
    points_per_run,
)
from ui.models.palette import HUES
from ui.models.series import catalogue, first_measure, run_names, runs_with
from ui.models.suspects import at_step, badge, in_use, in_use_words, suspects

Made = Callable[[str], Path]


def answer(archive: Archive, **given: object) -> LossCurves:
    return loss_curves(archive, **{"part": "test", **given})  # type: ignore[arg-type]


def drawn(figure: object, axis: str = "x") -> list[object]:
    return [t for t in figure.data if (t.xaxis or "x") == axis]  # type: ignore[attr-defined]


def test_the_catalogue_of_the_demo(demo: Archive) -> None:
    found = {s.measure: s for s in catalogue(demo)}
    assert list(found) == ["accuracy", "loss", "weight_norm", "log.loss"]
    (loss,), (norm,) = (found[m].variants for m in ("loss", "weight_norm"))
    assert (loss.label, loss.parts, loss.default_parts) == ("", ("test", "train"), ["test", "train"])
    assert (norm.parts, norm.default_parts) == (("", "W_E"), [""])
    assert (loss.n_runs, loss.n_values) == (5, 5 * 2 * len(schedule(70)))
    assert first_measure(list(found.values())) == "loss"


def test_the_page_opens_with_what_most_runs_have(demo: Archive) -> None:
    (*rest, log) = catalogue(demo)
    (variant,) = log.variants
    assert first_measure([*rest, replace(log, variants=(replace(variant, n_runs=6),))]) == "log.loss"


def test_runs_without_the_measure_take_no_colour(tmp_path: Path) -> None:
    plans = [Plan(f"a{k}", k, condition=f"a {k}", steps=()) for k in range(20)]
    path = write_archive(
        tmp_path / "x.duckdb", [*plans, Plan("b", 99, condition="b", steps=(0, 1))], log=False
    )
    archive = Archive(path)
    (loss,) = [s for s in catalogue(archive) if s.measure == "loss"]
    having = runs_with(archive, quantity_ids=loss.variants[0].quantity_ids)
    selected = select_runs(archive, RunSelection()).only(having)
    assert [r.run for r in selected.runs] == ["b"]
    assert drawable(selected, Choices("loss"), 1)[1:] == (1, 1)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([1.0, 1000.0], {"dtick": 1}),
        ([1e-30, 1.0], {"dtick": 3}),
        ([30.0, 60.0], {"tickvals": [10, 20, 50, 100, 200, 500]}),
        ([0.0, np.nan], {}),
    ],
)
def test_ticks_of_a_log_axis_are_few_and_whole(values: list[float], ticks: dict[str, object]) -> None:
    assert log_ticks(np.array(values)) == ticks


def test_decades() -> None:
    assert decades(np.array([-1.0, 0.1, 10.0, np.nan, np.inf])) == pytest.approx(2)


def test_the_catalogue_of_an_empty_archive(made: Made) -> None:
    assert catalogue(Archive(made("empty"))) == []


def test_variants_can_be_asked_for_one_by_one(tmp_path: Path) -> None:
    from archive.committer import commit_inbox
    from archive.records import Checkpoint, Part
    from archive.shard import ShardBuilder

    path = demo(tmp_path / "x.duckdb")
    archive = Archive(path)
    shard = ShardBuilder(kind="measure")
    other = Encoding(hash="f" * 64, name="held-out pairs, 10%")
    quantity = shard.quantity(Quantity(measure=LOSS, encoding=other))
    for k in range(5):
        point = shard.checkpoint(Checkpoint(run=f"demo-s{k}", step=1200, label="step1200"))
        shard.add("fact_scalar", point, quantity, part=shard.part(Part(kind="split", name="test")), value=0.5)
        shard.cell(point, quantity)
    shard.write(archive.layout.inbox)
    assert commit_inbox(archive.layout).refused == []
    (loss,) = [s for s in catalogue(archive) if s.measure == "loss"]
    assert [v.label for v in loss.variants] == ["all pairs mod 47", "held-out pairs, 10%"]
    assert [v.parts for v in loss.variants] == [("test", "train"), ("test",)]
    for variant, n_rows in zip(loss.variants, (5 * len(schedule(70)), 5), strict=True):
        asked = parameters(loss, Choices("loss", variant=variant.label), RunSelection(), "test")
        assert loss_curves(archive, **asked).table.num_rows == n_rows


def test_eval_sets_of_one_name_are_told_apart_by_their_tokenizers(tmp_path: Path) -> None:
    from archive.committer import commit_inbox
    from archive.records import Checkpoint, Part, Tokenizer
    from archive.shard import ShardBuilder

    path = demo(tmp_path / "x.duckdb")
    archive = Archive(path)
    shard = ShardBuilder(kind="measure")
    shard.tokenizer(Tokenizer(hash="w", name="words"))
    same_name = Encoding(hash="f" * 64, name="all pairs mod 47", tokenizer="w")
    quantity = shard.quantity(Quantity(measure=LOSS, encoding=same_name))
    point = shard.checkpoint(Checkpoint(run="demo-s0", step=1200, label="step1200"))
    shard.add("fact_scalar", point, quantity, part=shard.part(Part(kind="split", name="test")), value=0.5)
    shard.cell(point, quantity)
    shard.write(archive.layout.inbox)
    assert commit_inbox(archive.layout).refused == []
    (loss,) = [s for s in catalogue(archive) if s.measure == "loss"]
    words = next(v for v in loss.variants if v.label == "all pairs mod 47: words")
    assert len(loss.variants) == 2
    asked = parameters(loss, Choices("loss", variant=words.label), RunSelection(), "test")
    assert loss_curves(archive, **asked).table["value"].to_pylist() == [0.5]


def test_a_log_is_never_swapped_for_what_was_measured(demo: Archive) -> None:
    for series in catalogue(demo):
        asked = parameters(series, Choices(series.measure), RunSelection(), series.variants[0].parts[0])
        assert loss_curves(demo, **asked).provenance.quantities[0]["measure"] == series.measure


def test_runs_know_their_tokens(made: Made) -> None:
    assert not any(r.has_tokens for r in run_names(Archive(made("demo"))))
    assert all(r.has_tokens for r in run_names(Archive(made("two conditions"))))


def test_suspect_checkpoints_are_told_beside_the_choice_of_runs(made: Made) -> None:
    archive = Archive(made("suspect"))
    known = run_names(archive)
    assert {r.run: r.n_suspect for r in known} == {"s0": 0, "s1": 0, "s2": 2, "s3": 0}
    assert badge(known, (), used=False) == "▲ 2 suspect checkpoints in s2: left out."
    assert badge(known, ("s*",), used=True) == "▲ 2 suspect checkpoints in s2: in use."
    assert badge(known, ("s1",), used=True) == ""
    bad = schedule(70)[40]
    (line,) = at_step(suspects(archive), ("s1", "s2"), bad)
    assert line.startswith(f"▲ s2 at step {bad:,} is a suspect checkpoint: defect weights equal")
    assert at_step(suspects(archive), ("s1",), bad) == []
    many = [(f"r{k}", 5.0, "duplicate") for k in range(9)]
    assert at_step(many, [m[0] for m in many], 5)[-1] == "▲ So are those of 4 more runs."


def test_too_many_conditions_are_cut_to_what_can_be_told_apart(made: Made) -> None:
    archive = Archive(made("many runs"))
    choices = Choices("loss")
    selected = select_runs(archive, choices.selection)
    selection, n_drawn, n_groups = drawable(selected, choices, 1)
    assert (n_drawn, n_groups) == (12, 30)
    assert len(set(select_runs(archive, selection).groups.values())) == 12
    _, n_drawn, _ = drawable(selected, choices, 2)
    assert n_drawn == len(HUES)


def test_few_conditions_are_left_alone(made: Made) -> None:
    choices = Choices("loss", run=("wd1-*",))
    selected = select_runs(Archive(made("two conditions")), choices.selection)
    assert drawable(selected, choices, 2) == (choices.selection, 1, 1)


@pytest.mark.parametrize(("n_runs", "points"), [(1, 800), (250, 800), (1000, 200), (10_000, 20), (10**6, 20)])
def test_thinning_keeps_the_whole_picture_bounded(n_runs: int, points: int) -> None:
    assert points_per_run(n_runs) == points


@given(
    st.builds(
        Choices,
        measure=st.text(min_size=1),
        part=st.lists(st.text(min_size=1), max_size=3).map(tuple),
        run=st.lists(st.text(min_size=1), max_size=3).map(tuple),
        excluded=st.booleans(),
        y_scale=st.sampled_from(["linear", "log"]),
    )
)
def test_a_permalink_says_everything_that_was_chosen(choices: Choices) -> None:
    link = urlsplit(permalink("http://localhost:8501/curves?old=1", choices))
    words = parse_qs(link.query, keep_blank_values=True, errors="strict")
    assert (link.scheme, link.netloc, link.path) == ("http", "localhost:8501", "/curves")
    assert words["measure"] == [choices.measure]
    assert tuple(words.get("part", ())) == choices.part
    assert tuple(words.get("run", ())) == choices.run
    assert ("excluded" in words) == choices.excluded
    assert words["y_scale"] == [choices.y_scale]
    assert "old" not in words


def test_the_csv_has_every_value(demo: Archive) -> None:
    answers = [answer(demo, measure="log.loss", part=part) for part in ("test", "train")]
    rows = pv.read_csv(io.BytesIO(as_csv(answers).encode()))
    assert rows.num_rows == 2 * 5 * 1201
    assert rows.column_names[:4] == ["measure", "unit", "run", "group"]
    assert set(rows["measure"].to_pylist()) == {"log.loss (test)", "log.loss (train)"}


def test_the_end_of_each_curve_is_the_querys_own_number(demo: Archive) -> None:
    found = answer(demo)
    (row,) = ends([found]).to_pylist()
    assert (row["curve"], row["n_runs"], row["step"]) == ("loss (test)", 5, 1200)
    assert (row["mean"], row["low"], row["high"]) == (found.estimate, found.ci_low, found.ci_high)


def test_the_end_table_names_conditions_by_their_difference(made: Made) -> None:
    table = ends([answer(Archive(made("two conditions")))])
    assert sorted(table["group"].to_pylist()) == ["weight decay 1", "weight decay 2"]


def test_what_is_left_out_is_said_and_what_is_thinned_is_counted(made: Made) -> None:
    archive = Archive(made("suspect"))
    missing, fine = notes([answer(archive)], n_drawn=1, n_groups=1)
    assert any("1 excluded run" in line and "sidebar" in line for line in missing)
    assert any("2 checkpoint(s) left out as suspect" in line for line in missing)
    assert any("Intervals hold at one point" in line for line in fine)
    thin = answer(archive, measure="log.loss", max_points=100)
    missing, fine = notes([thin], n_drawn=4, n_groups=9)
    assert missing[0].startswith("4 of 9 conditions are drawn")
    kept = len(set(thin.table["step"].to_pylist()))
    assert missing[1].startswith(f"1 of {1201 / kept:.2g} points drawn: {kept} of 1")
    assert not any(line.startswith("Thinned") for line in (*missing, *fine))


def test_step_zero_stays_on_a_log_axis(demo: Archive) -> None:
    figure = curve_figure([answer(demo)], x_scale="log", y_scale="linear", colour_by="condition")
    assert figure.layout.xaxis.type == "log"
    assert list(figure.layout.xaxis2.ticktext) == ["0"]
    assert figure.layout.xaxis2.domain[1] < figure.layout.xaxis.domain[0]
    # 5 runs, their mean and its interval: every one of them has its step 0, and none of it on the log axis
    assert len([t for t in drawn(figure, "x2") if t.mode == "markers"]) == 5 + 1
    assert all((np.asarray(t.x) == 0).all() for t in drawn(figure, "x2"))
    assert all((np.asarray(t.x, float) > 0).all() for t in drawn(figure) if len(t.x))


def test_a_linear_axis_is_not_broken(demo: Archive) -> None:
    figure = curve_figure([answer(demo)], x_scale="linear", y_scale="log", colour_by="condition")
    assert drawn(figure, "x2") == []
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("linear", "log")


def test_every_value_is_drawn_where_it_is(demo: Archive) -> None:
    found = answer(demo)
    figure = curve_figure([found], x_scale="log", y_scale="linear", colour_by="condition")
    runs = [t for t in figure.data if t.name and t.name.startswith("demo-s")]
    points = {(t.name, float(x), float(y)) for t in runs for x, y in zip(t.x, t.y, strict=True)}
    rows = found.table.to_pylist()
    assert points == {(r["run"], float(r["step"]), r["value"]) for r in rows}


def test_the_mean_and_band_are_the_querys(demo: Archive) -> None:
    found = answer(demo)
    figure = curve_figure([found], x_scale="linear", y_scale="linear", colour_by="condition")
    (mean,) = [t for t in figure.data if t.line.width == 2.6]
    assert np.array_equal(mean.y, found.bands["mean"].to_numpy())
    (band,) = [t for t in figure.data if t.fill == "toself"]
    assert set(band.y) == set(found.bands["low"].to_pylist()) | set(found.bands["high"].to_pylist())


def test_a_single_run_has_no_mean_and_no_band(made: Made) -> None:
    figure = curve_figure(
        [answer(Archive(made("one run")))], x_scale="log", y_scale="log", colour_by="condition"
    )
    assert not [t for t in figure.data if t.fill == "toself" and len(t.x)]
    assert not [t for t in figure.data if t.line.width == 2.6]


def test_one_colour_a_run_draws_no_mean(demo: Archive) -> None:
    found = bundles([answer(demo)], colour_by="run")
    assert [b.label for b in found] == [f"demo-s{k}" for k in range(5)]
    assert not any(b.band.num_rows for b in found)
    assert len({b.stroke for b in found}) == 5


def test_parts_of_one_condition_differ_in_colour_and_of_several_in_dash(made: Made) -> None:
    archive = Archive(made("two conditions"))
    answers = [answer(archive, part=p) for p in ("test", "train")]
    found = bundles(answers, colour_by="condition")
    assert {b.label for b in found} == {
        f"weight decay {wd} · {part} (3 runs)" for part in ("test", "train") for wd in (2, 1)
    }
    assert len({b.stroke for b in found}) == 4
    assert len({b.stroke.colour for b in found}) == 2
    only = [answer(archive, part=p, runs="wd1-*") for p in ("test", "train")]
    assert len({b.stroke.colour for b in bundles(only, colour_by="condition")}) == 2


def test_a_suspect_checkpoint_is_a_gap_with_a_mark(made: Made) -> None:
    archive = Archive(made("suspect"))
    bad = schedule(70)[40:42]
    figure = curve_figure([answer(archive)], x_scale="log", y_scale="linear", colour_by="condition")
    (run,) = [t for t in figure.data if t.name == "s2" and (t.xaxis or "x") == "x"]
    assert [x for x, y in zip(run.x, run.y, strict=True) if np.isnan(y)] == bad
    (marks,) = [t for t in figure.data if t.yaxis == "y2"]
    assert list(marks.x) == bad
    assert not any(t.name == "s3" for t in figure.data), "an excluded run is drawn"


def test_suspect_checkpoints_are_drawn_when_asked_for(made: Made) -> None:
    found = answer(Archive(made("suspect")), with_suspect=True)
    figure = curve_figure([found], x_scale="log", y_scale="linear", colour_by="condition")
    assert not [t for t in figure.data if t.yaxis == "y2"]


def test_suspect_checkpoints_in_use_are_marked(made: Made) -> None:
    archive = Archive(made("suspect"))
    found = answer(archive, with_suspect=True)
    used = in_use(suspects(archive), [found.table])
    bad = schedule(70)[40:42]
    assert sorted(mark[:2] for mark in used) == [("s2", step) for step in bad]
    figure = curve_figure([found], x_scale="log", y_scale="linear", colour_by="condition", in_use=used)
    (marks,) = [t for t in figure.data if t.yaxis == "y2"]
    assert list(marks.x) == bad
    assert in_use_words(used)[0].startswith(
        f"▲ marks 2 suspect checkpoints in use (first: s2 step {bad[0]:,}"
    )
    assert in_use(suspects(archive), [answer(archive).table]) == set()
    assert in_use_words(set()) == []


def test_a_log_y_axis_says_what_it_cannot_show(made: Made) -> None:
    found = answer(Archive(made("two conditions")))
    assert hidden_values([found]) == 0
    figure = curve_figure([found], x_scale="log", y_scale="log", colour_by="condition")
    low, high = (10**v for v in figure.layout.yaxis.range)
    values = found.table["value"].to_pylist()
    assert low < min(values) < max(values) < high
    n_cut = cut_intervals(figure, [found.bands])
    assert n_cut >= sum(1 for v in found.bands["low"].to_pylist() if v is not None and v <= 0) > 0
    # a band that reaches 0 runs out of the picture, not along its ground
    assert 0 < min(float(min(t.y)) for t in figure.data if t.fill == "toself") < low
    words, _ = notes([found], n_drawn=1, n_groups=1, hidden=3, cut=n_cut)
    assert any(line.startswith("3 values at or below 0") for line in words)
    assert any(line.startswith(f"{n_cut} intervals of a mean reach beyond the y axis") for line in words)


@pytest.mark.parametrize("y_scale", ["linear", "log"])
def test_the_interval_of_two_runs_does_not_flatten_them(tmp_path: Path, y_scale: str) -> None:
    plans = [
        Plan(f"two-s{k}", k, grok_step=g, steps=tuple(schedule(20))) for k, g in enumerate((430.0, 930.0))
    ]
    found = answer(Archive(write_archive(tmp_path / "x.duckdb", plans, log=False, heads=False)))
    values = np.array(found.table["value"].to_pylist())
    assert max(found.bands["high"].to_pylist()) > 2 * values.max(), "the interval is as wide as is said"
    figure = curve_figure([found], x_scale="log", y_scale=y_scale, colour_by="condition")
    low, high = figure.layout.yaxis.range
    drawn = np.log10(values) if y_scale == "log" else values
    assert np.ptp(drawn) / (high - low) > 0.65
    assert low < drawn.min() < drawn.max() < high
    assert 0 < cut_intervals(figure, [found.bands]) <= found.bands.num_rows
    assert cut_intervals(figure, []) == 0


def test_an_interval_that_fits_is_not_cut(demo: Archive) -> None:
    found = answer(demo, measure="accuracy", part="train")
    figure = curve_figure([found], x_scale="log", y_scale="linear", colour_by="condition")
    assert cut_intervals(figure, [found.bands]) == 0
    assert figure.layout.yaxis.range[1] < 1.2


def test_gaps_stay_gaps(made: Made) -> None:
    found = answer(Archive(made("gaps")))
    figure = curve_figure([found], x_scale="linear", y_scale="linear", colour_by="condition")
    run = next(t for t in figure.data if t.name == "gap-s0")
    assert not run.connectgaps
    assert np.isnan(np.asarray(run.y, float)).any()


def test_many_runs_share_a_trace(made: Made) -> None:
    archive = Archive(made("many runs"))
    figure = curve_figure(
        [answer(archive, runs="family:family-0")], x_scale="log", y_scale="linear", colour_by="condition"
    )
    assert len(figure.data) < MOST_TRACES
    together = [t for t in figure.data if t.type == "scattergl"]
    assert len(together) == 10  # conditions
    assert sum(int(np.isfinite(np.asarray(t.y, float)).sum()) for t in together) == 100 * 4  # steps above 0


def test_hostile_names_reach_the_figure_as_text(made: Made) -> None:
    archive = Archive(made("hostile"))
    for colour_by in ("condition", "run"):
        figure = curve_figure([answer(archive)], x_scale="log", y_scale="log", colour_by=colour_by)
        assert "<img" not in figure.to_json().replace("\\u003c", "<")
        assert all(len(a.text) < 60 for a in figure.layout.annotations)


def test_the_figure_is_told_in_words(demo: Archive) -> None:
    words = figure_in_words([answer(demo)], x_scale="log", y_scale="linear")
    assert words.startswith(
        "Line chart of loss (test) over step, log x axis, linear y axis. loss (test) of 5 runs"
    )


@given(st.lists(st.floats(0, 1), max_size=20))
def test_labels_are_spread_without_changing_their_order(heights: list[float]) -> None:
    placed = spread(heights, 0.05)
    order = np.argsort(heights, kind="stable")
    in_order = [placed[i] for i in order]
    assert all(b - a >= 0.05 - 1e-9 for a, b in pairwise(in_order))
    assert max(placed, default=0) <= 1


def test_labels_far_apart_stay_where_they_are() -> None:
    assert spread([0.9, 0.1, 0.5], 0.05) == [0.9, 0.1, 0.5]


def test_a_line_of_nothing_but_gaps_gets_no_label(demo: Archive) -> None:
    found = bundles([answer(demo)], colour_by="run")[0]
    line = found.lines[0]
    silent = replace(found, lines=(replace(line, values=np.full(len(line.values), np.nan)),))
    assert np.isnan(silent.end)
