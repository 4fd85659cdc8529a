"""What answers about frequencies that could have been known before training have to say."""

from collections.abc import Mapping, Sequence
from typing import Any

from queries.reading.initial_spectra import InitialSpectra
from queries.reading.select import Selected
from queries.render import interval, number
from queries.wording.circuits import or_nan, plural


def shares_in_words(shares: Sequence[Mapping[str, Any]]) -> str:
    """What each seed decides, as the end of a sentence; empty without seeds that runs share."""
    told = [
        f"the {r['seed']} decides {r['variance_share']:.0%} "
        f"{interval(or_nan(r.get('low')), or_nan(r.get('high')), 2)}".rstrip()
        + " of the variance of the choice"
        + (f" (p = {number(r['p'], 2)})" if r.get("p") is not None else "")
        for r in shares
        if r.get("variance_share") is not None
    ]
    return f"; {', '.join(told)}" if told else ""


def frequency_limits(
    selected: Selected,
    by_run: Mapping[int, InitialSpectra],
    shares: Sequence[Mapping[str, Any]],
    rule: str,
) -> list[str]:
    """What spectra and seeds cannot tell."""
    lines = []
    out: dict[str, list[int]] = {}
    for run, s in by_run.items():
        why = s.why or ("" if s.strengths else "no spectrum at step 0, so only the seeds' part uses them")
        if why:
            out.setdefault(why, []).append(run)
    lines += [
        f"{plural(len(runs), 'run')} not used: {why} (first: {selected.by_id[runs[0]].run})."
        for why, runs in out.items()
    ]
    lines.append(
        "Multiplying all inputs by a number relabels the frequencies and changes nothing else, so over inits and splits no "
        "frequency can be favoured; the null relabels each init's frequencies so. Which frequency it is means something only "
        "between runs that share an init or a split."
    )
    if not shares:
        lines.append(
            "What the init and what the split decides cannot be told apart here: that takes pairs of runs with one seed in "
            "common and pairs with none (mode = 'crossed' in a study's [seeds], as in studies/crossed_small.toml)."
        )
    else:
        lines.append(
            "What a seed does only together with another one belongs to neither share; the rest is that, and whatever else makes "
            "runs differ."
        )
    lines.append(
        f"Key by the rule {rule}: no numeric rule is published, and rules disagree; strengths at step 0 are without sign."
    )
    return lines
