import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from archive.errors import ArchiveNotFound
from archive.layout import Layout
from archive.schema.facts import FACTS, OWNER_COLUMNS
from archive.store import Archive
from archive.upkeep import verify_facts
from archive.upkeep.findings import Finding
from archive.upkeep.marks import exclude
from archive.upkeep.references import REFERENCES
from archive.upkeep.verify import VERIFIED_AT, verify
from archive.upkeep.verify_facts import check_fact_table
from archive.upkeep.verify_tables import check_references
from tests.archive.upkeep import sample


def change(layout: Layout, *statements: str) -> None:
    """Break the archive behind the committer's back."""
    with duckdb.connect(str(layout.database)) as connection:
        for statement in statements:
            connection.execute(statement)


def recorded(layout: Layout) -> list[str]:
    rows = Archive(layout.database).rows(
        "SELECT value FROM archive_info WHERE key = $key", {"key": VERIFIED_AT}
    )
    return [r["value"] for r in rows]


def findings(layout: Layout, kind: str) -> list[Finding]:
    return [f for f in verify(layout, patience=5).findings if f.kind == kind]


def test_a_whole_archive_passes_and_that_is_recorded(full: Layout) -> None:
    before = datetime.now(UTC)
    result = verify(full)

    assert result.findings == []
    assert result.n_rows == sum(sample.table_sizes(full).values()) - 1  # the record itself
    assert result.n_cells == sample.table_sizes(full)["cell"]
    assert result.n_units == len(list(full.committed.iterdir()))
    assert recorded(full) == [result.verified_at]
    assert datetime.fromisoformat(result.verified_at) >= before
    assert verify(full).ok  # the record is replaced
    assert len(recorded(full)) == 1


def test_verifying_changes_no_number(full: Layout) -> None:
    before = sample.shown(full)
    verify(full)

    assert sample.shown(full) == before


def test_a_log_that_is_still_growing_is_whole(full: Layout) -> None:
    archive = Archive(full.database)

    assert archive.value("SELECT count(*) FROM log_segment") == 2
    assert verify(full).ok


def check_all(layout: Layout) -> dict[str, list[Finding]]:
    """Findings of every fact table, checked by itself."""
    archive = Archive(layout.database)
    with archive.session():
        return {spec.name: list(check_fact_table(archive, spec)) for spec in FACTS}


def test_a_doubled_row_is_found_in_every_fact_table(full: Layout) -> None:
    change(full, *(f"INSERT INTO {t.name} SELECT * FROM {t.name} LIMIT 1" for t in FACTS))

    for name, found in check_all(full).items():
        (double,) = [f for f in found if f.kind == "double"]
        assert (double.where, double.count, double.examples[0]["times"]) == (name, 1, 2)
        assert [f.count for f in found if f.kind == "rows"] == [1]


def test_a_missing_row_is_found_in_every_fact_table(full: Layout) -> None:
    change(full, *(f"DELETE FROM {t.name} WHERE rowid = (SELECT min(rowid) FROM {t.name})" for t in FACTS))

    for name, (found,) in check_all(full).items():
        assert (found.kind, found.where, found.count) == ("rows", name, 1)
        example = found.examples[0]
        assert (example["run"], example["measure"]) == ("toy/a", f"toy.{name}")
        assert int(str(example["rows_announced"])) == int(str(example["rows_found"] or 0)) + 1


def test_rows_of_what_does_not_exist_are_found_in_every_fact_table(full: Layout) -> None:
    columns = {
        t.name: {OWNER_COLUMNS[t.owner][-1], "quantity_id", *(["part_id"] if t.has_part else [])}
        for t in FACTS
    }
    change(full, *(f"UPDATE {t} SET {c} = 999999 WHERE rowid = 0" for t, cs in columns.items() for c in cs))

    for name, found in check_all(full).items():
        assert {f.where for f in found if f.kind == "orphan"} == {
            name,
            *(f"{name}.{c}" for c in columns[name]),
        }


def test_a_row_under_the_run_of_another_checkpoint_is_found(full: Layout) -> None:
    change(full, "UPDATE fact_head SET run_id = (SELECT max(run_id) FROM fact_head) WHERE rowid = 0")

    assert [f.where for f in findings(full, "orphan")] == ["fact_head.checkpoint_id"]


def test_doubles_are_found_however_the_quantities_are_cut(
    full: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(full, *(f"INSERT INTO {t.name} SELECT * FROM {t.name}" for t in FACTS))
    monkeypatch.setattr(verify_facts, "ROWS_AT_ONCE", 1)
    found = {name: sum(f.count for f in fs if f.kind == "double") for name, fs in check_all(full).items()}

    archive = Archive(full.database)
    assert found == {t.name: archive.value(f"SELECT count(*) // 2 FROM {t.name}") for t in FACTS}


def test_a_doubled_cell_is_found(full: Layout) -> None:
    change(full, "INSERT INTO cell SELECT * FROM cell LIMIT 1")

    assert [(f.kind, f.where) for f in verify(full).findings] == [("double", "cell")]


def test_a_doubled_content_row_is_found(full: Layout) -> None:
    change(full, "INSERT INTO content_vocab SELECT * FROM content_vocab WHERE token_id = 1")

    assert [(f.kind, f.where, f.examples[0]["token_id"]) for f in verify(full).findings] == [
        ("double", "content_vocab", 1)
    ]


def test_every_reference_is_checked(full: Layout) -> None:
    exclude(full, "toy/a", "r")
    last = {r.table: f"rowid = (SELECT max(rowid) FROM {r.table})" for r in REFERENCES}
    change(full, *(f"UPDATE {r.table} SET {r.column} = 999999 WHERE {last[r.table]}" for r in REFERENCES))
    found = {f.where: f.count for f in check_references(Archive(full.database))}

    assert found == {f"{r.table}.{r.column}": 1 for r in REFERENCES}


def test_overlapping_segments_are_found(full: Layout) -> None:
    change(full, "UPDATE log_segment SET last_step = 6 WHERE after_step = -1")
    (found,) = verify(full).findings

    assert (found.kind, found.where, found.examples[0]["after_step"]) == ("double", "log_segment", 4)


def test_a_cell_about_nothing_and_a_reason_without_a_cell_are_found(full: Layout) -> None:
    change(
        full,
        "UPDATE cell SET subject_id = 999999 WHERE state = 2",
        "UPDATE cell SET subject_kind = 0 WHERE rowid = (SELECT min(rowid) FROM cell WHERE subject_kind = 2)",
    )
    found = verify(full).findings

    assert ("orphan", "cell.subject_id") in [(f.kind, f.where) for f in found]
    assert ("orphan", "failure") in [(f.kind, f.where) for f in found]
    assert ("rows", "cell") in [(f.kind, f.where) for f in found]


def test_missing_views_and_views_of_another_version_are_found(full: Layout) -> None:
    change(full, "UPDATE archive_info SET value = 'old' WHERE key = 'views'")
    (old,) = verify(full).findings
    change(full, "DROP VIEW v_audit")
    (gone,) = verify(full).findings

    assert (old.kind, gone.kind, gone.where, gone.command) == (
        "views",
        "views",
        "v_audit",
        "pathscope upgrade",
    )


def test_a_missing_column_is_found(full: Layout) -> None:
    change(full, "DROP VIEW v_audit", "ALTER TABLE audit DROP COLUMN who")

    assert [f.where for f in findings(full, "schema")] == ["audit.who"]


def test_a_finding_is_not_recorded_as_a_success(full: Layout) -> None:
    change(full, "INSERT INTO cell SELECT * FROM cell LIMIT 1")
    verify(full)

    assert recorded(full) == []


def test_findings_say_what_to_do(full: Layout) -> None:
    change(
        full,
        "DELETE FROM fact_head WHERE rowid < 3",
        "DELETE FROM checkpoint_pair",
        "INSERT INTO cell SELECT * FROM cell LIMIT 1",
    )
    found = verify(full).findings

    assert len(found) >= 3
    assert all(f.command and f.message and f.where for f in found)


# --- units beside the archive ---------------------------------------------------------------------------


def first_unit(layout: Layout) -> Path:
    return min(layout.committed.iterdir())


def test_a_flipped_byte_in_a_committed_unit_is_found(full: Layout) -> None:
    file = first_unit(full) / "fact_head.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (found,) = verify(full).findings

    assert found.kind == "checksum"
    assert "fact_head.parquet" in found.message
    assert first_unit(full).name in found.where


def test_a_rewritten_manifest_is_found(full: Layout) -> None:
    import hashlib

    manifest = first_unit(full) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"toy/a"', '"toy/z"'))
    (first_unit(full) / "manifest.sha256").write_text(
        f"{hashlib.sha256(manifest.read_bytes()).hexdigest()}  manifest.json\n"
    )
    (found,) = verify(full).findings

    assert (found.kind, found.where) == ("checksum", str(manifest))


def test_a_committed_unit_that_the_archive_does_not_know_is_found(full: Layout) -> None:
    path = sample.everything("toy/c").write(full.inbox)
    path.rename(full.committed / path.name)
    (found,) = verify(full).findings

    assert (found.kind, found.command) == ("unit", "pathscope commit --replay")


def test_a_unit_that_was_committed_but_not_moved_is_found(full: Layout) -> None:
    unit = first_unit(full)
    unit.rename(full.inbox / unit.name)
    sample.everything("toy/c").write(full.inbox)  # only waits, which is no finding
    (found,) = verify(full).findings

    assert (found.kind, found.command, Path(found.where).name) == ("unit", "pathscope commit", unit.name)


def test_refusals_without_reason_and_reasons_without_unit_are_found(full: Layout) -> None:
    (full.failed / "silent").mkdir()
    (full.failed / "gone.reason.txt").write_text("why")
    (full.failed / "both").mkdir()
    (full.failed / "both.reason.txt").write_text("why")

    assert sorted(Path(f.where).name for f in verify(full).findings) == ["gone.reason.txt", "silent"]


def test_an_archive_sent_without_its_folder_is_verified_but_nothing_is_recorded(
    full: Layout, tmp_path: Path
) -> None:
    alone = tmp_path / "mailed"
    alone.mkdir()
    shutil.copy(full.database, alone / "x.duckdb")
    result = verify(Layout.of(alone / "x.duckdb"))

    assert result.ok
    assert result.not_recorded
    assert sample.files_below(alone) == {"x.duckdb"}


def test_no_archive_leaves_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFound):
        verify(Layout.of(tmp_path / "none.duckdb"))

    assert list(tmp_path.iterdir()) == []
