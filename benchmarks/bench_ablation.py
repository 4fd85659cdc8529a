"""Replacing parts of a model: what it costs to leave out every head, against running the model on from each head's layer.

CPU seconds of one thread, in a process started as `ingest` starts its workers; a random model of four layers in the width of
Pythia-70m. The bare way has every layer's input already, runs the layers from the ablated one on as transformers does with its
fastest attention (sdpa), once for every head, and reads the same of the end; nothing is replaced in it.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.measured import Measured, words

if TYPE_CHECKING:
    from ingest.evalsets.next_tokens import NextTokens

ROOT = Path(__file__).resolve().parent.parent
SHAPE = {
    "vocab_size": 50304, "hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8,
    "intermediate_size": 2048, "max_position_embeddings": 2048,
}  # fmt: skip
HEADS = SHAPE["num_hidden_layers"] * SHAPE["num_attention_heads"]
TEXT, PROMPTS = (2, 128), (16, 20)
ROUNDS = 3


def measure(folder: Path) -> Iterable[Measured]:
    """Time of ablations of all heads."""
    from ingest.train.spec import WORKER_ENV

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_ablation"],
        cwd=ROOT, env={**os.environ, **WORKER_ENV, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    took: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    said = {
        "prompts": f"mean ablation of {HEADS} heads on {PROMPTS[0]} prompts of {PROMPTS[1]} tokens, logit difference",
        "text": f"mean ablation of {HEADS} heads on {TEXT[0]} texts of {TEXT[1]} tokens, loss",
        "frozen": "the same on prompts with attention patterns held fixed",
    }
    for kind, what in said.items():
        ours, bare = took[kind]
        yield Measured(
            f"{what}; {HEADS} passes from the ablated layer on, nothing replaced (CPU seconds, one thread, median of {ROUNDS})",
            words(ours), words(bare), ours / bare, None if kind == "frozen" else 1.2,
        )  # fmt: skip


# --- in the worker ---------------------------------------------------------------------------------------


def seconds() -> dict[str, list[float]]:
    """CPU seconds of ours and of the bare way, in turns."""
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    plain, ours = _module("sdpa"), _module("eager")
    ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "prompts": (lambda: _ablate(ours, _prompts(), False), lambda: _bare(plain, _prompts())),
        "frozen": (lambda: _ablate(ours, _prompts(), True), lambda: _bare(plain, _prompts())),
        "text": (lambda: _ablate(ours, _text(), False), lambda: _bare(plain, _text())),
    }
    found = {}
    for kind, (one, other) in ways.items():
        for way in (one, other):
            way()  # memory is mapped, kernels are chosen
        turns = [(_cpu(one), _cpu(other)) for _ in range(ROUNDS)]
        found[kind] = [median(turn[i] for turn in turns) for i in range(2)]
    return found


def _ablate(module: Any, task: "NextTokens", frozen: bool) -> None:
    from ingest.models.hugging_face import HuggingFaceModel
    from ingest.readings.interventions import Interventions

    model = HuggingFaceModel(module, run="random", step=0)
    effects = Interventions(model, task, batch=4, say=print).ablated("mean", frozen=frozen)
    assert effects.isfinite().all()


def _bare(module: Any, task: "NextTokens") -> None:
    """For every head the layers from its own on, the last norm, and the logits that are asked for."""
    import numpy as np
    import torch
    from torch.nn import functional

    trunk, inputs = module.gpt_neox, []
    tokens = torch.from_numpy(
        np.stack([task.frozen.sequences[i] for i in range(len(task.frozen.sequences))])
    ).long()

    def keep(_module: Any, given: Any, named: Any) -> None:
        inputs.append((given[0], named))

    hooks = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in trunk.layers]
    trunk(tokens, use_cache=False)
    for hook in hooks:
        hook.remove()
    for first in range(len(trunk.layers)):
        for _ in range(SHAPE["num_attention_heads"]):
            x = inputs[first][0]
            for layer in range(first, len(trunk.layers)):
                x = trunk.layers[layer](x, **inputs[layer][1])
            final = trunk.final_layer_norm(x)
            if task.frozen.has_answers:
                module.get_output_embeddings().weight[1:3] @ final[:, -1].T
            else:
                for one, ids in zip(final, tokens, strict=True):
                    functional.cross_entropy(module.get_output_embeddings()(one[:-1]), ids[1:])


def _cpu(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


def _module(attention: str) -> Any:
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(**SHAPE, attn_implementation=attention)
    return GPTNeoXForCausalLM(config).eval().requires_grad_(False)


def _text() -> "NextTokens":
    return _task(*TEXT, answers=False)


def _prompts() -> "NextTokens":
    return _task(*PROMPTS, answers=True)


def _task(n: int, length: int, *, answers: bool) -> "NextTokens":
    """Random tokens."""
    import numpy as np

    from ingest.evalsets.frozen import FrozenEvalSet, Items
    from ingest.evalsets.next_tokens import NextTokens
    from ingest.evalsets.sequences import Sequences
    from ingest.evalsets.tokenizing import ByteTokenizer

    tokens = np.random.default_rng(0).integers(0, 256, (n, length))
    ids = np.full(n, 1, dtype=np.int32)
    items = Items(np.arange(n), np.full(n, length - 1), ids, ids + 1) if answers else None
    frozen = FrozenEvalSet.of(
        Sequences.of(list(tokens)), name="random", settings={}, tokenizer=ByteTokenizer.make(), bos_policy="none",
        context=length, items=items, facts={},
    )  # fmt: skip
    return NextTokens(frozen=frozen)


if __name__ == "__main__":
    print(json.dumps(seconds()))
