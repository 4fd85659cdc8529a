"""A model trained on one text and then on another, recorded, measured, and asked what fine-tuning did to it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from archive.layout import Layout
from archive.store import Archive
from ingest.recording.recorder import Recorder
from ingest.run.calls import ingest
from ingest.run.conduct import Options
from ingest.studies.files import load_study
from queries.component_change import component_change
from queries.finetune_shift import finetune_shift
from queries.per_token_delta import per_token_delta
from tests.ingest.run.running import Quiet
from tests.ingest.run.series import SHAPE

N_DOCUMENTS, CONTEXT, STEPS = 12, 24, 60
MEASURES = """
[[eval_sets]]
kind = "text"
name = "old"
files = ["../old.jsonl"]
context = 24
windows = "all"
[[eval_sets]]
kind = "text"
name = "new"
files = ["../new.jsonl"]
context = 24
windows = "all"
[measures]
names = ["token_loss", "head.ablation_effect:mean", "head.signature", "neuron.top"]
schedule = { "head.ablation_effect:mean" = "all", "head.signature" = "all", "neuron.top" = "all", "token_loss" = "all" }
[executor]
kind = "inline"
"""


def text(letters: str, seed: int) -> list[str]:
    """Documents in which each letter is followed by the next one of these, mostly."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(N_DOCUMENTS):
        at = int(torch.randint(len(letters), (1,), generator=generator))
        chosen = []
        for _ in range(3 * CONTEXT):
            jump = float(torch.rand(1, generator=generator)) < 0.1
            at = (at + (2 if jump else 1)) % len(letters)
            chosen.append(letters[at])
        found.append("".join(chosen))
    return found


def train(
    model: GPTNeoXForCausalLM, documents: list[str], recorder: Recorder, saved: set[int], seed: int
) -> None:
    tokens = torch.tensor([list(d.encode()) for d in documents])
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(STEPS + 1):
        if step in saved:
            recorder.checkpoint(step, model)
        rows = torch.randint(len(tokens), (8,), generator=generator)
        start = int(torch.randint(tokens.shape[1] - CONTEXT, (1,), generator=generator))
        batch = tokens[rows, start : start + CONTEXT]
        loss = model(batch, labels=batch).loss
        recorder.log(step, {"loss": float(loss.detach())})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, empty_archive: Path) -> Archive:
    """A base on `abcdef`, and two runs that go on from it on `uvwxyz`, another order of data each."""
    home = tmp_path_factory.mktemp("lineage")
    Layout.of(shutil.copy(empty_archive, home / "x.duckdb")).make_folders()
    old, new = text("abcdef", 0), text("uvwxyz", 1)
    for name, documents in (("old", text("abcdef", 2)), ("new", text("uvwxyz", 3))):
        (home / f"{name}.jsonl").write_text("".join(json.dumps({"text": d}) + "\n" for d in documents))
    torch.manual_seed(0)
    model = GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE))
    with Recorder(
        home / "x.duckdb", home / "base", run="base", family="hugging_face", init_seed=0
    ) as recorder:
        train(model, old, recorder, {STEPS - 10, STEPS}, seed=0)
        studies = [recorder.study(MEASURES, tokenizer="bytes")]
    saved = home / "base" / f"checkpoint-{STEPS}"
    for k in range(2):
        model = GPTNeoXForCausalLM.from_pretrained(saved)
        with Recorder(
            home / "x.duckdb", home / f"tuned-{k}", run=f"tuned-{k}", family="hugging_face", data_order_seed=k,
            condition="other letters", parent_run="base",
        ) as recorder:  # fmt: skip
            train(model, new, recorder, {0, STEPS // 2, STEPS}, seed=10 + k)
            studies.append(recorder.study(MEASURES, tokenizer="bytes"))
    for study in studies:
        report = ingest(load_study(study), home / "x.duckdb", Options(), Quiet())
        assert not report.failures, report.failures
    return Archive(home / "x.duckdb")


def test_the_study_of_a_tuned_run_says_what_it_goes_on_from(archive: Archive) -> None:
    rows = archive.rows("SELECT run, parent_run FROM v_run ORDER BY run")
    assert rows == [
        {"run": "base", "parent_run": ""},
        {"run": "tuned-0", "parent_run": "base"},
        {"run": "tuned-1", "parent_run": "base"},
    ]
    # without the log too, which a machine that only measures does not have
    folder = archive.layout.database.parent / "tuned-0"
    assert load_study(folder / "study.toml").family.runs()[0].parent_run == "base"  # type: ignore[union-attr]


def test_the_old_letters_are_forgotten_and_the_new_ones_learnt(archive: Archive) -> None:
    answer = finetune_shift(archive, original=("old",), neurons=True)
    rows = {r["eval_set"]: r for r in answer.summary.to_pylist()}  # type: ignore[union-attr]
    assert (rows["old"]["forgets"], rows["old"]["transfers"]) == ("yes", "no")
    assert (rows["new"]["forgets"], rows["new"]["transfers"]) == ("no", "yes")
    assert (rows["old"]["n_runs"], rows["old"]["n_bases"]) == (2, 1)
    assert answer.verdict == "yes"
    assert answer.n_runs == 3
    # a start with the weights of the base's last checkpoint, by their hash
    assert {r["began"] for r in answer.table.to_pylist()} == {"whose weights it began with"}
    assert {(r["run_a"], r["step_a"]) for r in answer.table.to_pylist()} == {("base", STEPS)}
    curve = answer.curve.to_pylist()
    starts = [r["mean_delta"] for r in curve if r["at"] == 0]
    assert starts == pytest.approx([0.0] * 4, abs=1e-6)
    ends = {(r["eval_set"], r["run"]): r["mean_delta"] for r in curve if r["at"] == STEPS}
    told = {(r["eval_set"], r["run_b"]): r["mean_delta"] for r in answer.table.to_pylist()}
    assert ends == pytest.approx(told, abs=1e-6)
    inside = answer.inside.to_pylist()
    assert {(r["run"], r["eval_set"], r["what"]) for r in inside} == {
        (run, eval_set, what)
        for run in ("tuned-0", "tuned-1")
        for eval_set in ("old", "new")
        for what in ("head.ablation_effect", "neuron.top")
    }
    assert all(r["n_components"] == 4 for r in inside if r["what"] == "head.ablation_effect")
    assert all(r["n_neurons"] == 48 for r in inside if r["what"] == "neuron.top")


def test_its_numbers_are_those_of_other_questions(archive: Archive) -> None:
    shifts = finetune_shift(archive, runs="tuned-0", components=False).table.to_pylist()
    for eval_set in ("old", "new"):
        (row,) = (r for r in shifts if r["eval_set"] == eval_set)
        delta = per_token_delta(
            archive, run_a="base", run_b="tuned-0", eval_set=eval_set
        ).summary.to_pylist()[0]  # type: ignore[union-attr]
        for name in ("mean_delta", "median_delta", "share_top1pct", "worse"):
            assert row[name] == pytest.approx(delta[name]), name


def test_components_of_the_lineage_are_sorted(archive: Archive) -> None:
    answer = component_change(archive, run_a="base", runs="tuned-*", eval_set="old")
    assert {r["component"] for r in answer.table.to_pylist()} == {"L0H0", "L0H1", "L1H0", "L1H1"}
    assert all(r["similarity"] is not None and r["se"] > 0 for r in answer.table.to_pylist())
    rows = answer.summary.to_pylist()  # type: ignore[union-attr]
    assert [(r["step_a"], r["near_step_a"], r["near_step_b"]) for r in rows] == [
        (STEPS, STEPS - 10, STEPS)
    ] * 2
    assert any("goes on from base" in line for line in answer.limits)
    # the step that both share is the same model: nothing changed there, and that is shown
    same = component_change(archive, run_a="base", run_b="tuned-0", step_b=0, eval_set="old")
    assert [r["change"] for r in same.table.to_pylist()] == pytest.approx([0.0] * 4, abs=1e-6)
    assert all(r["similarity"] == pytest.approx(1.0) for r in same.table.to_pylist())
