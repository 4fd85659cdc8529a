"""A neuron in other runs: planted matches and their excess, and neurons with the same top examples."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from archive.errors import PathscopeError
from archive.store import Archive
from queries.universal_neurons import universal_neurons
from tests.ui.components.archive import COMPARED, STEPS, seeds, top_examples
from tests.ui.components.matches import BASELINE, SILENT, excess_of, match_of
from tests.ui.components.records import N_LAYERS, N_UNITS, K
from ui.models.component_sets import component_sets, named
from ui.models.neuron.lookalikes import lookalikes, lookalikes_in_words, lookalikes_table
from ui.models.neuron.matches import (
    Comparison,
    Matches,
    comparison_of,
    matches_csv_table,
    matches_in_words,
    matches_of,
    matches_table,
    notes_of,
)
from ui.models.neuron.page import TABLE

Made = Callable[[str], Path]
RUN = seeds()[0]


@pytest.fixture
def archive(made: Made) -> Archive:
    return Archive(made("components"))


def comparison(archive: Archive, run: str = RUN.name) -> Comparison:
    (known,) = component_sets(archive, table=TABLE)
    found = comparison_of(archive, run=run, selection=named(excluded=False), known=known, suspect=False)
    assert isinstance(found, Comparison)
    return found


def matches(archive: Archive, unit: int, step: int = STEPS[-1], run: str = RUN.name) -> Matches:
    return matches_of(archive, comparison=comparison(archive, run), layer=1, unit=unit, step=step)


def test_matches_are_the_planted_ones_with_their_excess(archive: Archive) -> None:
    known = comparison(archive)
    assert (known.eval_set, known.steps) == ("books, 40 tokens", COMPARED)
    assert [known.at(s) for s in (0, 200, 256, 3999)] == [0, 0, 256, 256]
    assert Comparison(1, "", 1, (), (64,), False).at(63) is None
    for unit in (0, 3):
        rows = matches(archive, unit).rows
        assert {r.run: r.name for r in rows} == {f"lm-seed{b}": f"L1N{match_of(unit, 0, b)}" for b in (1, 2)}
        for r, b in zip(rows, (2, 1), strict=True):  # the larger excess first
            assert r.excess == pytest.approx(excess_of(unit, b, True), abs=1e-6)
            assert r.similarity - r.null_mean == pytest.approx(r.excess, abs=1e-6)
            assert r.null_mean == pytest.approx(BASELINE)
            assert r.first_excess == pytest.approx(0.02, abs=1e-6)
            assert (r.shared, r.step) == (False, STEPS[-1])
    # at the first checkpoint there is no earlier one to hold it against
    assert all(math.isnan(r.first_excess) for r in matches(archive, 0, 0).rows)


def test_the_mean_excess_is_that_of_universal_neurons(archive: Archive) -> None:
    every = {
        r["neuron"]: r for r in universal_neurons(archive, top=100).table.to_pylist() if r["run"] == RUN.name
    }
    for unit in (1, 4):
        found = matches(archive, unit)
        assert found.excess == pytest.approx(every[f"L1N{unit}"]["excess"])
        assert f"Mean excess over 2 runs of other inits: {found.excess:.4g}" in matches_in_words(
            found, "L1N0", 4000
        )


def test_a_neuron_that_does_not_vary_has_no_match(archive: Archive) -> None:
    found = matches(archive, SILENT)
    assert [r.name for r in found.rows] == ["—", "—"]
    assert found.known == ()
    assert math.isnan(found.excess)
    assert "does not vary" in matches_in_words(found, "L1N5", 4000)
    table = matches_table(found, "http://x/neuron", "books").to_pylist()
    assert [r["page"] for r in table] == [None, None]
    assert [r["excess"] for r in table] == [None, None]


def test_runs_with_the_same_start_are_no_other_seeds(archive: Archive) -> None:
    found = matches(archive, 1)
    twins = Matches(
        tuple(replace(r, shared=r.run == "lm-seed2", why="both began alike") for r in found.rows), ""
    )
    assert twins.excess == pytest.approx(excess_of(1, 1, True), abs=1e-6)
    assert (
        notes_of(twins)[0] == "1 run began with the same weights (both began alike) and are not in the mean."
    )
    alone = Matches(twins.rows[:1], "")
    assert "none is another seed" in matches_in_words(alone, "L1N1", 4000)
    table = matches_table(twins, "http://x/neuron?step=1", "books, 40").to_pylist()
    assert [r["start"] for r in table] == ["same weights", "other"]
    assert table[0]["page"] == "http://x/neuron?eval_set=books%2C+40&focus=lm-seed2&layer=1&unit=3&step=4000"
    assert matches_csv_table(twins).num_rows == 2


def test_where_nothing_was_compared_the_error_says_what_compares(made: Made) -> None:
    odd = Archive(made("components odd"))
    (known,) = component_sets(odd, table=TABLE)
    found = comparison_of(odd, run="lm-seed0", selection=named(excluded=False), known=known, suspect=False)
    assert isinstance(found, PathscopeError)
    assert "[compare]" in str(found)


def test_lookalikes_have_most_examples_in_common(archive: Archive) -> None:
    (known,) = component_sets(archive, table=TABLE)
    step, at = STEPS[-1], len(STEPS) - 1
    found = lookalikes(
        archive,
        run=RUN.name,
        selection=named(excluded=False),
        known=known,
        layer=1,
        unit=2,
        step=step,
        suspect=False,
    )
    assert (found.k, found.n_runs_without, [r.n_neurons for r in found.rows]) == (K, 0, [12, 12])

    def places(model: int, layer: int, unit: int) -> set[tuple[int, int]]:
        documents, positions, _ = top_examples(seeds()[model], layer, unit, at)
        return set(zip(documents.tolist(), positions.tolist(), strict=True))

    own = places(0, 1, 2)
    for r in found.rows:
        model = int(r.run[-1])
        counts = sorted(
            (len(own & places(model, a, u)) for a in range(N_LAYERS) for u in range(N_UNITS)), reverse=True
        )
        assert [r.shared, r.next_shared] == counts[:2]
        assert len(own & places(model, r.layer, r.unit)) == r.shared
    # 24 neurons and 960 places: two of eight in common is chance
    assert found.least == 3
    assert lookalikes_in_words(found, "L1N2", step).startswith("Most of the 8 examples of L1N2")
    assert "In 2 of 2 other runs" in lookalikes_in_words(found, "L1N2", step)
    table = lookalikes_table(found, "http://x/neuron", "books", step).to_pylist()
    assert table[0]["page"].startswith("http://x/neuron?eval_set=books&focus=lm-seed")
    nowhere = replace(found, rows=())
    assert lookalikes_in_words(nowhere, "L1N2", 5) == "No other run has examples at step 5."
