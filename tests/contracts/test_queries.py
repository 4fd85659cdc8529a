"""What every registered question promises; a new one is covered by existing."""

import inspect
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

import pathscope
from archive import store
from archive.create import ensure_archive
from archive.errors import PathscopeError, UnknownName, UsageError
from archive.records import Part
from archive.store import Archive
from archive.upkeep.marks import exclude
from pathscope.commands.query import COMMON, SHORTHANDS
from queries.registry import QuerySpec, all_queries
from queries.results import Answer
from tests.queries import comparing, language, signatures
from tests.queries.simulated import (
    ACC,
    ACCURACY_HERE,
    KEYS_HERE,
    LOSS_HERE,
    PUBLISHED,
    STRENGTHS_HERE,
    TEST,
    TRAIN,
    Simulation,
    benchmark_quantity,
    rising,
)

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = [pytest.param(spec, id=name) for name, spec in all_queries().items()]
W_L = Part(kind="rule", name="W_L")
STEPS = [0, 1, 2, 4, 8, 16, 32, 64]


def filled(template: Path, folder: Path, n_seeds: int) -> Archive:
    """An archive in which every question has an answer with its defaults; one run is excluded."""
    s = Simulation(template, folder)
    rng = np.random.default_rng(0)
    language.plant_eval_sets(s)
    for k in range(n_seeds + 1):
        run = s.run(f"s{k}", init_seed=k, n_params=1000 * 2**k, parent_run="s0" if k else "")
        for step, rise in zip(STEPS, rising(STEPS, 5 + k), strict=True):
            s.scalar(run, LOSS_HERE, step, {TEST: 5 - 4 * rise, TRAIN: 5 - 5 * rise}, se=0.1, n_items=100)
            s.scalar(run, ACCURACY_HERE, step, {TEST: rise, TRAIN: rise}, n_items=100)
            s.heads(run, step, 0.1 + 0.8 * rise * rng.random((2, 4)), se=0.01, chance=0.1)
            s.benchmark(run, benchmark_quantity(ACC, "lambada_openai", 0), step, 0.6 * rise, se=0.01)
            s.positions(run, step, np.array([3 - 3 * rise, 2.5 - 2.4 * rise]), ["carry", "units"])
            s.vectors(run, KEYS_HERE, step, {W_L: np.eye(6)[k % 5] + np.eye(6)[5]})
            s.vectors(run, STRENGTHS_HERE, step, {W_L: rng.random(6)})
            signatures.signatures(s, run, step, rng.random((2, 2, 6)))
        s.trajectory(run, STEPS, rng.normal(size=(len(STEPS), 9)).cumsum(axis=0))
        language.plant_checkpoints(s, run, STEPS, rising(STEPS, 5 + k), rng)
    comparing.compare_all(s, [f"s{k}" for k in range(n_seeds + 1)], (STEPS[0], STEPS[-1]))
    archive = s.commit()
    exclude(archive.layout, f"s{n_seeds}", "planted defect")
    return archive


# each file is opened once and stays open: some hundred questions would spend their time on opening it again


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    archive = Archive(ensure_archive(tmp_path_factory.mktemp("empty") / "x.duckdb").database)
    with archive.session():
        yield archive


@pytest.fixture(scope="module")
def archive(empty: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    archive = filled(empty.layout.database, tmp_path_factory.mktemp("questions"), 3)
    with archive.session():
        yield archive


@pytest.fixture(scope="module")
def larger(empty: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    archive = filled(empty.layout.database, tmp_path_factory.mktemp("more questions"), 5)
    with archive.session():
        yield archive


@dataclass(frozen=True)
class Asked:
    """An answer with its defaults, and what asking for it took."""

    answer: Answer
    n_opened: int
    n_statements: int
    file_changed: bool


def ask_counting(spec: QuerySpec[Answer], of: Archive) -> Asked:
    """Ask as somebody who has not opened the archive yet."""
    archive = Archive(of.layout.database)
    opened, statements = [], []
    connect, ask = store.connect, Archive.query
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "connect", lambda *a, **k: opened.append(a) or connect(*a, **k))
        patch.setattr(Archive, "query", lambda *a, **k: statements.append(a[1]) or ask(*a, **k))
        before = archive.version
        answer = spec.ask(archive)
    return Asked(answer, len(opened), len(statements), archive.version != before)


@pytest.fixture(scope="module")
def answers() -> dict[str, Asked]:
    """Answers with their defaults that were asked for before."""
    return {}


@pytest.fixture
def asked(spec: QuerySpec[Answer], archive: Archive, answers: dict[str, Asked]) -> Asked:
    if spec.name not in answers:
        answers[spec.name] = ask_counting(spec, archive)
    return answers[spec.name]


@pytest.fixture
def answer(asked: Asked) -> Answer:
    """What the question answers with its defaults, asked for once."""
    return asked.answer


@pytest.mark.parametrize("spec", QUESTIONS)
def test_it_is_one_file_named_like_its_answer(spec: QuerySpec[Answer]) -> None:
    answer = inspect.signature(spec.function).return_annotation

    assert spec.module == f"queries.{spec.name}"
    assert answer.__name__.lower() == spec.name.replace("_", "")
    assert "__repr__" not in vars(answer), "write @dataclass(..., repr=False): the answer is its sentence"
    assert spec.title.endswith("?")
    assert spec.summary.endswith(".")


@pytest.mark.parametrize("spec", QUESTIONS)
def test_every_parameter_is_described_and_free_for_the_command_line(spec: QuerySpec[Answer]) -> None:
    assert all(field.description for field in spec.fields.values())
    assert not set(spec.fields) & {*COMMON, *SHORTHANDS}
    assert spec.parameters().model_fields_set == set()  # the defaults are valid


@pytest.mark.parametrize("spec", QUESTIONS)
def test_the_answer_has_all_that_is_needed_to_judge_it(spec: QuerySpec[Answer], answer: Answer) -> None:
    assert answer.sentence.endswith(".")
    assert answer.table.num_rows
    assert answer.n_runs == 3
    assert answer.limits
    assert all(line.endswith(".") for line in answer.limits)
    assert answer.provenance.quantities[0]["source"] in ("pathscope", PUBLISHED.name)
    assert answer.provenance.runs == ("s0", "s1", "s2")
    assert answer.title == spec.title
    if np.isfinite(answer.estimate):
        assert answer.ci_method
        assert answer.ci_low <= answer.estimate <= answer.ci_high


@pytest.mark.parametrize("spec", QUESTIONS)
def test_excluded_runs_are_left_out_and_named(
    spec: QuerySpec[Answer], answer: Answer, archive: Archive
) -> None:
    assert [(run, reason) for run, reason, _ in answer.provenance.excluded_runs] == [("s3", "planted defect")]
    assert any("1 excluded run(s) left out" in line for line in answer.limits)
    assert spec.ask(archive, runs=["*", "excluded:too"]).n_runs == 4


@pytest.mark.parametrize("spec", QUESTIONS)
def test_it_can_be_written_everywhere(spec: QuerySpec[Answer], answer: Answer) -> None:
    document = json.loads(json.dumps(answer.to_dict(), allow_nan=False))

    assert document["answer"] == answer.sentence
    assert len(document["table"]) == answer.table.num_rows
    assert answer.sentence[:60] in " ".join(str(answer).split())
    assert answer._repr_html_().startswith("<div>")
    figure = answer.plot()
    assert isinstance(figure, go.Figure)
    assert figure.data
    assert json.loads(figure.to_json())


@pytest.mark.parametrize("spec", QUESTIONS)
def test_its_python_and_its_sql_repeat_it(spec: QuerySpec[Answer], answer: Answer, archive: Archive) -> None:
    again = eval(answer.python, {"pathscope": pathscope})
    rows = archive.query(answer.sql)

    assert again.table.equals(answer.table)
    assert again.python == answer.python
    assert "$" not in answer.sql
    assert rows.num_rows
    shared = [c for c in answer.table.column_names if c in rows.column_names]
    if len(shared) > 3:  # the rows themselves, not something computed from them
        assert rows.select(shared).equals(answer.table.select(shared))


@pytest.mark.parametrize("spec", QUESTIONS)
def test_it_opens_the_archive_once_and_asks_no_more_for_more_runs(
    spec: QuerySpec[Answer], asked: Asked, larger: Archive
) -> None:
    of_more = ask_counting(spec, larger)
    assert asked.n_opened == of_more.n_opened == 1
    assert not asked.file_changed
    assert not of_more.file_changed
    assert of_more.answer.n_runs > asked.answer.n_runs
    # one of them asks which statements were registered before
    assert asked.n_statements == of_more.n_statements <= 8


@pytest.mark.parametrize("spec", QUESTIONS)
def test_bad_questions_are_refused_with_a_way_on(
    spec: QuerySpec[Answer], archive: Archive, empty: Archive
) -> None:
    with pytest.raises(UnknownName, match="no run 's9'; did you mean"):
        spec.ask(archive, runs="s9")
    with pytest.raises(UsageError):
        spec.ask(archive, source="nobody")
    with pytest.raises(PathscopeError):
        spec.ask(empty)


@pytest.fixture(scope="module")
def page() -> str:
    return (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("spec", QUESTIONS)
def test_it_is_documented_in_three_ways(spec: QuerySpec[Answer], page: str) -> None:
    assert f"pathscope query {spec.name}" in page
    assert f"pathscope.{spec.name}(" in page
    assert f"## {spec.title}" in page
