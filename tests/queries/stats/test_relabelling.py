import numpy as np
import pytest

from queries.stats.relabelling import relabellings


def test_modulo_7_by_hand() -> None:
    # times 2: 1 → 2, 2 → 4 = 3, 3 → 6 = 1; times 3: 1 → 3, 2 → 6 = 1, 3 → 9 = 2
    assert relabellings(3).tolist() == [[0, 1, 2], [1, 2, 0], [2, 0, 1]]


@pytest.mark.parametrize("p", [5, 47, 113])
def test_for_a_prime_every_frequency_goes_everywhere_once(p: int) -> None:
    n = (p - 1) // 2
    moves = relabellings(n)

    assert moves.shape == (n, n)
    assert moves[0].tolist() == list(range(n))
    for axis in (0, 1):
        assert (
            np.sort(moves, axis=axis) == np.arange(n).reshape(-1 if axis == 0 else 1, 1 if axis == 0 else -1)
        ).all()


def test_cosines_of_multiplied_inputs_are_those_of_the_other_frequency() -> None:
    p, x = 11, np.arange(11)
    for c, row in zip(range(1, 6), relabellings(5), strict=True):
        for k in range(1, 6):
            assert np.cos(2 * np.pi * k * (c * x) / p) == pytest.approx(
                np.cos(2 * np.pi * (row[k - 1] + 1) * x / p)
            )


def test_factors_of_the_modulus_are_no_relabelling() -> None:
    assert len(relabellings(7)) == 4  # modulo 15: 1, 2, 4, 7
