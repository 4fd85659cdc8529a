"""Forward and backward pass of all runs before an update: as it stands on a CPU, as one graph on a GPU."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ingest.models.small import forward_each
from ingest.train.stack import Stack

# columns of what Gradients return
LOSS, ACCURACY, GRADIENT_NORM, WEIGHT_NORM = range(4)

# (tokens, targets) -> [run, column], float64, with the gradients put into the stack
Pass = Callable[[Int[Tensor, "run padded position"], Int[Tensor, "run example read"]], Float[Tensor, "run 4"]]


@dataclass(frozen=True)
class Gradients:
    """Puts each run's gradient of its mean loss into the stack; returns what the log says of it.

    read: positions whose logits the loss reads. Never waits for a GPU and depends on no number of Python's
    that changes from step to step, so it can be recorded.
    """

    stack: Stack
    read: Sequence[int]

    def __call__(
        self, tokens: Int[Tensor, "run padded position"], targets: Int[Tensor, "run example read"]
    ) -> Float[Tensor, "run 4"]:
        """Loss, accuracy, gradient norm and weight norm of each run, before the update, in float64."""
        stack = self.stack
        logits = forward_each(stack.layout, stack.weights, tokens, self.read)[:, : targets.shape[1]]
        losses = cross_entropy(logits, targets, getattr(torch, stack.spec.loss_dtype))
        stack.differentiate(losses)
        accuracies = (logits.argmax(-1) == targets).double().mean((1, 2))
        columns = [losses.detach().double(), accuracies, _norms(stack.rows.grad), _norms(stack.rows)]
        return torch.stack(columns, dim=1)


class RecordedGradients:
    """The same as a CUDA graph: recorded at the first call, then launched whole at each.

    One update of a small model is a few hundred kernels that take less time than Python takes to launch
    them. A graph reads and writes fixed memory: the stack's, and copies of the inputs made here. Where a pass
    cannot be recorded, it is made as it stands, after a warning: slower, with the same result.
    """

    # cuBLAS and autograd set themselves up in the first passes, which must not be recorded
    N_PASSES_BEFORE = 3

    def __init__(self, gradients: Gradients) -> None:
        self._gradients = gradients
        self._tried = False
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(
        self, tokens: Int[Tensor, "run padded position"], targets: Int[Tensor, "run example read"]
    ) -> Float[Tensor, "run 4"]:
        """As `Gradients`; the next call overwrites what this one returned."""
        if not self._tried:
            self._tried = True
            self._tokens, self._targets = tokens.clone(), targets.clone()
            self._graph = self._record()
        if self._graph is None:
            return self._gradients(tokens, targets)
        self._tokens.copy_(tokens)
        self._targets.copy_(targets)
        self._graph.replay()
        return self._columns

    def _record(self) -> torch.cuda.CUDAGraph | None:
        # repeating a pass is harmless: it overwrites gradients, and weights change in the optimizer only
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call] # no stubs
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(self.N_PASSES_BEFORE):
                self._gradients(self._tokens, self._targets)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._columns = self._gradients(self._tokens, self._targets)
        except torch.OutOfMemoryError:  # would not fit as it stands either
            raise
        except RuntimeError as error:
            warnings.warn(f"training without a CUDA graph, which is slower: {error}", stacklevel=2)
            return None
        return graph


def gradients_of(stack: Stack, read: Sequence[int]) -> Pass:
    """The pass for this stack, in the form that suits its device."""
    gradients = Gradients(stack, read)
    return RecordedGradients(gradients) if stack.rows.is_cuda else gradients


def cross_entropy(
    logits: Float[Tensor, "run example read output"],
    targets: Int[Tensor, "run example read"],
    dtype: torch.dtype,
) -> Float[Tensor, " run"]:
    """Each run's mean of −log p(target) in nats, over examples and the positions read; softmax in `dtype`."""
    log_probabilities = logits.to(dtype).log_softmax(-1)
    return -log_probabilities.gather(-1, targets[..., None]).mean((1, 2, 3))


def _norms(rows: Tensor | None) -> Float[Tensor, " run"]:
    """L2 norm of each row, squared and summed in float64 as the measure weight_norm does: less than 1 % of an update."""
    assert rows is not None
    norms: Tensor = torch.linalg.vector_norm(rows.detach().double(), dim=1)
    return norms
