"""A model of modular addition on the grid of all pairs, and its key frequencies by every rule."""

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from archive.records import Part
from ingest.mathematics.fourier import (
    above_quarter,
    clustered,
    frequency_norms,
    grid_transform,
    logit_coefficients,
    neuron_fractions,
)
from ingest.measure import NotApplicable
from ingest.models.loaded import LoadedModel
from ingest.readings.evaluation import WholeEvaluation
from ingest.tasks.modular_arithmetic import ModularArithmetic

# the rule whose frequencies restricted loss, excluded loss and fve use: on the published run it names the five
# that the logits stand out by, where a quarter of the largest logit coefficient names two and W_E's norm ten
DEFAULT_RULE = "W_L"


def matrix_part(name: str) -> Part:
    """The part under which numbers of W_E, W_L or the logits are stored."""
    return Part(kind="matrix", name=name)


def rule_part(name: str) -> Part:
    """The part under which numbers of a rule for key frequencies are stored."""
    return Part(kind="rule", name=name)


@dataclass(frozen=True, eq=False)
class AdditionGrid:
    """logits: over (a, b, c) without the `=` class. neurons: of the last layer at `=`; none without an MLP."""

    model: LoadedModel
    logits: Float[Tensor, "p p p"]
    neurons: Float[Tensor, "p p neuron"]

    @classmethod
    def of(cls, evaluation: WholeEvaluation) -> "AdditionGrid":
        """The grid of a checkpoint; raises NotApplicable for other tasks and for p = 2."""
        task = evaluation.task
        if not isinstance(task, ModularArithmetic):
            raise NotApplicable(f"frequencies are those of addition modulo a prime; the task is {task.name}")
        if task.operation != "add":
            raise NotApplicable(
                f"frequencies are those of addition modulo a prime; this operation is {task.operation}"
            )
        p = task.p
        if p == 2:
            raise NotApplicable("modulo 2 there is no frequency")
        layers = evaluation.neurons[:, -1:].flatten(1)
        return cls(
            evaluation.model,
            evaluation.logits[:, 0, :p].double().view(p, p, p),
            layers.double().view(p, p, layers.shape[1]),
        )

    @property
    def p(self) -> int:
        """The modulus."""
        return len(self.logits)

    @cached_property
    def spectra(self) -> dict[str, Float[Tensor, " frequency"]]:
        """Strength of each frequency in W_E (norm), W_L (norm) and the logits (signed coefficient).

        W_E: embedding of the p numbers. W_L = W_out W_U of the last layer over the p answers, raw: a final
        LayerNorm is not in it; left out without an MLP.
        """
        spectra = {"W_E": frequency_norms(self.model.weights["embed.W_E"][: self.p])}
        if self.has_mlp:
            spectra["W_L"] = output_spectrum(self.model, self.p)
        return {**spectra, "logits": logit_coefficients(self.logits)}

    @cached_property
    def neuron_fractions(self) -> Float[Tensor, "frequency neuron"]:
        """Share of each neuron's variance that each frequency explains."""
        return neuron_fractions(self.neurons)

    @cached_property
    def key_frequencies(self) -> dict[str, tuple[int, ...]]:
        """By rule: W_E, W_L, logits (stronger than a quarter of the strongest), neurons (clusters)."""
        keys = {name: above_quarter(strengths) for name, strengths in self.spectra.items()}
        if self.has_mlp:
            keys["neurons"] = tuple(clustered(self.neuron_fractions))
        return keys

    @cached_property
    def transformed(self) -> Float[Tensor, "p p p"]:
        """Fourier coefficients of the logits over a ⊗ b."""
        return grid_transform(self.logits)

    @property
    def has_mlp(self) -> bool:
        """False for attention-only models."""
        return has_mlp(self.model)


def addition_grid(evaluation: WholeEvaluation) -> AdditionGrid:
    """The grid of a checkpoint, made once for all measures; raises NotApplicable as `AdditionGrid.of`."""
    return evaluation.once(AdditionGrid.of)


def has_mlp(model: LoadedModel) -> bool:
    """False for attention-only models."""
    return model.layout.n_layers > 0 and model.layout.d_mlp > 0


def output_spectrum(model: LoadedModel, p: int) -> Float[Tensor, " frequency"]:
    """Norm of each frequency in W_L = W_out W_U of the last layer, over the p answers."""
    out = model.weights[f"blocks.{model.layout.n_layers - 1}.mlp.W_out"].double()
    return frequency_norms((out @ model.weights["unembed.W_U"][:, :p].double()).T)


def current_keys(grid: AdditionGrid) -> tuple[int, ...]:
    """Key frequencies of this checkpoint by the default rule; raises NotApplicable where there is none."""
    return keys_of(grid.model, grid.p)


def keys_of(model: LoadedModel, p: int) -> tuple[int, ...]:
    """Key frequencies of a checkpoint by the default rule, W_L; raises NotApplicable where there is none."""
    if not has_mlp(model):
        raise NotApplicable(
            "key frequencies are taken from the map of neurons to logits, and the model has no MLP; "
            "excluded_loss_by_frequency needs none"
        )
    keys = above_quarter(output_spectrum(model, p))
    if not keys:
        raise NotApplicable("the map of neurons to logits is 0, so no frequency is a key frequency")
    return keys
