"""Runs and families trained here, as the archive knows them. Imports no torch."""

from collections.abc import Sequence

from archive.records import Family, Run
from ingest.registry import first_sentence
from ingest.studies.naming import condition_of
from ingest.task import TASKS
from ingest.train.spec import Seeds, TrainSpec


def family_record(spec: TrainSpec) -> Family:
    """Models trained on one task are one family."""
    task = TASKS.get(spec.task)
    return Family(name=spec.task, summary=first_sentence(task), facts={"citation": task.citation})


def run_record(
    name: str, seeds: Seeds, spec: TrainSpec, init_hash: str = "", apart: Sequence[str] = ()
) -> Run:
    """A run of a study.

    init_hash: hash of its weights at step 0, so runs that share an init are known to. apart: as `condition_of` has it.
    """
    layout = spec.layout()
    return Run(
        name=name,
        family=spec.task,
        architecture=_architecture(spec),
        n_params=layout.n_params,
        n_layers=layout.n_layers,
        n_heads=layout.n_heads,
        d_model=layout.d_model,
        d_mlp=layout.d_mlp,
        init_seed=seeds.init,
        data_order_seed=seeds.data_order,
        split_seed=seeds.split,
        init_hash=init_hash,
        data_order_hash=spec.data_order_hash(seeds),
        condition=condition_of(spec, apart),
        config={"train": spec.model_dump(mode="json"), "seeds": seeds.model_dump(), "spec_hash": spec.hash},
        tokens_per_step=float(spec.tokens_per_step),
        final_step=spec.steps,
    )


def _architecture(spec: TrainSpec) -> str:
    model = spec.model
    parts = [f"{model.n_layers}-layer transformer", "LayerNorm" if model.layer_norm else "no LayerNorm"]
    if not model.n_heads:
        parts.append("MLP only")
    elif not model.d_mlp:
        parts.append("attention only")
    return ", ".join(parts + ([model.activation] if model.d_mlp else []))
