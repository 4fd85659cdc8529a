"""Tokens on which seeds disagree most, and their text: planted places, a slow twin, strangers' words."""

import math
import re

import numpy as np
import pytest

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.select import RunSelection
from tests.ui.browser import Made
from tests.ui.components.records import CONTEXT, N_DOCUMENTS
from tests.ui.seeds.archive import GAP, PLACE, SPLIT, STEPS, crossed, losses
from ui.models.component_sets import ComponentSet, component_sets
from ui.models.seeds.text import text_html, text_in_words, told
from ui.models.seeds.tokens import (
    SORTS,
    Disagreement,
    disagreement,
    disagreement_text,
    spread_of,
    tokens_missing,
    tokens_note,
)

ALL = RunSelection()


@pytest.fixture(scope="module")
def archive(made: Made) -> Archive:
    return Archive(made("seeds"))


def losses_set(archive: Archive) -> ComponentSet:
    (found,) = component_sets(archive, table="fact_token")
    return found


def disagree(archive: Archive, sort: str = SORTS[0], step: int = STEPS[-1]) -> Disagreement:
    return disagreement(
        archive, selection=ALL, known=losses_set(archive), step=step, suspect=False, sort=sort
    )


def twin(step: int) -> dict[tuple[int, int], float]:
    """The spread of every token, slowly."""
    stacked = np.stack([losses(run, step) for run in crossed()])
    return {
        (k, i): float(np.std(stacked[:, k, i], ddof=1))
        for k in range(N_DOCUMENTS)
        for i in range(CONTEXT - 1)
    }


def test_the_largest_spread_is_where_it_was_planted_and_all_are_the_twins(archive: Archive) -> None:
    found = disagree(archive)
    rows = found.largest.to_pylist()
    assert (rows[0]["sequence"], rows[0]["position"]) == PLACE
    assert rows[0]["spread"] == pytest.approx(GAP * math.sqrt(3.5))
    assert (rows[0]["lowest"], rows[0]["highest"], rows[0]["mean_loss"]) == (2.0, 4.5, 3.25)
    expected = twin(STEPS[-1])
    assert [r["spread"] for r in rows] == pytest.approx(
        sorted(expected.values(), reverse=True)[:50], abs=1e-6
    )
    assert (found.n_tokens, found.n_partly, found.n_runs, found.alone) == (936, 0, 6, ())
    assert found.spread95 == pytest.approx(np.quantile(list(expected.values()), 0.95), abs=1e-6)
    assert found.median == pytest.approx(np.median(list(expected.values())), abs=1e-6)
    assert "«" in rows[0]["text"]
    assert "936 tokens, 6 runs, step 1,000" in tokens_note(found)
    assert "at 0% of tokens" in tokens_note(found)
    assert tokens_missing(found) == []


def test_runs_that_think_other_tokens_likely_are_found(archive: Archive) -> None:
    found = disagree(archive, SORTS[1])
    first, second, *_ = found.largest.to_pylist()
    assert (first["sequence"], first["position"], first["n_tops"]) == (*SPLIT, 6)
    # of those that agree on it the largest spread comes first
    assert (second["sequence"], second["position"], second["n_tops"]) == (*PLACE, 1)
    assert (found.n_split, found.n_listed) == (1, 936)


def test_spread_is_within_conditions_and_over_runs_that_all_have_a_loss(made: Made) -> None:
    odd = Archive(made("seeds odd"))
    found = disagree(odd, step=STEPS[2])
    assert (found.n_runs, found.n_conditions, found.alone) == (4, 1, ("crossed/alone",))
    # one run has no finite loss in the second sequence
    assert found.n_partly == CONTEXT - 1
    assert 1 not in found.sequences
    assert tokens_missing(found) == [
        "39 tokens left out, of which some run has no finite loss.",
        "1 run left out, as they repeat no other (first: crossed/alone).",
    ]
    assert found.largest["token"][0].as_py().startswith("position ")
    values = {1: 1.0, 2: 3.0, 3: 10.0, 4: 12.0}
    assert spread_of(values, {1: "a", 2: "a", 3: "b", 4: "b"}) == pytest.approx(math.sqrt(2))
    assert spread_of(values, {1: "a", 2: "b", 3: "c", 4: "d"}) is None


def test_a_run_alone_has_no_one_to_disagree_with(made: Made) -> None:
    with pytest.raises(UsageError, match="repeats another: disagreement of seeds takes two runs"):
        disagree(Archive(made("seeds one")))


def test_a_text_has_the_losses_and_likely_tokens_of_every_run(archive: Archive) -> None:
    rows = disagreement_text(
        archive, selection=ALL, known=losses_set(archive), step=STEPS[-1], suspect=False, sequence=PLACE[0]
    )
    assert len(rows) == CONTEXT
    assert (rows[0]["spread"], rows[0]["losses"]) == (None, [])
    planted = rows[PLACE[1] + 1]
    assert planted["losses"] == [(run.name, 2.0 + GAP * run.number) for run in crossed()]
    assert planted["spread"] == pytest.approx(GAP * math.sqrt(3.5))
    expected = twin(STEPS[-1])
    assert [r["spread"] for r in rows[1:]] == pytest.approx(
        [expected[PLACE[0], i] for i in range(CONTEXT - 1)], abs=1e-6
    )
    assert {word for _, word in planted["tops"]} == {planted["token"]}
    words = told(planted)
    assert "spread 0.935 nats" in words
    assert "init2-data1: 4.5 “" in words
    html = text_html(rows, 0.935, spaces=False)
    assert html.count("<mark") == html.count('class="apart"') > 0
    assert html.count("tabindex") <= 12
    # the fullest ground is that of the planted token
    alphas = [float(a) for a in re.findall(r"rgba\(201,90,166,([0-9.]+)\)", html)]
    assert max(alphas) == 0.55
    assert text_in_words(rows).startswith("book 7: mean spread")


def test_words_of_strangers_stay_text_and_many_runs_are_summed_up() -> None:
    row = {
        "place": 1,
        "token_id": 3,
        "token": '<img src=x onerror="alert(1)">',
        "document": "d",
        "spread": 1.0,
        "losses": [(f"run {k}", float(k)) for k in range(9)],
        "tops": [(f"run {k}", "a" if k < 6 else "<b>") for k in range(9)],
    }
    words = told(row)
    assert "loss 0 to 8 over 9 runs" in words
    assert "most likely: “a” (6), “<b>” (3)" in words
    html = text_html([row], 1.0, spaces=False)
    assert "<img" not in html
    assert "<b>" not in html
    none = {**row, "spread": None}
    assert "no spread: some run has no loss" in told(none)
    assert "<mark" not in text_html([none], 1.0, spaces=False)
    assert text_in_words([none]) == "No token of this text has a loss in all runs."
