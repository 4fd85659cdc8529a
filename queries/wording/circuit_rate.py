"""What an answer about how circuits form says and cannot say, in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from queries.reading.select import Selected
from queries.reading.units import among
from queries.render import interval, number
from queries.wording.circuits import or_nan, plural

if TYPE_CHECKING:
    from queries.circuit_transition_rate import Circuit


def rate_sentence(
    task: str, circuits: Sequence["Circuit"], only: Mapping[str, Any] | None, n_runs: int, level: float
) -> str:
    """How many of the resolved circuits form suddenly, and the share with its interval where there is one condition."""
    if not circuits:
        return f"No head of {plural(n_runs, 'run')} is shown to have a role in {task}, so there is no circuit to follow."
    count = Counter(c.shape.kind for c in circuits)
    resolved = len(circuits) - count["unresolved"]
    start = (
        f"{count['major_transition']} of {resolved} resolved circuits of {task} form in a sudden transition"
        if resolved
        else f"None of {len(circuits)} circuits of {task} is resolved"
    )
    open_ones = f" ({count['unresolved']} unresolved)" if resolved and count["unresolved"] else ""
    band = interval(or_nan(only["low"]), or_nan(only["high"]), 2) if only else ""
    share = (
        f"; {number(only['rate'], 2)} of a run's circuits over {plural(only['n_runs'], 'run')}{among(only)}, {level:.0%} "
        f"interval {band}"
        if only and band
        else ""
    )
    return f"{start}{open_ones}{share}."


def rate_limits(circuits: Sequence["Circuit"], present: Selected) -> list[str]:
    """Circuits and runs that are not in the share, and what the share does not tell."""
    lines = []
    open_ones = [c for c in circuits if c.shape.kind == "unresolved"]
    if open_ones:
        c = open_ones[0]
        lines.append(
            f"{plural(len(open_ones), 'circuit')} cannot be judged (first: {c.role} {c.head} in "
            f"{present.by_id[c.run_id].run}: {c.shape.why}); they are not in the share."
        )
    without = [r.run for r in present.runs if r.run_id not in {c.run_id for c in circuits}]
    if without:
        lines.append(
            f"{plural(len(without), 'run')} have no head with a role at their last checkpoint (first: {without[0]})."
        )
    if len({c.run_id for c in circuits if c.shape.kind != "unresolved"}) == 1:
        lines.append("All resolved circuits are of one run, which says little of others.")
    lines += [
        "These are circuits that people already knew and that are there at the end: circuits nobody has found, and those that "
        "form and vanish, may form otherwise.",
        "That half of a change falls into one octave is a description: smooth curves have at most 0.29 (t^-0.5), but no test "
        "against other heads of the same run is made here.",
    ]
    return lines
