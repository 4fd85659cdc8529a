"""A model with its parts replaced, on the prompts or texts of an eval set: what causal measures are given.

Every row goes through the model undisturbed once, everything is kept, and for each head the model is run on from its
layer. Tables are [row, layer, head], float64, on the CPU; rows as `ingest.readings.asked` samples them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.applicable import NotApplicable
from ingest.evalsets.next_tokens import NextTokens
from ingest.mathematics.recovery import first_order
from ingest.measuring.memory import in_batches
from ingest.models.hooked import HookedModel, Shape
from ingest.models.interventions import ByHead, Change, CleanRun, Intervening, Place, intervening
from ingest.readings.asked import Row, asked_of, grouped, metric, tokens_of
from ingest.readings.attribution import Attribution, attribution_of, refuse_unless_it_adds_up
from ingest.readings.replacing import at_the_answer, cut, nudged, partners, replaced, said

Ablation = Literal["zero", "mean", "resample"]
Direction = Literal["denoise", "noise"]
Head = tuple[int, int]
T = TypeVar("T")

# sequences are batched as if they had this many tokens at least: prompts are short
USUAL_LENGTH = 512


@dataclass(frozen=True, eq=False)
class Pairs:
    """The metric of prompts (clean) and of their counterfactuals (other), nothing replaced."""

    clean: Float[Tensor, " row"]
    other: Float[Tensor, " row"]


class Interventions:
    """One checkpoint and one eval set; what several measures ask for is computed once."""

    def __init__(
        self, model: HookedModel, task: NextTokens, *, batch: int, say: Callable[[str], None]
    ) -> None:
        """Nothing is run before it is asked for. batch, say: as `ingest.measuring.scanning` has them."""
        self.task = task
        self.shape: Shape = model.shape
        self._hooked = model
        self._batch = batch
        self._say = say
        self._patched: dict[tuple[Direction, Head], Float[Tensor, " row"]] = {}
        self._made: dict[Callable[..., Any], Any] = {}

    @cached_property
    def model(self) -> Intervening:
        """The model; raises NotApplicable where its parts cannot be replaced."""
        return intervening(self._hooked)

    @cached_property
    def rows(self) -> list[Row]:
        """What is looked at."""
        return asked_of(self.task)

    @cached_property
    def pairs(self) -> list[Row]:
        """Prompts with a counterfactual."""
        return asked_of(self.task, pairs=True)

    @staticmethod
    def clusters(rows: Sequence[Row]) -> Int[Tensor, " row"]:
        """Which rows belong together."""
        return torch.tensor([row.cluster for row in rows])

    def once(self, make: "Callable[[Interventions], T]") -> T:
        """`make(self)`, made on the first call and shared by all measures that are given this."""
        if make not in self._made:
            self._made[make] = make(self)
        made: T = self._made[make]
        return made

    def each_clean(self, rows: Sequence[Row], look: Callable[[CleanRun, list[int]], None]) -> None:
        """Call `look` with undisturbed runs of all rows and with which rows they are; a run may come again, smaller."""
        self._each(
            rows,
            lambda chosen: look(
                self.model.clean(tokens_of([rows[i] for i in chosen], self._hooked.device)), chosen
            ),
        )

    # --- ablation --------------------------------------------------------------------------------------

    @cached_property
    def partners(self) -> list[tuple[Row, Row]]:
        """Rows with another one each, whose heads speak in their place; raises NotApplicable where no row has one."""
        drawn = zip(self.rows, partners(self.rows), strict=True)
        found = [(row, partner) for row, partner in drawn if partner is not None]
        if not found:
            raise NotApplicable("no example has another one that is as long, to be resampled from")
        return found

    def ablated_rows(self, kind: Ablation) -> list[Row]:
        """The rows that an ablation looks at: all, or those that can be resampled."""
        return [row for row, _ in self.partners] if kind == "resample" else self.rows

    def ablated(self, kind: Ablation, *, frozen: bool) -> Float[Tensor, "row layer head"]:
        """Metric without a head minus metric with it, of `ablated_rows`.

        zero: what the head mixes is 0. mean: it is its mean over all rows at that position. resample: it is what the
        head says at that position of another row, drawn with a fixed seed. frozen: all attention patterns stay those of
        the full run.
        """
        self.require_heads()
        rows, means = self.ablated_rows(kind), self._means if kind == "mean" else []
        effects = torch.zeros(len(rows), self.shape.n_layers, self.shape.n_heads).double()

        def work(chosen: list[int]) -> None:
            here = [rows[i] for i in chosen]
            tokens = tokens_of(here, self._hooked.device)
            run = self.model.clean(tokens, frozen=frozen)
            full = metric(self.model, run.final, here)
            instead: Sequence[ByHead]
            if kind == "zero":
                instead = [torch.zeros_like(heads) for heads in run.heads[:1]] * self.shape.n_layers
            elif kind == "mean":
                instead = [mean[: tokens.shape[1]].expand_as(run.heads[0]) for mean in means]
            else:
                instead = self.model.clean(cut([self.partners[i][1] for i in chosen], tokens)).heads
            for layer in range(self.shape.n_layers):
                for head in range(self.shape.n_heads):
                    final = self.model.resume(run, replaced(layer, head, instead[layer]))
                    effects[chosen, layer, head] = (metric(self.model, final, here) - full).cpu()

        self._each(rows, work)
        return effects

    @cached_property
    def _means(self) -> list[Float[Tensor, "position head d_head"]]:
        """Mean of what every head mixes, by position, over all rows that are that long."""
        longest = max(len(row.tokens) for row in self.rows)
        shape = (longest, self.shape.n_heads, self.shape.d_head)
        device = self._hooked.device
        sums = [torch.zeros(shape, dtype=torch.float64, device=device) for _ in range(self.shape.n_layers)]
        counts = torch.zeros(longest, dtype=torch.float64, device=device)

        def work(chosen: list[int]) -> None:
            tokens = tokens_of([self.rows[i] for i in chosen], device)
            # all or nothing: a batch may not fit memory
            found = [mixed.sum(0, dtype=torch.float64) for mixed in self.model.clean(tokens).heads]
            counts[: tokens.shape[1]] += len(tokens)
            for total, mixed in zip(sums, found, strict=True):
                total[: tokens.shape[1]] += mixed

        self._each(self.rows, work)
        dtype = next(tensor.dtype for _, tensor in self._hooked.parameters())
        return [(one / counts[:, None, None]).to(dtype) for one in sums]

    # --- attribution -----------------------------------------------------------------------------------

    @cached_property
    def attribution(self) -> Attribution:
        """Raises FloatingPointError where components do not add up to the logit difference."""
        if not self.task.frozen.has_answers:
            raise NotApplicable("the eval set has no prompts with a right and a wrong answer")
        rows, (n_layers, n_heads) = self.rows, (self.shape.n_layers, self.shape.n_heads)
        found = Attribution(
            *(
                torch.zeros(len(rows), *size).double()
                for size in ((), (n_layers, n_heads), (n_layers,), (), ())
            )
        )

        def work(chosen: list[int]) -> None:
            here = [rows[i] for i in chosen]
            run = self.model.clean(tokens_of(here, self._hooked.device))
            one = attribution_of(self.model, run, here)
            for name in ("embedding", "heads", "mlp", "biases", "total"):
                getattr(found, name)[chosen] = getattr(one, name).cpu()

        self._each(rows, work)
        refuse_unless_it_adds_up(found, rows)
        return found

    # --- patching --------------------------------------------------------------------------------------

    @cached_property
    def unpatched(self) -> Pairs:
        """Both metrics of every pair."""
        found = Pairs(*(torch.zeros(len(self.pairs)).double() for _ in range(2)))

        def work(chosen: list[int]) -> None:
            here = [self.pairs[i] for i in chosen]
            for other, values in ((False, found.clean), (True, found.other)):
                run = self.model.clean(tokens_of(here, self._hooked.device, other=other))
                values[chosen] = metric(self.model, run.final, here).cpu()

        self._each(self.pairs, work)
        return found

    @property
    def whole(self) -> Float[Tensor, " row"]:
        """Metric of each prompt minus that of its counterfactual: what patching everything moves, either way."""
        return self.unpatched.clean - self.unpatched.other

    def moved_by_heads(self, direction: Direction, heads: Sequence[Head]) -> Float[Tensor, "row chosen"]:
        """How far the metric moves when one head says what it says in the other run of the pair, at all positions.

        denoise: the counterfactual is run, heads are taken from the prompt; noise: the other way round. Positive is
        towards the run that they are taken from, as `whole` is.
        """
        self.require_heads()
        missing = [head for head in heads if (direction, head) not in self._patched]
        if missing:

            def changes(source: CleanRun, _here: Sequence[Row]) -> Iterator[Change]:
                for layer, head in missing:
                    yield replaced(layer, head, source.heads[layer])

            moved = self._moved(direction, changes, len(missing))
            self._patched |= {(direction, head): moved[:, i] for i, head in enumerate(missing)}
        return torch.stack([self._patched[direction, head] for head in heads], 1)

    def moved_by_parts(self, direction: Direction) -> dict[tuple[int, Place], Float[Tensor, " row"]]:
        """The same of whole parts of layers.

        Attention and MLP at all positions; the residual stream after the layer only where the answer is read (at all
        positions it is the whole run).
        """
        kinds: list[Place] = ["attention"] if self.shape.n_heads else []
        kinds += ["mlp"] if self.shape.d_mlp else []
        kinds += ["residual"]
        parts = [(layer, kind) for layer in range(self.shape.n_layers) for kind in kinds]

        def changes(source: CleanRun, here: Sequence[Row]) -> Iterator[Change]:
            for layer, kind in parts:
                if kind == "residual":
                    yield Change(layer, kind, at_the_answer(here, source.residual[layer + 1]))
                else:
                    there = (source.attention if kind == "attention" else source.mlp)[layer]
                    yield said(layer, kind, there)

        moved = self._moved(direction, changes, len(parts))
        return {part: moved[:, i] for i, part in enumerate(parts)}

    def _moved(
        self,
        direction: Direction,
        changes: Callable[[CleanRun, Sequence[Row]], Iterator[Change]],
        n: int,
    ) -> Float[Tensor, "row change"]:
        rows = self.pairs
        moved = torch.zeros(len(rows), n).double()
        sign = 1.0 if direction == "denoise" else -1.0

        def work(chosen: list[int]) -> None:
            here = [rows[i] for i in chosen]
            clean, other = self._both(here)
            source, run = (clean, other) if direction == "denoise" else (other, clean)
            before = metric(self.model, run.final, here)
            for i, change in enumerate(changes(source, here)):
                after = metric(self.model, self.model.resume(run, change), here)
                moved[chosen, i] = (sign * (after - before)).cpu()

        self._each(rows, work)
        return moved

    @cached_property
    def moved_to_first_order(self) -> Float[Tensor, "row layer head"]:
        """What `moved_by_heads("denoise", ...)` would be of every head, from the gradient in the counterfactual run."""
        self.require_heads()
        rows = self.pairs
        found = torch.zeros(len(rows), self.shape.n_layers, self.shape.n_heads).double()

        def work(chosen: list[int]) -> None:
            here = [rows[i] for i in chosen]
            clean, other = self._both(here)
            with torch.enable_grad():
                nudges = [torch.zeros_like(heads, requires_grad=True) for heads in other.heads]
                changes = [nudged(layer, nudge) for layer, nudge in enumerate(nudges)]
                total = metric(self.model, self.model.resume(other, *changes), here).sum()
                gradients = torch.autograd.grad(total, nudges)
            for layer, gradient in enumerate(gradients):
                moved = first_order(clean.heads[layer], other.heads[layer], gradient)
                found[chosen, layer] = moved.cpu()

        self._each(rows, work)
        return found

    def _both(self, rows: Sequence[Row]) -> tuple[CleanRun, CleanRun]:
        device = self._hooked.device
        return self.model.clean(tokens_of(rows, device)), self.model.clean(
            tokens_of(rows, device, other=True)
        )

    # --- going over rows -------------------------------------------------------------------------------

    def _each(self, rows: Sequence[Row], work: Callable[[list[int]], None]) -> None:
        """Call `work` on rows of one length, as many together as memory holds."""
        for group in grouped(rows):
            length = len(rows[group[0]].tokens)
            batch = min(len(group), max(self._batch, self._batch * USUAL_LENGTH // length))

            def some(chosen: slice, group: list[int] = group) -> None:
                work(group[chosen])

            in_batches(len(group), batch, some, again=lambda: None, say=self._say)

    def require_heads(self) -> None:
        """Raise NotApplicable for a model without heads."""
        if not self.shape.n_heads or not self.shape.n_layers:
            raise NotApplicable("the model has no attention heads")
