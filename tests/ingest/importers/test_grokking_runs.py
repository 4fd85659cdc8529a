"""Published `.pth` runs: curves at their steps, models as checkpoints, and what is refused."""

import collections
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from archive.records import Source
from archive.schema.base import CellState
from archive.store import Archive
from ingest.importers.base import Damaged, ImportFile, Parsed
from ingest.importers.grokking_runs import SPLIT_NOTE, GrokkingRuns
from ingest.importers.published_models import shuffled_split
from ingest.importers.repeated_windows import RepeatedWindows
from ingest.importers.run_records import run_records
from ingest.measure import MEASURES
from ingest.task import TEST, TRAIN
from tests.ingest.importers.conftest import Import
from tests.ingest.importers.making import ADDITION, published_tensors, run_record, write_torch


def parse(path: Path, relative: str = "") -> Parsed:
    return GrokkingRuns(Source(name="theirs")).parse(ImportFile.load(path, relative or path.name))


def curves(parsed: Parsed) -> dict[tuple[str, str], tuple[list[int], list[float]]]:
    return {
        (b.subject.name, b.part.name): (b.columns["step"].tolist(), b.columns["value"].tolist())  # type: ignore[union-attr]
        for b in parsed.blocks
    }


# --- curves ------------------------------------------------------------------------------------------------


def test_every_training_loss_has_the_number_of_updates_before_it_as_step(tmp_path: Path) -> None:
    found = curves(parse(write_torch(tmp_path / "r.pth", run_record())))

    steps, values = found["theirs/r", "train"]
    assert steps == list(range(21))
    assert values == [4.0 - i / 8 for i in range(21)]


@pytest.mark.parametrize(
    ("n_train", "n_test", "every"),
    [
        (21, 3, 10),  # 7 … 10 would do
        (21, 21, 1),
        (107791, 10780, 10),
        (20, 2, 10),
        (9, 5, 2),
        (14, 4, 4),
        (40, 3, 0),  # 14 … 19 would do, none of them round
        (4, 1, 0),
        (3, 5, 0),
    ],
)
def test_the_spacing_of_test_losses_follows_from_the_lengths(
    tmp_path: Path, n_train: int, n_test: int, every: int
) -> None:
    parsed = parse(write_torch(tmp_path / "r.pth", run_record(n_train=n_train, n_test=n_test)))
    found = curves(parsed)
    notes = [note for note in parsed.notes if "test_losses" in note]

    if not every:
        assert ("theirs/r", "test") not in found
        assert notes == [f"test_losses was left out: {n_test} values of {n_train} epochs fit no spacing"]
        return
    steps, values = found["theirs/r", "test"]
    assert steps == [i * every for i in range(n_test)]
    assert steps[-1] < n_train <= steps[-1] + every
    assert values == [5.0 - i / 2 for i in range(n_test)]
    words = f"test_losses are taken to be every {every} epochs, from the lengths of the lists"
    assert notes == ([words] if every > 1 else [])


def test_a_bare_list_is_one_training_curve(tmp_path: Path) -> None:
    parsed = parse(
        write_torch(tmp_path / "saved_runs" / "infinite.pth", [2.5, 1.5, 0.5]), "saved_runs/infinite.pth"
    )

    assert curves(parsed) == {("theirs/infinite", "train"): ([0, 1, 2], [2.5, 1.5, 0.5])}
    assert parsed.runs[0].final_step == 3
    assert list(parsed.models) == []


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("as_tensors", [False, True])
def test_losses_per_token_are_one_curve_for_each(tmp_path: Path, turn: bool, as_tensors: bool) -> None:
    table = np.arange(12.0).reshape(4, 3)  # 4 updates of 3 tokens
    rows = (
        [torch.tensor(row) for row in (table.T if turn else table)]
        if as_tensors
        else (table.T if turn else table).tolist()
    )
    parsed = parse(write_torch(tmp_path / "per_token.pth", rows))

    assert curves(parsed) == {
        ("theirs/per_token", str(token)): ([0, 1, 2, 3], table[:, token].tolist()) for token in range(3)
    }
    assert {b.part.kind for b in parsed.blocks} == {"position"}
    assert parsed.notes == ["losses per token: 3 tokens by 4 updates, from the lengths of the lists"]


def test_a_sweep_is_one_run_a_fraction(tmp_path: Path) -> None:
    content = [[0.5, 0.25], [[4.0, 3.0], [5.0, 4.0], [4.5, 2.0, 1.0], [5.5, 3.0, 2.0]]]
    parsed = parse(write_torch(tmp_path / "sweep.pth", content))

    half, quarter = "theirs/sweep/frac_train=0.5", "theirs/sweep/frac_train=0.25"
    assert curves(parsed) == {
        (half, "train"): ([0, 1], [4.0, 3.0]),
        (half, "test"): ([0, 1], [5.0, 4.0]),
        (quarter, "train"): ([0, 1, 2], [4.5, 2.0, 1.0]),
        (quarter, "test"): ([0, 1, 2], [5.5, 3.0, 2.0]),
    }
    assert [(run.name, run.config, run.final_step) for run in parsed.runs] == [
        (half, {"frac_train": 0.5}, 2),
        (quarter, {"frac_train": 0.25}, 3),
    ]
    assert len({run.condition for run in parsed.runs}) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("text", "holds a str"),
        ([], "holds a list of 0"),
        ({}, "neither train_losses nor a model"),
        ({"train_losses": ["a"]}, "train_losses is a list of 1; expected a list of numbers"),
        ([1.0, float("nan")], "nan at index 1"),
        ({"train_losses": [1.0, float("inf")]}, "inf at index 1"),
        ([True, False], "holds a list of 2"),
        ([[1.0, 2.0], [3.0, 4.0]], "which are the tokens cannot be told"),
        ([[1.0, 2.0], [3.0]], "different lengths"),
        ([[1.5], [[1.0], [2.0]]], "fraction 1.5 of the data"),
        ([[0.5, 0.5], [[1.0], [2.0], [1.0], [2.0]]], "a fraction is given twice"),
    ],
)
def test_what_is_none_of_these_is_refused(content: object, words: str) -> None:
    with pytest.raises(Damaged, match=words):
        run_records(content)


# --- settings ----------------------------------------------------------------------------------------------


def test_the_optimizers_weight_decay_wins_with_a_note(tmp_path: Path) -> None:
    [run] = parse(write_torch(tmp_path / "r.pth", run_record())).runs

    words = "config says weight_decay 1, the optimizer's state 0.1: the optimizer's is what was used"
    assert words in run.notes
    assert run.config["optimizer"] == {"lr": 0.001, "weight_decay": 0.1, "betas": [0.9, 0.98], "eps": 1e-08}
    assert run.config["config"] == ADDITION
    [agreed] = parse(write_torch(tmp_path / "s.pth", run_record(weight_decay=1))).runs
    assert not [note for note in agreed.notes if "weight_decay" in note]


def test_the_seed_of_a_config_is_that_of_the_split_only(tmp_path: Path) -> None:
    [run] = parse(write_torch(tmp_path / "r.pth", run_record())).runs

    assert (run.split_seed, run.init_seed, run.data_order_seed) == (1, None, None)
    assert SPLIT_NOTE in run.notes
    assert run.tokens_per_step == int(0.3 * 25) * 3
    assert (run.n_layers, run.n_heads, run.d_model, run.d_mlp) == (1, 2, 8, 12)


def test_the_split_is_the_published_one() -> None:
    # as the program does it: all triples in order, seeded, shuffled in place, cut
    pairs = [(a, b, 7) for a in range(7) for b in range(7)]
    random.Random(3).shuffle(pairs)
    chosen = {(a, b) for a, b, _ in pairs[: int(0.3 * 49)]}
    split = shuffled_split(7, 0.3, 3)

    assert {(i // 7, i % 7) for i in np.flatnonzero(split[TRAIN])} == chosen
    assert (split[TRAIN] ^ split[TEST]).all()
    assert (shuffled_split(7, 0.3, 4)[TRAIN] != split[TRAIN]).any()


# --- models ------------------------------------------------------------------------------------------------


def test_a_model_is_a_checkpoint_after_all_updates_measured_by_every_measure(tmp_path: Path) -> None:
    path = write_torch(tmp_path / "r.pth", run_record())
    [model] = parse(path).models

    assert (model.checkpoint.run, model.checkpoint.step, model.checkpoint.epoch) == ("theirs/r", 21, 20.0)
    assert model.checkpoint.location == path.as_posix()
    assert len(model.checkpoint.weights_hash) == 64
    everything = [entry.thing for entry in MEASURES.entries().values()]
    assert len(model.values) == len([one for one in everything if one.reads != "distributions"])
    assert {value.state for value in model.values} <= {CellState.DONE, CellState.NOT_APPLICABLE}
    done = {v.quantity.measure.name for v in model.values if v.state is CellState.DONE}
    assert {"loss", "accuracy", "weight_norm", "restricted_loss", "head.previous_token"} <= done
    [loss] = [v for v in model.values if v.quantity.measure.name == "loss"]
    assert loss.columns["n_items"].tolist() == [7, 18]
    assert loss.parts == (TRAIN, TEST)


def test_a_training_loss_far_from_the_last_logged_one_is_noted(tmp_path: Path) -> None:
    path = write_torch(tmp_path / "r.pth", run_record())
    [note] = [note for note in parse(path).notes if "measured here" in note]
    assert "the last one logged 1.5" in note
    measured = float(note.split("measured here is ")[1].split(",")[0])

    record = run_record()
    record["train_losses"][-1] = measured
    assert not [n for n in parse(write_torch(path, record)).notes if "measured here" in n]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"config": {**ADDITION, "fn_name": "x2xyy2"}}, "not measured: it was trained on 'x2xyy2'"),
        ({"config": {**ADDITION, "p": 7}}, "not measured: tokens, outputs and positions are"),
        ({"config": {**ADDITION, "p": 4}}, "not measured: its settings are none of modular arithmetic"),
        ({"config": {"lr": 0.001}}, "not measured: its settings do not say which task"),
        ({"config": {k: v for k, v in ADDITION.items() if k != "seed"}}, "not measured: no seed is recorded"),
    ],
)
def test_a_model_without_a_known_task_is_a_checkpoint_without_numbers(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    parsed = parse(write_torch(tmp_path / "r.pth", run_record(**changes)))  # type: ignore[arg-type]

    [model] = parsed.models
    assert list(model.values) == []
    assert model.checkpoint.weights_hash
    assert any(words in note for note in parsed.runs[0].notes)
    assert len(parsed.blocks) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": published_tensors() | {"ln.w": torch.ones(8)}}, "left out: tensor ln.w has no place"),
        ({"config": {**ADDITION, "act_type": "SoLU"}}, "left out: activation 'SoLU' is none of ReLU, GeLU"),
        ({"model_config": {"pos_embed_type": "shortformer"}}, "left out: positions are not learned ones"),
        ({"model": {"a": 1}}, "left out: a is not a tensor"),
    ],
)
def test_a_model_of_another_kind_leaves_its_curves(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    parsed = parse(write_torch(tmp_path / "r.pth", run_record(**changes)))  # type: ignore[arg-type]

    assert list(parsed.models) == []
    assert any(words in note for note in parsed.notes)
    assert len(parsed.blocks) == 2


def test_an_attention_only_model_is_measured_on_repeated_windows(tmp_path: Path) -> None:
    data = {"seq_len": 13, "subseq_len": 3, "num_repeats": 2, "vocab_size": 9, "batch_size": 4, "seed": 7}
    tensors = published_tensors(n_tokens=9, n_positions=13, d_mlp=0, n_layers=2)
    record = {"model": tensors, "train_losses": [3.0, 2.0], "data_config": data, "model_config": {"seed": 5}}
    parsed = parse(write_torch(tmp_path / "induction.pth", record))

    [run], [model] = parsed.runs, parsed.models
    assert (run.init_seed, run.data_order_seed, run.split_seed, run.tokens_per_step) == (5, 7, None, 52.0)
    assert model.checkpoint.step == 2
    states = {value.quantity.measure.name: value.state for value in model.values}
    assert states["head.previous_token"] is CellState.DONE
    assert states["loss"] is CellState.DONE
    assert states["restricted_loss"] is CellState.NOT_APPLICABLE


def test_windows_hold_the_same_ids_where_they_say() -> None:
    task = RepeatedWindows(n_tokens=9, length=13, n_repeats=2, n_copied=3)
    rows = task.evaluation().tokens

    assert rows.shape == (256, 13)
    assert (rows[:, 0] == 0).all()
    assert rows[:, 1:].min() == 1
    assert rows.max() == 8
    for row, starts in zip(rows, task.starts, strict=True):
        assert [1 + 6 * r <= start <= 6 * r + 3 for r, start in enumerate(starts)] == [True, True]
        first, second = (row[start : start + 3] for start in starts)
        assert (first == second).all()


# --- in an archive -----------------------------------------------------------------------------------------


class _Hidden:
    """Something only unsafe loading would build."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (collections.Counter.fromkeys, ("unsafe",))


def test_a_refused_file_is_named_and_the_rest_goes_in(
    tmp_path: Path, import_: Import, archive: Archive
) -> None:
    folder = tmp_path / "saved_runs"
    write_torch(folder / "good.pth", run_record())
    write_torch(folder / "numpy.pth", [np.float64(1.5), np.float64(0.5)])
    write_torch(folder / "code.pth", {"train_losses": _Hidden()})
    write_torch(folder / "bare.pth", [2.0, 1.0])
    (folder / "cut.pth").write_bytes((folder / "good.pth").read_bytes()[:5000])
    (folder / "pointer.pth").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    )
    report = import_(folder, "grokking-runs")

    problems = dict(report.problems)
    assert sorted(problems) == ["code.pth", "cut.pth", "numpy.pth", "pointer.pth"]
    assert "refused by safe loading: it would run numpy" in problems["numpy.pth"]
    assert "refused by safe loading: it would run " in problems["code.pth"]
    assert "not a readable torch file" in problems["cut.pth"]
    assert "Git LFS pointer" in problems["pointer.pth"]
    assert report.exit_code == 1
    assert {r["run"] for r in archive.rows("SELECT run FROM v_run")} == {"saved_runs/good", "saved_runs/bare"}


def test_curves_are_theirs_and_measured_numbers_ours(
    tmp_path: Path, import_: Import, archive: Archive
) -> None:
    path = write_torch(tmp_path / "theirs" / "run.pth", run_record())
    import_(path, "grokking-runs")

    logged = archive.rows("SELECT DISTINCT source FROM v_log")
    assert logged == [{"source": "theirs"}]
    for view in ("v_scalar", "v_head_score", "v_vector"):
        assert archive.rows(f"SELECT DISTINCT source_id, source FROM {view}") == [
            {"source_id": 0, "source": "pathscope"}
        ]
    assert archive.value("SELECT count(*) FROM content_sequence") == 25
    assert archive.rows("SELECT run, step, location FROM v_checkpoint") == [
        {"run": "theirs/run", "step": 21, "location": path.as_posix()}
    ]
    # every cell, measured or not, knows the file it came from
    assert archive.value("SELECT count(*) FROM cell WHERE file_id IS NULL") == 0


def test_a_second_import_adds_nothing_and_a_changed_file_replaces_its_numbers(
    tmp_path: Path, import_: Import, archive: Archive
) -> None:
    path = write_torch(tmp_path / "theirs" / "run.pth", run_record())
    import_(path)
    before = archive.rows("SELECT * FROM v_scalar ORDER BY ALL")
    assert import_(path).n_known == 1
    assert archive.rows("SELECT * FROM v_scalar ORDER BY ALL") == before

    write_torch(path, run_record(model=published_tensors(seed=9)))
    report = import_(path)
    assert (report.replaced, report.exit_code) == (["run.pth"], 0)
    after = archive.rows("SELECT * FROM v_scalar ORDER BY ALL")
    assert len(after) == len(before)
    assert after != before


def test_the_format_is_found_by_itself(tmp_path: Path, import_: Import, archive: Archive) -> None:
    write_torch(tmp_path / "theirs" / "run.pth", [2.0, 1.0])
    write_torch(tmp_path / "theirs" / "old.pt", [[0.5], [[2.0], [3.0]]])

    assert import_(tmp_path / "theirs").exit_code == 0
    assert archive.value("SELECT count(DISTINCT run) FROM v_log") == 2


def test_files_of_before_the_zip_format_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save([2.0, 1.0], path, _use_new_zipfile_serialization=False)

    assert GrokkingRuns.sniff(path)
    assert curves(parse(path)) == {("theirs/old", "train"): ([0, 1], [2.0, 1.0])}


def test_parts_per_token_are_stored_as_positions(tmp_path: Path, import_: Import, archive: Archive) -> None:
    import_(write_torch(tmp_path / "theirs" / "per_token.pth", [[3.0, 2.0], [1.0, 0.5], [0.25, 0.125]]))

    assert archive.rows("SELECT part_kind, part, step, value FROM v_log ORDER BY part, step") == [
        {"part_kind": "position", "part": token, "step": step, "value": value}
        for token, values in (("0", [3.0, 1.0, 0.25]), ("1", [2.0, 0.5, 0.125]))
        for step, value in enumerate(values)
    ]
