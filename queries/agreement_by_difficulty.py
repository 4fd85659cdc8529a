"""Whether repeated runs agree on easy tokens and not on hard ones: the path-dependence index by class of difficulty."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import Step, find_left_outs, pick_checkpoints
from queries.reading.class_agreement import agreement_of_tops
from queries.reading.delta_tables import table_of
from queries.reading.predictions import Predictions, read_predictions
from queries.reading.quantities import Choice, Quantity, Want, Which, choose_quantities
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.reading.token_outputs import Outputs, read_lists, read_losses
from queries.reading.units import Units, units_by_group, units_limits
from queries.registry import query
from queries.results import Answer, Provenance, Verdict
from queries.stats.index_slope import (
    METHOD,
    SEEDS_METHOD,
    IndexSlope,
    finer_strata,
    index_slope,
    without_trend,
)
from queries.stats.multiple import holm
from queries.stats.output_divergence import Lists
from queries.stats.path_index import path_index, strata_of
from queries.wording.agreement import SURPRISALS, absent_limits, difficulty_limits, difficulty_sentence

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_RUNS = 16
# classes of difficulty within each class, so that what tokens of one class differ in difficulty is not taken for agreement
FINER = 10
# a rise of the index from the easiest to the hardest class that is surely smaller than this is called none
NEGLIGIBLE = 0.05

_LOSS = Want(("token_loss",), ("fact_token",))
_TOP = Want(("token_top",), ("fact_token_top",))
_REALS = (
    *("difficulty_from", "difficulty_to", "index", "low", "high", "null_sd", "sd", "loss"),
    *("top1", "top1_chance", "kappa", "kappa_low", "kappa_high"),
    *("both_wrong", "same_wrong", "same_wrong_low", "same_wrong_high", "wrong_chance"),
    *("js", "js_low", "js_high"),
)
_TABLE = pa.schema(
    [
        ("group", pa.string()),
        ("stratum", pa.int64()),
        *((name, pa.float64()) for name in _REALS),
        *((name, pa.int64()) for name in ("n_runs", "n_tokens", "n_documents")),
    ]
)
_SUMMARY = pa.schema(
    [
        ("group", pa.string()),
        ("n_runs", pa.int64()),
        ("n_units", pa.int64()),
        ("unit", pa.string()),
        *((name, pa.float64()) for name in ("slope", "low", "high", "p", "p_adjusted", "mde", "rise")),
        *(
            (name, pa.float64())
            for name in ("easiest", "hardest", "coarser", "without_least", "without_most")
        ),
        ("verdict", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AgreementByDifficulty(Answer):
    """Agreement of repeated runs per class of external difficulty, the easiest first.

    table: per group and stratum (1 = easiest) between which difficulties it lies (nats), the path-dependence index with its
    interval low, high and null_sd (of the index around 1 were tokens exchanged), sd (mean over tokens of the standard deviation
    of the loss over runs), mean loss; where token_top is stored, means over pairs of runs: top1 (share of tokens with the same
    most likely token), top1_chance, kappa with its interval; both_wrong (share of tokens), same_wrong (of those, the same wrong
    token) with its interval, wrong_chance (the same were both to draw from their own wrong tokens); js_low, js_high: bounds
    of the divergence in nats, js their middle where they are close. summary: per group its n_runs, n_units of which share no
    seed (`unit`), and the slope of the index per class with its interval, p, p_adjusted (Holm, over groups), mde, rise (from the
    easiest to the hardest along the line), easiest, hardest (indices), coarser (the slope without finer classes),
    without_least and without_most (the slope without one run).
    """

    difficulty: str

    def plot(self) -> go.Figure:
        """The index of every class with its interval, and kappa where there is one."""
        from queries.figures.agreement import by_difficulty

        return by_difficulty(self)


@dataclass(frozen=True)
class _Objects:
    """The predictions that are compared: (item,) each, losses by run_id, and what their difficulty is."""

    keys: Ints
    documents: Ints
    hardness: Floats
    right: Ints
    losses: Mapping[int, Floats]
    source: str
    n_unknown: int


@query(title="Do repeated runs agree on the easy tokens and not on the hard ones?")
def agreement_by_difficulty(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    step: Step = "final",
    difficulty: Annotated[
        str,
        Field(
            pattern="^(auto|bigram|unigram|run:.+)$",
            description="bigram or unigram surprisal, auto = the first there is, or run:NAME = loss of a run outside the group "
            "(a pattern: mean loss of several)",
        ),
    ] = "auto",
    strata: Annotated[int, Field(ge=2, le=100, description="classes of difficulty of equal size")] = 10,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> AgreementByDifficulty:
    """The path-dependence index of runs of one condition by class of difficulty, and whether it rises.

    Verdict yes: the slope is above 0, so they agree less on harder tokens beyond what hardness gives by itself; no: it is
    not, or the index surely rises by less than 0.05 in all. Difficulty never comes from the runs of the group: tokens they
    all find easy have no room to disagree. Likely tokens add agreement beyond chance, also where both are wrong.
    """
    selected = select_runs(archive, runs)
    outside = _outside(archive, selected, difficulty)
    asked = _joined(selected, outside)
    loss, top = _choices(archive, asked, which)
    used = [choice for choice in (loss, top) if choice]
    left_out = find_left_outs(archive, used, which)
    picked = pick_checkpoints(archive, loss.selected, loss.quantity, left_out, step)
    easy = [run for run in picked.at if outside and run in outside.by_id]
    ordered = [run for run in in_order(loss.selected, picked.at) if run not in easy]
    groups = _groups(loss.selected, ordered, easy)
    compared = [run for members in groups.values() for run in members]
    losses, sql = read_losses(archive, loss, picked.at)
    objects = _objects(archive, loss.quantity, losses, compared, easy, difficulty, strata)
    lists: dict[int, Outputs[Lists]] = {}
    if top:
        lists, _ = read_lists(archive, top, {run: picked.at[run] for run in compared})
    classes = strata_of(objects.hardness, strata)
    units = units_by_group(loss.selected, compared)
    rows: list[dict[str, Any]] = []
    slopes = {}
    for name, one in units.items():
        slopes[name] = _slope(objects, one, classes, FINER, confidence)
        rows += _rows(name, one, objects, classes, lists, confidence)
    summary = _summary(units, slopes, objects, classes, confidence)
    only = summary[0] if len(summary) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, used, left_out), shared_seeds=())
    return AgreementByDifficulty(
        sentence=difficulty_sentence(summary, objects.source, picked, confidence),
        table=table_of(rows, _TABLE),
        summary=table_of(summary, _SUMMARY),
        difficulty=objects.source,
        n_runs=len(compared),
        n_items=len(objects.keys),
        unit="index per class",
        estimate=only["slope"] if only else math.nan,
        ci_low=only["low"] if only else math.nan,
        ci_high=only["high"] if only else math.nan,
        ci_level=confidence,
        ci_method=(METHOD if only["unit"] == "run" else SEEDS_METHOD)
        if only and math.isfinite(only["low"])
        else "",
        null_name="the same index in every class",
        null_mean=0.0,
        p_value=only["p"] if only else math.nan,
        mde=only["mde"] if only else math.nan,
        verdict=only["verdict"] if only else None,
        limits=(
            *provenance.limits,
            *dict.fromkeys(note for choice in used for note in choice.notes),
            *left_out.limits,
            *units_limits(units, ""),
            *([] if lists else ["No token_top there: agreement on the most likely token is not known."]),
            *absent_limits(loss.selected, picked, ordered, compared),
            *difficulty_limits(
                summary,
                source=objects.source,
                n_unknown=objects.n_unknown,
                steps=picked.steps,
                strata=(strata, int(classes.max()) + 1),
                same_condition=sorted(
                    {loss.selected.by_id[r].run for r in easy if loss.selected.groups[r] in groups}
                ),
            ),
        ),
        provenance=provenance,
        sql=sql,
    )


def _outside(archive: Archive, selected: Selected, difficulty: str) -> Selected | None:
    """Runs that say what is hard; raises NotComparable for one of a group that is asked about."""
    if not difficulty.startswith("run:"):
        return None
    outside = select_runs(archive, difficulty.removeprefix("run:"))
    groups = list(selected.groups.values())
    for run in outside.runs:
        group = selected.groups.get(run.run_id)
        if group is not None and groups.count(group) > 1:
            raise NotComparable(
                f"difficulty={difficulty!r}: {run.run} is one of the runs of {group}, which would make what they agree on easy. "
                "Name a run of another condition, or leave it out of --runs."
            )
    return outside


def _joined(selected: Selected, outside: Selected | None) -> Selected:
    if outside is None:
        return selected
    new = [run for run in outside.runs if run.run_id not in selected.by_id]
    return Selected((*selected.runs, *new), selected.excluded)


def _choices(archive: Archive, selected: Selected, which: Which) -> tuple[Choice, Choice | None]:
    """Losses, which must be there, and lists of likely tokens on the same eval set, which may be."""
    loss, top = choose_quantities(archive, selected, [_LOSS, _TOP], which)
    if not isinstance(loss, Choice):
        raise loss
    encoding = loss.quantity.encoding_hash
    if isinstance(top, NotComparable) or (isinstance(top, Choice) and top.quantity.encoding_hash != encoding):
        here = Want(_TOP.measures, _TOP.tables, fits=partial(_in_encoding, encoding))
        (top,) = choose_quantities(archive, selected, [here], which)
    return loss, top if isinstance(top, Choice) else None


def _in_encoding(encoding_hash: str, quantity: Quantity) -> bool:
    return quantity.encoding_hash == encoding_hash


def _groups(selected: Selected, ordered: Sequence[int], easy: Sequence[int]) -> dict[str, list[int]]:
    """Runs by what they repeat, at least two of each; raises UsageError where nothing is repeated."""
    found: dict[str, list[int]] = {}
    for run in ordered:
        found.setdefault(selected.groups[run], []).append(run)
    groups = {name: members for name, members in found.items() if len(members) > 1}
    n = sum(len(members) for members in groups.values())
    if n > MOST_RUNS:
        raise UsageError(
            f"{n} runs have token_loss there; at most {MOST_RUNS} are compared: choose with --runs."
        )
    if groups:
        return groups
    names = ", ".join(selected.by_id[run].run for run in [*ordered, *easy][:3])
    raise UsageError(
        f"none of these {len(ordered)} run(s) repeats another ({names}); agreement takes at least 2 runs of one condition, and 3 "
        "for a test. More seeds in the study's [seeds] give them."
    )


def _objects(
    archive: Archive,
    quantity: Quantity,
    losses: Mapping[int, Outputs[Floats]],
    compared: Sequence[int],
    easy: Sequence[int],
    difficulty: str,
    strata: int,
) -> _Objects:
    """What all runs have, with a known difficulty; raises UsageError where that is not known."""
    every = reduce(np.intersect1d, [losses[run].keys for run in (*compared, *easy)])
    facts = read_predictions(archive, quantity, every)
    source, hardness = _hardness(facts, losses, easy, every, difficulty)
    known = np.isfinite(hardness)
    if known.sum() < 2 * strata:
        raise UsageError(
            f"{int(known.sum())} of {len(every):,} predictions that these runs share have a known difficulty ({source}); "
            f"{strata} classes take at least {2 * strata}. --difficulty run:NAME takes the losses of a run outside the group, "
            "--strata N fewer classes."
        )
    keys = every[known]
    first = losses[compared[0]]
    return _Objects(
        keys,
        first.documents[np.searchsorted(first.keys, keys)],
        hardness[known],
        facts.token[known],
        {run: _at(losses[run], keys) for run in compared},
        source,
        int((~known).sum()),
    )


def _hardness(
    facts: Predictions, losses: Mapping[int, Outputs[Floats]], easy: Sequence[int], keys: Ints, wanted: str
) -> tuple[str, Floats]:
    if wanted.startswith("run:"):
        if not easy:
            raise UsageError(
                f"difficulty={wanted!r}: the run has no token_loss there on this eval set; step='final' takes its last one."
            )
        return wanted, np.mean([_at(losses[run], keys) for run in easy], axis=0)
    surprisals = {"bigram": facts.bigram, "unigram": facts.unigram}
    names = list(surprisals) if wanted == "auto" else [wanted]
    telling = [n for n in names if np.isfinite(surprisals[n]).any() and np.nanstd(surprisals[n]) > 0]
    chosen = telling[0] if telling else names[0]
    return SURPRISALS[chosen], surprisals[chosen]


def _at(outputs: Outputs[Floats], keys: Ints) -> Floats:
    found: Floats = outputs.values[np.searchsorted(outputs.keys, keys)]
    return found


def _slope(objects: _Objects, units: Units, classes: Ints, finer: int, level: float) -> IndexSlope:
    strata = finer_strata(objects.hardness, classes, finer)
    even = _even(objects, units.runs, classes)
    return index_slope(even, classes, strata, objects.documents, level, units.of())


def _even(objects: _Objects, members: Sequence[int], classes: Ints) -> Floats:
    """Losses (run, item) without what is difficulty within classes."""
    values = np.stack([objects.losses[run] for run in members])
    return without_trend(values, objects.hardness, classes)


def _rows(
    name: str,
    units: Units,
    objects: _Objects,
    classes: Ints,
    lists: Mapping[int, Outputs[Lists]],
    level: float,
) -> list[dict[str, Any]]:
    """One row a class."""
    members = units.runs
    values = np.stack([objects.losses[run] for run in members])
    even, strata = _even(objects, members, classes), finer_strata(objects.hardness, classes, FINER)
    tops = agreement_of_tops(lists, units, objects.keys, classes, objects.right, objects.documents, level)
    rows = []
    for k, columns in enumerate(tops):
        mine = classes == k
        found = path_index(even[:, mine], strata[mine], objects.documents[mine], level, units.of())
        rows.append(
            {
                "group": name,
                "stratum": k + 1,
                "difficulty_from": float(objects.hardness[mine].min()),
                "difficulty_to": float(objects.hardness[mine].max()),
                "index": found.pattern,
                "low": found.low,
                "high": found.high,
                "null_sd": found.null_sd,
                "sd": float(values[:, mine].std(0, ddof=1).mean()),
                "loss": float(values[:, mine].mean()),
                "n_runs": found.n_runs,
                "n_tokens": found.n_items,
                "n_documents": found.n_documents,
                **columns,
            }
        )
    return rows


def _summary(
    units: Mapping[str, Units],
    slopes: Mapping[str, IndexSlope],
    objects: _Objects,
    classes: Ints,
    level: float,
) -> list[dict[str, Any]]:
    adjusted = holm(np.array([slope.p for slope in slopes.values()]))
    rows = []
    for (name, slope), p in zip(slopes.items(), adjusted.tolist(), strict=True):
        coarser = _slope(objects, units[name], classes, 1, level)
        rows.append(
            {
                "group": name,
                "n_runs": len(units[name].runs),
                **units[name].columns(),
                **{key: getattr(slope, key) for key in ("slope", "low", "high", "p", "mde", "rise")},
                "p_adjusted": p,
                "easiest": float(slope.indices[0]),
                "hardest": float(slope.indices[-1]),
                "coarser": coarser.slope,
                "without_least": float(slope.without_runs.min()) if len(slope.without_runs) else None,
                "without_most": float(slope.without_runs.max()) if len(slope.without_runs) else None,
                "verdict": _verdict(slope, p, 1 - level),
            }
        )
    return rows


def _verdict(slope: IndexSlope, p_adjusted: float, alpha: float) -> Verdict:
    if not math.isfinite(slope.p):
        return "unresolved"
    if slope.low > 0 and p_adjusted < alpha:
        return "yes"
    most = slope.high * (len(slope.indices) - 1)
    return "no" if most < NEGLIGIBLE else "unresolved"
