"""One pass of a language model over an eval set, shared by all measures; nothing larger than a layer is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ingest.applicable import NotApplicable
from ingest.evalsets.next_tokens import NextTokens
from ingest.measure import Reads, RegisteredMeasure
from ingest.measuring.attended_job import AttendedJob
from ingest.measuring.final_units_job import FinalUnitsJob
from ingest.measuring.intervention_jobs import InterventionJob
from ingest.measuring.job import AnyJob, Job
from ingest.measuring.measured import MeasuredValue
from ingest.measuring.model_jobs import CircuitJob, PromptsJob, make_job
from ingest.measuring.passes import Pass
from ingest.measuring.prompting import answer_prompts
from ingest.models.hooked import HookedModel
from ingest.readings.circuit import CircuitWeights
from ingest.readings.evaluation import Predictions
from ingest.readings.interventions import Interventions

# Sequences that go through the model together; fewer where memory does not hold them. On a CPU 8 take as long, and a
# fifth more memory.
BATCH = 4

# what looks at sequences one by one, or at none
ANY_LENGTHS: tuple[Reads, ...] = ("weights", "circuit", "prompts", "attended prompts", "interventions")

AJob = TypeVar("AJob", bound=AnyJob)


@dataclass(frozen=True)
class ParametersOf:
    """A language model's trained tensors, for measures that ask for nothing else."""

    model: HookedModel

    @property
    def run(self) -> str:
        """Name of the run."""
        return self.model.run

    @property
    def step(self) -> int:
        """Optimiser updates."""
        return self.model.step

    @cached_property
    def weights(self) -> Mapping[str, Float[Tensor, "..."]]:
        """Every trained tensor once, by its name in the model."""
        return dict(self.model.parameters())


def scan(
    model: HookedModel,
    task: NextTokens,
    measures: Sequence[RegisteredMeasure],
    *,
    batch: int = BATCH,
    dtype: str = "float32",
    final: HookedModel | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> list[MeasuredValue]:
    """All these measures of one checkpoint, in the order given, in one forward pass.

    batch changes nothing beyond rounding; it is halved as long as memory does not suffice, `say` is told, and the
    pass goes on. The unembedding, more than half of the work of a small model, is left out when no measure asks
    for answers. Losses are those of a float32 softmax, good to about 1e-6 nats. dtype: of the weights, as the
    quantities record it. final: the run's final checkpoint, for measures that need it. What does not apply to the
    model or the eval set comes back NOT_APPLICABLE. Raises EvalSetRefused for an eval set that does not fit the model,
    ValueError where the final checkpoint is needed and missing.
    """
    task.frozen.refuse_unless_it_fits(
        model.run, n_vocab=model.shape.d_vocab, n_context=model.shape.context or None
    )
    splits = {part: torch.from_numpy(inside) for part, inside in task.splits(0).items()}
    reference = None if final is None else final.step
    jobs = [
        FinalUnitsJob(one, quantity, task)
        if one.reads == "final units"
        else make_job(one, quantity, task, splits)
        for one in measures
        for quantity in [one.quantity(task, dtype=dtype, reference_step=reference)]
    ]
    for job in jobs:
        if not (job.measure.any_model or job.measure.of_models):
            job.refuse(NotApplicable("it is a measure of the small transformer trained here"))
        elif job.measure.taken_on == "prompts" and not task.frozen.has_answers:
            job.refuse(NotApplicable("the eval set has no prompts with a right and a wrong answer"))
        elif job.measure.reads not in ANY_LENGTHS and task.frozen.is_ragged:
            job.refuse(NotApplicable("prompts of different lengths have no common positions"))
    going = [job for job in jobs if job.trouble is None]
    _read_circuit(model, _of(going, CircuitJob))
    for final_job in _of(going, FinalUnitsJob):
        assert final is not None  # else it has no quantity
        final_job.choose(final, batch, say)
    for value_job in _of(going, Job):
        if value_job.measure.reads == "weights":
            value_job.read(ParametersOf(model))
    asked, attending = _of(going, PromptsJob), _of(going, AttendedJob)
    if asked or attending:
        scores = answer_prompts(model, task.frozen, batch=batch, attending=attending, say=say)
        for prompts_job in asked:
            prompts_job.read(scores)
    if replacing := _of(going, InterventionJob):
        interventions = Interventions(model, task, batch=batch, say=say)
        for replacing_job in replacing:
            replacing_job.read(interventions)
    reading = [
        job
        for job in going
        if job.measure.reads in ("examples", "predictions", "units", "final units", "distributions")
    ]
    if reading:
        answers = Pass(model, task, reading, say=say).run(batch)
        for value_job in _of(reading, Job):
            if value_job.measure.reads == "predictions":
                value_job.read(Predictions(task, splits, answers))
    return [job.result() for job in jobs]


def _read_circuit(model: HookedModel, jobs: Sequence[CircuitJob]) -> None:
    circuit = CircuitWeights(model)  # shared, and gone before the pass: it keeps what it has folded
    for job in jobs:
        job.read(circuit)


def _of(jobs: Sequence[AnyJob], kind: type[AJob]) -> list[AJob]:
    return [job for job in jobs if isinstance(job, kind)]
