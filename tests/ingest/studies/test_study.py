"""A study file: what it may say, what it says when it is wrong, and how it names its runs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from archive.errors import UsageError
from ingest.evalset import EVAL_SETS
from ingest.planning.wanted import measured_steps
from ingest.studies.files import load_study, parse_study
from ingest.studies.loading import LoadStudyFile
from ingest.studies.naming import condition_of
from ingest.studies.training import StudyFile
from ingest.train.spec import Seeds, TrainSpec

ROOT = Path(__file__).resolve().parents[3]
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
init = "0..2"
split = [5, 6, 7]
[measures]
names = ["loss", "accuracy"]
"""


def mistake(text: str) -> str:
    with pytest.raises(UsageError) as caught:
        parse_study(text, HERE)
    assert str(HERE) in str(caught.value)
    return str(caught.value)


def test_paired_axes_name_one_run_per_place_in_the_lists() -> None:
    runs = parse_study(PLAIN, HERE).runs
    assert [run.name for run in runs] == [
        "x/init0-data0-split5",
        "x/init1-data0-split6",
        "x/init2-data0-split7",
    ]
    assert runs[1].seeds == Seeds(init=1, data_order=0, split=6)


def test_crossed_axes_name_every_combination() -> None:
    runs = parse_study(PLAIN.replace("[seeds]", '[seeds]\nmode = "crossed"'), HERE).runs
    assert len(runs) == 9
    assert len({run.name for run in runs}) == 9
    assert {(run.seeds.init, run.seeds.split) for run in runs} == {
        (i, s) for i in (0, 1, 2) for s in (5, 6, 7)
    }


def test_swept_settings_are_in_the_name_and_in_the_condition() -> None:
    study = parse_study(PLAIN + '[sweep]\n"optimizer.lr" = [0.01, 0.001]\n"task_params.p" = [5, 7]\n', HERE)
    assert len(study.runs) == 4 * 3
    assert study.runs[0].name == "x/lr=0.01,p=5/init0-data0-split5"
    assert len({run.name for run in study.runs}) == 12
    assert len({condition_of(run.spec) for run in study.runs}) == 4
    assert {(run.spec.optimizer.lr, run.spec.task_params["p"]) for run in study.runs} == {
        (lr, p) for lr in (0.01, 0.001) for p in (5, 7)
    }


def test_a_condition_is_readable_and_says_nothing_of_steps_or_checkpoints() -> None:
    study = parse_study(PLAIN, HERE)
    condition = condition_of(study.file.train)
    assert condition.startswith("modular_arithmetic operation=add p=7 frac_train=0.5 lr=0.01 #")
    longer = parse_study(PLAIN.replace("steps = 60", "steps = 90").replace("every = 20", "every = 7"), HERE)
    assert condition_of(longer.file.train) == condition
    assert condition_of(TrainSpec(batch=100)) != condition_of(TrainSpec())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lr = 0.01", "lrr = 0.01", "unknown key train.optimizer.lrr = 0.01; did you mean 'lr'?"),
        ('name = "x"', 'name = "x"\nepochs = 3', "unknown key epochs = 3; a study knows name, summary"),
        ('name = "x"', 'name = "a/b"', "name = 'a/b'"),
        (
            "p = 7",
            "q = 7",
            "unknown key train.task_params.q = 7; [train.task_params] knows frac_train, operation, p",
        ),
        ("p = 7", "p = 8", "p = 8 is not a prime"),
        ("steps = 60", 'steps = "many"', "train.steps = 'many': input should be a valid integer"),
        ("steps = 60", 'steps = 60\ntask = "modular_aritmetic"', "did you mean 'modular_arithmetic'?"),
        ("lr = 0.01", "lr = -1", "train.optimizer.lr = -1: input should be greater than 0"),
        ("every = 20", "every = 20\nat = [61]", "checkpoint at step 61, but training runs from 0 to 60"),
        ("split = [5, 6, 7]", "split = [5, 6]", "found init 3, split 2"),
        ("split = [5, 6, 7]", 'split = "7..5"', "a range goes upwards"),
        ("split = [5, 6, 7]", 'split = "a"', 'a range such as "0..4"'),
        ('"loss", ', '"accuracy", ', "'accuracy' is named twice"),
        ('"accuracy"]', '"accuracy"]\nschedule = { los = "all" }', "schedule speaks of 'los'"),
        ('"accuracy"]', '"accuracy"]\nschedule = { loss = "al" }', "should be 'all', 'sparse' or 'final'"),
        ("[seeds]", '[seeds]\nmode = "crossed"\ndata_order = [0, 1]', "full-batch training sees no order"),
        ("[seeds]", '[sweep]\n"optimizer.speed" = [1]\n[seeds]', "is no setting of [train]; those are"),
        ("[seeds]", '[sweep]\n"steps" = [1, 2]\n[seeds]', "cannot be swept"),
        ("[seeds]", '[sweep]\n"optimizer.lr" = [-1]\n[seeds]', "optimizer.lr = -1"),
        ("[seeds]", '[sweep]\n"optimizer.lr" = [0.01, 1e-2]\n[seeds]', "are the same settings"),
        ('name = "x"', "name = x", "is not TOML"),
    ],
)
def test_a_mistake_names_file_key_value_and_what_is_allowed(old: str, new: str, said: str) -> None:
    assert old in PLAIN
    assert said in mistake(PLAIN.replace(old, new))


def test_several_mistakes_are_told_at_once() -> None:
    text = mistake(PLAIN.replace("lr = 0.01", "lr = -1").replace("steps = 60", "steps = 0"))
    assert "has 2 mistakes" in text
    assert "train.steps = 0" in text
    assert "train.optimizer.lr = -1" in text


def test_the_same_seeds_twice_are_refused() -> None:
    assert "the same seeds come twice" in mistake(
        PLAIN.replace('"0..2"', "[1, 1, 1]").replace("[5, 6, 7]", "[5]")
    )


def test_one_init_may_come_with_several_splits() -> None:
    runs = parse_study(PLAIN.replace('"0..2"', "[1, 1, 1]"), HERE).runs
    assert [run.name for run in runs][:2] == ["x/init1-data0-split5", "x/init1-data0-split6"]


def test_a_missing_file_names_what_is_beside_it(tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(PLAIN)
    with pytest.raises(UsageError, match=r"no study file .*typo\.toml; in .* there are other\.toml"):
        load_study(tmp_path / "typo.toml")


def test_the_archive_a_study_names_is_relative_to_its_file(tmp_path: Path) -> None:
    path = tmp_path / "studies" / "x.toml"
    path.parent.mkdir()
    path.write_text('archive = "../results.duckdb"\n' + PLAIN)
    archive = load_study(path).archive
    assert archive is not None
    assert archive.resolve() == (tmp_path / "results.duckdb").resolve()


@pytest.mark.parametrize(
    ("choice", "steps"),
    [
        ("final", (60,)),
        ((0, 60), (0, 60)),
        (2, (0, 1, 60)),
        ("all", (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 16, 19, 23, 27, 32, 38, 45, 54, 60)),
    ],
)
def test_a_schedule_chooses_among_the_kept_steps(choice: object, steps: tuple[int, ...]) -> None:
    study = parse_study(PLAIN, HERE)
    assert measured_steps(study, study.file.train, "loss", choice) == steps  # type: ignore[arg-type] # of the table


def test_a_step_that_is_not_kept_cannot_be_measured() -> None:
    study = parse_study(PLAIN, HERE)
    with pytest.raises(
        UsageError, match=r"asks for step 12, which .* does not keep; the nearest kept step is 11"
    ):
        measured_steps(study, study.file.train, "loss", (0, 12))


SHIPPED = sorted([*(ROOT / "studies").glob("*.toml"), *(ROOT / "ingest" / "studies").glob("*.toml")])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: str(p.relative_to(ROOT)))
def test_shipped_studies_are_right(path: Path) -> None:
    study = load_study(path)
    assert study.name == path.stem
    assert study.file.summary


def test_the_demo_is_one_study_in_two_places() -> None:
    assert (ROOT / "studies" / "demo.toml").read_text() == (
        ROOT / "ingest" / "studies" / "demo.toml"
    ).read_text()


def keys_of(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys_of(field.annotation)


@pytest.mark.parametrize(
    "model", [StudyFile, LoadStudyFile, *(e.thing for e in EVAL_SETS.entries().values())]
)
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    page = (ROOT / "docs" / "studies.md").read_text()
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", page))))
    assert set(keys_of(model)) - named == set()
