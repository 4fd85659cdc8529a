"""What answers about heads that could have been known before training cannot tell."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from queries.reading.initial_scores import InitialScores
from queries.reading.select import Selected
from queries.wording.circuits import plural


def lottery_limits(
    selected: Selected,
    per_run: Sequence[Mapping[str, Any]],
    initial: InitialScores,
    without: Collection[int],
    n_conditions: int,
) -> list[str]:
    """without: runs with roles at the end and no score at step 0."""
    lines = []
    if without:
        first = selected.by_id[min(without)].run
        suspect = (
            f", {initial.n_suspect} of them because step 0 is suspect (with_suspect=True uses it)"
            if initial.n_suspect
            else ""
        )
        lines.append(
            f"{plural(len(without), 'run')} without usable scores at step 0 left out (first: {first}){suspect}."
        )
    n_open = max((r["n_open"] for r in per_run), default=0)
    if n_open:
        lines.append(
            f"Heads that are neither shown to have the role nor to lack it are in no pair (up to {n_open} of a run)."
        )
    if n_conditions > 1:
        lines.append(
            f"Runs of {n_conditions} conditions are taken together; runs='condition:NAME' asks about one."
        )
    lines.append(
        "A role is a score above a level: a score that training hardly changes tells itself, and another level may give "
        "another answer. Heads are compared within their layer, so which layer gets the role is no part of this."
    )
    return lines
