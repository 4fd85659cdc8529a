"""Published `.pth` files as a family: which files count, what a model says, what is refused."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from archive.errors import UsageError
from archive.store import Archive
from ingest.evalset import Given
from ingest.evalsets.next_tokens import NextTokens
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.repeated_tokens import RepeatedTokens
from ingest.families.saved_runs import SavedRuns
from ingest.measure import MEASURES
from ingest.measuring.scanning import scan
from ingest.models.layout import Layout
from ingest.models.published import to_published
from pathscope.__main__ import app
from tests.ingest.small_models import random_model

P = 11
LAYOUT = Layout(
    n_tokens=P + 1, n_outputs=P + 1, n_positions=3, n_layers=1, d_model=12, n_heads=2, d_head=6, d_mlp=8
)
SETTINGS = {"p": P, "frac_train": 0.3, "fn_name": "add", "seed": 0, "act_type": "ReLU"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = random_model(LAYOUT)
    record = {
        "model": to_published(LAYOUT, model.weights),
        "config": SETTINGS,
        "train_losses": [2.0, 1.5, 1.0],
        "epoch": 2,
    }
    torch.save(record, tmp_path / "trained.pth")
    torch.save([2.0, 1.0], tmp_path / "curve.pth")
    (tmp_path / "broken.pth").write_bytes(b"PK\x03\x04 and nothing else")
    return tmp_path


def test_a_file_with_a_model_is_a_run_with_one_checkpoint(folder: Path) -> None:
    family = SavedRuns(folder=folder)
    [spec] = family.runs()
    assert (spec.name, spec.size.n_layers if spec.size else None) == ("trained", 1)
    [ref] = family.checkpoints(spec)
    assert (ref.step, ref.label) == (3, "final")
    snapshot = family.source().get(ref.repository, ref.revision)
    model = family.load(ref, snapshot)
    assert model.weights_hash
    tokens = torch.tensor([[1, 2, P]])
    torch.testing.assert_close(model.logits(tokens)[0], random_model(LAYOUT).logits(tokens)[0])


def test_it_is_measured_with_the_words_of_its_task(folder: Path) -> None:
    family = SavedRuns(folder=folder)
    [spec] = family.runs()
    tokenizer = family.tokenizer(spec)
    assert tokenizer is not None
    settings = RepeatedTokens(bos="none", block=3, copies=2, n_sequences=2, most_common=0, least_common=0)
    [ref] = family.checkpoints(spec)
    model = family.load(ref, family.source().get("", ref.revision))
    task = NextTokens(frozen=settings.freeze(Given(tokenizer=tokenizer)))
    with pytest.raises(EvalSetRefused, match="takes 3"):  # the eval set is longer than the model's context
        scan(model, task, [MEASURES.get("head.previous_token")])


def test_a_folder_without_models_says_so(tmp_path: Path) -> None:
    torch.save([2.0, 1.0], tmp_path / "curve.pth")
    with pytest.raises(UsageError, match="holds a trained model"):
        SavedRuns(folder=tmp_path).runs()


STUDY = """
name = "{name}"
[load]
family = "saved_runs"
family_params = {{ folder = "{folder}" }}
runs = ["{run}"]
{eval_sets}
[measures]
names = {names}
[executor]
kind = "inline"
"""
REPEATS = """[[eval_sets]]
kind = "repeated_tokens"
bos = "none"
block = 20
copies = 2
n_sequences = 20
most_common = 0.0
least_common = 0.0"""
PROMPTS = """[[eval_sets]]
kind = "prompts"
file = "sums.jsonl" """


def carried_out(
    tmp_path: Path, refdata: Path, name: str, run: str, eval_sets: str, names: list[str]
) -> Archive:
    text = STUDY.format(
        name=name,
        folder=refdata / "grokking" / "saved_runs",
        run=run,
        eval_sets=eval_sets,
        names=json.dumps(names),
    )
    (tmp_path / f"{name}.toml").write_text(text)
    database = tmp_path / "x.duckdb"
    arguments = ["ingest", str(tmp_path / f"{name}.toml"), "--archive", str(database), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return Archive(database)


@pytest.mark.refdata
def test_the_published_induction_model_has_induction_heads(tmp_path: Path, refdata: Path) -> None:
    names = [n for n, e in MEASURES.entries().items() if e.thing.any_model and e.thing.taken_on != "prompts"]
    archive = carried_out(tmp_path, refdata, "induction", "induction*", REPEATS, names)
    heads = archive.rows(
        """SELECT layer, head, value, chance FROM v_head_score
           WHERE measure = 'head.prefix_matching' AND params_json LIKE '%sum_targets%' ORDER BY value DESC"""
    )
    assert {row["layer"] for row in heads[:3]} == {1}
    assert heads[2]["value"] > 8 * heads[2]["chance"]
    losses = {
        row["part"]: row["value"]
        for row in archive.rows("SELECT part, value FROM v_scalar WHERE measure = 'induction_loss'")
    }
    assert losses["later"] < losses["first"] - 1
    states = {row["state"] for row in archive.rows("SELECT DISTINCT state FROM v_cell")}
    assert states <= {"done", "not applicable"}  # no MLP, no classes of tokens


@pytest.mark.refdata
def test_the_published_addition_model_adds(tmp_path: Path, refdata: Path) -> None:
    sums = [(3, 4), (60, 60), (112, 112), (0, 0), (99, 31)]
    lines = [
        {"prompt": f"{a} {b} =", "correct": f" {(a + b) % 113}", "distractor": f" {(a + b + 1) % 113}"}
        for a, b in sums
    ]
    (tmp_path / "sums.jsonl").write_text("\n".join(map(json.dumps, lines)))
    names = ["task_accuracy", "top_accuracy", "target_prob", "logit_difference"]
    archive = carried_out(tmp_path, refdata, "addition", "wd_10-1*", PROMPTS, names)
    rows = archive.rows(
        """SELECT m.name, min(f.value) AS least FROM fact_item f JOIN quantity q ON q.id = f.quantity_id
           JOIN measure m ON m.id = q.measure_id GROUP BY m.name"""
    )
    least = {row["name"]: row["least"] for row in rows}
    assert (least["task_accuracy"], least["top_accuracy"]) == (1.0, 1.0)
    assert least["target_prob"] > 0.999
