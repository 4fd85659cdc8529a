"""Head scores, neurons' best examples and the loss: our pass against TransformerLens, which caches everything to be reduced.

Only with the optional extra `lens`; without it nothing is measured. One random model in the shape of Pythia-70m for both, the
same sequences of repeated tokens, 8 of 512 at a time, and numbers that agree. Seconds on the clock with a thread for each of two
cores, which is what is promised, CPU seconds on one thread, and resident memory, in processes of their own: ours started as
`ingest` starts its workers, TransformerLens as a script would be, and once more with the allocator settings of our workers.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measured import Measured, words

if TYPE_CHECKING:
    from ingest.evalsets.next_tokens import NextTokens

ROOT = Path(__file__).resolve().parent.parent
SHAPE = {
    "vocab_size": 50304, "hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8,
    "intermediate_size": 2048, "max_position_embeddings": 2048,
}  # fmt: skip
N_SEQUENCES, LENGTH, BATCH = 8, 512, 8
# at least 1.5 times as fast
PROMISED = 0.66
ROUNDS, PASSES = 2, 2
SCORES = ("head.previous_token", "head.first_token", "head.prefix_matching", "head.attention_entropy")
K = 20
WHAT = f"{len(SCORES)} head scores, {K} best examples of every neuron and the loss in one pass"


def measure(folder: Path) -> Iterable[Measured]:
    """Time and memory, when TransformerLens is there."""
    if importlib.util.find_spec("transformer_lens") is None:
        print(
            "lens: not measured, TransformerLens is not installed: pip install -c constraints.txt -e '.[lens]'",
            file=sys.stderr,
        )
        return
    yield _on_two_cores()
    kinds = ("ours", "theirs", "allocator", "chosen")
    turns = [{kind: _in_a_process(kind) for kind in kinds} for _ in range(ROUNDS)]
    for kind in kinds[1:]:
        _refuse_other_numbers(turns[0]["ours"]["numbers"], turns[0][kind]["numbers"])
    took = {kind: min(turn[kind]["seconds"] for turn in turns) for kind in kinds}
    how = {
        "theirs": "TransformerLens, everything cached and then reduced",
        "allocator": "the same with the allocator settings of our workers",
        "chosen": "TransformerLens with those settings, only patterns and activations cached",
    }
    for kind, bare in how.items():
        yield Measured(
            f"{WHAT}; {bare} (CPU seconds, one thread, fastest of {ROUNDS * PASSES})",
            words(took["ours"]), words(took[kind]), took["ours"] / took[kind],
        )  # fmt: skip
    ours, theirs = (min(turn[kind]["megabytes"] for turn in turns) for kind in ("ours", "theirs"))
    yield Measured(
        "peak memory above the model's of the same; TransformerLens, everything cached",
        f"{ours:.0f} MB", f"{theirs:.0f} MB", ours / theirs,
    )  # fmt: skip


def _on_two_cores() -> Measured:
    turns = [
        {kind: _in_a_process(kind, threads=2)["clock"] for kind in ("ours", "theirs")} for _ in range(ROUNDS)
    ]
    ours, theirs = (min(turn[kind] for turn in turns) for kind in ("ours", "theirs"))
    return Measured(
        f"{WHAT}; TransformerLens, everything cached and then reduced (clock, two threads, fastest of {ROUNDS * PASSES})",
        words(ours), words(theirs), ours / theirs, PROMISED,
    )  # fmt: skip


def _in_a_process(kind: str, threads: int = 1) -> dict[str, Any]:
    from ingest.train.spec import WORKER_ENV

    environment = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    without = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    added = {} if kind == "theirs" else WORKER_ENV
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_lens", kind],
        cwd=ROOT, env={**without, **added, **environment}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _refuse_other_numbers(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> None:
    """Two ways of getting different numbers are not worth comparing."""
    import numpy as np

    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], rtol=1e-3, atol=1e-5, err_msg=name)


# --- in the process --------------------------------------------------------------------------------------


def timed(kind: str) -> dict[str, Any]:
    """Seconds of the fastest pass, megabytes above the model's at most, and the numbers found."""
    task, module = _task(), _module()
    passes = _ours(module, task) if kind == "ours" else _theirs(module, task, everything=kind != "chosen")
    before = _status("VmRSS")
    numbers = next(passes)  # memory is mapped, kernels are chosen
    peak = _status("VmHWM") - before
    seconds, clock = [], []
    for _ in range(PASSES):
        began, began_clock = time.process_time(), time.perf_counter()
        next(passes)
        seconds.append(time.process_time() - began)
        clock.append(time.perf_counter() - began_clock)
    return {"seconds": min(seconds), "clock": min(clock), "megabytes": peak / 1024, "numbers": numbers}


def _ours(module: Any, task: "NextTokens") -> Iterator[dict[str, list[float]]]:
    """One pass after the other."""
    from ingest.measure import MEASURES
    from ingest.measuring.scanning import scan
    from ingest.models.hugging_face import HuggingFaceModel

    names = (*SCORES, "neuron.top", "loss")
    measures = [MEASURES.get(name) for name in names]
    model = HuggingFaceModel(module, run="random", step=0)
    model.trunk(_tokens(task)[:1, :8])  # libraries make room for themselves
    while True:
        found = dict(zip(names, scan(model, task, measures, batch=BATCH), strict=True))
        columns = {name: found[name].columns for name in names}
        best = columns["neuron.top"]["values"]
        yield {
            **{name: columns[name]["value"].tolist() for name in SCORES},
            "loss": [float(columns["loss"]["value"][0])],
            "best": [float(row[0]) for row in best],
        }


def _theirs(module: Any, task: "NextTokens", *, everything: bool) -> Iterator[dict[str, list[float]]]:
    """The same from a cache, as it is usually done: whole tensors, layer by layer."""
    import torch
    from transformer_lens.head_detector import get_induction_head_detection_pattern
    from transformer_lens.model_bridge import TransformerBridge

    with tempfile.TemporaryDirectory() as folder:  # where it looks for a tokenizer, in vain
        module.config.save_pretrained(folder)
        bridge = TransformerBridge.boot_transformers(folder, hf_model=module)
    tokens = _tokens(task)
    masks = torch.stack([get_induction_head_detection_pattern(row) for row in tokens])
    n_queries = (masks.sum(-1) > 0).sum(-1)[:, None]
    chosen = None if everything else lambda name: name.endswith(("attn.hook_pattern", "mlp.hook_post"))
    bridge(tokens[:1, :8])
    while True:
        scores: dict[str, list[torch.Tensor]] = {name: [] for name in SCORES}
        best = []
        loss, cache = bridge.run_with_cache(tokens, return_type="loss", names_filter=chosen)
        for layer in range(SHAPE["num_hidden_layers"]):
            pattern = cache[f"blocks.{layer}.attn.hook_pattern"]
            looked = {
                "head.previous_token": pattern.diagonal(-1, -2, -1).mean(-1),
                "head.first_token": pattern[..., 1:, 0].mean(-1),
                "head.prefix_matching": (pattern * masks[:, None]).sum((-2, -1)) / n_queries,
                "head.attention_entropy": torch.special.entr(pattern).sum(-1).mean(-1),
            }
            for name, score in looked.items():
                scores[name].append(score.mean(0))
            of_documents = cache[f"blocks.{layer}.mlp.hook_post"].amax(1)
            best.append(of_documents.topk(min(K, len(tokens)), dim=0).values[0])
        yield {
            **{name: torch.cat(found).tolist() for name, found in scores.items()},
            "loss": [float(loss)],
            "best": torch.cat(best).tolist(),
        }


def _status(name: str) -> int:
    """Kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _module() -> Any:
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    settings: dict[str, Any] = {**SHAPE, "attn_implementation": "eager"}
    return GPTNeoXForCausalLM(GPTNeoXConfig(**settings)).eval().requires_grad_(False)


def _task() -> "NextTokens":
    """Different random tokens, twice, a document each."""
    from ingest.evalset import Given
    from ingest.evalsets.next_tokens import NextTokens
    from ingest.evalsets.repeated_tokens import RepeatedTokens
    from ingest.evalsets.tokenizing import TaskTokenizer
    from ingest.tasks.repeated_tokens import RepeatedTokens as Words

    settings = RepeatedTokens(block=LENGTH // 2, copies=2, n_sequences=N_SEQUENCES, bos="none")
    return NextTokens(frozen=settings.freeze(Given(tokenizer=TaskTokenizer.of(Words(n_tokens=2000)))))


def _tokens(task: "NextTokens") -> Any:
    import numpy as np
    import torch

    return torch.from_numpy(task.evaluation().tokens.astype(np.int64))


if __name__ == "__main__":
    print(json.dumps(timed(sys.argv[1])))
