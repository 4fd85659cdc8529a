"""The Heads and Neuron pages on archives that have all, some or none of what they show."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.component_archive import COMPONENT_ARCHIVES, STEPS
from tests.ui.component_records import N_UNITS
from tests.ui.test_pages import figures, texts

Page = Callable[..., AppTest]
Made = Callable[[str], Path]

PAGES = ("heads", "neuron")


def commands(app: AppTest) -> list[str]:
    return [c.value for c in app.code if c.value.startswith("pathscope ")]


def drawn(app: AppTest) -> dict[str, str]:
    """Alt texts of the figures by their first words."""
    return {c.proto.alt.split(" of ")[0]: c.proto.alt for c in app.get("plotly_chart")}


def examples(app: AppTest) -> str:
    (found,) = [e.proto.body for e in app.get("html") if e.proto.body.startswith("<ol")]
    return str(found)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("archive", COMPONENT_ARCHIVES)
def test_a_page_opens(page: Page, archive: str, name: str) -> None:
    app = page(archive, name)
    assert not app.exception
    assert not app.error
    assert not app.warning
    assert len(figures(app)) >= 3
    assert all(chart.proto.alt for chart in app.get("plotly_chart"))
    assert "<img" not in texts(app).replace("\\<img", "")


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_archive_shows_the_one_command_that_fills_it(page: Page, made: Made, name: str) -> None:
    app = page("empty", name)
    assert commands(app) == [f"pathscope demo --archive {made('empty')}"]
    assert not figures(app)


def test_what_is_not_measured_is_asked_for(page: Page) -> None:
    assert commands(page("grokking", "heads")) == [
        "pathscope ingest STUDY.toml --fill head.prefix_matching --fill head.previous_token"
    ]
    assert commands(page("demo", "neuron")) == [
        "pathscope ingest STUDY.toml --fill neuron.top --fill neuron.statistics --fill neuron.histogram "
        "--fill neuron.logit_effect"
    ]
    # heads with scores of one measure only: the rest of the page says what fills it
    app = page("demo", "heads")
    assert list(drawn(app)) == ["Grid", "Line chart"]
    assert [c.split("--fill ")[1].strip() for c in commands(app)] == [
        "q_composition",
        "head.distance_profile",
    ]


def test_heads_open_with_the_best_head_of_the_first_run(page: Page) -> None:
    app = page("components", "heads")
    assert app.selectbox(key="measure").value == "head.prefix_matching"
    assert app.selectbox(key="measure").options == [
        "head.prefix_matching",
        "head.prefix_matching:last_target",
        "head.previous_token",
    ]
    assert list(drawn(app)) == ["Grid", "Line chart", "Bars"]
    assert "Highest: L1H2" in drawn(app)["Grid"]
    finder = next(d.value for d in app.dataframe if "above" in d.value)
    assert finder["head"][0] == "L1H2"
    assert finder["above"][0] == pytest.approx(finder["value"][0] - 0.025)
    partners = next(d.value for d in app.dataframe if "way" in d.value)
    assert (partners["partner"][0], partners["way"][0]) == ("L0H0", "reads from, K")


def test_an_address_sets_every_choice_of_heads(page: Page) -> None:
    app = page(
        "components",
        "heads",
        measure="head.prefix_matching:last_target",
        focus="lm-seed1",
        step="512",
        head="L1H3",
        curves_of="best of each run",
        x_scale="linear",
        show="all runs",
        sort="z",
        run="lm-*",
    )
    assert not app.exception
    assert "lm-seed1 at step 512, 2 layers by 4 heads" in drawn(app)["Grid"]
    assert "the best head at the end over steps, 3 runs, in focus lm-seed1" in drawn(app)["Line chart"]
    finder = next(d.value for d in app.dataframe if "above" in d.value)
    assert set(finder["run"]) == {"lm-seed0", "lm-seed1", "lm-seed2"}
    assert finder["z"].is_monotonic_decreasing
    line = next(
        f for f, c in zip(figures(app), app.get("plotly_chart"), strict=True) if "Line" in c.proto.alt
    )
    assert line["layout"]["xaxis"]["type"] == "linear"
    link = next(c.value for c in app.code if "focus=" in c.value)
    assert link.endswith(
        "run=lm-%2A&measure=head.prefix_matching%3Alast_target&eval_set=repeated+tokens&focus=lm-seed1&step=512"
        "&show=all+runs&sort=z&head=L1H3&curves_of=best+of+each+run&x_scale=linear"
    )


def test_the_slider_drives_the_grid_but_not_its_colours(page: Page) -> None:
    app = page("components", "heads")
    before = figures(app)[0]
    app.select_slider(key="step").set_value(STEPS[3]).run()
    after = figures(app)[0]
    assert before["data"][0]["z"] != after["data"][0]["z"]
    assert before["data"][0]["zmax"] == after["data"][0]["zmax"]


def test_eval_sets_are_chosen_not_mixed(page: Page) -> None:
    app = page("components odd", "heads")
    assert app.selectbox(key="eval_set").options == ["books, 40 tokens", "repeated tokens"]
    low = drawn(app)["Line chart"]
    app.selectbox(key="eval_set").select("repeated tokens").run()
    assert not app.exception
    assert drawn(app)["Line chart"] != low


def test_gaps_suspect_checkpoints_and_excluded_runs_are_said(page: Page) -> None:
    app = page("components odd", "heads", step=str(STEPS[4]))
    assert "1 of 8 heads have no finite score" in texts(app).replace("\\", "")
    app.selectbox(key="focus").select("lm-seed1").run()
    assert STEPS[5] not in [int(s) for s in app.select_slider(key="step").options]
    assert "1 checkpoint" in texts(app)
    app.toggle(key="suspect").set_value(True).run()
    assert str(STEPS[5]) in app.select_slider(key="step").options
    assert "lm-wrong" not in app.selectbox(key="focus").options
    app.toggle(key="excluded").set_value(True).run()
    assert "lm-wrong" in app.selectbox(key="focus").options


@pytest.mark.parametrize("name", PAGES)
def test_nonsense_in_the_address_is_ignored(page: Page, name: str) -> None:
    nonsense = {
        "measure": "<script>",
        "focus": "x",
        "step": "soon",
        "head": "L9H9",
        "show": "none",
        "layer": "7",
        "unit": "many",
        "context": "x",
    }
    app = page("components", name, **nonsense)
    assert not app.exception
    assert app.selectbox(key="focus").value == "lm-seed0"
    assert len(figures(app)) == 3


def test_a_neuron_is_told_with_its_texts(page: Page) -> None:
    app = page("components", "neuron", layer="1", unit="2")
    assert list(drawn(app)) == ["Panels", "Histogram", "Bars"]
    assert [m.label for m in app.metric] == ["Largest", "Fires on", "Mean", "Variance", "Skew", "Kurtosis"]
    assert app.metric[0].value == "5.72"
    body = examples(app)
    assert body.count("<li>") == body.count("<mark") == 8
    assert "stays since 512" in body
    # words of the vocabulary and names of documents are text, not markup
    assert "<img" not in body
    assert "&lt;img src=x onerror=" in body
    assert "↵" in body


def test_previous_random_and_next_go_through_the_ends_of_layers(page: Page) -> None:
    app = page("components", "neuron")

    def place() -> tuple[object, object]:
        return app.selectbox(key="layer").value, app.number_input(key="unit").value

    app.button(key="previous").click().run()
    assert place() == (1, N_UNITS - 1)
    app.button(key="next").click().run()
    assert place() == (0, 0)
    app.number_input(key="unit").set_value(N_UNITS - 1).run()
    app.button(key="next").click().run()
    assert place() == (1, 0)
    app.button(key="random").click().run()
    assert place() != (1, 0)
    assert not app.exception


def test_an_address_sets_every_choice_of_a_neuron(page: Page) -> None:
    app = page(
        "components",
        "neuron",
        focus="lm-seed2",
        layer="1",
        unit="3",
        step="64",
        context="full",
        white="true",
        x_scale="linear",
    )
    assert not app.exception
    assert "L1N3 at step 64" in [s.value for s in app.subheader]
    assert "·" in examples(app).replace("<mark", "")
    link = next(c.value for c in app.code if "focus=" in c.value)
    assert link.endswith(
        "eval_set=books%2C+40+tokens&focus=lm-seed2&layer=1&unit=3&step=64&context=full&white=true&x_scale=linear"
    )
    short = examples(page("components", "neuron", focus="lm-seed2", layer="1", unit="3", step="64"))
    assert len(short) < len(examples(app))


def test_a_number_beyond_the_layer_is_its_last_neuron(page: Page) -> None:
    app = page("components", "neuron", unit="99")
    assert not app.exception
    assert f"L0N{N_UNITS - 1} at step 4,000" in [s.value for s in app.subheader]


def test_a_neuron_without_texts_or_without_examples_says_so(page: Page) -> None:
    app = page("components odd", "neuron")
    assert "no text in the archive" in examples(app)
    assert "lm-seed2" not in app.selectbox(key="focus").options
    silent = page("components odd", "neuron", unit="1", step=str(STEPS[-2]))
    assert not silent.exception
    assert "has no example at step 2,000" in texts(silent)


def test_a_run_without_neurons_is_told_how_to_get_them(page: Page) -> None:
    app = page("components odd", "neuron", run="lm-seed2")
    assert not app.exception
    assert "neuron.top" in app.warning[0].value.replace("\\", "")


@pytest.mark.parametrize("name", PAGES)
def test_a_pattern_that_fits_no_run_is_answered_with_the_nearest(page: Page, name: str) -> None:
    app = page("components", name, run="lm-seed9")
    assert not app.exception
    assert "lm-seed" in app.warning[0].value.replace("\\", "")
    assert not figures(app)


def test_a_head_without_any_finite_score_can_be_chosen(page: Page) -> None:
    app = page("components odd", "heads", step=str(STEPS[4]), head="L0H1")
    assert not app.exception
    assert app.selectbox(key="head").value == "L0H1"
    assert "L0H1 of" not in drawn(app)["Grid"]
