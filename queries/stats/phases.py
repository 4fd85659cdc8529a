"""The three phases of grokking, from curves alone: rules that data decide, with a version.

Source: the phases are Nanda et al. 2023's (memorization, circuit formation, cleanup), who drew their borders
by eye; these rules are pathscope's.
"""

import math

import numpy as np
from numpy.typing import NDArray

from queries.stats.intervals import Bracket, crossing

Floats = NDArray[np.float64]

RULE_VERSION = 1
RULE = (
    "memorization ends when train accuracy exceeds 0.99; circuit formation when restricted loss has made 90 % of its "
    "fall on a log scale; cleanup when test accuracy exceeds 0.99 and the fall of the sum of squared weights per "
    "octave is back under 10 % of its peak"
)
PHASES = ("memorization", "circuit_formation", "cleanup")

ACCURATE = 0.99
SHARE_OF_FALL = 0.9
# a restricted loss that falls by less than this factor has formed no circuit
SMALLEST_FALL = 10.0
CALM = 0.1
# a loss this small is rounding
SMALLEST_LOSS = 1e-16


def memorization_end(times: Floats, train_accuracy: Floats) -> Bracket:
    """First time at which train accuracy exceeds 0.99."""
    return crossing(times, train_accuracy, float(np.nextafter(ACCURATE, 1.0)))


def circuit_formation_end(times: Floats, restricted_loss: Floats) -> Bracket:
    """First time at which restricted loss has made 90 % of its fall, from its highest to its later lowest, in logs.

    Never where it falls by less than a factor of 10. Knows the end of training: it describes, it cannot
    predict.
    """
    finite = np.isfinite(restricted_loss)
    at, y = times[finite], np.log(np.maximum(restricted_loss[finite], SMALLEST_LOSS))
    if not len(y):
        return Bracket(-math.inf, math.inf, 0)
    top = int(np.argmax(y))
    fall = float(y[top] - y[top:].min())
    if fall < math.log(SMALLEST_FALL):
        return Bracket(float(at[-1]), math.inf, len(y))
    found = crossing(at[top:], y[top:], float(y[top]) - SHARE_OF_FALL * fall, direction="down")
    return Bracket(found.low, found.high, len(y), math.exp(found.level_at_high))


def cleanup_end(times: Floats, test_accuracy: Floats, squared_weights: Floats) -> Bracket:
    """First time after the steepest fall of squared weights at which that is over and test accuracy exceeds 0.99.

    Steepness is per log time between neighbouring points; "over" is less than 10 % of the steepest.
    Never where the weights do not shrink or it is still going on at the last point. Time 0 has no logarithm
    and is left out.
    """
    usable = np.isfinite(test_accuracy) & np.isfinite(squared_weights) & (times > 0)
    at, accuracy, squares = times[usable], test_accuracy[usable], squared_weights[usable]
    if len(at) < 3:
        return Bracket(-math.inf, math.inf, 0)
    fall = -np.diff(squares) / np.diff(np.log2(at))
    peak = int(np.argmax(fall))
    over = (fall < CALM * fall[peak]) & (accuracy[1:] > ACCURATE)
    over[: peak + 1] = False
    if fall[peak] <= 0 or not over.any():
        return Bracket(float(at[-1]), math.inf, len(at))
    k = int(np.argmax(over))
    return Bracket(float(at[k]), float(at[k + 1]), len(at), float(accuracy[k + 1]))


def phase_at(times: Floats, ends: list[Bracket | None]) -> list[str | None]:
    """The phase of every time: the first whose end has not been reached, "done" after all three.

    ends: of PHASES in order; None where it is not known, and then the phase is unknown from there on.
    """
    phases: list[str | None] = []
    for time in times:
        phase: str | None = "done"
        for name, end in zip(PHASES, ends, strict=True):
            if end is None or time < end.high:
                phase = None if end is None else name
                break
        phases.append(phase)
    return phases
