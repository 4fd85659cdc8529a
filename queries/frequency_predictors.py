"""Whether the spectrum of the initial weights tells which frequencies a run ends with, and which seed decides them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.store import Archive
from queries.events.event_times import finite_or_none
from queries.events.shared_choices import SEEDS, shared_choices
from queries.key_frequency_history import Rule
from queries.parameters import IntervalLevel
from queries.reading.init_groups import children, init_groups, shared_note
from queries.reading.initial_spectra import InitialSpectra, read_spectra
from queries.reading.quantities import Which
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.registry import query
from queries.results import Answer, Provenance
from queries.stats.choice_shares import choice_shares
from queries.stats.multiple import holm
from queries.stats.relabelling import relabellings
from queries.stats.stratified_auc import METHOD, Stratum, separation
from queries.wording.circuits import or_nan
from queries.wording.frequencies import frequency_limits, shares_in_words
from queries.wording.initial import (
    any_verdict,
    auc_columns,
    auc_limits,
    child_limits,
    relation_verdict,
    scores_sentence,
)

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_TABLE = pa.schema(
    [
        ("score", _TEXT),
        *((name, _REAL) for name in ("auc", "low", "high", "p", "p_adjusted")),
        *((name, _WHOLE) for name in ("n_inits", "n_runs", "n_pairs")),
        *(
            (name, _REAL)
            for name in ("null_mean", "null_sd", "null_low", "null_high", "least_p", "detectable")
        ),
        ("exact", pa.bool_()),
        *((name, _TEXT) for name in ("verdict", "why")),
    ]
)
_SHARES = pa.schema(
    [
        ("seed", _TEXT),
        *((name, _REAL) for name in ("variance_share", "low", "high")),
        *((name, _WHOLE) for name in ("n_same", "n_other")),
        *((name, _REAL) for name in ("agreement", "by_chance", "null_low", "null_high", "p")),
    ]
)
_RUNS = pa.schema(
    [
        ("run", _TEXT),
        ("init", _WHOLE),
        ("score", _TEXT),
        ("auc", _REAL),
        ("frequencies", _TEXT),
        ("n_options", _WHOLE),
        ("why", _TEXT),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class FrequencyPredictors(Answer):
    """Strengths of frequencies at step 0 as predictors of those that are key at the end.

    table: per spectrum (score: W_E, W_L, logits) the AUC (probability that a final key frequency was stronger at step 0 than
    another of its run; 0.5: no relation), its interval over inits, p (two-sided, frequencies of an init relabelled as
    multiplying all inputs does), p_adjusted (Holm over spectra), inits, runs and pairs it rests on, null_*, least_p,
    detectable (distance from 0.5 that would be found with 80 % probability), exact, verdict, and why there is no AUC.
    shares: per seed that some runs share variance_share (of the choice, 0 to 1) with its interval, from n_same pairs of runs
    that have this seed alone in common and n_other that have none; agreement (share of frequencies that pairs with the seed
    in common both chose) with by_chance, null_low, null_high and one-sided p of seeds permuted among runs alike in all else.
    per_run: AUC and final frequencies of each run, the number of its init, and why a run is not used.
    """

    shares: pa.Table
    per_run: pa.Table
    label: str

    def plot(self) -> go.Figure:
        """The AUC of every spectrum with its interval, that of every run, and what chance gives."""
        from queries.figures.initial import auc_by_score

        return auc_by_score(
            [{**r, "name": r["score"]} for r in self.table.to_pylist()],
            [{**r, "name": r["score"]} for r in self.per_run.to_pylist()],
            f"do strengths at step 0 tell {self.label}?",
        )


@query(title="Does the initial spectrum tell which frequencies a run will use, or does a seed?")
def frequency_predictors(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    rule: Annotated[Rule, Field(description="what makes a frequency key; see `key_frequencies`")] = "W_L",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> FrequencyPredictors:
    """Strength of every frequency at step 0 against the key frequencies at the last checkpoint, and what seeds decide.

    Frequencies are compared within a run. Runs that share an init have one spectrum to begin with and count as one.
    Runs that end with more than half of all frequencies have chosen none and are left out.
    """
    selected = select_runs(archive, runs)
    read = read_spectra(archive, selected, rule, which)
    keys, strengths = read.choices
    listed = in_order(keys.selected, read.by_run)
    used = [run for run in listed if not read.by_run[run].why]
    at_zero = {
        run: {k: v[:, None] for k, v in enumerate(read.by_run[run].strengths.values())} for run in listed
    }
    groups = init_groups(keys.selected, listed, at_zero)
    by_run = {run: read.by_run[run] for run in used}
    later = children(keys.selected, used)
    matrices = sorted({m for s in read.by_run.values() for m in s.strengths})
    table, aucs = _rows(by_run, groups, matrices, later, confidence)
    shares = _shares(keys.selected, by_run, confidence)
    counted = [run for run in used if by_run[run].strengths]
    n_inits = len({groups[run] for run in counted})
    only = table[0] if len(table) == 1 and table[0]["auc"] is not None else None
    known = only if only and only["low"] is not None else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, read.choices, read.left_out), shared_seeds=())
    return FrequencyPredictors(
        sentence=scores_sentence(f"Final frequencies by {rule}", table)[:-1] + shares_in_words(shares) + ".",
        table=pa.Table.from_pylist(table, schema=_TABLE),
        shares=pa.Table.from_pylist(shares, schema=_SHARES),
        per_run=pa.Table.from_pylist(
            _run_rows(keys.selected, read.by_run, listed, groups, aucs), schema=_RUNS
        ),
        label=f"key frequencies by {rule}",
        n_runs=len(used),
        unit="AUC" if known else "",
        estimate=or_nan(known["auc"]) if known else math.nan,
        ci_low=or_nan(known["low"]) if known else math.nan,
        ci_high=or_nan(known["high"]) if known else math.nan,
        ci_level=confidence,
        ci_method=METHOD if known else "",
        null_name="frequencies relabelled" if only else "",
        null_mean=or_nan(only["null_mean"]) if only else math.nan,
        null_sd=or_nan(only["null_sd"]) if only else math.nan,
        p_value=or_nan(only["p"]) if only else math.nan,
        mde=or_nan(only["detectable"]) if only else math.nan,
        verdict=any_verdict(table),
        limits=(
            *provenance.limits,
            *keys.notes,
            *strengths.notes,
            *read.left_out.limits,
            *shared_note({run: groups[run] for run in counted}),
            *child_limits(later),
            *frequency_limits(keys.selected, read.by_run, shares, rule),
            *auc_limits(table, n_inits),
        ),
        provenance=provenance,
        sql=read.sql,
    )


def _rows(
    by_run: Mapping[int, InitialSpectra],
    groups: Mapping[int, int],
    matrices: Sequence[str],
    later: Sequence[str],
    level: float,
) -> tuple[list[dict[str, Any]], dict[tuple[int, str], float]]:
    """A row per spectrum, and the AUC of each run."""
    table: list[dict[str, Any]] = []
    aucs: dict[tuple[int, str], float] = {}
    for matrix in matrices:
        strata = [
            Stratum(run, (groups[run], len(s.key)), s.strengths[matrix], s.key, ~s.key)
            for run, s in by_run.items()
            if len(s.strengths.get(matrix, ())) == len(s.key)
        ]
        moves = {s.cluster: relabellings(len(s.has)) for s in strata}
        found = separation(strata, groups, moves=moves, level=level, n_tests=len(matrices))
        table.append({"score": matrix, **auc_columns(found, strata, "runs")})
        aucs |= {(run, matrix): auc for run, auc in (found.by_run if found else {}).items()}
    corrected = holm(np.array([or_nan(r["p"]) for r in table]))
    for row, p in zip(table, corrected.tolist(), strict=True):
        row["p_adjusted"] = finite_or_none(p)
        row["verdict"] = relation_verdict(p, or_nan(row["low"]), or_nan(row["high"]), row["n_inits"], later)
    return table, aucs


def _shares(selected: Selected, by_run: Mapping[int, InitialSpectra], level: float) -> list[dict[str, Any]]:
    """A row per seed that some but not all runs share."""
    chosen = {run: s.chosen for run, s in by_run.items()}
    agreed = {r["same"]: r for r in shared_choices(selected, chosen, level).to_pylist()}
    rows = [selected.by_id[run] for run in by_run]
    seeds = {name: [getattr(row, field) for row in rows] for name, field in SEEDS.items()}
    known = {name: values for name, values in seeds.items() if None not in values}
    strata = [(selected.groups[run], len(s.key)) for run, s in by_run.items()]
    found = choice_shares(list(chosen.values()), known, strata, level)
    return [
        {
            "seed": name,
            **(
                {
                    "variance_share": found[name].share,
                    "low": finite_or_none(found[name].low),
                    "high": finite_or_none(found[name].high),
                    "n_same": found[name].n_same,
                    "n_other": found[name].n_other,
                }
                if name in found
                else {}
            ),
            **(
                {
                    "agreement": agreed[name]["share"],
                    "by_chance": agreed[name]["null_share"],
                    **{k: agreed[name][k] for k in ("null_low", "null_high", "p")},
                }
                if name in agreed
                else {}
            ),
        }
        for name in SEEDS
        if name in found or name in agreed
    ]


def _run_rows(
    selected: Selected,
    by_run: Mapping[int, InitialSpectra],
    listed: Sequence[int],
    groups: Mapping[int, int],
    aucs: Mapping[tuple[int, str], float],
) -> list[dict[str, Any]]:
    return [
        {
            "run": selected.by_id[run].run,
            "init": groups[run],
            "score": matrix,
            "auc": aucs.get((run, matrix)),
            "frequencies": " ".join(map(str, by_run[run].chosen)),
            "n_options": len(by_run[run].key),
            "why": by_run[run].why or ("" if by_run[run].strengths else "no spectrum at step 0"),
        }
        for run in listed
        for matrix in by_run[run].strengths or [""]
    ]
