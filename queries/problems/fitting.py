"""Which runs of an archive a question can be asked of, and what the others lack. No question is run to find out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from queries.problems.coverage import HoldingRun, having, holding, lacking
from queries.problems.problem import BASE, EVAL_SET, TUNED, Need, Question


@dataclass(frozen=True)
class Fit:
    """Runs that together have what a question needs.

    runs: in the archive's order. place: the eval set and the source of the first need, empty without one. others: such sets of
    runs on other eval sets. pair: a run and the one it goes on from, where the question is about two.
    """

    runs: tuple[HoldingRun, ...]
    place: tuple[str, str] = ("", "")
    others: int = 0
    pair: tuple[str, str] | None = None

    def parameters(
        self, question: Question, everyone: Sequence[HoldingRun], names: Mapping[str, object]
    ) -> dict[str, object]:
        """The question's parameters with its placeholders filled, and the runs as few words as say it.

        names: the parameters that the query has.
        """
        told = dict(zip((TUNED, BASE), self.pair or (), strict=False))
        found: dict[str, object] = {}
        for name, value in question.parameters.items():
            if value == EVAL_SET:
                if self._has_choice(question):
                    found[name] = self.place[0]
            elif isinstance(value, str) and value in (BASE, TUNED):
                found[name] = told[value]
            else:
                found[name] = value
        terms = run_terms(self.runs, everyone)
        if terms and "runs" in names and self.pair is None:
            found.setdefault("runs", terms)
        return found

    def _has_choice(self, question: Question) -> bool:
        """Whether the runs have the first need on other eval sets too, whatever the question makes of those."""
        names = question.needs[0].any_of
        return (
            len({held.eval_set for run in self.runs for name in names for held in run.held.get(name, ())}) > 1
        )


@dataclass(frozen=True)
class Lack:
    """One measure that runs lack.

    study: the one they are from, empty where nothing says so. less: the study measures it, but at too few checkpoints or on
    other texts, so that filling its cells adds nothing.
    """

    measure: str
    fill: str
    n_runs: int
    first: str
    study: str
    less: bool = False

    @property
    def command(self) -> str:
        """What measures it, where the runs were trained or loaded here and their study would."""
        return (
            f"pathscope ingest {self.study}.toml --fill {self.fill}" if self.study and not self.less else ""
        )


def find_fit(question: Question, runs: Sequence[HoldingRun]) -> Fit | None:
    """The largest set of runs, on one eval set, that the question can be asked of; None where there is none."""
    able = _able(question, runs)
    if question.arms and not any(run.intervened for run in able):
        return None
    if question.lineage == "pair":
        return _lineage(able, question)
    places: dict[tuple[str, str], list[HoldingRun]] = {}
    kinds: dict[int, list[tuple[str, str]]] = {}
    for run in able:
        if id(run.held) not in kinds:
            kinds[id(run.held)] = _places(run, question)
        for place in kinds[id(run.held)]:
            places.setdefault(place, []).append(run)
    fits = [Fit(tuple(kept), place) for place, found in places.items() if (kept := _enough(question, found))]
    if not fits:
        return None
    best = max(fits, key=lambda fit: len(fit.runs))  # of equals the first
    return Fit(best.runs, best.place, len(fits) - 1)


def shortfall(question: Question, runs: Sequence[HoldingRun]) -> tuple[str, ...]:
    """What keeps runs that have all the measures from being enough, in sentences; empty where they lack measures."""
    able = _able(question, runs)
    if not able:
        others = question.lineage == "tuned" and _able(replace(question, lineage=""), runs)
        return ("none of them goes on from another run",) if others else ()
    largest = max(Counter(run.repeats for run in able).values())
    found = []
    if question.lineage == "pair":
        found.append("no two of them are a run and the one it goes on from")
    if len(able) < question.runs:
        found.append(f"{_n(len(able), 'run')} where {question.runs} or more are needed")
    if largest < question.repeats:
        found.append(f"{_n(largest, 'run')} of one condition where {question.repeats} or more are needed")
    n_conditions = len({run.repeats for run in able})
    if n_conditions < question.conditions:
        found.append(f"{_n(n_conditions, 'condition')} where {question.conditions} or more are needed")
    if max(Counter(run.init for run in able).values()) < question.same_init:
        found.append(f"no {question.same_init} runs share an init")
    return tuple(found) or ("those that have them are on different eval sets",)


def find_lacks(question: Question, runs: Sequence[HoldingRun]) -> tuple[Lack, ...]:
    """What runs lack that have at least some of the question's first need, by measure and study."""
    if not question.needs:
        return ()
    near = [
        run
        for run in holding(runs, lambda run: run.touches(question.needs[0]))
        if run.goes_on or question.lineage != "tuned"
    ]
    found: dict[tuple[str, str], list[HoldingRun]] = {}
    for need in question.needs:
        for run in lacking(need, near):
            found.setdefault((need.words, run.study), []).append(run)
    needs = {need.words: need for need in question.needs}
    return tuple(
        Lack(
            words, needs[words].to_fill, len(rows), rows[0].run, study, _less(needs[words], study, rows, near)
        )
        for (words, study), rows in found.items()
    )


def _less(need: Need, study: str, lacking: Sequence[HoldingRun], near: Sequence[HoldingRun]) -> bool:
    """Whether all runs of a study that lack something have some of it, and none of its runs has enough."""
    if holding(lacking, lambda run: not any(run.held.get(name) for name in need.any_of)):
        return False
    return not any(run.study == study for run in having(need, near))


def _family(run: HoldingRun) -> str:
    return f"family:{run.family}"


def _study(run: HoldingRun) -> str:
    return f"{run.run.split('/')[0]}/*" if "/" in run.run else run.run


def _folder(run: HoldingRun) -> str:
    return f"{run.run.rpartition('/')[0]}/*" if "/" in run.run else run.run


def _condition(run: HoldingRun) -> str:
    return f"condition:{run.condition}"


def _name(run: HoldingRun) -> str:
    return run.run


_WAYS: tuple[Callable[[HoldingRun], str], ...] = (_family, _study, _folder, _name, _condition)


def run_terms(chosen: Sequence[HoldingRun], everyone: Sequence[HoldingRun]) -> list[str]:
    """The runs as `runs` takes them, in the fewest words that mean these and no others; empty for all of them."""
    ids = {run.run_id for run in chosen}
    if len(ids) == len(everyone):
        return []
    ways = [list(dict.fromkeys(way(run) for run in chosen)) for way in _WAYS]
    exact = [terms for terms in ways if {run.run_id for run in _meant(everyone, terms)} == ids]
    return min(exact or [[run.run for run in chosen]], key=len)  # of equals the first


def _meant(runs: Sequence[HoldingRun], terms: Sequence[str]) -> list[HoldingRun]:
    """Those that some term means, as `RunSelection` reads it; words without a pattern are looked up."""
    exact = frozenset(terms)
    names = frozenset(term for term in terms if not term.startswith(("family:", "condition:")))
    patterns = [term for term in names if any(sign in term for sign in "*?[")]
    return [
        run
        for run in runs
        if run.run in names
        or _family(run) in exact
        or _condition(run) in exact
        or any(fnmatchcase(run.run, pattern) for pattern in patterns)
    ]


def _able(question: Question, runs: Sequence[HoldingRun]) -> list[HoldingRun]:
    """Runs with everything that the question reads, of the kind that it is about."""
    return [
        run
        for run in holding(runs, lambda run: all(run.places(need) for need in question.needs))
        if question.lineage != "tuned" or run.goes_on
    ]


def _places(run: HoldingRun, question: Question) -> list[tuple[str, str]]:
    if not question.needs:
        return [("", "")]
    return list(dict.fromkeys((held.eval_set, held.source) for held in run.places(question.needs[0])))


def _enough(question: Question, runs: Sequence[HoldingRun]) -> list[HoldingRun]:
    """Those of the runs that count, empty where they are too few."""
    if question.same_init > 1:
        inits = Counter(run.init for run in runs if run.init)
        runs = [run for run in runs if inits[run.init] >= question.same_init]
    repeats = Counter(run.repeats for run in runs)
    kept = [run for run in runs if repeats[run.repeats] >= question.repeats]
    enough = len(kept) >= question.runs and len({run.repeats for run in kept}) >= question.conditions
    return kept if enough else []


def _lineage(runs: Sequence[HoldingRun], question: Question) -> Fit | None:
    by_id = {run.run_id: run for run in runs}
    pairs = [(run, by_id[run.parent_id]) for run in runs if run.parent_id in by_id]
    if not pairs:
        return None
    tuned, base = pairs[0]
    shared = [place for place in _places(tuned, question) if place in _places(base, question)]
    if question.needs and not shared:
        return None
    return Fit((base, tuned), shared[0] if shared else ("", ""), len(pairs) - 1, (tuned.run, base.run))


def _n(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
