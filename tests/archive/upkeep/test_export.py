import hashlib
import json
import re
import subprocess
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from archive.errors import ArchiveNotFound, NoSpace, UnknownName, UsageError
from archive.layout import Layout
from archive.records import Run
from archive.schema.facts import FACTS
from archive.shard import ShardBuilder
from archive.store import SCHEMA_REVISION, Archive
from archive.upkeep import export as module
from archive.upkeep.export import LEFT_OUT, NARROWED, TEXTS, export
from archive.upkeep.marks import exclude
from archive.upkeep.publish import publish
from archive.views import VIEWS
from tests.archive.upkeep import sample
from tests.archive.upkeep.conftest import Make


def front_matter(folder: Path) -> list[tuple[str, str]]:
    """(key, value) of every line of the card's YAML; every value that is not a number is a JSON string or list."""
    text = (folder / "README.md").read_text()
    lines = text.split("---\n")[1].splitlines()
    pairs = []
    for line in lines:
        match = re.fullmatch(r" *(?:- )?(\w+):(?: (.*))?", line)
        assert match, line
        pairs.append((match[1], match[2] or ""))
        if match[2]:
            json.loads(match[2])
    return pairs


def values(folder: Path, key: str) -> list[str]:
    return [json.loads(value) for name, value in front_matter(folder) if name == key and value]


def test_every_public_view_comes_out_with_all_its_rows(full: Layout, tmp_path: Path) -> None:
    out = export(full, tmp_path / "out").folder
    archive = Archive(full.database)

    names = {v.name for v in VIEWS} - LEFT_OUT | set(module.CONTENT_TABLES)
    assert {p.name for p in out.iterdir()} == {*(f"{n}.parquet" for n in names), "README.md", "SHA256SUMS"}
    for name in names:
        stored = archive.value(f"SELECT count(*) FROM {name}")
        assert pq.ParquetFile(out / f"{name}.parquet").metadata.num_rows == stored, name
    for spec in FACTS:  # each table of facts is behind one of the files, with rows in the sample
        view = "v_" + spec.name.removeprefix("fact_").replace(
            "head", "head_score" if spec.name == "fact_head" else "head"
        )
        assert pq.ParquetFile(out / f"{view}.parquet").metadata.num_rows > 0


def test_files_are_read_without_pathscope_and_agree_with_the_views(full: Layout, tmp_path: Path) -> None:
    out = export(full, tmp_path / "out").folder
    sql = "SELECT run, step, layer, head, value FROM {} ORDER BY ALL"

    read = duckdb.sql(sql.format(f"read_parquet('{out / 'v_head_score.parquet'}')")).fetchall()
    with Archive(full.database).session() as c:
        assert read == c.execute(sql.format("v_head_score")).fetchall()


def test_hashes_are_those_of_the_files(full: Layout, tmp_path: Path) -> None:
    done = export(full, tmp_path / "out")
    check = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=done.folder, capture_output=True, check=False
    )

    assert check.returncode == 0, check.stdout
    listed = {line.split()[1] for line in (done.folder / "SHA256SUMS").read_text().splitlines()}
    assert listed == {p.name for p in done.folder.iterdir()} - {"SHA256SUMS"}
    for file in done.files:
        assert hashlib.sha256((done.folder / file.name).read_bytes()).hexdigest() == file.sha256
    assert values(done.folder, "sha256") == [f.sha256 for f in done.files]
    assert values(done.folder, "rows") == [f.n_rows for f in done.files]


def test_the_card_names_versions_sources_and_licences(full: Layout, tmp_path: Path) -> None:
    exclude(full, "toy/b", "spike")
    done = export(full, tmp_path / "out")
    card = (done.folder / "README.md").read_text()

    assert values(done.folder, "schema") == [SCHEMA_REVISION]
    assert values(done.folder, "archive") == [
        Archive(full.database).value("SELECT value FROM archive_info WHERE key = 'uuid'")
    ]
    assert values(done.folder, "licence") == ["none found", "MIT"]
    assert values(done.folder, "citation") == ["Doe 2021", ""]
    assert values(done.folder, "data_files") == [f.name for f in done.files]
    assert values(done.folder, "runs") == [4]
    assert done.unlicensed == ["published"]
    assert "no licence was found for `published`" in card
    assert "`toy/b`: spike" in card
    assert "tiny: CC0" in card
    assert all(view.about.replace("|", "/") in card for view in VIEWS if view.name not in LEFT_OUT)


def test_without_text_no_text_is_left_anywhere(full: Layout, tmp_path: Path) -> None:
    out = export(full, tmp_path / "out", text=False).folder

    assert not {f"{name}.parquet" for name in TEXTS} & {p.name for p in out.iterdir()}
    # states of a run that its authors put into words are results
    files = [p for p in out.glob("*.parquet") if p.name != "v_event.parquet"]
    content = b"".join(pq.read_table(p).to_pandas().to_csv().encode() for p in files)
    assert b"text 1" not in content
    assert b"template 1" not in content
    assert "--no-text" in (out / "README.md").read_text()
    assert values(out, "text") == [False]


def test_names_of_people_and_traces_of_the_machine_stay_here(full: Layout, tmp_path: Path) -> None:
    exclude(full, "toy/b", "spike")
    out = export(full, tmp_path / "out").folder
    columns = {c for p in out.glob("*.parquet") for c in pq.ParquetFile(p).schema_arrow.names}

    assert not columns & {"traceback", "excluded_by", "who"}
    assert not (out / "v_audit.parquet").exists()


def test_chosen_runs_bring_only_what_is_theirs(full: Layout, tmp_path: Path) -> None:
    done = export(full, tmp_path / "out", runs="toy/*")
    read = {p.stem: pq.read_table(p) for p in done.folder.glob("*.parquet")}

    assert done.runs == 3
    assert done.unlicensed == []
    assert set(read["v_run"].column("run").to_pylist()) == {"toy/a", "toy/b", "toy/log"}
    assert read["v_source"].column("source").to_pylist() == ["pathscope"]
    assert read["v_source_file"].num_rows == 0
    for name, table in read.items():
        for column in ("run", "run_a", "run_b"):
            if column in table.column_names:
                assert set(table.column(column).to_pylist()) <= {"toy/a", "toy/b", "toy/log", None}, name
    assert {read[name].num_rows for name in ("content_document", "content_vocab", "content_item")} == {3}
    only = export(full, tmp_path / "published", runs="pub/*")
    assert pq.read_table(only.folder / "v_study.parquet").num_rows == 0
    assert pq.read_table(only.folder / "v_event.parquet").num_rows == 1
    assert only.unlicensed == ["published"]


def test_texts_of_other_runs_stay_here(make: Make, tmp_path: Path) -> None:
    b = ShardBuilder(kind="measure")
    b.run(Run(name="plain"))
    layout = make("x", sample.little(), sample.content(), b)
    done = export(layout, tmp_path / "out", runs="plain")

    texts = [f for f in done.files if f.name.startswith("content_") or f.name == "v_eval_token.parquet"]
    assert [f.n_rows for f in texts] == [0, 0, 0, 0]
    assert "tiny: CC0" not in (done.folder / "README.md").read_text()


def test_every_view_without_a_run_id_is_narrowed_on_purpose(full: Layout) -> None:
    whole = {"v_measure", "v_encoding"}
    archive = Archive(full.database)
    for view in VIEWS:
        if "run_id" not in archive.query(f"SELECT * FROM {view.name} LIMIT 0").column_names:
            assert view.name in NARROWED or view.name in whole or view.name in LEFT_OUT, view.name


def test_several_patterns_bring_the_runs_of_all(full: Layout, tmp_path: Path) -> None:
    done = export(full, tmp_path / "out", runs=["toy/a", "pub/*", "toy/[a]"])
    runs = pq.read_table(done.folder / "v_run.parquet").column("run").to_pylist()

    assert len(runs) == done.runs
    assert "toy/a" in runs
    assert {run.partition("/")[0] for run in runs} == {"toy", "pub"}
    assert not {"toy/b", "toy/log"} & set(runs)


def test_a_pattern_that_fits_nothing_is_named(full: Layout, tmp_path: Path) -> None:
    for runs in ("toy/x*", ["toy/a", "toy/x*"]):
        with pytest.raises(UnknownName, match="toy/x"):
            export(full, tmp_path / "out", runs=runs)

    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_never_touched(full: Layout, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="rm -r"):
        export(full, out)
    with pytest.raises(UsageError, match="not empty"):
        export(full, out / "mine.txt")

    assert sample.files_below(out) == {"mine.txt"}


def test_an_empty_folder_is_filled_and_a_second_export_refused(full: Layout, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(full, tmp_path / "out", text=False)
    with pytest.raises(UsageError, match="never overwrites"):
        export(full, tmp_path / "out")


def test_an_export_that_fails_leaves_nothing(
    full: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_card", fail)
    with pytest.raises(NoSpace):
        export(full, tmp_path / "deep" / "out")
    monkeypatch.undo()

    assert list((tmp_path / "deep").iterdir()) == []
    (tmp_path / "deep" / ".out.unfinished").mkdir()  # an export that was killed
    export(full, tmp_path / "deep" / "out", text=False)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["out"]


def test_the_published_copy_can_be_exported_instead(full: Layout, tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFound, match="pathscope publish"):
        export(full, tmp_path / "out", snapshot=True)
    publish(full)
    exclude(full, "toy/b", "later")

    out = export(full, tmp_path / "out", snapshot=True, text=False).folder
    assert not any(pq.read_table(out / "v_run.parquet").column("excluded").to_pylist())


def test_an_empty_archive_gives_empty_files(make: object, tmp_path: Path, empty_archive: Path) -> None:
    done = export(Layout.of(empty_archive), tmp_path / "out")

    assert done.runs == 0
    assert {f.name: f.n_rows for f in done.files if f.n_rows} == {
        "v_source.parquet": 1,
        "v_encoding.parquet": 1,
    }
