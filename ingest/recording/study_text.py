"""The study of a recorded run's checkpoints, as text. Imports no torch."""

import json
from pathlib import Path

from archive.records import Run
from ingest.studies.files import parse_study


def study_text(run: Run, path: Path, text: str, *, adapter: str = "", tokenizer: str = "") -> str:
    """TOML of a study that loads the run from the folder that the study lies in; `text` says what to measure.

    adapter: for family `module`. Raises UsageError, as reading the study would.
    """
    params = {
        "folder": ".",
        "run": run.name,
        "adapter": adapter,
        "init_seed": run.init_seed,
        "data_order_seed": run.data_order_seed,
        "condition": run.condition,
        "parent_run": run.parent_run,
        "tokens_per_step": run.tokens_per_step and int(run.tokens_per_step),
    }
    # strings and numbers of JSON are those of TOML
    inline = ", ".join(f"{key} = {json.dumps(v)}" for key, v in params.items() if v not in (None, ""))
    head = [
        f"name = {json.dumps(run.name)}",
        "",
        "[load]",
        f"family = {json.dumps(run.family)}",
        f"family_params = {{ {inline} }}",
        *([f"tokenizer = {json.dumps(tokenizer)}"] if tokenizer else []),
    ]
    whole = "\n".join([*head, "", text.strip(), ""])
    parse_study(whole, path)
    return whole
