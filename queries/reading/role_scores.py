"""Reading the scores that roles are made of, for every head of every run, and judging the heads by them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.errors import NotComparable, UnknownName, UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, Step, find_left_outs, pick_checkpoints
from queries.reading.quantities import Choice, Quantity, Want, Which, choose_quantities
from queries.reading.refusals import told
from queries.reading.roles import SCORES, Levels, Role, Score, roles_asked
from queries.reading.select import Selected
from queries.reading.tables import floats
from queries.results import readable_sql
from queries.stats.bounds import all_beyond, any_short, beyond_or_short
from queries.stats.multiple import holm

Floats = NDArray[np.float64]
Error = UsageError | NotComparable

TOTAL = "total"
# scores that exist on repeated tokens only: where they are is where the others of that kind are read too
_ONLY_ON_REPEATS = ("head.prefix_matching", "head.duplicate_token")

# what is read of each score; where prompts come in clusters these are what a standard error rests on
_COLUMNS = {
    "value": "f.value",
    "chance": "f.chance",
    "error": "f.se",
    "n": "coalesce(f.n_clusters, f.n_items)",
}

_PLACES_SQL = """\
SELECT DISTINCT q.measure, q.eval_set, e.tokenizer, q.encoding_hash
FROM v_quantity q JOIN v_encoding e ON e.encoding_id = q.encoding_id
WHERE q.measure IN (SELECT unnest($measures))
ORDER BY ALL"""


@dataclass(frozen=True)
class RoleChoices:
    """Roles that can be judged, and the quantity behind each score.

    by_score: by the names of `roles.SCORES`, with "total" for the logit difference that direct effects add up to.
    missing: roles asked for that lack a score they need, with why in few words and as an error.
    """

    roles: Mapping[str, Role]
    by_score: Mapping[str, Choice]
    missing: Mapping[str, tuple[str, Error]]

    @property
    def needed(self) -> list[str]:
        """Scores that decide, each once."""
        return list(dict.fromkeys(score for role in self.roles.values() for score in role.scores))

    @property
    def run_ids(self) -> list[int]:
        """Runs that have the scores of at least one role."""
        return sorted({run for role in self.roles.values() for run in self.having(role)})

    def having(self, role: Role) -> set[int]:
        """Runs with every score that a role needs."""
        return set.intersection(*(set(self.by_score[score].selected.ids) for score in role.scores))

    @property
    def limits(self) -> list[str]:
        """What to say about the choice."""
        lines = list(dict.fromkeys(note for choice in self.by_score.values() for note in choice.notes))
        if self.missing:
            told = ", ".join(f"{name} ({why})" for name, (why, _) in self.missing.items())
            lines.append(
                f"Roles not judged: {told}; `pathscope ingest STUDY.toml --fill MEASURE` measures one."
            )
        return lines


@dataclass(frozen=True)
class Readings:
    """One row per run, checkpoint, layer and head, sorted so.

    rows: for every score its value, chance, error (standard) and n (clusters of items, where there are none items).
    """

    rows: pa.Table
    left_out: LeftOuts
    sql: str

    def column(self, name: str) -> Floats:
        """A column as float64, NaN where there is nothing."""
        return floats(self.rows, name)


@dataclass(frozen=True)
class Judged:
    """Heads judged by one role, one entry per row of `Readings`.

    score: the least of value over bound among what the role needs, so 1 or more where every estimate is at its
    bound. p: of the test that the head lacks the role (some true value is short of its bound). p_short: of the
    test that it has it. Both NaN where a standard error is missing.
    """

    score: Floats
    p: Floats
    p_short: Floats


def choose_scores(
    archive: Archive,
    selected: Selected,
    asked: tuple[str, str],
    prompts: str,
    which: Which,
    *,
    beside: bool = False,
) -> RoleChoices:
    """The quantities behind the roles of a task: three statements. `which["eval_set"]` is that of repeated tokens.

    asked: task and role. beside: also what is shown beside. Raises UnknownName for a role or an eval set of prompts
    that is not there, and where no role asked for can be judged the reason for the first.
    """
    task, role = asked
    roles = roles_asked(task, role)
    needed = dict.fromkeys(name for r in roles.values() for name in r.scores)
    shown = dict.fromkeys(name for r in roles.values() for name in r.beside if beside)
    names = list({**needed, **shown})
    measures = sorted({SCORES[name].measure for name in names} | set(_ONLY_ON_REPEATS))
    places = archive.rows(_PLACES_SQL, {"measures": measures})
    prompts = _prompts(places, list(needed), prompts or task)
    free = which.copy()
    repeats = _repeats(places, free.pop("eval_set", None))
    wants = [_want(SCORES[name], prompts, repeats) for name in names]
    if "dla" in names and beside:
        total = Want(("logit_attribution",), ("fact_scalar",), fits=partial(_is_on, prompts))
        names, wants = [*names, TOTAL], [*wants, total]
    found = dict(zip(names, choose_quantities(archive, selected, wants, free), strict=True))
    chosen = {name: choice for name, choice in found.items() if isinstance(choice, Choice)}
    missing: dict[str, tuple[str, Error]] = {}
    for name, wanted in roles.items():
        lacking = [score for score in wanted.scores if score not in chosen]
        if lacking:
            score, found_there = SCORES[lacking[0]], found[lacking[0]]
            mixed = isinstance(found_there, NotComparable)
            elsewhere = [str(row["eval_set"]) for row in places if row["measure"] == score.measure]
            there = f"no {score.called}" + (
                f" there, only on {', '.join(dict.fromkeys(elsewhere))}" if elsewhere else ""
            )
            why = f"{score.called} differs between runs" if mixed else there
            missing[name] = why, _error(score, found_there, which)
    usable = {name: r for name, r in roles.items() if name not in missing}
    choices = RoleChoices(usable, chosen, missing)
    if not usable:
        raise min((e for _, e in missing.values()), key=lambda error: not isinstance(error, NotComparable))
    if not choices.run_ids:
        first = next(iter(usable.values()))
        raise UsageError(
            f"no run has all of {', '.join(SCORES[score].called for score in first.scores)}; `pathscope status` shows what "
            "each has, `pathscope ingest STUDY.toml --fill MEASURE` measures the rest."
        )
    return choices


def read_scores(archive: Archive, choices: RoleChoices, step: Step | None, which: Which) -> Readings:
    """All scores at one checkpoint of each run (None: at every checkpoint). One statement.

    step "final": the last of the checkpoints that have the most of the scores that decide. Raises UsageError naming the
    nearest steps where no run has any at `step`.
    """
    left_out = find_left_outs(archive, choices.by_score.values(), which)
    heads = {name: c for name, c in choices.by_score.items() if name != TOTAL}
    total = choices.by_score.get(TOTAL)
    parameters: dict[str, object] = {
        "labels": list(heads),
        "quantity_ids": [c.quantity.quantity_id for c in heads.values()],
        "deciding": [choices.by_score[name].quantity.quantity_id for name in choices.needed],
        "total_id": total.quantity.quantity_id if total else None,
        "run_ids": choices.run_ids,
        "left_out": left_out.ids,
        "step": step if isinstance(step, int) else None,
        "last": step == "final",
    }
    sql = _scores_sql(heads)
    rows = archive.query(sql, parameters)
    if not rows.num_rows:
        anchor = choices.by_score[choices.needed[0]]
        pick_checkpoints(archive, anchor.selected, anchor.quantity, left_out, step or "final")
        raise UsageError(
            f"no head has a score at step {step}; step='final' takes each run's last checkpoint."
        )
    return Readings(rows, left_out, readable_sql(sql, parameters))


def judge(readings: Readings, role: Role, levels: Levels) -> Judged:
    """Judge every row by a role. Bounds are the levels, or chance where that is farther."""
    relative, p, short = [], [], []
    for need in role.needs:
        value, se, n = (readings.column(f"{need.score}_{part}") for part in ("value", "error", "n"))
        chance = np.nan_to_num(readings.column(f"{need.score}_chance"))
        # from here on all point upwards
        bound = np.maximum(need.sign * need.least(levels), need.sign * chance)
        value = need.sign * value
        relative.append(value / bound)
        found, missed = beyond_or_short(value, bound, se, n)
        p.append(found)
        short.append(missed)
    return Judged(np.min(relative, axis=0), all_beyond(np.array(p)), any_short(np.array(short)))


def adjusted_by_run(runs: NDArray[np.int64], several: Sequence[Floats]) -> list[Floats]:
    """Holm's adjusted p over everything tested in a run: all rows of all of `several`, each one entry per row of `runs`."""
    found = [np.full(len(p), np.nan) for p in several]
    for run in np.unique(runs):
        mine = runs == run
        together = holm(np.concatenate([p[mine] for p in several]))
        for p, part in zip(found, np.split(together, len(several)), strict=True):
            p[mine] = part
    return found


def _scores_sql(names: Iterable[str]) -> str:
    """Columns NAME_value, _chance, _error, _n for each score; names are those of `roles.SCORES`."""
    columns = ",\n       ".join(
        ", ".join(
            f"max({column}) FILTER (w.label = '{name}') AS {name}_{short}"
            for short, column in _COLUMNS.items()
        )
        for name in names
    )
    return f"""\
WITH wanted AS (SELECT unnest($labels) AS label, unnest($quantity_ids) AS quantity_id),
picked AS (
  SELECT c.run_id, c.id AS checkpoint_id, c.step
  FROM cell l JOIN checkpoint c ON c.id = l.subject_id
  WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id IN (SELECT unnest($deciding))
    AND c.run_id IN (SELECT unnest($run_ids)) AND c.id NOT IN (SELECT unnest($left_out))
    AND ($step IS NULL OR c.step = $step)
  GROUP BY c.run_id, c.id, c.step
  QUALIFY NOT $last OR row_number() OVER (PARTITION BY c.run_id ORDER BY count(*) DESC, c.step DESC) = 1
), totals AS (
  SELECT s.checkpoint_id, s.value AS total FROM fact_scalar s JOIN part p ON p.id = s.part_id
  WHERE s.quantity_id = $total_id AND s.run_id IN (SELECT unnest($run_ids)) AND p.name = 'total'
)
SELECT f.run_id, r.name AS run, c.step, f.layer, f.head, max(f.n_items) AS n_items,
       any_value(t.total) AS total,
       {columns}
FROM fact_head f
JOIN wanted w ON w.quantity_id = f.quantity_id
JOIN picked c ON c.checkpoint_id = f.checkpoint_id
JOIN run r ON r.id = f.run_id
LEFT JOIN totals t ON t.checkpoint_id = f.checkpoint_id
WHERE f.quantity_id IN (SELECT unnest($quantity_ids)) AND f.run_id IN (SELECT unnest($run_ids))
GROUP BY f.run_id, r.name, c.step, f.layer, f.head
ORDER BY f.run_id, c.step, f.layer, f.head"""


def _want(score: Score, prompts: str, repeats: frozenset[str]) -> Want:
    def fits(quantity: Quantity) -> bool:
        there = {
            "prompts": quantity.is_on(prompts),
            "repeats": quantity.encoding_hash in repeats,
            "weights": True,
        }
        return there[score.on]

    return Want((score.measure,), ("fact_head",), score.params, fits)


def _is_on(eval_set: str, quantity: Quantity) -> bool:
    return quantity.is_on(eval_set)


def _prompts(places: Sequence[Mapping[str, object]], needed: Sequence[str], asked: str) -> str:
    """The eval set of prompts. Raises UnknownName where scores of prompts that roles need are there, but not on it."""
    measures = {SCORES[name].measure for name in needed if SCORES[name].on == "prompts"}
    mine = [p for p in places if p["measure"] in measures]
    known = {str(p["eval_set"]) for p in mine}
    there = any(_is_called(place, asked) for place in mine)
    if mine and not there:
        raise UnknownName.of(
            "eval set of prompts with scores of heads",
            asked,
            known,
            listing="`pathscope sql 'FROM v_encoding'`",
        )
    return asked


def _repeats(places: Sequence[Mapping[str, object]], asked: str | None) -> frozenset[str]:
    """Hashes of the eval sets of repeated tokens, narrowed to the one asked for."""
    return frozenset(
        str(p["encoding_hash"])
        for p in places
        if p["measure"] in _ONLY_ON_REPEATS and (asked is None or _is_called(p, asked))
    )


def _is_called(place: Mapping[str, object], asked: str) -> bool:
    """As `Quantity.is_on`."""
    hashed = len(asked) >= 8 and str(place["encoding_hash"]).startswith(asked)
    return hashed or asked in (place["eval_set"], f"{place['eval_set']}: {place['tokenizer']}")


def _error(score: Score, found: Choice | Error, which: Which) -> Error:
    """Why a score cannot be had, in words of these questions: `prompts` names the eval set of prompts here."""
    if isinstance(found, NotComparable):
        return NotComparable(str(found).replace("eval_set=", "prompts=")) if score.on == "prompts" else found
    on = {"prompts": "the task's prompts", "repeats": "repeated tokens", "weights": "these weights"}[score.on]
    return UsageError(
        f"no run asked for has {score.called} on {on}{told(which)}; `pathscope ingest STUDY.toml --fill {score.called}` "
        "measures it."
    )
