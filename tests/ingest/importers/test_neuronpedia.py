"""Neuronpedia exports: top examples with their words, histograms and logit effects, seen as what is measured here is."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archive.records import Source
from archive.store import Archive
from ingest.importers.base import Block, Damaged, ImportFile, Parsed
from ingest.importers.files import HEAD_BYTES
from ingest.importers.neuronpedia import EFFECT, HISTOGRAM, STATISTICS, TOP, Neuronpedia
from ingest.measure import MEASURES
from queries.neuron import neuron
from tests.ingest.importers.conftest import Import
from tests.ingest.importers.making_neuronpedia import (
    ACTIVATIONS,
    FEATURES,
    activation,
    feature,
    write_lines,
    write_source,
)
from ui.models.component_sets import component_sets
from ui.models.neuron.page import TABLE, layers_of

EVAL_SET = "pythia-70m-deduped/3-res-sm batch-0"


def parsed(path: Path) -> Parsed:
    return Neuronpedia(Source(name="x")).parse(ImportFile.load(path, path.name))


def top(result: Parsed) -> Block:
    return next(b for b in result.blocks if b.table == "fact_neuron_top")


def lone(tmp_path: Path, *records: Any) -> Parsed:
    return parsed(write_lines(tmp_path / "0-res-sm" / "activations" / "batch-0.jsonl.gz", records))


def test_top_examples_are_places_in_texts_that_are_stored_once(tmp_path: Path) -> None:
    result = parsed(write_source(tmp_path) / "activations" / "batch-0.jsonl.gz")
    block = top(result)
    vocab, sequences = (content.columns for content in result.content)

    assert (list(block.columns["layer"]), list(block.columns["unit"])) == ([3, 3], [0, 1])
    assert [list(v) for v in block.columns["values"]] == [[5.5, 4.0], [2.0]]
    words = [[vocab["text"][t] for t in ids] for ids in sequences["token_ids"]]
    assert words == [["<bos>", " the", " cat"], [" a", " cat", " sat", " the"]]
    places = [
        [words[s][p] for s, p in zip(*both, strict=True)]
        for both in zip(block.columns["sequences"], block.columns["positions"], strict=True)
    ]
    assert places == [[" the", " the"], [" cat"]]
    assert list(block.columns["sequences"][1]) == [0]  # the text of another unit's example
    assert result.notes == [
        "the export names no checkpoint: filed at the end of training",
        "activations of other tokens than the largest of a text are not kept",
        "examples drawn from intervals below the top are no top examples and were left out",
    ]


def test_a_source_can_be_looked_at_like_neurons_measured_here(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    write_source(tmp_path / "set")
    report = import_(tmp_path / "set")
    answer = neuron(archive, layer=3, unit=0, window=1)

    assert (report.problems, report.exit_code, report.n_files) == ([], 0, 2)
    assert "explanations are texts about units and were left out" in report.notes
    rows = answer.table.to_pylist()
    assert [(r["run"], r["step"], r["value"], r["before"], r["token"], r["after"]) for r in rows] == [
        ("pythia-70m-deduped", 143000, 5.5, " sat", " the", ""),
        ("pythia-70m-deduped", 143000, 4.0, "<bos>", " the", " cat"),
    ]
    assert [(r["lower"], r["upper"], r["counts"]) for r in answer.histogram.to_pylist()] == [
        (0.0, 2.0, [70, 5, 4, 1])
    ]
    assert [(r["direction"], r["token"], r["value"]) for r in answer.effect.to_pylist()] == [
        ("lowers", " down", -0.75),
        ("lowers", " under", -0.5),
        ("raises", " the", 1.5),
        ("raises", " up", 0.5),
    ]
    assert answer.history["firing_rate"].to_pylist() == [0.25]
    (known,) = component_sets(archive, table=TABLE)
    assert known.eval_set == EVAL_SET
    assert layers_of(archive, run="pythia-70m-deduped", known=known).sizes == {3: 2}
    again = import_(tmp_path / "set")
    assert (again.n_known, again.n_files, again.exit_code) == (2, 0, 0)


def test_batches_and_layers_stand_beside_each_other(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    below = write_source(tmp_path / "set")
    write_lines(below / "activations" / "batch-1.jsonl.gz", [activation(1024, [" x", " y"], [0.0, 1.0])])
    write_source(tmp_path / "set", source="4-res-sm")
    report = import_(tmp_path / "set")

    assert report.problems == []
    assert archive.rows(
        "SELECT layer, neuron, eval_set FROM v_neuron_top WHERE rank = 0 AND neuron <> 1 ORDER BY layer, neuron"
    ) == [
        {"layer": 3, "neuron": 0, "eval_set": EVAL_SET},
        {"layer": 3, "neuron": 1024, "eval_set": EVAL_SET.replace("batch-0", "batch-1")},
        {"layer": 4, "neuron": 0, "eval_set": EVAL_SET.replace("3-", "4-")},
    ]


def test_both_files_of_a_batch_name_one_eval_set_whichever_is_read_first(tmp_path: Path) -> None:
    below = write_source(tmp_path)
    encodings = {
        block.quantity.encoding.hash
        for kind in ("features", "activations")
        for block in parsed(below / kind / "batch-0.jsonl.gz").blocks
    }
    (below / "activations" / "batch-0.jsonl.gz").unlink()
    alone = parsed(below / "features" / "batch-0.jsonl.gz").blocks[0].quantity.encoding.hash

    assert len(encodings) == 1
    assert alone not in encodings  # its words would be numbered otherwise


def test_unpacked_batches_are_read_too(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "3-res-sm" / "activations" / "batch-0.jsonl", ACTIVATIONS, packed=False)

    assert Neuronpedia.sniff(path)
    assert top(parsed(path)).n_rows == 2


@pytest.mark.parametrize(
    ("model", "source", "run", "step", "label"),
    [
        ("pythia-70m-deduped", "0-res", "pythia-70m-deduped", 143000, "step143000"),
        ("pythia-160m", "2-mlp-step512", "pythia-160m", 512, "step512"),
        ("gpt2-small", "11-res-jb", "gpt2", 1, "main"),
        ("gemma-2-2b", "0", "gemma-2-2b", 1, "main"),
    ],
)
def test_the_checkpoint_is_the_one_that_is_named_else_the_end(
    tmp_path: Path, model: str, source: str, run: str, step: int, label: str
) -> None:
    below = write_source(tmp_path, model=model, source=source)
    result = parsed(below / "activations" / "batch-0.jsonl.gz")
    checkpoint = top(result).subject

    assert (checkpoint.run, checkpoint.step, checkpoint.label) == (run, step, label)
    assert result.runs[0].name == run
    assert set(top(result).columns["layer"]) == {int(source.split("-")[0])}
    assert any("checkpoint" in n or "end of training" in n for n in result.notes) == ("step512" not in source)


def test_an_example_lies_where_its_largest_value_is(tmp_path: Path) -> None:
    moved = activation(0, [" a", " b", " c"], [0.5, 3.0, 1.0], maxValueTokenIndex=0)
    rounded = activation(0, [" d", " b"], [0.0, 2.0004], maxValue=2.0)
    result = lone(tmp_path, moved, rounded)

    assert list(top(result).columns["positions"][0]) == [1, 1]
    assert list(top(result).columns["values"][0]) == [3.0, 2.0]
    assert "maxValueTokenIndex is not where the largest value is; filed where it is" in result.notes


def test_shares_and_histograms_that_are_none_are_left_out(tmp_path: Path) -> None:
    features = (
        feature(0, frac_nonzero=0, freq_hist_data_bar_heights=[0.5, 1.0, 0, 0]),
        feature(2, frac_nonzero=0, freq_hist_data_bar_values=[0.0, 1.0, 5.0, 6.0], pos_str=[], pos_values=[]),
    )
    path = write_source(tmp_path, features=features) / "features" / "batch-0.jsonl.gz"
    result = parsed(path)

    assert {(b.table, b.part.name, b.n_rows) for b in result.blocks} == {
        ("fact_vector", name, 1) for name in ("top_tokens", "top_values", "bottom_tokens", "bottom_values")
    }
    assert "histograms that are no counts in equal bins were left out" in result.notes
    some = write_source(tmp_path / "2", features=(FEATURES[0], feature(3, frac_nonzero=0.5)))
    (firing,) = [b for b in parsed(some / "features" / "batch-0.jsonl.gz").blocks if b.table == "fact_neuron"]
    assert np.array_equal(firing.columns["values"], [[0.25, np.nan, np.nan, 0.5]], equal_nan=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tokens": None}, "line 2: tokens is no list of texts"),
        ({"tokens": [" a"]}, "line 2: 1 tokens and 3 values"),
        ({"values": ["a"]}, "line 2: values is no list of numbers"),
        ({"maxValue": None}, "line 2: maxValue is None"),
        ({"maxValue": 99.0}, "line 2: maxValue is 99.0, the largest value 4.0"),
        ({"maxValueTokenIndex": 3}, "line 2: maxValueTokenIndex is 3, expected a place in 3 tokens"),
        ({"index": "-1"}, "line 2: index is '-1'"),
        ({"modelId": ""}, "line 2: no modelId or no layer"),
        (
            {"layer": "9-res"},
            "line 2 is of pythia-70m-deduped/9-res, the lines before of pythia-70m-deduped/3-res-sm",
        ),
    ],
)
def test_a_line_that_cannot_be_trusted_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Damaged, match=words):
        lone(tmp_path, ACTIVATIONS[0], {**ACTIVATIONS[0], **changes})


def test_features_that_cannot_be_trusted_are_named(tmp_path: Path) -> None:
    def read(*features: Any) -> None:
        parsed(write_source(tmp_path, features=features) / "features" / "batch-0.jsonl.gz")

    for bad, words in (
        ((feature(0), feature(0)), "line 2: unit 0 is given twice"),
        ((feature(0, pos_str=[" a"]),), "line 1: 1 pos_str and 2 pos_values"),
        ((feature(0, frac_nonzero=1.5),), "line 1: frac_nonzero is 1.5"),
        ((feature(0, freq_hist_data_bar_heights=[1.0]),), "a histogram of 1 heights and 4 values"),
    ):
        with pytest.raises(Damaged, match=words):
            read(*bad)


def test_damage_of_the_packing_is_named(tmp_path: Path) -> None:
    path = write_source(tmp_path) / "activations" / "batch-0.jsonl.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(Damaged, match="gzip that is cut off or damaged"):
        parsed(path)
    with pytest.raises(
        Damaged, match=r"activations/batch-0.jsonl.gz, which belongs to it: gzip that is cut off"
    ):
        parsed(path.parents[1] / "features" / path.name)
    path.write_bytes(gzip.compress(json.dumps(ACTIVATIONS[0]).encode() + b"\n\xff\n"))
    with pytest.raises(Damaged, match="line 2 is not UTF-8: byte 0xff"):
        parsed(path)
    with pytest.raises(Damaged, match="does not begin with a layer"):
        parsed(write_source(tmp_path / "2", source="res-jb") / "activations" / "batch-0.jsonl.gz")


def test_what_is_measured_here_too_has_the_same_definition() -> None:
    here = {e.thing.record.name: e.thing.record for e in MEASURES.entries().values()}
    same = {"scope", "table", "unit", "lower_bound", "upper_bound", "direction", "version"}

    for measure in (TOP, STATISTICS, HISTOGRAM, EFFECT):
        assert measure.model_dump(include=same) == here[measure.name].model_dump(include=same)


def test_other_packed_files_are_not_taken_for_batches(tmp_path: Path) -> None:
    other = gzip.compress(b'{"modelId": "x", "note": "no batch"}\n')

    assert not Neuronpedia.recognises_bytes(other[:HEAD_BYTES])
    assert not Neuronpedia.recognises_bytes(b"\x1f\x8b broken")
    assert not Neuronpedia.recognises('{"modelId": "x", "layer": "0-a"}')
