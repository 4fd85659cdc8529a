"""What the Search page works out: marks, tables with addresses, counts, figures; strangers' words stay words."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from scipy import stats

from archive.store import Archive
from queries.neuron import neuron
from queries.reading.neuron_courses import course_table
from queries.reading.select import RunRow, Selected
from queries.search_effects import search_effects
from queries.search_heads import search_heads
from queries.search_neurons import search_neurons
from tests.ui.browser import Made
from tests.ui.components.records import HTML_WORD
from tests.ui.search.archive import FIRES, LOOKS, STEPS, WRITES
from ui.models.component_sets import component_sets
from ui.models.search.figures import (
    MOST_GROUPS,
    MOST_LINES,
    counts_in_words,
    layers_figure,
    not_drawn,
    runs_figure,
)
from ui.models.search.page import (
    SearchChoices,
    counts,
    cut,
    effects_table,
    heads_table,
    hits_table,
    label_of,
    neurons_table,
    steps_of,
)
from ui.models.search.text import examples_html, examples_in_words, marked
from ui.models.series import RunChoice

NAME = f"L{FIRES[0]}N{FIRES[1]}"


@pytest.fixture(scope="module")
def archive(made: Made) -> Archive:
    return Archive(made("search"))


@pytest.mark.parametrize(
    ("tokens", "text", "by", "same_case", "expected"),
    [
        ([" the", "the", " The", " they"], "the", "token", False, [True, True, True, False]),
        ([" the", "the", " The", " they"], "the", "token", True, [True, True, False, False]),
        ([" the", "the", "\tthe"], " the", "token", False, [True, False, False]),
        (["re", "turn", " se", "lf"], "return s", "text", False, [True, True, True, False]),
        (["a", "b", "a", "b"], "ab", "text", False, [True, True, True, True]),
        (["A", "%", "_"], "a%", "text", True, [False, False, False]),
        (["<b>", "&"], "b>&", "text", False, [True, True]),
        (["a"], "", "text", False, [False]),
    ],
)
def test_marks_follow_the_rule_of_the_query(
    tokens: list[str], text: str, by: str, same_case: bool, expected: list[bool]
) -> None:
    assert marked(tokens, text, by, same_case=same_case) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("by", ["token", "text"])
@pytest.mark.parametrize("text", ["the", " the", "ing", HTML_WORD])
def test_marked_examples_are_those_that_the_query_counted(archive: Archive, text: str, by: str) -> None:
    found = search_neurons(archive, text=text, by=by)  # type: ignore[arg-type]
    for row in found.table.to_pylist()[:3]:
        one = neuron(archive, runs=row["run"], layer=row["layer"], unit=row["unit"], window=40)
        told = examples_in_words(one, row["run"], text=text, by=by, within=0, same_case=False)  # type: ignore[arg-type]
        assert told.startswith(f"{row['n_matches']} of {row['n_examples']} examples")


def test_examples_are_escaped_and_matches_come_first(archive: Archive) -> None:
    one = neuron(archive, runs="lm-seed0", layer=FIRES[0], unit=FIRES[1] + 1, window=40)
    body = examples_html(one, "lm-seed0", 5.0, text="<img", by="text", within=0, same_case=False)
    assert "<img" not in body
    assert "&lt;img" in body
    planted = neuron(archive, runs="lm-seed0", layer=FIRES[0], unit=FIRES[1], window=40)
    body = examples_html(planted, "lm-seed0", 5.0, text="the", by="token", within=0, same_case=False)
    places = [body.find("✓ match"), body.find("no match")]
    assert places[0] >= 0
    assert places[1] < 0 or places[0] < places[1]


def test_tables_lead_to_the_pages(archive: Archive) -> None:
    base = "http://localhost/"
    neurons = neurons_table(search_neurons(archive, text="the"), base).to_pylist()
    assert neurons[0]["neuron"] == NAME
    assert neurons[0]["found"] == "yes"
    assert neurons[0]["since"] == STEPS[1]
    assert neurons[0]["open"] == (
        f"http://localhost/neuron?focus=lm-seed0&step=4000&layer={FIRES[0]}&unit={FIRES[1]}"
    )
    heads = heads_table(search_heads(archive, text="the"), base).to_pylist()
    assert heads[0]["head"] == f"L{LOOKS[0]}H{LOOKS[1]}"
    assert heads[0]["open"].startswith("http://localhost/heads?focus=lm-seed0&step=4000&head=L1H2")
    effects = effects_table(search_effects(archive, text="the", direction="raises"), base).to_pylist()
    assert {r["neuron"] for r in effects} == {f"L{WRITES[0]}N{WRITES[1]}"}
    assert effects[0]["token"] == "·the"
    found = search_neurons(archive, text="the")
    assert hits_table(found, base, "books", linked=True)["open"][0].as_py().startswith(f"{base}compare?")
    assert hits_table(found, base, "books", linked=False)["open"].null_count == found.hits.num_rows


def test_counts_over_training(archive: Archive) -> None:
    rows = counts(search_neurons(archive, text="the"))
    by_step = {s: sum(r["n"] for r in rows if r["step"] == s) for s in STEPS}
    assert by_step == {0: 0, 64: 2, 512: 2, 4000: 2}
    told = counts_in_words(rows, "Neurons found")
    assert told == "Neurons found over 4 checkpoints of 2 runs: the first at step 64, 2 at step 4,000."
    assert counts_in_words([], "x").startswith("No checkpoint")
    raised = counts(search_effects(archive, text="the"), "raises")
    assert sum(r["n"] for r in raised if r["step"] == 0) == 2


def seeds_of(rows: list[dict[str, Any]]) -> Selected:
    """The runs of these rows, each with a seed of its own."""
    runs = dict.fromkeys((r["run"], r["group"]) for r in rows)
    return Selected(
        tuple(
            RunRow(k, run, "", "", group, k, None, None, "", (), False, None, None, ())
            for k, (run, group) in enumerate(runs)
        ),
        (),
    )


def test_figures_keep_step_0_and_draw_no_more_than_can_be_read() -> None:
    rows = [
        {
            "run": f"run <b>{k}</b>",
            "group": f"c{k // 8}",
            "step": s,
            "layer": layer,
            "n": k % 3,
            "n_neurons": 5,
        }
        for k in range(80)
        for s in (0, 1, 10)
        for layer in range(2)
    ]
    means = course_table(rows, "n", seeds_of(rows)).to_pylist()
    many = runs_figure(rows, means, step=10, x_scale="log", what="neurons")
    shown = [t for t in many.data if t.showlegend]
    assert [t.name for t in shown] == [f"c{k} (8 runs)" for k in range(MOST_GROUPS)]
    assert len([t for t in many.data if t.name and not t.showlegend]) == MOST_LINES
    assert np.nanmax(shown[0].y) == pytest.approx(2 * np.mean([k % 3 for k in range(8)]))
    assert "<b>" not in str(many.to_plotly_json()["data"][0]["name"])
    assert not_drawn(rows) == [
        "8 of 10 conditions are drawn; the CSV has all of them.",
        "60 of 64 runs are drawn as thin lines; means are over all of them.",
    ]
    on_log = runs_figure(rows, means, step=10, x_scale="log", what="neurons", y_scale="log")
    assert on_log.layout.yaxis.type == "log"
    assert all(np.nanmin(np.asarray(t.y, float)) > 0 for t in on_log.data if t.fill)
    few = runs_figure(rows[:12], means, step=10, x_scale="linear", what="neurons")
    assert [t.name for t in few.data if t.showlegend] == ["c0 (8 runs)"]
    assert not_drawn(rows[:12]) == []


def test_means_are_over_all_runs_of_a_condition_with_students_interval() -> None:
    rows = [
        {"run": run, "group": "c", "step": step, "layer": layer, "n": n}
        for run, n, steps in (("a", 1, (0, 1)), ("b", 3, (0,)))
        for step in steps
        for layer in range(2)
    ]
    (only,) = course_table(rows, "n", seeds_of(rows)).to_pylist()
    assert (only["step"], only["mean"], only["n_runs"], only["low"]) == (0, 4.0, 2, 0.0)
    assert only["high"] == pytest.approx(4 + stats.t.ppf(0.975, 1) * np.std([2, 6], ddof=1) / np.sqrt(2))
    (alone,) = course_table(rows[:2], "n", seeds_of(rows[:2])).to_pylist()
    assert (alone["mean"], alone["low"], alone["high"]) == (2.0, None, None)


def test_layers_are_cells_over_steps() -> None:
    rows = [
        {"run": f"r{k}", "group": "c", "step": s, "layer": layer, "n": k, "n_neurons": 5}
        for k in range(3)
        for s in (0, 1, 10)
        for layer in range(2)
    ]
    grid = layers_figure(rows, step=1, x_scale="log")
    assert isinstance(grid.data[0], go.Heatmap)
    assert np.array(grid.data[0].z).tolist() == [[1.0] * 3] * 2
    assert list(grid.data[0].x) == sorted(grid.data[0].x)


def test_steps_open_where_most_runs_are(archive: Archive) -> None:
    (known,) = component_sets(archive, table="fact_neuron_top")
    asked = RunChoice().selection
    found = steps_of(archive, selection=asked, known=known, table="fact_neuron_top", suspect=False)
    assert found.steps == STEPS
    assert found.first == 4000


def test_words_of_the_address_are_cut_and_choices_named() -> None:
    assert len(cut("x" * 10_000)) == 200
    assert cut("\ud800a") == "?a"
    assert cut("' OR 1=1 --") == "' OR 1=1 --"
    choices = SearchChoices("x", "lowers token", "e", "", "all runs", 1)
    assert (choices.of_examples, choices.by, choices.direction) == (False, "token", "lowers")
    assert label_of({"neuron": "L0N1", "run": "a"}) == "L0N1 of a"
