"""Runs trained here are loaded again, all of them with every measure there is, from the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from archive.store import Archive
from ingest.measure import MEASURES
from pathscope.__main__ import app

TRAIN = """
name = "words"
[train]
task = "repeated_tokens"
steps = 24
batch = 4
task_params = { n_tokens = 12, length = 14, min_period = 4, max_period = 6 }
model = { n_layers = 2, d_model = 12, n_heads = 2, d_mlp = 10, layer_norm = true, activation = "solu_ln" }
checkpoints = { per_octave = 0, every = 12 }
[seeds]
init = "0..2"
data_order = "0..2"
[measures]
names = ["loss"]
schedule = { loss = "final" }
[executor]
kind = "inline"
"""
LOAD = """
name = "words-again"
[load]
family = "own_runs"
family_params = {{ folder = "x.d/checkpoints/words" }}
[[eval_sets]]
kind = "repeated_tokens"
bos = "none"
block = 6
copies = 2
n_sequences = 4
most_common = 0.0
least_common = 0.0
[[eval_sets]]
kind = "prompts"
file = "asked.jsonl"
[measures]
names = {names}
[executor]
kind = "inline"
"""
# three need classes of tokens, which a task's words do not have; three as many outputs as tokens, and one word is a marker;
# two prompts that name roles or tokens of one meaning
NOT_HERE = {
    "head.class_profile", "head.mask", "head.mask_z", "head.copying_eig", "head.copying_logit", "head.copying_topk",
    "head.role_attention", "head.soft_prefix_matching",
}  # fmt: skip


@pytest.mark.slow
def test_three_seeds_with_all_measures(tmp_path: Path) -> None:
    names = [name for name, entry in MEASURES.entries().items() if entry.thing.any_model]
    asked = [{"prompt": "1 2 3 1", "correct": " 2", "distractor": " 3", "counterfactual": "1 3 2 1"}]
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (tmp_path / "train.toml").write_text(TRAIN)
    (tmp_path / "load.toml").write_text(LOAD.format(names=json.dumps(names)))
    database = tmp_path / "x.duckdb"
    runner = CliRunner()
    for study in ("train.toml", "load.toml"):
        done = runner.invoke(app, ["ingest", str(tmp_path / study), "--archive", str(database), "--json"])
        assert done.exit_code == 0, done.output
    archive = Archive(database)
    rows = archive.rows(
        """SELECT measure, count(DISTINCT run) AS n_runs, count(DISTINCT step) AS n_steps, bool_or(state = 'done') AS done,
                  bool_and(state IN ('done', 'not applicable')) AS fine
           FROM v_cell WHERE step IS NOT NULL GROUP BY measure"""
    )
    found = {row["measure"]: row for row in rows}
    wanted = {MEASURES.get(name).record.name for name in names}
    assert wanted <= set(found)
    assert {name for name in wanted if not found[name]["done"]} == NOT_HERE
    assert all(row["fine"] for row in rows)
    assert {found[name]["n_runs"] for name in wanted} == {3}
    assert found["head.previous_token"]["n_steps"] == 3
    again = runner.invoke(app, ["ingest", str(tmp_path / "load.toml"), "--archive", str(database), "--json"])
    assert json.loads(again.stdout)["studies"][0]["state"] == "nothing to do"
