"""Files in, rows out: once, exactly, with every file that did not go in named."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from archive.committer import commit_inbox
from archive.errors import ArchiveBusy, UnknownName, UsageError
from archive.layout import Layout
from archive.lock import writer_lock
from archive.store import Archive
from ingest.importers import batch, importing
from ingest.importers.importing import import_results
from ingest.importers.report import ImportReport
from ingest.importers.sources import Attribution
from tests.ingest.importers.conftest import Import
from tests.ingest.importers.making import (
    LOG_POINTS,
    log_lines,
    score,
    write,
    write_evals,
    write_log,
    write_scores,
)
from tests.torture.invariants import broken


def write_tree(root: Path) -> Path:
    """A small set in every format, with a licence."""
    for seed in (0, 1):
        write_log(root / "logs" / "grid" / f"adamw_s{seed}.jsonl", seed=seed)
        write_scores(root / "scores" / f"texts_model-pythia-14m-step512-seed{seed + 1}.csv", seed=seed + 1)
    for step in (0, 1000):
        write_evals(root / "evals" / f"70m_step{step}.json", step=step)
    write(root / "LICENSE", "Permission is hereby granted, free of charge, to any person obtaining a copy")
    write(root / "README.md", "hello")
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "set")


@dataclass(frozen=True)
class Imported:
    """A tree that went into a new archive, for tests that only look at what that gave."""

    tree: Path
    archive: Archive
    report: ImportReport
    progress: list[tuple[int, int]]


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    folder = tmp_path_factory.mktemp("imported")
    tree, seen = write_tree(folder / "set"), []
    report = import_results(
        folder / "new" / "x.duckdb", tree, progress=lambda done, total: seen.append((done, total))
    )
    archive = Archive(folder / "new" / "x.duckdb")
    assert broken(archive) == []
    return Imported(tree, archive, report, seen)


def counts(archive: Archive) -> dict[str, int]:
    tables = (
        "fact_log",
        "fact_event",
        "fact_head",
        "fact_benchmark",
        "cell",
        "source_file",
        "run",
        "checkpoint",
    )
    with archive.session():
        return {table: int(archive.value(f"SELECT count(*) FROM {table}")) for table in tables}


def problems(report: ImportReport) -> dict[str, str]:
    return dict(report.problems)


def interrupt(layout: Layout) -> None:
    raise KeyboardInterrupt


def test_all_formats_of_a_tree_go_in_and_every_row_is_accounted_for(imported: Imported) -> None:
    report = imported.report

    assert counts(imported.archive) == {
        "fact_log": 2 * 17,  # six fields of three points, one of them null at step 0
        "fact_event": 2 * 2,
        "fact_head": 2 * 5 * 24,
        "fact_benchmark": 2 * 4,
        "cell": 2 * (4 + 2) + 2 * 5 + 2 * 4,
        "source_file": 6,
        "run": 2 + 2 + 1,
        "checkpoint": 2 + 2,
    }
    assert (report.exit_code, report.n_files, report.n_rows) == (0, 6, 34 + 4 + 240 + 8)
    assert report.commit.n_rows == report.n_rows
    assert report.ignored == {".md": 1, "(no suffix)": 1}
    assert report.sources["set"].formats == {"grokking-logs", "head-scores", "lm-eval"}


def test_files_are_kept_with_hash_size_rows_and_source(imported: Imported) -> None:
    archive = imported.archive
    rows = {r["path"]: r for r in archive.rows("SELECT * FROM v_source_file")}

    file = imported.tree / "evals" / "70m_step0.json"
    stored = rows["evals/70m_step0.json"]
    assert (stored["source"], stored["format"], stored["n_rows"]) == ("set", "lm-eval", 4)
    assert stored["bytes"] == file.stat().st_size
    assert archive.rows("SELECT licence, kind, n_files FROM v_source WHERE source = 'set'") == [
        {"licence": "MIT", "kind": "published", "n_files": 6}
    ]


def test_every_cell_points_to_its_file_and_to_how_it_came(imported: Imported) -> None:
    archive = imported.archive

    assert archive.value("SELECT count(*) FROM cell WHERE file_id NOT IN (SELECT id FROM source_file)") == 0
    assert archive.rows(
        """SELECT DISTINCT provenance_json->>'$.facts.importer' AS importer,
                  provenance_json->>'$.facts.imported_from' AS folder FROM v_shard ORDER BY importer"""
    ) == [
        {"importer": name, "folder": str(imported.tree)}
        for name in ("grokking-logs", "head-scores", "lm-eval")
    ]


def test_values_come_back_through_the_public_views(imported: Imported) -> None:
    archive = imported.archive

    assert archive.rows(
        """SELECT run, step, n_shots, series, value, se, tokens_seen FROM v_benchmark
           WHERE task = 'sciq' AND measure = 'benchmark.acc' ORDER BY step"""
    ) == [
        {
            "run": "pythia-70m",
            "step": step,
            "n_shots": 0,
            "series": "",
            "value": 0.601,
            "se": 0.015,
            "tokens_seen": step * 2097152.0,
        }
        for step in (0, 1000)
    ]
    assert archive.value(
        """SELECT value FROM v_head_score WHERE run = 'pythia-14m-seed2' AND step = 512
           AND measure = 'head.previous_token' AND layer = 5 AND head = 0"""
    ) == score(6, 1, seed=2)
    assert archive.rows(
        """SELECT step, value FROM v_log WHERE run = 'set/grid/adamw_s0' AND measure = 'log.loss' AND part = 'test'
           ORDER BY step"""
    ) == [{"step": p["step"], "value": p["test_loss"]} for p in LOG_POINTS]
    assert archive.rows("SELECT DISTINCT measure, step, censored_at FROM v_event ORDER BY measure") == [
        {"measure": "event.grok_step", "step": 200, "censored_at": None},
        {"measure": "event.memorize_step", "step": 100, "censored_at": None},
    ]


def test_a_second_import_adds_nothing_and_says_so(
    imported: Imported, layout: Layout, archive: Archive, import_: Import
) -> None:
    shutil.copy(imported.archive.layout.database, layout.database)
    before, version = counts(archive), archive.version
    report = import_(imported.tree)

    assert counts(archive) == before
    assert archive.version == version
    assert (report.n_known, report.n_files, report.exit_code) == (6, 0, 0)


def test_a_part_first_and_the_whole_later_are_the_same_files(
    tree: Path, archive: Archive, import_: Import
) -> None:
    import_(tree / "evals" / "70m_step0.json")
    import_(tree / "evals")
    report = import_(tree)

    assert (report.n_known, report.n_files) == (2, 4)
    assert archive.value("SELECT count(*) FROM fact_benchmark") == 8
    assert archive.value("SELECT count(*) FROM source WHERE name <> 'pathscope'") == 1


def test_without_a_licence_the_same_files_from_another_folder_are_recognised(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    write_evals(tmp_path / "outer" / "inner" / "70m_step0.json", step=0)
    import_(tmp_path / "outer" / "inner")
    report = import_(tmp_path / "outer")

    assert (report.n_files, report.known_elsewhere) == (0, {"inner": 1})
    assert counts(archive)["source_file"] == 1


def test_a_folder_that_moved_is_known(tmp_path: Path, archive: Archive, import_: Import) -> None:
    write_log(tmp_path / "here" / "logs" / "a_s0.jsonl")
    import_(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "deep")
    (tmp_path / "there").mkdir()
    shutil.move(tmp_path / "deep", tmp_path / "there" / "here")
    report = import_(tmp_path / "there" / "here")

    assert (report.n_known, report.n_files) == (1, 0)


def test_a_changed_file_replaces_its_own_rows_only(tree: Path, archive: Archive, import_: Import) -> None:
    import_(tree)
    before = counts(archive)
    write_evals(tree / "evals" / "70m_step0.json", step=0, results={"sciq": {"acc": 0.25, "acc_stderr": 0.5}})
    report = import_(tree)

    assert report.replaced == ["evals/70m_step0.json"]
    assert (report.n_known, report.n_files, report.exit_code) == (5, 1, 0)
    assert counts(archive) == {**before, "fact_benchmark": 5, "cell": before["cell"] - 3}
    assert archive.rows("SELECT step, value, se FROM v_benchmark WHERE step = 0") == [
        {"step": 0, "value": 0.25, "se": 0.5}
    ]
    assert archive.value("SELECT n_rows FROM v_source_file WHERE path = 'evals/70m_step0.json'") == 1
    assert import_(tree).n_known == 6


def test_a_changed_log_loses_the_points_it_no_longer_has(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    log = write_log(tmp_path / "set" / "a_s0.jsonl")
    import_(log.parent)
    write_log(log, points=LOG_POINTS[:2], grok=None)
    import_(log.parent)

    assert archive.value("SELECT max(step) FROM fact_log") == 100
    assert archive.rows("SELECT step, censored_at FROM v_event WHERE measure = 'event.grok_step'") == [
        {"step": None, "censored_at": 100}
    ]


def test_a_changed_file_that_is_damaged_now_leaves_its_old_rows(
    tree: Path, archive: Archive, import_: Import
) -> None:
    import_(tree)
    before = counts(archive)
    write(tree / "evals" / "70m_step0.json", '{"results": {"sciq"')
    report = import_(tree)

    assert problems(report).keys() == {"evals/70m_step0.json"}
    assert (report.exit_code, report.replaced) == (1, [])
    assert counts(archive) == before


def test_bad_files_are_named_each_and_the_good_ones_go_in(
    tree: Path, archive: Archive, import_: Import
) -> None:
    evals = tree / "evals"
    write(evals / "cut.json", (evals / "70m_step0.json").read_text()[:300])
    write(evals / "nan.json", (evals / "70m_step0.json").read_text().replace("0.601", "NaN"))
    write(evals / "lfs.json", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 99\n")
    write(evals / "empty.json", "")
    (evals / "latin.json").write_bytes('{"results": {"é'.encode("latin-1"))
    (evals / "binary.json").write_bytes(b"\x00\x01\x02")
    write(evals / "other.json", '{"something": "else"}')
    write(tree / "logs" / "grid" / "cut_s0.jsonl", "\n".join(log_lines())[:-4])
    scores = tree / "scores" / "texts_model-pythia-14m-step512-seed1.csv"
    write(tree / "scores" / "texts_model-again.csv", scores.read_text())
    report = import_(tree)
    found = problems(report)

    assert found.pop("evals/cut.json").startswith("cut off at line 17 ")
    assert found.pop("logs/grid/cut_s0.jsonl").startswith("line 5: cut off")
    assert found == {
        "evals/binary.json": "binary: a zero byte at offset 0",
        "evals/empty.json": "empty",
        "evals/latin.json": "not UTF-8: byte 0xe9 at offset 14",
        "evals/lfs.json": "a Git LFS pointer to a file of 99 bytes, not the file: `git lfs pull` in its clone",
        "evals/nan.json": "NaN is not JSON; a value that is missing is written null",
        "evals/other.json": """in no known format; it begins with '{"something": "else"}'""",
        "scores/texts_model-pythia-14m-step512-seed1.csv": "5 of its 5 results are given by "
        "scores/texts_model-again.csv already and were left out",
    }
    assert (report.exit_code, report.n_files) == (1, 6)
    assert counts(archive)["source_file"] == 6


def test_bad_files_are_named_again_next_time(tree: Path, archive: Archive, import_: Import) -> None:
    write(tree / "evals" / "empty.json", "")
    write_evals(tree / "evals" / "sub" / "70m_step0.json", step=0)
    first, second = import_(tree), import_(tree)

    assert problems(first).keys() == {"evals/empty.json", "evals/sub/70m_step0.json"}
    assert problems(second) == problems(first)
    assert (second.exit_code, second.n_files, second.n_known) == (1, 0, 6)


def test_two_files_of_a_checkpoint_are_merged_by_task(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    sciq = {"sciq": {"acc": 0.5, "acc_stderr": 0.1}}
    arc = {"arc_challenge": {"acc": 0.25, "acc_stderr": 0.1}}
    write_evals(tmp_path / "set" / "70m_step0.json", step=0, results=sciq)
    write_evals(tmp_path / "set" / "70m-arc_challenge_step0.json", step=0, results=arc)
    report = import_(tmp_path / "set")

    assert report.exit_code == 0
    assert archive.rows("SELECT task, series, value FROM v_benchmark ORDER BY task") == [
        {"task": "arc_challenge", "series": "", "value": 0.25},
        {"task": "sciq", "series": "", "value": 0.5},
    ]
    assert counts(archive)["checkpoint"] == 1


def test_two_files_of_a_checkpoint_and_task_are_never_mixed(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    root = tmp_path / "set"
    more = {"sciq": {"acc": 0.75}, "piqa": {"acc": 0.125}}
    write_evals(root / "a" / "70m_step0.json", step=0, results={"sciq": {"acc": 0.5}})
    write_evals(root / "b" / "70m_step0.json", step=0, results=more)
    write_evals(root / "b" / "baseline-70m_step0.json", step=0, results=more)
    report = import_(root)

    assert problems(report) == {
        "b/70m_step0.json": "1 of its 2 results are given by a/70m_step0.json already and were left out"
    }
    assert archive.rows("SELECT task, series, value FROM v_benchmark ORDER BY ALL") == [
        {"task": "piqa", "series": "", "value": 0.125},
        {"task": "piqa", "series": "baseline", "value": 0.125},
        {"task": "sciq", "series": "", "value": 0.5},
        {"task": "sciq", "series": "baseline", "value": 0.75},
    ]


def test_a_later_file_does_not_overrule_an_earlier_import(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    write_evals(tmp_path / "set" / "b" / "70m_step0.json", step=0, results={"sciq": {"acc": 0.5}})
    import_(tmp_path / "set")
    write_evals(tmp_path / "set" / "a" / "70m_step0.json", step=0, results={"sciq": {"acc": 0.75}})
    report = import_(tmp_path / "set")

    assert problems(report) == {
        "a/70m_step0.json": "1 of its 1 results are given by b/70m_step0.json already and were left out"
    }
    assert archive.value("SELECT value FROM fact_benchmark") == 0.5


def test_two_names_of_one_run_meet_in_one_run(tmp_path: Path, archive: Archive, import_: Import) -> None:
    for step, model in enumerate(
        ("EleutherAI/pythia-70m", "EleutherAI/pythia-v1.1-70m", "EleutherAI/pythia-70m")
    ):
        write_evals(tmp_path / "set" / f"70m_step{step}.json", step=step, model=model)
    report = import_(tmp_path / "set")

    assert report.exit_code == 0
    assert archive.rows("SELECT run, count(DISTINCT step) AS n FROM v_benchmark GROUP BY run") == [
        {"run": "pythia-70m", "n": 3}
    ]
    assert {r["name"] for r in archive.rows("SELECT name FROM v_run_name")} == {
        "pythia-70m",
        "EleutherAI/pythia-70m",
        "EleutherAI/pythia-v1.1-70m",
    }


def test_unrelated_folders_of_one_name_do_not_replace_each_other(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    for parent, seed in (("a", 0), ("b", 1)):
        write_log(tmp_path / parent / "logs" / "adamw_s0.jsonl", seed=seed)
    import_(tmp_path / "a" / "logs")
    refused = import_(tmp_path / "b" / "logs")

    assert problems(refused)["adamw_s0.jsonl"].startswith(
        f"source 'logs' has another file of this name, imported from {tmp_path / 'a' / 'logs'}: "
    )
    assert archive.value("SELECT max(init_seed) FROM run") == 0

    import_(tmp_path / "b" / "logs", given=Attribution(name="logs of b"))
    assert sorted(r["run"] for r in archive.rows("SELECT run FROM v_run")) == [
        "logs of b/adamw_s0",
        "logs/adamw_s0",
    ]


def test_a_name_given_by_hand_is_kept_apart_and_still_known_again(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    write_evals(tmp_path / "outer" / "inner" / "70m_step0.json", step=0)
    mine = Attribution(name="mine")
    import_(tmp_path / "outer")
    import_(tmp_path / "outer" / "inner", given=mine)
    report = import_(tmp_path / "outer", given=mine)

    assert (report.n_files, report.known_elsewhere, report.exit_code) == (0, {"mine": 1}, 0)
    assert archive.value("SELECT count(DISTINCT source) FROM v_benchmark") == 2


@pytest.mark.parametrize("by_hand", [True, False])
def test_published_results_cannot_pass_for_measured_ones(
    tmp_path: Path, import_: Import, by_hand: bool
) -> None:
    write_evals(tmp_path / "pathscope" / "70m_step0.json")

    with pytest.raises(UsageError, match="source 'pathscope' stands for what is measured here"):
        import_(tmp_path / "pathscope", given=Attribution(name="pathscope" if by_hand else ""))


def test_two_logs_of_one_run_are_never_mixed(tmp_path: Path, archive: Archive, import_: Import) -> None:
    write_log(tmp_path / "set" / "logs" / "a_s0.jsonl")
    write_log(tmp_path / "set" / "runs" / "a_s0.jsonl", points=[{**p, "extra": 1.0} for p in LOG_POINTS])
    first, second = import_(tmp_path / "set"), import_(tmp_path / "set")

    assert (
        problems(first)
        == problems(second)
        == {
            "runs/a_s0.jsonl": "6 of its 7 results are given by logs/a_s0.jsonl already; nothing of it was taken"
        }
    )
    assert archive.value("SELECT count(*) FROM v_log WHERE measure = 'log.extra'") == 0


def test_two_sets_of_one_name_in_one_import_are_refused_before_anything_is_read(
    tmp_path: Path, archive: Archive, import_: Import
) -> None:
    for parent in ("a", "b"):
        write_log(tmp_path / "all" / parent / "set" / "adamw_s0.jsonl")
        write(tmp_path / "all" / parent / "set" / "LICENSE", "x")

    with pytest.raises(UsageError, match="would both be source 'set'"):
        import_(tmp_path / "all")
    assert counts(archive)["run"] == 0


def test_one_odd_file_does_not_stop_the_others(
    tree: Path, import_: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = importing.IMPORTERS.get("lm-eval")
    parse = reader.parse

    def sometimes(self: object, file: importing.ImportFile) -> object:
        if file.relative.endswith("step0.json"):
            raise ZeroDivisionError("by surprise")
        return parse(self, file)  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "parse", sometimes)
    report = import_(tree)

    assert problems(report) == {
        "evals/70m_step0.json": "lm-eval cannot read it: ZeroDivisionError: by surprise"
    }
    assert report.n_files == 5


def test_a_named_format_leaves_the_others_alone(tree: Path, archive: Archive, import_: Import) -> None:
    report = import_(tree, "grokking-logs")

    assert (report.n_files, report.exit_code) == (2, 0)
    assert report.ignored == {".csv": 2, ".json": 2, ".md": 1, "(no suffix)": 1}
    with pytest.raises(UnknownName, match="did you mean 'grokking-logs'"):
        import_(tree, "grokking-log")


def test_a_single_file_is_read_whatever_its_suffix(tmp_path: Path, archive: Archive, import_: Import) -> None:
    file = write_evals(tmp_path / "set" / "70m_step0.txt", step=0)

    assert import_(file).n_files == 1
    assert archive.value("SELECT path FROM source_file") == "70m_step0.txt"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: None, "nothing at"),
        (lambda p: p.mkdir(), "holds no files; nothing to import"),
        (lambda p: write(p / "a.md", "x"), "holds 1 .md."),
        (lambda p: write(p / "a.json", "{}"), "a.json: in no known format; it begins with '{}'"),
        (
            lambda p: write(p / "a.json", "version https://git-lfs.github.com/spec/v1\nsize 3\n"),
            "a.json: a Git LFS pointer to a file of 3 bytes",
        ),
    ],
)
def test_nothing_to_import_says_what_was_seen_and_makes_no_archive(
    tmp_path: Path, make: object, words: str
) -> None:
    make(tmp_path / "set")  # type: ignore[operator]
    target = tmp_path / "new" / "x.duckdb"

    with pytest.raises(UsageError) as error:
        import_results(target, tmp_path / "set")
    assert words in str(error.value)
    assert not target.parent.exists()


def test_many_unknown_files_are_counted_and_ten_named(tmp_path: Path, import_: Import) -> None:
    for i in range(12):
        write(tmp_path / "set" / f"{i:02}.json", "{}")

    with pytest.raises(UsageError) as error:
        import_(tmp_path / "set")
    assert "it holds 12 .json." in str(error.value)
    assert "09.json" in str(error.value)
    assert "10.json" not in str(error.value)
    assert "and 2 more" in str(error.value)
    assert "`pathscope import --list`" in str(error.value)


def test_an_import_makes_the_archive(imported: Imported) -> None:
    assert imported.archive.layout.database.is_file()
    assert imported.report.n_files == 6
    assert imported.archive.value("SELECT count(*) FROM fact_benchmark") == 8


def test_many_files_go_in_as_several_bounded_units(
    tree: Path, archive: Archive, import_: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MAX_FILES", 2)
    for step in range(1, 6):
        write_evals(tree / "evals" / f"70m_step{step}.json", step=step)
    report = import_(tree, "lm-eval")

    assert (report.n_files, report.commit.n_shards) == (7, 4)
    assert counts(archive)["fact_benchmark"] == 7 * 4


def test_rows_bound_a_unit_too(tree: Path, import_: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_ROWS", 120)
    report = import_(tree, "head-scores")

    assert (report.n_files, report.commit.n_shards) == (2, 2)


def test_an_import_that_was_interrupted_is_finished_by_the_next(
    tree: Path, layout: Layout, archive: Archive, import_: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(importing, "commit_inbox", interrupt)
        with pytest.raises(KeyboardInterrupt):
            import_(tree)
    assert counts(archive)["source_file"] == 0
    report = import_(tree)

    assert (report.n_known, report.n_files) == (6, 0)
    assert counts(archive)["source_file"] == 6


def test_a_held_archive_keeps_what_was_read_in_its_inbox(
    tree: Path, layout: Layout, archive: Archive, import_: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "commit_inbox", lambda layout: commit_inbox(layout, patience=0.0))
    with (
        writer_lock(layout, "test", patience=0.0),
        pytest.raises(ArchiveBusy, match=r"What was read waits in .*: `pathscope commit` enters it"),
    ):
        import_(tree)

    commit_inbox(layout)
    assert counts(archive)["source_file"] == 6


def test_progress_counts_every_file(imported: Imported) -> None:
    assert imported.progress == [(i, 6) for i in range(1, 7)]


def test_notes_are_counted_once_a_file(tmp_path: Path, import_: Import) -> None:
    for step in (1, 2):
        write_evals(tmp_path / "five-shot" / f"70m_step{step}.json", step=step, shots=0)
    report = import_(tmp_path / "five-shot")

    assert report.notes == {"the name says 5 shots, the file 0; filed as the file says": 2}
    assert report.exit_code == 0


def test_the_report_is_plain_values(tree: Path, import_: Import) -> None:
    write(tree / "evals" / "empty.json", "")
    document = json.loads(json.dumps(import_(tree).document()))

    assert document["problems"] == [{"path": "evals/empty.json", "reason": "empty"}]
    assert document["files"]["imported"] == 6
    assert document["sources"][0]["formats"] == ["grokking-logs", "head-scores", "lm-eval"]
    assert document["sources"][0]["licence"] == "MIT"
    assert set(document["seconds"]) == {"parse", "shards", "commit"}
    assert all(seconds > 0 for seconds in document["seconds"].values())


def test_a_path_with_dots_finds_the_right_set(
    tree: Path, tmp_path: Path, import_: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "project" / "LICENSE", "ours")
    monkeypatch.chdir(tmp_path / "project")
    report = import_(Path("..") / "set" / "evals")

    assert list(report.sources) == ["set"]
