"""What predictions of events say and cannot say, in words."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from queries.events.foretold import ALPHA, Foretold, headline, log2_brackets
from queries.reading.onsets import Onsets
from queries.reading.run_settings import RunSettings
from queries.reading.select import Selected
from queries.render import interval, number
from queries.stats.left_out import LEAST_LEVELS, LEAST_UNITS, MOST_BLOCKS
from queries.stats.onset import Estimate

MOST_NAMED = 6
_SAID = {"yes": "it adds to them", "no": "it adds nothing that matters", "unresolved": "unresolved"}


def onset_sentence(event: str, predictor: str, found: Sequence[Foretold], level: float) -> str:
    """The headline cutoff in one sentence."""
    tested = [f for f in found if f.found is not None]
    top = headline(found)
    if not tested:
        why = f"{top.why}{_would_do(top)}{_unclear(top)}"
        return f"Whether {predictor} foretells {event} is unresolved at step {top.cutoff:,}: {why}."
    told = top.found
    assert told is not None
    several = f" ({_counted(tested)})" if len(tested) > 1 else ""
    said = _SAID[top.verdict] + (_would_do(top) if top.verdict == "unresolved" else "")
    return (
        f"By step {top.cutoff:,} {predictor} with the settings orders runs by when {event} happens with C = "
        f"{_with_interval(told.full.c_index)}, the settings alone with {_with_interval(told.baseline.c_index)}: a gain of "
        f"{number(told.gain.value, 2)} {interval(told.gain.low, told.gain.high, 2)} ({level:.0%} intervals), "
        f"p = {number(top.p_adjusted, 2)}: {said}{several}{_unclear(top)}."
    )


def _unclear(top: Foretold) -> str:
    """Runs that a prediction is not of: neither at risk for certain nor there already."""
    n = len(top.having("unclear"))
    return f"; {n} run(s) that may have had it by then are left out" if n else ""


def _counted(tested: Sequence[Foretold]) -> str:
    counts = Counter(f.verdict for f in tested)
    words = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
    return f"{len(tested)} cutoffs: {words}"


def _with_interval(c: Estimate) -> str:
    return f"{number(c.value, 2)} {interval(c.low, c.high, 2)}".rstrip()


def _would_do(f: Foretold) -> str:
    if f.few_exchanges:
        return "; more seeds per condition are needed"
    return f"; about {f.runs_needed:,} such runs at risk would do" if f.runs_needed else ""


def onset_limits(
    onsets: Onsets, selected: Selected, settings: RunSettings, found: Sequence[Foretold]
) -> list[str]:
    """What such a prediction cannot tell, and which runs it is of."""
    top = headline(found)
    lines = [*_of_runs(top, selected), *settings.limits]
    if top.found is not None:
        lines += [*_of_settings(settings, top), *_of_seeds(top)]
    steps = {r.read_at for r in top.at_risk}
    if len(steps) > 1:
        lines.append(
            f"Predictors were last measured at other steps in other runs ({number(min(steps))} to {number(max(steps))})."
        )
    low, high = log2_brackets(top.at_risk)
    known = np.isfinite(low) & np.isfinite(high)
    if known.any():
        lines.append(
            f"Times are known to brackets, the median one {number(float(np.median((high - low)[known])), 2)} octaves wide; pairs "
            "whose brackets overlap are not compared."
        )
    untested = [f for f in found if f.found is None and f is not top]
    if untested:
        first = untested[0]
        lines.append(f"{len(untested)} cutoff(s) have no answer (first: step {first.cutoff:,}: {first.why}).")
    lines += [
        "Runs at a cutoff are those the event had not come to: later cutoffs are answered of fewer, slower runs, so their "
        "C-indices are not to be compared with those of earlier ones.",
        "Times are taken as log-normal with one spread; a run that never gets there counts as late, not as one that cannot.",
        "To foretell is not to cause: only runs in which the predictor is changed can show that.",
    ]
    return lines


def _of_runs(top: Foretold, selected: Selected) -> list[str]:
    lines = []
    for statuses, words in (
        (("before",), "had the event by then"),
        (("unclear",), "may have had it by then: it came between measurements on either side"),
        (("not seen",), "were last looked at before then"),
        (("no predictor",), "have no value of the predictor by then"),
        (("no data",), "have no data of the event"),
    ):
        mine = top.having(*statuses)
        if mine:
            name = selected.by_id[mine[0].run_id].run
            lines.append(
                f"Of {len(top.runs)} runs {len(mine)} {words} and are not predicted at step {top.cutoff:,} (first: {name})."
            )
    never = [r for r in top.at_risk if r.bracket.kind == "never"]
    if never:
        name = selected.by_id[never[0].run_id].run
        lines.append(
            f"{len(never)} of {len(top.at_risk)} runs at risk never got there by their last point (first: {name}): their times "
            "are later than that, and in errors of times they do not count."
        )
    return lines


def _of_settings(settings: RunSettings, top: Foretold) -> list[str]:
    conditions = int(top.design.group.max()) + 1 if top.design else 0
    more = f" and {len(settings.names) - MOST_NAMED} more" if len(settings.names) > MOST_NAMED else ""
    named = ", ".join(settings.names[:MOST_NAMED]) + more
    if not named and conditions < 2:
        return ["The runs differ in no setting: the baseline knows nothing, and orders no pair."]
    known = f"the settings {named}" if named else "no setting by name"
    several = f" and which of the {conditions} conditions a run belongs to" if conditions > 1 else ""
    lines = [f"The baseline knows {known}{several}, numbers by the order of their levels."]
    if not top.has_room:
        lines.append(
            f"Settings alone put so many pairs in order that a gain of {number(top.margin)} has no room: c_within says how the "
            "predictor orders runs of one condition; ask for runs of fewer conditions."
        )
    return lines


def _of_seeds(top: Foretold) -> list[str]:
    design = top.design
    assert design is not None
    names = list(design.factors)
    of_seeds = names != ["run"]
    lines = []
    units = int(design.unit.max()) + 1
    if design.by_unit and units < len(design.group):
        lines.append(
            f"Runs with the same {' and '.join(names)} are left out together, {units} groups: each is predicted by others."
        )
    elif of_seeds and units == len(design.group) and not design.by_unit:
        lines.append(
            f"Seeds have fewer than {LEAST_UNITS} values: runs are left out one by one, and others with their seeds stay in."
        )
    if units > MOST_BLOCKS:
        lines.append(
            f"For pairs, the {units} runs or groups of runs are left out in {MOST_BLOCKS} parts, two at a time."
        )
    if of_seeds:
        levels = ", ".join(f"{int(f.max()) + 1} of {name}" for name, f in design.factors.items())
        lines.append(
            f"The null exchanges predictors within conditions, seeds relabelled alike in all of them ({levels}): what runs share "
            "with their seeds is no evidence."
        )
    few = [name for name, f in design.factors.items() if f.max() + 1 < LEAST_LEVELS]
    if few and of_seeds:
        lines.append(f"There are too few values of {' and '.join(few)} to say anything of other ones.")
    if top.few_exchanges:
        lines.append(
            f"Only {number(round(design.n_arrangements))} exchange(s) are possible, so p cannot be below {ALPHA}: with so few "
            "seeds per condition no predictor could be shown to add anything."
        )
    return lines
