"""Sweeps over any setting, and settings that no run can be trained with."""

from pathlib import Path

import pytest

from archive.errors import UsageError
from ingest.planning.wanted import measured_steps
from ingest.studies.files import parse_study
from ingest.studies.naming import condition_of
from ingest.studies.training import PlannedRun, Study

HERE = Path("/studies/x.toml")
PLAIN = """
name = "x"
[train]
steps = 60
task_params = { p = 7, frac_train = 0.5 }
[train.optimizer]
lr = 0.01
[train.checkpoints]
every = 20
[seeds]
init = "0..1"
[measures]
names = ["loss", "accuracy"]
"""


def study(text: str) -> Study:
    found = parse_study(text, HERE)
    assert isinstance(found, Study)
    return found


def swept(sweep: str, text: str = PLAIN) -> Study:
    return study(f"{text}[sweep]\n{sweep}\n")


def by_label(found: Study) -> dict[str, PlannedRun]:
    """One run of each condition, in order."""
    return {run.label: run for run in found.runs}


# --- any setting ---------------------------------------------------------------------------------------------


def test_steps_and_schedules_are_swept_like_any_setting() -> None:
    found = swept('steps = [10, 40]\n"checkpoints.every" = [5, 20]\n"checkpoints.at" = [[], [7, 9]]')
    assert len({run.name for run in found.runs}) == len(found.runs) == 8 * 2
    runs = by_label(found)
    assert list(runs)[:2] == ["steps=10,every=5,at=[]", "steps=10,every=5,at=[7,9]"]
    assert runs["steps=40,every=20,at=[7,9]"].name == "x/steps=40,every=20,at=[7,9]/init1-data0-split0"
    for label, run in runs.items():
        steps = run.spec.checkpoint_steps()
        assert (steps[-1] == 40) == label.startswith("steps=40")
        assert ({7, 9} <= set(steps)) == label.endswith("at=[7,9]")


def test_runs_of_one_training_that_differ_in_length_are_conditions_apart() -> None:
    """Else a mean over seeds would count a seed twice."""
    found = swept('steps = [10, 40]\n"optimizer.lr" = [0.1, 0.2]')
    conditions = {run.label: condition_of(run.spec, run.apart) for run in found.runs}
    assert len(set(conditions.values())) == 4
    assert len({run.spec.hash for run in found.runs}) == 2
    assert " steps=10 #" in conditions["steps=10,lr=0.1"]
    assert "steps" not in condition_of(study(PLAIN).runs[0].spec)


def test_a_setting_of_a_task_goes_to_the_tasks_that_have_it() -> None:
    text = PLAIN.replace("steps = 60", "steps = 60\nbatch = 4").replace(
        "p = 7, frac_train = 0.5", "p = 7, length = 6, n_fillers = 5"
    )
    found = by_label(
        swept(
            'task = ["modular_arithmetic", "skip_trigram", "digit_addition"]\n'
            '"task_params.n_digits" = [1, 2]\n"task_params.frac_train" = [0.4, 0.6]\n"optimizer.lr" = [0.1]',
            text,
        )
    )
    assert list(found) == [
        "task=modular_arithmetic,frac_train=0.4,lr=0.1",
        "task=modular_arithmetic,frac_train=0.6,lr=0.1",
        "task=skip_trigram,lr=0.1",
        "task=digit_addition,n_digits=1,lr=0.1",
        "task=digit_addition,n_digits=2,lr=0.1",
    ]
    params = {label: run.spec.task_params for label, run in found.items()}
    assert params["task=modular_arithmetic,frac_train=0.6,lr=0.1"]["p"] == 7
    assert params["task=skip_trigram,lr=0.1"] == {
        **{"length": 6, "n_fillers": 5, "n_sources": 8, "n_keys": 8},
        **{"table_seed": 0, "pool": None, "train_size": None},
    }
    assert params["task=digit_addition,n_digits=2,lr=0.1"]["n_digits"] == 2


def test_a_setting_that_no_task_of_the_study_has_is_unknown() -> None:
    with pytest.raises(UsageError, match=r'sweep."task_params.table_seed" is no setting of \[train\]'):
        swept('task = ["modular_arithmetic", "digit_addition"]\n"task_params.table_seed" = [1, 2]')
    with pytest.raises(
        UsageError, match=r"unknown key train.task_params.n_digitz = 2; did you mean 'n_digits'"
    ):
        swept('task = ["modular_arithmetic", "digit_addition"]', PLAIN.replace("p = 7", "n_digitz = 2"))


def test_a_list_of_steps_to_measure_at_serves_every_schedule_that_has_some_of_them() -> None:
    text = PLAIN.replace('"accuracy"]', '"accuracy"]\nschedule = { loss = [0, 38, 60] }')
    found = swept("steps = [40, 60]", text)
    assert found.impossible == ()
    taken = {r.label: measured_steps(r.spec.checkpoint_steps(), (0, 38, 60)) for r in found.runs}
    assert taken == {"steps=40": (0, 38), "steps=60": (0, 38, 60)}


# --- what no run can be trained with -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("p = 7", "p = 8", "[train.task_params]: p = 8 is not a prime; the nearest are 7 and 11"),
        ("frac_train = 0.5", "frac_train = 0.001", "gives 0 training pairs; both splits need at least one"),
        ("lr = 0.01", "lr = -1", "train.optimizer.lr = -1: input should be greater than 0"),
        ("steps = 60", "steps = 0", "train.steps = 0: input should be greater than or equal to 1"),
        ("steps = 60", "steps = 60\nbatch = 25", "batch = 25 exceeds the 24 training examples"),
        ("lr = 0.01", 'decay = "linear"', "decay = 'linear' needs decay_steps"),
        (
            "[train.opt",
            "[train.model]\nn_heads = 5\n[train.opt",
            "d_model = 48 is not a multiple of n_heads = 5",
        ),
        ("every = 20", "every = 20\nat = [61]", "checkpoint at step 61, but training runs from 0 to 60"),
        (
            '"accuracy"]',
            '"accuracy"]\nschedule = { loss = [0, 500] }',
            "measures.schedule.loss asks for step 500, but training runs from 0 to 60; lower it or raise train.steps",
        ),
        (
            '"accuracy"]',
            '"accuracy"]\nschedule = { loss = [0, 12] }',
            "asks for step 12, which [train.checkpoints] does not keep; the nearest kept step is 11",
        ),
        ("[seeds]", '[seeds]\nmode = "crossed"\ndata_order = [0, 1]', "full-batch training sees no order"),
    ],
)
def test_settings_of_the_right_types_that_cannot_be_are_their_runs_trouble(
    old: str, new: str, why: str
) -> None:
    assert old in PLAIN
    found = study(PLAIN.replace(old, new))
    assert found.runs == ()
    assert [run.name for run in found.impossible] == sorted({run.name for run in found.impossible})
    assert {why in run.settings.why for run in found.impossible} == {True}


def test_every_reason_is_told() -> None:
    [run, _] = study(PLAIN.replace("lr = 0.01", "lr = -1").replace("steps = 60", "steps = 0")).impossible
    assert "train.steps = 0" in run.settings.why
    assert "train.optimizer.lr = -1" in run.settings.why


def test_an_impossible_combination_leaves_the_others_alone() -> None:
    found = swept('"task_params.p" = [5, 6]\nsteps = [0, 60]')
    assert [run.label for run in found.runs] == ["p=5,steps=60"] * 2
    p = "[train.task_params]: p = 6 is not a prime; the nearest are 5 and 7"
    steps = 'sweep."steps" = 0: input should be greater than or equal to 1'
    assert {run.label: run.settings.why for run in found.impossible} == {
        "p=5,steps=0": steps,
        "p=6,steps=0": f"{p}; {steps}",
        "p=6,steps=60": p,
    }


def test_an_impossible_setting_that_every_combination_replaces_does_no_harm() -> None:
    found = swept("steps = [61, 70]", PLAIN.replace("every = 20", "every = 20\nat = [61]"))
    assert len(found.runs) == 4
    assert found.impossible == ()


def test_an_axis_without_effect_is_the_trouble_of_the_task_it_has_none_on() -> None:
    text = PLAIN.replace("[seeds]", '[seeds]\nmode = "crossed"\nsplit = [0, 1]').replace(
        "steps = 60", "steps = 60\nbatch = 4"
    )
    found = swept('task = ["modular_arithmetic", "digit_addition"]', text)
    assert {run.label for run in found.runs} == {"task=modular_arithmetic"}
    assert {run.settings.why.partition(",")[0] for run in found.impossible} == {
        "seeds.split has 2 values but no effect (endless data has no split)"
    }
