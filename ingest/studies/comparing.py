"""A study that compares: which pairs of the checkpoints it loads, on which eval sets. Imports no torch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from archive.errors import UsageError
from archive.manifest import Owner
from ingest.family import CheckpointRef
from ingest.studies.loading import LoadedRun, LoadStudy, LoadStudyFile
from ingest.studies.parts import AnyRun, MeasureChoice
from ingest.train.spec import Settings

DEFAULT_COMPARISONS = ("output_divergence", "top1_agreement", "cka")


class CompareSpec(Settings):
    """Which pairs of the loaded checkpoints."""

    pairs: Literal["same step", "consecutive", "base", "all"]
    """"same step": of every two runs, wherever both have a checkpoint; "consecutive": each checkpoint of a run with the
    next; "base": the last checkpoint of the run `base` with every checkpoint of the others; "all": every two checkpoints."""
    base: str = ""
    """Name of a run of the study, or an alias; for pairs = "base"."""
    both_orders: bool = False
    """Whether (b, a) is compared beside every (a, b): neurons are matched from a to b, so each run's own need both."""

    @model_validator(mode="after")
    def _base_is_needed(self) -> Self:
        if (self.pairs == "base") != bool(self.base):
            raise ValueError('pairs = "base" goes with base = "NAME OF A RUN", other pairs without it')
        return self


class CompareStudyFile(LoadStudyFile):
    """A study that compares, as written in TOML."""

    compare: CompareSpec
    """What to compare with what."""
    measures: MeasureChoice = Field(default=MeasureChoice(names=DEFAULT_COMPARISONS))
    """Which comparisons, by name."""

    @model_validator(mode="after")
    def _has_what_it_takes(self) -> Self:
        if not self.eval_sets:
            raise ValueError("a study that compares has at least one [[eval_sets]] on which both models run")
        if self.measures.schedule:
            raise ValueError(
                "measures.schedule has no meaning for pairs; load.checkpoints says which are compared"
            )
        return self


@dataclass(frozen=True)
class ComparedPair(AnyRun):
    """An ordered pair of checkpoints. name: what people call it; label: the condition, that of a's run."""

    run_a: LoadedRun
    a: CheckpointRef
    run_b: LoadedRun
    b: CheckpointRef

    @classmethod
    def of(cls, run_a: LoadedRun, a: CheckpointRef, run_b: LoadedRun, b: CheckpointRef) -> Self:
        """The pair with its name."""
        name = f"{a.run} step {a.step} with {b.run} step {b.step}"
        return cls(name=name, label=run_a.label, run_a=run_a, a=a, run_b=run_b, b=b)

    @property
    def owner(self) -> Owner:
        """How the ledger names it."""
        return Owner("pair", (self.a.run, self.a.step, "", self.b.run, self.b.step, ""))


@dataclass(frozen=True)
class CompareStudy(LoadStudy):
    """A study that compares."""

    file: CompareStudyFile

    @property
    def settings(self) -> CompareStudyFile:
        """The file's settings."""
        return self.file

    @cached_property
    def pairs(self) -> tuple[ComparedPair, ...]:
        """Every pair, those that share a checkpoint near each other; raises UsageError where there are none."""
        chosen = self.file.compare
        base = self.family.find(chosen.base).name if chosen.base else ""
        found = tuple(pairs_of(self.runs, chosen.pairs, base))
        if chosen.both_orders:
            found = tuple(
                order
                for pair in found
                for order in (pair, ComparedPair.of(pair.run_b, pair.b, pair.run_a, pair.a))
            )
        if not found:
            n = sum(len(run.refs) for run in self.runs)
            raise UsageError(
                f'{self.path}: compare.pairs = "{chosen.pairs}" finds no pair among {n} checkpoints of {len(self.runs)} '
                f"run(s){f' with base {base!r}' if base else ''}; load more (load.runs, load.checkpoints) or choose other pairs."
            )
        return found


def pairs_of(runs: Sequence[LoadedRun], which: str, base: str = "") -> Iterator[ComparedPair]:
    """Pairs of the runs' checkpoints, as `CompareSpec.pairs` has them; base: a run's canonical name."""
    everything = [(run, ref) for run in runs for ref in run.refs]
    if which == "consecutive":
        for run in runs:
            for a, b in pairwise(run.refs):
                yield ComparedPair.of(run, a, run, b)
    elif which == "same step":
        for step in sorted({ref.step for _, ref in everything}):
            for (run_a, a), (run_b, b) in combinations([one for one in everything if one[1].step == step], 2):
                yield ComparedPair.of(run_a, a, run_b, b)
    elif which == "base":
        for run_a in (run for run in runs if run.name == base and run.refs):
            for run_b, b in (one for one in everything if one[0].name != base):
                yield ComparedPair.of(run_a, run_a.refs[-1], run_b, b)
    else:
        for (run_a, a), (run_b, b) in combinations(everything, 2):
            yield ComparedPair.of(run_a, a, run_b, b)
