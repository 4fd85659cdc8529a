"""The Grokking and Trajectory pages on archives that have all, some or none of what they show."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.grokking.archive import GROKKING_ARCHIVES, STEPS
from tests.ui.seen import assert_fine, commands, drawn, figures, pictures, texts

Page = Callable[..., AppTest]
Made = Callable[[str], Path]

PAGES = ("grokking", "trajectory")
STEP = STEPS[20]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("archive", GROKKING_ARCHIVES)
def test_a_page_opens(page: Page, archive: str, name: str) -> None:
    app = page(archive, name)
    assert_fine(app)
    assert not app.warning
    assert len(figures(app)) >= 2


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_archive_shows_the_one_command_that_fills_it(page: Page, made: Made, name: str) -> None:
    app = page("empty", name)
    assert commands(app) == [f"pathscope demo --archive {made('empty')}"]
    assert not figures(app)


def test_what_is_not_measured_is_asked_for_section_by_section(page: Page) -> None:
    app = page("demo", "grokking")
    assert commands(app) == [
        "pathscope ingest STUDY.toml --fill restricted_loss --fill excluded_loss --fill sum_of_squared_weights",
        "pathscope ingest STUDY.toml --fill fourier_norm",
        "pathscope ingest STUDY.toml --fill key_frequencies --fill fourier_norm",
    ]
    assert list(drawn(app)) == ["Line chart", "Bars", "Table"]
    assert "not crossed" in texts(app)
    assert commands(page("demo", "trajectory")) == ["pathscope ingest STUDY.toml --fill weight_products"]


def test_everything_is_drawn_where_everything_is_there(page: Page) -> None:
    app = page("grokking", "grokking")
    assert commands(app) == []
    assert list(drawn(app)) == [
        "Line chart",
        "Bars",
        "Panels",
        "Heat map",
        "Dots",
        "Table",
        "Dots with intervals",
    ]
    names = [a["text"] for a in pictures(app)["Line chart"]["layout"]["annotations"]]
    assert {"memorization", "circuit formation", "cleanup", "restricted loss", "excluded loss"} <= set(names)
    assert "6 runs: 6 of 6 (3 independent inits) end memorization" in texts(app).replace("\\", "")


def test_an_address_sets_every_choice(page: Page) -> None:
    app = page(
        "grokking",
        "grokking",
        show="all runs",
        focus="i1-p1",
        frequencies="current",
        x_scale="linear",
        y_scale="linear",
        matrix="logits",
        step=str(STEP),
        rule="neurons",
        event="end of cleanup",
        run="i*",
        suspect="true",
    )
    assert not app.exception
    figure = pictures(app)["Line chart"]
    assert (figure["layout"]["xaxis"]["type"], figure["layout"]["yaxis"]["type"]) == ("linear", "linear")
    heat = pictures(app)["Heat map"]
    assert heat["layout"]["shapes"][0]["x0"] == STEP
    assert "of logits of i1-p1" in drawn(app)["Heat map"]
    assert "checkpoint itself" in texts(app)
    assert "end of cleanup" in texts(app)
    link = next(c.value for c in app.code if "focus=" in c.value)
    for word in (
        "run=i%2A",
        "suspect=true",
        "focus=i1-p1",
        "show=all+runs",
        "frequencies=current",
        f"step={STEP}",
    ):
        assert word in link
    assert f"matrix=logits&step={STEP}&rule=neurons&event=end+of+cleanup" in link


def test_the_slider_drives_the_spectrum(page: Page) -> None:
    app = page("grokking", "grokking", x_scale="linear")
    before = pictures(app)["Heat map"]
    app.select_slider(key="step").set_value(STEP).run()
    assert not app.exception
    after = pictures(app)["Heat map"]
    assert after["layout"]["shapes"][0]["x0"] == STEP
    assert before["data"][-1]["x"] != after["data"][-1]["x"]
    assert before["data"][0]["z"] == after["data"][0]["z"]
    assert f"at step {STEP} (the slider's)" in texts(app).replace("\\", "")


def test_a_step_that_the_next_run_lacks_falls_back_to_its_last(page: Page) -> None:
    app = page("grokking odd", "grokking", focus="i0-p1")
    slider = app.select_slider(key="step")
    # i0-p0 has gaps, such as its fifth checkpoint
    slider.set_value(STEPS[4]).run()
    assert f"at step {STEPS[4]} (the slider's)" in texts(app).replace("\\", "")
    app.selectbox(key="focus").select("i0-p0").run()
    assert not app.exception
    last = int(app.select_slider(key="step").options[-1])
    assert last < STEPS[-1], "its last checkpoint is one of the gaps"
    assert f"at step {last:,} (the slider's)" in texts(app).replace("\\", "")


def test_nonsense_in_the_address_is_ignored(page: Page) -> None:
    nonsense = {
        "focus": "<script>",
        "step": "soon",
        "rule": "none",
        "event": "x",
        "level": "high",
        "matrix": "Q",
    }
    app = page("grokking", "grokking", **nonsense)
    assert not app.exception
    assert app.selectbox(key="focus").value == "i0-p0"
    assert len(figures(app)) == 7
    app = page("grokking", "trajectory", of="x", picture="y", weighting="z", after_step="soon")
    assert not app.exception
    assert len(figures(app)) == 2


def test_what_is_left_out_is_in_sight_and_can_be_brought_in(page: Page) -> None:
    for name in PAGES:
        app = page("grokking odd", name)
        assert "1 excluded run" in texts(app)
        assert "trained on the wrong split" in texts(app)
        assert "2 checkpoint" in texts(app)
        app.toggle(key="excluded").set_value(True)
        app.toggle(key="suspect").set_value(True)
        app.run()
        assert not app.exception
        assert "excluded run" not in texts(app)
        assert "left out as suspect" not in texts(app)


def test_one_run_has_no_mean_and_no_crossing(page: Page) -> None:
    app = page("grokking one", "grokking", show="all runs")
    assert not app.exception
    figure = pictures(app)["Line chart"]
    assert not [t for t in figure["data"] if t.get("fill") == "toself" and t.get("x")]
    assert "not crossed" in texts(app)


def test_runs_without_inner_products_are_asked_for(page: Page) -> None:
    app = page("grokking odd", "trajectory", run="i1-p0", of="logits")
    assert commands(app) == ["pathscope ingest STUDY.toml --fill logit_products"]
    assert not figures(app)


def test_a_trajectory_page_follows_its_address(page: Page) -> None:
    app = page(
        "grokking",
        "trajectory",
        of="logits",
        picture="over steps",
        weighting="checkpoint",
        after_step="50",
        x_scale="linear",
    )
    figure, _ = figures(app)
    assert figure["layout"]["xaxis"]["type"] == "linear"
    assert figure["layout"]["xaxis"].get("ticktext") is None, "no step 0 is left of a break"
    assert "components of the logits" not in texts(app)
    assert "first component of the logits" in texts(app)
    assert "60.8% / 15.2% / 6.8%" in texts(app).replace("\\", "")
    link = next(c.value for c in app.code if "picture=" in c.value)
    assert link.endswith("of=logits&picture=over+steps&weighting=checkpoint&after_step=50&x_scale=linear")


def test_a_trajectory_too_short_is_said(page: Page) -> None:
    app = page("grokking", "trajectory", after_step="1200")
    assert not app.exception
    assert "no run has 3 checkpoints" in app.warning[0].value.replace("\\", "")


def test_runs_without_a_split_get_one_box_and_nothing_else(own: Made, page: Page) -> None:
    path = own("grokking one")
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "DELETE FROM fact_scalar WHERE quantity_id NOT IN "
            "(SELECT quantity_id FROM v_quantity WHERE measure = 'accuracy')"
        )
        connection.execute(
            "DELETE FROM fact_scalar WHERE part_id IN (SELECT id FROM part WHERE name = 'test')"
        )

    app = page(path, "grokking")

    assert not app.exception
    assert "no train and test split" in app.info[0].value
    assert not app.code
    assert not app.warning
    assert not app.subheader[1:]
