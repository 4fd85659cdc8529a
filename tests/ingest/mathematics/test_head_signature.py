"""B15: head signatures."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.head_signature import (
    DISTANCES,
    N_CLASSES,
    attention_to_classes,
    distance_profiles,
    output_norms,
    signature_labels,
)
from tests.references.heads import classes_by_loops, distances_by_loops


def distance_profile(pattern: torch.Tensor) -> torch.Tensor:
    return distance_profiles(pattern).mean(0)


def class_profile(pattern: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    return attention_to_classes(pattern, classes).double().mean((0, 2))


def patterns(seed: int, n: int, heads: int, length: int) -> torch.Tensor:
    scores = torch.randn(n, heads, length, length, generator=torch.Generator().manual_seed(seed))
    return scores.masked_fill(torch.ones(length, length).triu(1) > 0, -torch.inf).softmax(-1)


@given(st.integers(0, 999), st.integers(1, 3), st.integers(1, 40))
def test_profiles_agree_with_loops(seed: int, n: int, length: int) -> None:
    pattern = patterns(seed, n, 2, length)
    classes = torch.randint(N_CLASSES, (n, length), generator=torch.Generator().manual_seed(seed))
    by_distance, by_class = distance_profile(pattern), class_profile(pattern, classes)
    for head in range(2):
        loops = pattern[:, head].tolist()
        assert by_distance[head].tolist() == pytest.approx(distances_by_loops(loops, DISTANCES), abs=1e-6)
        expected = classes_by_loops(loops, classes.tolist(), N_CLASSES)
        assert by_class[head].tolist() == pytest.approx(expected, abs=1e-6)
    assert by_distance.sum(1).tolist() == pytest.approx([1, 1], abs=1e-6)
    assert by_class.sum(1).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_a_head_that_looks_back_by_a_fixed_distance_has_one_bin() -> None:
    length = 210
    for distance, expected in ((0, 0), (3, 3), (5, 4), (7, 5), (8, 6), (191, 14), (192, 15), (209, 15)):
        pattern = torch.zeros(1, 1, length, length)
        queries = torch.arange(distance, length)
        pattern[0, 0, queries, queries - distance] = 1
        profile = distance_profile(pattern)[0]
        share = (length - distance) / length
        assert profile.tolist() == pytest.approx([share if i == expected else 0 for i in range(16)])


def test_uniform_attention_has_the_closed_form() -> None:
    # the mean over queries q ≥ d of 1/(q + 1)
    length = 20
    pattern = torch.tril(torch.ones(length, length)) / torch.arange(1, length + 1)[:, None]
    harmonic = [math.fsum(1 / (q + 1) for q in range(d, length)) / length for d in range(4)]
    assert distance_profile(pattern[None, None])[0, :4].tolist() == pytest.approx(harmonic, rel=1e-6)


def test_classes_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="token classes from 0 to 7; expected 0 to 6"):
        class_profile(patterns(0, 1, 1, 2), torch.tensor([[0, 7]]))


@given(st.integers(0, 999), st.permutations(range(3)))
def test_order_of_sequences_and_names_of_heads_do_not_matter(seed: int, order: list[int]) -> None:
    pattern = patterns(seed, 3, 3, 9)
    torch.testing.assert_close(distance_profile(pattern[order]), distance_profile(pattern))
    torch.testing.assert_close(distance_profile(pattern[:, order]), distance_profile(pattern)[order])


def test_output_norms_are_those_of_what_heads_write() -> None:
    mixed = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    outputs = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(1))
    written = torch.einsum("sphi,him->sphm", mixed, outputs).double().norm(dim=-1)
    torch.testing.assert_close(output_norms(mixed, outputs), written, rtol=1e-5, atol=0)
    torch.testing.assert_close(output_norms(mixed[0], outputs), written[0], rtol=1e-5, atol=0)
    turn = torch.linalg.qr(torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(2))).Q
    turned = output_norms(torch.einsum("sphi,hij->sphj", mixed, turn), turn.mT @ outputs)
    torch.testing.assert_close(turned, written, rtol=1e-5, atol=0)  # whatever the basis of d_head
    assert output_norms(mixed, torch.zeros_like(outputs)).eq(0).all()


def test_labels_say_what_there_is() -> None:
    plain = signature_labels(repeats=False, classes=False)
    assert len(plain) == 3 + len(DISTANCES)
    assert plain[:4] == ("previous_token", "first_token", "attention_entropy", "distance 0")
    assert set(signature_labels(repeats=True, classes=False)) - set(plain) == {
        "prefix_matching",
        "duplicate_token",
    }
    everything = signature_labels(repeats=True, classes=True)
    assert len(set(everything)) == len(everything) == len(plain) + 2 + N_CLASSES
    assert everything[-1] == "class special"


def test_classes_of_long_sequences_agree_with_whole_matrices() -> None:
    # longer than the queries taken together
    pattern = patterns(3, 2, 3, 150)
    classes = torch.randint(N_CLASSES, (2, 150), generator=torch.Generator().manual_seed(4))
    of_class = torch.nn.functional.one_hot(classes, N_CLASSES).double()
    expected = pattern.double() @ of_class[:, None]
    torch.testing.assert_close(attention_to_classes(pattern, classes).double(), expected, rtol=0, atol=1e-6)
