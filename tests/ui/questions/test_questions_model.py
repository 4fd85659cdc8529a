"""What the Questions page shows, worked out without Streamlit."""

import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import plotly.graph_objects as go
import pyarrow as pa
import pytest

from archive.errors import UnknownName, UsageError
from archive.store import Archive
from queries.problems.asking import parameters_of
from queries.problems.catalogue import problems
from queries.problems.states import WORDS
from queries.registry import all_queries
from queries.results import Answer
from tests.ui.questions.archive import LABELS, RUNS
from ui.models.questions.answers import MOST_ROWS, ask_part, control_columns, facts, origins, shown_rows
from ui.models.questions.figure import MOST_LEGEND, READABLE_LEGEND, on_page
from ui.models.questions.hypotheses import every_hypothesis, hypothesis_table, register_command
from ui.models.questions.needs import answered_of, parameters, reads, study_file, unreachable, ways
from ui.models.questions.options import command, given_to, parse
from ui.models.questions.page import BRIEF, MARKS, counts, every_problem, matching, neighbours, sections
from ui.models.questions.queries import pages_of, parameter_table, problems_of, query_table
from ui.models.series import RunChoice
from ui.models.text import with_code

Made = Callable[[str], Path]


@pytest.fixture(scope="module")
def archive(made: Made) -> Archive:
    return Archive(made("questions"))


@pytest.fixture(scope="module")
def answer(archive: Archive) -> Answer:
    found = ask_part(archive, number="5.2", letter="a", hypothesis="early", given=()).answer
    assert found is not None
    return found


def test_every_state_has_words_and_a_mark_of_its_own() -> None:
    assert set(BRIEF) == set(MARKS) == set(WORDS)
    assert len(set(MARKS.values())) == len(set(BRIEF.values())) == len(WORDS)


def test_counts_cover_every_problem(archive: Archive) -> None:
    states = every_problem(archive)
    assert [one.problem.number for one in states] == list(problems())
    assert sum(n for _, n in counts(states)) == len(problems())
    assert dict(counts(states))["answered"] == 1  # 5.1; 5.2 needs other data as well
    assert dict(counts(states))["part"] == 1


def test_sections_hold_each_problem_once(archive: Archive) -> None:
    found = sections(every_problem(archive))
    assert sorted(n for one in found for n in one.numbers) == sorted(problems())
    assert len({one.title for one in found}) == len(found) == len({p.group for p in problems().values()})
    first = found[0]
    assert first.table["number"].to_pylist() == list(first.numbers)
    rows = {row["number"]: row for row in first.table.to_pylist()}
    assert rows["5.1"]["state"] == "● answered here"
    assert rows["5.1"]["answers"] == "2 of 2, 3 runs"
    assert rows["5.2"]["answers"] == "1 of 4, 3 runs"
    assert rows["5.6"]["answers"] == "0 of 1"


def test_problems_are_found_by_state_and_by_words(archive: Archive) -> None:
    states = every_problem(archive)

    def found(state: tuple[str, ...] = (), like: str = "") -> list[str]:
        return [one.problem.number for one in matching(states, state=state, like=like)]

    assert found() == list(problems())
    assert found(("answered here", "answered in part")) == ["5.1", "5.2"]
    assert found(like="BACKWARDS digits") == ["5.2"]
    assert found(like="position_loss") == ["5.1", "5.2"]
    assert found(("needs cells",), "position_loss") == []
    assert "5.21" in found(like="stanford_gpt2 induction")


def test_neighbours_end_at_the_ends(archive: Archive) -> None:
    states = every_problem(archive)
    numbers = list(problems())
    assert neighbours(states, numbers[0]) == ("", numbers[1])
    assert neighbours(states, "5.2") == ("5.1", "5.3")
    assert neighbours(states, numbers[-1]) == (numbers[-2], "")


def test_what_a_question_reads_and_of_whom_it_can_be_asked(archive: Archive) -> None:
    state = next(one for one in every_problem(archive) if one.problem.number == "5.2")
    first, backwards, _, weighed = state.questions
    assert reads(first.question) == [
        "position_loss on 'digit_addition*most significant first' at 8 checkpoints or more",
        "2 runs or more of one condition",
    ]
    assert parameters(first.question) == ["eval_set = the eval set of its runs"]
    assert answered_of(first) == (
        "3 runs of digit_addition on digit_addition: 512 pairs of 3-digit numbers, most significant first"
    )
    assert answered_of(backwards) == ""
    assert reads(weighed.question) == ["runs whose loss weighs the digits apart, paired with runs without"]


def test_what_is_missing_comes_with_exact_commands(archive: Archive) -> None:
    state = next(one for one in every_problem(archive) if one.problem.number == "5.2")
    (way,) = ways(archive, state)
    path = str(archive.layout.database)
    assert way.commands == (
        f"pathscope ask 5.2 --write-study 5.2.toml --archive {path}",
        "pathscope ingest 5.2.toml --dry-run",
        f"pathscope ingest 5.2.toml --archive {path}",
    )
    assert "digit_order" in way.words
    study = study_file(archive, state.problem)
    assert study is not None
    assert (study.name, study.file) == ("digit_order", "5.2.toml")
    assert study.text.startswith("# Open problem 5.2: Why are the digits learned in that order?")
    assert unreachable(state.problem) == ("digit_addition_5",)


def test_every_problem_that_lacks_cells_has_a_command_and_no_other_has(archive: Archive) -> None:
    for state in every_problem(archive):
        wanting = any(one.state in ("cells", "checkpoints") for one in state.questions)
        assert bool(ways(archive, state)) == wanting, state.problem.number


def test_published_numbers_come_by_import_and_hub_models_by_family(made: Made) -> None:
    empty = Archive(made("empty"))
    by_number = {one.problem.number: one for one in every_problem(empty)}
    assert [way.commands[0].split(" --archive")[0] for way in ways(empty, by_number["5.30"])] == [
        "pathscope import auto PATH"
    ]
    lines = [way.commands[0] for way in ways(empty, by_number["5.32"])]
    assert any("--write-study 5.32.toml --family stanford_gpt2" in line for line in lines)


def test_options_are_read_as_the_command_line_reads_them() -> None:
    specs = parameters_of(problems()["5.35"])
    found = parse(
        "--small a --small 'b c' --large=x --family toy --runs '*-s1' --with-suspect", specs, number="5.35"
    )
    assert found == {
        "small": ["a", "b c"],
        "large": ["x"],
        "runs": ["family:toy", "*-s1"],
        "with_suspect": True,
    }
    assert parse("--eval-set 'a b' --step 3", specs, number="5.35") == {"eval_set": "a b", "step": "3"}
    assert parse("--with-suspect=no", specs, number="5.35") == {"with_suspect": False}
    assert parse("", specs, number="5.35") == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("level 0.4", "two dashes"),
        ("--level", "needs a value"),
        ("--level '0.4", "quotation mark"),
        ("--lvel 0.4", "level"),
        ("--measure=<script>alert(1)</script> --x", "x"),
    ],
)
def test_options_that_cannot_be_read_are_refused(options: str, words: str) -> None:
    with pytest.raises((UsageError, UnknownName)) as caught:
        parse(options, parameters_of(problems()["5.1"]), number="5.1")
    assert words in str(caught.value)


def test_runs_of_the_sidebar_go_where_a_problem_takes_runs(archive: Archive) -> None:
    chosen = RunChoice(family=("toy",), run=("*-s1",), excluded=True, suspect=True)
    given = dict(given_to(problems()["5.1"], chosen, "--level 0.4"))
    assert given == {
        "runs": ["*-s1", "family:toy", "excluded:too"],
        "with_suspect": True,
        "level": "0.4",
    }
    assert given_to(problems()["5.6"], chosen, "") == ()  # its only question is later work
    line = command(archive, problems()["5.1"], chosen, "--level 0.4", hypothesis="early")
    assert shlex.split(line) == [
        *("pathscope", "ask", "5.1", "--archive", str(archive.layout.database)),
        *("--runs", "*-s1", "--family", "toy", "--runs", "excluded:too", "--with-suspect"),
        *("--hypothesis", "early", "--level", "0.4"),
    ]
    assert given_to(problems()["5.1"], RunChoice(), "") == ()


def test_one_question_is_asked_and_told(answer: Answer) -> None:
    told = dict(facts(answer))
    assert told["Rests on"].startswith("3 runs")
    rows = sorted(answer.summary.to_pylist(), key=lambda row: row["mean_rank"])  # type: ignore[union-attr]
    assert tuple(row["label"] for row in rows) == LABELS
    assert "before the first results of these runs" in answer.provenance.registered[0]
    known = origins(answer)
    assert ("Runs", ", ".join(RUNS)) in known
    assert any(name == "Measures" and "position_loss version 1" in words for name, words in known)
    assert known[-1][0] == "Archive"


def test_facts_say_estimate_interval_null_and_power(answer: Answer) -> None:
    table = pa.table({"run": ["a"], "control": [0.5], "beyond_null": [1.0]})
    full = replace(
        answer,
        table=table,
        summary=None,
        verdict="unresolved",
        estimate=0.5,
        ci_low=0.25,
        ci_high=0.75,
        ci_level=0.9,
        ci_method="jackknife",
        unit="nats",
        n_runs=1,
        n_items=1234,
        null_name="shuffled",
        null_mean=0.1,
        null_sd=0.01,
        p_value=0.0312,
        mde=0.2,
    )
    assert dict(facts(full)) == {
        "Verdict": "unresolved",
        "Estimate": "0.5 nats, [0.25, 0.75] at 90% (jackknife)",
        "Rests on": "1 run, 1,234 items",
        "Null": "shuffled, 0.1 ± 0.01 (mean ± sd), p = 0.0312",
        "Control": f"the table's columns {', '.join(control_columns(full))}",
        "Could show": "a difference of 0.2 nats or more (80 % power)",
    }
    assert set(control_columns(full)) >= {"control", "beyond_null"}
    bare = replace(
        full, table=table.select(["run"]), verdict=None, estimate=math.nan, null_name="", p_value=math.nan
    )
    bare = replace(bare, null_mean=math.nan, mde=math.nan, n_items=None)
    assert [name for name, _ in facts(bare) if name != "Control"] == ["Rests on"]


def test_long_tables_are_cut_and_it_is_said() -> None:
    table = pa.table({"x": range(MOST_ROWS + 1)})
    shown, words = shown_rows(table)
    assert shown.num_rows == MOST_ROWS
    assert words == "The first 1,000 of 1,001 rows; the CSV has all of them."
    assert shown_rows(table.slice(1)) == (table.slice(1), "")


@pytest.mark.parametrize(
    ("n", "legend", "grows"),
    [(MOST_LEGEND, None, False), (20, None, True), (READABLE_LEGEND + 1, False, False)],
)
def test_a_figure_gets_room_for_its_legend_or_none(n: int, legend: bool | None, *, grows: bool) -> None:
    figure = go.Figure([go.Scatter(x=[1], y=[k], name=f"run {k}") for k in range(n)], {"height": 400})
    note = on_page(figure)
    assert figure.layout.showlegend is legend
    assert (figure.layout.height > 400) is grows
    assert bool(note) is (legend is False)


def test_long_names_on_an_axis_are_shortened_and_stay_apart() -> None:
    names = [
        f"text tokenizer=bytes n_layers=2 n_vocab=257 context=65, weight_decay={k} <b>" for k in range(3)
    ]
    figure = go.Figure([go.Bar(x=names, y=[1, 2, 3])])
    on_page(figure)
    assert list(figure.layout.xaxis.tickvals) == names
    assert len(set(figure.layout.xaxis.ticktext)) == 3
    assert not any("<" in text for text in figure.layout.xaxis.ticktext)
    legend = go.Figure([go.Scatter(x=[1], y=[1], name=name) for name in (*names, names[0])])
    on_page(legend)
    entries = [trace.name for trace in legend.data]
    assert max(len(name) for name in entries) <= 48
    assert len(set(entries)) == 3
    assert entries[0] == entries[3]
    numbers = go.Figure([go.Scatter(x=[1, 2], y=[1, 2])])
    on_page(numbers)
    assert numbers.layout.xaxis.tickvals is None


def test_every_query_is_listed_with_its_pages_and_problems() -> None:
    table = query_table()
    assert table["query"].to_pylist() == list(all_queries())
    rows = {row["query"]: row for row in table.to_pylist()}
    assert "Heads" in rows["head_scores"]["pages"]
    assert rows["transitions_per_position"]["problems"] == "5.1, 5.2"
    assert "eval_set" not in rows["head_scores"]["parameters"].split(", ")
    assert [view.url_path for view in pages_of()["head"]] == ["heads"]
    assert "5.21" in problems_of()["replicate_induction_transition"]


def test_parameters_are_listed_with_default_and_meaning() -> None:
    rows = {row["parameter"]: row for row in parameter_table(all_queries()["head_scores"]).to_pylist()}
    assert (rows["step"]["default"], rows["runs"]["default"]) == ("final", "any")
    assert all(row["meaning"] for row in rows.values())


def test_a_hypothesis_says_whether_it_came_in_time(archive: Archive) -> None:
    found = every_hypothesis(archive)
    states = {one.hypothesis.name: one.state for one in found}
    assert states["early"].startswith("in time: before the first result of its 3 runs")
    assert states["late"].startswith("too late: results of its 3 runs were there")
    assert states["other"] == "waiting: none of its runs is here"
    table = hypothesis_table(found)
    assert table["name"].to_pylist() == ["early", "late", "other"]
    assert table["alpha"].to_pylist() == [0.01] * 3
    assert str(archive.layout.database) in register_command(archive)


def test_only_commands_between_backticks_are_code() -> None:
    assert with_code("say `pathscope sql` *now*") == r"say `pathscope sql` \*now\*"
    assert with_code("an odd ` <b>") == r"an odd \` \<b\>"
