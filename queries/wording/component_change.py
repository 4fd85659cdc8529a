"""What answers about components before and after have to say: sentences, and what categories cannot tell."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from queries.reading.checkpoint_pairs import Pair
from queries.reading.component_effects import ComponentChoices
from queries.reading.component_tables import Compared
from queries.render import interval, number
from queries.stats.component_categories import CATEGORIES, Thresholds
from queries.wording.circuits import or_nan, plural

FEW_GROUPS = 10


def change_sentence(
    summary: Sequence[Mapping[str, Any]],
    pairs: Sequence[Pair],
    choices: ComponentChoices,
    over_runs: tuple[float, float, float],
) -> str:
    """The answer in one sentence."""
    what = "direct effects" if choices.is_attribution else "effects of ablation"
    called = f"{what} on {choices.effect.quantity.eval_set}"
    if len(summary) > 1:
        total = sum(r["n_components"] for r in summary)
        counts = {name: sum(r[name] for r in summary) for name in CATEGORIES}
        mean, low, high = over_runs
        average = (
            f"; mean participation ratio of the changes {number(mean, 3)} {interval(low, high, 3)}".rstrip()
            if math.isfinite(mean)
            else ""
        )
        return f"{len(summary)} pairs of checkpoints, {called}: of {plural(total, 'component')} {counted(counts)}{average}."
    (r,) = summary
    part = (
        f"; the change has a participation ratio of {number(r['participation'], 3)}"
        if math.isfinite(r["participation"])
        else "; the change is no larger than its errors"
    )
    if r["near_step_b"] is not None:
        part += (
            f"; between steps {r['near_step_a']:,} and {r['near_step_b']:,} of {r['run_a']} "
            f"{r['near_changed'] or 'none'} changed"
        )
    counts = {name: r[name] for name in CATEGORIES}
    return f"{pairs[0].place}, {called}: of {plural(r['n_components'], 'component')} {counted(counts)}{part}."


def counted(counts: Mapping[str, int]) -> str:
    """Categories that occur, in words: 3 are reweighted, 1 is new and 12 are unchanged."""
    told = [f"{n} {'is' if n == 1 else 'are'} {name}" for name, n in counts.items() if n]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def overview_rows(summary: pa.Table | None) -> list[dict[str, Any]]:
    """A row per pair, with the categories that occur anywhere."""
    rows = summary.to_pylist() if summary is not None else []
    there = [name for name in CATEGORIES if any(r[name] for r in rows)]
    return [
        {
            "run": r["run_b"],
            "steps": f"{r['step_a']:,} → {r['step_b']:,}",
            **{name: r[name] for name in there},
            "participation": number(r["participation"], 3),
            "by noise": number(r["noise_participation"], 3),
            "between late checkpoints": number(r["near_participation"], 3),
            "kept share": number(r["kept_share"], 2),
            "most changed": r["top"],
        }
        for r in rows
    ]


def change_limits(
    compared: Sequence[Compared],
    summary: Sequence[Mapping[str, Any]],
    choices: ComponentChoices,
    thresholds: Thresholds,
) -> list[str]:
    """What an answer about components before and after cannot tell."""
    return [
        *_about_errors(compared),
        *_about_signatures(compared, summary, choices, thresholds),
        *_about_yardsticks(summary),
        *_about_effects(compared, choices),
        f"Where categories begin is a convention: effects and changes count from {thresholds.least:.0%} of the largest "
        f"effect, what has at most {thresholds.gone:.0%} of its size at the other checkpoint is new or lost, signatures are "
        f"alike from a correlation of {thresholds.same:g}, q < {thresholds.fdr:g}; table and figure have every component.",
        *(
            ["One pair: heads and layers do not stand for further runs, so nothing is said of other seeds."]
            if len(compared) == 1
            else []
        ),
    ]


def _about_errors(compared: Sequence[Compared]) -> list[str]:
    lines = []
    n = sum(len(c.a) for c in compared)
    blank = sum(int((~np.isfinite(c.changes.se)).sum()) for c in compared)
    if blank:
        lines.append(
            f"{blank} of {n} components have no standard error at one of the two, so they are unresolved."
        )
    if blank < n:
        lines.append(
            "Errors at the two checkpoints count as independent; as both are of the same items they mostly go together, and then "
            "fewer components are called changed, and unchanged, than could be."
        )
    groups = [float(np.nanmin(m.n)) for c in compared for m in (c.first, c.second) if np.isfinite(m.n).any()]
    if groups and min(groups) < FEW_GROUPS:
        lines.append(
            f"Effects rest on as few as {min(groups):.0f} groups of items (templates, documents): their errors are hardly known."
        )
    alone = sum(c.n_alone for c in compared)
    if alone:
        lines.append(
            f"{plural(alone, 'component')} that only one of two checkpoints has a finite effect of are left out."
        )
    return lines


def _about_signatures(
    compared: Sequence[Compared],
    summary: Sequence[Mapping[str, Any]],
    choices: ComponentChoices,
    thresholds: Thresholds,
) -> list[str]:
    if not any(np.isfinite(c.similarity).any() for c in compared):
        return [
            "No signatures of heads at both checkpoints: what changed cannot be told to be reweighted or rewired (changed)."
            + (
                ""
                if choices.signatures
                else " `pathscope ingest STUDY.toml --fill head.signature` measures them."
            )
        ]
    lines = [
        f"Signatures ({', '.join(c.quantity.eval_set for c in choices.signatures)}) say where heads look, not what they "
        "write: a head that looks at the same places and writes something else counts as reweighted, and their likeness has no "
        "error here."
    ]
    near = [r["near_median_similarity"] for r in summary if r["near_step_b"] is not None]
    known = [value for value in near if math.isfinite(value)]
    if known and min(known) < thresholds.same:
        lines.append(
            f"Signatures are alike by {number(min(known), 2)} (median) between adjacent late checkpoints already, less than "
            f"same={thresholds.same:g}: rewired may be no more than further training."
        )
    return lines


def _about_yardsticks(summary: Sequence[Mapping[str, Any]]) -> list[str]:
    without = [r["run_a"] for r in summary if r["near_step_b"] is None]
    lines = []
    if without:
        lines.append(
            f"{plural(len(without), 'run')} without two adjacent checkpoints to hold the change against, with these effects "
            f"(first: {without[0]}): what further training alone does is not known."
        )
    told = next((r for r in summary if r["near_step_b"] is not None), None)
    if told is not None:
        rms = (number(told[name], 3) for name in ("rms_change", "near_rms_change"))
        lines.append(
            "The change has a root mean square of {}, that between steps {:,} and {:,} of {} one of {}; the steps between "
            "them need not be as many.".format(
                next(rms), told["near_step_a"], told["near_step_b"], told["run_a"], next(rms)
            )
        )
    return lines


def _about_effects(compared: Sequence[Compared], choices: ComponentChoices) -> list[str]:
    if not choices.is_attribution:
        return [
            "Ablating one head understates what it does: others take over (self-repair), and the effects of several do not add "
            "up. Layers are not ablated, so only heads are here."
        ]
    lines = [
        "Direct effects miss what components do through later ones, and backup heads that act only when others are gone."
    ]
    totals = [(c.first.total, c.second.total) for c in compared]
    if all(math.isfinite(or_nan(x)) for pair in totals for x in pair):
        first, second = totals[0]
        lines.append(
            f"Each checkpoint divides by its own final LayerNorm scale, and the logit difference they add up to went from "
            f"{number(first, 3)} to {number(second, 3)}: read share_before and share_after beside the logits."
        )
    else:
        lines.append(
            "Each checkpoint divides by its own final LayerNorm scale, so logits of two are not quite of one size, and without "
            "`logit_attribution` shares of the total are not known (`pathscope ingest STUDY.toml --fill logit_attribution`)."
        )
    return lines
