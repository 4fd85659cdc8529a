"""The Seeds page on archives that have all, some or none of what it shows."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.seeds.archive import PLACE, SPLIT, STEPS
from tests.ui.seen import assert_fine, commands, drawn, figures, plain

Page = Callable[..., AppTest]
Made = Callable[[str], Path]

FULL = ["Matrix", "Line chart", "Dots with intervals", "Discs with intervals"]


@pytest.mark.parametrize("archive", ["seeds odd", "seeds hostile"])
def test_it_opens_on_what_is_odd(page: Page, archive: str) -> None:
    app = page(archive, "seeds")
    assert_fine(app)
    assert list(drawn(app))[:2] == FULL[:2]


def test_a_single_run_has_nothing_to_agree_with(page: Page) -> None:
    app = page("seeds one", "seeds")
    assert not app.exception
    assert "Agreement takes two runs" in app.info[0].value
    assert not figures(app)
    assert "pathscope ingest STUDY.toml --fill token_loss" in commands(app)


def test_an_empty_archive_shows_the_one_command_that_fills_it(page: Page, made: Made) -> None:
    app = page("empty", "seeds")
    assert commands(app) == [f"pathscope demo --archive {made('empty')}"]
    # runs without anything that tells how alike they are
    app = page("demo", "seeds")
    assert commands(app) == [
        "pathscope ingest STUDY.toml --fill token_loss --fill token_top --fill head.signature",
        "pathscope ingest STUDY.toml --fill token_loss",
        f"pathscope ingest STUDY.toml --archive {made('demo')}",
    ]


def test_it_opens_with_divergences_at_the_last_step(page: Page) -> None:
    app = page("seeds", "seeds")
    assert list(drawn(app)) == FULL
    assert app.selectbox(key="by").options == [
        "JS divergence",
        "KL divergence",
        "same top token",
        "rank correlation of losses",
    ]
    assert app.selectbox(key="by").value == "JS divergence"
    assert app.selectbox(key="variant").options == ["all outputs", "most likely tokens"]
    assert app.select_slider(key="step").options == ["0", "1000"]
    # 6 pairs of one order at 0.05, 9 of two at 0.2
    assert "15 pairs of 6 runs: mean 0.14 nats, 95% interval over runs" in plain(app)
    assert "side by side" in plain(app)
    # the largest disagreement is where it was planted, and its text is shown
    table = app.dataframe(key="disagreed").value
    assert (table["sequence"][0], table["position"][0]) == PLACE
    assert "chosen from 936 tokens for being extreme" in plain(app)
    assert "book 7: mean spread" in plain(app)
    assert "Shares of init" not in plain(app)
    assert "order 100%" in plain(app)


def test_an_address_sets_every_choice(page: Page) -> None:
    app = page(
        "seeds",
        "seeds",
        by="rank correlation of losses",
        step="100",
        colours="these values",
        x_scale="linear",
        y_scale="log",
        sort="most likely tokens",
        sequence="3",
        white="true",
        run="crossed/init*",
    )
    assert not app.exception
    assert app.select_slider(key="step").value == 100
    training = figures(app)[1]["layout"]
    assert (training["xaxis"]["type"], training["yaxis"]["type"]) == ("linear", "log")
    assert "book 3: mean spread" in plain(app)
    links = [c.value for c in app.code if "by=rank" in c.value]
    assert len(links) >= 5
    assert links[2].endswith(
        "run=crossed%2Finit%2A&by=rank+correlation+of+losses&eval_set=books%2C+40+tokens&step=100&colours=these+values"
        "&x_scale=linear&y_scale=log&sort=most+likely+tokens&sequence=3&white=true"
    )
    # lists of likely tokens are at the last step only
    assert "No list of likely tokens" in app.info[0].value


def test_tokens_are_ordered_by_what_runs_think_most_likely(page: Page) -> None:
    app = page("seeds", "seeds", sort="most likely tokens")
    table = app.dataframe(key="disagreed").value
    assert (table["sequence"][0], table["position"][0], table["n_tops"][0]) == (*SPLIT, 6)
    assert table["n_tops"][1] == 1
    app.button(key="next").click().run()
    assert app.number_input(key="sequence").value == SPLIT[0] + 1
    app.button(key="previous").click().run()
    app.button(key="random").click().run()
    assert app.number_input(key="sequence").value != SPLIT[0]
    assert not app.exception


def test_a_divergence_over_training_has_its_steps_and_its_mean(page: Page) -> None:
    app = page("seeds", "seeds")
    assert "from 0.4 at step 0 to 0.14 at step 1,000 (6 runs)" in drawn(app)["Line chart"]
    names = [t.get("name", "") for t in figures(app)[1]["data"]]
    assert names[:3] == ["same init (3 pairs)", "same data order (6 pairs)", "no seed in common (6 pairs)"]
    assert "mean (6 runs)" in names


def test_numbers_without_an_interval_say_so(page: Page) -> None:
    app = page("seeds", "seeds", by="KL divergence")
    assert not app.exception
    assert "30 ordered pairs of 6 runs. No mean" in plain(app)


def test_suspect_checkpoints_stay_out_until_wanted(page: Page) -> None:
    app = page("seeds odd", "seeds")
    assert "1 run left out, as they repeat no other (first: crossed/alone)" in plain(app)
    assert app.select_slider(key="step").value == STEPS[-1]
    assert "▲ 1 suspect checkpoint in crossed/init1-data0: left out." in plain(app)
    # at the last step three of the four repeats, and the one that stands alone
    assert "897 tokens, 3 runs, step 1,000" in plain(app)
    assert "Matrix of rank correlation of losses of 4 runs" in drawn(app)["Matrix"]
    app.toggle(key="suspect").set_value(True).run()
    assert not app.exception
    assert "Matrix of rank correlation of losses of 5 runs" in drawn(app)["Matrix"]
    (warning,) = [w.value.replace("\\", "") for w in app.warning if "▲" in w.value]
    assert "crossed/init1-data0 at step 1,000 is a suspect checkpoint: defect weights of another." in warning


def test_nonsense_in_the_address_is_ignored(page: Page) -> None:
    nonsense = {"by": "<b>", "step": "soon", "colours": "x", "sort": "y", "sequence": "-4", "variant": "z"}
    app = page("seeds", "seeds", **nonsense)
    assert not app.exception
    assert list(drawn(app)) == FULL


def test_what_takes_long_waits_until_it_is_asked_for(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.parts.seeds.page.QUICK", 0.0)
    app = page("seeds", "seeds")
    assert list(drawn(app)) == ["Dots with intervals"]
    for key in ("work", "over_training", "index"):
        app.toggle(key=key).set_value(True)
    app.run()
    assert not app.exception
    assert list(drawn(app)) == FULL
    assert any("work=true&over_training=true" in c.value for c in app.code)
