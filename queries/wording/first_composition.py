"""What answers about the pair of heads that composes most have to say."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from queries.render import interval, number
from queries.stats.winner_percentile import WinnerPercentile, expected_half_width
from queries.wording.circuits import plural
from queries.wording.initial import few_inits

Rows = Sequence[Mapping[str, Any]]

# z spreads by about 1 before training: winners that gained less than so many may owe it to where they began
LITTLE = 10


def composition_sentence(mode: str, rule: str, found: WinnerPercentile | None, rows: Rows) -> str:
    """Where winners stood."""
    who = "composes most at the end" if rule == "final" else "composes first"
    if found is None:
        why = Counter(r["why"] for r in rows).most_common(1)[0][0]
        return f"{mode.upper()}-composition: no run tells where the pair that {who} stood at step 0 ({why})."
    band = interval(found.low, found.high, 2)
    return (
        f"{mode.upper()}-composition: the pair that {who} stood at percentile {number(found.mean, 2)}"
        f"{' ' + band if band else ''} of its layers' pairs at step 0, {plural(found.n_starts, 'init')} (0.5 by chance, 95 % in "
        f"{interval(found.null_low, found.null_high, 2)}, p = {number(found.p, 2)})."
    )


def composition_limits(rows: Rows, found: WinnerPercentile | None, n_inits: int, level: float) -> list[str]:
    """What the percentile of winners cannot tell."""
    lines = []
    out = [r for r in rows if r["why"]]
    for why, n in Counter(r["why"] for r in out).items():
        first = next(r["run"] for r in out if r["why"] == why)
        lines.append(f"{plural(n, 'run')} not used: {why} (first: {first}).")
    if found is not None:
        half = [f"{number(expected_half_width(n, level), 2)} with {n}" for n in (20, 80)]
        own = (
            f"{number(expected_half_width(n_inits, level), 2)} with {plural(n_inits, 'init')}, "
            if n_inits > 1
            else ""
        )
        lines.append(
            f"If winners could be anywhere, the interval of a mean percentile is ± {own}{' and '.join(half)}: few inits "
            "show only winners that stood near the top or the bottom."
        )
        gained = [r["then_z"] - r["first_z"] for r in rows if not r["why"]]
        if float(np.median(gained)) < LITTLE:
            lines.append(
                f"Winners gained a z of {number(float(np.median(gained)), 2)} (median), and z spreads by about 1 at step 0: "
                "part of what won is what was there."
            )
    lines += few_inits(n_inits)
    lines.append(
        "A winner is chosen by composition of weights alone, which is neither needed nor enough for a pair to matter; runs in "
        "which many pairs compose alike have no clear winner. Pairs are compared within two layers: which layers win is no part "
        "of this."
    )
    return lines
