"""Tables of one's own: what a mapping makes of them, and how a wrong one is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archive.errors import UsageError
from archive.records import Source
from archive.store import Archive
from ingest.importers.base import Damaged, ImportFile, Parsed
from ingest.importers.generic import Generic
from ingest.importers.mapping import read_mapping
from tests.ingest.importers.conftest import Import
from tests.ingest.importers.making import write
from tests.ingest.importers.making_logs import MAPPING, TABLE, write_mapped

LONG = """
table = "benchmark"
[columns]
run = "name"
step = "step"
metric = "what"
value = "score"
se = "stderr"
n_items = "n"
task = "task"
shots = { constant = 5 }
tokens_seen = "tokens"
[metrics.acc]
measure = "benchmark.acc"
"""
RESULTS: tuple[dict[str, Any], ...] = (
    {
        "name": "m",
        "step": 5,
        "what": "acc",
        "score": 0.5,
        "stderr": 0.01,
        "n": 100,
        "task": "sciq",
        "tokens": 1e6,
    },
    {"name": "m", "step": 5, "what": "acc", "score": 0.25, "task": "piqa", "tokens": 1e6},
    {"name": "m", "step": None, "what": "acc", "score": 0.75, "task": "piqa"},
    {"name": "m", "step": 7, "what": "acc", "score": None, "task": "piqa"},
)
HEADS = """
table = "head"
base = 1
[columns]
run = { constant = "m" }
step = "step"
layer = "L"
head = "H"
[values.score]
summary = "A score."
unit = "share"
"""


def parse(path: Path) -> Parsed:
    return Parsed.joined(Generic(Source(name="set")).parse_parts(ImportFile.load(path, path.name)))


def refusal(folder: Path, table: str = TABLE, mapping: str = MAPPING, name: str = "t.csv") -> str:
    with pytest.raises(Damaged) as error:
        parse(write_mapped(folder / name, table, mapping))
    return str(error.value)


def test_a_wide_table_becomes_log_series(tmp_path: Path, archive: Archive, import_: Import) -> None:
    report = import_(write_mapped(tmp_path / "set" / "curves.csv"))

    assert archive.rows(
        "SELECT run, step, measure, part, value, unit FROM v_log ORDER BY run, measure, step"
    ) == [
        {
            "run": "set/small-s0",
            "step": 0,
            "measure": "log.loss",
            "part": "train",
            "value": 4.5,
            "unit": "nats",
        },
        {
            "run": "set/small-s0",
            "step": 100,
            "measure": "log.loss",
            "part": "train",
            "value": 1.5,
            "unit": "nats",
        },
        {
            "run": "set/small-s0",
            "step": 0,
            "measure": "set.reward",
            "part": "",
            "value": 1.25,
            "unit": "points",
        },
        {
            "run": "set/small-s1",
            "step": 0,
            "measure": "log.loss",
            "part": "train",
            "value": 4.25,
            "unit": "nats",
        },
        {
            "run": "set/small-s1",
            "step": 0,
            "measure": "set.reward",
            "part": "",
            "value": 2.5,
            "unit": "points",
        },
    ]
    assert archive.rows(
        "SELECT run, condition, init_seed, data_order_seed, split_seed FROM v_run ORDER BY run"
    ) == [
        {
            "run": f"set/small-s{s}",
            "condition": "small",
            "init_seed": s,
            "data_order_seed": None,
            "split_seed": None,
        }
        for s in (0, 1)
    ]
    assert report.notes == {"a missing value gives no row": 1}


def test_a_long_table_becomes_benchmarks_and_missing_is_missing(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    write_mapped(tmp_path / "set" / "r.jsonl", "".join(json.dumps(r) + "\n" for r in RESULTS), LONG)
    report = import_(tmp_path / "set")

    assert archive.rows(
        "SELECT run, step, tokens_seen, task, n_shots, measure, value, se, n_items FROM v_benchmark ORDER BY task"
    ) == [
        {"run": "set/m", "step": 5, "tokens_seen": 1e6, "task": task, "n_shots": 5, "measure": "benchmark.acc",
         "value": value, "se": se, "n_items": n}
        for task, value, se, n in (("piqa", 0.25, None, None), ("sciq", 0.5, 0.01, 100))
    ]  # fmt: skip
    assert set(report.notes) == {"rows without a step were left out", "a missing value gives no row"}
    assert archive.value("SELECT count(*) FROM v_benchmark WHERE step = 0") == 0


def test_a_curve_that_ends_in_nan_says_so(tmp_path: Path, archive: Archive, import_: Import) -> None:
    mapping = """table = "log"
missing = ["", "nan", "inf"]
[columns]
run = "run"
step = "step"
[values.loss]
measure = "log.loss"
"""
    rows = [f"a,{s},{'nan' if s >= 30 else 1.0}" for s in range(0, 50, 10)] + ["b,0,inf", "b,10,", "b,20,1.0"]
    write_mapped(tmp_path / "set" / "r.csv", "run,step,loss\n" + "".join(f"{r}\n" for r in rows), mapping)
    report = import_(tmp_path / "set")

    assert archive.value("SELECT max(step) FROM v_log WHERE run = 'set/a'") == 20
    assert report.notes == {
        "a missing value gives no row": 1,
        "log.loss: 3 NaN or infinite values gave no row: 2 of run set/a (steps 30 to 40), 1 of run set/b (step 0)": 1,
    }


def test_parquet_heads_are_counted_from_0(tmp_path: Path, archive: Archive, import_: Import) -> None:
    path = write_mapped(tmp_path / "set" / "h.parquet", "", HEADS)
    pq.write_table(
        pa.table(
            {"step": [3] * 4, "L": [1, 1, 2, 2], "H": [1, 2, 1, 2], "score": np.float32([0.5, 1, 2, 4])}
        ),
        path,
    )
    import_(tmp_path / "set")

    assert archive.rows(
        "SELECT step, layer, head, measure, value FROM v_head_score ORDER BY layer, head"
    ) == [
        {"step": 3, "layer": i // 2, "head": i % 2, "measure": "set.score", "value": 0.5 * 2**i}
        for i in range(4)
    ]


def test_neurons_become_a_row_a_layer_with_gaps(tmp_path: Path) -> None:
    mapping = """
table = "neuron"
[columns]
run = { constant = "m" }
step = { constant = 9 }
layer = "layer"
neuron = "unit"
[values.kurtosis]
[values.mean]
"""
    table = "layer,unit,kurtosis,mean\n0,2,3.0,1.0\n0,0,1.0,\n1,1,5.0,2.0\n"
    blocks = parse(write_mapped(tmp_path / "n.csv", table, mapping)).blocks
    found = {
        (b.quantity.measure.name, int(b.columns["layer"][0])): np.asarray(b.columns["values"])[0].tolist()  # type: ignore[union-attr,index,arg-type]
        for b in blocks
    }

    assert found.keys() == {("set.kurtosis", 0), ("set.kurtosis", 1), ("set.mean", 0), ("set.mean", 1)}
    np.testing.assert_equal(found["set.kurtosis", 0], [1.0, np.nan, 3.0])
    np.testing.assert_equal(found["set.mean", 0], [np.nan, np.nan, 1.0])
    np.testing.assert_equal(found["set.kurtosis", 1], [np.nan, 5.0])
    assert "layer 0 neuron 2 is given twice" in refusal(tmp_path, table.replace("0,0,", "0,2,"), mapping)


def test_tabs_other_separators_and_a_mark_at_the_beginning(tmp_path: Path) -> None:
    tabs = parse(write_mapped(tmp_path / "t.tsv", TABLE.replace(",", "\t")))
    semicolons = parse(
        write_mapped(tmp_path / "s.csv", TABLE.replace(",", ";"), 'separator = ";"\n' + MAPPING)
    )
    marked = parse(write_mapped(tmp_path / "m.csv", "\ufeff" + TABLE))
    spaced = parse(write_mapped(tmp_path / "b.csv", TABLE.replace(",", " , ").replace(" , ", ",", 4)))

    plain = parse(write_mapped(tmp_path / "p.csv"))
    for other in (tabs, semicolons, marked, spaced):
        assert [b.n_rows for b in other.blocks] == [b.n_rows for b in plain.blocks] == [3, 2]
        assert other.runs == plain.runs


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("4.25", "x"), "row 3: train_loss is 'x', expected a number"),
        (("4.25", "inf"), "row 3: train_loss is 'inf', expected a finite number"),
        (("4.25", "NaN"), "row 3: train_loss is 'NaN', expected a finite number"),
        ((",100,", ",-1,"), "row 2: iteration is '-1', expected a whole number of at least 0"),
        ((",100,", ",1.5,"), "row 2: iteration is '1.5', expected a whole number of at least 0"),
        (("small,1", "small,one"), "row 3: init_seed is 'one', expected a whole number"),
        (("small,1", ",1"), "row 3: no run"),
        (("small,1", "small,1,7"), "row 3 has 6 of 5 columns"),
        (("train_loss", "loss"), "the mapping's values.train_loss is 'train_loss', but the columns are model, seed"),
        (("reward", "seed"), "column 'seed' is named twice"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_told_by_row_and_column(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    assert refusal(tmp_path, TABLE.replace(*change, 1)).startswith(words)


def test_rows_given_twice_are_refused_whether_or_not_they_agree(tmp_path: Path, import_: Import) -> None:
    for name, value in (("same", "1.5"), ("other", "2.5")):
        write_mapped(tmp_path / name / "t.csv", TABLE + f"small,0,100,{value},\n")
        [(_, reason)] = import_(tmp_path / name).problems
        assert reason == f"log.loss train of {name}/small-s0 at step 100 is given twice"


def test_a_run_has_one_seed_and_one_condition(tmp_path: Path) -> None:
    mapping = MAPPING.replace('"{model}-s{seed}"', '"model"')

    assert refusal(tmp_path, mapping=mapping) == "row 3: run 'small' has init_seed 1 here, 0 above"


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("table = ", "mapping t.csv.mapping.toml is not TOML: "),
        (MAPPING.replace('"log"', '"logs"', 1), "table is 'logs': Input should be 'log', 'scalar', 'head'"),
        (MAPPING.replace("iteration", "iter"), "the mapping's columns.step is 'iter', but the columns are model"),
        (MAPPING.replace("step =", "stpe ="), "columns.stpe is not a key of mappings; found 'iteration'"),
        (MAPPING.replace('step = "iteration"', ""), "columns.step is missing"),
        (MAPPING.replace('"points"', "3"), "values.reward.unit is 3: Input should be a valid string"),
        (MAPPING + '[metrics.x]\nunit = "u"', "give either [values.COLUMN] for each column of numbers, or"),
        (MAPPING.split("[values")[0], "nothing says where the numbers are: [values.COLUMN]"),
        (MAPPING.replace("init_seed", "layer"), "columns.layer has no place in table 'log'"),
        (MAPPING.replace('"log"', '"head"', 1), "columns.layer is needed for table 'head'"),
        (MAPPING.replace('part = "train"', 'unit = "bits"'), "the mapping gives 'train_loss' the unit 'bits', but log.loss"),
        (MAPPING.replace('"log"', '"scalar"', 1), "the measure log.loss, which has its place in fact_log, not in fact_scalar"),
        (MAPPING.replace('"iteration"', "{ constant = 1.5 }"), "the mapping's columns.step is 1.5, expected a whole"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_told_by_key(tmp_path: Path, mapping: str, words: str) -> None:
    assert words in refusal(tmp_path, mapping=mapping)


@pytest.mark.parametrize(
    ("score", "stderr", "words"),
    [
        (60.1, 1.2, "benchmark.acc of step 5 of set/m is 60.1, expected 0.0 to 1.0 (share)"),
        (0.6, -0.01, "benchmark.acc of step 5 of set/m has the standard error -0.01, expected at least 0"),
    ],
)
def test_numbers_that_no_share_can_be_are_refused(
    tmp_path: Path, import_: Import, score: float, stderr: float, words: str
) -> None:
    rows = [
        {"name": "m", "step": 5, "what": "acc", "task": t, "n": 9, "tokens": 1, "score": s, "stderr": e}
        for t, s, e in (("sciq", 0.5, 0.1), ("piqa", score, stderr))
    ]
    write(tmp_path / "set" / "r.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write(tmp_path / "set" / "r.mapping.toml", LONG)

    assert [p.reason for p in import_(tmp_path / "set").problems] == [words]


def test_an_impossible_head_keeps_no_other_file_out(tmp_path: Path, import_: Import) -> None:
    mapping = HEADS.replace('"L"', '"layer"').replace('"H"', '"head"')
    for name, head in (("a", 10**10), ("b", 2)):
        write(tmp_path / "set" / f"{name}.csv", f"step,layer,head,score\n1,1,{head},0.5\n")
        write(tmp_path / "set" / f"{name}.mapping.toml", mapping.replace('"m"', f'"{name}"'))
    report = import_(tmp_path / "set")

    assert report.n_files == 1
    [(path, reason)] = report.problems
    assert path == "a.csv"
    assert (
        reason
        == "set.score of step 1 of set/a at layer 0 head 9999999999: head is 9999999999, expected at most 32767"
    )


def test_a_suffix_that_says_nothing_needs_a_format(tmp_path: Path, import_: Import) -> None:
    write_mapped(tmp_path / "set" / "t.dat")
    [(_, reason)] = import_(tmp_path / "set").problems
    assert reason == "suffix '.dat' says nothing: give `format` in the mapping"

    write_mapped(tmp_path / "set" / "t.dat", mapping='format = "csv"\n' + MAPPING)
    assert import_(tmp_path / "set").n_rows == 5


def test_json_lines_name_their_row(tmp_path: Path) -> None:
    rows = [json.dumps(r) + "\n" for r in RESULTS]

    assert refusal(tmp_path, "".join(rows)[:-9], LONG, "r.jsonl").startswith(
        "row 4: cut off at line 1 column "
    )
    assert refusal(tmp_path, rows[0] + "[1]\n", LONG, "r.jsonl") == "row 2 is a JSON list, expected an object"
    assert refusal(tmp_path, rows[0].replace("0.5", "NaN"), LONG, "r.jsonl").startswith(
        "row 1: NaN is not JSON"
    )
    assert refusal(tmp_path, rows[1], LONG, "r.jsonl") == "no row has 'n', which the mapping names"


def test_a_damaged_parquet_file_is_named(tmp_path: Path, import_: Import) -> None:
    path = write_mapped(tmp_path / "set" / "h.parquet", "", HEADS)
    pq.write_table(pa.table({"step": [3], "L": [1], "H": [1], "score": [0.5]}), path)
    path.write_bytes(path.read_bytes()[:-10])
    [(_, reason)] = import_(tmp_path / "set").problems

    assert reason.startswith("Parquet that cannot be read: ")


def test_a_mapping_is_named_by_hand_or_found(tmp_path: Path, import_: Import) -> None:
    table, mapping = write(tmp_path / "set" / "t.csv", TABLE), write(tmp_path / "m.toml", MAPPING)
    with pytest.raises(UsageError, match=r"no mapping: give --mapping, or put NAME\.mapping\.toml beside it"):
        import_(table, "generic")
    with pytest.raises(UsageError, match=r"--mapping is for format generic: `pathscope import generic PATH"):
        import_(table, mapping=mapping)
    with pytest.raises(UsageError, match="no mapping at"):
        import_(table, "generic", mapping=tmp_path / "none.toml")

    assert import_(table, "generic", mapping=mapping).n_rows == 5
    mapping.rename(table.with_name("t.mapping.toml"))
    assert import_(tmp_path / "set").n_known == 1


def test_a_mapping_with_all_it_can_say_is_read(tmp_path: Path) -> None:
    mapping = read_mapping(write(tmp_path / "m.toml", LONG))

    assert dict(mapping.wanted()).keys() == {
        *(f"columns.{n}" for n in ("run", "step", "metric", "value", "se", "n_items", "task", "tokens_seen"))
    }
    assert mapping.missing == ("",)
