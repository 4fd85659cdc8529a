"""What a study of unlike conditions is said to cost, before and after some of it was timed."""

from pathlib import Path

import pytest

from ingest.planning.estimate import estimate, needs
from ingest.planning.plan import make_plan
from ingest.planning.wanted import WantedCondition
from ingest.run.present import Pace
from ingest.studies.files import parse_study
from ingest.studies.training import Study

MIXED = """
name = "x"
[train]
steps = 100
task_params = { p = 47, frac_train = 0.5 }
[sweep]
steps = [100, 300]
"model.d_model" = [16, 128]
"""
# conditions without seeds of their own: one run each
LABELS = ["steps=100,d_model=16", "steps=100,d_model=128", "steps=300,d_model=16", "steps=300,d_model=128"]


@pytest.fixture(scope="module")
def mixed() -> Study:
    found = parse_study(MIXED, Path("/x.toml"))
    assert isinstance(found, Study)
    return found


def seconds(study: Study, pace: Pace, *labels: str) -> float:
    """Of training what is left: the runs of these conditions."""
    runs = [run for run in study.runs if run.label in labels]
    wanted = {run.label: WantedCondition(run.spec.steps, ("log",), ()) for run in study.runs}
    specs = {run.label: run.spec for run in study.runs}
    return 3600 * estimate(make_plan(runs, wanted, {}, {}), pace, 1, "cpu", specs).hours


def test_every_condition_costs_what_its_length_and_model_cost(mixed: Study) -> None:
    each = [seconds(mixed, Pace(), label) for label in LABELS]
    assert each[2] == pytest.approx(3 * each[0])
    assert each[3] == pytest.approx(3 * each[1])
    assert each[1] > 3 * each[0]
    assert seconds(mixed, Pace(), *LABELS) == pytest.approx(sum(each))


def test_what_was_timed_goes_by_its_time_and_the_rest_by_the_rule_it_corrects(mixed: Study) -> None:
    small, large = (seconds(mixed, Pace(), label) / 100 for label in LABELS[:2])
    pace = Pace(train=5 * small, train_of={LABELS[0]: 5 * small})
    assert seconds(mixed, pace, LABELS[0]) == pytest.approx(100 * 5 * small)
    # the small model took five times what was thought, so the large one will
    assert seconds(mixed, pace, LABELS[3]) == pytest.approx(300 * 5 * large)
    both = Pace(train=small, train_of={LABELS[0]: 5 * small, LABELS[1]: 2 * large})
    assert seconds(mixed, both, LABELS[1]) == pytest.approx(100 * 2 * large)
    assert seconds(mixed, both, LABELS[3]) == pytest.approx(300 * 3.5 * large)


def test_runs_that_cannot_be_trained_are_told_apart_from_those_that_can(mixed: Study) -> None:
    found = parse_study(MIXED.replace("[16, 128]", "[16, 126]"), Path("/x.toml"))
    assert isinstance(found, Study)
    runs = [*found.runs, *found.impossible]
    wanted = {run.label: WantedCondition(1, ("log",), ()) for run in runs}
    assert needs(make_plan(runs, wanted, {}, {}).tasks) == "2 runs to train and 2 runs that cannot be trained"
