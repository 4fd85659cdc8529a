"""W&B histories as Parquet, JSON lines and CSV, and the CSV of a chart."""

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archive.store import Archive
from ingest.importers.wandb import WeightsAndBiases
from tests.ingest.importers.conftest import Import
from tests.ingest.importers.making import write
from tests.ingest.importers.making_logs import HISTORY, write_history

EXPECTED = [
    {"measure": "wandb.loss", "step": 0, "value": 4.0},
    {"measure": "wandb.loss", "step": 1, "value": 2.5},
    {"measure": "wandb.loss", "step": 2, "value": 1.25},
    {"measure": "wandb.val/acc", "step": 1, "value": 0.25},
    {"measure": "wandb.val/acc", "step": 2, "value": 0.5},
]
CHART = [
    ["Step", "seed 0 - x - loss", "seed 0 - x - loss__MIN", "seed 0 - x - loss__MAX", "seed1 - loss"],
    ["0", "4.0", "4.0", "4.0", "3.5"],
    ["100", "2.0", "1.5", "2.5", ""],
]


def logged(archive: Archive) -> list[dict[str, Any]]:
    return archive.rows("SELECT measure, step, value FROM v_log ORDER BY measure, step")


def as_csv(rows: list[list[str]], **how: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", **how).writerows(rows)
    return text.getvalue()


def history_csv() -> str:
    names = list(HISTORY[0])
    return as_csv([names, *(["" if row[n] is None else str(row[n]) for n in names] for row in HISTORY)])


@pytest.mark.parametrize("name", ["history.jsonl", "0000.parquet", "history.csv"])
def test_a_history_is_one_run_with_a_series_for_each_metric(
    tmp_path: Path, archive: Archive, import_: Import, name: str
) -> None:
    path = tmp_path / "set" / "run-1a2b3c4d-history" / name
    write(path, history_csv()) if name.endswith("csv") else write_history(path)
    report = import_(tmp_path / "set")

    assert (report.exit_code, report.sources["set"].formats) == (0, {"wandb"})
    assert logged(archive) == EXPECTED
    assert archive.rows("SELECT DISTINCT run FROM v_log") == [{"run": "set/1a2b3c4d"}]
    assert report.notes == {"a missing value gives no row": 1}
    assert import_(tmp_path / "set").n_known == 1


def test_the_numbered_files_of_an_artefact_are_one_history(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    for number, rows in enumerate((HISTORY[:2], HISTORY[2:])):
        write_history(tmp_path / "set" / "run-x-history-v0" / f"{number:04d}.parquet", rows)
    report = import_(tmp_path / "set")

    assert (report.n_files, report.exit_code) == (1, 0)
    assert logged(archive) == EXPECTED
    assert archive.rows("SELECT DISTINCT run FROM v_log") == [{"run": "set/x"}]


def test_media_texts_and_words_for_no_number_are_left_out_with_a_note(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    rows = [
        {**row, "words": "hello", "image": {"_type": "image-file", "path": "x"}, "grad": word}
        for row, word in zip(HISTORY, ("NaN", 0.5, "Infinity"), strict=True)
    ]
    write_history(tmp_path / "set" / "a.jsonl", rows)
    report = import_(tmp_path / "set")

    assert set(report.notes) == {
        "a missing value gives no row",
        "wandb.grad: 2 NaN or infinite values gave no row: 2 of run set/a (steps 0 to 2)",
        "column 'words' holds other things than numbers and was left out",
        "column 'image' holds other things than numbers and was left out",
    }
    assert logged(archive) == [{"measure": "wandb.grad", "step": 1, "value": 0.5}, *EXPECTED]


def test_numbers_of_parquet_that_are_none(tmp_path: Path, archive: Archive, import_: Import) -> None:
    path = tmp_path / "set" / "h.parquet"
    path.parent.mkdir()
    table = pa.table(
        {
            "_step": [0, 1, 2],
            "_timestamp": [1.0] * 3,
            "x": [1.0, float("nan"), float("inf")],
            "ok": [True, False, None],
        }
    )
    pq.write_table(table, path)
    import_(tmp_path / "set")

    assert logged(archive) == [
        {"measure": "wandb.ok", "step": 0, "value": 1.0},
        {"measure": "wandb.ok", "step": 1, "value": 0.0},
        {"measure": "wandb.x", "step": 0, "value": 1.0},
    ]


@pytest.mark.parametrize("how", [{}, {"quoting": csv.QUOTE_ALL}])
def test_a_charts_table_has_a_run_for_each_column(
    tmp_path: Path, archive: Archive, import_: Import, how: dict[str, Any]
) -> None:
    write(tmp_path / "set" / "wandb_export.csv", as_csv(CHART, **how))
    report = import_(tmp_path / "set")

    assert archive.rows("SELECT run, measure, step, value FROM v_log ORDER BY run, step") == [
        {"run": "set/seed 0 - x", "measure": "wandb.loss", "step": 0, "value": 4.0},
        {"run": "set/seed 0 - x", "measure": "wandb.loss", "step": 100, "value": 2.0},
        {"run": "set/seed1", "measure": "wandb.loss", "step": 0, "value": 3.5},
    ]
    assert any(note.startswith("values are means over several steps") for note in report.notes)


def test_a_step_twice_and_a_history_cut_off_are_refused(tmp_path: Path, import_: Import) -> None:
    write_history(tmp_path / "set" / "twice.jsonl", [*HISTORY, HISTORY[0]])
    cut = write_history(tmp_path / "set" / "cut.jsonl")
    cut.write_text(cut.read_text()[:-9])
    found = dict(import_(tmp_path / "set").problems)

    assert found["twice.jsonl"] == "wandb.loss of set/twice at step 0 is given twice"
    assert found["cut.jsonl"].startswith("row 3: cut off at line 1 column ")


@pytest.mark.parametrize(
    "head",
    [
        "Step,loss\n0,1\n",
        "step,a - b\n0,1\n",
        '{"_step": 0, "loss": 1}\n',
        "_step,loss\n0,1\n",
        '{"_step": ',
        "Step\n",
    ],
)
def test_what_is_no_export_of_wandb_is_not_taken_for_one(head: str) -> None:
    assert not WeightsAndBiases.recognises(head)


def test_a_history_without_a_metric_is_named(tmp_path: Path, import_: Import) -> None:
    write(tmp_path / "set" / "t.csv", "_step,_runtime\n1,2\n")

    assert [p.reason for p in import_(tmp_path / "set").problems] == [
        "no column of numbers besides its steps and times"
    ]
