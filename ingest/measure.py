"""What a measure is: a decorated function with everything a reader must know about its number.

Its first parameter says what it reads. `Activations`: it returns one value per example (and layer and
head), and the mean over examples is stored. `LoadedModel`: it returns one value per named part.
`WholeEvaluation`: it sees all examples at once and returns one value per example with scope "split", else
one value or vector per named part.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from torch import Tensor

from archive.records import NO_ENCODING, Direction, Measure, Part, Quantity
from ingest.evaluation import WholeEvaluation
from ingest.models.loaded import Activations, LoadedModel
from ingest.registry import RegistrationRefused, Registry, first_sentence, require_text
from ingest.task import Task

Scope = Literal["split", "tensor", "part", "head", "vector"]
Reads = Literal["examples", "weights", "evaluation"]
Schedule = Literal["all", "sparse"]
ReadsExamples: TypeAlias = Callable[[Activations], Tensor]
ReadsWeights: TypeAlias = Callable[[LoadedModel], Mapping[Part, float]]
ReadsEvaluation: TypeAlias = Callable[
    [WholeEvaluation], Tensor | Mapping[Part, float] | Mapping[Part, Tensor]
]
Function = TypeVar("Function", ReadsExamples, ReadsWeights, ReadsEvaluation)

TABLE_OF_SCOPE: dict[Scope, str] = {
    "split": "fact_scalar",
    "tensor": "fact_scalar",
    "part": "fact_scalar",
    "head": "fact_head",
    "vector": "fact_vector",
}
# which scopes fit what a measure reads
SCOPES_OF: dict[Reads, tuple[Scope, ...]] = {
    "examples": ("split", "head"),
    "weights": ("tensor", "part"),
    "evaluation": ("split", "part", "vector"),
}


class NotApplicable(Exception):
    """Raised by a measure that has no meaning for this model or task; its text says why."""


@dataclass(frozen=True)
class RegisteredMeasure:
    """A measure: what it means (`record`), how it is computed, and when.

    name: what a study calls it: the measure's name, with `:variant` where one definition comes in several.
    chance: the value under the measure's null, for a task. traced: it reads attention or MLP activations,
    not only logits. schedule: on all checkpoints by default, or on about a dozen ("sparse"). params: settings
    that are part of the quantity and tell the variants apart.
    """

    name: str
    record: Measure
    function: ReadsExamples | ReadsWeights | ReadsEvaluation
    reads: Reads
    scope: Scope
    traced: bool
    chance: Callable[[Task], float] | None
    schedule: Schedule
    params: Mapping[str, Any] = field(default_factory=dict)

    def quantity(self, task: Task, *, dtype: str = "float32") -> Quantity:
        """What is stored for a model of that task; dtype is that of the model's weights.

        A measure of weights has no eval set, so it is the same quantity for every task.
        """
        encoding = NO_ENCODING if self.reads == "weights" else task.eval_set.encoding
        return Quantity(measure=self.record, encoding=encoding, params=dict(self.params), dtype=dtype)


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
) -> Callable[[Function], Function]:
    """Register a function as a measure and return it unchanged.

    unit: of the value ("nats", "probability"; "1" for pure numbers). bounds: (lowest, highest possible),
    None for none. The first sentence of the docstring becomes the summary. Raise `version` whenever
    values change. variant, params: for one of several ways to take a measure; all share name, docstring and
    unit, and `params` keeps their numbers apart.

    Raises RegistrationRefused for a duplicate name (naming both modules), a missing docstring, unit or
    citation, a first parameter that is not Activations, LoadedModel or WholeEvaluation, or a scope that does
    not fit it.
    """

    def register(function: Function) -> Function:
        module = function.__module__
        summary = first_sentence(function)
        called = f"{name}:{variant}" if variant else name
        require_text("measure", called, module, {"docstring": summary, "unit": unit, "citation": citation})
        reads = _what_it_reads(called, function)
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
                scope=scope,
                traced=traced,
                chance=chance,
                schedule=schedule,
                params=dict(params or {}),
            ),
            module=module,
        )
        return function

    return register


def _what_it_reads(name: str, function: Callable[..., object]) -> Reads:
    annotations = [parameter.annotation for parameter in inspect.signature(function).parameters.values()]
    if annotations == [Activations]:
        return "examples"
    if annotations == [LoadedModel]:
        return "weights"
    if annotations == [WholeEvaluation]:
        return "evaluation"
    raise RegistrationRefused(
        f"measure {name!r} in {function.__module__} takes {annotations}; "
        "give it one parameter annotated Activations or LoadedModel or WholeEvaluation"
    )
