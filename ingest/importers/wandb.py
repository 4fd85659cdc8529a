"""History exports of Weights & Biases: the Parquet artefact, rows of `scan_history`, and a chart's CSV.

Rows hold what one call of `log` gave, with `_step`, `_runtime` and `_timestamp`; the artefact
`<run-id>-history` holds them as Parquet (docs.wandb.ai, "Why are steps missing from a CSV metric export?").
A chart's CSV has a column of steps, and for every run the columns `<run> - <metric>`, `...__MIN` and `...__MAX`
(github.com/wandb/wandb/issues/5349).
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from archive.records import Family, Measure, Quantity, Run, Source
from ingest.importers.base import Block, Damaged, Importer, ImportFile, Parsed, importer
from ingest.importers.cells import Cells
from ingest.importers.files import (
    head_of,
    head_text,
    is_parquet,
    mapping_beside,
    parquet_columns,
    strict_json,
)
from ingest.importers.not_finite import NotFinite
from ingest.importers.pieces import Format, read_pieces

CITATION = "https://docs.wandb.ai, Public API, run.scan_history"
STEP, CHART_STEP = "_step", "Step"
_TIMES = ("_runtime", "_timestamp")
_BOUNDS = ("__MIN", "__MAX")
_BETWEEN = " - "
# W&B writes numbers that JSON has no word for as texts
_MISSING = ("", "NaN", "Infinity", "-Infinity", "null")
_ARTEFACT = re.compile(r"(?:run-)?(?P<run>.+?)-history(?:[:_-]v\d+)?")
_SAYS_NOTHING = re.compile(r"\d{4}|history|scan_history", re.IGNORECASE)
NO_NUMBER = "a missing value gives no row"
MEANS = "values are means over several steps (minimum and maximum differ): a chart's CSV is sampled, the history is not"


@importer
class WeightsAndBiases(Importer):
    """Every logged number is a series of its run; texts, media and system columns are left out."""

    name = "wandb"
    title = "Weights & Biases history exports (Parquet artefact, scan_history, a chart's CSV)"
    reads = "rows with _step and _runtime or _timestamp (Parquet, CSV, JSON lines), or a CSV `Step, <run> - <metric>, ...`"
    suffixes = (".parquet", ".csv", ".jsonl", ".ndjson")
    base: ClassVar[Literal[0, 1]] = 0
    units = "as logged; step is `_step`, which counts calls of log unless the program gave steps"
    binary = True
    carrier = True

    def __init__(self, source: Source) -> None:
        """`source` also names the runs: source/folders/file, or source/<run> for a chart."""
        super().__init__(source)
        self._quantities: dict[str, Quantity] = {}
        self._family = Family(name=source.name, summary=f"training runs logged by {source.name}")

    @classmethod
    def recognises(cls, head: str) -> bool:
        """A row with `_step` and a time, or a header of one, or that of a chart's CSV."""
        first = head.lstrip().split("\n", 1)[0].strip()
        if first.startswith("{"):
            try:
                row = strict_json(first)
            except Damaged:
                return False
            return isinstance(row, dict) and cls.recognises_columns(list(row))
        try:
            header = next(csv.reader([first]), [])
        except csv.Error:
            return False
        return cls.recognises_columns(header) or _is_chart(header)

    @classmethod
    def recognises_columns(cls, columns: Sequence[str]) -> bool:
        """`_step` and `_runtime` or `_timestamp` are among them."""
        return STEP in columns and not set(_TIMES).isdisjoint(columns)

    @classmethod
    def companions(cls, path: Path) -> list[Path]:
        """The numbered Parquet files of one history."""
        if path.suffix.lower() != ".parquet" or not path.stem.isdigit() or not _is_history(path):
            return [path]
        return sorted(p for p in path.parent.glob("*.parquet") if p.stem.isdigit() and _is_history(p))

    def parse(self, file: ImportFile) -> Parsed:
        """All parts together."""
        return Parsed.joined(self.parse_parts(file))

    def parse_parts(self, file: ImportFile) -> Iterator[Parsed]:
        """A part per piece of the table; raises Damaged naming the row of a step or number that is none."""
        history = _History(self, file)
        before: Parsed | None = None
        for path in (file.path, *file.companions):
            for piece in read_pieces(path, _kind(file.head)):
                if before is not None:
                    yield before
                before = history.part(Cells(piece, _MISSING))
        history.refuse_without_metric()
        assert before is not None, "a table has rows or is refused"
        yield replace(before, notes=[*before.notes, *history.not_finite.notes()])

    def series(self, metric: str) -> Quantity:
        """The quantity of a metric."""
        if metric not in self._quantities:
            measure = Measure(
                name=f"wandb.{metric}",
                scope="run",
                table="fact_log",
                unit="as logged",
                summary=f"Metric {metric!r} of a W&B history; what it means is its program's own.",
                citation=CITATION,
            )
            self._quantities[metric] = Quantity(
                measure=measure, dtype="unknown", weight_processing="unknown", source=self.source
            )
        return self._quantities[metric]

    def run(self, name: str) -> Run:
        """The run of this name in the source."""
        return Run(
            name=f"{self.source.name}/{name}" if name else self.source.name,
            family=self._family.name,
            source=self.source.name,
            aliases=(name,) if name else (),
        )

    @property
    def family(self) -> Family:
        """What all runs of the source belong to."""
        return self._family


class _History:
    """One file, or the files of one history, on the way in."""

    def __init__(self, reader: WeightsAndBiases, file: ImportFile) -> None:
        self._reader = reader
        self._named = reader.run(_run_name(PurePosixPath(file.relative)))
        self._runs: dict[str, Run] = {}
        self._kinds: dict[str, bool] = {}  # whether a column holds numbers
        self._notes: set[str] = set()
        self.not_finite = NotFinite()

    def part(self, cells: Cells) -> Parsed:
        """Every column of numbers as a series."""
        names = list(cells.piece.columns)
        chart = CHART_STEP in names and STEP not in names
        steps, there = cells.whole(CHART_STEP if chart else STEP)
        if not there.all():
            self._notes.add("rows without a step were left out")
        blocks = []
        for name in names:
            if name in (CHART_STEP, STEP, *_TIMES) or name.startswith("_wandb") or name.endswith(_BOUNDS):
                continue
            values = self._numbers(cells, name)
            if values is None:
                continue
            rows = np.flatnonzero(there & ~np.isnan(values))
            lost = cells.not_finite(name, values)
            if (np.isnan(values) & ~lost).any():
                self._notes.add(NO_NUMBER)
            run, metric = self._column(name) if chart else (self._named, name)
            self.not_finite.add(
                self._reader.series(metric).measure.name, run.name, steps[there & lost].tolist()
            )
            if chart and _sampled(cells, name, values):
                self._notes.add(MEANS)
            if len(rows):
                columns = {"step": steps[rows], "value": values[rows]}
                blocks.append(Block("fact_log", run, self._reader.series(metric), columns))
        runs = list(self._runs.values()) if chart else [self._named]
        return Parsed(
            runs=runs,
            blocks=blocks,
            families=[self._reader.family],
            notes=sorted(self._notes),
            indivisible=not chart,
        )

    def refuse_without_metric(self) -> None:
        """Raise Damaged where no column was of numbers."""
        if not any(self._kinds.values()):
            raise Damaged("no column of numbers besides its steps and times")

    def _column(self, name: str) -> tuple[Run, str]:
        run, _, metric = name.rpartition(_BETWEEN)
        if run not in self._runs:
            self._runs[run] = self._reader.run(run)
        return self._runs[run], metric

    def _numbers(self, cells: Cells, name: str) -> np.ndarray | None:
        """The column as numbers; None for one of texts or media, which is noted."""
        kind = cells.piece.columns[name].type
        try:
            if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_binary(kind):
                raise Damaged(f"{name} holds {kind}")
            values = cells.numbers(name)
        except Damaged:
            if self._kinds.get(name):
                raise  # it held numbers so far
            self._kinds[name] = False
        else:
            if self._kinds.setdefault(name, True):
                return values
            if np.isnan(values).all():
                return None
        self._notes.add(f"column {name!r} holds other things than numbers and was left out")
        return None


def _kind(head: bytes) -> Format:
    """What an export is written as, whatever it is called."""
    if is_parquet(head):
        return "parquet"
    return "jsonl" if head_text(head).lstrip().startswith("{") else "csv"


def _is_history(path: Path) -> bool:
    """True for a Parquet file of a history that nobody has explained otherwise."""
    try:
        return (
            is_parquet(head_of(path))
            and mapping_beside(path) is None
            and WeightsAndBiases.recognises_columns(parquet_columns(path))
        )
    except Damaged:
        return False


def _is_chart(header: Sequence[str]) -> bool:
    """True for `Step` and columns `<run> - <metric>`, of which each may come with its bounds."""
    if len(header) < 2 or header[0] != CHART_STEP:
        return False
    columns = [name for name in header[1:] if not name.endswith(_BOUNDS)]
    return bool(columns) and all(_BETWEEN in name for name in columns)


def _sampled(cells: Cells, name: str, values: np.ndarray) -> bool:
    """True when a chart's values lie between bounds that are not equal to them."""
    for bound in _BOUNDS:
        if name + bound in cells.piece.columns:
            other = cells.numbers(name + bound)
            both = ~np.isnan(other) & ~np.isnan(values)
            if (other[both] != values[both]).any():
                return True
    return False


def _run_name(path: PurePosixPath) -> str:
    """Folders and file, without what every export is called; the run's id of a history artefact."""
    parts = [*path.parent.parts, path.name.removesuffix(path.suffix)]
    parts = [p for p in parts if not _SAYS_NOTHING.fullmatch(p)]
    return "/".join(found["run"] if (found := _ARTEFACT.fullmatch(p)) else p for p in parts)
