from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.store import Archive
from queries.grokking_progress import grokking_progress
from queries.loss_curves import loss_curves
from tests.ui.grokking.archive import crossed, curves
from ui.models.address import permalink
from ui.models.grokking.measures import (
    measured,
    measures_figure,
    measures_hidden,
    measures_in_words,
    measures_key,
)
from ui.models.grokking.phases import spans
from ui.models.grokking.progress import (
    GrokkingChoices,
    all_runs,
    conditions,
    ends_table,
    fill_command,
    hidden,
    loss_parameters,
    one_run,
    sorted_limits,
    whose_frequencies,
)
from ui.models.palette import HUES
from ui.models.series import RunChoice

Made = Callable[[str], Path]
RUN = crossed()[0]


@pytest.fixture
def grokked(made: Made) -> Archive:
    return Archive(made("grokking"))


def test_the_losses_of_one_run_are_the_planted_ones(grokked: Archive) -> None:
    drawn = {b.label: b for b in one_run(grokking_progress(grokked), RUN.name)}
    assert list(drawn) == ["test loss", "train loss", "restricted loss", "excluded loss"]
    planted = curves(RUN)
    for label, key in {"test loss": ("loss", "test"), "excluded loss": ("excluded_loss", "train")}.items():
        (line,) = drawn[label].lines
        assert line.times.tolist() == list(RUN.steps)
        assert line.values == pytest.approx(planted[key])
    assert len({(b.stroke.colour, b.stroke.dash) for b in drawn.values()}) == 4


def test_a_suspect_checkpoint_is_a_gap(made: Made) -> None:
    progress = grokking_progress(Archive(made("grokking odd")))
    bad = [e["step"] for e in progress.provenance.left_out]
    (line,) = one_run(progress, "i0-p1")[0].lines
    assert [x for x, y in zip(line.times, line.values, strict=True) if np.isnan(y)] == bad
    (line,) = one_run(progress, "i0-p0")[0].lines
    assert np.isnan(line.values).sum() == 3, "NaN values are gaps too"


def test_means_over_runs_rest_on_the_numbers_the_phases_rest_on(grokked: Archive) -> None:
    progress = grokking_progress(grokked)
    asked = loss_parameters(progress, RunChoice().selection, suspect=False)
    assert list(asked) == ["test_loss", "train_loss", "restricted_loss", "excluded_loss"]
    answers = {column: loss_curves(grokked, **p) for column, p in asked.items()}
    for column, answer in answers.items():
        assert answer.table["value"].to_numpy() == pytest.approx(progress.table[column].to_numpy())
    assert progress.frequencies == "final"
    assert answers["restricted_loss"].provenance.quantities[0]["params"]["frequencies"] == "final"
    drawn = all_runs(answers)
    assert [b.label for b in drawn] == [
        f"{w} (6 runs)" for w in ("test loss", "train loss", "restricted loss", "excluded loss")
    ]
    assert [b.stroke.colour for b in drawn] == list(HUES)
    assert all(len(b.lines) == 6 and b.band.num_rows for b in drawn)


def test_more_conditions_than_dashes_are_cut_visibly(grokked: Archive) -> None:
    runs = [f"r{k}" for k in range(8)]
    table = pa.table({"run": runs, "group": [f"wd {k // 2}" for k in range(8)]})
    progress = replace(grokking_progress(grokked), table=table)
    selection, n_drawn, n_there = conditions(progress, RunChoice())
    assert (n_drawn, n_there) == (3, 4)
    assert selection.names == tuple(runs[:6])


def test_few_conditions_are_left_alone(grokked: Archive) -> None:
    chosen = RunChoice(run=("i*",))
    assert conditions(grokking_progress(grokked), chosen) == (chosen.selection, 1, 1)


def test_the_command_names_what_is_missing(demo: Archive, grokked: Archive) -> None:
    assert fill_command(grokking_progress(grokked)) == ""
    assert fill_command(grokking_progress(demo)) == (
        "pathscope ingest STUDY.toml --fill restricted_loss --fill excluded_loss --fill sum_of_squared_weights"
    )
    assert whose_frequencies(grokking_progress(demo)) == ""
    assert whose_frequencies(grokking_progress(grokked, frequencies="current")).endswith("checkpoint itself")


def test_limits_are_sorted_and_commands_stand_elsewhere() -> None:
    missing, fine = sorted_limits(
        [
            "2 checkpoint(s) left out as suspect.",
            "1 excluded run(s) left out; 'excluded:too' brings them in.",
            "3 run(s) have no fve: `pathscope ingest STUDY --fill fve` measures it.",
            "Phases by rule version 1.",
            "Phases by rule version 1.",
        ]
    )
    assert missing == [
        "2 checkpoint(s) left out as suspect.",
        "1 excluded run(s) left out; the switch in the sidebar brings them in.",
    ]
    assert fine == ["Phases by rule version 1."]


def test_ends_are_brackets_in_words(grokked: Archive, demo: Archive) -> None:
    rows = {r["run"]: r for r in ends_table(grokking_progress(grokked)).to_pylist()}
    assert rows["i2-p1"]["cleanup"] == "not by 1,200"
    before, after = (int(w.replace(",", "")) for w in rows["i0-p0"]["memorization"].split(" – "))
    assert before < after
    assert ends_table(grokking_progress(demo)).to_pylist()[0]["cleanup"] == "unresolved"


def test_values_at_zero_are_counted_for_a_log_axis(grokked: Archive) -> None:
    (bundle, *_) = one_run(grokking_progress(grokked), "i0-p0")
    assert hidden([bundle]) == 0
    bundle.lines[0].values[:2] = 0
    assert hidden([bundle]) == 2


@given(
    st.builds(
        GrokkingChoices,
        focus=st.text(min_size=1),
        step=st.none() | st.integers(0, 10**9),
        level=st.none() | st.floats(0, 1),
    ),
    st.builds(RunChoice, run=st.lists(st.text(min_size=1), max_size=2).map(tuple), suspect=st.booleans()),
)
def test_a_permalink_says_everything(choices: GrokkingChoices, runs: RunChoice) -> None:
    words = parse_qs(
        urlsplit(permalink("http://x/grokking?old=1", runs, choices)).query, keep_blank_values=True
    )
    assert words["focus"] == [choices.focus]
    assert words.get("step", [None])[0] == (None if choices.step is None else str(choices.step))
    assert words.get("level", [None])[0] == (None if choices.level is None else str(choices.level))
    assert tuple(words.get("run", ())) == runs.run
    assert ("suspect" in words) == runs.suspect
    assert "old" not in words


@pytest.mark.parametrize("x_scale", ["linear", "log"])
def test_other_measures_show_one_run_over_the_rest(grokked: Archive, x_scale: str) -> None:
    progress = grokking_progress(grokked)
    of_run = spans(progress)["i0-p0"]
    figure = measures_figure(progress, "i0-p0", of_run, x_scale=x_scale)
    planted = curves(RUN)
    keys = (("fourier_gini", "W_E"), ("fve", "logits"), ("sum_of_squared_weights", ""))
    for panel, key in zip(("x", "x2", "x3"), keys, strict=True):
        lines = [t for t in figure.data if t.xaxis == panel]
        assert len(lines) == 6
        thick = lines[-1]
        assert thick.mode == "lines+markers"
        values = np.asarray(thick.y, float)
        assert values[np.isfinite(values)] == pytest.approx(planted[key])
        assert thick.customdata[0] == 0, "step 0 is told as what it is, wherever it is drawn"
    ends = [s.end for s in of_run if s.closed]
    assert [s.x0 for s in figure.layout.shapes] == ends * 3
    assert measures_key(progress, "i0-p0").startswith("Thick: i0-p0. Thin: 5 other runs")
    assert "sum of squared weights from 900.3 to 700" in measures_in_words(progress, "i0-p0")


def test_other_measures_on_a_log_axis_say_what_they_hide(grokked: Archive) -> None:
    progress = grokking_progress(grokked)
    at = progress.table.column_names.index("fve")
    values = progress.table["fve"].to_pylist()
    odd = [-0.1 if k in (1, 2) else v for k, v in enumerate(values)]
    progress = replace(progress, table=progress.table.set_column(at, "fve", pa.array(odd, pa.float64())))
    figure = measures_figure(progress, "i0-p0", [], x_scale="log", y_scale="log")
    assert {figure.layout[f"yaxis{n}"].type for n in ("", "2", "3")} == {"log"}
    assert all(np.nanmin(np.asarray(t.y, float)) > 0 for t in figure.data)
    assert measures_hidden(progress) == sum(
        v is not None and v <= 0 for c in measured(progress) for v in progress.table[c].to_pylist()
    )


def test_measures_that_are_not_there_have_no_panel(demo: Archive, grokked: Archive) -> None:
    assert measured(grokking_progress(demo)) == []
    progress = grokking_progress(grokked)
    at = progress.table.column_names.index("fve")
    gone = progress.table.set_column(at, "fve", pa.nulls(progress.table.num_rows, pa.float64()))
    figure = measures_figure(replace(progress, table=gone), "i0-p0", [], x_scale="log")
    titles = [a.text for a in figure.layout.annotations if a.text != "//"]
    assert titles == ["Gini of W_E", "sum of squared weights"]
    assert figure.layout.xaxis2.domain[1] == pytest.approx(1)
    assert not figure.layout.shapes
