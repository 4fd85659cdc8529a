"""Every class and every reason of the verdict, from evidence alone."""

import math
from dataclasses import replace

import numpy as np
import pytest

from queries.stats.transition_shape import transition_shape
from queries.stats.transition_verdict import Evidence, judge

TIMES = np.geomspace(1, 143_000, 200)


def sigmoid(w: float, at: float = 300.0) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip((np.log2(TIMES) - math.log2(at)) / w, -500, 500)))


SHARP, WIDE = transition_shape(TIMES, sigmoid(0.2), "up"), transition_shape(TIMES, sigmoid(0.8), "up")
MAJOR = Evidence(
    refused="",
    q_bootstrap=0.001,
    q=0.001,
    q_linear=0.001,
    excess=0.4,
    excess_linear=0.4,
    shape=SHARP,
    first=1.0,
    last=143_000.0,
    w_low=0.15,
    w_high=0.25,
    spacing=0.1,
    detectable_w=0.6,
)
SMOOTH = replace(MAJOR, q_bootstrap=0.4, q=0.4, q_linear=0.4, excess=0.01, excess_linear=0.01, shape=WIDE)


def kind(evidence: Evidence, **changes: object) -> str:
    return judge(replace(evidence, **changes), 0.05)[0]


def test_half_of_the_change_in_an_octave_is_major_and_less_is_minor() -> None:
    assert kind(MAJOR) == "major_transition"
    assert judge(MAJOR, 0.05)[1] == ""
    assert kind(MAJOR, shape=WIDE) == "minor_transition"


def test_what_points_leave_open_the_sigmoid_decides_or_nothing_does() -> None:
    coarse = transition_shape(TIMES[::8], sigmoid(0.45)[::8], "up")
    assert coarse.share[0] < 0.5 <= coarse.share[1]

    assert kind(MAJOR, shape=coarse, w_high=0.44) == "major_transition"
    assert kind(MAJOR, shape=coarse, w_low=0.5, w_high=0.6) == "minor_transition"
    assert kind(MAJOR, shape=coarse, w_low=0.3, w_high=0.6) == "unresolved"


def test_the_discrete_metric_alone_makes_no_transition() -> None:
    assert kind(SMOOTH, q_discrete=0.001, excess_discrete=0.4) == "metric_only"
    assert kind(MAJOR, discrete=True) == "unresolved"
    assert kind(SMOOTH, q_discrete=0.001, excess_discrete=0.01) == "none"


def test_the_linear_axis_alone_makes_no_transition() -> None:
    assert kind(SMOOTH, q_linear=0.001, excess_linear=0.4) == "axis_only"


def test_none_needs_that_a_major_one_would_have_been_found() -> None:
    assert kind(SMOOTH) == "none"
    assert kind(SMOOTH, detectable_w=0.25) == "unresolved"
    assert kind(SMOOTH, q=0.001, excess=0.02) == "none"
    assert "less than 5%" in judge(replace(SMOOTH, q=0.001, excess=0.02), 0.05)[1]


def test_louder_noise_that_explains_as_much_as_a_jump_leaves_it_open_where_something_was_found() -> None:
    loud = replace(MAJOR, jump=False, q=1.0, q_linear=1.0, noise_factor=5.2, noise_since=12_000)

    assert judge(loud, 0.05) == (
        "unresolved",
        "a smooth curve with noise that is 5.2 times as large from step 12,000 on explains it about as well as a jump does",
    )
    assert kind(loud, q_bootstrap=0.2) == kind(loud, excess=0.02) == "none"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"refused": "3 of 16 checkpoints needed"}, "3 of 16"),
        ({"spacing": 1.0}, "checkpoints are 1 octave(s) apart"),
        ({"last": 700.0}, "no plateau after it"),
        ({"first": 150.0}, "no plateau before it"),
        ({"controls": 40, "beyond": 0.9}, "only 90% of 40 matched series"),
    ],
)
def test_what_is_open_is_unresolved_and_says_why(changes: dict[str, object], why: str) -> None:
    found, reason = judge(replace(MAJOR, **changes), 0.05)

    assert found == "unresolved"
    assert why in reason


def test_few_controls_decide_only_where_they_are_required() -> None:
    few = replace(MAJOR, controls=5, beyond=0.2)

    assert judge(few, 0.05)[0] == "major_transition"
    assert judge(few, 0.05, controls_required=True) == (
        "unresolved",
        "5 of 19 matched series needed to compare with",
    )
    assert (
        judge(replace(MAJOR, controls=19, beyond=1.0), 0.05, controls_required=True)[0] == "major_transition"
    )


def test_points_inside_are_needed_only_where_the_change_may_be_wider_than_two_octaves() -> None:
    step = transition_shape(TIMES, (TIMES > 300).astype(float), "up")

    assert step.n_inside == 0
    assert kind(MAJOR, shape=step) == "major_transition"
