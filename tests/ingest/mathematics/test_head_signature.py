"""B15: head signatures."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.head_signature import (
    DISTANCES,
    N_CLASSES,
    PARTS,
    attention_to_classes,
    distance_profiles,
    head_signature,
    output_norms,
    output_share,
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
    written = torch.einsum("sphi,him->sphm", mixed, outputs)
    torch.testing.assert_close(
        output_norms(mixed, outputs), written.double().norm(dim=-1).mean((0, 1)), rtol=1e-6, atol=0
    )
    torch.testing.assert_close(output_norms(mixed[0], outputs).shape, (3,))
    share = output_share(torch.tensor([[1.0, 3.0], [0.0, 4.0]]))
    assert share.tolist() == [[0.125, 0.375], [0, 0.5]]


def parts(heads: int) -> dict[str, torch.Tensor]:
    found, start = {}, 0
    for name, length in PARTS.items():
        numbers = torch.arange(start, start + length).expand(heads, length)
        found[name] = numbers[:, 0] if length == 1 else numbers
        start += length
    return found


def test_parts_stand_side_by_side_under_their_labels() -> None:
    signature = head_signature(parts(2))
    labels = signature_labels()
    assert signature.shape == (2, len(labels)) == (2, 99)
    assert signature.tolist() == [list(range(99))] * 2
    assert len(set(labels)) == 99
    for label in ("prefix_matching:text", "copying_eig", "distance 4", "class number", "output_share"):
        at = labels.index(label)
        part = label.split(" ")[0]
        assert at in parts(1)[part].flatten().tolist()


def test_incomplete_parts_are_refused() -> None:
    whole = parts(2)
    with pytest.raises(ValueError, match="missing or unknown: \\['copying_eig'\\]"):
        head_signature({name: part for name, part in whole.items() if name != "copying_eig"})
    with pytest.raises(ValueError, match="missing or unknown: \\['mood'\\]"):
        head_signature({**whole, "mood": whole["class"]})
    with pytest.raises(ValueError, match="part 'class' has 16 numbers a head; expected 7"):
        head_signature({**whole, "class": whole["distance"]})
