"""Whether runs grow the same heads: heads matched by what they do, against matching heads with nothing in common."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.events.event_times import finite_or_none
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import Step
from queries.reading.head_pairs import Align, Depth, HeadPair, layer_pair, pair_heads, relative_depth
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.signatures import SignatureReadings, Signatures, choose_signatures, read_signatures
from queries.reading.tables import in_order
from queries.reading.units import units_by_group, units_limits, units_of
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict
from queries.stats.head_matching import (
    Excess,
    Matching,
    excess,
    identity_gap,
    match,
    mean_excess,
    permuted_null,
    rotated_null,
    stability,
    standardised,
)
from queries.stats.run_pairs import mean_over_pairs, method_over
from queries.wording.circuits import or_nan
from queries.wording.head_matches import NEGLIGIBLE, match_limits, match_sentence

MOST_RUNS = 12

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        *((name, _TEXT) for name in ("a", "b")),
        *((name, _REAL) for name in ("similarity", "null_mean", "excess")),
        ("layer_offset", _WHOLE),
        ("depth_offset", _REAL),
        ("beyond", pa.bool_()),
        ("align", _TEXT),
        *((name, _TEXT) for name in ("run_a", "run_b")),
        *((name, _WHOLE) for name in ("step_a", "step_b")),
    ]
)
_PAIRS = pa.schema(
    [
        *((name, _TEXT) for name in ("run_a", "run_b", "align")),
        ("n_heads", _WHOLE),
        *((name, _REAL) for name in ("similarity", "null_mean", "null_high", "excess", "p")),
        ("n_beyond", _WHOLE),
        *((name, _REAL) for name in ("beyond_expected", "first_similarity")),
        *((name, _REAL) for name in ("identity", "identity_gap", "null_gap", "gap_p")),
        *((name, _REAL) for name in ("stability", "stability_chance")),
        ("n_alone", _WHOLE),
        ("why", _TEXT),
    ]
)
_SUMMARY = pa.schema(
    [
        ("align", _TEXT),
        *((name, _WHOLE) for name in ("n_runs", "n_pairs", "n_heads")),
        *((name, _REAL) for name in ("similarity", "null_mean", "excess", "low", "high", "p")),
        ("n_beyond", _WHOLE),
        *((name, _REAL) for name in ("beyond_expected", "first_similarity")),
        *((name, _REAL) for name in ("above_first", "above_first_low", "above_first_high")),
        *((name, _REAL) for name in ("identity_gap", "stability", "null_sd", "detectable")),
        ("verdict", _TEXT),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class MatchHeads(Answer):
    """Heads of pairs of runs with their partners, and how much more alike they are than by chance.

    table: per head of run_a its name a (L2H3), its partner b in run_b, similarity (correlation of their signatures, −1 to 1),
    null_mean (that of partners under the null), excess (similarity less null_mean), layer_offset (layer of b less that of a),
    depth_offset (the same of relative depths, 0 first to 1 last layer), beyond (above the 99th percentile of the null),
    align: matched, or index where heads of one number are compared.
    pairs: per two runs the means, null_high (95 %), p, n_beyond with beyond_expected, first_similarity (of matching
    both at their first checkpoint), identity (similarity by number, where numbers mean the same), identity_gap (that of the
    matching less it) with null_gap and gap_p for permuted numbers, stability (share of heads with one partner on two
    eval sets) with its chance, n_alone (heads without a partner), why numbers are or are not comparable.
    summary: per align the mean over pairs, with the interval over runs.
    """

    pairs: pa.Table
    eval_sets: tuple[str, ...]

    def overview(self) -> pa.Table | None:
        """The summary with intervals in one cell."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "align": r["align"],
                    "runs": r["n_runs"],
                    "pairs": r["n_pairs"],
                    "similarity": number(r["similarity"], 2),
                    "null": number(r["null_mean"], 2),
                    "excess": f"{number(r['excess'], 2)} {interval(or_nan(r['low']), or_nan(r['high']), 2)}".rstrip(),
                    "p": number(r["p"], 2),
                    "beyond null": f"{r['n_beyond']} of {r['n_heads']}",
                    "at first checkpoint": number(r["first_similarity"], 2),
                    "identity gap": number(r["identity_gap"], 2),
                    "verdict": r["verdict"],
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """The excess of every head by its layer; heads beyond the null filled."""
        from queries.figures.shared_heads import excess_by_layer

        return excess_by_layer(self)


@query(title="Do runs grow the same heads?")
def match_heads(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    step: Step = "final",
    align: Annotated[
        Align,
        Field(
            description="matched: partners by what heads do; index: heads of one number, which needs a shared init; auto: index "
            "where the init is shared"
        ),
    ] = "auto",
    depth: Annotated[
        Depth, Field(description="match only layers of the same relative depth, or any with any")
    ] = "same",
    n_null: Annotated[int, Field(ge=19, le=10_000, description="draws of the null")] = 200,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> MatchHeads:
    """Heads of all pairs of runs side by side, by their signatures: where they look, on every eval set that all runs have.

    Signatures are standardised with constants pooled over all runs; partners maximise the sum of correlations
    (Hungarian), one to one. Matching finds likeness anywhere, so similarity is read against rotated signatures matched
    the same way, and against the same runs at their first checkpoint. Runs that share an init are compared by number
    instead, against permuted numbers; by number across inits is refused. Give two runs to compare only these.
    """
    selected = select_runs(archive, runs)
    choices, notes = choose_signatures(archive, selected, which)
    readings = read_signatures(archive, choices, step, which)
    selected = choices[0].selected
    ids = in_order(selected, readings.at)
    if not 2 <= len(ids) <= MOST_RUNS:
        names = ", ".join(selected.by_id[run].run for run in ids[:3])
        raise UsageError(
            f"{len(ids)} run(s) have head.signature there ({names}); matching takes 2 to {MOST_RUNS}. `pathscope status` "
            "shows what each run has; --runs chooses among them."
        )
    pairs, more = pair_heads(selected, readings, ids, align, depth)
    models = [readings.at[run].together for run in ids]
    known = standardised(models)
    found = [match(known[p.comparison.a], known[p.comparison.b], p.comparison) for p in pairs]
    nulls = _nulls(models, [readings.at[run].layers for run in ids], pairs, n_null)
    held = [excess(m, null, p.comparison) for m, null, p in zip(found, nulls, pairs, strict=True)]
    at_first = _at_first(readings, ids, pairs)
    table = [
        row for p, m, e in zip(pairs, found, held, strict=True) for row in _rows(selected, readings, p, m, e)
    ]
    per_pair = [
        {
            **_pair_row(selected, readings, p, m, e),
            "first_similarity": before,
            **_beside(p, [readings.at[run] for run in ids], known),
        }
        for p, m, e, before in zip(pairs, found, held, at_first, strict=True)
    ]
    shared = units_of(selected, ids).by_run()
    summary = [
        _summary(kind, pairs, per_pair, found, nulls, confidence, shared)
        for kind in ("index", "matched")
        if any(p.align == kind for p in pairs)
    ]
    only = summary[0] if len(summary) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, choices, readings.left_out), shared_seeds=())
    return MatchHeads(
        sentence=match_sentence(summary, len(ids), confidence),
        table=pa.Table.from_pylist(table, schema=_TABLE),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        pairs=pa.Table.from_pylist(per_pair, schema=_PAIRS),
        eval_sets=tuple(c.quantity.eval_set for c in choices),
        n_runs=len(ids),
        n_items=None,
        unit="correlation" if only else "",
        estimate=only["excess"] if only else math.nan,
        ci_low=or_nan(only["low"]) if only else math.nan,
        ci_high=or_nan(only["high"]) if only else math.nan,
        ci_level=confidence,
        ci_method=method_over(shared) if only and only["low"] is not None else "",
        null_name=""
        if not only
        else "permuted numbers"
        if only["align"] == "index"
        else "rotated signatures",
        null_mean=0.0 if only else math.nan,
        null_sd=only["null_sd"] if only else math.nan,
        p_value=only["p"] if only else math.nan,
        mde=only["detectable"] if only else math.nan,
        verdict=only["verdict"] if only else None,
        limits=(
            *provenance.limits,
            *units_limits(units_by_group(selected, ids), "p and numbers of pairs"),
            *notes,
            *more,
            *readings.left_out.limits,
            *match_limits(summary, per_pair, readings, [c.quantity.eval_set for c in choices]),
        ),
        provenance=provenance,
        sql=readings.sql,
    )


def _nulls(
    models: Sequence[np.ndarray], layers: Sequence[np.ndarray], pairs: Sequence[HeadPair], n: int
) -> list[np.ndarray]:
    """Per pair (draw, pair of heads): permuted numbers where numbers are compared, else rotated signatures."""
    by_index = [p.comparison for p in pairs if p.comparison.by_index]
    matched = [p.comparison for p in pairs if not p.comparison.by_index]
    permuted = iter(permuted_null(models, layers, by_index, n=n) if by_index else [])
    rotated = iter(rotated_null(models, matched, n=n) if matched else [])
    return [next(permuted if p.comparison.by_index else rotated) for p in pairs]


def _at_first(
    readings: SignatureReadings, ids: Sequence[int], pairs: Sequence[HeadPair]
) -> list[float | None]:
    """Mean similarity of each pair at the first checkpoints, through the same algorithm; None without earlier ones."""
    if any(readings.first[run].step >= readings.at[run].step for run in ids):
        return [None] * len(pairs)
    known = standardised([readings.first[run].together for run in ids])
    return [
        float(match(known[p.comparison.a], known[p.comparison.b], p.comparison).similarity.mean())
        for p in pairs
    ]


def _beside(
    pair: HeadPair, sides: Sequence[Signatures], known: Sequence[np.ndarray]
) -> dict[str, float | None]:
    """Likeness by number where numbers mean the same, and agreement of matchings on two eval sets."""
    row: dict[str, float | None] = {}
    c = pair.comparison
    one, other = sides[c.a], sides[c.b]
    if pair.start.layers:
        blocks = [layer_pair(one, other, layer, layer) for layer in pair.start.layers]
        gap = identity_gap(known[c.a], known[c.b], blocks)
        row |= {"identity": gap.identity, "identity_gap": gap.gap, "null_gap": gap.null_gap, "gap_p": gap.p}
    if len(one.values) > 1 and not c.by_index:
        by_set = [standardised([side.values[k] for side in sides]) for k in range(2)]
        alone = [match(models[c.a], models[c.b], c) for models in by_set]
        row["stability"], row["stability_chance"] = stability(alone[0], alone[1], c)
    return row


def _rows(
    selected: Selected, readings: SignatureReadings, pair: HeadPair, found: Matching, held: Excess
) -> list[dict[str, Any]]:
    a, b = readings.at[pair.a], readings.at[pair.b]
    rows = []
    for k, (i, j) in enumerate(zip(found.rows, found.columns, strict=True)):
        depth = [relative_depth(int(s.layers[n]), s.n_layers) for s, n in ((a, i), (b, j))]
        rows.append(
            {
                "a": a.name(i),
                "b": b.name(j),
                "similarity": float(found.similarity[k]),
                "null_mean": float(held.null_mean[k]),
                "excess": float(found.similarity[k] - held.null_mean[k]),
                "layer_offset": int(b.layers[j] - a.layers[i]),
                "depth_offset": float(depth[1] - depth[0]) if min(depth) >= 0 else None,
                "beyond": bool(held.beyond[k]),
                "align": pair.align,
                "run_a": selected.by_id[pair.a].run,
                "run_b": selected.by_id[pair.b].run,
                "step_a": a.step,
                "step_b": b.step,
            }
        )
    return sorted(rows, key=lambda r: -r["excess"])


def _pair_row(
    selected: Selected, readings: SignatureReadings, pair: HeadPair, found: Matching, held: Excess
) -> dict[str, Any]:
    n, similarity = len(found.rows), float(found.similarity.mean())
    return {
        "run_a": selected.by_id[pair.a].run,
        "run_b": selected.by_id[pair.b].run,
        "align": pair.align,
        "n_heads": n,
        "similarity": similarity,
        "null_mean": held.mean,
        "null_high": held.high,
        "excess": similarity - held.mean,
        "p": held.p,
        "n_beyond": int(held.beyond.sum()),
        "beyond_expected": 0.01 * n,
        "n_alone": sum(len(readings.at[run].layers) for run in (pair.a, pair.b)) - 2 * n,
        "why": pair.start.why,
    }


def _summary(
    kind: str,
    pairs: Sequence[HeadPair],
    per_pair: Sequence[Mapping[str, Any]],
    found: Sequence[Matching],
    nulls: Sequence[np.ndarray],
    level: float,
    shared: Sequence[Mapping[int, int]],
) -> dict[str, Any]:
    chosen = [k for k, p in enumerate(pairs) if p.align == kind]
    ends = [(pairs[k].a, pairs[k].b) for k in chosen]
    held = mean_excess([found[k] for k in chosen], [nulls[k] for k in chosen])

    def mean(name: str) -> float | None:
        values = [v for k in chosen if (v := per_pair[k].get(name)) is not None]
        return float(np.mean(values)) if values else None

    def over_runs(values: Sequence[float], most: float) -> tuple[float, float, float]:
        nothing = np.full(len(values), math.nan)
        return mean_over_pairs(ends, np.array(values), nothing, level, (None, most), shared)

    estimate, low, high = over_runs([per_pair[k]["excess"] for k in chosen], 1 - held.mean)
    above = [
        per_pair[k]["similarity"] - before
        for k in chosen
        if (before := per_pair[k]["first_similarity"]) is not None
    ]
    first = mean("first_similarity")
    later = over_runs(above, 1 - first) if first is not None else (math.nan,) * 3
    row: dict[str, Any] = {
        "align": kind,
        "n_runs": len({run for pair in ends for run in pair}),
        "n_pairs": len(chosen),
        "n_heads": sum(per_pair[k]["n_heads"] for k in chosen),
        "similarity": mean("similarity"),
        "null_mean": held.mean,
        "excess": estimate,
        "low": finite_or_none(low),
        "high": finite_or_none(high),
        "p": held.p,
        "n_beyond": sum(per_pair[k]["n_beyond"] for k in chosen),
        "beyond_expected": sum(per_pair[k]["beyond_expected"] for k in chosen),
        "first_similarity": first,
        **{
            name: finite_or_none(value)
            for name, value in zip(("above_first", "above_first_low", "above_first_high"), later, strict=True)
        },
        "identity_gap": mean("identity_gap"),
        "stability": mean("stability"),
        "null_sd": held.sd,
        "detectable": held.detectable,
    }
    return {**row, "verdict": _verdict(row, level)}


def _verdict(row: Mapping[str, Any], level: float) -> Verdict:
    """Yes: beyond the null, in other runs too, and for matchings more than at the first checkpoint. No: shown to be little."""
    if row["low"] is None:
        return "unresolved"
    learned = row["align"] == "index" or (row["above_first_low"] or 0.0) > 0
    if row["low"] > 0 and row["p"] < 1 - level and learned:
        return "yes"
    return "no" if row["high"] < NEGLIGIBLE else "unresolved"
