"""Whether the pair of heads that composes most in the end, or first, stood out before training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.composition_history import Mode
from queries.events.event_times import finite_or_none
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import find_left_out
from queries.reading.composition_winners import Contest, Rule, read_contests
from queries.reading.init_groups import children, init_groups, shared_note
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.registry import query
from queries.results import Answer, Provenance
from queries.stats.stratified_auc import METHOD
from queries.stats.winner_percentile import Winner, percentiles, winner_percentile
from queries.wording.first_composition import composition_limits, composition_sentence
from queries.wording.initial import child_limits, relation_verdict

LEAST_Z = 10.0

_TABLE = pa.schema(
    [
        ("run", pa.string()),
        ("init", pa.int64()),
        ("winner", pa.string()),
        ("step", pa.int64()),
        ("percentile", pa.float64()),
        ("n_pairs", pa.int64()),
        ("first_z", pa.float64()),
        ("then_z", pa.float64()),
        ("p", pa.float64()),
        ("why", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class PredictFirstComposition(Answer):
    """Where the pair of heads that won stood at step 0.

    table: per run the number of its init, the winner (L0H3>L1H2; several where they came first together), the step at which
    it won, its percentile by z at step 0 among the n_pairs pairs of the same two layers ((rank − 1/2) / n: 0.5 on
    average by chance), its z then and when it won, p (how often rotated weights reach that, corrected for all pairs of
    the run), and why a run is not used.
    estimate: mean percentile over inits, of the means of their runs. null: heads rearranged within their layers.
    mde: distance from 0.5 that would be found with 80 % probability. null_low, null_high: 95 % of means by chance.
    """

    mode: Mode
    null_low: float
    null_high: float
    n_inits: int

    def plot(self) -> go.Figure:
        """Percentiles of runs by init, their mean, and what chance gives."""
        from queries.figures.initial import winners_before

        return winners_before(self)


@query(title="Does the pair of heads that composes most stand out before training?")
def predict_first_composition(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    mode: Annotated[
        Mode, Field(description="what the earlier head's output feeds: q = queries, k = keys, v = values")
    ] = "k",
    rule: Annotated[
        Rule,
        Field(
            description="who wins: final = the largest z at the last checkpoint, first = whoever first reaches least_z"
        ),
    ] = "final",
    least_z: Annotated[
        float, Field(gt=0, description="z that a pair must reach, with rule='first'")
    ] = LEAST_Z,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> PredictFirstComposition:
    """The percentile at step 0 of the pair of heads that wins, over runs, against pairs that could have been any others.

    By rule "final" a run counts if its winner composes more than rotated weights do, corrected for all its pairs.
    Runs that share an init count as one. z is that of `composition_history`.
    """
    measure = f"{mode}_composition"
    selected = select_runs(archive, runs)
    choice = choose_quantity(archive, selected, [measure], which, tables=("fact_head_pair",))
    left_out = find_left_out(archive, choice, which)
    contests, sql = read_contests(archive, choice, left_out, rule, least_z)
    listed = in_order(choice.selected, contests)
    if not any(contests[run].before for run in listed):
        raise UsageError(
            f"no run has {measure} at step 0: what the initial weights tell needs a checkpoint of them. `pathscope status` shows "
            f"which checkpoints there are; `pathscope ingest STUDY.toml --fill {measure}` measures kept ones."
        )
    used = [run for run in listed if not contests[run].why]
    groups = init_groups(choice.selected, listed, {run: contests[run].by_layer for run in listed})
    found = (
        winner_percentile(
            [w for run in used for w in _winners(contests[run], groups[run])], groups, level=confidence
        )
        if used
        else None
    )
    table = _table(choice.selected, contests, listed, groups)
    n_inits = len({groups[run] for run in used})
    later = children(choice.selected, used)
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    return PredictFirstComposition(
        sentence=composition_sentence(mode, rule, found, table),
        table=pa.Table.from_pylist(table, schema=_TABLE),
        mode=mode,
        n_inits=n_inits,
        n_runs=len(used),
        unit="percentile",
        estimate=found.mean if found and n_inits > 1 else math.nan,
        ci_low=found.low if found else math.nan,
        ci_high=found.high if found else math.nan,
        ci_level=confidence,
        ci_method=METHOD if found and n_inits > 1 else "",
        null_name="winners anywhere in their layers" if found else "",
        null_mean=found.null_mean if found else math.nan,
        null_sd=found.null_sd if found else math.nan,
        null_low=found.null_low if found else math.nan,
        null_high=found.null_high if found else math.nan,
        p_value=found.p if found else math.nan,
        mde=found.detectable if found else math.nan,
        verdict=relation_verdict(found.p, found.low, found.high, n_inits, later) if found else "unresolved",
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *shared_note({run: groups[run] for run in used}),
            *child_limits(later),
            *composition_limits(table, found, n_inits, confidence),
        ),
        provenance=provenance,
        sql=sql,
    )


def _winners(contest: Contest, init: int) -> list[Winner]:
    """One per pair of layers with a winner."""
    layers: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for src, i, dst, j in contest.winners:
        layers.setdefault((src, dst), []).append((i, j))
    return [
        Winner(contest.run_id, contest.before[src, dst], tuple(cells), (init, src), (init, dst))
        for (src, dst), cells in layers.items()
    ]


def _table(
    selected: Selected, contests: Mapping[int, Contest], listed: Sequence[int], groups: Mapping[int, int]
) -> list[dict[str, Any]]:
    """A row per run, also of those that are not used."""
    rows = []
    for run in listed:
        c = contests[run]
        row: dict[str, Any] = {
            "run": selected.by_id[run].run,
            "init": groups[run],
            "winner": " ".join(f"L{src}H{i}>L{dst}H{j}" for src, i, dst, j in c.winners[:4])
            + (f" and {len(c.winners) - 4} more" if len(c.winners) > 4 else ""),
            "step": c.at,
            "then_z": finite_or_none(c.then_z),
            "p": finite_or_none(c.p),
            "why": c.why,
        }
        if not c.why:
            ranks = {pair: percentiles(c.before[pair]) for pair in {(w[0], w[2]) for w in c.winners}}
            own = [float(ranks[src, dst][i, j]) for src, i, dst, j in c.winners]
            first = [float(c.before[src, dst][i, j]) for src, i, dst, j in c.winners]
            row |= {
                "percentile": sum(own) / len(own),
                "n_pairs": min(table.size for table in ranks.values()),
                "first_z": sum(first) / len(first),
            }
        rows.append(row)
    return rows
