"""A study that loads checkpoints: what it wants, what it stores, and what it does when something is wrong."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from archive.errors import NoSpace, UnknownName, UsageError
from archive.layout import Layout
from archive.store import Archive
from archive.upkeep.recomputing import recompute
from archive.upkeep.verify import verify
from ingest.evalsets.refusals import TokenizerRefused
from ingest.evalsets.stored import stored_eval_set
from ingest.mathematics.prompt_scores import prompt_scores
from ingest.measuring.recompute import now, recompute_cells
from ingest.planning.estimate import BudgetExceeded
from ingest.run import loading_call, scan_worker
from ingest.run.calls import ingest
from ingest.run.conduct import IngestReport, Options
from ingest.run.stopping import StopCheck
from ingest.run.unit import is_permanent
from ingest.studies.files import parse_study
from ingest.studies.loading import LoadStudy
from pathscope.commands.ingest import as_plain, summary
from tests.ingest.run.running import Quiet
from tests.ingest.run.series import CODE, N_CELLS, STEPS, TOML, build_series


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    build_series(folder / "series")
    (folder / "series" / "code.txt").write_text(CODE)
    return folder


@pytest.fixture
def bare(series: Path, tmp_path: Path) -> Path:
    """A folder of the test's own with the series and room for a study and an archive beside it."""
    shutil.copytree(series / "series", tmp_path / "series")
    return tmp_path


@pytest.fixture
def home(bare: Path, empty_archive: Path) -> Path:
    """The same with an archive in which nothing is."""
    shutil.copy(empty_archive, bare / "x.duckdb")
    return bare


@pytest.fixture(scope="module")
def first_call(series: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, IngestReport]:
    """A folder with the study carried out by one call, for nobody to write to, and what the call reported."""
    home = tmp_path_factory.mktemp("measured")
    shutil.copytree(series / "series", home / "series")
    return home, go(home)  # which makes the archive


@pytest.fixture(scope="module")
def measured_once(first_call: tuple[Path, IngestReport]) -> Path:
    home, report = first_call
    assert report.state == "done"
    return home


@pytest.fixture
def measured(measured_once: Path, tmp_path: Path) -> Path:
    """A folder of the test's own, with the study carried out."""
    return Path(shutil.copytree(measured_once, tmp_path / "home"))


def only(*steps: int) -> str:
    """The study of some of the checkpoints, of which there is one to measure everything at: the last."""
    return TOML.replace("[load]", f"[load]\ncheckpoints = {list(steps)}")


def n_cells(*steps: int) -> int:
    """Of the study of these checkpoints, the first and the last among them; see N_CELLS."""
    return N_CELLS - 7 * (len(STEPS) - len(steps))


def study_in(home: Path, text: str = TOML) -> LoadStudy:
    study = parse_study(text, home / "study.toml")
    assert isinstance(study, LoadStudy)
    return study


def go(home: Path, text: str = TOML, **options: Any) -> IngestReport:
    return ingest(study_in(home, text), home / "x.duckdb", Options(**options), Quiet())


def archive_in(home: Path) -> Archive:
    return Archive(home / "x.duckdb")


def counts(home: Path) -> dict[tuple[str, int], int]:
    """Done cells by measure and step."""
    rows = archive_in(home).rows(
        "SELECT measure, step, count(*) AS n FROM v_cell WHERE state = 'done' GROUP BY ALL"
    )
    return {(row["measure"], row["step"]): row["n"] for row in rows}


def test_every_cell_is_filled_once_and_then_there_is_nothing_to_do(
    first_call: tuple[Path, IngestReport], measured: Path
) -> None:
    home, first = measured, first_call[1]
    assert (first.state, first.n_filled, first.failures) == ("done", N_CELLS, ())
    found = counts(home)
    assert found["loss", 0] == 2
    assert found["head.prefix_matching", 4] == 1
    assert {step for measure, step in found if measure == "neuron.top"} == {8}
    assert {step for measure, step in found if measure == "token_loss"} == {0, 8}
    assert go(home).state == "nothing to do"
    [run] = archive_in(home).rows("SELECT run, family, init_seed FROM v_run WHERE run <> ''")
    assert run == {"run": "tiny", "family": "hugging_face", "init_seed": 3}
    hashes = archive_in(home).rows("SELECT step, weights_hash FROM v_checkpoint ORDER BY step")
    assert [row["step"] for row in hashes] == list(STEPS)
    assert len({row["weights_hash"] for row in hashes}) == len(STEPS)


def test_a_dry_run_says_how_many_rows_each_measure_will_have(home: Path, measured_once: Path) -> None:
    report = go(home, dry_run=True)
    estimated = report.estimated
    assert estimated is not None
    assert "\n  neuron.top: 48 rows of 1 cells, 0.0115 MB" in summary(as_plain(report))
    found = {measure.measure: (measure.cells, measure.rows) for measure in estimated.rows}
    stored = {
        row["measure"]: (row["cells"], row["rows"])
        for row in archive_in(measured_once).rows(
            "SELECT measure, count(*) AS cells, sum(n_rows)::BIGINT AS rows FROM v_cell GROUP BY ALL"
        )
    }
    assert found.keys() == stored.keys()
    for measure in (
        "token_loss",
        "head.prefix_matching",
        "head.previous_token",
        "neuron.top",
        "k_composition",
    ):
        assert found[measure] == stored[measure]
    for measure in ("loss", "weight_norm"):  # a row a split or tensor is counted as ten
        assert found[measure] == (stored[measure][0], 10 * stored[measure][0])


def test_more_rows_than_a_measure_may_write_are_refused_before_anything_runs(home: Path) -> None:
    few = 'max_rows = { "neuron.top" = 47 }\n[executor]'
    with pytest.raises(
        BudgetExceeded, match=r"neuron\.top would write an estimated 48 rows \(1 cells, .*allowed 47"
    ):
        go(home, TOML.replace("[executor]", few))
    assert not counts(home)
    planned = summary(as_plain(go(home, TOML.replace("[executor]", few), dry_run=True)))
    assert "neuron.top: 48 rows of 1 cells, 0.0115 MB, MORE than the 47 allowed" in planned
    with pytest.raises(UsageError, match=r"max_rows speaks of 'neuron\.topp', which is not among names"):
        study_in(home, TOML.replace("[executor]", few.replace("top", "topp")))
    assert go(home, only(0, 8).replace("[executor]", few.replace("47", "48"))).state == "done"


def test_short_memory_is_told_and_ends_in_fewer_processes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading_call, "free_memory", lambda: 10**9)
    monkeypatch.setattr(loading_call, "n_cores", lambda: 8)
    local = TOML.replace('kind = "inline"', 'kind = "local"')
    planned = go(home, local, dry_run=True).estimated
    assert planned is not None
    assert planned.n_workers == 2
    assert planned.notes[0] in summary(as_plain(go(home, local, dry_run=True)))
    [note] = planned.notes
    assert "2 of 8 possible processes" in note
    insisted = go(home, local.replace('"local"', '"local"\nprocesses = 5'), dry_run=True).estimated
    assert insisted is not None
    assert insisted.n_workers == 5
    assert "5 processes may run out of it" in insisted.notes[0]
    monkeypatch.setattr(loading_call, "free_memory", lambda: 10**8)
    assert go(home, only(0, 8)).state == "done"
    [log] = (home / "x.d" / "logs").glob("*.log")
    assert "even one process may run out of it" in log.read_text()


def test_another_measure_later_computes_only_that_one(measured: Path) -> None:
    more = TOML.replace('"weight_norm"]', '"weight_norm", "head.first_token"]')
    report = go(measured, more)
    assert (report.state, report.n_filled) == ("done", 2 * len(STEPS))
    assert report.n_present == N_CELLS + 2 * len(STEPS)


def test_filling_a_measure_that_the_study_does_not_name(measured: Path) -> None:
    report = go(measured, fill=("head.duplicate_token",))
    assert (report.state, report.n_filled) == ("done", len(STEPS))


def test_numbers_do_not_depend_on_where_a_call_ends(
    home: Path, measured_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = (0, 2, 8)
    monkeypatch.setattr(StopCheck, "__call__", lambda self: True)  # after the first checkpoint of every call
    filled = []
    while (report := go(home, only(*steps))).state == "stopped":
        filled.append(report.n_filled)
    assert report.state in ("done", "nothing to do")
    assert len(filled) >= len(steps) - 1
    assert 0 < max(filled) < n_cells(*steps)
    query = f"""SELECT measure, step, eval_set, layer, head, value FROM v_head_score WHERE step IN {steps} ORDER BY ALL"""
    assert archive_in(home).rows(query) == archive_in(measured_once).rows(query) != []


def test_a_long_unit_is_cut_and_goes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_worker, "UNIT_SECONDS", 0.0)
    assert go(home, only(0, 8)).state == "done"  # which one unit would do
    assert sum(counts(home).values()) == n_cells(0, 8)


def test_the_loss_is_that_of_the_model(measured: Path) -> None:
    from transformers import GPTNeoXForCausalLM

    archive = archive_in(measured)
    [encoding] = archive.rows("SELECT hash FROM encoding WHERE name LIKE 'repeated%'")
    tokens = stored_eval_set(archive, encoding["hash"]).sequences
    model = GPTNeoXForCausalLM.from_pretrained(measured / "series" / "step8")
    batch = torch.from_numpy(tokens.ids.astype(np.int64)).reshape(len(tokens), -1)
    with torch.no_grad():
        expected = model(batch, labels=batch).loss.item()
    [row] = archive.rows(
        """SELECT value FROM v_scalar WHERE measure = 'loss' AND step = 8 AND eval_set LIKE 'repeated%'
           AND part = ''"""
    )
    assert row["value"] == pytest.approx(expected, rel=1e-5)


def test_a_damaged_checkpoint_is_named_and_the_rest_goes_on(home: Path) -> None:
    weights = home / "series" / "step2" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    report = go(home, only(0, 2, 8))
    assert report.exit_code == 1
    [failure] = report.failures
    assert (failure.run, failure.step, failure.permanent) == ("tiny", 2, True)
    assert "step2" in failure.message
    n_lost = len([key for key in counts(home) if key[1] == 2])
    assert n_lost == 0
    assert report.n_given_up == 7
    assert report.n_present == n_cells(0, 2, 8) - 7
    again = go(home, only(0, 2, 8))
    assert again.state == "nothing to do"  # failed for good: not tried every night


def test_a_checkpoint_that_is_gone_is_absent_and_marked(home: Path) -> None:
    text = TOML.replace(
        'folder = "series"', 'repository = "org/tiny", revisions = ["step0", "step1", "step3"]'
    )
    text = text.replace('tokenizer = "bytes"', 'tokenizer = "bytes"\nsource = "path:hub"').replace(
        "[0, 8]", "[0]"
    )
    shutil.copytree(home / "series", home / "hub" / "org" / "tiny")
    report = go(home, text)
    [failure] = report.failures
    assert "step3" in failure.message
    assert "org/tiny" in failure.message
    states = archive_in(home).rows("SELECT DISTINCT step, state FROM v_cell ORDER BY step")
    assert {(row["step"], row["state"]) for row in states} == {
        (0, "done"),
        (1, "done"),
        (3, "absent upstream"),
    }
    [mark] = archive_in(home).rows("SELECT integrity FROM v_checkpoint WHERE step = 3")
    assert mark["integrity"] == "absent"


def test_prompts_are_scored_item_by_item(home: Path) -> None:
    asked = [("The sky is", " blue", " green"), ("One, two,", " three", " seven"), ("a", "b", "c")]
    lines = [f'{{"prompt": "{p}", "correct": "{c[:1]}", "distractor": "{d[-1:]}"}}' for p, c, d in asked]
    (home / "asked.jsonl").write_text("\n".join(lines))
    text = TOML.split("[[eval_sets]]")[0] + (
        '[[eval_sets]]\nkind = "prompts"\nfile = "asked.jsonl"\n[measures]\nnames = ["logit_difference"]\n'
        'schedule = { logit_difference = "final" }\n[executor]\nkind = "inline"\n'
    )
    assert go(home, text).n_filled == 1
    from transformers import GPTNeoXForCausalLM

    model = GPTNeoXForCausalLM.from_pretrained(home / "series" / "step8")
    rows = archive_in(home).rows("SELECT value FROM fact_item ORDER BY item")
    for (prompt, correct, distractor), row in zip(asked, rows, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([list(prompt.encode())])).logits[0, -1:]
        right, wrong = torch.tensor([correct.encode()[0]]), torch.tensor([distractor.encode()[-1]])
        expected = prompt_scores(logits, right, wrong).logit_difference[0]
        assert row["value"] == pytest.approx(float(expected), abs=1e-5)


def test_a_changed_text_is_another_eval_set(home: Path) -> None:
    (home / "t.txt").write_text("abc def " * 20)
    text = only(0, 8).split("[[eval_sets]]")[0] + (
        '[[eval_sets]]\nkind = "text"\nfiles = ["t.txt"]\ncontext = 16\n[measures]\nnames = ["loss"]\n'
        '[executor]\nkind = "inline"\n'
    )
    assert go(home, text).n_filled == 2
    assert go(home, text).state == "nothing to do"
    (home / "t.txt").write_text("something else entirely " * 20)
    assert go(home, text).n_filled == 2


def test_what_it_leaves_passes_verify(measured: Path) -> None:
    assert verify(Layout.of(measured / "x.duckdb")).ok


def with_load(line: str) -> str:
    return TOML.replace('tokenizer = "bytes"', line)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (TOML.replace('"hugging_face"', '"pithia"'), UnknownName, "pythia"),
        (TOML.replace("[load]", '[load]\nruns = ["tinny"]'), UnknownName, "tiny"),
        (TOML.replace("[load]", "[load]\ncheckpoints = [0, 3]"), UsageError, "asks for step 3"),
        (with_load(""), UsageError, "load.tokenizer"),
        (with_load('tokenizer = "path:nowhere"'), TokenizerRefused, "nowhere"),
        (TOML.replace('"weight_norm"]', '"fourier_gini"]'), UsageError, "fourier_gini"),
        (TOML.replace('"weight_norm"]', '"logit_difference"]'), UsageError, "prompts"),
        (TOML.replace('kind = "text"', 'kind = "txt"'), UsageError, "text"),
        (TOML.replace('name = "code"', 'name = "repeated_tokens"'), UsageError, "two eval sets"),
        (TOML + "\n[train]\n", UsageError, r"\[train\] and \[load\]"),
    ],
)
def test_a_wrong_study_is_refused_with_what_to_write(
    home: Path, text: str, error: type[Exception], words: str
) -> None:
    with pytest.raises((error, UsageError), match=words):
        go(home, text)
    assert not counts(home)


def test_less_memory_means_smaller_batches_and_a_note(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ingest.models.hugging_face import HuggingFaceModel

    trunk = HuggingFaceModel.trunk

    def narrow(self: HuggingFaceModel, tokens: torch.Tensor, **sinks: Any) -> torch.Tensor:
        if len(tokens) > 1:
            raise MemoryError("not for a batch of two")
        return trunk(self, tokens, **sinks)

    monkeypatch.setattr(HuggingFaceModel, "trunk", narrow)
    assert go(home, only(0, 8)).state == "done"
    [log] = (home / "x.d" / "logs").glob("*.log")
    assert "memory does not hold a batch of 3 sequences" in log.read_text()


def test_weights_that_were_replaced_are_not_mixed_with_the_old_ones(measured: Path) -> None:
    shutil.rmtree(measured / "series" / "step2")
    shutil.copytree(measured / "series" / "step4", measured / "series" / "step2")
    report = go(measured, TOML.replace('"weight_norm"]', '"weight_norm", "head.first_token"]'))
    [failure] = report.failures
    assert (failure.step, failure.error_class, failure.permanent) == (2, "WeightsChanged", True)
    assert report.n_filled == 2 * (len(STEPS) - 1)


def test_results_are_measured_again_from_where_the_checkpoints_came(home: Path) -> None:
    go(home, only(0, 2, 8))  # not a copy: the archive knows where the checkpoints are
    database = home / "x.duckdb"
    n = n_cells(0, 2, 8)
    again = recompute(database, 1.0, 0, "all", recompute_cells, now)
    assert (again.ok, len(again.drift), again.left_out) == (True, n, ())
    shutil.rmtree(home / "series" / "step2")
    shutil.copytree(home / "series" / "step4", home / "series" / "step2")
    again = recompute(database, 1.0, 0, "all", recompute_cells, now)
    assert {drift.cell.step for drift in again.beyond} == {2}
    shutil.rmtree(home / "series" / "step2")
    again = recompute(database, 1.0, 0, "all", recompute_cells, now)
    assert again.ok
    assert {out.cell.step for out in again.left_out} == {2}
    shutil.rmtree(home / "series")
    again = recompute(database, 1.0, 0, "all", recompute_cells, now)
    assert (again.ok, len(again.left_out)) == (True, n)


def test_a_place_that_cannot_be_reached_costs_nothing_that_was_measured(home: Path) -> None:
    text = TOML.replace('folder = "series"', 'repository = "org/tiny", revisions = ["step0", "step1"]')
    text = text.replace('tokenizer = "bytes"', 'tokenizer = "bytes"\nsource = "path:hub"').replace(
        "[0, 8]", "[0]"
    )
    shutil.copytree(home / "series", home / "hub" / "org" / "tiny")
    assert go(home, text).state == "done"
    (home / "hub").rename(home / "unmounted")
    more = text.replace('"weight_norm"]', '"weight_norm", "head.first_token"]')
    report = go(home, more)
    assert {failure.permanent for failure in report.failures} == {False}
    integrity = "SELECT DISTINCT integrity FROM v_checkpoint"
    assert archive_in(home).rows(integrity) == [{"integrity": "ok"}]
    (home / "unmounted").rename(home / "hub")
    assert go(home, more).state == "done"


def test_an_absent_checkpoint_that_appears_is_measured_when_asked(home: Path) -> None:
    text = TOML.replace('folder = "series"', 'repository = "org/tiny", revisions = ["step0", "step1"]')
    text = text.replace('tokenizer = "bytes"', 'tokenizer = "bytes"\nsource = "path:hub"').replace(
        "[0, 8]", "[0]"
    )
    shutil.copytree(home / "series" / "step0", home / "hub" / "org" / "tiny" / "step0")
    first = go(home, text)
    assert first.n_given_up > 0
    shutil.copytree(home / "series" / "step1", home / "hub" / "org" / "tiny" / "step1")
    assert go(home, text).state == "nothing to do"
    assert go(home, text, retry_failed=True).state == "done"
    assert archive_in(home).rows("SELECT DISTINCT integrity FROM v_checkpoint") == [{"integrity": "ok"}]


def test_other_weights_under_a_known_name_are_refused(measured: Path) -> None:
    shutil.copytree(measured / "series", measured / "other")
    other = TOML.replace('folder = "series"', 'folder = "other"')
    with pytest.raises(UsageError, match="was loaded from"):
        go(measured, other)
    assert go(measured, other.replace("[load]", "[load]\nmoved = true")).state == "nothing to do"


def test_one_unreadable_file_costs_one_checkpoint(home: Path) -> None:
    step = home / "series" / "step2"
    (step / "model.safetensors").rename(step / "model-00001-of-00001.safetensors")
    (step / "model.safetensors.index.json").write_text("not JSON")
    report = go(home, only(0, 2, 8))
    assert {failure.step for failure in report.failures} == {2}
    assert "model.safetensors.index.json" in report.failures[0].message


def test_an_eval_set_that_does_not_fit_costs_only_itself(home: Path) -> None:
    report = go(home, only(0, 8).replace("context = 24", "context = 65"))
    assert {failure.error_class for failure in report.failures} == {"EvalSetRefused"}
    assert "tiny takes 64" in report.failures[0].message
    found = counts(home)
    assert found["head.prefix_matching", 8] == 1
    assert found["weight_norm", 8] == 1


def test_the_same_tokens_twice_are_refused(home: Path) -> None:
    twice = TOML.replace(
        "[measures]",
        '[[eval_sets]]\nkind = "repeated_tokens"\nname = "again"\nblock = 5\ncopies = 3\n'
        "n_sequences = 4\n[measures]",
    )
    with pytest.raises(UsageError, match="the same tokens"):
        go(home, twice)


def test_what_passes_by_itself_is_not_permanent() -> None:
    assert not is_permanent(NoSpace("full"))
    assert not is_permanent(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert is_permanent(ValueError("wrong"))


def test_an_adapter_beside_the_study_is_found_and_a_missing_one_named_before_anything_runs(
    bare: Path,
) -> None:
    text = TOML.replace('family = "hugging_face"', 'family = "module"').replace(
        'family_params = { folder = "series", run = "tiny", init_seed = 3 }',
        'family_params = { folder = "weights", run = "mine", adapter = "beside_the_study:Mine" }',
    )
    (bare / "weights").mkdir()
    (bare / "weights" / "1.pt").touch()
    with pytest.raises(UsageError, match=r"no module beside_the_study in .* nor among the installed"):
        go(bare, text)
    assert not (bare / "x.duckdb").exists()
    (bare / "beside_the_study.py").touch()
    study_in(bare, text).family.check()
