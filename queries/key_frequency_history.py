"""Which frequencies a run computes with, since when, and whether runs choose alike."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.events.shared_choices import shared_choices, sharing_in_words
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import find_left_outs
from queries.reading.quantities import Choice, Want, Which, choose_quantities
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import in_order
from queries.reading.units import Units, among, apart_limits, pooled_units, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, readable_sql
from queries.stats.over_units import count_over_units
from queries.stats.permuted_choice import overlap_p, uniform_choice_p
from queries.stats.pooled_share import METHOD, pooled_share

Floats = NDArray[np.float64]
Rule = Literal["W_E", "W_L", "logits", "neurons"]

FEWEST_RUNS = 3
# whose strengths say how strong a frequency is; neurons are read out through W_L
STRENGTH_OF: Mapping[Rule, str] = {"W_E": "W_E", "W_L": "W_L", "logits": "logits", "neurons": "W_L"}

_SQL = """\
SELECT run_id, run, step, measure, "values" AS by_frequency
FROM v_vector
WHERE run_id IN (SELECT unnest($run_ids)) AND checkpoint_id NOT IN (SELECT unnest($left_out))
  AND (quantity_id = $keys AND part = $rule OR quantity_id = $strengths AND part = $matrix)
ORDER BY run_id, step, measure"""

_ROWS = pa.schema(
    [
        ("run", pa.string()),
        ("group", pa.string()),
        ("frequency", pa.int64()),
        ("first_step", pa.int64()),
        ("last_step", pa.int64()),
        ("final", pa.bool_()),
        ("since_step", pa.int64()),
        ("top_since", pa.int64()),
        ("n_checkpoints", pa.int64()),
        ("n_switches", pa.int64()),
        ("final_strength", pa.float64()),
        ("early_rank", pa.int64()),
    ]
)
_USED = pa.schema(
    [
        ("frequency", pa.int64()),
        *((name, pa.int64()) for name in ("n_runs", "n_units")),
        ("unit", pa.string()),
        ("share", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)


@dataclass(frozen=True)
class _History:
    """Key flags (checkpoint, frequency) of one run with their steps, and strengths by step."""

    steps: NDArray[np.int64]
    flags: NDArray[np.bool_]
    strengths: Mapping[int, Floats]

    @property
    def final(self) -> NDArray[np.int64]:
        """Indices of the frequencies that are key at the last checkpoint."""
        return np.flatnonzero(self.flags[-1])

    def early(self, step: int) -> Floats | None:
        """Strengths at the last checkpoint at or before `step`, without sign; None where there is none."""
        known = [s for s in self.strengths if s <= step]
        return np.abs(self.strengths[max(known)]) if known else None

    def top_since(self, frequency: int) -> int | None:
        """First step from which a frequency stays among as many strongest as are final; None without strengths or so."""
        steps = sorted(self.strengths)
        m = len(self.final)
        top = [frequency in np.argsort(-np.abs(self.strengths[s]), kind="stable")[:m] for s in steps]
        return _since(np.array(steps), np.array(top)) if top else None


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class KeyFrequencyHistory(Answer):
    """Key frequencies over training.

    table: per run and frequency that was ever key: first and last step at which it was, whether it is at the
    last checkpoint and since_step (without a pause), top_since (for a final one, of m: the first step from which
    it stayed among the m strongest), at how many checkpoints it was key, n_switches (how often it
    went from key to not, or back), its strength at the last checkpoint, early_rank (1 = strongest) at `early_step`.
    summary: per frequency in how many runs it is final, with the interval of that share over the n_units of all runs that share
    no seed (exact where every run is one).
    estimate: share of a run's m final frequencies that were among the m strongest at `early_step`, mean over
    runs; p_value against frequencies that do not depend on that order.
    p_uniform: of runs choosing uniformly, by how often they share frequencies. Both p are of runs of which no two share a seed.
    shared: per kind of seed that some runs share, how much of what such pairs could have in common they have,
    and the same with seeds permuted among runs that differ in nothing else (mean, 95 % range, one-sided p).
    """

    label: str
    p_uniform: float
    shared: pa.Table
    chance: float
    early_step: int

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """When each run used which frequency."""
        from queries.figures.progress import key_frequencies

        return key_frequencies(self, x_scale=x_scale)


@query(title="Which frequencies does each run settle on, since when, and do runs choose alike?")
def key_frequency_history(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    rule: Annotated[Rule, Field(description="what makes a frequency key; see `key_frequencies`")] = "W_L",
    early_step: Annotated[
        int,
        Field(ge=0, description="where to look whether final frequencies are already strongest; 0 = at init"),
    ] = 0,
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> KeyFrequencyHistory:
    """First and last step of every key frequency of every run, switches, and how alike runs choose.

    Frequencies count from 1; k and p − k are one. A run "uses" a frequency at a checkpoint if the rule says so there:
    before any has formed, rules name the largest of noise, so early entries come and go.
    """
    selected = select_runs(archive, runs)
    wants = [Want((name,), ("fact_vector",)) for name in ("key_frequencies", "fourier_norm")]
    keys, strengths = choose_quantities(archive, selected, wants, which)
    if not isinstance(keys, Choice):
        raise keys
    if isinstance(strengths, NotComparable):
        raise strengths
    choices = [c for c in (keys, strengths) if isinstance(c, Choice)]
    left_out = find_left_outs(archive, choices, which)
    parameters: dict[str, object] = {
        "run_ids": keys.selected.ids,
        "left_out": left_out.ids,
        "keys": keys.quantity.quantity_id,
        "rule": rule,
        "strengths": strengths.quantity.quantity_id if isinstance(strengths, Choice) else -1,
        "matrix": STRENGTH_OF[rule],
    }
    unsorted = _histories(archive.query(_SQL, parameters))
    found = {run: unsorted[run] for run in in_order(keys.selected, unsorted)}
    if not found:
        raise UsageError(
            f"no usable key frequencies by the rule {rule!r}; the rules are {', '.join(STRENGTH_OF)}."
        )
    n_options = next(iter(found.values())).flags.shape[1]
    pooled, units = pooled_units(keys.selected, found)
    overlaps = _overlaps(found, early_step)
    sizes = [m for _, m in overlaps.values()]
    mean, low, high = pooled_share([k for k, _ in overlaps.values()], sizes, confidence, units.of(overlaps))
    summary = _used(found, units, confidence)
    chosen = [run for run, h in found.items() if len(h.final)]
    p_uniform = uniform_choice_p([found[run].final.tolist() for run in units.apart(chosen)], n_options)
    shared = shared_choices(keys.selected, {run: h.final.tolist() for run, h in found.items()}, confidence)
    chance = float(np.mean(sizes)) / n_options if sizes else math.nan
    alone = [overlaps[run] for run in units.apart(overlaps)]
    enough = len(units.apart()) >= FEWEST_RUNS
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, choices, left_out), shared_seeds=())
    return KeyFrequencyHistory(
        sentence=_sentence(
            found, among(units.columns()), n_options, p_uniform, shared, (mean, low, high), chance, early_step
        ),
        table=_table(keys.selected, found, early_step),
        summary=summary,
        label=f"key frequencies by {rule}",
        p_uniform=p_uniform,
        shared=shared,
        chance=chance,
        early_step=early_step,
        n_runs=len(found),
        unit="share of final frequencies",
        estimate=mean if len(sizes) > 1 else math.nan,
        ci_low=low,
        ci_high=high,
        ci_level=confidence,
        ci_method=f"share already strongest at step {early_step:,}, {METHOD}" if len(sizes) > 1 else "",
        null_name="final frequencies unrelated to their early order" if sizes else "",
        null_mean=chance,
        p_value=overlap_p([k for k, _ in alone], [m for _, m in alone], n_options),
        verdict=None if enough else "unresolved",
        limits=(
            *provenance.limits,
            *keys.notes,
            *left_out.limits,
            *units_limits(pooled, "n_runs"),
            *apart_limits(keys.selected, pooled, "p and p_uniform"),
            *_limits(
                found,
                keys.selected,
                units,
                rule,
                isinstance(strengths, Choice),
                len(overlaps),
                early_step,
                shared,
            ),
        ),
        provenance=provenance,
        sql=readable_sql(_SQL, parameters),
    )


def _histories(rows: pa.Table) -> dict[int, _History]:
    """By run_id; rows are sorted by run and step."""
    flags: dict[int, list[tuple[int, Floats]]] = {}
    strengths: dict[int, dict[int, Floats]] = {}
    for row in rows.to_pylist():
        values = np.array(row["by_frequency"], float)
        if row["measure"] == "key_frequencies":
            flags.setdefault(row["run_id"], []).append((row["step"], values))
        else:
            strengths.setdefault(row["run_id"], {})[row["step"]] = values
    return {
        run: _History(
            np.array([step for step, _ in mine]),
            np.stack([values for _, values in mine]) > 0.5,
            strengths.get(run, {}),
        )
        for run, mine in flags.items()
    }


def _overlaps(found: Mapping[int, _History], step: int) -> dict[int, tuple[int, int]]:
    """Per run with strengths at `step`: how many of its m final frequencies were among the m strongest, and m."""
    overlaps = {}
    for run, history in found.items():
        early, final = history.early(step), history.final
        if early is None or not len(final):
            continue
        strongest = np.argsort(-early, kind="stable")[: len(final)]
        overlaps[run] = (len(set(strongest.tolist()) & set(final.tolist())), len(final))
    return overlaps


def _table(selected: Selected, found: Mapping[int, _History], early_step: int) -> pa.Table:
    rows = []
    for run, history in found.items():
        early = history.early(early_step)
        ranks = None if early is None else np.argsort(np.argsort(-early, kind="stable"), kind="stable") + 1
        last = history.strengths.get(int(history.steps[-1]))
        for k in np.flatnonzero(history.flags.any(axis=0)):
            used = history.flags[:, k]
            at = np.flatnonzero(used)
            rows.append(
                {
                    "run": selected.by_id[run].run,
                    "group": selected.groups[run],
                    "frequency": int(k) + 1,
                    "first_step": int(history.steps[at[0]]),
                    "last_step": int(history.steps[at[-1]]),
                    "final": bool(used[-1]),
                    "since_step": _since(history.steps, used),
                    "top_since": history.top_since(int(k)) if used[-1] else None,
                    "n_checkpoints": int(used.sum()),
                    "n_switches": int((used[at[0] + 1 :] != used[at[0] : -1]).sum()),
                    "final_strength": float(last[k]) if last is not None else None,
                    "early_rank": int(ranks[k]) if ranks is not None else None,
                }
            )
    return pa.Table.from_pylist(rows, schema=_ROWS)


def _since(steps: NDArray[np.int64], used: NDArray[np.bool_]) -> int | None:
    """First step from which a frequency is key at every checkpoint to the last; None where it is not at the last."""
    if not used[-1]:
        return None
    pauses = np.flatnonzero(~used)
    return int(steps[pauses[-1] + 1]) if len(pauses) else int(steps[0])


def _used(found: Mapping[int, _History], units: Units, level: float) -> pa.Table:
    counts = Counter(int(k) + 1 for history in found.values() for k in history.final)
    rows = []
    for frequency in sorted(counts, key=lambda k: (-counts[k], k)):
        having = [frequency - 1 in history.final for history in found.values()]
        low, high = count_over_units(having, units.of(), level)
        rows.append(
            {
                "frequency": frequency,
                "n_runs": counts[frequency],
                **units.columns(),
                "share": counts[frequency] / len(found),
                "low": low,
                "high": high,
            }
        )
    return pa.Table.from_pylist(rows, schema=_USED)


def _sentence(
    found: Mapping[int, _History],
    units: str,
    n_options: int,
    p_uniform: float,
    shared: pa.Table,
    share: tuple[float, float, float],
    chance: float,
    early_step: int,
) -> str:
    sizes = [len(h.final) for h in found.values()]
    few = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    text = (
        f"{len(found)} run{'s' if len(found) != 1 else ''}{units} end with {few} of {n_options} frequencies"
    )
    if math.isfinite(p_uniform):
        counts = Counter(int(k) + 1 for h in found.values() for k in h.final)
        most, n = counts.most_common(1)[0] if counts else (0, 0)
        text += f"; the commonest, {most}, is in {n}, and choices this alike have p = {number(p_uniform, 2)} if chosen uniformly"
    if shared.num_rows:
        text += f"; {sharing_in_words(shared)}"
    if math.isfinite(share[0]):
        text += (
            f"; {share[0]:.0%} {interval(share[1], share[2], 2)} of them were already the strongest at step {early_step:,} "
            f"(chance {chance:.0%})"
        )
    return text + "."


def _limits(
    found: Mapping[int, _History],
    selected: Selected,
    units: Units,
    rule: str,
    has_strengths: bool,
    n_early: int,
    early_step: int,
    shared: pa.Table,
) -> list[str]:
    lines = [
        f"Key by the rule {rule}: no numeric rule is published, and rules disagree, most of all before training has "
        "formed any frequency.",
        "Multiplying all inputs by a number relabels frequencies, so that a task favours none is expected; runs with one "
        "split share what the split favours.",
    ]
    if not has_strengths:
        lines.append(
            "No strengths, so no final strength and no early rank: `pathscope ingest STUDY --fill fourier_norm` measures them."
        )
    elif n_early < len(found):
        lines.append(
            f"{len(found) - n_early} run(s) have no strengths at or before step {early_step:,}, or no final frequency."
        )
    if len(units.apart()) < FEWEST_RUNS:
        lines.append(
            f"{len(found)} run(s){among(units.columns())}: nothing can be said about how runs choose; at least {FEWEST_RUNS} are "
            "needed."
        )
    unsettled = [selected.by_id[run].run for run, h in found.items() if 2 * len(h.final) > h.flags.shape[1]]
    if unsettled:
        lines.append(
            f"{len(unsettled)} run(s) end with more than half of all frequencies (first: {unsettled[0]}): they have not settled, "
            "and count here all the same; naming the other runs leaves them out."
        )
    splits = {selected.by_id[run].split_seed for run in found}
    if len(splits) > 1 and not shared.num_rows:
        lines.append(
            "Runs differ in their split too: a shared choice may be the initial weights' or the split's."
        )
    switching = sum(int(np.any(h.flags[-1] != h.flags[len(h.flags) // 2])) for h in found.values())
    if switching:
        lines.append(
            f"{switching} run(s) ended with other key frequencies than they had half way through their checkpoints."
        )
    return lines
