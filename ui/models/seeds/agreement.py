"""One number per pair of runs, and its mean over pairs with an interval over runs, whatever query it comes from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import pyarrow as pa

from archive.errors import UsageError
from archive.store import Archive
from queries.match_heads import match_heads
from queries.match_neurons import match_neurons
from queries.output_agreement import output_agreement
from queries.reading.select import RunSelection
from queries.representation_similarity import representation_similarity
from queries.results import Answer
from ui.models.component_sets import which_of
from ui.models.conditions import condition_labels
from ui.models.numbers import or_nan, or_none
from ui.models.seeds.page import CKA, HEADS, JS, KL, NEURONS, RANK, TOP, Kind, SeedRun
from ui.models.text import number, plural

# of what `output_agreement` gives: the column
_COLUMNS = {JS: "js", KL: "kl_ab", TOP: "top1", RANK: "spearman"}
UNITS: Mapping[str, str] = {JS: "nats", KL: "nats", TOP: "share of tokens"}
MEANINGS: Mapping[str, str] = {
    JS: "Jensen–Shannon divergence of next-token distributions, mean over tokens; 0: the same, ln 2 = 0.693: nothing in common.",
    KL: "Kullback–Leibler divergence of the column's run from the row's, mean over tokens; 0: the same.",
    TOP: "Share of tokens where both think the same token most likely.",
    RANK: "Rank correlation of the losses of the same tokens; 1: what is hard for one is hard for the other.",
    CKA: "Unbiased CKA of layers at equal relative depth, mean over layers; 1: the same up to rotation and scale, 0: unrelated.",
    HEADS: "Correlation of the profiles of matched heads, less what matching heads with nothing in common gives.",
    NEURONS: "Correlation of each neuron of the row's run with its best match in the column's, less that of a rotated basis.",
}
YARDSTICKS: Mapping[str, str] = {
    JS: "at shuffled places",
    TOP: "by habit alone",
    CKA: "layers at other depths",
    HEADS: "nothing in common",
    NEURONS: "a basis at random",
}
_STARTS = {"shared": "init shared", "not shared": "init not shared"}
DIVERGENCES = (JS, KL)
DIRECTED = (KL, NEURONS)


@dataclass(frozen=True)
class PairValue:
    """Two runs side by side: the number (NaN where there is none) and what else is said of it on hover."""

    run_a: str
    run_b: str
    value: float
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mean:
    """Over the pairs of two conditions: mean with its interval over runs (NaN: none), and the yardstick."""

    group_a: str
    group_b: str
    note: str
    n_runs: int
    n_pairs: int
    mean: float
    low: float
    high: float
    null: float

    @property
    def group(self) -> str:
        """What the pairs are of: one condition, or two."""
        groups = self.group_a if self.group_a == self.group_b else f"{self.group_a} × {self.group_b}"
        return ", ".join(words for words in (groups, self.note) if words)


@dataclass(frozen=True)
class Agreement:
    """How alike pairs of runs are at one step, and where that comes from."""

    step: int
    pairs: tuple[PairValue, ...]
    means: tuple[Mean, ...]
    level: float
    method: str
    sentence: str
    limits: tuple[str, ...]
    python: str
    sql: str
    n_runs: int


def agreement_at(
    archive: Archive, *, selection: RunSelection, kind: Kind, step: int, suspect: bool
) -> Agreement:
    """The pairs of a kind at one step; raises what its query does."""
    which = which_of(kind.known, suspect=suspect)
    answer: Answer
    if kind.label in _COLUMNS:
        outputs = output_agreement(archive, runs=selection, step=step, by=kind.by, **which)
        answer, pairs = outputs, _outputs(kind.label, outputs.table)
        means = _means_of_outputs(kind.label, outputs.summary)
    elif kind.label == CKA:
        layers = representation_similarity(archive, runs=selection, step=step, **which)
        answer, pairs, means = layers, _layers(layers.pairs), _means_of_layers(layers.summary)
    elif kind.label == HEADS:
        # all eval sets together are a head's profile; heads of one number would be another number than matched ones
        heads = match_heads(archive, runs=selection, step=step, align="matched", with_suspect=suspect)
        answer, pairs = heads, _excess(heads.pairs, "matched heads correlate", "of matching unlike heads")
        means = _means_of_matches(heads.summary)
    else:
        neurons = match_neurons(archive, runs=selection, step=step, **which)
        answer, pairs = neurons, _excess(neurons.pairs, "best matches correlate", "with a basis at random")
        means = _means_of_matches(neurons.summary)
    return Agreement(
        step=step,
        pairs=tuple(p for p in pairs if p.run_a != p.run_b),
        means=tuple(means),
        level=answer.ci_level,
        method=answer.ci_method,
        sentence=answer.sentence,
        limits=answer.limits,
        python=answer.python,
        sql=answer.sql,
        n_runs=answer.n_runs,
    )


def agreement_over(
    archive: Archive, *, selection: RunSelection, kind: Kind, steps: Sequence[int], suspect: bool
) -> tuple[list[Agreement], list[str]]:
    """The same at every step, and what is to be said of steps that have no answer."""
    found, refused = [], []
    for step in steps:
        try:
            found.append(agreement_at(archive, selection=selection, kind=kind, step=step, suspect=suspect))
        except UsageError as error:
            refused.append(f"Step {step:,} has no answer: {error}")
    return found, refused


def values_table(kind: Kind, found: Sequence[Agreement], runs: Sequence[SeedRun]) -> pa.Table:
    """Every pair at every step, with what the two runs share."""
    known = {r.run: r for r in runs}
    rows = [
        {
            "run_a": p.run_a,
            "run_b": p.run_b,
            "step": at.step,
            "by": kind.label,
            "eval_set": kind.known.eval_set,
            "value": None if math.isnan(p.value) else p.value,
            "share": sharing(known[p.run_a], known[p.run_b]),
        }
        for at in found
        for p in at.pairs
    ]
    words = [(name, pa.string()) for name in ("by", "eval_set")]
    runs_of = [(name, pa.string()) for name in ("run_a", "run_b")]
    return pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            [*runs_of, ("step", pa.int64()), *words, ("value", pa.float64()), ("share", pa.string())]
        ),
    )


def means_table(found: Agreement) -> pa.Table:
    """Means over pairs, a row a condition or two, with what tells them apart."""
    names = mean_names([found])
    rows = []
    for m in found.means:
        rows.append(
            {
                "pairs of": names[m.group],
                "n_runs": m.n_runs,
                "n_pairs": m.n_pairs,
                **{name: or_none(getattr(m, name)) for name in ("mean", "low", "high", "null")},
            }
        )
    return pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            [
                ("pairs of", pa.string()),
                *((name, pa.int64()) for name in ("n_runs", "n_pairs")),
                *((name, pa.float64()) for name in ("mean", "low", "high", "null")),
            ]
        ),
    )


def compared_in(found: Agreement, runs: Sequence[SeedRun]) -> list[SeedRun]:
    """The runs that are in any pair of an answer, in their order; others have nothing at that step."""
    there = {run for p in found.pairs for run in (p.run_a, p.run_b)}
    return [r for r in runs if r.run in there]


def mean_names(found: Sequence[Agreement]) -> dict[str, str]:
    """Short names of all pairs of conditions, by `Mean.group`, in the order in which they first appear."""
    means = [m for at in found for m in at.means]
    short = condition_labels([group for m in means for group in (m.group_a, m.group_b)])
    names = {}
    for m in means:
        one, other = short[m.group_a], short[m.group_b]
        groups = one if m.group_a == m.group_b else f"{one} × {other}"
        names[m.group] = ", ".join(words for words in (groups, m.note) if words) or "all pairs"
    return names


def mean_in_words(kind: Kind, found: Agreement) -> str:
    """The mean over all pairs, its interval, over how many runs."""
    if not found.means:
        n_pairs = sum(not math.isnan(p.value) for p in found.pairs)
        kinds = "ordered pairs" if kind.label in DIRECTED else "pairs"
        return f"{n_pairs} {kinds} of {plural(found.n_runs, 'run')}. No mean: the query has no interval over runs for it."
    if len(found.means) > 1:
        return f"Means over pairs within and between conditions, with {found.level:.0%} intervals over runs, not over pairs."
    (m,) = found.means
    unit = f" {UNITS[kind.label]}" if kind.label in UNITS else ""
    if math.isnan(m.mean):
        mean = "no mean: too many pairs are known between bounds only"
    else:
        mean = f"mean {number(_round(m.mean))}{unit}"
    if math.isfinite(m.low) and not math.isnan(m.mean):
        mean += f", {found.level:.0%} interval over runs {number(_round(m.low))} to {number(_round(m.high))}"
    elif not math.isnan(m.mean):
        mean += ", no interval over runs: it takes 3"
    null = ""
    if math.isfinite(m.null) and kind.label in YARDSTICKS:
        null = f"; {YARDSTICKS[kind.label]} {number(_round(m.null))}"
    return f"{m.n_pairs} pairs of {m.n_runs} runs: {mean}{null}."


def sharing(a: SeedRun, b: SeedRun) -> str:
    """Which seeds two runs of one condition have in common, in words; "other condition" where that differs."""
    if a.group != b.group:
        return "other condition"
    same = [
        name
        for name, one, other in (("init", a.init, b.init), ("data order", a.order, b.order))
        if one is not None and one == other
    ]
    return f"same {' and '.join(same)}" if same else "no seed in common"


def shares_of(runs: Sequence[SeedRun]) -> list[str]:
    """Every way in which two of these runs share seeds, the closest first; one where nothing is crossed."""
    order = (
        "same init and data order",
        "same init",
        "same data order",
        "no seed in common",
        "other condition",
    )
    there = {sharing(a, b) for a, b in combinations(runs, 2)}
    return [words for words in order if words in there]


def extremes(found: Agreement, kind: Kind) -> tuple[PairValue, PairValue] | None:
    """(most alike, least alike) of the pairs with a number; None where there are none."""
    known = sorted((p for p in found.pairs if math.isfinite(p.value)), key=lambda p: p.value)
    if not known:
        return None
    return (known[0], known[-1]) if kind.label in DIVERGENCES else (known[-1], known[0])


def _outputs(label: str, table: pa.Table) -> list[PairValue]:
    found = []
    for r in table.to_pylist():
        told = []
        if label == JS and r["js_low"] is not None:
            if r["js_low"] != r["js_high"]:
                told.append(
                    f"between {number(r['js_low'])} and {number(r['js_high'])}, from lists of likely tokens"
                )
            if r["js_ci_low"] is not None and math.isfinite(r["js_ci_low"]):
                told.append(f"95% over documents {number(r['js_ci_low'])} to {number(r['js_ci_high'])}")
        if label == KL and r["kl_ab"] is not None:
            if r["outputs"] != "all":
                told.append("the least it can be, from lists of likely tokens")
            if r["kl_ab_trimmed"] is not None:
                told.append(f"without the highest 1% of tokens {number(r['kl_ab_trimmed'])}")
        if label in (TOP, RANK) and r[f"{_COLUMNS[label]}_low"] is not None:
            low, high = (r[f"{_COLUMNS[label]}_{end}"] for end in ("low", "high"))
            told.append(f"95% over documents {number(low)} to {number(high)}")
        if r["n_tokens"] is not None:
            told.append(f"{r['n_tokens']:,} tokens")
        found.append(PairValue(r["run_a"], r["run_b"], or_nan(r[_COLUMNS[label]]), tuple(told)))
        if label == KL:
            trimmed = r["kl_ba_trimmed"]
            back = [f"without the highest 1% of tokens {number(trimmed)}"] if trimmed is not None else []
            found.append(PairValue(r["run_b"], r["run_a"], or_nan(r["kl_ba"]), tuple(back)))
    return found


def _means_of_outputs(label: str, summary: pa.Table | None) -> list[Mean]:
    rows = summary.to_pylist() if summary is not None else []
    return [_mean(r, r["mean"], r["null"]) for r in rows if r["statistic"] == _COLUMNS[label]]


def _layers(pairs: pa.Table) -> list[PairValue]:
    found = []
    for r in pairs.to_pylist():
        told = []
        if r["other_depth"] is not None:
            told.append(f"layers at other depths {number(r['other_depth'])}")
        if r["first_same_depth"] is not None:
            told.append(f"at their first checkpoints {number(r['first_same_depth'])}")
        if r["n_unknown"]:
            told.append(f"{r['n_unknown']} pairs of layers have no number")
        found.append(PairValue(r["run_a"], r["run_b"], or_nan(r["same_depth"]), tuple(told)))
    return found


def _means_of_layers(summary: pa.Table | None) -> list[Mean]:
    rows = summary.to_pylist() if summary is not None else []
    known = [r for r in rows if r["start"] != "one run"]
    return [_mean(r, r["same_depth"], r["other_depth"], _STARTS.get(r["start"], "")) for r in known]


def _excess(pairs: pa.Table, words: str, null: str) -> list[PairValue]:
    return [
        PairValue(
            r["run_a"],
            r["run_b"],
            or_nan(r["excess"]),
            (f"{words} by {number(or_nan(r['similarity']))}, {number(or_nan(r['null_mean']))} {null}",),
        )
        for r in pairs.to_pylist()
    ]


def _means_of_matches(summary: pa.Table | None) -> list[Mean]:
    rows = summary.to_pylist() if summary is not None else []
    # they are excesses: what has nothing in common is at 0
    return [
        _mean(
            {**r, "group_a": "", "group_b": ""},
            r["excess"],
            0.0,
            _STARTS.get(r.get("start", ""), ""),
        )
        for r in rows
        if r.get("start") != "one run"
    ]


def _mean(row: Mapping[str, Any], mean: float | None, null: float | None, note: str = "") -> Mean:
    return Mean(
        row["group_a"],
        row["group_b"],
        note,
        row["n_runs"],
        row["n_pairs"],
        *(or_nan(x) for x in (mean, row["low"], row["high"], null)),
    )


def _round(value: float) -> float:
    return float(f"{value:.3g}")
