"""Whether scores of heads before training tell which heads get a role in the end."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.events.event_times import finite_or_none
from queries.reading.init_groups import children, init_groups, shared_note
from queries.reading.initial_scores import InitialScores, read_initial_scores
from queries.reading.quantities import Which
from queries.reading.role_holders import Holders, find_holders
from queries.reading.role_scores import choose_scores, judge, read_scores
from queries.reading.roles import (
    ATTENTION,
    CONFIDENCE,
    LOGITS,
    SCORE,
    Confidence,
    LeastAttention,
    LeastLogits,
    LeastScore,
    Levels,
    Prompts,
    RoleName,
    Task,
)
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance
from queries.stats.multiple import holm
from queries.stats.stratified_auc import METHOD, Stratum, separation
from queries.wording.circuits import error_limits, or_nan, rule_limits
from queries.wording.initial import (
    any_verdict,
    auc_columns,
    auc_limits,
    child_limits,
    relation_verdict,
    scores_sentence,
)
from queries.wording.lottery import lottery_limits

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        *((name, _TEXT) for name in ("role", "score")),
        *((name, _REAL) for name in ("auc", "low", "high", "p", "p_adjusted")),
        *((name, _WHOLE) for name in ("n_inits", "n_runs", "n_layers", "n_pairs")),
        *(
            (name, _REAL)
            for name in ("null_mean", "null_sd", "null_low", "null_high", "least_p", "detectable")
        ),
        ("exact", pa.bool_()),
        *((name, _TEXT) for name in ("verdict", "why")),
    ]
)
_RUNS = pa.schema(
    [
        ("run", _TEXT),
        ("init", _WHOLE),
        ("role", _TEXT),
        ("score", _TEXT),
        ("auc", _REAL),
        ("n_with", _WHOLE),
        ("n_without", _WHOLE),
        ("n_open", _WHOLE),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class LotteryPredictors(Answer):
    """Scores of heads at step 0 as predictors of who has a role at the end.

    table: per role and score the AUC (probability that a head with the role at the end scored above one of its layer and
    run that is shown to lack it; 0.5: no relation, below: lower scores get it), its interval over inits, p (two-sided, heads
    exchanged within layer and run, runs of one init together), p_adjusted (Holm over all rows), how many inits, runs,
    layers of runs and pairs of heads it rests on, null_* (AUC of exchanged heads: mean, sd, 95 %), least_p (the smallest p
    possible), detectable (distance from 0.5 that would be found with 80 % probability), exact (every exchange was looked
    at), verdict, and why there is no AUC. Scores of pairs of heads (composition) are those with the best partner.
    per_run: the AUC of each run, the number of its init, heads with the role, without it, and open ones, which are in no pair.
    """

    task: str
    per_run: pa.Table

    def overview(self) -> pa.Table | None:
        """Roles and scores with intervals in one cell."""
        return pa.Table.from_pylist(
            [
                {
                    "score": r["score"],
                    "role": r["role"],
                    "AUC": f"{number(r['auc'], 2)} {interval(or_nan(r['low']), or_nan(r['high']), 2)}".rstrip(),
                    "by chance": interval(or_nan(r["null_low"]), or_nan(r["null_high"]), 2),
                    "p": number(r["p"], 2),
                    "adjusted": number(r["p_adjusted"], 2),
                    "pairs": r["n_pairs"],
                    "verdict": r["verdict"],
                }
                for r in self.table.to_pylist()
            ]
        )

    def plot(self) -> go.Figure:
        """The AUC of every score with its interval, that of every run, and what chance gives."""
        from queries.figures.initial import auc_by_score

        rows = self.table.to_pylist()
        several = len({r["role"] for r in rows}) > 1
        return auc_by_score(
            [{**r, "name": f"{r['role']}: {r['score']}" if several else r["score"]} for r in rows],
            [
                {**r, "name": f"{r['role']}: {r['score']}" if several else r["score"]}
                for r in self.per_run.to_pylist()
            ],
            "do scores at step 0 tell who gets the role?",
        )


@query(title="Do heads show before training that they will get a role?")
def lottery_predictors(
    archive: Archive,
    *,
    task: Task = "induction",
    role: RoleName = "induction",
    runs: Runs = ALL_RUNS,
    scores: Annotated[
        tuple[str, ...],
        Field(
            description="scores at step 0, by name or pattern, such as head.prefix_matching or k_composition*; default: all"
        ),
    ] = (),
    prompts: Prompts = "",
    least_logits: LeastLogits = LOGITS,
    least_attention: LeastAttention = ATTENTION,
    least_score: LeastScore = SCORE,
    confidence: Confidence = CONFIDENCE,
    **which: Unpack[Which],
) -> LotteryPredictors:
    """Scores of heads at step 0 against the roles of the same heads at the last checkpoint.

    Roles are those of `circuit_heads`. Heads are compared within a layer of a run, where a random init cannot tell
    them apart, and the null exchanges them there. Runs that share an init have the same heads to begin with: they
    count as one, and are exchanged together. `eval_set` is that of the role's repeated tokens.
    """
    selected = select_runs(archive, runs)
    choices = choose_scores(archive, selected, (task, role), prompts, which)
    readings = read_scores(archive, choices, "final", which)
    levels = Levels(least_logits, least_attention, least_score)
    judged = {name: judge(readings, r, levels) for name, r in choices.roles.items()}
    having = {name: choices.having(r) for name, r in choices.roles.items()}
    holders = find_holders(readings, judged, having, 1 - confidence)
    source = choices.by_score[choices.needed[0]].quantity.source
    trained = {run for mine in holders.values() for run, held in mine.items() if held.step > 0}
    if not trained:
        raise UsageError(
            "the last checkpoint of every run is step 0: there is no end to predict. `pathscope status` shows which checkpoints "
            "there are."
        )
    initial = read_initial_scores(
        archive, selected.only(trained), source, scores, with_suspect=which.get("with_suspect", False)
    )
    used = [run for run in in_order(selected, initial.run_ids) if run in trained]
    groups = init_groups(selected, used, initial.by_layer())
    kept = {name: {run: mine[run] for run in used if run in mine} for name, mine in holders.items()}
    table, per_run = _rows(selected, kept, initial, groups, confidence)
    only = table[0] if len(table) == 1 and table[0]["auc"] is not None else None
    known = only if only and only["low"] is not None else None
    n_inits = len(set(groups.values()))
    roles = [choices.by_score[s] for s in choices.needed]
    # shared seeds are taken into account here
    provenance = replace(
        Provenance.of(archive, [*roles, *initial.choices], readings.left_out), shared_seeds=()
    )
    return LotteryPredictors(
        sentence=scores_sentence(f"{'Roles' if role == 'all' else f'Role {role}'} (task {task})", table),
        table=pa.Table.from_pylist(table, schema=_TABLE),
        per_run=pa.Table.from_pylist(per_run, schema=_RUNS),
        task=task,
        n_runs=len({r["run"] for r in per_run if r["auc"] is not None}) or len(used),
        unit="AUC" if known else "",
        estimate=or_nan(known["auc"]) if known else math.nan,
        ci_low=or_nan(known["low"]) if known else math.nan,
        ci_high=or_nan(known["high"]) if known else math.nan,
        ci_level=confidence,
        ci_method=METHOD if known else "",
        null_name="heads exchanged within layers" if only else "",
        null_mean=or_nan(only["null_mean"]) if only else math.nan,
        null_sd=or_nan(only["null_sd"]) if only else math.nan,
        p_value=or_nan(only["p"]) if only else math.nan,
        mde=or_nan(only["detectable"]) if only else math.nan,
        verdict=any_verdict(table),
        limits=(
            *provenance.limits,
            *choices.limits,
            *readings.left_out.limits,
            *shared_note(groups),
            *child_limits(children(selected, used)),
            *rule_limits(choices.roles, levels),
            *error_limits(readings, choices.needed),
            *lottery_limits(
                selected, per_run, initial, trained - set(used), len({selected.groups[r] for r in used})
            ),
            *auc_limits(table, n_inits),
        ),
        provenance=provenance,
        sql=initial.sql,
    )


def _rows(
    selected: Selected,
    holders: Mapping[str, Mapping[int, Holders]],
    initial: InitialScores,
    groups: Mapping[int, int],
    level: float,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row per role and score, the smallest p first, and one per run for each."""
    table: list[dict[str, Any]] = []
    per_run: list[dict[str, Any]] = []
    n_tests = max(1, len(holders) * len(initial.by_name))
    for role, mine in holders.items():
        for score, by_head in initial.by_name.items():
            strata = [s for run in mine for s in _strata(mine[run], groups[run], by_head.get(run, {}))]
            found = separation(strata, groups, level=level, n_tests=n_tests)
            table.append({"role": role, "score": score, **auc_columns(found, strata, "layers")})
            per_run += [
                {
                    "run": selected.by_id[run].run,
                    "init": groups[run],
                    "role": role,
                    "score": score,
                    "auc": found.by_run.get(run) if found else None,
                    "n_with": sum(mine[run].sizes),
                    "n_without": sum(mine[run].n_heads) - sum(mine[run].sizes) - mine[run].n_open,
                    "n_open": mine[run].n_open,
                }
                for run in mine
                if run in by_head
            ]
    corrected = holm(np.array([or_nan(r["p"]) for r in table]))
    for row, p in zip(table, corrected.tolist(), strict=True):
        row["p_adjusted"] = finite_or_none(p)
        row["verdict"] = (
            relation_verdict(
                p, or_nan(row["low"]), or_nan(row["high"]), row["n_inits"], children(selected, groups)
            )
            if row["auc"] is not None
            else "unresolved"
        )
    return sorted(table, key=lambda r: (r["p"] is None, r["p"], r["role"], r["score"])), per_run


def _strata(held: Holders, init: int, scores: Mapping[int, Mapping[int, float]]) -> list[Stratum]:
    """One per layer; layers of the same number and size of runs of one init are exchanged together."""
    found = []
    for layer, n in enumerate(held.n_heads):
        has = np.array([head in held.having[layer] for head in range(n)], dtype=np.bool_)
        is_open = np.array([head in held.undecided[layer] for head in range(n)], dtype=np.bool_)
        known = scores.get(layer, {})
        values = np.array([known.get(head, math.nan) for head in range(n)])
        found.append(Stratum(held.run_id, (init, layer, n), values, has, ~has & ~is_open))
    return found
