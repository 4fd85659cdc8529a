"""How each run implements a task: which heads have which role, at which depth, and what becomes of the task without them.

Runs may be of other families: the same prompts then have other tokens, so that scores are chosen tokenizer by tokenizer, and only
what roles say is put side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, Step
from queries.reading.quantities import Choice, Quantity, Want, Which, choose_quantities
from queries.reading.role_scores import (
    Readings,
    RoleChoices,
    adjusted_by_run,
    choose_scores,
    judge,
    read_scores,
)
from queries.reading.roles import Levels, Role
from queries.reading.select import Selected
from queries.results import Verdict
from queries.stats.role_vectors import Model, effect_sizes

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

Effect = Literal["ablation", "patching", "attribution"]
EFFECT = "effect"
# what each is called as a measure, and whether something was changed in the model to see what follows
CALLED: Mapping[Effect, str] = {
    "ablation": "head.ablation_effect:mean",
    "patching": "head.patch_recovery:denoise",
    "attribution": "head.logit_attribution",
}
CAUSAL: tuple[Effect, ...] = ("ablation", "patching")
N_REDRAWN = 20

_TOKENIZERS_SQL = """\
SELECT DISTINCT c.run_id, e.tokenizer
FROM cell l JOIN checkpoint c ON c.id = l.subject_id
JOIN v_quantity q ON q.quantity_id = l.quantity_id JOIN v_encoding e ON e.encoding_id = q.encoding_id
WHERE l.subject_kind = 1 AND l.state = 1 AND q.table_name = 'fact_head' AND q.encoding_hash <> 'none'
  AND c.run_id IN (SELECT unnest($run_ids)) AND ($eval_set = '' OR q.eval_set = $eval_set)
ORDER BY ALL"""


@dataclass(frozen=True)
class Implementation:
    """One run.

    model: its heads with the effect of each; rows of `model.roles` are the roles asked for, in the order of `Read.roles`.
    verdicts: per role whether any head has it (unresolved: some may; None: the run lacks a score for it). n_open: heads
    neither shown to have a role nor to lack it. measured: whether effects are there. again: models as judged from scores and
    effects drawn anew within their standard errors.
    """

    run_id: int
    tokenizer: str
    step: int
    model: Model
    verdicts: tuple[Verdict | None, ...]
    n_open: tuple[int, ...]
    measured: bool
    again: tuple[Model, ...]


@dataclass(frozen=True)
class Read:
    """What was read.

    roles: those that any run can be judged by. readings, needed, tokenizers: per tokenizer its scores, and those that decide.
    effect: what heads do, the best there is. refused: (tokenizer, why) of runs that cannot be judged.
    """

    roles: Mapping[str, Role]
    runs: tuple[Implementation, ...]
    choices: tuple[Choice, ...]
    left_out: tuple[LeftOuts, ...]
    readings: tuple[Readings, ...]
    needed: tuple[tuple[str, ...], ...]
    limits: tuple[str, ...]
    effect: Effect | None
    tokenizers: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    sql: str


@dataclass(frozen=True)
class Asked:
    """What is asked of every tokenizer alike. effect: "auto" takes ablation, else attribution, where they are measured."""

    task: str
    role: str
    prompts: str
    effect: Effect | Literal["auto"]
    step: Step
    levels: Levels
    alpha: float


def read_implementations(archive: Archive, selected: Selected, asked: Asked, which: Which) -> Read:
    """All runs. Statements grow with tokenizers, not with runs. Raises as `choose_scores` where none can be judged."""
    parts: list[tuple[str, RoleChoices, Readings]] = []
    refused: list[tuple[str, str]] = []
    for tokenizer, mine, choices in _choices(archive, selected, asked, which):
        if isinstance(choices, RoleChoices):
            chosen = _with_effect(archive, mine, choices, asked, which)
            parts.append((tokenizer, chosen, read_scores(archive, chosen, asked.step, which)))
        else:
            refused.append((tokenizer, str(choices).split("\n")[0]))
    roles = {name: role for _, choices, _ in parts for name, role in choices.roles.items()}
    effects = [_effect_of(choices, asked) for _, choices, _ in parts]
    effect = min((e for e in effects if e), key=list(CALLED).index, default=None)
    runs = [
        run
        for (tokenizer, choices, readings), mine_effect in zip(parts, effects, strict=True)
        for run in _of_tokenizer(
            tokenizer, choices, readings, roles, asked, mine_effect if mine_effect == effect else None
        )
    ]
    return Read(
        roles,
        tuple(runs),
        tuple(choice for _, choices, _ in parts for choice in choices.by_score.values()),
        tuple(readings.left_out for _, _, readings in parts),
        tuple(readings for _, _, readings in parts),
        tuple(tuple(choices.needed) for _, choices, _ in parts),
        tuple(dict.fromkeys(line for _, choices, _ in parts for line in choices.limits)),
        effect,
        tuple(tokenizer for tokenizer, _, _ in parts),
        tuple(refused),
        ";\n".join(readings.sql for _, _, readings in parts),
    )


def _choices(
    archive: Archive, selected: Selected, asked: Asked, which: Which
) -> list[tuple[str, Selected, RoleChoices | UsageError | NotComparable]]:
    """The quantities of all runs where they share a tokenizer, else tokenizer by tokenizer."""
    try:
        together = choose_scores(
            archive, selected, (asked.task, asked.role), asked.prompts, which, beside=True
        )
        refusal = next((e for _, e in together.missing.values() if isinstance(e, NotComparable)), None)
    except NotComparable as error:
        together, refusal = None, error
    if refusal is None:
        assert together is not None
        return [("", selected, together)]
    tokenizers = _tokenizers(archive, selected, asked)
    if len(tokenizers) < 2:
        if together is None:
            raise refusal
        return [("", selected, together)]
    found: list[tuple[str, Selected, RoleChoices | UsageError | NotComparable]] = []
    for tokenizer, ids in tokenizers.items():
        mine = selected.only(ids)
        prompts = f"{asked.prompts or asked.task}: {tokenizer}"
        try:
            found.append(
                (
                    tokenizer,
                    mine,
                    choose_scores(archive, mine, (asked.task, asked.role), prompts, which, beside=True),
                )
            )
        except (UsageError, NotComparable) as error:
            found.append((tokenizer, mine, error))
    judged = [choices for _, _, choices in found if isinstance(choices, RoleChoices)]
    if not judged:
        raise refusal
    return found


def _tokenizers(archive: Archive, selected: Selected, asked: Asked) -> dict[str, list[int]]:
    """Tokenizer -> its runs; by the prompts of the task where it has any."""
    found: dict[str, list[int]] = {}
    for eval_set in (asked.prompts or asked.task, ""):
        rows = archive.rows(_TOKENIZERS_SQL, {"run_ids": selected.ids, "eval_set": eval_set})
        for row in rows:
            found.setdefault(str(row["tokenizer"]), []).append(int(row["run_id"]))
        if found:
            break
    return found


def _with_effect(
    archive: Archive, selected: Selected, choices: RoleChoices, asked: Asked, which: Which
) -> RoleChoices:
    """The choices with that of the effect asked for, where it is measured and roles do not read it anyway."""
    if asked.effect in ("attribution",) or (asked.effect != "patching" and asked.task != "induction"):
        return choices
    encodings = frozenset(c.quantity.encoding_hash for c in choices.by_score.values())
    measure, params = (
        ("head.patch_recovery", {"patch": "denoise"})
        if asked.effect == "patching"
        else ("head.ablation_effect", {"kind": "mean", "patterns": "recomputed"})
    )
    want = Want((measure,), ("fact_head",), params, fits=partial(_is_in, encodings))
    free = which.copy()
    free.pop("eval_set", None)
    (found,) = choose_quantities(archive, selected, [want], free)
    return (
        replace(choices, by_score={**choices.by_score, EFFECT: found})
        if isinstance(found, Choice)
        else choices
    )


def _is_in(encodings: frozenset[str], quantity: Quantity) -> bool:
    return quantity.encoding_hash in encodings


def _effect_of(choices: RoleChoices, asked: Asked) -> Effect | None:
    """Which effect the choices hold, the one asked for or the best."""
    if EFFECT in choices.by_score:
        return "patching" if asked.effect == "patching" else "ablation"
    if asked.effect == "patching":
        return None
    for name, effect in (("ablation", "ablation"), ("dla", "attribution")):
        if name in choices.by_score and asked.effect in ("auto", effect):
            return "ablation" if effect == "ablation" else "attribution"
    return None


def _of_tokenizer(
    tokenizer: str,
    choices: RoleChoices,
    readings: Readings,
    roles: Mapping[str, Role],
    asked: Asked,
    effect: Effect | None,
) -> list[Implementation]:
    ids, steps, layers = (readings.rows[c].to_numpy() for c in ("run_id", "step", "layer"))
    column = (
        EFFECT
        if EFFECT in choices.by_score
        else {"ablation": "ablation", "attribution": "dla"}.get(effect or "", "")
    )
    nothing = np.full(len(ids), np.nan)
    named = list(roles)
    having = [choices.having(choices.roles[name]) if name in choices.roles else set() for name in named]
    has, is_open = _judged(readings, choices, named, asked)
    errors = readings.column(f"{column}_error") if effect else nothing
    effects = readings.column(f"{column}_value") if effect else nothing
    sizes = effect_sizes(effects, errors)
    again = []
    rng = np.random.default_rng(0)
    for _ in range(N_REDRAWN):
        drawn = _redrawn(readings, choices.by_score, rng)
        values = drawn.column(f"{column}_value") if effect else nothing
        again.append((_judged(drawn, choices, named, asked)[0], effect_sizes(values, errors)))
    found = []
    for run in sorted({run for runs in having for run in runs} & set(ids.tolist())):
        mine = ids == run
        layer = layers[mine].astype(np.int64)
        measured = bool(np.isfinite(sizes[mine]).all())
        found.append(
            Implementation(
                run,
                tokenizer,
                int(steps[mine][0]),
                Model(layer, np.nan_to_num(sizes[mine]), has[:, mine]),
                tuple(
                    _verdict(has[k, mine], is_open[k, mine]) if run in having[k] else None
                    for k in range(len(named))
                ),
                tuple(int(is_open[k, mine].sum()) if run in having[k] else 0 for k in range(len(named))),
                measured,
                tuple(
                    Model(layer, np.nan_to_num(size[mine]), roles_again[:, mine])
                    for roles_again, size in again
                ),
            )
        )
    return found


def _judged(
    readings: Readings, choices: RoleChoices, named: Sequence[str], asked: Asked
) -> tuple[Bools, Bools]:
    """(role, row) whether a head has each role, and whether that is open; corrected over all that is tested in a run."""
    ids = readings.rows["run_id"].to_numpy()
    judged = {
        name: judge(readings, choices.roles[name], asked.levels) for name in named if name in choices.roles
    }
    adjusted = dict(zip(judged, adjusted_by_run(ids, [j.p for j in judged.values()]), strict=True))
    has, is_open = np.zeros((2, len(named), len(ids)), bool)
    for k, name in enumerate(named):
        if name in judged:
            has[k] = adjusted[name] < asked.alpha
            is_open[k] = ~has[k] & ~(judged[name].p_short < asked.alpha)
    return has, is_open


def _verdict(has: Bools, is_open: Bools) -> Verdict:
    if has.any():
        return "yes"
    return "unresolved" if is_open.any() else "no"


def _redrawn(readings: Readings, scores: Mapping[str, Choice], rng: np.random.Generator) -> Readings:
    """Scores as other prompts might give them: drawn about those there are with their standard errors, each head by itself."""
    rows: pa.Table = readings.rows
    for name in scores:
        label = f"{name}_value"
        if label in rows.column_names:
            noise = rng.normal(size=rows.num_rows) * np.nan_to_num(readings.column(f"{name}_error"))
            at = rows.column_names.index(label)
            rows = rows.set_column(at, label, pa.array(readings.column(label) + noise))
    return replace(readings, rows=rows)
