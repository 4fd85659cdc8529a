"""The Sizes page: which sizes of models there are, which two are compared, and at which step."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from typing import Any

from archive.store import Archive
from queries.reading.quantities import Which
from queries.reading.refusals import eval_set_names
from queries.reading.select import RunRow, RunSelection, Selected, select_runs
from queries.reading.sizes import run_sizes, size_words
from ui.models.text import plural, shorten

FINAL = "final"
MOST_SIZES = 1000  # a longer list is no choice
MOST_RUNS_OF_SIZE = 31  # the query counts namings of at most 62 runs
QUICK_LOSSES = 3_000_000  # what is read and compared in about a second
LOSSES_A_SECOND = 2_500_000
# whether the large ones can do it all takes ten times as long: every item is looked at under many namings of the runs
QUICK_ITEMS = 400_000
ITEMS_A_SECOND = 300_000

# all of the ledger, so that no fact is read; n_tokens is that of the eval set
_LOSSES_SQL = """\
SELECT e.hash AS encoding_hash, c.run_id, c.step, max(coalesce(e.n_tokens, 0)) AS n_tokens
FROM cell l
JOIN v_quantity q ON q.quantity_id = l.quantity_id
JOIN v_encoding e ON e.encoding_id = q.encoding_id
JOIN checkpoint c ON c.id = l.subject_id
WHERE l.subject_kind = 1 AND l.state = 1 AND q.measure = 'token_loss' AND c.run_id IN (SELECT unnest($run_ids))
  AND ($with_suspect OR c.integrity = 'ok')
GROUP BY e.hash, c.run_id, c.step
ORDER BY e.hash, c.run_id, c.step"""

_SETS_SQL = """\
SELECT DISTINCT q.eval_set, e.tokenizer, q.encoding_hash
FROM v_quantity q JOIN v_encoding e ON e.encoding_id = q.encoding_id
WHERE q.measure = 'token_loss' AND q.quantity_id IN (SELECT quantity_id FROM cell WHERE subject_kind = 1 AND state = 1)
ORDER BY q.eval_set, q.encoding_hash"""

_RUNS_SQL = """\
SELECT DISTINCT l.quantity_id, coalesce(c.run_id, l.subject_id) AS run_id
FROM cell l
LEFT JOIN checkpoint c ON l.subject_kind = 1 AND c.id = l.subject_id
WHERE l.state = 1 AND l.quantity_id IN (SELECT quantity_id FROM v_quantity WHERE table_name IN (SELECT unnest($tables)))
  AND ((l.subject_kind = 1 AND c.run_id IN (SELECT unnest($run_ids)))
    OR (l.subject_kind = 0 AND l.subject_id IN (SELECT unnest($run_ids))))
ORDER BY ALL"""

_HAS_SQL = "SELECT 1 FROM v_quantity WHERE table_name = $table LIMIT 1"


@dataclass(frozen=True)
class SizesChoices:
    """Everything that was chosen on the page beside the runs; the fields' names are the address's."""

    small: str = ""
    large: str = ""
    step: str = FINAL
    eval_set: str = ""
    variant: str = ""
    all_losses: bool = False
    picture: str = ""
    inclusion: bool = False
    won: str = ""
    sequence: int | None = None
    white: bool = False
    grid_losses: bool = False
    task_metric: str = ""
    measure: str = ""
    curve_variant: str = ""
    part: str = ""
    axis: str = ""
    x_scale: str = ""
    y_scale: str = ""


@dataclass(frozen=True)
class Size:
    """Runs of one condition and one number of parameters. label: the number, and what tells the condition from others."""

    label: str
    family: str
    n_params: float
    runs: tuple[str, ...]
    run_ids: tuple[int, ...]

    @property
    def asked(self) -> tuple[str, ...]:
        """The runs as names in which brackets and stars stand for themselves, as queries take them."""
        return tuple(escape(run) for run in self.runs[:MOST_RUNS_OF_SIZE])

    @property
    def asked_ids(self) -> tuple[int, ...]:
        """The same runs by number."""
        return self.run_ids[:MOST_RUNS_OF_SIZE]


@dataclass(frozen=True)
class Known:
    """All sizes from small to large. n_unknown: runs that nobody says the size of. n_more: sizes beyond the first thousand.

    excluded: (run, reason, who) of what was asked for and is excluded.
    """

    sizes: tuple[Size, ...]
    n_unknown: int
    n_more: int
    excluded: tuple[tuple[str, str, str], ...] = ()

    @property
    def notes(self) -> list[str]:
        """Which runs are not on the page."""
        lines = []
        if self.n_unknown:
            lines.append(
                f"Without {plural(self.n_unknown, 'run')} of unknown size: the number of parameters is neither recorded nor in "
                "the name."
            )
        if self.excluded:
            run, reason, who = self.excluded[0]
            lines.append(
                f"Without {plural(len(self.excluded), 'excluded run')} (first: {run}, {reason!r} by {who}); the switch in the "
                "sidebar brings them in."
            )
        if self.n_more:
            lines.append(f"{self.n_more:,} more sizes are not in these lists; narrow them in the sidebar.")
        return lines


@dataclass(frozen=True)
class Losses:
    """What there is of losses of tokens, by the name of the eval set. steps: of each run. n_tokens: of the eval set."""

    steps: Mapping[str, Mapping[int, tuple[int, ...]]]
    n_tokens: Mapping[str, int]

    def sets(self, *sizes: Size) -> list[str]:
        """Eval sets on which some run of each of the sizes has losses."""
        return [
            name
            for name, runs in self.steps.items()
            if all(any(run in runs for run in size.run_ids) for size in sizes)
        ]

    def of(self, size: Size, eval_set: str) -> bool:
        """Whether any run of a size has losses on an eval set."""
        return eval_set in self.sets(size)

    def shared(self, small: Size, large: Size, eval_set: str) -> list[int]:
        """Steps at which some run of each has losses on an eval set, ascending."""

        def steps(size: Size) -> set[int]:
            return {step for run in size.asked_ids for step in self.steps[eval_set].get(run, ())}

        return sorted(steps(small) & steps(large))


def sizes_of(archive: Archive, *, selection: RunSelection) -> Known:
    """Every size among the runs asked for; raises what `select_runs` does."""
    selected = select_runs(archive, selection)
    sizes = run_sizes(selected)
    members: dict[tuple[float, str, str], list[RunRow]] = {}
    for run in selected.runs:
        n_params = sizes.get(run.run_id)
        if n_params is not None:
            members.setdefault((n_params, run.family, selected.groups[run.run_id]), []).append(run)
    keys = sorted(members)
    labels = _labels([(n, members[n, f, g][0].condition or g) for n, f, g in keys[:MOST_SIZES]])
    found = tuple(
        Size(
            label,
            key[1],
            key[0],
            tuple(run.run for run in members[key]),
            tuple(run.run_id for run in members[key]),
        )
        for label, key in zip(labels, keys, strict=False)
    )
    excluded = tuple((r.run, r.exclusion_reason or "", r.excluded_by or "") for r in selected.excluded)
    return Known(found, len(sizes.unknown), max(0, len(keys) - MOST_SIZES), excluded)


def token_losses(archive: Archive, *, run_ids: Sequence[int], suspect: bool) -> Losses:
    """Which runs have losses of tokens, and at which steps. suspect: whether suspect checkpoints count."""
    names = eval_set_names(
        (row["eval_set"], row["tokenizer"], row["encoding_hash"]) for row in archive.rows(_SETS_SQL)
    )
    steps: dict[str, dict[int, tuple[int, ...]]] = {}
    n_tokens: dict[str, int] = {}
    for row in archive.rows(_LOSSES_SQL, {"run_ids": list(run_ids), "with_suspect": suspect}):
        name, run = names[row["encoding_hash"]], row["run_id"]
        runs = steps.setdefault(name, {})
        runs[run] = (*runs.get(run, ()), int(row["step"]))
        n_tokens[name] = int(row["n_tokens"])
    return Losses(steps, n_tokens)


def sizes_by_quantity(
    archive: Archive, *, sizes: tuple[Size, ...], tables: tuple[str, ...]
) -> dict[int, frozenset[int]]:
    """Quantity of some fact tables -> which of the sizes have it, by their place."""
    at = {run: k for k, size in enumerate(sizes) for run in size.run_ids}
    found: dict[int, set[int]] = {}
    for row in archive.rows(_RUNS_SQL, {"tables": list(tables), "run_ids": list(at)}):
        found.setdefault(row["quantity_id"], set()).add(at[row["run_id"]])
    return {quantity: frozenset(places) for quantity, places in found.items()}


def has_rows(archive: Archive, *, table: str) -> bool:
    """Whether anything is kept in a fact table."""
    return bool(archive.rows(_HAS_SQL, {"table": table}))


def opening(sizes: Sequence[Size], losses: Losses) -> tuple[Size, Size]:
    """The smallest and the largest of a family: of one with losses of the same tokens in both if there is any, else of any.

    Of families alike the one with most sizes, and among them the first. With a single size it is both.
    """

    def ends(among: Sequence[tuple[str, Size]]) -> tuple[Size, Size] | None:
        families: dict[tuple[str, str], list[Size]] = {}
        for eval_set, size in among:
            families.setdefault((eval_set, size.family), []).append(size)
        several = [own for own in families.values() if own[-1].n_params > own[0].n_params]
        if not several:
            return None
        best = max(several, key=lambda own: len({size.n_params for size in own}))
        return best[0], best[-1]

    measured = [(eval_set, size) for size in sizes for eval_set in losses.sets(size)]
    found = ends(measured) or ends([("", size) for size in sizes])
    return found or (sizes[0], sizes[-1])


def what_is_wrong(small: Size, large: Size) -> str:
    """Why the two cannot be compared as a small and a large one; "" where they can."""
    if small == large:
        return "Small and large are the same size: choose another one."
    if small.n_params >= large.n_params:
        return (
            f"The small one has {size_words(small.n_params)} parameters, not fewer than the large one's "
            f"{size_words(large.n_params)}: choose them the other way round."
        )
    return ""


def is_quick(n_losses: int, *, inclusion: bool = False) -> bool:
    """Whether so many losses are compared without being asked. inclusion: in the way that takes longer."""
    return n_losses <= (QUICK_ITEMS if inclusion else QUICK_LOSSES)


def seconds(n_losses: int, *, inclusion: bool = False) -> int:
    """About how long it takes to compare them."""
    return max(1, round(n_losses / (ITEMS_A_SECOND if inclusion else LOSSES_A_SECOND)))


def in_step(step: str) -> Any:
    """The step as queries take it."""
    return FINAL if step == FINAL else int(step)


def with_labels(words: str, small: Size, large: Size) -> str:
    """An answer's words with labels in place of the lists of runs that were asked for."""
    for size in sorted((small, large), key=lambda s: -len(", ".join(s.asked))):
        words = words.replace(", ".join(size.asked), size.label)
    return words


def selection_of(sizes: Sequence[Size], *, excluded: bool) -> RunSelection:
    """All runs of some sizes."""
    return RunSelection(names=tuple(escape(r) for s in sizes for r in s.runs), with_excluded=excluded)


def size_of_run(sizes: Sequence[Size]) -> dict[str, int]:
    """Which of the sizes each run has."""
    return {run: k for k, size in enumerate(sizes) for run in size.runs}


def group_names(selected: Selected, sizes: Sequence[Size]) -> dict[str, int]:
    """Which of the sizes the groups of an answer are; a group of runs of several sizes is the first of them."""
    names: dict[str, int] = {}
    at = {run: k for k, size in enumerate(sizes) for run in size.run_ids}
    for run_id, group in selected.groups.items():
        if run_id in at:
            names.setdefault(group, at[run_id])
    return names


def suspects(which: Which, *, suspect: bool) -> Which:
    """How to ask with suspect checkpoints, where they are wanted."""
    return Which(**which, with_suspect=True) if suspect else which


def _labels(named: Sequence[tuple[float, str]]) -> list[str]:
    """`62.1k`, or `87.1k · n_layers=2` with the words of a condition that not all of them have; unlike one another."""
    words = [[w for w in re.split(r"[,;]?\s+", condition) if w] for _, condition in named]
    shared = set(words[0]).intersection(*words[1:]) if len(named) > 1 else set()
    sizes = [size_words(n) for n, _ in named]
    # a hash tells conditions apart for machines, so it comes only where nothing else does
    short = [
        _label(size, [w for w in own if w not in shared and not w.startswith("#")])
        for size, own in zip(sizes, words, strict=True)
    ]
    if len(set(short)) == len(short):
        return short
    long = [
        _label(size, [w for w in own if w not in shared], 120) for size, own in zip(sizes, words, strict=True)
    ]
    return [
        label if long.count(label) == 1 else f"{label} ({long[:k].count(label) + 1})"
        for k, label in enumerate(long)
    ]


def _label(size: str, words: Sequence[str], width: int = 60) -> str:
    return f"{size} · {shorten(' '.join(words), width)}" if words else size
