"""Measuring a language model: one pass for all measures against the bare forward pass; composition by factors; the shard.

CPU seconds on one thread and resident memory, in processes started as `ingest` starts its workers. A random model in the
shape of Pythia-70m and 8 sequences of 512 tokens. The bare way is transformers' own forward pass over all 8 with its fastest
attention (sdpa), which gives all logits and no attention patterns; ours takes as many at a time as a scan does.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.measured import Measured, words

if TYPE_CHECKING:
    from ingest.evalsets.next_tokens import NextTokens
    from ingest.measure import RegisteredMeasure
    from ingest.models.hugging_face import HuggingFaceModel

ROOT = Path(__file__).resolve().parent.parent
SHAPE = {
    "vocab_size": 50304, "hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8,
    "intermediate_size": 2048, "max_position_embeddings": 2048,
}  # fmt: skip
N_SEQUENCES, LENGTH = 8, 512
ROUNDS = 3


def measure(folder: Path) -> Iterable[Measured]:
    """Time and memory of a pass, and composition."""
    took = _in_a_worker("seconds")
    bare = took["bare"]
    for kind, promised in (("all", 1.25), ("heads", 0.6), ("likely", None), ("weights", None)):
        what = {
            "all": f"{took['n_all']:.0f} measures of text in one pass (all but likely tokens)",
            "heads": f"{took['n_heads']:.0f} head scores and neurons' best examples, no loss, in one pass",
            "likely": "the 64 likeliest tokens of every position besides the loss",
            "weights": "copying, composition and neurons' effects on logits, once a checkpoint",
        }[kind]
        yield Measured(
            f"{what}; the bare forward pass with logits (CPU seconds, one thread, median of {ROUNDS})",
            words(took[kind]), words(bare), took[kind] / bare, promised,
        )  # fmt: skip
    ours, plain = _in_a_worker("memory_ours")["megabytes"], _in_a_worker("memory_bare")["megabytes"]
    yield Measured(
        "peak memory above the model's, all measures of text in one pass; the bare forward pass with logits",
        f"{ours:.0f} MB", f"{plain:.0f} MB", ours / plain, 0.4,
    )  # fmt: skip
    took = _in_a_worker("shard")
    yield Measured(
        f"shard of all {took['n']:.0f} measures of one checkpoint, {took['megabytes']:.1f} MB: making and writing it (left) "
        "against its scan (seconds on the clock)",
        words(took["shard"]), words(took["scan"]), took["shard"] / took["scan"], 0.03,
    )  # fmt: skip
    took = _in_a_worker("composition")
    yield Measured(
        "Q-composition of all pairs of heads with its null, float64; d × d products alone, float32 (CPU seconds)",
        words(took["ours"]), words(took["bare"]), took["ours"] / took["bare"], 0.25,
    )  # fmt: skip


def _in_a_worker(what: str) -> dict[str, float]:
    """Run one of the functions below in a process of its own."""
    from ingest.train.spec import WORKER_ENV

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_scan", what],
        cwd=ROOT, env={**os.environ, **WORKER_ENV, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


# --- in the worker ---------------------------------------------------------------------------------------


def seconds() -> dict[str, float]:
    """CPU seconds of the bare pass and of ours, in turns."""
    bare_model, model, task = _module("sdpa"), _model(), _task()
    chosen = {"all": _of_text(), "heads": _of_heads()}
    loss, likely, weights = (
        _named("loss"), _named("loss", "token_top"), [one for one in _everything() if one.reads == "circuit"],
    )  # fmt: skip
    ways: dict[str, Callable[[], object]] = {
        "bare": lambda: _bare(bare_model, task),
        "all": lambda: _scanned(model, task, chosen["all"]),
        "heads": lambda: _scanned(model, task, chosen["heads"]),
    }
    for way in ways.values():
        way()  # memory is mapped, kernels are chosen
    turns = [{name: _cpu(way) for name, way in ways.items()} for _ in range(ROUNDS)]
    found = {name: median(turn[name] for turn in turns) for name in ways}
    with_likely, without = (_cpu(lambda m=m: _scanned(model, task, m)) for m in (likely, loss))
    return {
        **found,
        **{f"n_{name}": float(len(measures)) for name, measures in chosen.items()},
        "likely": with_likely - without,
        "weights": _cpu(lambda: _scanned(model, task, weights)),
    }


def memory_ours() -> dict[str, float]:
    """Megabytes above what is resident once the model is there."""
    model, task = _model(), _task()
    model.trunk(_tokens(task)[:1, :8])  # libraries make room for themselves
    return {"megabytes": _peak(lambda: _scanned(model, task, _of_text()))}


def memory_bare() -> dict[str, float]:
    """The same of the bare pass."""
    module, task = _module("sdpa"), _task()
    module(_tokens(task)[:1, :8], use_cache=False)
    return {"megabytes": _peak(lambda: _bare(module, task))}


def shard() -> dict[str, float]:
    """Seconds of scanning one checkpoint with all measures that fit a text, and of its shard, on disk when it ends."""
    from archive.records import Checkpoint
    from archive.shard import ShardBuilder
    from ingest.measuring.scanning import scan

    model, task = _model(), _task()
    measures = [one for one in _everything() if one.taken_on in ("any", "text")]
    began = time.perf_counter()
    values = scan(model, task, measures)
    scanned = time.perf_counter() - began

    def written(folder: Path) -> Path:
        builder = ShardBuilder(kind="measure")
        owner = builder.checkpoint(Checkpoint(run=model.run, step=model.step))
        for value in values:
            value.add_to(builder, owner)
        return builder.write(folder)

    took = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            files = written(Path(folder))
            took.append(time.perf_counter() - began)
        megabytes = sum(file.stat().st_size for file in files.iterdir()) / 1e6
    n = sum(value.state == 1 for value in values)
    return {"scan": scanned, "shard": median(took), "megabytes": megabytes, "n": float(n)}


def composition() -> dict[str, float]:
    """CPU seconds of all pairs of heads, by factors and by products of d_model × d_model matrices."""
    from ingest.mathematics.composition import composition as by_factors
    from ingest.readings.circuit import CircuitWeights

    layers = CircuitWeights(_model()).attention

    def naive() -> None:
        written = [layer["W_V"] @ layer["W_O"] for layer in layers]
        read = [layer["W_Q"] @ layer["W_K"].mT for layer in layers]
        for target in range(1, len(layers)):
            for source in range(target):
                for one in written[source]:
                    norms = (one @ read[target]).flatten(1).norm(dim=1)
                    norms / (one.norm() * read[target].flatten(1).norm(dim=1))

    turns = [(_cpu(lambda: by_factors(layers, "q")), _cpu(naive)) for _ in range(3)]
    return {"ours": median(turn[0] for turn in turns), "bare": median(turn[1] for turn in turns)}


def _everything() -> "list[RegisteredMeasure]":
    """What applies to this model: it has no LayerNorm between its neurons and what reads them."""
    from ingest.measure import MEASURES
    from ingest.readings.units import SOLU_NEURONS

    found = [entry.thing for entry in MEASURES.entries().values()]
    return [one for one in found if one.any_model and one.site != SOLU_NEURONS]


def _named(*names: str) -> "list[RegisteredMeasure]":
    return [one for one in _everything() if one.name in names]


def _of_text() -> "list[RegisteredMeasure]":
    """Everything that looks at activations or answers on a text, but likely tokens."""
    kinds = ("examples", "predictions", "units")
    return [one for one in _everything() if one.reads in kinds and one.taken_on in ("any", "text")]


def _of_heads() -> "list[RegisteredMeasure]":
    heads = [one for one in _of_text() if one.scope in ("head", "head vector")]
    return [*heads, *_named("neuron.top")]


def _scanned(model: "HuggingFaceModel", task: "NextTokens", measures: "Sequence[RegisteredMeasure]") -> None:
    from ingest.measuring.scanning import scan

    for value in scan(model, task, measures):
        assert value.state == 1, value.message


def _bare(module: Any, task: "NextTokens") -> None:
    module(_tokens(task), use_cache=False)


def _cpu(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


def _peak(action: Callable[[], object]) -> float:
    """Megabytes that were resident at most while it ran, above those before."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    action()
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _module(attention: str) -> Any:
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    config = GPTNeoXConfig(**SHAPE, attn_implementation=attention)
    return GPTNeoXForCausalLM(config).eval().requires_grad_(False)


def _model() -> "HuggingFaceModel":
    from ingest.models.hugging_face import HuggingFaceModel

    return HuggingFaceModel(_module("eager"), run="random", step=0)


def _task() -> "NextTokens":
    """Random tokens with classes, a document each."""
    import numpy as np

    from ingest.evalsets.frozen import FrozenEvalSet
    from ingest.evalsets.next_tokens import NextTokens
    from ingest.evalsets.sequences import Sequences
    from ingest.evalsets.tokenizing import ByteTokenizer

    shape = (N_SEQUENCES, LENGTH)
    generator = np.random.default_rng(0)
    sequences = Sequences.of(
        list(generator.integers(0, 256, shape)),
        document=range(N_SEQUENCES),
        classes=list(generator.integers(1, 6, shape)),
    )
    frozen = FrozenEvalSet.of(
        sequences, name="random", settings={}, tokenizer=ByteTokenizer.make(), bos_policy="none", context=LENGTH, facts={}
    )  # fmt: skip
    return NextTokens(frozen=frozen)


def _tokens(task: "NextTokens") -> Any:
    import numpy as np
    import torch

    return torch.from_numpy(task.evaluation().tokens.astype(np.int64))


if __name__ == "__main__":
    named = {
        "seconds": seconds, "memory_ours": memory_ours, "memory_bare": memory_bare, "shard": shard,
        "composition": composition,
    }  # fmt: skip
    print(json.dumps(named[sys.argv[1]]()))
