"""The studies that come along: each can be planned as it stands, within its own budget, and says what it costs."""

import re
from pathlib import Path

import pytest
import torch

from ingest.measure import MEASURES
from ingest.measuring.checkpoint import measure_only_checkpoint
from ingest.models.loaded import LoadedModel
from ingest.models.small import initial_rows, stack_views
from ingest.planning.estimate import check_budget
from ingest.run.calls import ingest
from ingest.run.conduct import Options
from ingest.studies.files import load_study
from ingest.train.spec import TrainSpec
from tests.ingest.run.running import Quiet

SHIPPED = sorted((Path(__file__).resolve().parents[3] / "studies").glob("*.toml"))


def test_the_promised_kinds_are_there():
    names = {path.stem for path in SHIPPED}
    assert names == {
        "demo", "modular_addition_113", "crossed_small", "crossed_gpu", "digit_addition_5", "induction", "skip_trigram",
        "data_fraction", "weight_decay", "language_model_small", "language_model_depths", "language_model_crossed",
        "language_model_gpu",
    }  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_study_plans_within_its_budget(path, tmp_path):
    study = load_study(path)
    archive = tmp_path / "x.duckdb"
    report = ingest(study, archive, Options(dry_run=True), Quiet())
    assert report.state == "planned"
    assert report.n_wanted == report.n_left > 0
    assert report.n_runs == len(study.runs) > 1
    check_budget(report.estimated, study.file.budget, path, archive)
    assert not archive.exists()


@pytest.mark.parametrize("path", [p for p in SHIPPED if p.stem != "demo"], ids=lambda path: path.stem)
def test_a_shipped_study_says_what_it_costs_and_the_estimate_agrees(path, tmp_path):
    study = load_study(path)
    said = re.search(r"# Cost: (.+)", path.read_text()).group(1)
    estimated = ingest(study, tmp_path / "x.duckdb", Options(dry_run=True), Quiet()).estimated
    size, unit = re.search(r"([\d.]+) (GB|MB)", said).groups()
    gigabytes = float(size) / (1 if unit == "GB" else 1000)
    assert gigabytes / 2.5 < estimated.gigabytes < 1.5 * gigabytes
    # on two cores, whatever this machine has
    minutes = 60 * estimated.hours * estimated.n_workers / 2
    if study.file.executor.device == "cpu":
        minutes_said = int(re.search(r"(\d+) minutes? on two cores", said).group(1))
        assert minutes_said / 4 < minutes < 2 * minutes_said  # a rule of thumb, and starting takes time too


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_measure_a_shipped_study_asks_for_applies(path):
    study = load_study(path)
    written = study.runs[-1].spec.model_dump(mode="json")  # the deepest, where depths are swept
    if "p" in written["task_params"]:
        written["task_params"]["p"] = 11  # as good a modulus for this, and sooner measured
    if "evaluated" in written["task_params"]:
        written["task_params"]["evaluated"] = 4
    spec = TrainSpec.model_validate(written)
    layout, task = spec.layout(), spec.make_task()
    views = stack_views(layout, initial_rows(layout, [0], torch.float32))
    weights = {name: view[0] for name, view in views.items()}
    model = LoadedModel(run="r", step=0, layout=layout, weights=weights)
    measures = [MEASURES.get(name) for name in study.file.measures.names]
    values = measure_only_checkpoint(model, task, 0, measures)
    assert {
        value.quantity.measure.name: value.message for value in values if value.state.name != "DONE"
    } == {}
