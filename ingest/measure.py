"""What a measure is: a decorated function with everything a reader must know about its number.

Its parameters say what it reads:

    Activations                   a batch of examples: one value per example (and layer and head, or read position),
                                  of which the mean over examples is stored; `Chosen` where not every example has one
    NamedWeights                  the weights of a model of any kind: one value or vector per named part
    LoadedModel                   the same, of the small transformer
    Predictions                   how a model of any kind answers all examples: as WholeEvaluation
    WholeEvaluation               all examples at once: one value per example (scope "split"), one row of values per
                                  example (scope "token"), else one value, vector, or one value per example (of
                                  which the mean is stored) per named part
    WholeEvaluation, LoadedModel  the same, and the run's final checkpoint
    CircuitWeights                the weights of a model of any kind by their role: one value or vector per head,
                                  unit or pair of layers
    Units                         one layer's units on their way through the evaluation set: returns a UnitReducer
    Units, FinalPlaces            the same, and places in it that the run's final checkpoint chose
    PromptScores                  what a model of any kind answers to prompts: one value per prompt
    AttendedPrompts               the attention of prompts of one length in one layer: one value per prompt and head, of
                                  which the mean over prompts is stored; NaN where a prompt has none
    Distributions                 the logits of one sequence: a list of likely tokens per position
    Interventions                 a model of any kind with its parts replaced: an Estimate per head, or one per part
    WeightHistory                 the weights of all kept checkpoints of a run: vectors per part, for each step
    EvaluationHistory             the same, and what they say to the evaluation set
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from torch import Tensor

from archive.records import NO_ENCODING, NO_SITE, Direction, Measure, Part, Quantity, Site, WeightProcessing
from ingest.applicable import NotApplicable as NotApplicable
from ingest.mathematics.clustered import Estimate
from ingest.mathematics.composition import LayerPair
from ingest.mathematics.moments import Chosen
from ingest.mathematics.prompt_scores import PromptScores
from ingest.mathematics.token_top import TokenTop
from ingest.models.loaded import Activations, LoadedModel, NamedWeights
from ingest.readings.attended import AttendedPrompts
from ingest.readings.circuit import CircuitWeights
from ingest.readings.distributions import Distributions
from ingest.readings.evaluation import Predictions, WholeEvaluation
from ingest.readings.final_places import FinalPlaces
from ingest.readings.history import EvaluationHistory, WeightHistory
from ingest.readings.interventions import Interventions
from ingest.readings.units import UnitReducer, Units
from ingest.registry import RegistrationRefused, Registry, first_sentence, require_text
from ingest.task import TakenOn, Task

Scope = Literal[
    "split",
    "tensor",
    "part",
    "head",
    "head vector",
    "head pair",
    "vector",
    "position",
    "token",
    "token top",
    "unit",
    "unit top",
    "unit histogram",
    "unit vector",
    "item",
    "attention",
]
Reads = Literal[
    "examples",
    "weights",
    "predictions",
    "evaluation",
    "weight history",
    "evaluation history",
    "circuit",
    "units",
    "final units",
    "prompts",
    "attended prompts",
    "distributions",
    "interventions",
]
# what must be there besides the checkpoint itself
Needs = Literal["checkpoint", "final", "history"]
Schedule = Literal["all", "sparse"]
Parts: TypeAlias = Mapping[Part, float] | Mapping[Part, Tensor]
Rows: TypeAlias = Mapping[int, Mapping[Part, Tensor]]
ReadsExamples: TypeAlias = Callable[[Activations], Tensor]
ReadsSomeExamples: TypeAlias = Callable[[Activations], Chosen]
ReadsWeights: TypeAlias = Callable[[LoadedModel], Parts] | Callable[[NamedWeights], Parts]
ReadsPredictions: TypeAlias = Callable[[Predictions], Tensor | Parts]
ReadsEvaluation: TypeAlias = Callable[[WholeEvaluation], Tensor | Parts]
ReadsFinal: TypeAlias = Callable[[WholeEvaluation, LoadedModel], Tensor | Parts]
ReadsWeightHistory: TypeAlias = Callable[[WeightHistory], Rows]
ReadsEvaluationHistory: TypeAlias = Callable[[EvaluationHistory], Rows]
ReadsCircuit: TypeAlias = (
    Callable[[CircuitWeights], Tensor]
    | Callable[[CircuitWeights], list[LayerPair]]
    | Callable[[CircuitWeights], Mapping[Part, Tensor]]
)
ReadsUnits: TypeAlias = Callable[[Units], UnitReducer]
ReadsFinalUnits: TypeAlias = Callable[[Units, FinalPlaces], UnitReducer]
ReadsPrompts: TypeAlias = Callable[[PromptScores], Tensor]
ReadsAttendedPrompts: TypeAlias = Callable[[AttendedPrompts], Tensor]
ReadsDistributions: TypeAlias = Callable[[Distributions], TokenTop]
ReadsInterventions: TypeAlias = (
    Callable[[Interventions], Estimate] | Callable[[Interventions], Mapping[Part, Estimate]]
)
AnyFunction: TypeAlias = (
    ReadsCircuit
    | ReadsUnits
    | ReadsFinalUnits
    | ReadsPrompts
    | ReadsAttendedPrompts
    | ReadsDistributions
    | ReadsInterventions
    | ReadsExamples
    | ReadsSomeExamples
    | ReadsWeights
    | ReadsPredictions
    | ReadsEvaluation
    | ReadsFinal
    | ReadsWeightHistory
    | ReadsEvaluationHistory
)
Function = TypeVar(
    "Function",
    ReadsCircuit,
    ReadsUnits,
    ReadsFinalUnits,
    ReadsPrompts,
    ReadsAttendedPrompts,
    ReadsDistributions,
    ReadsInterventions,
    ReadsExamples,
    ReadsSomeExamples,
    ReadsWeights,
    ReadsPredictions,
    ReadsEvaluation,
    ReadsFinal,
    ReadsWeightHistory,
    ReadsEvaluationHistory,
)

TABLE_OF_SCOPE: dict[Scope, str] = {
    "split": "fact_scalar",
    "tensor": "fact_scalar",
    "part": "fact_scalar",
    "head": "fact_head",
    "head vector": "fact_vector",
    "head pair": "fact_head_pair",
    "vector": "fact_vector",
    "position": "fact_position",
    "token": "fact_token",
    "token top": "fact_token_top",
    "unit": "fact_neuron",
    "unit top": "fact_neuron_top",
    "unit histogram": "fact_histogram",
    "unit vector": "fact_vector",
    "item": "fact_item",
    "attention": "fact_attention",
}
# which scopes fit what a measure reads
SCOPES_OF: dict[Reads, tuple[Scope, ...]] = {
    "examples": ("split", "head", "position", "head vector", "attention"),
    "weights": ("tensor", "part", "vector"),
    "predictions": ("split", "part", "token"),
    "evaluation": ("split", "part", "vector", "tensor", "token"),
    "weight history": ("vector",),
    "evaluation history": ("vector",),
    "circuit": ("head", "head pair", "unit vector"),
    "units": ("unit", "unit top", "unit histogram"),
    "final units": ("unit",),
    "prompts": ("item",),
    "attended prompts": ("head",),
    "distributions": ("token top",),
    "interventions": ("head", "part"),
}
OF_WEIGHTS: tuple[Reads, ...] = ("weights", "weight history", "circuit")
# taken in one way of models of any kind, the small transformer included
OF_MODELS: tuple[Reads, ...] = (
    "circuit", "units", "final units", "prompts", "attended prompts", "distributions", "interventions",
)  # fmt: skip
# only these tables have a column for it
WITH_CHANCE: tuple[Scope, ...] = ("split", "tensor", "part", "head", "item")


@dataclass(frozen=True)
class RegisteredMeasure:
    """A measure: what it means (`record`), how it is computed, and when.

    name: what a study calls it: the measure's name, with `:variant` where one definition comes in several.
    needs: what it takes besides the checkpoint itself; "final" and "history" can only be measured when training
    is over. any_model: it also reads language models, not only the small transformer. chance: the value under
    the measure's null, for a task. traced: it reads attention or MLP activations, not only logits. schedule: on
    all checkpoints by default, or on about a dozen ("sparse"). params: settings that are part of the quantity
    and tell the variants apart; of_task: those that follow from the task. processing: how weights are changed
    before they are looked at; site: where units live. taken_on: on which eval sets by default. standardised: what is
    stored is not the mean over examples but that mean divided by its standard error.
    """

    name: str
    record: Measure
    function: AnyFunction
    reads: Reads
    needs: Needs
    any_model: bool
    scope: Scope
    traced: bool
    chance: Callable[[Task], float] | None
    schedule: Schedule
    params: Mapping[str, Any] = field(default_factory=dict)
    of_task: Callable[[Task], Mapping[str, Any]] | None = None
    processing: WeightProcessing = "raw"
    site: Site = NO_SITE
    taken_on: TakenOn = "any"
    standardised: bool = False

    @property
    def of_models(self) -> bool:
        """Whether `ingest.measuring.scanning` takes it of every model, the small transformer included."""
        return self.reads in OF_MODELS or self.scope == "attention"

    @property
    def of_weights(self) -> bool:
        """Whether it looks at weights only, and so is one quantity whatever the eval set."""
        return self.reads in OF_WEIGHTS

    def quantity_of_weights(self, *, dtype: str = "float32") -> Quantity:
        """What is stored for a measure of weights that a task decides nothing about."""
        return Quantity(
            measure=self.record,
            params=dict(self.params),
            weight_processing=self.processing,
            dtype=dtype,
            site=self.site,
        )

    def quantity(self, task: Task, *, dtype: str = "float32", reference_step: int | None = None) -> Quantity:
        """What is stored for a model of that task; dtype is that of the model's weights.

        reference_step: of the run's final checkpoint, for a measure that needs it: trained on, a run has
        another one, and its numbers are another quantity. A measure of weights has no eval set, so it is
        the same quantity for every task. Raises ValueError where the reference step is needed and missing.
        """
        task = task.evaluated_on(self.taken_on)
        encoding = NO_ENCODING if self.reads in OF_WEIGHTS else task.eval_set.encoding
        params = {**self.params, **(self.of_task(task) if self.of_task is not None else {})}
        if self.needs == "final":
            if reference_step is None:
                raise ValueError(
                    f"{self.name} compares with the run's final checkpoint; say at which step it is"
                )
            params["reference_step"] = reference_step
        return Quantity(
            measure=self.record,
            encoding=encoding,
            params=params,
            weight_processing=self.processing,
            dtype=dtype,
            site=self.site,
        )


MEASURES: Registry[RegisteredMeasure] = Registry(
    kind="measure", package="ingest.measures", group="pathscope.measures", listing="`pathscope measures`"
)


def measure(
    name: str,
    *,
    scope: Scope,
    unit: str,
    bounds: tuple[float | None, float | None],
    direction: Direction,
    citation: str,
    version: int = 1,
    chance: Callable[[Task], float] | None = None,
    traced: bool = False,
    schedule: Schedule = "all",
    variant: str = "",
    params: Mapping[str, Any] | None = None,
    of_task: Callable[[Task], Mapping[str, Any]] | None = None,
    processing: WeightProcessing = "raw",
    site: Site = NO_SITE,
    taken_on: TakenOn = "any",
    standardised: bool = False,
) -> Callable[[Function], Function]:
    """Register a function as a measure and return it unchanged.

    unit: of the value ("nats", "probability"; "1" for pure numbers). bounds: (lowest, highest possible),
    None for none. The first sentence of the docstring becomes the summary. Raise `version` whenever
    values change. variant, params: for one of several ways to take a measure; all share name, docstring and
    unit, and `params` keeps their numbers apart. of_task: further params that a task decides. processing, site,
    taken_on, standardised: as RegisteredMeasure has them.

    Raises RegistrationRefused for a duplicate name (naming both modules), a missing docstring, unit or
    citation, parameters other than those the module's docstring lists, a scope that does not fit them, or a
    chance level where the scope has none.
    """

    def register(function: Function) -> Function:
        module = function.__module__
        summary = first_sentence(function)
        called = f"{name}:{variant}" if variant else name
        require_text("measure", called, module, {"docstring": summary, "unit": unit, "citation": citation})
        reads, needs, any_model = _what_it_reads(called, function)
        if chance is not None and scope not in WITH_CHANCE:
            raise RegistrationRefused(
                f"measure {called!r} in {module} gives a chance level; its table {TABLE_OF_SCOPE[scope]} keeps none"
            )
        if scope not in SCOPES_OF[reads]:
            raise RegistrationRefused(
                f"measure {called!r} in {module} has scope {scope!r}; what reads {reads} has one of {SCOPES_OF[reads]}"
            )
        record = Measure(
            name=name,
            version=version,
            scope=scope,
            table=TABLE_OF_SCOPE[scope],
            unit=unit,
            lower_bound=bounds[0],
            upper_bound=bounds[1],
            direction=direction,
            summary=summary,
            citation=citation,
        )
        MEASURES.add(
            called,
            RegisteredMeasure(
                name=called,
                record=record,
                function=function,
                reads=reads,
                needs=needs,
                any_model=any_model,
                scope=scope,
                traced=traced,
                chance=chance,
                schedule=schedule,
                params=dict(params or {}),
                of_task=of_task,
                processing=processing,
                site=site,
                taken_on="prompts" if reads in ("prompts", "attended prompts") else taken_on,
                standardised=standardised,
            ),
            module=module,
        )
        return function

    return register


# what a function reads and needs, and whether a language model has it too
_READ_BY: dict[tuple[object, ...], tuple[Reads, Needs, bool]] = {
    (Activations,): ("examples", "checkpoint", True),
    (NamedWeights,): ("weights", "checkpoint", True),
    (LoadedModel,): ("weights", "checkpoint", False),
    (Predictions,): ("predictions", "checkpoint", True),
    (WholeEvaluation,): ("evaluation", "checkpoint", False),
    (WholeEvaluation, LoadedModel): ("evaluation", "final", False),
    (WeightHistory,): ("weight history", "history", False),
    (EvaluationHistory,): ("evaluation history", "history", False),
    (CircuitWeights,): ("circuit", "checkpoint", True),
    (Units,): ("units", "checkpoint", True),
    (Units, FinalPlaces): ("final units", "final", False),
    (PromptScores,): ("prompts", "checkpoint", True),
    (AttendedPrompts,): ("attended prompts", "checkpoint", True),
    (Distributions,): ("distributions", "checkpoint", True),
    (Interventions,): ("interventions", "checkpoint", True),
}


def _what_it_reads(name: str, function: Callable[..., object]) -> tuple[Reads, Needs, bool]:
    annotations = tuple(parameter.annotation for parameter in inspect.signature(function).parameters.values())
    found = _READ_BY.get(annotations)
    if found is None:
        raise RegistrationRefused(
            f"measure {name!r} in {function.__module__} takes {list(annotations)}; "
            "give it one parameter annotated Activations, NamedWeights, LoadedModel, Predictions, WholeEvaluation (with a "
            "LoadedModel after it for the final checkpoint), WeightHistory, EvaluationHistory, CircuitWeights, Units (with "
            "FinalPlaces after it), PromptScores, AttendedPrompts, Distributions or Interventions"
        )
    return found
