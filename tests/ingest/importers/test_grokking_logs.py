"""Grokking logs: every number of every line, the authors' steps, and no run that cannot be trusted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archive.records import Run, Source
from ingest.importers.base import Damaged, ImportFile, Parsed
from ingest.importers.grokking_logs import GrokkingLogs, read_log
from tests.ingest.importers.making import LOG_POINTS, log_lines, write, write_log

SOURCE = Source(name="muon")
NAME = "experiments/results/group/adamw_s0.jsonl"


def parsed(tmp_path: Path, relative: str = NAME, **fields: Any) -> Parsed:
    path = write_log(tmp_path / relative, **fields)
    return GrokkingLogs(SOURCE).parse(ImportFile.load(path, relative))


def series(result: Parsed) -> dict[tuple[str, str], list[tuple[int, float]]]:
    return {
        (b.quantity.measure.name, b.part.name): list(zip(b.columns["step"], b.columns["value"], strict=True))
        for b in result.blocks
        if b.table == "fact_log"
    }


def events(result: Parsed) -> dict[str, tuple[Any, Any]]:
    return {
        b.quantity.measure.name: (b.columns["step"][0], b.columns["censored_at"][0])
        for b in result.blocks
        if b.table == "fact_event"
    }


def test_every_number_of_every_line_is_kept_and_null_is_no_point(tmp_path: Path) -> None:
    found = series(parsed(tmp_path))

    assert found == {
        ("log.loss", "train"): [(0, 4.5), (100, 0.5), (200, 0.125)],
        ("log.accuracy", "train"): [(0, 0.01), (100, 1.0), (200, 1.0)],
        ("log.loss", "test"): [(0, 4.6), (100, 6.25), (200, 0.1)],
        ("log.accuracy", "test"): [(0, 0.02), (100, 0.04), (200, 0.96)],
        ("log.wn_total", ""): [(0, 28.41), (100, 29.5), (200, 27.0)],
        ("log.cos_mem", ""): [(100, 1.0), (200, 0.75)],
    }


@pytest.mark.parametrize(
    ("memorize", "grok", "expected"),
    [
        (100, 200, {"event.memorize_step": (100, None), "event.grok_step": (200, None)}),
        (100, None, {"event.memorize_step": (100, None), "event.grok_step": (None, 200)}),
        (None, None, {"event.memorize_step": (None, 200), "event.grok_step": (None, 200)}),
        (0, 0, {"event.memorize_step": (0, None), "event.grok_step": (0, None)}),
    ],
)
def test_never_is_censored_at_the_last_step(
    tmp_path: Path, memorize: int | None, grok: int | None, expected: dict[str, tuple[Any, Any]]
) -> None:
    assert events(parsed(tmp_path, memorize=memorize, grok=grok)) == expected


def test_the_run_keeps_its_condition_and_both_things_its_seed_sets(tmp_path: Path) -> None:
    result = parsed(tmp_path, "experiments/results/group/adamw_s3.jsonl", seed=3)
    run = result.runs[0]

    assert (run.name, run.condition) == ("muon/group/adamw_s3", "muon/group/adamw")
    assert (run.init_seed, run.split_seed, run.data_order_seed) == (3, 3, None)
    assert "one seed" in run.notes[0]
    assert (run.n_params, run.d_model, run.n_heads, run.n_layers, run.d_mlp) == (1234, 8, 2, 1, 32)
    assert run.config["optimizer"] == "adamw"
    assert "grok_step" not in run.config
    assert run.final_step == 200
    assert result.notes == []


def test_runs_of_one_condition_differ_in_their_seeds_only(tmp_path: Path) -> None:
    a, b = (parsed(tmp_path, f"g/adamw_s{s}.jsonl", seed=s).runs[0] for s in (0, 1))

    assert a.condition == b.condition
    assert a.name != b.name


@pytest.mark.parametrize(
    ("relative", "name"),
    [
        ("a_s0.jsonl", "muon/a_s0"),
        ("logs/a_s0.jsonl", "muon/a_s0"),
        ("results/expA/logs/a_s0.jsonl", "muon/expA/logs/a_s0"),
        ("results/expB/logs/a_s0.jsonl", "muon/expB/logs/a_s0"),
    ],
)
def test_folders_tell_runs_apart_unless_they_say_nothing(tmp_path: Path, relative: str, name: str) -> None:
    assert parsed(tmp_path, relative).runs[0].name == name


def test_the_seed_in_the_file_wins_over_the_one_in_its_name(tmp_path: Path) -> None:
    result = parsed(tmp_path, "g/adamw_s3.jsonl", seed=7)

    assert result.runs[0].init_seed == 7
    assert result.notes == ["the name gives another seed than the file; filed as the file says"]


def test_without_a_seed_in_the_name_the_settings_are_the_condition(tmp_path: Path) -> None:
    def condition(name: str, **fields: Any) -> str:
        return parsed(tmp_path, name, **fields).runs[0].condition

    assert condition("one.jsonl", seed=1) == condition("two.jsonl", seed=2)
    assert condition("one.jsonl", seed=1) != condition("three.jsonl", seed=1, meta={"optimizer": "sgd"})


def test_one_quantity_serves_both_splits_and_all_files(tmp_path: Path) -> None:
    reader = GrokkingLogs(SOURCE)
    quantities = set()
    for seed in (0, 1):
        path = write_log(tmp_path / f"g/a_s{seed}.jsonl", seed=seed)
        result = reader.parse(ImportFile.load(path, path.name))
        quantities |= {id(b.quantity) for b in result.blocks if b.quantity.measure.name == "log.loss"}

    assert len(quantities) == 1


def test_steps_out_of_order_are_sorted(tmp_path: Path) -> None:
    found = series(parsed(tmp_path, points=LOG_POINTS[::-1]))

    assert [step for step, _ in found[("log.loss", "train")]] == [0, 100, 200]


def test_a_log_that_is_still_running_has_no_events(tmp_path: Path) -> None:
    path = write(tmp_path / "a_s0.jsonl", "\n".join(log_lines()[:-1]) + "\n")
    result = GrokkingLogs(SOURCE).parse(ImportFile.load(path, "a_s0.jsonl"))

    assert events(result) == {}
    assert len(series(result)) == 6
    assert result.notes == ["no _summary: no author events"]


def test_text_and_switches_are_no_measurements(tmp_path: Path) -> None:
    points = [{**LOG_POINTS[0], "phase": "warm", "frozen": True}]
    result = parsed(tmp_path, points=points)

    assert not {name for name, _ in series(result)} & {"log.phase", "log.frozen"}
    assert sorted(result.notes) == [
        "field 'frozen' is not a number and was left out",
        "field 'phase' is not a number and was left out",
    ]


def with_line(number: int, line: str) -> str:
    lines = log_lines()
    lines[number] = line
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n".join(log_lines())[:-7], "line 5: cut off"),
        (with_line(2, '{"step": 100, "train_loss": NaN}'), "line 3: NaN is not JSON"),
        (with_line(2, '{"step": 100, "train_loss": 1e999}'), "train_loss is inf at step 100"),
        (with_line(2, log_lines()[1]), "line 3: step 0 is given twice"),
        (with_line(2, '{"train_loss": 1.0}'), "line 3: step is None"),
        (with_line(2, '{"step": 1.5, "train_loss": 1.0}'), "line 3: step is 1.5"),
        (with_line(2, '{"step": true}'), "line 3: step is True"),
        (with_line(2, '{"step": -1}'), "line 3: step is -1"),
        (with_line(2, '{"step": 1e30}'), "line 3: step is 1e\\+30"),
        (with_line(2, "[1, 2]"), "line 3: the line is list, expected an object"),
        (with_line(2, '{"_meta": {}}'), "line 3: a second _meta"),
        (with_line(2, '{"_summary": {}}'), "line 4: a record after _summary"),
        (with_line(0, '{"_meta": 3}'), "line 1: _meta is int"),
        (log_lines()[0] + "\n", "no evaluation lines"),
        (with_line(4, '{"_summary": {"grok_step": -5}}'), "_summary.grok_step is -5"),
    ],
)
def test_a_log_that_cannot_be_trusted_is_refused_with_the_place(
    tmp_path: Path, text: str, words: str
) -> None:
    path = write(tmp_path / "a_s0.jsonl", text)

    with pytest.raises(Damaged, match=words):
        GrokkingLogs(SOURCE).parse(ImportFile.load(path, "a_s0.jsonl"))


def test_two_fields_with_one_meaning_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=r"'test_acc' and 'test_accuracy' are both log\.accuracy of test"):
        parsed(tmp_path, points=[{"step": 0, "test_acc": 0.5, "test_accuracy": 0.25}])


def test_doubles_come_back_to_the_last_bit() -> None:
    values = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, 4.170270919799805]
    lines = [json.dumps({"_meta": {}}), *(json.dumps({"step": i, "x": v}) for i, v in enumerate(values))]

    log = read_log("\n".join(lines))

    assert np.array(log.points["x"][1]).tobytes() == np.array(values).tobytes()


def test_a_line_separator_inside_a_text_is_no_line() -> None:
    log = read_log('{"_meta": {"by": "a\u2028b"}}\r\n{"step": 0, "x": 1.5}\r\n\n')

    assert (log.meta, log.points) == ({"by": "a\u2028b"}, {"x": ([0], [1.5])})


def test_whose_run_it_is_travels_with_it(tmp_path: Path) -> None:
    run = parsed(tmp_path).runs[0]

    assert isinstance(run, Run)
    assert (run.source, run.family, run.aliases) == ("muon", "muon", ("group/adamw_s0",))
