"""The Heads and Neuron pages on archives that have all, some or none of what they show."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from archive.store import Archive
from tests.ui.components.archive import COMPONENT_ARCHIVES, STEPS
from tests.ui.components.records import N_UNITS
from tests.ui.seen import assert_fine, bodies, commands, drawn, figures, pictures, table, texts

Page = Callable[..., AppTest]
Made = Callable[[str], Path]

PAGES = ("heads", "neuron")


def examples(app: AppTest) -> str:
    """The list of the chosen neuron; those side by side are narrow."""
    (found,) = bodies(app, '<ol class="examples">')
    return found


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("archive", COMPONENT_ARCHIVES)
def test_a_page_opens(page: Page, archive: str, name: str) -> None:
    app = page(archive, name)
    assert_fine(app)
    assert not app.warning
    assert len(figures(app)) >= 3


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
        "head.signature",
        "attention_pattern",
    ]


def test_heads_open_with_the_best_head_of_the_first_run(page: Page) -> None:
    app = page("components", "heads")
    assert app.selectbox(key="measure").value == "head.prefix_matching"
    assert app.selectbox(key="measure").options == [
        "head.prefix_matching",
        "head.prefix_matching:last_target",
        "head.previous_token",
    ]
    assert list(drawn(app)) == ["Grid", "Line chart", "Bars", "Attention"]
    assert "Highest: L1H2" in drawn(app)["Grid"]
    finder = table(app, "above")
    assert finder["head"][0] == "L1H2"
    assert finder["above"][0] == pytest.approx(finder["value"][0] - 0.025)
    partners = table(app, "way")
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
        matched="true",
        item="books, 40 tokens #1",
        look="is looked at by",
    )
    assert not app.exception
    assert "lm-seed1 at step 512, 2 layers by 4 heads" in drawn(app)["Grid"]
    assert "the best head at the end over steps, 3 runs, in focus lm-seed1" in drawn(app)["Line chart"]
    finder = table(app, "above")
    assert set(finder["run"]) == {"lm-seed0", "lm-seed1", "lm-seed2"}
    assert finder["z"].is_monotonic_decreasing
    assert pictures(app)["Line chart"]["layout"]["xaxis"]["type"] == "linear"
    link = next(c.value for c in app.code if "focus=" in c.value)
    assert link.endswith(
        "run=lm-%2A&measure=head.prefix_matching%3Alast_target&eval_set=repeated+tokens&focus=lm-seed1&step=512"
        "&show=all+runs&sort=z&head=L1H3&curves_of=best+of+each+run&x_scale=linear&y_scale=linear&matched=true"
        "&item=books%2C+40+tokens+%231&look=is+looked+at+by"
    )
    assert "Attention of L1H3 on text 1 of books, 40 tokens at step 256" in drawn(app)["Attention"]
    # the matched heads are of the last checkpoint with signatures not after the slider's
    partners = table(app, "match")
    assert dict(zip(partners["run"], partners["match"], strict=True)) == {
        "lm-seed0": "L1H2",
        "lm-seed2": "L1H0",
    }
    assert "Match the heads of 3 runs at step 256" in app.toggle(key="matched").label


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
        "least": "most",
        "beside": "<b>",
        "item": "none #9",
        "look": "away",
        "matched": "perhaps",
        "image": "gif",
    }
    app = page("components", name, **nonsense)
    assert not app.exception
    assert app.selectbox(key="focus").value == "lm-seed0"
    assert len(figures(app)) == {"heads": 4, "neuron": 3}[name]


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
        step="1000",
        context="full",
        white="true",
        least="50%",
        x_scale="linear",
        beside="lm-seed0",
    )
    assert not app.exception
    assert "L1N3 at step 1,000" in [s.value for s in app.subheader]
    assert "·" in examples(app).replace("<mark", "")
    link = next(c.value for c in app.code if "focus=" in c.value)
    assert link.endswith(
        "eval_set=books%2C+40+tokens&focus=lm-seed2&layer=1&unit=3&step=1000&context=full&white=true&least=50%25&x_scale=linear"
        "&y_scale=linear&beside=lm-seed0"
    )
    address = {"focus": "lm-seed2", "layer": "1", "unit": "3", "step": "1000", "least": "50%"}
    short = page("components", "neuron", **address)
    assert len(examples(short)) < len(examples(app))


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


def test_matched_neurons_and_texts_side_by_side(page: Page) -> None:
    app = page("components", "neuron", layer="1", unit="2", step="4000")
    found = table(app, "first_excess")
    assert list(found["match"]) == ["L1N4", "L1N3"]
    assert list(found["run"]) == ["lm-seed2", "lm-seed1"]
    assert found["excess"].tolist() == pytest.approx([0.52, 0.51], abs=1e-4)
    assert found["first_excess"].tolist() == pytest.approx([0.02, 0.02], abs=1e-4)
    assert "Mean excess over 2 runs of other inits: 0.515" in texts(app).replace("\\", "")
    assert app.selectbox(key="beside").value == "lm-seed2"
    own, other = bodies(app, '<ol class="examples narrow">')
    assert own.count("<li>") == other.count("<li>") == 6
    assert own != other
    app.selectbox(key="beside").select("lm-seed1").run()
    assert not app.exception
    assert bodies(app, '<ol class="examples narrow">')[1] != other
    assert "**L1N3** of lm\\-seed1, step 4,000" in [m.value for m in app.markdown]
    silent = page("components", "neuron", layer="1", unit="5")
    assert "does not vary" in texts(silent)
    assert bodies(silent, '<ol class="examples narrow">') == []


def test_matches_are_those_of_the_last_comparison_not_after_the_slider(page: Page) -> None:
    app = page("components", "neuron", layer="1", unit="2", step="512")
    assert "Step 256, on books, 40 tokens." in texts(app).replace("\\", "")
    # texts side by side are of the step compared, not of the slider's
    assert "**L1N2** of lm\\-seed0, step 256" in [m.value for m in app.markdown]


def test_without_comparisons_the_page_says_how_and_offers_the_weaker_stand_in(page: Page) -> None:
    app = page("components odd", "neuron")
    assert any(c.startswith("pathscope ingest compare.toml --archive /") for c in commands(app))
    assert not [d for d in app.dataframe if "next_shared" in d.value]
    app.toggle(key="alike").set_value(True).run()
    assert not app.exception
    assert list(table(app, "next_shared")["run"]) == ["lm-seed1"]
    alone = page("components one", "neuron", alike="true")
    assert not alone.exception
    assert "No other run has examples" in texts(alone)


def test_a_threshold_leaves_the_highest_examples(page: Page) -> None:
    app = page("components", "neuron", layer="1", unit="2", least="75%")
    assert 0 < examples(app).count("<li>") < 8
    assert "75% of the largest in this run" in texts(app).replace("\\", "")
    assert " % of its tokens reach that." in texts(app).replace("\\", "")


def test_moving_the_slider_asks_only_what_depends_on_it(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    query = Archive.query

    def counted(self: Archive, sql: str, parameters: Any = None) -> Any:
        asked.append(sql)
        return query(self, sql, parameters)

    monkeypatch.setattr(Archive, "query", counted)
    for name, address, slides in (
        # step 2000 has neither partners nor signatures nor patterns of its own
        ("heads", {"matched": "true", "step": "1000"}, (12, "fact_head_pair")),
        ("neuron", {"step": "512"}, (9, "fact_pair_vector")),
    ):
        app = page("components", name, **address)
        asked.clear()
        app.run()
        assert asked == []
        app.select_slider(key="step").set_value({"heads": 2000, "neuron": 1000}[name]).run()
        most, apart = slides
        assert 0 < len(asked) <= most
        assert not any(apart in sql for sql in asked)
        asked.clear()
        app.select_slider(key="step").set_value(int(address["step"])).run()
        assert asked == []


def test_one_choice_of_the_image_format_holds_for_every_figure(page: Page) -> None:
    def formats(app: AppTest) -> set[str]:
        return {json.loads(c.proto.config)["toImageButtonOptions"]["format"] for c in app.get("plotly_chart")}

    app = page("components", "neuron")
    assert formats(app) == {"svg"}
    menus = [w for w in app.get("button_group") if w.key and w.key.startswith("image-")]
    assert len(menus) >= 3
    menus[0].set_value("PNG").run()
    assert not app.exception
    assert formats(app) == {"png"}
    assert {w.value for w in app.get("button_group") if w.key and w.key.startswith("image-")} == {"PNG"}
    links = [c.value for c in app.code if "focus=" in c.value]
    assert links
    assert all(link.endswith("&image=png") for link in links)
    assert formats(page("components", "heads", image="png")) == {"png"}
