"""Language models trained here: from a study file to what is in the archive."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from archive.store import Archive
from archive.upkeep.recomputing import recompute
from ingest.measuring.recompute import now, recompute_cells
from ingest.train.checkpoints import load_run
from pathscope.__main__ import app
from tests.ingest.tasks.corpora import write_texts

NAMES = [
    "loss", "icl_score", "induction_loss", "token_loss", "position_loss", "token_top", "weight_norm", "gradient_norm",
    "logit_products", "head.prefix_matching", "head.previous_token", "head.class_profile", "head.copying_logit",
    "q_composition", "neuron.top", "neuron.statistics", "neuron.logit_effect", "attention_pattern",
]  # fmt: skip
TRAIN = f"""
name = "tales"
[train]
task = "text"
steps = 4
batch = 4
[train.task_params]
files = ["tales"]
held_out = 3
context = 25
repeated = 0.5
max_period = 8
evaluated = 8
[train.model]
n_layers = 2
d_model = 16
n_heads = 2
d_mlp = 8
layer_norm = true
positions = "attention"
[train.checkpoints]
per_octave = 0
every = 2
[sweep]
"model.n_layers" = [1, 2]
[measures]
names = {json.dumps(NAMES)}
[measures.schedule]
token_loss = "final"
token_top = "final"
[executor]
kind = "inline"
"""
LOAD = """
name = "tales-asked"
[load]
family = "own_runs"
family_params = { folder = "x.d/checkpoints/tales" }
[[eval_sets]]
kind = "prompts"
file = "asked.jsonl"
bos = "prepend"
[measures]
names = ["top_accuracy"]
[executor]
kind = "inline"
"""
RUNS = ["tales/n_layers=1/init0-data0-split0", "tales/n_layers=2/init0-data0-split0"]


def ingest(study: Path, *more: str) -> dict[str, object]:
    command = ["ingest", str(study), "--archive", str(study.parent / "x.duckdb"), "--json", *more]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    [report] = json.loads(done.stdout)["studies"]
    return report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, empty_archive: Path) -> Path:
    folder = tmp_path_factory.mktemp("language")
    shutil.copy(empty_archive, folder / "x.duckdb")
    write_texts(folder / "tales")
    (folder / "tales.toml").write_text(TRAIN)
    assert ingest(folder / "tales.toml")["state"] == "done"
    return folder


@pytest.fixture(scope="module")
def archive(folder: Path) -> Archive:
    return Archive(folder / "x.duckdb")


def test_every_measure_is_there_on_the_eval_set_it_is_about(archive: Archive) -> None:
    found = archive.rows(
        """SELECT measure, any_value(eval_set) AS eval_set, count(DISTINCT eval_set) AS n, count(DISTINCT run) AS n_runs,
                  bool_and(state = 'done') AS done
           FROM v_cell WHERE step IS NOT NULL GROUP BY measure"""
    )
    of = {row["measure"]: row for row in found}
    assert set(of) == set(NAMES)
    # a single layer has no pair of layers
    assert {name for name, row in of.items() if not row["done"]} == {"q_composition"}
    assert {(row["n_runs"], row["n"]) for row in found} == {(2, 1)}
    repeats = {"induction_loss", "head.prefix_matching"}
    of_weights = {"weight_norm", "head.copying_logit", "q_composition", "neuron.logit_effect"}
    for name in NAMES:
        expected = (
            "unknown" if name in of_weights else "repeated" if name in repeats else "held-out text, 25 tokens"
        )
        assert of[name]["eval_set"].startswith(expected) or name in of_weights, (name, of[name]["eval_set"])


def test_steps_count_updates_and_tokens_what_they_saw(archive: Archive) -> None:
    rows = archive.rows("SELECT run, step, tokens_seen FROM v_checkpoint ORDER BY run, step")
    assert [(r["run"], r["step"], r["tokens_seen"]) for r in rows] == [
        (run, step, step * 4 * 25) for run in RUNS for step in (0, 2, 4)
    ]


def test_tokens_can_be_read_as_text(archive: Archive) -> None:
    [found] = archive.rows(
        """SELECT count(*) AS n FROM content_sequence s JOIN content_document d USING (document)
           WHERE s.document >= 0 AND position(substr(d.text, 1, 5) IN 'Tale ') = 1"""
    )
    assert found["n"] == 8
    words = archive.rows(
        "SELECT text, special FROM content_vocab WHERE token_id IN (84, 256) ORDER BY token_id"
    )
    assert [(w["text"], w["special"]) for w in words] == [("T", False), ("<start>", True)]


def test_two_depths_see_the_same_data_and_begin_with_the_same_numbers_where_both_have_them(
    archive: Archive, folder: Path
) -> None:
    assert len(archive.rows("SELECT DISTINCT data_order_hash FROM v_run")) == 1
    assert len(archive.rows("SELECT DISTINCT init_hash FROM v_run")) == 2  # of all weights together
    one, two = (
        load_run(next(folder.glob(f"x.d/checkpoints/tales/n_layers={n}*/step-000000000.safetensors")), run)
        for n, run in enumerate(RUNS, start=1)
    )
    assert {"embed.W_E", "unembed.W_U", "blocks.0.attn.W_Q", "blocks.0.mlp.W_in"} < set(one.weights)
    for name, weight in one.weights.items():
        assert torch.equal(weight, two.weights[name]), name
    assert "blocks.1.attn.W_Q" in two.weights


def test_it_comes_out_the_same_measured_again(folder: Path) -> None:
    [done] = Archive(folder / "x.duckdb").rows(
        "SELECT count(*) AS n FROM v_cell WHERE step IS NOT NULL AND state = 'done'"
    )
    result = recompute(folder / "x.duckdb", 1.0, 0, "all", recompute_cells, now)
    assert (result.ok, result.left_out) == (True, ())
    assert result.n_cells == done["n"] > 2 * 2 * len(NAMES)


def test_there_is_nothing_to_do_a_second_time_nor_after_a_move(folder: Path, tmp_path: Path) -> None:
    assert ingest(folder / "tales.toml")["state"] == "nothing to do"
    moved = tmp_path / "moved"
    folder.rename(moved)
    try:
        assert ingest(moved / "tales.toml")["state"] == "nothing to do"
    finally:
        moved.rename(folder)


def test_other_texts_are_another_study(folder: Path) -> None:
    added = folder / "tales" / "more.txt"
    added.write_text("one tale more " * 20)
    try:
        command = ["ingest", str(folder / "tales.toml"), "--archive", str(folder / "x.duckdb")]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 2
        assert "with other training settings" in " ".join(done.output.split())
        again = recompute(folder / "x.duckdb", 1.0, 0, "all", recompute_cells, now)
        assert again.ok  # nothing is wrong with the archive, only nothing can be measured again
        assert len(again.left_out) == again.n_cells > 0
        assert "are not those of this task" in again.left_out[0].reason
    finally:
        added.unlink()


def test_what_was_trained_answers_prompts(folder: Path) -> None:
    (folder / "asked.jsonl").write_text(json.dumps({"prompt": "Tale", "correct": " ", "distractor": "x"}))
    (folder / "asked.toml").write_text(LOAD)
    assert ingest(folder / "asked.toml")["state"] == "done"
