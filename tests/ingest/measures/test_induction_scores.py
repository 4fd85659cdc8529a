"""Attention scores on repeated tokens, and entropy of attention."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from archive.schema.base import CellState
from ingest.importers.repeated_windows import RepeatedWindows
from ingest.mathematics.attention_masks import (
    duplicates,
    followers,
    last_followers,
    mask_score,
    predecessors,
    uniform_score,
)
from ingest.measure import MEASURES, NotApplicable
from ingest.measures.attention_entropy import attention_entropy, entropies, normalised_entropy
from ingest.measures.first_token import first_token_attention
from ingest.measures.previous_token import previous_token_score
from ingest.measuring.checkpoint import measure_checkpoint
from ingest.models.layout import Layout
from ingest.models.loaded import Activations
from ingest.tasks.modular_arithmetic import ModularArithmetic
from tests.ingest.measures.test_attention_scores import attending, random_patterns
from tests.ingest.small_models import random_model
from tests.references.attention_scores import copy_score_by_loops, entropy_by_loops, uniform

ON_COPIES = [
    n
    for n in MEASURES.entries()
    if n.split(":")[0] in {"head.prefix_matching", "head.preceding_token", "head.duplicate_token"}
]
# what each measure looks for: how far after the earlier occurrence, and how targets are put together
DEFINITIONS = {
    "head.prefix_matching": (1, "sum_targets"),
    "head.prefix_matching:last_target": (1, "last_target"),
    "head.prefix_matching:mean_entry": (1, "mean_entry"),
    "head.prefix_matching:without_first": (1, "without_first"),
    "head.preceding_token": (-1, "sum_targets"),
    "head.duplicate_token": (0, "sum_targets"),
}


def repeated(period: int, n_copies: int, n_examples: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """A start token, then distinct tokens over and over: tokens and copies."""
    block = torch.arange(1, period + 1).repeat(n_copies)
    numbers = torch.arange(1, n_copies + 1).repeat_interleave(period)
    start = torch.zeros(1, dtype=torch.long)
    return (
        torch.cat([start, block])[None].repeat(n_examples, 1),
        torch.cat([start, numbers])[None].repeat(n_examples, 1),
    )


def scored(name: str, pattern: torch.Tensor, tokens: torch.Tensor, copies: torch.Tensor) -> torch.Tensor:
    """A measure of one pattern [query, key]."""
    batch = Activations(
        tokens=tokens,
        targets=tokens[:, :1],
        logits=torch.zeros(len(tokens), 1, 2),
        attention=pattern.expand(len(tokens), 1, 1, *pattern.shape[-2:]),
        mlp=torch.zeros(len(tokens), 0, tokens.shape[1], 0),
        copies=copies,
    )
    return MEASURES.get(name).function(batch)[:, 0, 0]


# --- chance and closed forms -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "n_copies", "make", "published"),
    [
        (25, 4, followers, 0.0307),
        (50, 2, followers, 0.0136),
        (384, 2, followers, 0.0018),
        (25, 4, last_followers, 0.0179),
    ],
)
def test_chance_is_that_of_uniform_attention(period, n_copies, make, published):
    tokens, copies = repeated(period, n_copies)
    mask = make(tokens, copies)
    assert uniform_score(mask) == pytest.approx(published, abs=5e-5)
    even = torch.tensor(uniform(tokens.shape[1]), dtype=torch.float64)
    assert mask_score(even[None], mask).item() == pytest.approx(uniform_score(mask), rel=1e-12)
    per_target = mask_score(even[None], mask, per_target=True).item()
    assert per_target == pytest.approx(uniform_score(mask, per_target=True), rel=1e-12)


@pytest.mark.parametrize("name", ON_COPIES)
def test_the_measures_store_the_chance_of_their_sequences(name):
    windows = RepeatedWindows(n_tokens=9, length=22, n_repeats=3, n_copied=4)
    layout = Layout(
        n_tokens=9, n_outputs=9, n_positions=22, n_layers=1, d_model=8, n_heads=2, d_head=4, d_mlp=0
    )
    [value] = measure_checkpoint(random_model(layout), windows, 0, [MEASURES.get(name)])
    assert value.state is CellState.DONE, value.trace
    tokens, copies = windows.evaluation().tokens.tolist(), windows.copies().tolist()
    offset, way = DEFINITIONS[name]
    even = uniform(22)
    expected = [copy_score_by_loops(even, t, c, offset, way) for t, c in zip(tokens, copies, strict=True)]
    assert value.columns["chance"] == pytest.approx(np.mean(expected), rel=1e-12)
    assert value.columns["n_items"].tolist() == [256, 256]


def test_an_ideal_induction_head_scores_one_and_half_where_two_targets_share():
    tokens, copies = repeated(5, 2)
    pattern = torch.zeros(11, 11, dtype=torch.float64)
    pattern[:, 0] = 1
    for query in range(6, 11):
        pattern[query] = torch.eye(11)[query - 5 + 1]
    assert scored("head.prefix_matching", pattern, tokens, copies).item() == 1
    assert scored("head.preceding_token", pattern, tokens, copies).item() == 0
    assert scored("head.duplicate_token", pattern, tokens, copies).item() == 0
    tokens, copies = repeated(5, 3)
    pattern = torch.zeros(16, 16, dtype=torch.float64)
    for query in range(6, 16):
        for target in {query - 4, query - 9} - set(range(query - 15, 1)):
            pattern[query, target] = 1 / (1 if query < 11 else 2)
    assert scored("head.prefix_matching", pattern, tokens, copies).item() == 1
    assert scored("head.prefix_matching:last_target", pattern, tokens, copies).item() == pytest.approx(0.75)
    assert scored("head.prefix_matching:mean_entry", pattern, tokens, copies).item() == pytest.approx(0.75)


def test_a_head_that_mostly_rests_on_the_first_token_matches_with_what_is_left():
    tokens, copies = repeated(5, 2)
    resting = torch.zeros(11, 11, dtype=torch.float64)
    resting[:, 0] = 1
    pattern = resting.clone()
    for query in range(6, 11):
        pattern[query] = (
            0.75 * torch.eye(11)[0] + 0.2 * torch.eye(11)[query - 4] + 0.05 * torch.eye(11)[query]
        )
    without = "head.prefix_matching:without_first"
    assert scored("head.prefix_matching", pattern, tokens, copies).item() == pytest.approx(0.2)
    assert scored(without, pattern, tokens, copies).item() == pytest.approx(0.8)
    # nothing is left of it, and nothing is not a match
    assert scored(without, resting, tokens, copies).item() == 0


@given(share=st.floats(0, 0.99), seed=st.integers(0, 99))
def test_resting_more_on_the_first_token_changes_nothing_without_it(share, seed):
    tokens, copies = repeated(3, 3)
    pattern = random_patterns(seed, 10)
    resting = (1 - share) * pattern + share * torch.eye(10)[0]
    mask = followers(tokens, copies)
    before, after = (mask_score(p[None], mask, without_first=True).item() for p in (pattern, resting))
    assert after == pytest.approx(before, rel=1e-9)
    plain = mask_score(pattern[None], mask).item()
    assert plain <= before <= 1
    assert mask_score(resting[None], mask).item() == pytest.approx((1 - share) * plain)


@pytest.mark.parametrize(("period", "n_copies"), [(25, 4), (50, 2)])
def test_chance_without_the_first_token_is_that_of_uniform_attention_on_the_others(period, n_copies):
    tokens, copies = repeated(period, n_copies)
    # query q has one target in every earlier copy, among the q keys that are not the first
    by_hand = [((q - 1) // period) / q for q in range(period + 1, tokens.shape[1])]
    mask = followers(tokens, copies)
    assert uniform_score(mask, without_first=True) == pytest.approx(np.mean(by_hand), rel=1e-12)


def test_heads_that_look_elsewhere_are_told_apart():
    tokens, copies = repeated(4, 2)
    for offset, name in {0: "head.duplicate_token", -1: "head.preceding_token"}.items():
        pattern = torch.zeros(9, 9)
        for query in range(5, 9):
            pattern[query, query - 4 + offset] = 1
        for other in ON_COPIES:
            assert scored(other, pattern, tokens, copies).item() == float(other == name)


def test_only_later_copies_ask_and_filler_can_be_a_target():
    # 7 stands before the first copy, so its first repetition there is not asked about
    tokens = torch.tensor([[7, 7, 8, 5, 7, 8]])
    copies = torch.tensor([[0, 1, 1, 0, 2, 2]])
    assert duplicates(tokens, copies)[0].nonzero().tolist() == [[4, 0], [4, 1], [5, 2]]
    assert followers(tokens, copies)[0].nonzero().tolist() == [[4, 1], [4, 2], [5, 3]]
    assert last_followers(tokens, copies)[0].nonzero().tolist() == [[4, 2], [5, 3]]
    assert predecessors(tokens, copies)[0].nonzero().tolist() == [[4, 0], [5, 1]]


# --- twin, properties --------------------------------------------------------------------------------------

sequences = st.lists(st.integers(0, 3), min_size=2, max_size=4)


@given(block=sequences, filler=st.integers(0, 4), n_copies=st.integers(2, 3), seed=st.integers(0, 99))
def test_agree_with_the_loops(block, filler, n_copies, seed):
    row, copies = [9], [0]
    for number in range(1, n_copies + 1):
        row += [*block, filler]
        copies += [*[number] * len(block), 0]
    pattern = random_patterns(seed, len(row))
    for name, (offset, way) in DEFINITIONS.items():
        expected = copy_score_by_loops(pattern.tolist(), row, copies, offset, way)
        found = scored(name, pattern, torch.tensor([row]), torch.tensor([copies])).item()
        assert found == pytest.approx(expected, abs=1e-12), name


@given(seed=st.integers(0, 1000), n=st.integers(2, 9))
def test_the_plain_scores_are_scores_of_a_mask(seed, n):
    pattern = random_patterns(seed, 2, n)
    at = torch.arange(n)
    previous = (at[:, None] - 1 == at).expand(2, n, n)
    first = ((at[:, None] > 0) & (at == 0)).expand(2, n, n)
    torch.testing.assert_close(mask_score(pattern, previous), previous_token_score(pattern))
    torch.testing.assert_close(mask_score(pattern, first), first_token_attention(pattern))


@given(seed=st.integers(0, 1000))
def test_scores_of_complementary_masks_add_up_and_heads_relabel(seed):
    pattern = random_patterns(seed, 3, 2, 4, 6)
    at = torch.arange(6)
    draws = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(seed)) < 0.5
    seen = (at[:, None] >= at).expand(3, 6, 6)
    some = draws & seen
    some[:, :, 0] = True  # so that both masks have a target in every row but the first
    some[:, at, at] = False
    some[:, 0], seen = False, seen.clone()
    seen[:, 0] = False
    both = mask_score(pattern, some) + mask_score(pattern, seen & ~some)
    torch.testing.assert_close(both, torch.ones(3, 2, 4, dtype=torch.float64))
    order = [3, 1, 0, 2]
    torch.testing.assert_close(mask_score(pattern[:, :, order], some), mask_score(pattern, some)[:, :, order])


def test_an_example_without_a_target_is_named():
    tokens, copies = repeated(3, 2, n_examples=2)
    copies[1] = 0
    with pytest.raises(ValueError, match="example 1 has no query with a target"):
        mask_score(random_patterns(0, 2, 7), followers(tokens, copies))


@pytest.mark.parametrize("name", ON_COPIES)
def test_without_copies_or_heads_they_say_why_not(name):
    with pytest.raises(NotApplicable, match="no attention heads"):
        MEASURES.get(name).function(attending(torch.zeros(3, 0, 0, 5, 5)))
    addition = ModularArithmetic(p=5)
    layout = Layout(
        n_tokens=6, n_outputs=6, n_positions=3, n_layers=1, d_model=8, n_heads=2, d_head=4, d_mlp=0
    )
    [value] = measure_checkpoint(random_model(layout), addition, 0, [MEASURES.get(name)])
    assert value.state is CellState.NOT_APPLICABLE
    assert value.message.startswith("nothing in the task's sequences repeats")
    with pytest.raises(NotApplicable, match="nothing in the task's sequences repeats"):
        MEASURES.get(name).chance(addition)


# --- entropy -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "published"), [(50, 2.970), (100, 3.637), (512, 5.246)])
def test_uniform_attention_has_the_largest_entropy(n, published):
    batch = attending(torch.tensor(uniform(n), dtype=torch.float64)[None, None, None])
    expected = math.lgamma(n + 1) / n
    assert expected == pytest.approx(published, abs=5e-4)
    assert attention_entropy(batch).item() == pytest.approx(expected, rel=1e-12)
    assert normalised_entropy(batch).item() == pytest.approx(1, rel=1e-12)
    task = RepeatedWindows(n_tokens=9, length=n, n_repeats=1, n_copied=2)
    assert MEASURES.get("head.attention_entropy").chance(task) == pytest.approx(expected, rel=1e-12)
    assert MEASURES.get("head.attention_entropy:normalised").chance(task) == 1


def test_attention_to_one_token_has_none_and_to_two_ln_2():
    single = torch.eye(4)[[0, 0, 1, 2]]
    assert attention_entropy(attending(single[None, None, None])).item() == 0
    halves = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0], [0, 0, 0.5, 0.5]])
    batch = attending(halves[None, None, None])
    assert attention_entropy(batch).item() == pytest.approx(0.75 * math.log(2))
    shares = [math.log(2) / math.log(q + 1) for q in (1, 2, 3)]
    assert normalised_entropy(batch).item() == pytest.approx(sum(shares) / 3)


@given(seed=st.integers(0, 1000), n=st.integers(2, 9))
def test_entropies_agree_with_the_loops_and_never_exceed_uniform_ones(seed, n):
    pattern = random_patterns(seed, 2, 3, n)
    found = entropies(pattern)
    for index in ((0, 0), (1, 2)):
        expected = [entropy_by_loops(row) for row in pattern[index].tolist()]
        assert found[index].tolist() == pytest.approx(expected, abs=1e-12)
    largest = torch.arange(1, n + 1, dtype=torch.float64).log()
    assert (found <= largest + 1e-12).all()


def test_entropies_of_long_sequences_agree_with_whole_matrices():
    # longer than the queries taken together
    pattern = random_patterns(5, 2, 3, 150)
    torch.testing.assert_close(entropies(pattern), torch.special.entr(pattern).sum(-1), rtol=0, atol=1e-12)
    of_layers = entropies(pattern[:, None].expand(-1, 2, -1, -1, -1))
    assert torch.equal(of_layers[:, 1], of_layers[:, 0])
