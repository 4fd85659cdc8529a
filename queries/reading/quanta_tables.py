"""The tables of `quanta_histogram` beside its rows: shares, times, single tokens, and the mean curve with its steps."""

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from queries.events.event_times import finite_or_none
from queries.reading.select import Selected
from queries.reading.token_curves import Sampled, TokenCurves
from queries.stats.token_transitions import ManyCurves

Found = tuple[TokenCurves, ManyCurves]

SHARE_BINS = np.linspace(0, 1, 21)
# of a token with more of its range in one octave one thing seems to decide (B35)
MONOGENIC = 0.5
# of tokens with a transition, those that stand out most; all are counted
SHOWN = 20

_SHARES = pa.schema(
    [
        ("run", pa.string()),
        ("from_share", pa.float64()),
        ("to_share", pa.float64()),
        ("tokens", pa.int64()),
        ("null", pa.int64()),
    ]
)
_TIMES = pa.schema(
    [
        ("run", pa.string()),
        ("from_step", pa.float64()),
        ("to_step", pa.float64()),
        *((name, pa.int64()) for name in ("major", "minor", "falls")),
    ]
)
_TOKENS = pa.schema(
    [
        *((name, pa.string()) for name in ("run", "token", "class")),
        *((name, pa.int64()) for name in ("sequence", "position", "document", "token_id")),
        *((name, pa.float64()) for name in ("excess", "q", "share", "t50", "w")),
        ("monogenic", pa.bool_()),
        ("falls", pa.bool_()),
    ]
)
_CURVES = pa.schema([("run", pa.string()), *((n, pa.float64()) for n in ("step", "mean", "steps"))])


def share_table(found: Sequence[Found], selected: Selected) -> pa.Table:
    """Histogram of the share of the range in the steepest octave, of tokens and of one smooth curve for each."""
    rows = []
    for curves, test in found:
        tokens, null = (
            np.histogram(of[np.isfinite(of)], SHARE_BINS)[0] for of in (test.share, test.null_share)
        )
        rows += [
            {
                "run": selected.by_id[curves.run_id].run,
                "from_share": float(SHARE_BINS[k]),
                "to_share": float(SHARE_BINS[k + 1]),
                "tokens": int(tokens[k]),
                "null": int(null[k]),
            }
            for k in range(len(tokens))
        ]
    return pa.Table.from_pylist(rows, schema=_SHARES)


def time_table(found: Sequence[Found], selected: Selected) -> pa.Table:
    """Transitions by the octave of steps that their t50 is in; falls: how many of them lower the loss."""
    rows = []
    for curves, test in found:
        if not len(curves.steps):
            continue
        first, last = math.floor(math.log2(curves.steps[0])), math.ceil(math.log2(curves.steps[-1]))
        for octave in range(first, last):
            here = (test.t50 >= 2.0**octave) & (test.t50 < 2.0 ** (octave + 1))
            rows.append(
                {
                    "run": selected.by_id[curves.run_id].run,
                    "from_step": 2.0**octave,
                    "to_step": 2.0 ** (octave + 1),
                    "major": int((here & (test.kind == "major_transition")).sum()),
                    "minor": int((here & (test.kind == "minor_transition")).sum()),
                    "falls": int((here & ~test.rises).sum()),
                }
            )
    return pa.Table.from_pylist(rows, schema=_TIMES)


def token_table(found: Sequence[Found], sampled: Sampled, selected: Selected) -> pa.Table:
    """The tokens with the largest excess among those with a transition, 20 a run."""
    rows = []
    for curves, test in found:
        at = np.flatnonzero(test.found)
        best = at[np.argsort(-test.excess[at], kind="stable")][:SHOWN]
        for k, place in zip(best, sampled.tokens.take(pa.array(curves.token[best])).to_pylist(), strict=True):
            rows.append(
                {
                    "run": selected.by_id[curves.run_id].run,
                    **place,
                    "class": str(test.kind[k]),
                    **{
                        n: finite_or_none(float(getattr(test, n)[k]))
                        for n in ("excess", "q", "share", "t50", "w")
                    },
                    "monogenic": bool(test.share[k] > MONOGENIC),
                    "falls": not test.rises[k],
                }
            )
    return pa.Table.from_pylist(rows, schema=_TOKENS)


def curve_table(found: Sequence[Found], selected: Selected) -> pa.Table:
    """The mean curve of all tokens of a run, and what the steps of those with a transition add up to."""
    rows = [
        {
            "run": selected.by_id[curves.run_id].run,
            "step": float(step),
            "mean": finite_or_none(float(mean)),
            "steps": float(made),
        }
        for curves, test in found
        for step, mean, made in zip(curves.steps, test.mean, test.steps, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=_CURVES)
