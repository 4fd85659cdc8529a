"""The published grokking runs as tests look at them: names, tolerances, stored numbers by part."""

import json
from pathlib import Path

import torch

from archive.store import Archive
from ingest.importers.published_models import load_model
from ingest.models.loaded import LoadedModel

ADDITION = "grokking/wd_10-1_mod_addition_loss_curve"
INDUCTION = "grokking/induction_head_infinite"
SCORE, LOSS = {"abs": 2e-4}, {"rel": 1e-3}


def loaded(refdata: Path, name: str) -> LoadedModel:
    path = refdata / "grokking" / "saved_runs" / f"{name}.pth"
    record = torch.load(path, map_location="cpu", weights_only=True)
    return load_model(name, 0, record["model"], {})


def scalars(archive: Archive, run: str, measure: str, **params: str) -> dict[str, float]:
    rows = archive.rows(
        "SELECT part, value, params_json FROM v_scalar WHERE run = $run AND measure = $measure",
        {"run": run, "measure": measure},
    )
    chosen = [r for r in rows if params.items() <= json.loads(r["params_json"]).items()]
    assert len({r["params_json"] for r in chosen}) == 1
    return {r["part"]: r["value"] for r in chosen}


def vectors(archive: Archive, run: str, measure: str) -> dict[str, list[float]]:
    rows = archive.rows(
        'SELECT part, "values" FROM v_vector WHERE run = $run AND measure = $measure',
        {"run": run, "measure": measure},
    )
    return {r["part"]: r["values"] for r in rows}
