"""What a load study asks for: which measure on which eval set, for every run, at which checkpoints."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archive.errors import UsageError
from archive.records import Encoding
from ingest.evalsets.next_tokens import NextTokens
from ingest.planning.freezing import Freezer, Frozen
from ingest.planning.intervention_cost import further_tokens
from ingest.planning.model_size import size_of
from ingest.planning.rows import rows_of_cell
from ingest.planning.wanted import Wanted, WantedCondition, WantedMeasure, fingerprint
from ingest.studies.loading import EvalSetChoice, LoadedRun, LoadStudy, chosen_steps

if TYPE_CHECKING:
    from ingest.measure import RegisteredMeasure

# what a measure needs, in the words of the eval sets that have it
_HAS = {
    "prompts": 'prompts with a right and a wrong answer (kind = "ioi" or "prompts")',
    "prompts first": "any eval set",
    "repeats": 'blocks of tokens that repeat (kind = "repeated_tokens")',
    "text": 'sequences of one length (kind = "text" or "stdlib")',
    "any": 'sequences of one length (kind = "text", "stdlib" or "repeated_tokens")',
}


def wanted_of_loaded(
    study: LoadStudy, stored: Mapping[str, Any] | None, extra: Sequence[str], freezer: Freezer
) -> Wanted:
    """What the study asks for: as `stored` with it when that still holds, else worked out.

    extra: measures wanted besides those the study names. Raises UnknownName for a measure nobody registered, and
    UsageError for one that no eval set of the study fits.
    """
    current = fingerprint(study, extra, inputs_of(study))
    if stored is not None and stored.get("fingerprint") == current:
        return Wanted.of_plain(stored)
    from ingest.measure import MEASURES  # imports torch

    chosen = study.file.measures
    names = [*chosen.names, *(name for name in extra if name not in chosen.names)]
    measures = [MEASURES.get(name) for name in names]
    return Wanted(
        {run.label: _condition(study, run, measures, freezer.of_run(run)) for run in study.runs}, current
    )


def inputs_of(study: LoadStudy) -> list[object]:
    """What the study's answer depends on besides its file: the checkpoints there are, and the files of its eval sets."""
    return [
        *([run.name, [[ref.step, ref.revision] for ref in run.refs]] for run in study.runs),
        *(
            _state(path)
            for choice in study.file.eval_sets
            for path in choice.settings.inputs(study.path.parent)
        ),
    ]


def _state(path: Any) -> list[object]:
    """What tells a changed file: its name, size and time of change."""
    found = path.stat()
    return [str(path), found.st_size, found.st_mtime_ns]


def _condition(
    study: LoadStudy, run: LoadedRun, measures: Sequence["RegisteredMeasure"], frozen: Frozen
) -> WantedCondition:
    kept = tuple(ref.step for ref in run.refs)
    size = size_of(run, study.load)
    measured = []
    for one in measures:
        steps = chosen_steps(
            kept,
            study.file.measures.schedule.get(one.name, one.schedule),
            f"{study.path}: measures.schedule.{one.name}",
            f"of {run.name} the study loads checkpoints",
        )
        for label in _taken_on(study, one, frozen):
            quantity = one.quantity(NextTokens(frozen=frozen[label])) if label else one.quantity_of_weights()
            on = frozen[label].encoding if label else Encoding(hash="none")
            n_items = len(frozen[label].items or ()) if label else 0
            rows, row_bytes = rows_of_cell(
                one.scope, size, one.params, n_sequences=on.n_sequences, n_tokens=on.n_tokens, n_items=n_items
            )
            measured.append(
                WantedMeasure(
                    one.name,
                    quantity.hash,
                    steps,
                    eval_set=label,
                    encoding=on.hash if label else "",
                    scope=one.scope,
                    n_tokens=on.n_tokens,
                    n_positions=on.context_length,
                    rows=rows,
                    row_bytes=row_bytes,
                    further_tokens=further_tokens(
                        one.record.name, one.reads, quantity.params, size, on.n_tokens
                    ),
                )
            )
    return WantedCondition(steps=kept[-1] if kept else 0, logs=(), measured=tuple(measured))


def _taken_on(study: LoadStudy, one: "RegisteredMeasure", frozen: Frozen) -> tuple[str, ...]:
    """Labels of the eval sets that a measure is taken on; one empty label for a measure of weights."""
    if one.of_models and one.needs == "final":
        raise UsageError(
            f"{study.path}: {one.name} needs a run's final checkpoint beside each other one, which only studies that train "
            "have at hand; take it out of measures.names, or train the runs in a study of your own."
        )
    if not one.any_model:
        raise UsageError(
            f"{study.path}: {one.name} is a measure of the small transformers trained here; a study that loads cannot "
            "take it. `pathscope measures` lists the others."
        )
    if one.of_weights:
        return ("",)
    asked = tuple(choice.label for choice in study.file.eval_sets if one.name in choice.measures)
    open_to_all = [choice for choice in study.file.eval_sets if not choice.measures]
    found = asked or tuple(_fitting(one, open_to_all, frozen))
    if not found:
        raise UsageError(
            f"{study.path}: no eval set for {one.name}, which takes {_HAS[one.taken_on]}; add one as [[eval_sets]], or "
            f"take {one.name} out of measures.names."
        )
    return found


def _fitting(one: "RegisteredMeasure", choices: Sequence[EvalSetChoice], frozen: Frozen) -> Iterator[str]:
    sequences = [c.label for c in choices if frozen[c.label].items is None and not frozen[c.label].is_ragged]
    prompts = [c.label for c in choices if frozen[c.label].has_answers]
    if one.taken_on == "prompts":
        yield from prompts
    elif one.taken_on == "prompts first":
        repeats = [label for label in sequences if frozen[label].copies is not None]
        yield from prompts or repeats or sequences
    elif one.taken_on == "repeats":
        yield from (label for label in sequences if frozen[label].copies is not None)
    elif one.taken_on == "text":
        texts = [label for label in sequences if frozen[label].copies is None]
        yield from texts or sequences
    else:
        yield from sequences
