"""The Search page in Streamlit's harness: what is planted is shown, what is hostile stays text, what is missing is said."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from tests.ui.components.records import HTML_WORD
from tests.ui.search.archive import STEPS
from tests.ui.seen import figures, plain

Page = Callable[..., AppTest]


def examples(app: AppTest) -> str:
    return next((e.proto.body for e in app.get("html") if "examples" in e.proto.body), "")


def test_a_token_is_searched_everywhere(page: Page) -> None:
    app = page("search", "search", text="the")
    assert not app.exception
    assert "2 of 48 neurons peak at 'the'" in plain(app)
    assert "2 of 16 heads look at 'the'" in plain(app)
    neurons = app.dataframe(key="neurons_found").value
    assert neurons["neuron"].tolist()[:2] == ["L1N3", "L1N3"]
    assert app.selectbox(key="neuron").value is None
    assert app.selectbox(key="neuron").placeholder == "L1N3 of lm-seed0 (the first found)"
    assert "✓ match" in examples(app)
    # tables that nobody can choose a row of have no key in the harness
    hits, heads = (e.value for e in app.dataframe if e.key != "neurons_found")
    assert hits["open"].notna().all()
    assert heads["head"].tolist()[:2] == ["L1H2", "L1H2"]
    assert len(figures(app)) == 2
    assert all(chart.proto.alt for chart in app.get("plotly_chart"))


def test_an_address_sets_every_choice_and_the_link_says_them(page: Page) -> None:
    app = page(
        "search",
        "search",
        text=" the",
        kind="peaks in text",
        focus="lm-seed1",
        step="64",
        within="2",
        same_case="true",
        x_scale="linear",
        y_scale="log",
        neuron="L1N3 of lm-seed1",
    )
    assert not app.exception
    assert f"Neurons at step {STEPS[1]}" in [s.value for s in app.subheader]
    link = next(c.value for c in app.code if "text=" in c.value)
    assert link.endswith(
        "text=+the&kind=peaks+in+text&eval_set=books%2C+40+tokens&focus=lm-seed1&step=64&within=2&same_case=true"
        "&x_scale=linear&y_scale=log&neuron=L1N3+of+lm-seed1"
    )
    assert "1 run" in plain(app)


def test_what_raises_and_lowers_a_token(page: Page) -> None:
    app = page("search", "search", text="the", kind="raises token")
    assert not app.exception
    assert app.dataframe(key="neurons_found").value["neuron"].tolist() == ["L0N5", "L0N5"]
    none = page("search", "search", text="the", kind="lowers token")
    assert not none.exception
    assert "No neuron of 2 runs has a match there" in plain(none)


def test_nothing_searched_opens_on_what_neurons_do_most(page: Page) -> None:
    app = page("search", "search")
    assert not app.exception
    assert "Nothing is searched for yet" in plain(app)
    assert len(figures(app)) == 2
    blank = page("search", "search", kind="peaks in text")
    assert "Write the text" in plain(blank)


def test_a_slip_is_answered_with_the_nearest_tokens(page: Page) -> None:
    app = page("search", "search", text="teh")
    assert "is no token of the eval set" in plain(app)
    nearest = [b for b in app.button if b.key and b.key.startswith("nearest_")]
    assert 1 < len(nearest) <= 8
    next(b for b in nearest if b.label.replace("\\", "") == "·the").click().run()
    assert not app.exception
    assert app.text_input(key="text").value == " the"
    assert "neurons peak at ' the'" in plain(app)


@pytest.mark.parametrize(
    "text",
    ["' OR 1=1 --", "%", "_", ".*", HTML_WORD, "$text", "x" * 10_000, "\\", "**bold** :material/home:"],
)
def test_hostile_words_are_words(page: Page, text: str) -> None:
    for kind in ("peaks in text", "raises token"):
        app = page("search", "search", text=text, kind=kind)
        assert not app.exception
        assert not app.error
        assert "<img" not in examples(app)


def test_nonsense_in_the_address_is_ignored(page: Page) -> None:
    app = page(
        "search", "search", text="the", kind="eats", step="soon", focus="x", within="-3", neuron="L9N9"
    )
    assert not app.exception
    assert "2 of 48 neurons" in plain(app)


def test_gaps_excluded_runs_and_missing_texts_are_said(page: Page) -> None:
    app = page("components odd", "search", text="the")
    assert not app.exception
    assert "holds no tokens of this eval set" in plain(app)
    whole = page("compare", "search", text="the")
    assert not whole.exception
    assert "attention_pattern" in "".join(c.value for c in whole.code)


def test_without_neurons_the_page_gives_the_command(page: Page) -> None:
    app = page("demo", "search", text="the")
    assert "--fill neuron.top" in app.code[0].value
