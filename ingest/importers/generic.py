"""Anybody's own table (CSV, TSV, JSON lines, Parquet), with a mapping file that says what its columns are.

A table is read piece by piece, so its size does not matter. Nothing is assumed that the mapping does not say:
columns it does not name are left out with a note, and a row without a step or a value gives no result.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, NoReturn

import numpy as np

from archive.records import WHOLE, Checkpoint, Encoding, Family, Measure, Part, Quantity, Run, Source
from ingest.importers.base import Block, Damaged, Importer, ImportFile, Parsed, Subject, importer
from ingest.importers.cells import Cells
from ingest.importers.files import mapping_beside
from ingest.importers.known_measures import known_measure, table_of
from ingest.importers.layers import Layers
from ingest.importers.mapping import (
    SCOPES,
    SEEDS,
    TABLES,
    Constant,
    Meaning,
    Place,
    TableMapping,
    joined,
    read_mapping,
)
from ingest.importers.not_finite import NotFinite
from ingest.importers.pieces import FORMATS, Format, Piece, read_pieces

INDICES = ("layer", "head", "neuron")
NO_STEP = "rows without a step were left out"
NO_VALUE = "a missing value gives no row"


@importer
class Generic(Importer):
    """Rows of a table as the mapping says: logs, scalars, heads, benchmarks or neurons."""

    name = "generic"
    title = "any table, with a mapping file that says what its columns are"
    reads = "CSV, TSV, JSON lines or Parquet with NAME.mapping.toml beside it, or --mapping MAP.toml"
    suffixes = tuple(FORMATS)
    base: ClassVar[Literal[0, 1]] = 0
    units = "as the mapping says; `base` there says from which number layers, heads and neurons count"
    mapped = True

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Never by itself: a mapping says that a file is one of these."""
        return False

    def parse(self, file: ImportFile) -> Parsed:
        """All parts together."""
        return Parsed.joined(self.parse_parts(file))

    def parse_parts(self, file: ImportFile) -> Iterator[Parsed]:
        """A part per piece of the table; what was left out is said with the last."""
        path = file.mapping or mapping_beside(file.path)
        if path is None:
            raise Damaged("no mapping: give --mapping, or put NAME.mapping.toml beside it")
        yield from _Reading(read_mapping(path), self.source, file).parts()


class _Numbers(NamedTuple):
    """A column of numbers: of which quantity and part each row is, the values (NaN = missing), what is said of them.

    not_finite: which of the missing values the file writes as NaN or as an infinity.
    """

    of: np.ndarray
    quantities: list[Quantity]
    parts: list[Part]
    values: np.ndarray
    not_finite: np.ndarray
    extra: dict[str, np.ndarray]


class _Reading:
    """One file on its way through its mapping."""

    def __init__(self, mapping: TableMapping, source: Source, file: ImportFile) -> None:
        self.mapping = mapping
        self.columns = mapping.columns
        self.source = source
        self.file = file
        self.runs: dict[str, Run] = {}
        self.checkpoints: dict[tuple[str, int], Checkpoint] = {}
        self.quantities: dict[tuple[str, str, str], Quantity] = {}
        self.notes: set[str] = set()
        self.not_finite = NotFinite()
        self.neurons = Layers()
        self.family = Family(name=source.name, summary=f"runs of {source.name}")

    def parts(self) -> Iterator[Parsed]:
        """A part per piece."""
        wanted = dict.fromkeys(column for _, column in self.mapping.wanted())
        before: Parsed | None = None
        pieces = read_pieces(
            self.file.path, self._format(), separator=self.mapping.separator, columns=tuple(wanted)
        )
        for piece in pieces:
            self._refuse_unknown(piece)
            if left := [name for name in piece.columns if name not in wanted]:
                self.notes.add(f"columns the mapping does not name were left out: {', '.join(left)}")
            parsed = self._piece(Cells(piece, self.mapping.missing))
            if before is not None:
                yield before
            before = parsed
        assert before is not None, "a table has rows or is refused"
        yield Parsed(
            runs=list(self.runs.values()),
            blocks=[*before.blocks, *self.neurons.finish()],
            families=[self.family],
            notes=[*sorted(self.notes), *self.not_finite.notes()],
        )

    def _format(self) -> Format:
        found = self.mapping.format or FORMATS.get(self.file.path.suffix.lower())
        if found is None:
            raise Damaged(f"suffix {self.file.path.suffix!r} says nothing: give `format` in the mapping")
        return found

    def _refuse_unknown(self, piece: Piece) -> None:
        for key, column in self.mapping.wanted():
            if column not in piece.columns:
                there = ", ".join(list(piece.columns)[:12])
                raise Damaged(f"the mapping's {key} is {column!r}, but the columns are {there}")

    # --- one piece ---------------------------------------------------------------------------------------

    def _piece(self, cells: Cells) -> Parsed:
        steps, has_step = self._whole(cells, "step")
        if not has_step.all():
            self.notes.add(NO_STEP)
        run_of, runs = self._run_of(cells)
        subjects: np.ndarray = _objects(runs)[run_of]
        if self.mapping.table != "log":
            subjects = self._checkpoints_of(cells, subjects, steps, has_step)
        columns = {
            name: self._index(cells, name) for name in INDICES if getattr(self.columns, name) is not None
        }
        if self.mapping.table == "log":
            columns["step"] = steps
        blocks: list[Block] = []
        for numbers in self._numbers(cells):
            there = ~np.isnan(numbers.values)
            if not (there | numbers.not_finite).all():
                self.notes.add(NO_VALUE)
            for row in np.flatnonzero(has_step & numbers.not_finite).tolist():
                measure = numbers.quantities[numbers.of[row]].measure.name
                self.not_finite.add(measure, runs[run_of[row]].name, [int(steps[row])])
            blocks += self._blocks(subjects, numbers, columns, has_step & there)
        return Parsed(runs=list(self.runs.values()), blocks=blocks, families=[self.family])

    def _numbers(self, cells: Cells) -> "Iterator[_Numbers]":
        """Every column of numbers, with what is measured and said of it."""
        places = {name: getattr(self.columns, name) for name in ("metric", "task", "shots", "part")}
        names = list(dict.fromkeys(place for place in places.values() if isinstance(place, str)))
        of, first, said = cells.combinations(names)
        for row, words in zip(first, said, strict=True):
            for name in ("metric", "task"):
                if isinstance(places[name], str) and words[places[name]] is None:
                    raise Damaged(f"row {cells.row(row)}: no {name}: {places[name]} is missing")
        texts = [
            {
                n: joined(p, {k: w or "" for k, w in words.items()}) if p is not None else ""
                for n, p in places.items()
            }
            for words in said
        ]
        if not self.mapping.values:
            assert self.columns.value is not None
            quantities = [
                self._quantity(x["metric"], x, cells.row(r)) for x, r in zip(texts, first, strict=True)
            ]
            meanings = [self.mapping.metrics.get(x["metric"]) or Meaning() for x in texts]
            parts = [_part(x["part"] or m.part) for x, m in zip(texts, meanings, strict=True)]
            place = self.columns.value
            values = self._number(cells, place)
            yield _Numbers(
                of, quantities, parts, values, self._not_finite(cells, place, values), self._said(cells)
            )
        for column, meaning in self.mapping.values.items():
            extra = self._said(cells)
            for name, place in (("se", meaning.se), ("n_items", meaning.n_items)):
                if place:
                    extra[name] = cells.numbers(place)
            quantities = [self._quantity(column, x, cells.row(r)) for x, r in zip(texts, first, strict=True)]
            parts = [_part(x["part"] or meaning.part) for x in texts]
            values = cells.numbers(column)
            yield _Numbers(of, quantities, parts, values, cells.not_finite(column, values), extra)

    def _said(self, cells: Cells) -> dict[str, np.ndarray]:
        places = {name: getattr(self.columns, name) for name in ("se", "chance", "n_items")}
        return {name: self._number(cells, place) for name, place in places.items() if place is not None}

    def _blocks(
        self, subjects: np.ndarray, numbers: "_Numbers", columns: dict[str, np.ndarray], there: np.ndarray
    ) -> Iterator[Block]:
        if self.mapping.table == "neuron":
            rows = np.flatnonzero(there)
            quantities = _objects(numbers.quantities)[numbers.of[rows]].tolist()
            measured = list(zip(subjects[rows].tolist(), quantities, strict=True))
            where = columns["layer"][rows], columns["neuron"][rows]
            yield from self.neurons.add(measured, *where, numbers.values[rows])
            return
        for part in dict.fromkeys(numbers.parts):
            mine = np.array([other == part for other in numbers.parts])
            rows = np.flatnonzero(there & mine[numbers.of])
            if len(rows):
                said = {name: _stored(name, column[rows]) for name, column in numbers.extra.items()}
                yield Block(
                    TABLES[self.mapping.table],
                    subjects[rows].tolist(),
                    _objects(numbers.quantities)[numbers.of[rows]].tolist(),
                    {**{n: c[rows] for n, c in columns.items()}, "value": numbers.values[rows], **said},
                    part,
                )

    # --- cells of a meaning ------------------------------------------------------------------------------

    def _whole(self, cells: Cells, name: str) -> tuple[np.ndarray, np.ndarray]:
        place = getattr(self.columns, name)
        if isinstance(place, str):
            return cells.whole(place)
        n = cells.piece.n_rows
        return np.full(n, self._constant(name, place), np.int64), np.ones(n, bool)

    def _constant(self, name: str, place: Constant) -> int:
        if not isinstance(place.constant, int) or place.constant < 0:
            raise Damaged(
                f"the mapping's columns.{name} is {place.constant!r}, expected a whole number of at least 0"
            )
        return place.constant

    def _index(self, cells: Cells, name: str) -> np.ndarray:
        """Layers, heads and neurons from 0."""
        numbers, there = self._whole(cells, name)
        wrong = ~there | (numbers < self.mapping.base)
        if wrong.any():
            row = cells.row(int(np.flatnonzero(wrong)[0]))
            raise Damaged(
                f"row {row}: no {name}, or one below {self.mapping.base}, from which the mapping counts"
            )
        return numbers - self.mapping.base

    def _number(self, cells: Cells, place: Place) -> np.ndarray:
        if isinstance(place, str):
            return cells.numbers(place)
        try:
            return np.full(cells.piece.n_rows, float(place.constant))
        except ValueError:
            raise Damaged(f"the mapping has {place.constant!r} where a number belongs") from None

    def _not_finite(self, cells: Cells, place: Place, values: np.ndarray) -> np.ndarray:
        return cells.not_finite(place, values) if isinstance(place, str) else np.zeros(len(values), bool)

    # --- records -----------------------------------------------------------------------------------------

    def _run_of(self, cells: Cells) -> tuple[np.ndarray, list[Run]]:
        """Which run each row is of, and those runs."""
        prefixes = ("columns.run", "columns.condition", *(f"columns.{seed}" for seed in SEEDS))
        names = list(dict.fromkeys(c for key, c in self.mapping.wanted() if key in prefixes))
        run_of, first, said = cells.combinations(names)
        return run_of, [self._run(cells, row, cell) for row, cell in zip(first, said, strict=True)]

    def _run(self, cells: Cells, row: int, cell: dict[str, str | None]) -> Run:
        texts = {name: word or "" for name, word in cell.items()}
        name = joined(self.columns.run, texts)
        if not name or any(cell[c] is None for k, c in self.mapping.wanted() if k == "columns.run"):
            raise Damaged(f"row {cells.row(row)}: no run: {self.columns.run} is missing")
        seeds = {seed: self._seed(cells, row, seed, texts) for seed in SEEDS}
        run = Run(
            name=f"{self.source.name}/{name}",
            family=self.family.name,
            source=self.source.name,
            condition=joined(self.columns.condition, texts) if self.columns.condition is not None else "",
            aliases=(name,),
            **seeds,
        )
        known = self.runs.setdefault(run.name, run)
        if known != run:
            differs = next(f for f in ("condition", *SEEDS) if getattr(known, f) != getattr(run, f))
            raise Damaged(
                f"row {cells.row(row)}: run {name!r} has {differs} {getattr(run, differs)!r} here, "
                f"{getattr(known, differs)!r} above"
            )
        return known

    def _seed(self, cells: Cells, row: int, seed: str, texts: dict[str, str]) -> int | None:
        place = getattr(self.columns, seed)
        word = "" if place is None else joined(place, texts)
        if not word:
            return None
        try:
            return int(word)
        except ValueError:
            raise Damaged(f"row {cells.row(row)}: {seed} is {word!r}, expected a whole number") from None

    def _checkpoints_of(
        self, cells: Cells, runs: np.ndarray, steps: np.ndarray, has_step: np.ndarray
    ) -> np.ndarray:
        tokens = None
        if self.columns.tokens_seen is not None:
            tokens = self._number(cells, self.columns.tokens_seen)
        found: list[Subject] = []
        for i, (run, step, there) in enumerate(
            zip(runs.tolist(), steps.tolist(), has_step.tolist(), strict=True)
        ):
            if not there:
                found.append(run)  # its row is left out
                continue
            seen = None if tokens is None or np.isnan(tokens[i]) else float(tokens[i])
            checkpoint = self.checkpoints.get((run.name, step))
            if checkpoint is None:
                checkpoint = Checkpoint(run=run.name, step=step, tokens_seen=seen)
                self.checkpoints[run.name, step] = checkpoint
            elif checkpoint.tokens_seen != seen:
                raise Damaged(
                    f"row {cells.row(i)}: step {step} has tokens_seen {seen} here, {checkpoint.tokens_seen} above"
                )
            found.append(checkpoint)
        return _objects(found)

    def _quantity(self, word: str, texts: dict[str, str], row: int) -> Quantity:
        task, shots = texts["task"], texts["shots"]
        key = (word, task, shots)
        if key not in self.quantities:
            meaning = self.mapping.values.get(word) or self.mapping.metrics.get(word) or Meaning()
            params: dict[str, int | str] = {}
            encoding: dict[str, Encoding] = {}
            if self.mapping.table == "benchmark":
                encoding = {"encoding": Encoding.named_only(task, source=self.source.name)}
                params = {"series": ""}
                if shots:
                    if not shots.isdecimal():
                        raise Damaged(f"row {row}: shots is {shots!r}, expected a whole number")
                    params["num_fewshot"] = int(shots)
            self.quantities[key] = Quantity(
                measure=self._measure(word, meaning),
                params=params,
                weight_processing="unknown",
                dtype="unknown",
                source=self.source,
                **encoding,
            )
        return self.quantities[key]

    def _measure(self, word: str, meaning: Meaning) -> Measure:
        table = TABLES[self.mapping.table]
        known = known_measure(meaning.measure, table) if meaning.measure else None
        if known is not None:
            if meaning.unit not in ("unknown", known.unit):
                _contradicts(word, known, "unit", meaning.unit, known.unit)
            if meaning.direction not in ("neither", known.direction):
                _contradicts(word, known, "direction", meaning.direction, known.direction)
            return known
        if meaning.measure and (elsewhere := table_of(meaning.measure)):
            raise Damaged(
                f"the mapping gives {word!r} the measure {meaning.measure}, which has its place in {elsewhere}, not in {table}: "
                "change `table`, or give it another `measure`"
            )
        return Measure(
            name=meaning.measure or f"{self.source.name}.{word}",
            scope=SCOPES[self.mapping.table],
            table=table,
            unit=meaning.unit,
            lower_bound=meaning.lower_bound,
            upper_bound=meaning.upper_bound,
            direction=meaning.direction,
            version=meaning.version,
            summary=meaning.summary or f"{word!r} as {self.source.name} gives it.",
        )


def _contradicts(word: str, known: Measure, what: str, said: str, expected: str) -> NoReturn:
    raise Damaged(
        f"the mapping gives {word!r} the {what} {said!r}, but {known.name} has {expected!r} in every archive: convert "
        f"the numbers, or give them another `measure`"
    )


def _objects(things: Sequence[Any]) -> np.ndarray:
    found = np.empty(len(things), dtype=object)
    found[:] = things
    return found


def _stored(name: str, values: np.ndarray) -> list[float | None] | list[int | None]:
    """Standard errors, chances and counts, None where one is missing."""
    if name == "n_items":
        return [None if np.isnan(v) else int(v) for v in values.tolist()]
    return [None if np.isnan(v) else v for v in values.tolist()]


def _part(name: str) -> Part:
    return Part(kind="split", name=name) if name else WHOLE
