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
    condition = condition_of(parse_study(PLAIN, HERE).runs[0].spec)
    assert condition.startswith("modular_arithmetic operation=add p=7 frac_train=0.5 lr=0.01 #")
    longer = parse_study(PLAIN.replace("steps = 60", "steps = 90").replace("every = 20", "every = 7"), HERE)
    assert condition_of(longer.runs[0].spec) == condition
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
        ("steps = 60", 'steps = "many"', "train.steps = 'many': input should be a valid integer"),
        ("steps = 60", 'steps = 60\ntask = "modular_aritmetic"', "did you mean 'modular_arithmetic'?"),
        ("lr = 0.01", 'lr = "fast"', "train.optimizer.lr = 'fast': input should be a valid number"),
        (
            "steps = 60",
            'steps = 60\ndtype = "float16"',
            "train.dtype = 'float16': input should be 'float32' or",
        ),
        (
            "[train.optimizer]\nlr = 0.01",
            "optimizer = 3",
            "train.optimizer = 3: input should be a valid dict",
        ),
        ("split = [5, 6, 7]", "split = [5, 6]", "found init 3, split 2"),
        ("split = [5, 6, 7]", 'split = "7..5"', "a range goes upwards"),
        ("split = [5, 6, 7]", 'split = "a"', 'a range such as "0..4"'),
        ('"loss", ', '"accuracy", ', "'accuracy' is named twice"),
        ('"accuracy"]', '"accuracy"]\nschedule = { los = "all" }', "schedule speaks of 'los'"),
        ('"accuracy"]', '"accuracy"]\nschedule = { loss = "al" }', "should be 'all', 'sparse' or 'final'"),
        (
            "[seeds]",
            '[sweep]\n"optimizer.lrr" = [1]\n[seeds]',
            "sweep.\"optimizer.lrr\" is no setting of [train]; did you mean 'optimizer.lr'? those are task, task_par",
        ),
        (
            "[seeds]",
            '[sweep]\n"task_params.n_digits" = [1]\n[seeds]',
            '"task_params.n_digits" is no setting of',
        ),
        (
            "[seeds]",
            '[sweep]\nsteps = [9, "many"]\n[seeds]',
            "sweep.\"steps\" = 'many': input should be a valid int",
        ),
        ("[seeds]", '[sweep]\ntask = ["skip_trigam"]\n[seeds]', "did you mean 'skip_trigram'?"),
        ("[seeds]", "[sweep]\ntask = [[1]]\n[seeds]", 'sweep."task" = [1]: input should be a valid string'),
        ("[seeds]", '[sweep]\n"optimizer.lr" = [0.01, 1e-2]\n[seeds]', "two combinations are called lr=0.01"),
        (
            "[seeds]",
            '[sweep]\n"model.layer_norm" = [true, 1]\n[seeds]',
            "layer_norm=true and layer_norm=1 are the same",
        ),
        ('name = "x"', "name = x", "is not TOML"),
    ],
)
def test_a_mistake_names_file_key_value_and_what_is_allowed(old: str, new: str, said: str) -> None:
    assert old in PLAIN
    assert said in mistake(PLAIN.replace(old, new))


def test_a_study_that_trains_nothing_is_none() -> None:
    assert mistake('name = "x"').endswith("train is missing")


def test_several_mistakes_are_told_at_once() -> None:
    text = mistake(PLAIN.replace("lr = 0.01", 'lr = "fast"').replace("steps = 60", 'steps = "many"'))
    assert "has 2 mistakes" in text
    assert "train.steps = 'many'" in text
    assert "train.optimizer.lr = 'fast'" in text


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
    kept = parse_study(PLAIN, HERE).runs[0].spec.checkpoint_steps()
    assert measured_steps(kept, choice) == steps  # type: ignore[arg-type] # of the table


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
    "model", [StudyFile, TrainSpec, LoadStudyFile, *(e.thing for e in EVAL_SETS.entries().values())]
)
def test_every_key_is_documented(model: type[BaseModel]) -> None:
    page = (ROOT / "docs" / "studies.md").read_text()
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", page))))
    assert set(keys_of(model)) - named == set()
