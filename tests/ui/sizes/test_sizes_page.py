"""The Sizes page on archives that have all, some or none of what it shows."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.browser import Made
from tests.ui.components.records import HTML_WORD
from tests.ui.seen import assert_fine, bodies, commands, figures, plain, table
from tests.ui.sizes.archive import STEPS
from ui.models.sizes import page as sizes_page

Page = Callable[..., AppTest]

FULL = ["Squares", "Grid", "Grid", "Line chart"]


def drawn(app: AppTest) -> list[str]:
    """The first words of the alt texts of all figures, two of which may be the same."""
    return [c.proto.alt.split(" of ")[0] for c in app.get("plotly_chart")]


def text(app: AppTest) -> list[str]:
    return bodies(app, 'class="deltas"')


def test_it_opens_with_what_was_planted(page: Page) -> None:
    app = page("sizes", "sizes")
    assert not app.exception
    assert not app.warning
    assert drawn(app) == FULL
    assert (app.selectbox(key="small").value, app.selectbox(key="large").value) == (
        "10k · n_layers=1",
        "40k · n_layers=4",
    )
    words = plain(app)
    assert "3 small runs, 3 large runs; 936 tokens, 24 documents; step 1,000." in words
    shown = [m.value for m in app.markdown]
    assert shown[shown.index("Is the small one better somewhere?") + 1] == "#### yes"
    assert shown[shown.index("Can the large one do all that the small one can?") + 1].startswith("#### ")
    assert "all 3 runs of 10k · n_layers=1 beat all 3 of 40k · n_layers=4" in words
    assert table(app, "slice").set_index("slice")["found"]["punctuation"]
    assert table(app, "n_params")["n_runs"].tolist() == [3, 3, 3]
    assert len({m.proto.alt for m in app.get("plotly_chart")}) == 4


def test_tokens_have_their_text_and_kinds_their_other_half(page: Page) -> None:
    app = page("sizes", "sizes", won="tokens", sequence="5")
    assert not app.exception
    won = app.dataframe(key="won_tokens").value
    assert won["categories"].str.contains("punctuation").all()
    assert "in the large" in text(app)[0]
    assert "book 5: mean difference" in plain(app)
    app.number_input(key="sequence").set_value(999).run()
    assert "book 23: mean difference" in plain(app)
    assert page("sizes", "sizes", won="tokens").dataframe(key="won_tokens").value["sequence"].notna().all()
    kinds = table(page("sizes", "sizes", won="kinds of token"), "replicated")
    assert kinds["token"].tolist() == [",", HTML_WORD.replace(" ", "·")]
    assert kinds["replicated"].all()


def test_an_address_sets_every_choice(page: Page) -> None:
    app = page(
        "sizes",
        "sizes",
        small="20k · n_layers=2",
        large="40k · n_layers=4",
        step="0",
        picture="difference",
        won="tokens",
        sequence="3",
        white="true",
        axis="compute",
        x_scale="linear",
        y_scale="log",
        task_metric="accuracy",
    )
    assert not app.exception
    assert drawn(app)[0] == "Histogram"
    assert figures(app)[-1]["layout"]["xaxis"]["title"]["text"].startswith("operations of training")
    assert (figures(app)[-1]["layout"]["xaxis"]["type"], figures(app)[-1]["layout"]["yaxis"]["type"]) == (
        "linear",
        "log",
    )
    links = {
        c.value
        for c in app.code
        if "small=" in c.value and "n_layers" in c.value and "pathscope" not in c.value
    }
    chosen = {
        "small=20k+%C2%B7+n_layers%3D2",
        "step=0",
        "picture=difference",
        "won=tokens",
        "white=true",
        "axis=compute",
        "y_scale=log",
    }
    assert links
    assert all(chosen <= set(link.partition("?")[2].split("&")) for link in links)


def test_sizes_the_wrong_way_round_and_alike_are_told_apart(page: Page) -> None:
    app = page("sizes", "sizes", small="40k · n_layers=4", large="10k · n_layers=1")
    assert "the other way round" in app.info[0].value
    assert not figures(app)
    app.selectbox(key="large").select("40k · n_layers=4").run()
    assert "same size" in app.info[0].value


def test_odd_archives_open_and_say_what_is_missing(page: Page) -> None:
    app = page("sizes odd", "sizes")
    assert not app.exception
    assert not app.error
    words = plain(app)
    assert "Without 1 run of unknown size" in words
    assert "suspect (defect)" in words
    assert "1 excluded run (first: m-wrong" in words
    assert "Runs end at different steps" in words
    assert "each run's last step (0 to 1,000)" in words
    assert "unresolved" in words
    app.toggle(key="suspect").set_value(True).run()
    assert not app.exception
    assert "step 1,000" in plain(app)
    assert str(STEPS[-1]) in app.select_slider(key="step").options
    app.toggle(key="excluded").set_value(True).run()
    assert not app.exception
    assert app.main.children
    assert "1 small run, 3 large runs" in plain(app)


def test_hostile_names_stay_text(page: Page) -> None:
    app = page("sizes hostile", "sizes", won="tokens")
    assert_fine(app)
    assert drawn(app) == FULL


def test_many_sizes_without_losses_ask_for_them_and_draw_what_there_is(page: Page) -> None:
    app = page("sizes many", "sizes")
    assert not app.exception
    assert commands(app) == [
        "pathscope ingest STUDY.toml --fill token_loss",
        "pathscope ingest STUDY.toml --fill token_loss --fill task_accuracy",
    ]
    assert drawn(app) == ["Line chart"]
    assert "12 of 20 sizes are drawn" in plain(app)


def test_one_size_shows_the_one_command_that_trains_two(page: Page, made: Made) -> None:
    app = page("demo", "sizes")
    assert commands(app) == [f"pathscope ingest studies/language_model_small.toml --archive {made('demo')}"]
    assert "5 runs here have 32.6k parameters" in plain(app)
    assert not figures(app)
    assert commands(page("empty", "sizes")) == [f"pathscope demo --archive {made('empty')}"]


def test_many_losses_are_compared_only_when_asked(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes_page, "QUICK_LOSSES", 100)
    monkeypatch.setattr(sizes_page, "QUICK_ITEMS", 100)
    app = page("sizes", "sizes")
    assert not app.exception
    assert drawn(app) == ["Grid", "Line chart"]
    app.toggle(key="all_losses").set_value(True).run()
    assert drawn(app) == ["Squares", "Grid", "Line chart"]
    assert "items are the small ones' alone" not in plain(app)
    app.toggle(key="inclusion").set_value(True).run()
    assert "items are the small ones' alone" in plain(app)
    app.toggle(key="grid_losses").set_value(True).run()
    assert drawn(app) == FULL


def test_nonsense_in_the_address_is_ignored(page: Page) -> None:
    nonsense = {
        "small": "<b>",
        "large": "x",
        "step": "soon",
        "won": "y",
        "sequence": "-4",
        "axis": "z",
        "measure": "<i>",
    }
    app = page("sizes", "sizes", **nonsense)
    assert not app.exception
    assert drawn(app) == FULL
