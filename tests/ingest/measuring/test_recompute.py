"""`verify --recompute`: nothing drifts here, and what was altered is found."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from rich.console import Console

from archive.errors import UsageError
from archive.layout import Layout, pending_shards
from archive.records import Provenance
from archive.shard import ShardBuilder
from archive.store import Archive
from archive.upkeep.change import changing
from archive.upkeep.drift import SAME, CellDrift, compare, describe_change
from archive.upkeep.recomputing import Recomputation, recompute
from archive.upkeep.sampled import Rows, StoredCell, draw, parse_share
from ingest.measuring.recompute import now, recompute_cells
from ingest.measuring.recompute_loaded import LoadedAgain
from ingest.studies.loading import LoadSpec
from pathscope.drift_table import print_drift
from tests.ingest.run.running import STEPS, TOML, content, go

NAMES = (
    "loss",
    "accuracy",
    "weight_norm",
    "head.previous_token",
    "restricted_loss:final",
    "weight_products",
    "weight_products:sketch",
)
MEASURED = TOML.replace('"loss", "weight_norm"', ", ".join(f'"{name}"' for name in NAMES))
N_CELLS = 2 * len(NAMES) * len(STEPS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, empty_archive: Path) -> Path:
    path = Path(shutil.copy(empty_archive, tmp_path_factory.mktemp("trained")))
    assert go(path, MEASURED).state == "done"
    return path


@pytest.fixture
def path(trained: Path, tmp_path: Path) -> Path:
    copy = Layout.of(tmp_path / "x.duckdb")
    shutil.copy(trained, copy.database)
    shutil.copytree(Layout.of(trained).folder, copy.folder)
    return copy.database


def again(path: Path, share: float = 1.0, seed: int = 0) -> Recomputation:
    return recompute(path, share, seed, "all", recompute_cells, now)


def alter(path: Path, sql: str) -> None:
    with changing(Layout.of(path), "test") as connection:
        connection.execute(sql)


def checkpoint(path: Path, run: int, step: int) -> Path:
    return (
        Layout.of(path).checkpoints / "tiny" / f"init{run}-data0-split{run}" / f"step-{step:09d}.safetensors"
    )


ALTER_ONE_LOSS = """UPDATE fact_scalar SET value = value * {factor} WHERE checkpoint_id = (
    SELECT checkpoint_id FROM v_checkpoint WHERE run = 'tiny/init1-data0-split1' AND step = 8)
    AND quantity_id = (SELECT quantity_id FROM v_quantity WHERE measure = 'loss')"""


def test_everything_measured_again_here_is_equal_to_the_last_bit(trained: Path) -> None:
    before = content(trained), Archive(trained).version
    result = again(trained)
    assert result.ok
    assert (result.n_cells, len(result.drift), result.left_out) == (N_CELLS, N_CELLS, ())
    [group] = result.groups
    assert (group.change, group.n_cells, group.n_equal, group.n_beyond) == (SAME, N_CELLS, N_CELLS, 0)
    assert all(one.n_values > 0 for one in result.drift)
    assert (content(trained), Archive(trained).version) == before  # and nothing was written
    assert pending_shards(Layout.of(trained)) == []


def test_an_altered_value_is_found_and_named(path: Path) -> None:
    alter(path, ALTER_ONE_LOSS.format(factor=1 + 1e-6))
    result = again(path)
    [one] = result.beyond
    assert (one.cell.measure, one.cell.run, one.cell.step) == ("loss", "tiny/init1-data0-split1", 8)
    assert one.largest_relative == pytest.approx(1e-6, rel=0.1)
    assert one.allowed == "equal to the last bit"
    assert result.as_plain()["beyond"][0]["measure"] == "loss"


@pytest.mark.parametrize(("factor", "n_beyond"), [(1 + 1e-6, 0), (1.01, 1)])
def test_with_another_library_version_a_tolerance_holds(path: Path, factor: float, n_beyond: int) -> None:
    alter(path, ALTER_ONE_LOSS.format(factor=factor))
    alter(
        path, """UPDATE shard SET provenance_json = replace(provenance_json, '"torch":"', '"torch":"old-')"""
    )
    result = again(path)
    assert len(result.beyond) == n_beyond
    assert {group.change.split(" -> ")[0][:9] for group in result.groups} == {"torch old"}


def test_other_weights_than_were_measured_are_a_finding_and_a_lost_file_is_not(path: Path) -> None:
    shutil.copy(checkpoint(path, 0, 4), checkpoint(path, 0, 8))
    cut = checkpoint(path, 1, 4)
    cut.write_bytes(cut.read_bytes()[:-8])
    checkpoint(path, 1, 8).unlink()
    result = again(path)
    wrong = {(one.cell.run[:10], one.cell.step): one.wrong for one in result.beyond}
    # products of later checkpoints with the one that was overwritten differ too
    assert wrong.keys() == {("tiny/init0", 8), ("tiny/init0", 12), ("tiny/init1", 4)}
    assert [one.cell.measure for one in result.beyond if one.cell.step == 12] == ["weight_products"]
    assert "holds weights" in wrong["tiny/init0", 8]
    assert "CheckpointDamaged" in wrong["tiny/init1", 4]
    left_out = {(one.cell.run[:10], one.cell.step): one.reason for one in result.left_out}
    assert left_out.keys() == {("tiny/init1", 8), ("tiny/init1", 12)}
    assert left_out["tiny/init1", 8].endswith("is gone")
    assert "compares with are gone" in left_out["tiny/init1", 12]


def test_the_sample_is_random_and_the_same_for_one_seed(trained: Path) -> None:
    archive = Archive(trained)
    runs = [row["run_id"] for row in archive.rows("SELECT run_id FROM v_run")]

    def drawn(seed: int) -> list[tuple[str, int, str, str]]:
        return [cell.key for cell in draw(archive, runs, 0.2, seed).cells]

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(set(drawn(1))) == int(np.ceil(0.2 * N_CELLS))
    assert len(draw(archive, runs, 1e-9, 0).cells) == 1
    assert draw(archive, [], 1.0, 0).cells == ()


def test_a_part_of_a_unit_is_measured_as_the_whole_was(trained: Path) -> None:
    # attention patterns change how the forward pass rounds; a sample of one cell must not
    for seed in range(6):
        assert again(trained, 1 / N_CELLS, seed).ok


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.5%", 0.005), ("100%", 1.0), ("0.25", 0.25)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["0%", "-1%", "101%", "2", "many", "nan", ""])
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--recompute"):
        parse_share(text)


def test_the_command(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from pathscope.__main__ import main

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["pathscope", "verify", *words, "--archive", str(path)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().out

    code, out = run("--recompute", "10%", "--json")
    assert (code, json.loads(out)["ok"], json.loads(out)["cells"]) == (0, True, N_CELLS)
    alter(path, "UPDATE fact_scalar SET value = 2 * value + 1")
    code, out = run("--recompute", "100%", "--checkpoints", "*init1*")
    assert code == 1
    assert "drift loss of tiny/init1-data0-split1 step 0: differs by" in out
    assert "init0" not in out


def test_an_archive_without_weights_has_nothing_to_measure_again(archive: Archive) -> None:
    result = again(archive.file)
    assert (result.ok, result.n_cells, result.drift, result.groups) == (True, 0, (), [])
    with (console := Console(width=200)).capture() as said:
        print_drift(console, result, quiet=False)
    assert "nothing to measure again" in said.get()


# --- loaded checkpoints that cannot be had any more


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ({"family": "saved_runs", "family_params": {"folder": "/gone"}}, "/gone"),
        ({"family": "own_runs", "family_params": {"folder": "/gone"}}, "/gone"),
        ({"family": "hugging_face", "family_params": {"folder": 3}}, "cannot be found again"),
        ({"family": "of another version"}, "no family"),
    ],
)
def test_what_cannot_be_found_again_is_left_out_and_not_wrong(load: dict[str, object], said: str) -> None:
    stored = replace(cell(Provenance()), load=load)
    again = LoadedAgain(cast(Archive, None), [stored], cast(ShardBuilder, None))
    again.measure()
    ((out, reason, wrong),) = [(n.cell, n.reason, n.wrong) for n in again.not_measured]
    assert (out, wrong) == (stored, False)
    assert said in reason


def test_a_disk_that_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(self: LoadSpec) -> None:
        raise OSError("Input/output error")

    monkeypatch.setattr(LoadSpec, "make_family", failing)
    again = LoadedAgain(
        cast(Archive, None), [replace(cell(Provenance()), load={"family": "x"})], cast(ShardBuilder, None)
    )
    again.measure()
    assert [(n.wrong, "Input/output error" in n.reason) for n in again.not_measured] == [(False, True)]


# --- comparing, without any model


def cell(
    how: Provenance, bounds: tuple[float | None, float | None] = (None, None), name: str = "m"
) -> StoredCell:
    return StoredCell(1, 1, "r", 0, "", "f", "", {}, "q", {}, name, "fact_scalar", bounds, ("q",), how)


def drift(
    stored: Rows,
    fresh: Rows,
    *,
    same: bool,
    name: str = "m",
    bounds: tuple[float | None, float | None] = (None, None),
) -> CellDrift:
    then = Provenance(libraries={"torch": "1"}, device="cpu", threads=1)
    here = then if same else then.model_copy(update={"threads": 2})
    return compare(cell(then, bounds, name), stored, fresh, here)


def scalar(value: float | None, n_items: int = 50) -> Rows:
    return {("", ""): {"value": value, "n_items": n_items}}


def test_the_same_machine_allows_nothing_and_another_one_rounding() -> None:
    assert not drift(scalar(2.0), scalar(2.0), same=True).beyond
    assert drift(scalar(2.0), scalar(np.nextafter(2.0, 3)), same=True).beyond
    found = drift(scalar(2.0), scalar(2.001), same=False)
    assert not found.beyond
    assert found.largest_relative == pytest.approx(0.0005)
    assert drift(scalar(2.0), scalar(2.01), same=False).beyond


def test_bounded_measures_are_compared_with_their_range_and_counts_with_answers() -> None:
    unit = (0.0, 1.0)
    assert not drift(scalar(1e-9), scalar(1e-4), same=False, bounds=unit).beyond
    assert drift(scalar(0.5), scalar(0.501), same=False, bounds=unit).beyond
    assert not drift(scalar(0.5), scalar(0.53), same=False, bounds=unit, name="accuracy").beyond
    assert drift(scalar(0.5), scalar(0.56), same=False, bounds=unit, name="accuracy").beyond


def test_missing_values_and_rows() -> None:
    assert not drift(scalar(None), scalar(float("nan")), same=True).beyond
    assert drift(scalar(None), scalar(1.0), same=False).beyond
    assert (
        "2 row(s) are stored, 1 were measured"
        in drift({**scalar(1.0), ("a", "b"): {"value": 1.0, "n_items": 1}}, scalar(1.0), same=False).wrong
    )
    assert drift({(): {"values": [1.0, 2.0]}}, {(): {"values": [1.0]}}, same=False).wrong


def test_what_changed_is_said_in_words() -> None:
    then = Provenance(libraries={"torch": "2.12", "duckdb": "1"}, device="cpu", threads=1)
    here = Provenance(libraries={"torch": "2.13", "duckdb": "2"}, device="cpu", threads=2)
    assert describe_change(then, here) == "torch 2.12 -> 2.13, threads 1 -> 2"
    assert describe_change(then, then) == SAME
