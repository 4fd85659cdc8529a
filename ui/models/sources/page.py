"""Whose numbers these are: every imported set and pathscope itself, with what each measured, and of which runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import quote, urlsplit

import pyarrow as pa

from archive.store import Archive
from ui.models.text import count, plural, shorten

MEASURED_HERE = "measured here"
NONE_FOUND = "none found"

# Whose a cell is: the run of its subject. The ledger is the one long table, so it is joined by equality only.
_SUBJECTS = """\
subject AS (
  SELECT l.quantity_id, l.state, l.n_rows, l.subject_kind, l.subject_id,
         CASE l.subject_kind WHEN 0 THEN l.subject_id WHEN 1 THEN c.run_id ELSE a.run_id END AS run_id
  FROM cell l
  LEFT JOIN checkpoint c ON c.id = CASE WHEN l.subject_kind = 1 THEN l.subject_id END
  LEFT JOIN checkpoint_pair k ON k.id = CASE WHEN l.subject_kind = 2 THEN l.subject_id END
  LEFT JOIN checkpoint a ON a.id = k.checkpoint_a
)"""

SOURCES_SQL = f"""\
WITH {_SUBJECTS},
given AS (
  SELECT q.source_id, count(DISTINCT s.run_id) FILTER (s.state = 1) AS n_runs, count(DISTINCT q.measure_id) AS n_measures,
         sum(s.n_rows)::BIGINT AS n_numbers
  FROM subject s JOIN quantity q ON q.id = s.quantity_id GROUP BY q.source_id
), told AS (
  SELECT source_id, count(*) AS n_described
  FROM (SELECT source_id, id AS run_id FROM run UNION SELECT source_id, run_id FROM run_alias) GROUP BY source_id
), brought AS (
  SELECT f.source_id, sum(f.bytes)::BIGINT AS n_bytes, min(f.imported_at) AS first_import, max(f.imported_at) AS last_import,
         list(DISTINCT f.format ORDER BY f.format) AS formats,
         list(DISTINCT h.provenance_json->'facts'->>'imported_from') AS folders
  FROM source_file f LEFT JOIN shard h ON h.id = f.shard_id GROUP BY f.source_id
)
SELECT v.source_id, v.source, v.kind, v.repository, v.commit_hash, v.licence, v.citation, v.url, v.note, v.n_files,
       coalesce(g.n_runs, 0) AS n_runs, coalesce(t.n_described, 0) AS n_described,
       coalesce(g.n_measures, 0) AS n_measures, coalesce(g.n_numbers, 0) AS n_numbers,
       coalesce(b.n_bytes, 0) AS n_bytes, b.first_import, b.last_import,
       coalesce(b.formats, []) AS formats, coalesce(b.folders, []) AS folders
FROM v_source v
LEFT JOIN given g ON g.source_id = v.source_id
LEFT JOIN told t ON t.source_id = v.source_id
LEFT JOIN brought b ON b.source_id = v.source_id
ORDER BY v.source_id"""

MEASURES_SQL = """\
SELECT l.measure, arg_max(m.summary, m.version) AS meaning, arg_max(m.unit, m.version) AS unit,
       count(DISTINCT l.quantity_id) AS n_variants, count(DISTINCT l.run_id) FILTER (l.state = 'done') AS n_runs,
       count(*) FILTER (l.state = 'done') AS n_cells, sum(l.n_rows)::BIGINT AS n_numbers,
       any_value(o.others) AS others
FROM v_cell l
JOIN v_measure m ON m.measure = l.measure AND m.version = l.version
LEFT JOIN (SELECT measure, string_agg(DISTINCT source, ', ' ORDER BY source) AS others
           FROM v_quantity WHERE source_id <> $source_id GROUP BY measure) o ON o.measure = l.measure
WHERE l.source_id = $source_id
GROUP BY l.measure ORDER BY l.measure"""

GRID_SQL = """\
SELECT l.run_id, l.run, l.measure, count(*) AS n_cells, count(DISTINCT l.step) AS n_steps, sum(l.n_rows)::BIGINT AS n_numbers
FROM v_cell l
WHERE l.source_id = $source_id AND l.state = 'done'
GROUP BY l.run_id, l.run, l.measure ORDER BY l.run_id, l.measure"""


@dataclass(frozen=True)
class SourceChoices:
    """Everything that was chosen on the page; the fields' names are the address's."""

    source: str
    file: str = ""
    file_page: int = 1


@dataclass(frozen=True)
class SourceFacts:
    """One source. n_runs: runs it has numbers of; n_described: runs it names, with or without numbers.

    n_numbers: rows of results; formats, folders: as what and from where its files were read.
    """

    source_id: int
    source: str
    kind: str
    repository: str
    commit_hash: str
    licence: str
    citation: str
    url: str
    note: str
    n_files: int
    n_runs: int
    n_described: int
    n_measures: int
    n_numbers: int
    n_bytes: int
    first_import: datetime | None
    last_import: datetime | None
    formats: tuple[str, ...]
    folders: tuple[str, ...]

    @property
    def is_here(self) -> bool:
        """True for what pathscope itself measured."""
        return self.source_id == 0

    @property
    def is_unlicensed(self) -> bool:
        """True for a published set whose licence nobody found."""
        return not self.is_here and is_unknown(self.licence)


def sources(archive: Archive) -> list[SourceFacts]:
    """Every source in the order of arrival, that of this archive first."""
    return [_facts(row) for row in archive.rows(SOURCES_SQL)]


def source_measures(archive: Archive, *, source_id: int) -> pa.Table:
    """What a source measured: measure, meaning, unit, n_variants, n_runs, n_cells, n_numbers, others (sources with it too)."""
    return archive.query(MEASURES_SQL, {"source_id": source_id})


def source_grid(archive: Archive, *, source_id: int) -> pa.Table:
    """What it measured of which run: run_id, run, measure, n_cells, n_steps, n_numbers; a row each that has results."""
    return archive.query(GRID_SQL, {"source_id": source_id})


def is_unknown(text: str) -> bool:
    """True where a licence, citation or address was looked for and not found, or never given."""
    return text.strip().lower() in ("", NONE_FOUND, "unknown", "none")


def web_address(text: str) -> str:
    """The text as an address that may be made a link: http or https with a host, nothing but an address; else "".

    Other schemes (`javascript:`, `file:`, `git@`) stay text.
    """
    text = text.strip()
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host or any(c.isspace() for c in text):
        return ""
    return quote(text, safe=":/?#@!$&'+,;=%~")


def overview(found: Sequence[SourceFacts]) -> pa.Table:
    """The table on top: a row a source; `link` is only there for addresses that may be followed."""
    return pa.table(
        {
            "source": [f.source for f in found],
            "who": [MEASURED_HERE if f.is_here else f.kind for f in found],
            "licence": ["" if f.is_here else f.licence or NONE_FOUND for f in found],
            "n_files": pa.array([None if f.is_here else f.n_files for f in found], pa.int64()),
            "n_numbers": [f.n_numbers for f in found],
            "n_runs": [f.n_runs for f in found],
            "n_measures": [f.n_measures for f in found],
            "formats": [", ".join(f.formats) for f in found],
            "imported": pa.array([f.last_import for f in found], pa.timestamp("us", "UTC")),
            "link": pa.array([web_address(f.repository) or None for f in found], pa.string()),
        }
    )


def overview_in_words(found: Sequence[SourceFacts]) -> str:
    """The counts as a sentence: what came from elsewhere, and what was measured here."""
    published = [f for f in found if not f.is_here]
    here = next((f for f in found if f.is_here), None)
    words = f"{plural(len(published), 'imported set')} with {count(sum(f.n_numbers for f in published))} rows of results"
    if here is not None and here.n_numbers:
        words += f", beside {count(here.n_numbers)} measured here"
    else:
        words += "; nothing measured here"
    return (
        f"{words}. Numbers of different sources are never mixed: a question takes one source, and says which."
    )


def facts_html(facts: SourceFacts) -> str:
    """What is known of an imported set, and where to say what is not; every word of it escaped.

    HTML and not Markdown, which would make links of anything that looks like an address.
    """
    unsaid = "none found; say it with <code>--{}</code> when importing"
    lines = [
        (
            "Repository",
            unsaid.format("repository") if is_unknown(facts.repository) else _linked(facts.repository),
        ),
        ("Commit", escape(facts.commit_hash) or "not recorded"),
        ("Licence", escape(shorten(facts.licence, 400)) or NONE_FOUND),
    ]
    if not is_unknown(facts.url):
        lines.insert(1, ("Address", _linked(facts.url)))
    if is_unknown(facts.citation):
        lines.append(("Citation", unsaid.format("citation")))
    lines.append(("Formats", escape(", ".join(facts.formats)) or "none"))
    lines += [("Read from", escape(shorten(folder, 200))) for folder in facts.folders]
    if facts.note:
        lines.append(("Note", escape(shorten(facts.note, 400))))
    return (
        '<dl class="facts">' + "".join(f"<dt>{name}</dt><dd>{words}</dd>" for name, words in lines) + "</dl>"
    )


def _linked(text: str) -> str:
    """A link where it may be followed, else the text."""
    address, words = web_address(text), escape(shorten(text, 160))
    if not address:
        return words
    return f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{words}</a>'


def imported_when(facts: SourceFacts) -> str:
    """The day, or the first and the last."""
    if facts.first_import is None or facts.last_import is None:
        return ""
    first, last = (f"{m.astimezone(UTC):%Y-%m-%d %H:%M} UTC" for m in (facts.first_import, facts.last_import))
    return first if first == last else f"{first} to {last}"


def _facts(row: dict[str, Any]) -> SourceFacts:
    row["formats"] = tuple(f for f in row["formats"] if f)
    row["folders"] = tuple(sorted(f for f in row["folders"] if f))
    for moment in ("first_import", "last_import"):
        if row[moment] is not None and row[moment].tzinfo is None:
            row[moment] = row[moment].replace(tzinfo=UTC)
    return SourceFacts(**row)
