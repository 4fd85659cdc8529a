"""What heads and layers do, against a slow twin that runs the whole model again by its equations for every change."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from ingest.evalsets.frozen import FrozenEvalSet, Items, Repeats
from ingest.evalsets.next_tokens import NextTokens
from ingest.readings import asked
from ingest.readings.asked import asked_of, metric_of
from ingest.readings.attribution import refuse_unless_it_adds_up
from ingest.readings.interventions import Interventions
from ingest.readings.replacing import partners
from ingest.tasks.repeated_tokens import RepeatedTokens
from tests.ingest.causal import RULES, model_of, pairs
from tests.ingest.language import frozen, own, prompts, text
from tests.references.causal import Twin

HEADS = ((0, 1), (1, 2))
# the twin is slow: one row of each length
SOME = (0, 3)
CLOSE = {"rtol": 1e-3, "atol": 2e-5}


def interventions(kind: str, task: NextTokens | None = None, batch: int = 4) -> Interventions:
    return Interventions(model_of(kind), pairs() if task is None else task, batch=batch, say=print)


def twin_of(kind: str) -> Twin:
    return Twin(model_of(kind), RULES[kind])


def tokens_of(row: asked.Row, *, other: bool = False) -> Tensor:
    return torch.from_numpy(row.counterfactual if other else row.tokens)


@cache
def clean(kind: str) -> list:
    """The twin's passes over all rows, and over their counterfactuals."""
    with torch.no_grad():
        rows, twin = asked_of(pairs()), twin_of(kind)
        return [
            (
                twin.passed(tokens_of(row)),
                None if row.counterfactual is None else twin.passed(tokens_of(row, other=True)),
            )
            for row in rows
        ]


@torch.no_grad()
def without(kind: str, instead: Callable[[int, tuple[int, int]], Tensor], *, frozen: bool) -> np.ndarray:
    """Differences of the metric with two heads replaced, [row of SOME, head], by the twin."""
    twin, rows = twin_of(kind), asked_of(pairs())
    found = np.zeros((len(SOME), len(HEADS)))
    for place, i in enumerate(SOME):
        row, (full, _) = rows[i], clean(kind)[i]
        for j, head in enumerate(HEADS):
            held = full.patterns if frozen else None
            changed = twin.passed(tokens_of(row), heads={head: instead(i, head)}, patterns=held)
            found[place, j] = twin.difference(changed, 3, 77) - twin.difference(full, 3, 77)
    return found


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("kind", RULES)
def test_ablations_are_those_of_whole_passes(kind: str, frozen: bool) -> None:
    rows = asked_of(pairs())
    heads = [one.heads for one, _ in clean(kind)]
    drawn = partners(rows)

    def mean(i: int, head: tuple[int, int]) -> Tensor:
        length = len(rows[i].tokens)
        return torch.stack(
            [
                torch.stack([said[head][p] for said in heads if len(said[head]) > p]).mean(0)
                for p in range(length)
            ]
        )

    instead = {
        "zero": lambda i, head: torch.zeros_like(heads[i][head]),
        "mean": mean,
        "resample": lambda i, head: heads[drawn[i].number][head][: len(rows[i].tokens)],
    }
    with torch.no_grad():
        for ablation, says in instead.items():
            found = interventions(kind).ablated(ablation, frozen=frozen)
            expected = without(kind, says, frozen=frozen)
            chosen = np.stack([found[list(SOME), layer, head] for layer, head in HEADS], 1)
            np.testing.assert_allclose(chosen, expected, **CLOSE, err_msg=ablation)
            assert np.abs(expected).max() > 1e-3


@pytest.mark.parametrize("kind", RULES)
def test_patches_are_those_of_whole_passes(kind: str) -> None:
    twin, rows = twin_of(kind), asked_of(pairs(), pairs=True)
    seen = clean(kind)[: len(rows)]
    places = [("attention", 0), ("mlp", 1), ("residual", 0)]
    with torch.no_grad():
        given = interventions(kind)
        for direction, sign in (("denoise", 1), ("noise", -1)):
            expected = np.zeros((len(SOME), len(HEADS) + len(places)))
            for number, i in enumerate(SOME):
                source, here = seen[i] if direction == "denoise" else seen[i][::-1]
                tokens = tokens_of(rows[i], other=direction == "denoise")
                residual = here.places["residual", 0].clone()
                residual[-1] = source.places["residual", 0][-1]
                changes = [{"heads": {head: source.heads[head]}} for head in HEADS]
                changes += [{"places": {place: source.places[place]}} for place in places[:2]]
                changes += [{"places": {("residual", 0): residual}}]
                for j, change in enumerate(changes):
                    after = twin.difference(twin.passed(tokens, **change), 3, 77)
                    expected[number, j] = sign * (after - twin.difference(here, 3, 77))
            moved = given.moved_by_heads(direction, HEADS)
            parts = given.moved_by_parts(direction)
            found = torch.cat([moved, torch.stack([parts[layer, place] for place, layer in places], 1)], 1)
            np.testing.assert_allclose(found[list(SOME)], expected, **CLOSE, err_msg=direction)
        whole = [twin.difference(a, 3, 77) - twin.difference(b, 3, 77) for a, b in seen]
        np.testing.assert_allclose(given.whole, whole, **CLOSE)


@pytest.mark.parametrize("kind", RULES)
def test_the_stream_after_the_last_layer_brings_everything_along(kind: str) -> None:
    with torch.no_grad():
        given = interventions(kind)
        for direction in ("denoise", "noise"):
            parts = given.moved_by_parts(direction)
            torch.testing.assert_close(parts[1, "residual"], given.whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", RULES)
def test_the_first_order_is_the_slope_of_whole_passes(kind: str) -> None:
    twin, rows = twin_of(kind), asked_of(pairs(), pairs=True)
    step = 1e-4
    with torch.no_grad():
        found = interventions(kind).moved_to_first_order
        for i in SOME:
            source, here = clean(kind)[i]
            for layer, head in HEADS:
                towards = source.heads[layer, head] - here.heads[layer, head]
                up, down = (
                    twin.passed(
                        tokens_of(rows[i], other=True),
                        heads={(layer, head): here.heads[layer, head] + size * towards},
                    )
                    for size in (step, -step)
                )
                slope = (twin.difference(up, 3, 77) - twin.difference(down, 3, 77)) / (2 * step)
                assert float(found[i, layer, head]) == pytest.approx(slope, rel=2e-3, abs=2e-5)


@pytest.mark.parametrize("kind", RULES)
def test_components_add_up_to_the_logit_difference(kind: str) -> None:
    with torch.no_grad():
        found = interventions(kind).attribution
    total = [Twin.difference(twin_of(kind), one, 3, 77) for one, _ in clean(kind)]
    np.testing.assert_allclose(found.total, total, rtol=1e-4, atol=1e-4)
    parts = found.embedding + found.heads.sum((1, 2)) + found.mlp.sum(1) + found.biases
    np.testing.assert_allclose(parts, total, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", RULES)
def test_the_direct_path_of_a_head_is_what_leaving_it_out_of_the_end_changes(kind: str) -> None:
    """With the last norm's scale held fixed, by the twin's own stream."""
    model = model_of(kind)
    with torch.no_grad():
        found = interventions(kind).attribution
        seen, _ = clean(kind)[0]
        end = seen.places["residual", 1][-1]
        scale, shift = (model.weight(f"ln_final.{part}").double() for part in "wb")
        columns = model.weight("unembed.W_U").double()
        read = (columns[:, 3] - columns[:, 77]) * scale

        def direct(written: Tensor) -> float:
            return float((written - written.mean()) / (end.var(correction=0) + 1e-5).sqrt() @ read)

        for layer, head in HEADS:
            written = seen.heads[layer, head][-1] @ model.weight(f"blocks.{layer}.attn.W_O")[head].double()
            assert float(found.heads[0, layer, head]) == pytest.approx(direct(written), rel=1e-4, abs=1e-5)
        for layer in range(2):
            written = seen.places["mlp", layer][-1] - model.weight(f"blocks.{layer}.mlp.b_out").double()
            assert float(found.mlp[0, layer]) == pytest.approx(direct(written), rel=1e-4, abs=1e-5)
        assert shift.abs().max() > 0.1  # the shift's share is not nothing


def test_components_that_do_not_add_up_are_refused() -> None:
    with torch.no_grad():
        given = interventions("own")
        found = given.attribution
        found.mlp[2, 0] += 0.1
        with pytest.raises(
            FloatingPointError, match=r"components of prompt 2 add up to .* expected the same"
        ):
            refuse_unless_it_adds_up(found, given.rows)


@pytest.mark.parametrize(
    ("kind", "room"), [("own", 2**22), ("pythia", 2**22), ("pythia", 1), ("own", 6 * 2 * 128)]
)
def test_losses_of_texts_are_those_of_whole_passes(
    kind: str, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked, "ROOM", room)  # all rows together, one by one, and two
    task = text(order=(0, 1, 2), length=7)
    twin, rows = twin_of(kind), asked_of(task)
    assert metric_of(task) == "loss"
    with torch.no_grad():
        found = interventions(kind, task).ablated("zero", frozen=False)
        for i, row in enumerate(rows):
            tokens = tokens_of(row)
            full = twin.passed(tokens)
            for layer, head in HEADS:
                nothing = torch.zeros_like(full.heads[layer, head])
                less = twin.passed(tokens, heads={(layer, head): nothing})
                expected = twin.loss(less, tokens) - twin.loss(full, tokens)
                assert float(found[i, layer, head]) == pytest.approx(expected, rel=1e-3, abs=2e-5)


def test_of_repeats_only_later_copies_are_read() -> None:
    rows = [np.array([0, 5, 6, 7, 5, 6, 7]), np.array([0, 1, 2, 3, 1, 2, 3])]
    one = frozen(rows)
    copies = Repeats(start=1, block=3, copies=2).of(one.sequences)
    task = NextTokens(frozen=FrozenEvalSet(**{**vars(one), "copies": copies}))
    assert metric_of(task) == "later_copies_loss"
    assert [row.positions.tolist() for row in asked_of(task)] == [[4, 5], [4, 5]]
    assert [row.correct.tolist() for row in asked_of(task)] == [[6, 7], [2, 3]]


def test_of_a_task_its_own_answers_are_read() -> None:
    task = RepeatedTokens(n_tokens=12, length=11, min_period=4, max_period=6)
    as_next = NextTokens(frozen=FrozenEvalSet.of_task(task))
    assert metric_of(task) == metric_of(as_next) == "later_copies_loss"
    copies = task.copies()
    row = asked_of(as_next)[0]
    expected = [p for p in task.read_positions if copies[0, p] == copies[0, p + 1] > 1]
    assert row.positions.tolist() == expected
    assert row.correct.tolist() == task.evaluation().tokens[0, np.array(expected) + 1].tolist()


def test_a_sample_is_drawn_where_there_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = asked_of(text())
    monkeypatch.setattr(asked, "MOST_TOKENS", 65)  # three sequences of twenty
    some = asked_of(text())
    assert len(some) == 3
    numbers = [row.number for row in some]
    assert numbers == sorted(numbers) != [0, 1, 2]
    assert [row.number for row in asked_of(text())] == numbers
    assert len(everything) == 7


def test_a_counterfactual_of_another_length_is_refused() -> None:
    task = pairs()
    items = task.frozen.items
    cut = ({"counterfactual": items.facts[0]["counterfactual"][:-1]}, *items.facts[1:])
    wrong = FrozenEvalSet(**{**vars(task.frozen), "items": Items(**{**vars(items), "facts": cut})})
    with pytest.raises(ValueError, match="item 0: its counterfactual has 7 tokens, the prompt 8"):
        asked_of(NextTokens(frozen=wrong))


def test_counterfactuals_are_part_of_what_an_eval_set_is() -> None:
    task = pairs()
    items = task.frozen.items
    first = items.facts[0]["counterfactual"]
    for changed in ([first[0] + 1, *first[1:]], None):
        facts = ({} if changed is None else {"counterfactual": changed}, *items.facts[1:])
        other = Items(**{**vars(items), "facts": facts})
        assert other.digest != items.digest
    word = Items(**{**vars(items), "facts": (*items.facts[:-1], {"counterfactual": "another word"})})
    assert word.digest == items.digest
    nothing = Items(**{**vars(items), "facts": ()})
    assert nothing.digest == Items(**{**vars(items), "facts": ({"level": 3},) * len(items)}).digest


def test_rows_of_one_kind_are_clusters_of_their_own_also_where_there_are_more_kinds() -> None:
    items = pairs().frozen.items
    assert items is not None
    first = [
        item for item, kind in enumerate(items.template) if kind == "kind 0" and items.counterfactual(item)
    ]
    facts = tuple(fact if item in first else {} for item, fact in enumerate(items.facts))
    task = NextTokens(frozen=replace(pairs().frozen, items=replace(items, facts=facts)))
    assert [row.cluster for row in asked_of(task, pairs=True)] == [0, 1]
    assert [row.cluster for row in asked_of(task)] == [0, 1, 2, 0, 1, 2, 0]


def test_a_row_is_resampled_from_another_sequence_at_least_as_long() -> None:
    rows = asked_of(prompts((5, 7, 5, 6, 7, 5)))
    same_length = 0
    for row, partner in zip(rows, partners(rows), strict=True):
        assert partner is not None
        assert partner.sequence != row.sequence
        assert len(partner.tokens) >= len(row.tokens)
        same_length += len(partner.tokens) == len(row.tokens)
    assert same_length == len(rows) - 1  # the only one of six tokens takes from a longer one


def test_the_longest_row_of_its_own_is_left_out_of_resampling() -> None:
    given = interventions("own", prompts((5, 6, 5, 5)))
    lengths = [len(row.tokens) for row in given.rows]
    assert lengths.count(6) == 1
    assert [len(row.tokens) for row in given.ablated_rows("resample")] == [n for n in lengths if n != 6]
    with torch.no_grad():
        assert len(given.ablated("resample", frozen=False)) == len(lengths) - 1


def test_memory_that_does_not_hold_a_batch_takes_smaller_ones() -> None:
    said: list[str] = []
    model = own()
    given = Interventions(model, text(), batch=4, say=said.append)
    trunk, sizes = given.model._clean, []

    def small_memory(tokens: Tensor, patterns: object) -> object:
        sizes.append(len(tokens))
        if len(tokens) > 2:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"
            )
        return trunk(tokens, patterns)

    given.model._clean = small_memory
    with torch.no_grad():
        found = given.ablated("mean", frozen=False)
        expected = Interventions(model, text(), batch=4, say=said.append).ablated("mean", frozen=False)
    assert max(sizes) > 2 >= sizes[-1]
    # once for the means and once for the ablation; no try is larger than what there is
    assert [words.removeprefix("memory does not hold a batch of ") for words in said] == [
        "7 sequences; going on with 3",
        "3 sequences; going on with 1",
    ] * 2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_several_measures_share_what_is_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    given = interventions("own")
    with torch.no_grad():
        some = given.moved_by_heads("denoise", HEADS)
        runs: list[int] = []
        resume = given.model.resume
        monkeypatch.setattr(given.model, "resume", lambda *a: (runs.append(1), resume(*a))[1])
        again = given.moved_by_heads("denoise", HEADS[::-1])
        assert not runs
    assert torch.equal(again, some.flip(1))
