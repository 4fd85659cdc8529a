"""A folder with everything that can be wrong at once: each file is named with its reason, the good ones go in."""

import json
from pathlib import Path

import pytest

from archive.layout import Layout
from archive.store import Archive
from ingest.importers import grokking_runs
from tests.ingest.importers.conftest import Import
from tests.ingest.importers.making import SAMPLES, run_record, write, write_evals, write_torch
from tests.ingest.importers.making_logs import (
    HISTORY,
    MAPPING,
    TABLE,
    write_events,
    write_history,
    write_mapped,
)

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1234\n"


class Runs:
    """What a hostile pickle looks like: it calls something when it is loaded."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return eval, ("1 + 1",)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    root = tmp_path / "set"
    good = write_evals(root / "good.json")
    write_mapped(root / "good.csv")
    write_events(root / "run")
    write(root / "pointer.json", POINTER)
    write(root / "pointer.parquet", POINTER)
    write(root / "weights.npz", POINTER)
    write(root / "truncated.json", good.read_text()[:300])
    write(root / "nan.json", good.read_text().replace("0.601", "NaN"))
    write_mapped(root / "twice.csv", TABLE + "small,0,0,4.5,\n")
    (root / "utf16.json").write_bytes(good.read_text().encode("utf-16"))
    (root / "latin1.csv").write_bytes(TABLE.replace("small,1", "smäll,1").encode("latin-1"))
    write(root / "latin1.csv.mapping.toml", MAPPING)
    write_torch(root / "pickle.pth", {**run_record(), "config": Runs()})
    write(root / "page.json", "<!DOCTYPE html><html>not found</html>")
    write(root / "empty.jsonl", "")
    (root / "zeros.csv").write_bytes(b"a,b\n\0\0\n")
    (root / "link.json").symlink_to(root / "nowhere.json")
    write(root / "cut.parquet", "").write_bytes(
        write_history(root.parent / "whole.parquet").read_bytes()[:-20]
    )
    write_history(root / "history.jsonl", [*HISTORY, HISTORY[1]])
    cut = write_events(root / "damaged")
    cut.write_bytes(cut.read_bytes()[:-4] + b"1234")
    write(root / "unknown.json", json.dumps({"what": "is this"}))
    write_mapped(root / "badmap.csv", mapping="table = 3")
    write(root / "README.md", "# hello")
    write(root / "no_suffix", "hello")
    return root


def test_every_bad_file_is_named_and_every_good_one_goes_in(
    hostile: Path, layout: Layout, archive: Archive, import_: Import
) -> None:
    report = import_(hostile)
    found = dict(report.problems)
    events = next(name for name in found if name.startswith("damaged/"))

    for name, words in {
        "pointer.json": "a Git LFS pointer to a file of 1234 bytes, not the file: `git lfs pull` in its clone",
        "pointer.parquet": "a Git LFS pointer to a file of 1234 bytes",
        "truncated.json": "cut off at line ",
        "nan.json": "NaN is not JSON; a value that is missing is written null",
        "twice.csv": "log.loss train of set/small-s0 at step 0 is given twice",
        "utf16.json": "UTF-16 text; convert it to UTF-8",
        "latin1.csv": "not UTF-8: a byte near offset ",
        "pickle.pth": "refused by safe loading: it would run ",
        "page.json": "an HTML page, not data",
        "empty.jsonl": "empty",
        "zeros.csv": "binary: a zero byte at offset 4",
        "link.json": "a link that points nowhere",
        "cut.parquet": "Parquet whose footer cannot be read, cut off or damaged: ",
        "history.jsonl": "wandb.loss of set at step 1 is given twice",
        events: "record 6 at byte ",
        "unknown.json": "in no known format; it begins with ",
        "badmap.csv": "mapping badmap.csv.mapping.toml: ",
    }.items():
        assert found.pop(name).startswith(words), name
    assert found == {}
    assert (report.n_files, report.exit_code) == (3, 1)
    assert report.ignored == {".md": 1, "(no suffix)": 1, ".npz (Git LFS pointer)": 1}
    assert {p["path"].split("/")[0] for p in archive.rows("SELECT path FROM v_source_file")} == {
        "good.json",
        "good.csv",
        "run",
    }
    assert list(layout.inbox.iterdir()) == []


def test_they_are_named_again_next_time_and_nothing_is_added(
    hostile: Path, archive: Archive, import_: Import
) -> None:
    first, second = import_(hostile), import_(hostile)

    assert second.problems == first.problems
    assert (second.n_files, second.n_known) == (0, 3)


def test_results_with_another_suffix_are_recognised_by_what_they_say(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    write_evals(tmp_path / "set" / "results.out")
    write_history(tmp_path / "set" / "history.log")
    write(tmp_path / "set" / "notes.out", "nothing of the kind")
    report = import_(tmp_path / "set")

    assert (report.n_files, report.exit_code, report.ignored) == (2, 0, {".out": 1})


def test_samples_of_every_format_are_recognised_as_what_they_are(
    tmp_path: Path, archive: Archive, import_: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grokking_runs, "measure_model", lambda model, setting: [])  # takes longest by far
    for name, make in SAMPLES.items():
        make(tmp_path / "set" / name)
    report = import_(tmp_path / "set")

    assert {f for s in report.sources.values() for f in s.formats} == set(SAMPLES)
    assert report.commit.refused == []
    # what a mapping was used for is named with the mapping's hash
    rows = archive.rows("SELECT path, split_part(format, ',', 1) AS format FROM v_source_file")
    # the harness leaves its samples beside its results; a second copy of them is not taken
    beside = {("lm-eval-results", "lm-eval-samples")}
    found = {(row["path"].split("/")[0], row["format"]) for row in rows}
    assert found - beside == {(name, name) for name in SAMPLES if name != "lm-eval-samples"}
