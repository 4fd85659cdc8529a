"""Units in Neuronpedia's layout: what stands where, and that an import finds the same numbers and words again."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archive.errors import NotComparable, UnknownName, UsageError
from archive.store import Archive
from ingest.importers.importing import import_results
from queries.exports.neuronpedia import export_neuronpedia
from queries.neuron import neuron
from tests.queries.language import neuron_beside, neuron_top, plant_texts
from tests.queries.simulated import Simulation, kept_open


def planted(simulation: Simulation) -> Archive:
    plant_texts(simulation)
    simulation.run("lab/A b", init_seed=0)
    neuron_top(simulation, "lab/A b", 10, [(0, 2, 2.0), (6, 9, 1.5)])
    neuron_top(simulation, "lab/A b", 100, [(6, 9, 4.25), (0, 2, 3.0), (2, 0, -2.0)])
    neuron_top(simulation, "lab/A b", 100, [(1, 1, 9.0)], unit=2100)
    neuron_beside(simulation, "lab/A b", 100)
    return simulation.commit()


@pytest.fixture(scope="module")
def archive(simulation_of_module: Simulation) -> Iterator[Archive]:
    with kept_open(planted(simulation_of_module)) as archive:
        yield archive


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress((folder / name).read_bytes()).splitlines()]


def test_activations_and_features_stand_where_neuronpedia_looks(archive: Archive, tmp_path: Path) -> None:
    done = export_neuronpedia(archive, tmp_path / "out")
    source = tmp_path / "out" / "v1" / "lab-a-b" / "0-mlp-step100"

    assert {p.relative_to(source).as_posix() for p in source.rglob("*.jsonl*")} == {
        *(f"{name}.jsonl" for name in ("model", "release", "source", "sourceset")),
        *(f"{kind}/batch-{n}.jsonl.gz" for kind in ("activations", "features") for n in (0, 2)),
    }
    first = lines(source, "activations/batch-0.jsonl.gz")
    assert [(r["index"], r["maxValue"], r["maxValueTokenIndex"]) for r in first] == [
        ("0", 4.25, 9),
        ("0", 3.0, 2),
        ("0", -2.0, 0),
    ]
    # sequence q holds the words 4q + position
    assert first[0]["tokens"] == [f" w{i}" for i in range(24, 34)]
    assert first[0]["values"] == [0.0] * 9 + [4.25]
    assert (first[2]["minValue"], first[0]["minValue"]) == (-2.0, 0.0)
    assert [r["index"] for r in lines(source, "activations/batch-2.jsonl.gz")] == ["2100"]
    (feature,) = lines(source, "features/batch-0.jsonl.gz")
    assert (feature["pos_str"], feature["pos_values"]) == ([" w7", " w3"], [0.9, 0.4])
    assert (feature["neg_str"], feature["neg_values"]) == ([" w1", " w0"], [-0.8, -0.2])
    assert feature["freq_hist_data_bar_heights"] == [70, 5, 4, 1]
    assert feature["maxActApprox"] == 4.25
    assert feature["hookName"] == "blocks.0.mlp.hook_post"
    assert (done.runs, done.files, done.rows) == (1, 4, 3 + 1 + 1 + 1)
    assert any("other tokens are written as 0" in note for note in done.notes)
    ids = [r["id"] for n in (0, 2) for r in lines(source, f"activations/batch-{n}.jsonl.gz")]
    assert len(set(ids)) == len(ids)


def test_an_import_finds_the_same_numbers_and_words(archive: Archive, tmp_path: Path) -> None:
    export_neuronpedia(archive, tmp_path / "out")
    report = import_results(tmp_path / "y.duckdb", tmp_path / "out")
    before, after = (
        neuron(archive, window=200),
        neuron(Archive(tmp_path / "y.duckdb"), eval_set="lab-a-b/0-mlp-step100 batch-0", window=200),
    )

    assert report.problems == []
    same = ("run", "step", "rank", "value", "before", "token", "after")
    assert [[r[n] for n in same] for r in after.table.to_pylist()] == [
        [r[n] for n in same] for r in before.table.to_pylist()
    ]
    assert after.histogram.to_pylist() == before.histogram.to_pylist()
    shown = ("direction", "rank", "token", "value")
    assert [[r[n] for n in shown] for r in after.effect.to_pylist()] == [
        [r[n] for n in shown] for r in before.effect.to_pylist()
    ]
    assert [r["firing_rate"] for r in after.history.to_pylist()] == [
        r["firing_rate"] for r in before.history.to_pylist() if r["step"] == 100
    ]


def test_without_text_no_token_is_written(archive: Archive, tmp_path: Path) -> None:
    done = export_neuronpedia(archive, tmp_path / "out", text=False)
    files = sorted((tmp_path / "out").rglob("*.jsonl.gz"))

    assert {p.parent.name for p in files} == {"features"}
    assert not any(b" w" in gzip.decompress(p.read_bytes()) for p in files)
    assert done.files == 2
    report = import_results(tmp_path / "y.duckdb", tmp_path / "out")
    assert (report.problems, report.n_rows) == ([], 2)  # histogram and share of tokens of batch 0


def test_another_checkpoint_is_chosen_by_its_step(archive: Archive, tmp_path: Path) -> None:
    export_neuronpedia(archive, tmp_path / "out", step=10)
    source = tmp_path / "out" / "v1" / "lab-a-b" / "0-mlp-step10"

    assert [r["maxValue"] for r in lines(source, "activations/batch-0.jsonl.gz")] == [2.0, 1.5]
    with pytest.raises(UsageError, match="no examples of neurons at step 11; the nearest are 10, 100"):
        export_neuronpedia(archive, tmp_path / "other", step=11)


def test_what_cannot_be_exported_is_named(simulation: Simulation, tmp_path: Path) -> None:
    for run in ("a", "b"):
        simulation.run(run, init_seed=0)
        neuron_top(simulation, run, 10, [(0, 2, 2.0)])
    archive = simulation.commit()

    with pytest.raises(UsageError, match=r"2 runs have examples of neurons .*--runs 'a'"):
        export_neuronpedia(archive, tmp_path / "out")
    with pytest.raises(UsageError, match=r"holds no tokens of text.*--no-text"):
        export_neuronpedia(archive, tmp_path / "out", runs="a")
    with pytest.raises(UnknownName):
        export_neuronpedia(archive, tmp_path / "out", runs="c")
    with pytest.raises((UsageError, NotComparable)):
        export_neuronpedia(archive, tmp_path / "out", runs="a", eval_set="books")
    assert not (tmp_path / "out").exists()
