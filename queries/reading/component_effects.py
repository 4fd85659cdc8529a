"""What components of models do: effects of heads and layers with their errors, and signatures of heads, at any checkpoints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.quantities import Choice, Quantity, Want, Which, choose_quantities
from queries.reading.roles import SCORES
from queries.reading.select import Selected
from queries.reading.signatures import MEASURE as SIGNATURE
from queries.reading.tables import floats, stretches
from queries.results import readable_sql
from queries.stats.head_matching import standardised

Floats = NDArray[np.float64]
Kind = Literal["head", "attention", "mlp", "embedding", "biases"]
EffectKind = Annotated[
    Literal["auto", "ablation", "attribution"],
    Field(
        description="what an effect is: of mean ablation, or direct attribution to the logits; auto = ablation where it is there"
    ),
]

HEAD: Kind = "head"
PARTS = "logit_attribution"
TOTAL = "total"
# measures that belong to an effect
BESIDE = (PARTS, SIGNATURE)
# on any metric: the logit difference of prompts, the loss of texts
ABLATION: Mapping[str, object] = {"kind": "mean", "patterns": "recomputed"}
_MEASURES = {"ablation": SCORES["ablation"].measure, "attribution": SCORES["dla"].measure}
EFFECTS = tuple(_MEASURES.values())
# what of a choice says nothing of signatures, which are on other eval sets and have other parameters
_OF_EFFECTS = ("eval_set", "version", "params", "site", "weight_processing")

_SQL = """\
WITH asked AS (SELECT unnest($checkpoint_ids) AS checkpoint_id)
SELECT f.checkpoint_id, 'head' AS kind, f.layer AS at_layer, f.head AS number, '' AS part, f.value AS effect, f.se AS error,
       coalesce(f.n_clusters, f.n_items) AS n_groups, f.n_items AS n_asked, NULL::FLOAT[] AS signature, f.quantity_id
FROM fact_head f
WHERE f.quantity_id = $effect_id AND f.run_id IN (SELECT unnest($run_ids)) AND f.checkpoint_id IN (FROM asked)
UNION ALL
SELECT f.checkpoint_id, 'part', -1, -1, p.name, f.value, f.se, coalesce(f.n_clusters, f.n_items), f.n_items, NULL, f.quantity_id
FROM fact_scalar f JOIN part p ON p.id = f.part_id
WHERE f.quantity_id = $parts_id AND f.run_id IN (SELECT unnest($run_ids)) AND f.checkpoint_id IN (FROM asked)
UNION ALL
SELECT f.checkpoint_id, 'signature', f.layer, f.unit, '', NULL, NULL, NULL, NULL, f."values", f.quantity_id
FROM fact_vector f
WHERE f.quantity_id IN (SELECT unnest($signature_ids)) AND f.run_id IN (SELECT unnest($run_ids))
  AND f.checkpoint_id IN (FROM asked)
ORDER BY checkpoint_id, kind, at_layer, number, part, quantity_id"""


@dataclass(frozen=True)
class ComponentChoices:
    """What is read. effect: of heads. parts: the rest of the sum that direct effects are parts of; signatures: one a eval set."""

    effect: Choice
    parts: Choice | None
    signatures: tuple[Choice, ...]
    notes: tuple[str, ...]

    @property
    def every(self) -> list[Choice]:
        """All choices, the effect first."""
        return [self.effect, *([self.parts] if self.parts else []), *self.signatures]

    @property
    def is_attribution(self) -> bool:
        """Whether effects are direct ones, parts of a total."""
        return self.effect.quantity.measure == _MEASURES["attribution"]


@dataclass(frozen=True)
class Components:
    """One checkpoint. All arrays are (component,), heads first, by layer and number.

    names: L1H3, `L0 mlp`. n: groups of items behind effects. n_items: items. total: what direct effects are parts of,
    else NaN. signatures: (component, number), NaN rows where there is none, no columns where nothing has any.
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    effects: Floats
    errors: Floats
    n: Floats
    n_items: int | None
    total: float
    signatures: Floats

    @cached_property
    def place(self) -> Mapping[str, int]:
        """Where each component stands."""
        return {name: k for k, name in enumerate(self.names)}


def effect_want(effect: EffectKind) -> Want:
    """The effect of heads, as a want: ablation on any metric, or direct effects."""
    names = ("ablation", "attribution") if effect == "auto" else (effect,)
    return Want(tuple(_MEASURES[name] for name in names), ("fact_head",), fits=_is_effect)


def choose_components(
    archive: Archive, selected: Selected, effect: EffectKind, which: Which
) -> ComponentChoices:
    """The effect that all runs with any have, and what there is beside it. Two statements, four where `which` narrows it.

    Raises as `choose_quantity` does where there is no effect.
    """
    narrowed = [name for name in _OF_EFFECTS if name in which]
    if narrowed:
        free = which.copy()
        for name in narrowed:
            free.pop(name)  # type: ignore[misc]  # names of Which
        (chosen,) = choose_quantities(archive, selected, [effect_want(effect)], which)
        rest = choose_quantities(archive, selected, [], free, each_variant_of=BESIDE)
    else:
        chosen, *rest = choose_quantities(
            archive, selected, [effect_want(effect)], which, each_variant_of=BESIDE
        )
    if not isinstance(chosen, Choice):
        raise _either(chosen) if effect == "auto" else chosen
    return put_together(chosen, [c for c in rest if isinstance(c, Choice)])


def _either(refusal: UsageError | NotComparable) -> UsageError | NotComparable:
    """The refusal of the first effect, with the other one, which is cheaper to measure and would do as well."""
    if isinstance(refusal, NotComparable):
        return refusal
    return UsageError(
        f"{refusal} `--fill {_MEASURES['attribution']}` (direct effects on the answer to prompts) would do as well."
    )


def effects_among(there: Sequence[Choice]) -> list[Choice]:
    """Every effect of heads, one an eval set: of ablation where there is any, else direct ones."""
    for measure in EFFECTS:
        found = [c for c in there if c.quantity.measure == measure and _is_effect(c.quantity)]
        if found:
            return found
    return []


def put_together(effect: Choice, there: Sequence[Choice]) -> ComponentChoices:
    """What of `there` belongs to an effect: the rest of its sum, and signatures of all its runs."""
    attributed = effect.quantity.measure == _MEASURES["attribution"]
    parts = [c for c in there if c.quantity.measure == PARTS and _beside(c.quantity, effect.quantity)]
    signatures, notes = _common([c for c in there if c.quantity.measure == SIGNATURE], effect)
    return ComponentChoices(effect, parts[0] if parts and attributed else None, signatures, notes)


def read_components(
    archive: Archive, choices: ComponentChoices, run_ids: Iterable[int], checkpoint_ids: Iterable[int]
) -> tuple[dict[int, Components], str]:
    """What is known of every component, by checkpoint_id, and the statement; checkpoints without an effect are not there."""
    parameters: dict[str, object] = {
        "checkpoint_ids": sorted(set(checkpoint_ids)),
        "run_ids": sorted(set(run_ids)),
        "effect_id": choices.effect.quantity.quantity_id,
        "parts_id": choices.parts.quantity.quantity_id if choices.parts else None,
        "signature_ids": sorted(c.quantity.quantity_id for c in choices.signatures),
    }
    rows = archive.query(_SQL, parameters)
    found: dict[int, Components] = {}
    for start, end in zip(*stretches(rows, ["checkpoint_id"]), strict=True):
        mine = rows.slice(int(start), int(end - start))
        components = _components(mine, len(choices.signatures))
        if components is not None:
            found[int(mine["checkpoint_id"][0].as_py())] = components
    return found, readable_sql(_SQL, parameters)


def similarities(models: Sequence[tuple[Components, Components]]) -> list[Floats]:
    """Correlation of each component's signatures at two checkpoints, per pair, for the components of the first.

    Numbers are standardised with constants pooled over all checkpoints given, so likeness means the same in every pair.
    NaN where either has no signature.
    """
    every = list({id(c): c for pair in models for c in pair}.values())
    if len({c.signatures.shape[1] for c in every}) != 1 or not every[0].signatures.shape[1]:
        return [np.full(len(a.names), np.nan) for a, _ in models]
    known = [np.isfinite(c.signatures).any(axis=1) for c in every]
    scaled = standardised([c.signatures[k] for c, k in zip(every, known, strict=True)])
    unit = {}
    for c, k, rows in zip(every, known, scaled, strict=True):
        whole = np.full((len(c.names), rows.shape[1]), np.nan)
        centred = rows - rows.mean(axis=1, keepdims=True) if rows.shape[1] else rows
        size = np.sqrt((centred**2).sum(axis=1, keepdims=True))
        with np.errstate(invalid="ignore", divide="ignore"):
            whole[k] = centred / size
        unit[id(c)] = whole
    found = []
    for a, b in models:
        there = [b.place.get(name, -1) for name in a.names]
        other = np.where(np.array(there)[:, None] >= 0, unit[id(b)][there], np.nan)
        found.append(np.clip((unit[id(a)] * other).sum(axis=1), -1.0, 1.0))
    return found


def _is_effect(quantity: Quantity) -> bool:
    wanted = ABLATION if quantity.measure == _MEASURES["ablation"] else {}
    return all(quantity.params.get(key) == value for key, value in wanted.items())


def _beside(one: Quantity, other: Quantity) -> bool:
    """Whether two numbers were measured in the same way on the same eval set."""
    return all(
        getattr(one, field) == getattr(other, field)
        for field in ("encoding_hash", "dtype", "source", "weight_processing")
    )


def _common(signatures: Sequence[Choice], effect: Choice) -> tuple[tuple[Choice, ...], tuple[str, ...]]:
    """Signatures that every run of the effect has, one a eval set, and what to say of others."""
    runs = set(effect.selected.ids)
    whole = [c for c in signatures if runs <= set(c.selected.ids)]
    hashes = [c.quantity.encoding_hash for c in whole]
    kept = [c for c in whole if hashes.count(c.quantity.encoding_hash) == 1]
    lines = []
    if len(kept) < len(whole):
        lines.append(
            f"{SIGNATURE} on {whole[0].quantity.eval_set} is there in several variants and is not used; dtype=... or source=... "
            "chooses one."
        )
    if signatures and not whole:
        lines.append(
            f"No eval set has {SIGNATURE} of all {len(runs)} runs, so nothing is known of what heads look at; "
            f"`pathscope ingest STUDY.toml --fill {SIGNATURE}` measures the rest."
        )
    return tuple(sorted(kept, key=lambda c: c.quantity.quantity_id)), tuple(lines)


def _components(rows: pa.Table, n_signatures: int) -> Components | None:
    """Rows of one checkpoint, sorted by kind, layer, number, part and quantity; None without an effect of a head."""
    kinds = np.array(rows["kind"].to_pylist())
    layers, numbers = (rows[name].to_numpy() for name in ("at_layer", "number"))
    effects, errors, n = (floats(rows, name) for name in ("effect", "error", "n_groups"))
    heads = np.flatnonzero((kinds == "head") & np.isfinite(effects))
    if not len(heads):
        return None
    texts = rows["part"].to_pylist()
    others = [
        k for k in np.flatnonzero(kinds == "part").tolist() if texts[k] != TOTAL and np.isfinite(effects[k])
    ]
    total = [effects[k] for k in np.flatnonzero(kinds == "part").tolist() if texts[k] == TOTAL]
    names = [f"L{layers[k]}H{numbers[k]}" for k in heads]
    items = rows["n_asked"].to_pylist()[int(heads[0])]
    chosen = np.array([*heads, *others], np.int64)
    return Components(
        (*names, *(texts[k] for k in others)),
        (*([HEAD] * len(heads)), *(_kind(texts[k]) for k in others)),
        effects[chosen],
        errors[chosen],
        n[chosen],
        items,
        float(total[0]) if total else float("nan"),
        _signatures(rows, kinds, (layers, numbers), n_signatures, (names, len(others))),
    )


def _kind(part: str) -> Kind:
    last = part.rpartition(" ")[2]
    return last if last in ("attention", "mlp", "biases") else "embedding"  # type: ignore[return-value]  # checked


def _signatures(
    rows: pa.Table,
    kinds: NDArray[np.str_],
    places: tuple[NDArray[np.int64], NDArray[np.int64]],
    n_signatures: int,
    wanted: tuple[Sequence[str], int],
) -> Floats:
    """(component, number): of heads that have a signature on every eval set, all of them side by side."""
    names, n_others = wanted
    values = rows["signature"].to_pylist()
    by_head: dict[str, list[list[float]]] = {}
    for k in np.flatnonzero(kinds == "signature").tolist():
        by_head.setdefault(f"L{places[0][k]}H{places[1][k]}", []).append(values[k])
    whole = {
        name: list(chain.from_iterable(lists))
        for name, lists in by_head.items()
        if len(lists) == n_signatures
    }
    width = max(map(len, whole.values()), default=0)
    blank = [float("nan")] * width
    listed = [found if len(found := whole.get(name, blank)) == width else blank for name in names]
    return np.array([*listed, *([blank] * n_others)], float).reshape(len(names) + n_others, width)
