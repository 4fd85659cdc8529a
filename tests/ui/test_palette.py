"""The claims of ui/models/palette.py, computed."""

from itertools import combinations

import numpy as np
import pytest

from ui.models.palette import DARK_GROUND, HUES, LIGHT_GROUND, STROKES, see_through

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> np.ndarray:
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    low, high = sorted(float(TO_XYZ[1] @ linear(c)) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


def lab(colour: str, deficiency: str) -> np.ndarray:
    seen = np.clip(DEFICIENCIES[deficiency] @ linear(colour), 0, 1)
    x, y, z = (TO_XYZ @ seen) / np.array([0.95047, 1, 1.08883])
    f = [v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("ground", [LIGHT_GROUND, DARK_GROUND])
@pytest.mark.parametrize("hue", HUES)
def test_every_hue_reads_on_both_grounds(hue: str, ground: str) -> None:
    assert contrast(hue, ground) >= 3.5


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_hues_stay_apart(deficiency: str) -> None:
    # a difference of 10 is seen at a glance; the closest pair here is blue and green under tritanopia
    distances = {
        (a, b): np.linalg.norm(lab(a, deficiency) - lab(b, deficiency)) for a, b in combinations(HUES, 2)
    }
    assert min(distances.values()) >= 13, distances


def test_no_two_strokes_are_alike() -> None:
    assert len(set(STROKES)) == len(STROKES) == 12


def test_see_through() -> None:
    assert see_through("#1f83d6", 0.5) == "rgba(31,131,214,0.5)"
