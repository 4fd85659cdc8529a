"""The Seeds page: what runs may be compared by, which runs have it at which steps, and what was chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archive.store import Archive
from queries.reading.checkpoints import find_left_out
from queries.reading.quantities import choose_quantity
from queries.reading.select import RunRow, RunSelection, select_runs
from queries.reading.token_outputs import By
from ui.models.component_sets import ComponentSet, compared_sets, component_sets, named, which_of

JS, KL, TOP, RANK = "JS divergence", "KL divergence", "same top token", "rank correlation of losses"
CKA, HEADS, NEURONS = "CKA of layers", "matched heads", "matched neurons"
LOSSES = "token_loss"

QUICK = 1.5  # seconds; what takes longer waits until it is asked for
# seconds on one slow core: of one answer, of one pair of runs, and of one token of one pair
_COST: Mapping[str, tuple[float, float, float]] = {
    "token_top": (0.2, 0.0, 22e-6),
    LOSSES: (0.1, 0.0, 0.6e-6),
    "head.signature": (0.1, 0.015, 0.0),
}
_CHEAP = 0.1, 0.002, 0.0

_STEPS_SQL = """\
SELECT c.step, list(DISTINCT c.run_id) AS run_ids
FROM cell l JOIN checkpoint c ON c.id = l.subject_id
WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id = $quantity_id AND c.run_id IN (SELECT unnest($run_ids))
  AND c.id NOT IN (SELECT unnest($left_out))
GROUP BY c.step ORDER BY c.step"""

_PAIR_STEPS_SQL = """\
SELECT b.step, list(DISTINCT a.run_id) || list(DISTINCT b.run_id) AS run_ids
FROM cell l
JOIN checkpoint_pair k ON k.id = l.subject_id
JOIN checkpoint a ON a.id = k.checkpoint_a
JOIN checkpoint b ON b.id = k.checkpoint_b
WHERE l.subject_kind = 2 AND l.state = 1 AND l.quantity_id = $quantity_id AND a.run_id <> b.run_id
  AND a.run_id IN (SELECT unnest($run_ids)) AND b.run_id IN (SELECT unnest($run_ids))
  AND ($suspect OR (a.integrity = 'ok' AND b.integrity = 'ok'))
GROUP BY b.step ORDER BY b.step"""

_DOUBTS_SQL = """\
SELECT r.name AS run, c.integrity, c.integrity_note AS note
FROM checkpoint c JOIN run r ON r.id = c.run_id
WHERE c.step = $step AND c.integrity <> 'ok' AND r.name IN (SELECT unnest($runs))
ORDER BY r.name"""

_TOKENS_SQL = """\
SELECT coalesce(e.n_tokens, 0) AS n FROM v_quantity q JOIN v_encoding e ON e.encoding_id = q.encoding_id
WHERE q.quantity_id = $quantity_id"""


@dataclass(frozen=True)
class SeedsChoices:
    """Everything that was chosen on the page beside the runs; the fields' names are the address's.

    work, over_training, index: whether what takes long was asked for.
    """

    by: str = ""
    eval_set: str = ""
    variant: str = ""
    step: int | None = None
    colours: str = ""
    work: bool = False
    over_training: bool = False
    x_scale: str = ""
    y_scale: str = ""
    tokens_on: str = ""
    sort: str = ""
    sequence: int | None = None
    white: bool = False
    index: bool = False


@dataclass(frozen=True)
class Kind:
    """One number that pairs of runs may be compared by, of one eval set. known: what must be stored for it.

    label: what people call it. rest: what tells it from others of that label and eval set. by: how outputs are read.
    """

    label: str
    rest: str
    known: ComponentSet
    by: By = "auto"

    @property
    def eval_set(self) -> str:
        """The eval set of what must be stored."""
        return self.known.eval_set

    @property
    def of_pairs(self) -> bool:
        """True where it is stored per pair of checkpoints, not worked out from what each run has."""
        return self.known.measure in ("output_divergence", "top1_agreement", "cka", "neuron_matching")

    @property
    def most_runs(self) -> int:
        """How many runs one answer takes: what queries allow, and what a figure can hold."""
        return 12 if self.label == HEADS else 16

    def seconds(self, n_runs: int, n_tokens: int, n_steps: int = 1) -> float:
        """About how long answers at so many steps take."""
        whole, pair, token = _COST.get(self.known.measure, _CHEAP)
        n_pairs = n_runs * (n_runs - 1) / 2
        return n_steps * (whole + n_pairs * (pair + token * n_tokens))


@dataclass(frozen=True)
class SeedRun:
    """A run with what it repeats and its seeds."""

    run: str
    group: str
    init: int | None
    order: int | None
    split: int | None

    @property
    def seeds(self) -> str:
        """The seeds that are known, such as `init 3, data order 0`."""
        known = (("init", self.init), ("data order", self.order), ("split", self.split))
        return ", ".join(f"{name} {value}" for name, value in known if value is not None) or "seeds not known"


@dataclass(frozen=True)
class Compared:
    """Which runs are compared, in the order of the figure, and the steps at which at least two of them can be.

    n_runs: that have the numbers, before the figure's limit.
    """

    runs: tuple[SeedRun, ...]
    n_runs: int
    steps: tuple[int, ...]
    n_tokens: int

    def selection(self, asked: RunSelection) -> RunSelection:
        """The runs to ask about: as asked, or by name where not all of them are drawn."""
        if self.n_runs == len(self.runs):
            return asked
        return named(*(r.run for r in self.runs), excluded=asked.with_excluded)

    @property
    def cut(self) -> list[str]:
        """What to say where there are more runs than are compared."""
        if self.n_runs == len(self.runs):
            return []
        return [f"{len(self.runs)} of {self.n_runs} runs are compared; choose others in the sidebar."]


def kinds(archive: Archive) -> list[Kind]:
    """Everything the archive can compare runs by, in the order of the picker; what is quick and exact first."""
    stored = compared_sets(archive)

    def of(measure: str) -> list[ComponentSet]:
        return [s for s in stored if s.measure == measure]

    tops = [s for s in component_sets(archive, table="fact_token_top") if s.measure == "token_top"]
    losses = [s for s in component_sets(archive, table="fact_token") if s.measure == LOSSES]
    heads = [s for s in component_sets(archive, table="fact_vector") if s.measure == "head.signature"]
    exact = of("output_divergence")
    same = {s.eval_set for s in of("top1_agreement")}
    found = []
    for label in (JS, KL, TOP):
        found += [
            _kind(label, s, "comparisons", "all outputs") for s in exact if label != TOP or s.eval_set in same
        ]
        found += [_kind(label, s, "auto", "most likely tokens") for s in tops]
    found += [_kind(RANK, s, "losses") for s in losses]
    found += [_kind(CKA, s) for s in of("cka")]
    found += [_kind(HEADS, s) for s in heads[:1]]
    found += [_kind(NEURONS, s) for s in of("neuron_matching")]
    return found


def first_kind(found: Sequence[Kind]) -> str:
    """What to open with: divergences of all outputs, else what is worked out quickly."""
    return next((k.label for k in found if k.known.measure != "token_top"), found[0].label)


def compared(archive: Archive, *, selection: RunSelection, kind: Kind, suspect: bool) -> Compared:
    """Runs and steps of a kind; raises what `choose_quantity` does where runs do not agree on one quantity."""
    selected = select_runs(archive, selection)
    which = which_of(kind.known, suspect=suspect)
    table = kind.known.table
    choice = choose_quantity(archive, selected, [kind.known.measure], which, tables=(table,))
    groups = selected.groups
    quantity = choice.quantity.quantity_id
    everybody: dict[str, Any] = {"quantity_id": quantity, "run_ids": choice.selected.ids}
    if kind.of_pairs:
        sql, everybody = _PAIR_STEPS_SQL, everybody | {"suspect": suspect}
    else:
        sql, everybody = _STEPS_SQL, everybody | {"left_out": find_left_out(archive, choice, which).ids}
    at = {int(row["step"]): set(row["run_ids"]) for row in archive.rows(sql, everybody)}
    there = set().union(*at.values()) if at else set()
    ordered = seed_order([r for r in choice.selected.runs if r.run_id in there], groups)
    kept = ordered[: kind.most_runs]
    ids = {r.run_id for r in kept}
    return Compared(
        tuple(_seed_run(r, groups) for r in kept),
        len(ordered),
        tuple(step for step, runs in at.items() if len(runs & ids) > 1),
        int(archive.rows(_TOKENS_SQL, {"quantity_id": quantity})[0]["n"]),
    )


def doubts(archive: Archive, *, runs: Sequence[SeedRun], step: int) -> list[str]:
    """What to say of suspect checkpoints among those that are compared at a step."""
    rows = archive.rows(_DOUBTS_SQL, {"step": step, "runs": [r.run for r in runs]})
    return [
        f"▲ {row['run']} at step {step:,} is a suspect checkpoint: {row['integrity']} {row['note'] or ''}".rstrip()
        + "."
        for row in rows
    ]


def seed_order(runs: Sequence[RunRow], groups: Mapping[int, str]) -> list[RunRow]:
    """By condition, then init, then data order, then split; a seed that is not known comes last."""

    def place(seed: int | None) -> float:
        return float("inf") if seed is None else seed

    return sorted(
        runs,
        key=lambda r: (
            groups[r.run_id],
            place(r.init_seed),
            place(r.data_order_seed),
            place(r.split_seed),
            r.run,
        ),
    )


def _seed_run(run: RunRow, groups: Mapping[int, str]) -> SeedRun:
    return SeedRun(run.run, groups[run.run_id], run.init_seed, run.data_order_seed, run.split_seed)


def _kind(label: str, known: ComponentSet, by: By = "auto", source: str = "") -> Kind:
    return Kind(label, " · ".join(words for words in (source, known.rest) if words), known, by)
