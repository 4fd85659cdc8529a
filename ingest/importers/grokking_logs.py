"""Training logs of grokking runs: JSONL with `_meta` first and `_summary` last.

The format of PeterPonyu/muon-norm-cap-grokking (experiments/results). Its one `seed` seeds both the initial
weights and the train/test split (experiments/grokking/train.py: `torch.manual_seed(seed)`,
`train_test_split(..., seed=seed)`); training is full batch, so no order of data exists.
"""

import itertools
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from archive.identity import content_hash
from archive.records import WHOLE, Family, Measure, Part, Quantity, Run, Source
from ingest.importers.base import Block, Damaged, Importer, ImportFile, Parsed, importer
from ingest.importers.files import strict_json

CITATION = "https://github.com/PeterPonyu/muon-norm-cap-grokking, experiments/grokking/train.py"
_SPLIT_FIELD = re.compile(r"(train|test|val|valid|validation)_(loss|acc|accuracy)")
_SEED_SUFFIX = re.compile(r"[_-]s(?:eed)?_?(\d+)$")
_EVENTS = ("memorize_step", "grok_step")
# leading folders that say nothing of the experiment; the others tell apart runs whose files have one name
_GENERIC_FOLDERS = frozenset(
    {"experiments", "results", "result", "logs", "log", "runs", "data", "output", "outputs"}
)
SEED_NOTE = (
    "one seed is recorded: the program these logs are from uses it for the initial weights and for the train/test "
    "split, and trains on the full batch, so there is no data order"
)

LOSS = Measure(
    name="log.loss",
    scope="run",
    table="fact_log",
    unit="nats",
    lower_bound=0.0,
    direction="lower is better",
    summary="Mean cross-entropy as the training program logged it.",
)
ACCURACY = Measure(
    name="log.accuracy",
    scope="run",
    table="fact_log",
    unit="share",
    lower_bound=0.0,
    upper_bound=1.0,
    direction="higher is better",
    summary="Share of correct predictions as the training program logged it.",
)
# (unit, meaning) of this program's other fields; a field not listed is kept with its unit unknown
_FIELDS = {
    "wn_total": ("L2 norm", "L2 norm of all parameters"),
    "wn_hidden": ("L2 norm", "L2 norm of all matrices but embedding and unembedding"),
    "wn_embed": ("L2 norm", "L2 norm of embedding and unembedding"),
    "cos_init": ("cosine", "Cosine between the hidden matrices and their initial values"),
    "cos_mem": ("cosine", "Cosine between the hidden matrices and their values at memorisation"),
    "rot_rate": ("1 - cosine", "Rotation of the hidden matrices since the previous evaluation"),
    "eff_rank_mean": ("rank", "Mean entropy-based effective rank of the hidden matrices"),
    "stable_rank_mean": ("rank", "Mean stable rank of the hidden matrices"),
}
_EVENT_MEANING = {
    "memorize_step": "First logged step with training accuracy of at least 0.99, given by the authors.",
    "grok_step": "First logged step with test accuracy of at least 0.95, given by the authors.",
}


def field_measure(field: str) -> Measure:
    """The measure of a logged field that is neither a loss nor an accuracy."""
    unit, meaning = _FIELDS.get(
        field, ("unknown", f"Field {field!r} of a training log, as its authors logged it")
    )
    known = field in _FIELDS
    return Measure(
        name=f"log.{field}",
        scope="run",
        table="fact_log",
        unit=unit,
        summary=f"{meaning}.",
        citation=CITATION if known else "",
    )


def event_measure(name: str) -> Measure:
    """The measure of an event the authors state."""
    return Measure(
        name=f"event.{name}",
        scope="run",
        table="fact_event",
        unit="step",
        lower_bound=0.0,
        summary=_EVENT_MEANING[name],
        citation=CITATION,
    )


class Series(NamedTuple):
    """One logged field as it is kept."""

    quantity: Quantity
    part: Part


class Log(NamedTuple):
    """A file taken apart: meta and summary records, and per field its steps and values."""

    meta: dict[str, object]
    summary: dict[str, object] | None
    points: dict[str, tuple[list[int], list[float]]]
    last_step: int
    left_out: tuple[str, ...]


@importer
class GrokkingLogs(Importer):
    """Every numeric field of every line becomes a log series; the authors' steps become events."""

    name = "grokking-logs"
    title = "training logs with the authors' memorisation and grokking steps (one run a file)"
    reads = "JSON lines: `_meta`, then one line per evaluation with `step`, then `_summary`"
    suffixes = (".jsonl",)
    base: ClassVar[Literal[0, 1]] = 0
    units = "losses in nats, accuracies as shares, other fields as logged; step = optimiser updates"

    def __init__(self, source: Source) -> None:
        """`source` also names the runs: source/folders/file."""
        super().__init__(source)
        self._series: dict[str, Series] = {}
        self._events = {name: self._quantity(event_measure(name)) for name in _EVENTS}
        self._family = Family(name=source.name, summary=f"training runs logged by {source.name}")

    @classmethod
    def recognises(cls, head: str) -> bool:
        """The first record is `{"_meta": ...}`."""
        return re.match(r'\s*\{\s*"_meta"\s*:', head) is not None

    def parse(self, file: ImportFile) -> Parsed:
        """One run: its log series and, where a summary states them, its events."""
        log = read_log(file.text)
        run, notes = self._run(file, log)
        blocks: list[Block] = []
        fields: dict[tuple[str, Part], str] = {}
        for field, (steps, values) in log.points.items():
            quantity, part = self._series_of(field)
            other = fields.setdefault((quantity.measure.name, part), field)
            if other != field:
                raise Damaged(f"{other!r} and {field!r} are both {quantity.measure.name} of {part.name}")
            blocks.append(Block("fact_log", run, quantity, _sorted_points(field, steps, values), part))
        if log.summary is None:
            notes.append("no _summary: no author events")
        else:
            blocks += self._event_blocks(run, log, log.summary)
        notes += [f"field {name!r} is not a number and was left out" for name in log.left_out]
        return Parsed(runs=[run], blocks=blocks, families=[self._family], notes=notes, indivisible=True)

    def _quantity(self, measure: Measure) -> Quantity:
        return Quantity(measure=measure, dtype="unknown", source=self.source)

    def _series_of(self, field: str) -> Series:
        if field not in self._series:
            match = _SPLIT_FIELD.fullmatch(field)
            if match:
                measure = LOSS if match.group(2) == "loss" else ACCURACY
                split = {"val": "validation", "valid": "validation"}.get(match.group(1), match.group(1))
                shared = next(
                    (s.quantity for s in self._series.values() if s.quantity.measure is measure), None
                )
                self._series[field] = Series(
                    shared or self._quantity(measure), Part(kind="split", name=split)
                )
            else:
                self._series[field] = Series(self._quantity(field_measure(field)), WHOLE)
        return self._series[field]

    def _event_blocks(self, run: Run, log: Log, summary: Mapping[str, object]) -> list[Block]:
        blocks = []
        for name, quantity in self._events.items():
            if name not in summary:
                continue
            stated = summary[name]
            step = None if stated is None else _whole_number(stated, f"_summary.{name}")
            columns: dict[str, list[int | None]] = {
                "ordinal": [0],
                "step": [step],
                "censored_at": [log.last_step if step is None else None],
            }
            blocks.append(Block("fact_event", run, quantity, columns))
        return blocks

    def _run(self, file: ImportFile, log: Log) -> tuple[Run, list[str]]:
        summary = log.summary or {}
        facts = {**log.meta, **summary}
        notes = [
            f"_meta and _summary disagree about {k!r}"
            for k in log.meta
            if k in summary and summary[k] != log.meta[k]
        ]
        path = PurePosixPath(file.relative)
        folder = list(itertools.dropwhile(lambda name: name.lower() in _GENERIC_FOLDERS, path.parent.parts))
        suffix = _SEED_SUFFIX.search(path.stem)
        seed = int(suffix.group(1)) if suffix else None
        if facts.get("seed") is not None:
            inside = _whole_number(facts["seed"], "seed")
            if seed not in (None, inside):
                notes.append("the name gives another seed than the file; filed as the file says")
            seed = inside
        if suffix:
            condition = path.stem[: suffix.start()]
        else:
            settings = {k: v for k, v in log.meta.items() if k != "seed"}
            condition = f"settings-{content_hash(settings)[:12]}"
        d_model, mlp_ratio = _number_of(facts, "d_model"), _number_of(facts, "mlp_ratio")
        run = Run(
            name="/".join([self.source.name, *folder, path.stem]),
            family=self._family.name,
            source=self.source.name,
            n_params=_number_of(facts, "n_params"),
            n_layers=_number_of(facts, "n_layers"),
            n_heads=_number_of(facts, "n_heads"),
            d_model=d_model,
            d_mlp=d_model * mlp_ratio if d_model and mlp_ratio else None,
            init_seed=seed,
            split_seed=seed,
            condition="/".join([self.source.name, *folder, condition]),
            config={k: v for k, v in facts.items() if k not in _EVENTS},
            final_step=log.last_step,
            aliases=("/".join([*folder, path.stem]),),
            notes=(SEED_NOTE,) if seed is not None else (),
        )
        return run, notes


def read_log(text: str) -> Log:
    """Take a log apart; null is a value that was not recorded, so its point is left out.

    Raises Damaged for a line that is no JSON object, NaN, a step that is missing or given twice, records
    out of place, and a log without any evaluation.
    """
    lines = text.removesuffix("\n").split("\n")  # not splitlines: U+2028 may stand inside a JSON string
    meta: dict[str, object] = {}
    summary: dict[str, object] | None = None
    points: dict[str, tuple[list[int], list[float]]] = {}
    left_out: Counter[str] = Counter()
    seen: set[int] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = _record(line, number, last=number == len(lines))
        if summary is not None:
            raise Damaged(f"line {number}: a record after _summary")
        if "_meta" in record:
            if number != 1:
                raise Damaged(f"line {number}: a second _meta; one file holds one run")
            meta = _object(record["_meta"], "_meta", number)
        elif "_summary" in record:
            summary = _object(record["_summary"], "_summary", number)
        else:
            step = _whole_number(record.pop("step", None), f"line {number}: step")
            if step in seen:
                raise Damaged(f"line {number}: step {step} is given twice")
            seen.add(step)
            for name, value in record.items():
                # bool is an int to Python, but true is no measurement
                if isinstance(value, int | float) and not isinstance(value, bool):
                    steps, values = points.setdefault(name, ([], []))
                    steps.append(step)
                    values.append(float(value))
                elif value is not None:
                    left_out[name] += 1
    if not seen:
        raise Damaged("no evaluation lines: nothing between _meta and the end")
    return Log(meta, summary, points, max(seen), tuple(left_out))


def _record(line: str, number: int, *, last: bool) -> dict[str, object]:
    try:
        return _object(strict_json(line), "the line", number)
    except Damaged as error:
        cut = last and not line.rstrip().endswith("}")
        raise Damaged(f"line {number}: {'cut off; ' if cut else ''}{error}") from None


def _object(value: object, what: str, number: int) -> dict[str, object]:
    if not isinstance(value, dict):
        raise Damaged(f"line {number}: {what} is {type(value).__name__}, expected an object")
    return value


def _whole_number(value: object, what: str) -> int:
    whole = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )
    if not whole or not 0 <= int(value) < 2**63:  # type: ignore[call-overload]  # whole implies a number
        raise Damaged(f"{what} is {value!r}, expected a whole number of at least 0")
    return int(value)  # type: ignore[call-overload,no-any-return]  # as above


def _number_of(facts: Mapping[str, object], name: str) -> int | None:
    value = facts.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _sorted_points(field: str, steps: list[int], values: list[float]) -> dict[str, np.ndarray]:
    step, value = np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64)
    if not np.isfinite(value).all():
        at = int(step[~np.isfinite(value)][0])
        raise Damaged(
            f"{field} is {values[steps.index(at)]} at step {at}; a value that is missing is written null"
        )
    order = np.argsort(step, kind="stable")
    return {"step": step[order], "value": value[order]}
