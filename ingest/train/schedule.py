"""Which steps to keep and which of those to measure in depth. Imports no torch."""

import itertools
from collections.abc import Sequence

from archive.errors import UsageError


def checkpoint_steps(
    last: int, *, per_octave: int, every: int | None, at: Sequence[int] = ()
) -> tuple[int, ...]:
    """Steps 0 … last at which weights are kept: log-spaced first, evenly spaced after.

    per_octave: steps per doubling (2^(i / per_octave), rounded, duplicates dropped) as long as the next one
    is nearer than `every`; from there on multiples of `every`. 0 and `last` are always kept, `at` is added.
    Raises UsageError when a step of `at` is negative or beyond `last`.
    """
    beyond = sorted(step for step in at if not 0 <= step <= last)
    if beyond:
        raise UsageError(
            f"checkpoint at step {beyond[0]}, but training runs from 0 to {last}; change `at` or `steps`"
        )
    steps = {0, last, *at}
    reached = 0
    for i in itertools.count() if per_octave else ():
        step = round(2 ** (i / per_octave))
        # the switch to even spacing must not depend on `last`, or training on would move checkpoints
        if step - reached > every if every is not None else step > last:
            break
        steps.add(step)
        reached = step
    if every is not None:
        steps.update(range((reached // every + 1) * every, last, every))
    return tuple(sorted(step for step in steps if step <= last))


def sparse_steps(steps: Sequence[int], n: int = 12) -> tuple[int, ...]:
    """About n of the given checkpoint steps, log-spaced, with the first and the last.

    For measures too large for every checkpoint. Each of n log-spaced targets between the first step above
    0 and the last takes the nearest step there is (in ratio); duplicates merge, so the result may be shorter.
    """
    ordered = sorted(set(steps))
    positive = [step for step in ordered if step > 0]
    if len(ordered) <= n or n < 2 or not positive:
        return tuple(ordered)
    ratio = positive[-1] / positive[0]
    targets = [positive[0] * ratio ** (i / (n - 1)) for i in range(n)]
    nearest = {min(positive, key=lambda step: max(step / t, t / step)) for t in targets}
    return tuple(sorted({ordered[0], ordered[-1], *nearest}))
