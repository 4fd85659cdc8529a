"""search_heads: a planted head that looks at a token is found and dated, others and chance are not."""

from collections.abc import Iterator

import numpy as np
import pytest

from archive.errors import UsageError
from archive.store import Archive
from queries.search_heads import search_heads
from queries.stats.multiple import benjamini_hochberg
from tests.queries.language import PATTERN, cell, plant_texts
from tests.queries.simulated import LOSS_HERE, Simulation, kept_open

ITEMS, N = 8, 10
LAYERS, HEADS = 2, 3
TOKEN = 12  # stands in sequences 1 to 3: sequence q holds 4q to 4q + 9
TOKENS = 4 * np.arange(ITEMS)[:, None] + np.arange(N)


def even() -> np.ndarray:
    """(query, key): attention spread over what each query sees."""
    return np.tril(np.ones((N, N))) / np.arange(1, N + 1)[:, None]


def random_pattern(rng: np.random.Generator) -> np.ndarray:
    weights = np.tril(rng.exponential(size=(N, N)))
    return np.asarray(weights / weights.sum(1, keepdims=True))


def looking(item: int, share: float) -> np.ndarray:
    """Evenly spread attention of which a share goes to the token, once it is seen."""
    pattern = even()
    at = np.flatnonzero(TOKENS[item] == TOKEN)
    if len(at):
        seen = np.arange(N) >= at[0]
        pattern[seen] *= 1 - share
        pattern[seen, at[0]] += share
    return np.asarray(pattern)


def plant(s: Simulation, run: str, step: int, patterns: dict[tuple[int, int, int], np.ndarray]) -> None:
    """patterns: (item, layer, head) -> query × key."""
    owner, q = cell(s, run, PATTERN, step)
    for (item, layer, head), pattern in patterns.items():
        s.builder.add(
            "fact_attention",
            owner,
            q,
            item=item,
            layer=layer,
            head=head,
            n_query=N,
            n_key=N,
            values=[pattern.reshape(-1)],
        )


def grid(share: float, rng: np.random.Generator) -> dict[tuple[int, int, int], np.ndarray]:
    """L1H2 looks at the token, the others anywhere."""
    return {
        (item, layer, head): looking(item, share) if (layer, head) == (1, 2) else random_pattern(rng)
        for item in range(ITEMS)
        for layer in range(LAYERS)
        for head in range(HEADS)
    }


def planted(simulation: Simulation) -> Archive:
    plant_texts(simulation)
    run = simulation.run("a", init_seed=0)
    for k, (step, share) in enumerate(((1, 0.0), (10, 0.8), (100, 0.9))):
        plant(simulation, run, step, grid(share, np.random.default_rng(k)))
    return simulation.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def test_the_planted_head_is_found_dated_and_measured(archive: Archive) -> None:
    answer = search_heads(archive, text="w12")
    rows = answer.table.to_pylist()
    assert [(r["head"], r["since_after"], r["since"]) for r in rows if r["found"]] == [("L1H2", 1, 10)]
    assert rows[0]["n_items"] == 3
    # slow twin: pattern by pattern, key by key
    holding = [i for i in range(ITEMS) if (TOKENS[i] == TOKEN).any()]
    slow = [
        np.mean([sum(p[q, k] for k in range(q + 1) if TOKENS[i, k] == TOKEN) for q in range(N)])
        for i, p in ((i, looking(i, 0.9)) for i in holding)
    ]
    flat = [np.mean([sum(TOKENS[i, : q + 1] == TOKEN) / (q + 1) for q in range(N)]) for i in holding]
    assert rows[0]["attention"] == pytest.approx(np.mean(slow), abs=1e-6)
    assert rows[0]["chance"] == pytest.approx(np.mean(flat))
    assert answer.n_places == 3
    assert not any(r["found"] for r in search_heads(archive, text="w12", step=1).table.to_pylist())


def test_a_text_across_tokens_counts_all_of_its_keys(archive: Archive) -> None:
    answer = search_heads(archive, text="2 w13", by="text")
    assert answer.n_places == 6
    assert answer.table.to_pylist()[0]["head"] == "L1H2"


def test_one_item_is_no_test_and_nowhere_is_said(archive: Archive) -> None:
    one = search_heads(archive, text="w0")  # in the first sequence only
    assert all(r["p"] is None and not r["found"] for r in one.table.to_pylist())
    assert any("Fewer than two items" in line for line in one.limits)
    nowhere = search_heads(archive, text="nothing like it")
    assert "in none of the frozen items" in nowhere.sentence
    assert all(r["attention"] is None for r in nowhere.table.to_pylist())


def test_random_heads_are_found_no_more_often_than_promised(simulation: Simulation) -> None:
    """100 runs of heads that look anywhere, each searched by itself with q < 0.05 and no least excess: at most 12."""
    plant_texts(simulation)
    for k, run in enumerate(simulation.seeds(100)):
        rng = np.random.default_rng(k)
        plant(simulation, run, 1, {(i, 0, h): random_pattern(rng) for i in (1, 2, 3) for h in range(3)})
    answer = search_heads(simulation.commit(), text="w12", least_excess=0.0)
    rows = answer.table.to_pylist()
    by_run = {run: np.array([r["p"] for r in rows if r["run"] == run]) for run in {r["run"] for r in rows}}
    assert sum(bool((benjamini_hochberg(p) < 0.05).any()) for p in by_run.values()) <= 12
    assert 0.3 < np.mean([r["p"] for r in rows]) < 0.7


def test_bad_questions_are_refused(simulation: Simulation) -> None:
    archive = planted(simulation)
    with pytest.raises(UsageError, match="asks for nothing here"):
        search_heads(archive, by="text")
    with pytest.raises(UsageError, match="nearest steps are 1, 10, 100"):
        search_heads(archive, text="w12", step=5)
    (run,) = simulation.seeds(1)
    simulation.curve(run, LOSS_HERE, [1, 2], [2.0, 1.0])
    with pytest.raises(UsageError, match="attention_pattern"):
        search_heads(simulation.commit(), runs=run)
