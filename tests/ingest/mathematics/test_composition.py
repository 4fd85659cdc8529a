"""B16, B17: composition of heads, its baseline and spread under random rotations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ingest.mathematics.composition import MODES, LayerPair, Mode, composition
from tests.references.composition import full_matrices, full_score, rotated_scores

Layers = list[dict[str, torch.Tensor]]


def random_layers(seed: int, n: int, heads: int, d: int, d_head: int, *, steep: float = 0) -> Layers:
    """Gaussian weights; steep > 0: singular values that fall like exp(-steep i)."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    fall = torch.exp(-steep * torch.arange(d_head))
    return [
        {
            **{name: draw(heads, d, d_head) * fall for name in ("W_Q", "W_K", "W_V")},
            "W_O": draw(heads, d_head, d) * fall[:, None],
        }
        for _ in range(n)
    ]


def head(layers: Layers, layer: int, number: int) -> dict[str, np.ndarray]:
    return {name: tensor[number].numpy() for name, tensor in layers[layer].items()}


def only(pairs: list[LayerPair]) -> LayerPair:
    assert len(pairs) == 1
    return pairs[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("steep", [0, 0.7])
def test_the_fast_form_is_the_full_product_to_1e_12(mode: Mode, steep: float) -> None:
    layers = random_layers(0, 3, 2, 40, 6, steep=steep)
    pairs = composition(layers, mode)
    assert [(pair.source, pair.target) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]
    for pair in pairs:
        for source in range(2):
            for target in range(2):
                written, read = full_matrices(
                    head(layers, pair.source, source), head(layers, pair.target, target), mode
                )
                assert float(pair.scores[source, target]) == pytest.approx(
                    full_score(written, read), rel=1e-12
                )


@pytest.mark.parametrize("mode", MODES)
def test_a_head_that_reads_what_another_writes_scores_one_or_its_share(mode: Mode) -> None:
    d, d_head = 12, 3
    basis = torch.eye(d, dtype=torch.float64)
    here, there = basis[:, :d_head][None], basis[:, d_head : 2 * d_head][None]
    elsewhere = basis[:, 2 * d_head : 3 * d_head][None]
    writer = {"W_Q": elsewhere, "W_K": elsewhere, "W_V": here, "W_O": there.mT}
    reads_it = {"q": "W_Q", "k": "W_K", "v": "W_V"}[mode]
    others = {"W_Q": elsewhere, "W_K": elsewhere, "W_V": elsewhere, "W_O": elsewhere.mT}
    # ‖M N‖² = 3 of ‖M‖² ‖N‖² = 3 · 3
    scores = {
        name: float(only(composition([writer, {**others, name: there}], mode)).scores)
        for name in ("W_Q", "W_K", "W_V")
    }
    assert scores == pytest.approx({name: 1 / math.sqrt(3) if name == reads_it else 0.0 for name in scores})
    # one direction only: nothing of the product is lost
    thin = {name: tensor.narrow(2 if name != "W_O" else 1, 0, 1) for name, tensor in writer.items()}
    reader = {**others, reads_it: there}
    thin_reader = {name: tensor.narrow(2 if name != "W_O" else 1, 0, 1) for name, tensor in reader.items()}
    assert float(only(composition([thin, thin_reader], mode)).scores) == pytest.approx(1)


@pytest.mark.parametrize(("d", "baseline"), [(64, 0.1250), (256, 0.0625), (512, 0.0442)])
def test_random_heads_score_the_baseline(d: int, baseline: float) -> None:
    # Gaussian weights are already rotated at random: root mean square over all pairs of heads
    pair = only(composition(random_layers(d, 2, 12, d, 8), "k"))
    assert pair.baseline == pytest.approx(baseline, abs=5e-5)
    squares = pair.scores.square()
    # 144 pairs of 12 + 12 heads; the spread of their mean, were they independent, is that over 12
    spread = float((squares / d**-1 - 1).std()) / d
    assert float(squares.mean()) == pytest.approx(1 / d, abs=5 * spread / 12)


@pytest.mark.parametrize(("d", "d_head", "steep"), [(24, 4, 0.0), (24, 4, 1.2), (16, 16, 0.3)])
@pytest.mark.parametrize("mode", MODES)
def test_mean_and_variance_are_those_of_random_rotations(
    d: int, d_head: int, steep: float, mode: Mode
) -> None:
    layers = random_layers(3, 2, 1, d, d_head, steep=steep)
    pair = only(composition(layers, mode))
    n = 2000
    squares = rotated_scores(*full_matrices(head(layers, 0, 0), head(layers, 1, 0), mode), n, 0) ** 2
    deviation = (float(pair.scores) ** 2 - 1 / d) / float(pair.z)
    assert squares.mean() == pytest.approx(1 / d, abs=4.5 * deviation / math.sqrt(n))
    # the variance of a sample variance follows from the fourth moment
    excess = ((squares - squares.mean()) ** 4).mean() / squares.var() ** 2 - 1
    assert squares.var() / deviation**2 == pytest.approx(1, abs=4.5 * math.sqrt(excess / n))


def test_a_hundred_rotations_give_about_the_same_z() -> None:
    layers = random_layers(5, 2, 1, 32, 4, steep=0.5)
    layers[1]["W_K"] = layers[1]["W_K"] + 2 * layers[0]["W_O"].mT
    pair = only(composition(layers, "k"))
    matrices = full_matrices(head(layers, 0, 0), head(layers, 1, 0), "k")
    squares = rotated_scores(*matrices, 100, 1) ** 2
    slow = (float(pair.scores) ** 2 - squares.mean()) / squares.std(ddof=1)
    # a spread from 100 draws of a skewed distribution is known to about a tenth
    assert float(pair.z) == pytest.approx(slow, rel=0.35)
    assert float(pair.z) > 5


def test_z_of_random_heads_has_mean_0_and_spread_1() -> None:
    z = torch.cat([only(composition(random_layers(s, 2, 4, 48, 4), "v")).z.flatten() for s in range(80)])
    assert abs(float(z.mean())) < 4 / math.sqrt(len(z) / 4)
    assert float(z.std()) == pytest.approx(1, rel=0.15)


def test_after_centring_the_null_lives_in_one_dimension_less() -> None:
    d = 6
    squares = []
    for seed in range(400):
        layers = random_layers(seed, 2, 2, d, 2)
        for layer in layers:
            layer["W_O"] = layer["W_O"] - layer["W_O"].mean(2, keepdim=True)
            for name in ("W_Q", "W_K", "W_V"):
                layer[name] = layer[name] - layer[name].mean(1, keepdim=True)
        pair = only(composition(layers, "q", dimension=d - 1))
        squares.append(pair.scores.square().flatten())
    found = torch.cat(squares)
    error = float(found.std()) / math.sqrt(400)
    assert float(found.mean()) == pytest.approx(1 / (d - 1), abs=4.5 * error)
    assert abs(float(found.mean()) - 1 / d) > 4.5 * error
    assert pair.baseline == pytest.approx((d - 1) ** -0.5)


def test_a_rotation_in_place_of_a_head_has_no_spread_and_a_zero_head_no_score() -> None:
    layers = random_layers(0, 2, 1, 8, 8)
    layers[0]["W_V"] = layers[0]["W_O"] = torch.eye(8, dtype=torch.float64)[None]
    pair = only(composition(layers, "k"))
    assert float(pair.scores) == pytest.approx(8**-0.5)
    assert pair.z.isnan().all()
    layers[0]["W_O"] = torch.zeros(1, 8, 8)
    pair = only(composition(layers, "k"))
    assert pair.scores.isnan().all()
    assert pair.z.isnan().all()


@given(st.integers(0, 99), st.permutations(range(3)), st.permutations(range(3)), st.sampled_from(MODES))
def test_relabelling_heads_relabels_scores(
    seed: int, sources: list[int], targets: list[int], mode: Mode
) -> None:
    layers = random_layers(seed, 2, 3, 10, 2)
    whole = only(composition(layers, mode))
    turned = [
        {name: tensor[list(order)] for name, tensor in layer.items()}
        for layer, order in zip(layers, (sources, targets), strict=True)
    ]
    found = only(composition(turned, mode))
    torch.testing.assert_close(found.scores, whole.scores[sources][:, targets], rtol=1e-12, atol=0)
    torch.testing.assert_close(found.z, whole.z[sources][:, targets], rtol=1e-9, atol=1e-9)


@given(st.integers(0, 99), st.floats(0.01, 100), st.sampled_from(MODES))
def test_the_basis_within_a_head_and_the_scale_of_weights_do_not_matter(
    seed: int, scale: float, mode: Mode
) -> None:
    layers = random_layers(seed, 2, 2, 10, 3)
    mix = torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)).double()
    mix = mix + 4 * torch.eye(3)
    turned = [
        {
            "W_Q": layer["W_Q"] @ mix,
            "W_K": layer["W_K"] @ mix.inverse().T,
            "W_V": scale * layer["W_V"] @ mix,
            "W_O": mix.inverse() @ layer["W_O"],
        }
        for layer in layers
    ]
    torch.testing.assert_close(
        only(composition(turned, mode)).scores, only(composition(layers, mode)).scores, rtol=1e-9, atol=0
    )


def test_without_a_later_layer_there_are_no_pairs() -> None:
    assert composition(random_layers(0, 1, 2, 8, 2), "q") == []
    assert composition([], "q") == []
