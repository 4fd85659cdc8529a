"""How many worker processes of a load study fit memory."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ingest.family import make_family
from ingest.planning.model_size import UNKNOWN, size_of, size_of_config
from ingest.planning.wanted import Wanted, WantedCondition, WantedMeasure
from ingest.planning.worker_memory import SHORT_BATCHED_AS, fitting, worker_bytes
from ingest.readings.interventions import USUAL_LENGTH
from ingest.run.free_memory import free_memory
from ingest.studies.loading import LoadedRun, LoadSpec
from ingest.studies.parts import ExecutorChoice

GB = 10**9


def loaded(name: str = "pythia-70m", family: str = "pythia", **params: Any) -> tuple[LoadedRun, LoadSpec]:
    load = LoadSpec(family=family, family_params=params, batch=4)
    made = load.make_family()
    spec = made.find(name)
    return LoadedRun(name, name, spec, made.checkpoints(spec)), load


def bytes_of(
    run: LoadedRun, load: LoadSpec, *measured: WantedMeasure, cells: Any = None, unit: int = 16
) -> int:
    plan = cast(Any, SimpleNamespace(tasks=[SimpleNamespace(run=run, cells=cells or {0: ()})]))
    return worker_bytes(plan, Wanted({run.label: WantedCondition(1, (), measured)}, ""), load, unit)


def test_it_is_what_was_measured_and_not_much_more() -> None:
    """Processes that read, scanned (512 and 1024 tokens) or folded random weights of this size took at most this."""
    run, load = loaded()
    for n_positions, most in ((0, 1.244), (512, 1.102), (1024, 1.192)):
        found = bytes_of(run, load, WantedMeasure("loss", "q", (0,), n_positions=n_positions))
        assert most * GB < found < 2.2 * GB
    assert bytes_of(run, load) == pytest.approx(0.4 * GB + 12 * 70_426_624)


def test_causal_measures_keep_all_layers_of_their_runs() -> None:
    """Patching to first order 128 prompts of 16 tokens took 1.43 GB in a process with random weights of this size."""
    run, load = loaded()
    sizes = {"n_positions": 16, "n_tokens": 2048}
    plain = WantedMeasure("task_accuracy", "q", (0,), **sizes)
    causal = WantedMeasure("head.attribution_patching", "q", (0,), **sizes, further_tokens=8192)
    assert bytes_of(run, load, plain) < 1.43 * GB < bytes_of(run, load, plain, causal) < 2.2 * GB
    few = WantedMeasure(
        "head.attribution_patching", "q", (0,), n_positions=16, n_tokens=160, further_tokens=640
    )
    assert bytes_of(run, load, few) < bytes_of(run, load, causal)
    assert SHORT_BATCHED_AS == USUAL_LENGTH


def test_larger_models_longer_sequences_and_more_results_take_more() -> None:
    run, load = loaded()
    short = WantedMeasure("loss", "q", (0,), n_positions=64)
    assert bytes_of(*loaded("pythia-1b"), short) > 8 * GB
    assert bytes_of(run, load, short) < bytes_of(
        run, load, WantedMeasure("loss", "q", (0,), n_positions=2048)
    )
    top = WantedMeasure("neuron.top", "q", (0, 1, 2), n_positions=64, row_bytes=7 * GB)
    cells = {step: ("neuron.top",) for step in range(3)}
    one, two = (bytes_of(run, load, top, cells=cells, unit=unit) for unit in (1, 2))
    assert one - bytes_of(run, load, short) == 7 * GB
    assert two - one == 7 * GB


def choose(free: int | None, **settings: Any) -> tuple[int | None, str]:
    choice, notes = fitting(ExecutorChoice(**settings), 2 * GB, free, 8)
    return choice.processes, " ".join(notes)


def test_fewer_processes_where_memory_is_short_and_it_says_so() -> None:
    assert choose(100 * GB) == (None, "")
    assert choose(None) == (None, "")
    processes, said = choose(10 * GB)
    assert processes == 4
    assert "a worker takes about 2 GB, 10 GB of memory are free: 4 of 8 possible processes" in said
    processes, said = choose(1 * GB)
    assert processes == 1
    assert "even one process may run out" in said


def test_what_the_study_says_is_kept_with_a_warning() -> None:
    assert choose(10 * GB, processes=4) == (4, "")
    processes, said = choose(10 * GB, processes=6)
    assert processes == 6
    assert "6 processes may run out of it; 4 fit (executor.processes = 4)" in said
    assert choose(10 * GB, kind="inline") == (None, "")
    assert "even one process" in choose(1 * GB, kind="inline")[1]
    assert choose(1, kind="a.cluster:executor") == (None, "")
    assert choose(1, device="cuda") == (None, "")


CONFIGS = {
    "gpt_neox": {
        "num_hidden_layers": 6,
        "hidden_size": 512,
        "num_attention_heads": 8,
        "intermediate_size": 2048,
    }
    | {"vocab_size": 50304, "max_position_embeddings": 2048},
    "gpt2": {
        "n_layer": 12,
        "n_embd": 768,
        "n_head": 12,
        "n_inner": None,
        "vocab_size": 50257,
        "n_positions": 1024,
    },
    "gpt_neo": {"num_layers": 12, "hidden_size": 768, "num_heads": 12, "intermediate_size": None}
    | {"vocab_size": 50257, "max_position_embeddings": 2048},
    "opt": {"num_hidden_layers": 12, "hidden_size": 768, "num_attention_heads": 12, "ffn_dim": 3072}
    | {"vocab_size": 50272, "max_position_embeddings": 2048},
}
FAMILIES = {
    "gpt_neox": ("pythia", "pythia-70m"),
    "gpt2": ("gpt2", "gpt2-small"),
    "gpt_neo": ("gpt_neo", "gpt-neo-125m"),
}
FAMILIES["opt"] = ("opt", "opt-125m")


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_configuration_says_what_the_catalogue_does(kind: str) -> None:
    family, run = FAMILIES[kind]
    known = make_family(family).find(run).size
    assert known is not None
    found = size_of_config({"model_type": kind, **CONFIGS[kind]})
    same = ("n_layers", "n_heads", "d_model", "d_mlp", "d_vocab", "context")
    assert {name: getattr(found, name) for name in same} == {name: getattr(known, name) for name in same}
    assert found.n_params == pytest.approx(known.n_params, rel=0.005)  # biases and norms are left out


def test_a_folder_on_this_disk_is_asked_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "series" / "step1").mkdir(parents=True)
    place = tmp_path / "series" / "step1"
    (place / "config.json").write_text(json.dumps({"model_type": "gpt_neox", **CONFIGS["gpt_neox"]}))
    (place / "model.safetensors").write_bytes(b"weights")
    run, load = loaded("series", "hugging_face", folder=str(tmp_path / "series"))
    assert size_of(run, load).n_params == pytest.approx(70_426_624, rel=0.005)
    (place / "config.json").write_text("{")
    assert size_of(run, load) is UNKNOWN
    assert size_of(*loaded("model", "hugging_face", repository="org/model", revisions=["step1"])) is UNKNOWN
    with pytest.raises(ValueError, match="none of num_hidden_layers, n_layer, num_layers"):
        size_of_config({})


def test_free_memory_is_the_least_of_what_machine_and_container_leave(tmp_path: Path) -> None:
    assert free_memory(tmp_path) is None

    def write(path: str, text: str) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    write("proc/meminfo", "MemTotal: 99 kB\nMemAvailable:    5000 kB\n")
    assert free_memory(tmp_path) == 5_120_000
    write("sys/fs/cgroup/memory.max", "max\n")
    write("sys/fs/cgroup/memory.current", "1000\n")
    assert free_memory(tmp_path) == 5_120_000
    write("sys/fs/cgroup/memory.max", "10000\n")
    assert free_memory(tmp_path) == 9000
    write("sys/fs/cgroup/memory.stat", "anon 7\ninactive_file 500\n")
    assert free_memory(tmp_path) == 9500
    write("sys/fs/cgroup/memory/memory.limit_in_bytes", "700\n")
    write("sys/fs/cgroup/memory/memory.usage_in_bytes", "900\n")
    assert free_memory(tmp_path) == 0
