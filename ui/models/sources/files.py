"""The files of an imported set, a page at a time, and what is odd about the set."""

import math
from dataclasses import dataclass

import pyarrow as pa

from archive.store import Archive
from ui.models.text import count, escape_markdown, plural, shorten

PAGE_ROWS = 100
MOST_PROBLEMS = 20

_COUNT_SQL = """\
SELECT count(*) AS n_files, coalesce(sum(n_rows), 0)::BIGINT AS n_rows FROM v_source_file
WHERE source = $source AND contains(lower(path), lower($word))"""

_PAGE_SQL = """\
SELECT path, format, n_rows, bytes, imported_at, sha256 FROM v_source_file
WHERE source = $source AND contains(lower(path), lower($word))
ORDER BY path LIMIT $n_rows OFFSET $after"""

FILES_SQL = """\
SELECT path, format, n_rows, bytes, imported_at, sha256 FROM v_source_file
WHERE source = $source AND contains(lower(path), lower($word))
ORDER BY path"""

# one row per kind of thing; `example` is the first of them
PROBLEMS_SQL = """\
SELECT 'said of a run' AS kind, note AS words, count(*) AS n, min(run) AS example
FROM v_run_note WHERE source = $source GROUP BY note
UNION ALL
SELECT 'file without a row', 'no row of results came from it; a catalogue of runs has none', count(*), min(path)
FROM v_source_file WHERE source = $source AND n_rows = 0 HAVING count(*) > 0
UNION ALL
SELECT 'result ' || l.state, l.measure, count(*), min(l.run || coalesce(' at step ' || l.step, ''))
FROM v_cell l WHERE l.source = $source AND l.state NOT IN ('done', 'not applicable') GROUP BY l.state, l.measure
UNION ALL
SELECT 'suspect checkpoint', integrity || coalesce(': ' || nullif(integrity_note, ''), ''), count(*),
       min(run || ' at step ' || step)
FROM (SELECT DISTINCT c.run, c.step, c.integrity, c.integrity_note
      FROM v_cell l JOIN v_checkpoint c ON c.run_id = l.run_id AND c.step = l.step AND c.snapshot = l.snapshot
      WHERE l.source = $source AND c.suspect) GROUP BY ALL
ORDER BY kind, n DESC, words"""


@dataclass(frozen=True)
class FilesPage:
    """A page of a set's files. table: path, format, n_rows, bytes, imported_at, sha256; page counts from 1."""

    table: pa.Table
    n_files: int
    n_rows: int
    page: int
    n_pages: int

    @property
    def sentence(self) -> str:
        """Which of how many are shown."""
        if not self.n_files:
            return "No file of this set has these words in its path."
        first = (self.page - 1) * PAGE_ROWS + 1
        shown = f"Files {first}–{first + self.table.num_rows - 1} of {plural(self.n_files, 'file')}"
        return f"{shown}, by path. They gave {plural(self.n_rows, 'row')}."


def files_page(archive: Archive, *, source: str, word: str, page: int) -> FilesPage:
    """Files whose path contains `word`, whatever its case; the last page where there is no such page."""
    asked = {"source": source, "word": word}
    counted = archive.rows(_COUNT_SQL, asked)[0]
    n_pages = max(1, math.ceil(counted["n_files"] / PAGE_ROWS))
    page = min(max(page, 1), n_pages)
    table = archive.query(_PAGE_SQL, {**asked, "n_rows": PAGE_ROWS, "after": (page - 1) * PAGE_ROWS})
    return FilesPage(table, counted["n_files"], counted["n_rows"], page, n_pages)


def files_in_words(found: FilesPage, source: str) -> str:
    """The table as a sentence, for those who do not see it."""
    return (
        f"Files of {shorten(source, 60)} with format, rows, size, time of import and hash. {found.sentence}"
    )


def problems(archive: Archive, *, source: str) -> pa.Table:
    """What is odd about a set: kind, words, n (how often), example (the first)."""
    return archive.query(PROBLEMS_SQL, {"source": source})


def problems_in_words(found: pa.Table) -> list[str]:
    """A sentence each, the first `MOST_PROBLEMS`, in Markdown that shows names letter by letter."""
    lines = []
    for row in found.slice(0, MOST_PROBLEMS).to_pylist():
        example = escape_markdown(shorten(row["example"], 80))
        often = f"{count(row['n'])} times, first: {example}" if row["n"] > 1 else example
        lines.append(
            f"**{escape_markdown(row['kind'])}** ({often}): {escape_markdown(shorten(row['words'], 500))}"
        )
    return lines
