"""Causal measures in a study that loads: on which eval set they are taken, what is stored, and the same again."""

import json
import math
import shutil
from pathlib import Path

import pytest

from archive.layout import Layout
from archive.store import Archive
from archive.upkeep.recomputing import recompute
from archive.upkeep.verify import verify
from ingest.measuring.recompute import now, recompute_cells
from ingest.run.calls import ingest
from ingest.run.conduct import Options
from ingest.studies.files import parse_study
from ingest.studies.loading import LoadStudy
from tests.ingest.run.running import Quiet
from tests.ingest.run.series import CODE, TOML, build_series

MEASURES = (
    "head.ablation_effect:mean", "head.patch_recovery:denoise", "attribution_patching_agreement", "logit_attribution",
)  # fmt: skip
ASKED = [
    {
        "prompt": "The sky is",
        "correct": "b",
        "distractor": "g",
        "counterfactual": "The sea is",
        "template": "colour",
    },
    {
        "prompt": "One, two",
        "correct": "t",
        "distractor": "s",
        "counterfactual": "Six, ten",
        "template": "numbers",
    },
    {
        "prompt": "Two, six",
        "correct": "t",
        "distractor": "s",
        "counterfactual": "Ten, one",
        "template": "numbers",
    },
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, empty_archive: Path) -> Archive:
    """Two sets of prompts measured at the last checkpoint; in the second one nothing is patched with something else."""
    home = tmp_path_factory.mktemp("causal")
    shutil.copy(empty_archive, home / "x.duckdb")
    build_series(home / "series")
    (home / "series" / "code.txt").write_text(CODE)
    alike = [{**one, "counterfactual": one["prompt"]} for one in ASKED]
    sets = ""
    for name, asked in (("asked", ASKED), ("alike", alike)):
        (home / f"{name}.jsonl").write_text("\n".join(map(json.dumps, asked)))
        sets += f'[[eval_sets]]\nkind = "prompts"\nfile = "{name}.jsonl"\nname = "{name}"\n'
    names = ", ".join(f'"{name}"' for name in MEASURES)
    text = TOML.split("[measures]")[0] + sets + f"[measures]\nnames = [{names}]\n[measures.schedule]\n"
    text += "".join(f'"{name}" = "final"\n' for name in MEASURES) + '[executor]\nkind = "inline"\n'
    study = parse_study(text, home / "study.toml")
    assert isinstance(study, LoadStudy)
    report = ingest(study, home / "x.duckdb", Options(), Quiet())
    assert (report.state, report.failures) == ("done", ())
    return Archive(home / "x.duckdb")


def test_they_are_taken_on_prompts_only(archive: Archive) -> None:
    cells = archive.rows("SELECT measure, eval_set, state FROM v_cell ORDER BY ALL")
    expected = sorted((name.partition(":")[0], on, "done") for name in MEASURES for on in ("alike", "asked"))
    assert [tuple(row.values()) for row in cells] == expected
    [params] = {row["params_json"] for row in archive.rows(
        "SELECT DISTINCT params_json FROM v_head_score WHERE measure = 'head.ablation_effect'"
    )}  # fmt: skip
    assert json.loads(params)["metric"] == "logit_difference"


def test_other_counterfactuals_are_another_eval_set_of_the_same_tokens(archive: Archive) -> None:
    rows = archive.rows(
        """SELECT hash, json_extract_string(facts_json, '$.token_hash') AS tokens FROM encoding
           WHERE name IN ('asked', 'alike')"""
    )
    one, other = rows
    assert one["hash"] != other["hash"]
    assert one["tokens"] == other["tokens"]


def test_stored_components_add_up(archive: Archive) -> None:
    rows = archive.rows(
        "SELECT part, value FROM v_scalar WHERE measure = 'logit_attribution' AND eval_set = 'asked'"
    )
    parts = {row["part"]: row["value"] for row in rows}
    assert sum(parts.values()) == pytest.approx(2 * parts["total"], abs=1e-4)


def test_shares_of_nothing_are_stored_as_missing_with_the_reason(archive: Archive) -> None:
    rows = list(
        archive.rows(
            """SELECT value, se, n_items FROM v_head_score
               WHERE measure = 'head.patch_recovery' AND eval_set = 'alike'"""
        )
    )
    assert rows
    assert all(math.isnan(row["value"]) and row["se"] is None and row["n_items"] == 3 for row in rows)
    [log] = (archive.file.parent / "x.d" / "logs").glob("*.log")
    said = "head.patch_recovery is unresolved: prompts and counterfactuals differ by 0 ± 0 logits"
    assert said in log.read_text()


def test_they_come_out_the_same_again(archive: Archive) -> None:
    assert verify(Layout.of(archive.file)).ok
    again = recompute(archive.file, 1.0, 0, "all", recompute_cells, now)
    assert (again.ok, len(again.drift), again.left_out) == (True, 2 * len(MEASURES), ())
