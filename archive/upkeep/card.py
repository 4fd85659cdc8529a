"""The dataset card of an export: YAML front matter for programs, then prose for people."""

import json
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from archive.store import SCHEMA_REVISION

NO_LICENCE = frozenset(("", "none found", "none", "unknown"))


@dataclass(frozen=True)
class ExportedFile:
    """One file of an export with its rows, bytes and the hash of its bytes."""

    name: str
    about: str
    n_rows: int
    n_bytes: int
    sha256: str


@dataclass(frozen=True)
class SourceFacts:
    """Where numbers come from and what may be done with them."""

    name: str
    licence: str
    citation: str
    url: str
    repository: str
    commit: str
    n_rows: int

    @property
    def measured_here(self) -> bool:
        """True for what pathscope measured itself."""
        return self.name == "pathscope"

    @property
    def licensed(self) -> bool:
        """False where no licence was found: the numbers may be read, passing them on is at one's own risk."""
        return self.measured_here or self.licence.strip().lower() not in NO_LICENCE


@dataclass(frozen=True)
class Card:
    """Everything a card says."""

    archive_uuid: str
    files: list[ExportedFile]
    sources: list[SourceFacts]
    text_licences: list[tuple[str, str]]
    n_runs: int
    runs: str | None
    has_text: bool
    excluded: list[tuple[str, str]]


def pathscope_version() -> str:
    """The installed version; "unknown" in a checkout that was never installed."""
    try:
        return version("pathscope")
    except PackageNotFoundError:
        return "unknown"


def write_card(card: Card, path: Path) -> None:
    """Write the card."""
    path.write_text("\n".join([*_front_matter(card), "", *_prose(card), ""]), encoding="utf-8")


def _front_matter(card: Card) -> list[str]:
    """YAML; every string is written as JSON, which YAML reads the same way."""
    published = [s for s in card.sources if not s.measured_here]
    lines = [
        "---",
        'pretty_name: "pathscope export"',
        'license: "other"',
        'tags: ["interpretability", "training dynamics", "pathscope"]',
        "configs:",
    ]
    for file in card.files:
        lines += [f"  - config_name: {_q(Path(file.name).stem)}", f"    data_files: {_q(file.name)}"]
    lines += [
        "pathscope:",
        f"  version: {_q(pathscope_version())}",
        f"  schema: {_q(SCHEMA_REVISION)}",
        f"  archive: {_q(card.archive_uuid)}",
        f"  written_at: {_q(time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime()))}",
        f"  runs: {card.n_runs}",
        f"  run_pattern: {_q(card.runs or '')}",
        f"  text: {'true' if card.has_text else 'false'}",
        "  sources:" + ("" if published else " []"),
    ]
    for source in published:
        lines += [
            f"    - name: {_q(source.name)}",
            f"      licence: {_q(source.licence or 'none found')}",
            f"      citation: {_q(source.citation)}",
            f"      url: {_q(source.url or source.repository)}",
            f"      commit: {_q(source.commit)}",
        ]
    lines.append("  files:")
    for file in card.files:
        lines += [
            f"    - name: {_q(file.name)}",
            f"      rows: {file.n_rows}",
            f"      bytes: {file.n_bytes}",
            f"      sha256: {_q(file.sha256)}",
        ]
    return [*lines, "---"]


def _prose(card: Card) -> list[str]:
    chosen = f" whose names match `{card.runs}`" if card.runs else ""
    lines = [
        "# Results of training runs, exported by pathscope",
        "",
        f"{card.n_runs} run(s){chosen}, {sum(f.n_rows for f in card.files):,} rows in {len(card.files)} Parquet files. "
        "Each file is one public view of the archive: names are joined on, so a file can be read by itself. "
        "Layers, heads, neurons and positions count from 0, losses are in nats, `step` counts optimizer updates; "
        "`v_measure` says what each number means. `sha256sum -c SHA256SUMS` checks every file.",
        "",
        "| file | rows | what it holds |",
        "|---|---|---|",
        *(f"| `{f.name}` | {f.n_rows:,} | {f.about.replace('|', '/')} |" for f in card.files),
        "",
        "## Sources and licences",
        "",
    ]
    unlicensed = [s.name for s in card.sources if not s.licensed]
    if unlicensed:
        lines += [
            f"**Warning: no licence was found for {', '.join(f'`{n}`' for n in unlicensed)}.** Without one, the authors "
            "have not allowed passing their numbers on; ask them before publishing this folder, or export without them "
            "(`--runs`).",
            "",
        ]
    lines += ["| source | licence | citation | where |", "|---|---|---|---|"]
    for s in card.sources:
        licence = "measured here; yours to choose" if s.measured_here else s.licence or "none found"
        where = " ".join(filter(None, (s.url or s.repository, s.commit[:12])))
        lines.append(f"| {_cell(s.name)} | {_cell(licence)} | {_cell(s.citation)} | {_cell(where)} |")
    if card.text_licences:
        lines += ["", "Texts:", ""]
        lines += [f"- {name}: {licence or 'no licence recorded'}" for name, licence in card.text_licences]
    if not card.has_text:
        lines += ["", "Documents, tokens, prompts and vocabularies were left out (`--no-text`)."]
    if card.excluded:
        lines += [
            "",
            "## Excluded runs",
            "",
            "Their rows are here, marked `excluded`; answers leave them out.",
            "",
        ]
        lines += [f"- `{run}`: {reason}" for run, reason in card.excluded]
    return lines


def _q(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")
