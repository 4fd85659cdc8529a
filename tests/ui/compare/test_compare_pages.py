"""The Compare page on archives that have all, some or none of what it shows."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.compare.archive import BASE, OTHER, TUNED
from tests.ui.components.archive import STEPS
from tests.ui.seen import assert_fine, bodies, commands, drawn, figures, texts

Page = Callable[..., AppTest]
Made = Callable[[str], Path]

FULL = ["Histogram", "Mean difference", "Grid", "Boxes"]


def text(app: AppTest) -> str:
    (found,) = bodies(app, 'class="deltas"')
    return found


@pytest.mark.parametrize("archive", ["compare odd", "compare hostile"])
def test_it_opens_on_what_is_odd(page: Page, archive: str) -> None:
    app = page(archive, "compare")
    assert_fine(app)
    assert not app.warning
    assert list(drawn(app)) == FULL


def test_one_checkpoint_has_nothing_to_be_compared_with(page: Page) -> None:
    app = page("compare one", "compare")
    assert not app.exception
    assert "A and B are the same checkpoint" in app.info[0].value
    assert not figures(app)


def test_an_empty_archive_shows_the_one_command_that_fills_it(page: Page, made: Made) -> None:
    app = page("empty", "compare")
    assert commands(app) == [f"pathscope demo --archive {made('empty')}"]
    # runs without anything to compare
    app = page("grokking", "compare")
    assert commands(app) == [
        "pathscope ingest STUDY.toml --fill token_loss --fill head.prefix_matching --fill head.previous_token "
        "--fill neuron.top"
    ]


def test_it_opens_with_the_first_and_last_checkpoint_of_one_run(page: Page) -> None:
    app = page("compare", "compare", run_a=BASE)
    assert (app.selectbox(key="run_a").value, app.selectbox(key="run_b").value) == (BASE, "same run")
    assert (app.select_slider(key="step_a").value, app.select_slider(key="step_b").value) == (0, STEPS[-1])
    assert [m.label for m in app.metric] == ["Loss in A", "Loss in B", "B − A", "Worse / better", "Top 1%"]
    assert "936 tokens, 24 sequences, 24 documents, 1 run." in texts(app).replace("\\", "")
    assert 'class="better"' in text(app)
    assert "Changed most: L1H2" in drawn(app)["Grid"]
    assert app.number_input(key="sequence").value == 0
    app.button(key="next").click().run()
    assert app.number_input(key="sequence").value == 1
    app.button(key="previous").click().run()
    app.button(key="previous").click().run()
    assert app.number_input(key="sequence").value == 23
    app.button(key="random").click().run()
    assert app.number_input(key="sequence").value != 23
    assert not app.exception


def test_an_address_sets_every_choice(page: Page) -> None:
    app = page(
        "compare",
        "compare",
        run_a=BASE,
        step_a="1000",
        run_b=TUNED,
        step_b="256",
        sequence="3",
        white="true",
        direction="better in B",
        measure="head.previous_token",
        overlap="rank-biased",
        neurons="most stable",
        run="lm-*",
    )
    assert not app.exception
    assert list(drawn(app)) == FULL
    assert "·" in text(app)
    links = [c.value for c in app.code if c.value.startswith("?") or "compare?" in c.value]
    assert len(links) == 6
    chosen = {
        "direction=better+in+B",
        "measure=head.previous_token",
        "overlap=rank-biased",
        "neurons=most+stable",
    }
    assert all(chosen <= set(link.partition("?")[2].split("&")) for link in links)
    assert links[-1].endswith(
        "run=lm-%2A&run_a=lm-seed0&step_a=1000&run_b=lm-tuned&step_b=256&eval_set=books%2C+40+tokens&sequence=3&white=true"
        "&direction=better+in+B&measure=head.previous_token&heads_on=books%2C+40+tokens&neurons_on=books%2C+40+tokens"
        "&overlap=rank-biased&neurons=most+stable"
    )
    assert "goes on from" in texts(app).replace("\\", "")


def test_heads_of_other_inits_are_sorted_and_neurons_refused(page: Page) -> None:
    app = page("compare", "compare", run_a=BASE, run_b=OTHER, step_a=str(STEPS[-1]))
    assert not app.exception
    assert list(drawn(app)) == ["Histogram", "Mean difference", "Sorted scores"]
    said = " ".join(e.value for e in [*app.info, *app.warning]).replace("\\", "")
    assert "no common numbering (they began from different weights)" in said
    assert "Neurons of lm-seed0 and lm-seed1" in said


def test_what_a_checkpoint_lacks_is_asked_for_and_the_rest_is_there(page: Page) -> None:
    app = page("compare", "compare", run_a=BASE, step_a="64")
    assert commands(app) == ["pathscope ingest STUDY.toml --fill token_loss"]
    assert list(drawn(app)) == ["Grid", "Boxes"]


def test_suspect_checkpoints_stay_out_until_wanted_and_are_marked(page: Page) -> None:
    app = page("compare odd", "compare", run_a=OTHER)
    assert commands(app) == ["pathscope ingest STUDY.toml --fill neuron.top"]
    assert str(STEPS[-1]) not in app.select_slider(key="step_a").options
    app.toggle(key="suspect").set_value(True).run()
    assert not app.exception
    assert str(STEPS[-1]) in app.select_slider(key="step_b").options
    app.select_slider(key="step_b").set_value(STEPS[-1]).run()
    assert "B is a suspect checkpoint" in app.warning[0].value.replace("\\", "")
    assert list(drawn(app)) == FULL[:-1]


def test_sequences_that_are_not_there_and_texts_that_are_not(page: Page) -> None:
    app = page("compare odd", "compare", run_a=BASE, sequence="1")
    assert not app.exception
    assert 'class="better"' in text(app)  # sequence 2: the first has no finite loss
    assert "sequence 2" in texts(app).replace("\\", "")
    app.number_input(key="sequence").set_value(999).run()
    assert "sequence 23" in texts(app).replace("\\", "")


def test_nonsense_in_the_address_is_ignored(page: Page) -> None:
    nonsense = {
        "run_a": "x",
        "run_b": "<b>",
        "step_a": "soon",
        "measure": "y",
        "overlap": "z",
        "sequence": "-4",
    }
    app = page("compare", "compare", **nonsense)
    assert not app.exception
    assert list(drawn(app)) == FULL
