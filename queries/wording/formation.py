"""The sentence and the limits of an answer about how neurons form."""

from collections.abc import Mapping, Sequence
from typing import Any

from queries.reading.tables import shared_words
from queries.reading.units import among
from queries.render import interval, number
from queries.wording.circuits import or_nan
from queries.wording.quanta import percent

Row = Mapping[str, Any]

CALLED = {
    "top": "their final examples",
    "held_out": "held-out places with the tokens of their final examples",
    "other_neuron": "other neurons' examples",
    "random": "random places",
    "direction": "random directions on theirs",
}


def formation_sentence(summary: Sequence[Row], texts: str, why: str) -> str:
    """One sentence per condition, without the words that all conditions share."""
    groups = list(dict.fromkeys(row["group"] for row in summary))
    cut = len(shared_words(groups))
    return " ".join(
        _of_group(
            [r for r in summary if r["group"] == group], texts, group[cut:] if len(groups) > 1 else "", why
        )
        for group in groups
    )


def _of_group(rows: Sequence[Row], texts: str, name: str, why: str) -> str:
    before = f"{name}: " if name else ""
    main = next(row for row in rows if row["places"] == texts)
    if main["formed"] is None:
        return f"{before}No run can be tested: {why}."
    others = [row for row in rows if row["places"] != texts and row["formed"] is not None]
    beside = ", ".join(f"{percent(row['formed'], 1)} on {CALLED[row['places']]}" for row in others)
    if main["over_controls"] is None:
        return (
            f"{before}{percent(main['unresolved'], 0)} of neurons cannot be judged, too many to compare with controls: "
            f"{percent(main['formed'], 1)} are seen to rise suddenly on {CALLED[texts]}, against {beside}."
        )
    over = interval(or_nan(main["over_low"]), or_nan(main["over_high"]), 2)
    n = main["n_runs"]
    when = (
        f", half of it done at a median of step {number(main['median_t50'], 3)}" if main["median_t50"] else ""
    )
    return (
        f"{before}{percent(main['formed'], 1)} of neurons rise suddenly on {CALLED[texts]}{when}, against {beside}: "
        f"{number(or_nan(main['over_controls']), 2)} more than the largest control {over + ' ' if over else ''}over {n} "
        f"run{'' if n == 1 else 's'}{among(main)}; {percent(main['unresolved'], 0)} cannot be judged."
    )


def formation_limits(shares: Sequence[Row], texts: str, runs: Sequence[tuple[str, str]]) -> list[str]:
    """What the answer cannot tell. runs: (name, why it could not be tested)."""
    lines = []
    refused = [(run, why) for run, why in runs if why]
    if refused:
        lines.append(
            f"{len(refused)} run(s) cannot be tested (first: {refused[0][0]}: {refused[0][1]}); `pathscope ingest STUDY.toml "
            "--fill neuron.final_examples` with more checkpoints kept."
        )
    if len(runs) - len(refused) == 1:
        lines.append("One run says nothing about others: there is no interval, and so no verdict.")
    hidden = max((or_nan(r["unresolved"]) for r in shares if r["places"] == texts), default=0.0)
    if hidden > 0:
        lines.append(
            f"For up to {hidden:.0%} of a run's neurons noise or checkpoints hide whether they form suddenly: a mean over few "
            "examples is noisy."
        )
    if texts == "top":
        lines.append(
            "Examples are chosen by the final checkpoint, which guarantees a rise, steeper towards the end as other checkpoints "
            "near it resemble it; only what random directions, chosen alike, do not show is the neurons' own (texts='held_out' "
            "has no part in the choice)."
        )
    else:
        lines.append(
            "Held-out places share the token with a neuron's examples and nothing else of what it may respond to: a neuron of "
            "longer patterns is hardly active there."
        )
    lines += [
        "A neuron that comes to respond to its final examples may have responded to others before: it changes, and is not new.",
        "What the whole run does at once, such as a warm-up, is in the controls too. Curves of one layer are not independent, so "
        "there is no interval within a run.",
        "Noise is taken to change slowly along training: some loud checkpoints among calm ones can pass for a step.",
        "Smooth curves go one way: an activation that rises and falls departs from them without any sudden step.",
    ]
    return lines
