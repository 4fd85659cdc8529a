"""Which heads look at recognisable kinds of places, and since when: every head held against a library of masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UnknownName, UsageError
from archive.store import Archive
from queries.events.event_times import finite_or_none, times_over
from queries.reading.checkpoints import LeftOuts, Step, find_left_outs
from queries.reading.heads import index_limits
from queries.reading.quantities import Choice, Quantity, Which
from queries.reading.role_scores import adjusted_by_run
from queries.reading.roles import CONFIDENCE, Confidence
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import floats, only_value, stretches, with_groups
from queries.reading.units import Units, among, units_by_group, units_limits
from queries.reading.variants import choose_variants
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, readable_sql
from queries.stats.bounds import beyond
from queries.stats.over_units import count_over_units
from queries.stats.transition_shape import Shape, transition_shape
from queries.wording.circuits import or_nan, plural

# masks with a measure of their own
OWN = ("head.prefix_matching", "head.previous_token", "head.duplicate_token", "head.first_token")
MASK, MASK_Z = "head.mask", "head.mask_z"
MOVED, SAMPLED = "moved targets", "standard error"

# each mask from its own last checkpoint, its z where targets were moved from the same one
_SQL = """\
WITH wanted AS (
  SELECT unnest($quantity_ids) AS quantity_id, unnest($z_ids) AS z_id, unnest($masks) AS mask,
         unnest($eval_sets) AS eval_set
), picked AS (
  SELECT c.run_id, l.quantity_id, c.id AS checkpoint_id, c.step
  FROM cell l JOIN checkpoint c ON c.id = l.subject_id
  WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id IN (SELECT unnest($quantity_ids))
    AND c.run_id IN (SELECT unnest($run_ids)) AND c.id NOT IN (SELECT unnest($left_out))
    AND ($step IS NULL OR c.step = $step)
  QUALIFY row_number() OVER (PARTITION BY c.run_id, l.quantity_id ORDER BY c.step DESC) = 1
), moved AS (
  SELECT checkpoint_id, quantity_id, layer, head, value, coalesce(n_clusters, n_items) AS n FROM fact_head
  WHERE quantity_id IN (SELECT unnest($z_ids)) AND run_id IN (SELECT unnest($run_ids))
)
SELECT f.run_id, r.name AS run, w.mask, w.eval_set, 'L' || f.layer || 'H' || f.head AS head, p.step, f.value AS score,
       f.chance, CASE WHEN isfinite(coalesce(m.value, (f.value - f.chance) / nullif(f.se, 0)))
                      THEN coalesce(m.value, (f.value - f.chance) / nullif(f.se, 0)) END AS z,
       CASE WHEN m.value IS NULL THEN 'standard error' ELSE 'moved targets' END AS z_by, f.se, f.n_items,
       CASE WHEN m.value IS NULL THEN coalesce(f.n_clusters, f.n_items) ELSE m.n END AS n_behind_z,
       f.quantity_id, f.layer, f.head AS number
FROM fact_head f
JOIN wanted w ON w.quantity_id = f.quantity_id
JOIN picked p ON p.run_id = f.run_id AND p.quantity_id = f.quantity_id AND p.checkpoint_id = f.checkpoint_id
JOIN run r ON r.id = f.run_id
LEFT JOIN moved m ON m.checkpoint_id = f.checkpoint_id AND m.quantity_id = w.z_id AND m.layer = f.layer AND m.head = f.head
WHERE f.quantity_id IN (SELECT unnest($quantity_ids)) AND f.run_id IN (SELECT unnest($run_ids))
ORDER BY f.run_id, z DESC NULLS LAST, w.mask, w.eval_set, f.quantity_id, f.layer, f.head"""

_CURVES_SQL = """\
WITH found AS (
  SELECT unnest($runs) AS run_id, unnest($quantities) AS quantity_id, unnest($layers) AS layer, unnest($heads) AS head
)
SELECT f.run_id, f.quantity_id, f.layer, f.head, c.step, f.value
FROM fact_head f
JOIN found h ON h.run_id = f.run_id AND h.quantity_id = f.quantity_id AND h.layer = f.layer AND h.head = f.head
JOIN checkpoint c ON c.id = f.checkpoint_id
WHERE f.quantity_id IN (SELECT unnest($quantities)) AND f.run_id IN (SELECT unnest($runs))
  AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
ORDER BY f.run_id, f.quantity_id, f.layer, f.head, c.step"""

Shapes = Mapping[tuple[int, ...], Shape]

_TEXT, _WHOLE, _REAL = pa.string(), pa.int64(), pa.float64()
_SUMMARY = pa.schema(
    [
        *((name, _TEXT) for name in ("mask", "eval_set", "group")),
        *((name, _WHOLE) for name in ("n_runs", "n_units", "n_with")),
        ("unit", _TEXT),
        *(
            (name, _REAL)
            for name in ("share_low", "share_high", "heads", "largest_z", "median", "low", "high")
        ),
        ("best", _TEXT),
    ]
)
_SHAPES = {
    "class": _TEXT,
    "t50_after": _REAL,
    "t50": _REAL,
    "share_low": _REAL,
    "share_high": _REAL,
}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class AttentionPatternCatalogue(Answer):
    """Heads × masks.

    table: run, group, mask, eval_set, head, step, score (mean attention on the mask's places), chance (attention spread
    evenly), z, z_by (moved targets: the excess over targets moved to random places as far back, in its standard
    errors; standard error: (score − chance) / se), se, n_items, p_adjusted (over all masks and heads of the run), found,
    and for those found class and t50 of the rise with the last checkpoint before it, least and most that one octave
    holds; the largest z of each run first.
    summary: per mask and condition in how many runs a head is found, the interval of that share over n_units of them (exact where
    none share a seed), heads per run, the largest z and its head, and the median t50 of each run's best head with its interval.
    """

    def overview(self) -> pa.Table | None:
        """The summary with each interval in one cell."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "mask": r["mask"],
                    "eval_set": r["eval_set"],
                    "group": r["group"],
                    "runs with it": f"{r['n_with']} of {r['n_runs']}{among(r)}",
                    "share of runs": interval(r["share_low"], r["share_high"], 2),
                    "heads per run": number(r["heads"], 2),
                    "largest z": number(r["largest_z"], 3),
                    "head": r["best"] or "",
                    "median t50": number(r["median"], 3),
                    "its interval": interval(or_nan(r["low"]), or_nan(r["high"]), 3),
                }
                for r in rows
            ]
        )

    def plot(self) -> go.Figure:
        """Every head's score by mask, a colour a run; found ones filled."""
        from queries.figures.circuits import scores_by_mask

        return scores_by_mask(self)


@query(title="Which heads look at recognisable kinds of places, and since when?")
def attention_pattern_catalogue(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    masks: Annotated[
        tuple[str, ...],
        Field(
            description="names of masks, such as punctuation or previous_token; default: all that are measured"
        ),
    ] = (),
    step: Step = "final",
    least_z: Annotated[float, Field(ge=0, description="least z of a head that is found")] = 10.0,
    least_excess: Annotated[
        float, Field(ge=0, lt=1, description="least attention beyond chance of a head that is found")
    ] = 0.1,
    confidence: Confidence = CONFIDENCE,
    **which: Unpack[Which],
) -> AttentionPatternCatalogue:
    """Every head against every mask at one checkpoint; for heads found, when their pattern formed.

    Found means: z at least `least_z`, `least_excess` beyond chance, and p corrected (Holm) over all heads and masks of
    the run below 1 − confidence. Scores of different eval sets are separate rows; a head number means
    something within its run only.
    """
    selected = select_runs(archive, runs)
    choices, z_of = _choices(archive, selected, masks, which)
    left_out = find_left_outs(archive, choices, which)
    parameters: dict[str, object] = {
        "quantity_ids": [c.quantity.quantity_id for c in choices],
        "z_ids": [z_of.get(c.quantity.quantity_id, -1) for c in choices],
        "masks": [mask_name(c.quantity) for c in choices],
        "eval_sets": [c.quantity.eval_set for c in choices],
        "run_ids": sorted({i for c in choices for i in c.selected.ids}),
        "left_out": left_out.ids,
        "step": None if step == "final" else step,
    }
    rows = archive.query(_SQL, parameters)
    if not rows.num_rows:
        raise UsageError(
            f"no run has a mask's score at step {step}; step='final' takes each run's last checkpoint "
            "(with_suspect=True also suspect ones)."
        )
    table = with_groups(rows, selected)
    adjusted, found = _found(table, least_z, least_excess, 1 - confidence)
    shapes = _shapes(archive, table, found, left_out)
    present = selected.only(set(table["run_id"].unique().to_pylist()))
    units = units_by_group(selected, present.ids)
    summary = _summary(table, found, shapes, units, confidence)
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, choices, left_out), shared_seeds=())
    return AttentionPatternCatalogue(
        sentence=_sentence(table, found, summary),
        table=_finished(table, adjusted, found, shapes),
        summary=pa.Table.from_pylist(summary, schema=_SUMMARY),
        n_runs=len(present.runs),
        n_items=only_value(table, "n_items"),
        ci_level=confidence,
        null_name="attention on the same places moved, or spread evenly",
        limits=(
            *provenance.limits,
            *dict.fromkeys(note for c in choices for note in c.notes),
            *left_out.limits,
            *units_limits(units, "n_with"),
            *_limits(table, found, adjusted, selected, present),
            *index_limits(present),
        ),
        provenance=provenance,
        sql=readable_sql(_SQL, parameters),
    )


def mask_name(quantity: Quantity) -> str:
    """What a mask is called: the kind of place, or the measure without `head.` where it has one of its own."""
    named = quantity.params.get("mask")
    return named if isinstance(named, str) else quantity.measure.removeprefix("head.")


def _choices(
    archive: Archive, selected: Selected, masks: Sequence[str], which: Which
) -> tuple[list[Choice], dict[int, int]]:
    """Masks to read, and for those that have one the quantity of their z against moved targets."""
    every = choose_variants(archive, selected, which, tables=(), measures=(MASK, MASK_Z, *OWN))
    scores = [
        c
        for c in every
        if c.quantity.measure != MASK_Z and c.quantity.params.get("variant", "") in ("", "sum_targets")
    ]
    known = {mask_name(c.quantity) for c in scores}
    for name in masks:
        if name not in known:
            raise UnknownName.of(
                "mask", name, known, listing="`pathscope query attention_pattern_catalogue --summary`"
            )
    moved = {_alike(c.quantity): c.quantity.quantity_id for c in every if c.quantity.measure == MASK_Z}
    wanted = [c for c in scores if not masks or mask_name(c.quantity) in masks]
    if not wanted:
        raise UsageError(
            f"{archive.layout.database} holds no score of a mask; `pathscope ingest STUDY.toml --fill head.mask:word_start` "
            "measures one."
        )
    z_of = {
        c.quantity.quantity_id: moved[_alike(c.quantity)]
        for c in wanted
        if c.quantity.measure == MASK and _alike(c.quantity) in moved
    }
    return wanted, z_of


def _alike(quantity: Quantity) -> tuple[str, ...]:
    """What a score and its z share."""
    q = quantity
    return mask_name(q), q.encoding_hash, q.weight_processing, q.dtype, q.site, q.source


def _found(
    table: pa.Table, least_z: float, least_excess: float, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Adjusted p of every row, and which are found."""
    z, score, chance = (floats(table, name) for name in ("z", "score", "chance"))
    # either z is a mean over items in its standard errors, so Student's t under its null
    p = beyond(z, 0.0, 1.0, floats(table, "n_behind_z"))
    (adjusted,) = adjusted_by_run(table["run_id"].to_numpy(), [p])
    return adjusted, (adjusted < alpha) & (z >= least_z) & (score - chance >= least_excess)


def _shapes(
    archive: Archive, table: pa.Table, found: np.ndarray, left_out: LeftOuts
) -> dict[tuple[int, ...], Shape]:
    """The rise of every pattern found, by run, quantity, layer and head; one statement."""
    keys = ("run_id", "quantity_id", "layer", "number")
    kept = table.filter(pa.array(found))
    columns = [kept[key].to_pylist() for key in keys]
    parameters = dict(zip(("runs", "quantities", "layers", "heads"), columns, strict=True))
    rows = archive.query(_CURVES_SQL, {**parameters, "left_out": left_out.ids})
    steps, values = floats(rows, "step"), floats(rows, "value")
    names = ("run_id", "quantity_id", "layer", "head")
    ids = [rows[name].to_numpy() for name in names]
    return {
        tuple(int(column[a]) for column in ids): transition_shape(steps[a:b], values[a:b], "up")
        for a, b in zip(*stretches(rows, names), strict=True)
    }


def _key(row: Mapping[str, Any]) -> tuple[int, ...]:
    return row["run_id"], row["quantity_id"], row["layer"], row["number"]


def _finished(table: pa.Table, adjusted: np.ndarray, found: np.ndarray, shapes: Shapes) -> pa.Table:
    """The table with what was worked out, without what only joins it."""
    kept = table.filter(pa.array(found)).select(["run_id", "quantity_id", "layer", "number"])
    of_found = [shapes[_key(row)] for row in kept.to_pylist()]
    columns: dict[str, list[Any]] = {
        "class": [shape.kind for shape in of_found],
        "t50_after": [finite_or_none(shape.t50.low) for shape in of_found],
        "t50": [finite_or_none(shape.t50.high) for shape in of_found],
        "share_low": [finite_or_none(shape.share[0]) for shape in of_found],
        "share_high": [finite_or_none(shape.share[1]) for shape in of_found],
    }
    # the row of the shapes that belongs to each row of the table, where one does
    rows = pa.array(np.cumsum(found) - 1, mask=~found)
    done = table.drop_columns(["run_id", "n_behind_z", "quantity_id", "layer", "number"])
    done = done.append_column("p_adjusted", pa.array(adjusted, from_pandas=True))
    done = done.append_column("found", pa.array(found))
    for name, kind in _SHAPES.items():
        done = done.append_column(name, pa.array(columns[name], kind).take(rows))
    return done


def _summary(
    table: pa.Table, found: np.ndarray, shapes: Shapes, units: Mapping[str, Units], level: float
) -> list[dict[str, Any]]:
    # rows by their places: thousands of them, and few are looked at
    columns = {name: table[name].to_pylist() for name in ("mask", "eval_set", "group", "run_id", "z")}
    z, yes = columns["z"], found.tolist()
    groups: dict[tuple[str, ...], dict[int, list[int]]] = {}
    for k, (mask, eval_set, group, run, _) in enumerate(zip(*columns.values(), strict=True)):
        groups.setdefault((mask, eval_set, group), {}).setdefault(run, []).append(k)
    rows = []
    for (mask, eval_set, group), runs in sorted(groups.items()):
        heads = {run: [k for k in mine if yes[k]] for run, mine in runs.items()}
        n_with = sum(bool(mine) for mine in heads.values())
        of = units[group]
        share = count_over_units([bool(mine) for mine in heads.values()], of.of(runs), level)
        known = [k for mine in runs.values() for k in mine if z[k] is not None]
        top = table.slice(max(known, key=z.__getitem__), 1).to_pylist()[0] if known else None
        best = [max(mine, key=z.__getitem__) for mine in heads.values() if mine]
        of_best = {r["run_id"]: shapes[_key(r)] for r in table.take(pa.array(best, pa.int64())).to_pylist()}
        brackets = {run: shape.t50 for run, shape in of_best.items() if shape.t50.n_points}
        times = times_over(brackets, of, level) if brackets else {}
        rows.append(
            {
                "mask": mask,
                "eval_set": eval_set,
                "group": group,
                "n_runs": len(runs),
                **of.columns(runs),
                "n_with": n_with,
                **dict(zip(("share_low", "share_high"), share, strict=True)),
                "heads": float(np.mean([len(mine) for mine in heads.values()])),
                "largest_z": top["z"] if top else None,
                "best": f"{top['head']} in {top['run']}" if top else None,
                "median": times.get("median"),
                "low": times.get("median_low"),
                "high": times.get("median_high"),
            }
        )
    return rows


def _sentence(table: pa.Table, found: np.ndarray, summary: Sequence[Mapping[str, Any]]) -> str:
    n_runs = len(table["run"].unique())
    start = (
        f"{plural(int(found.sum()), 'pattern')} found among {plural(table.num_rows, 'pair')} of head and mask in "
        f"{plural(n_runs, 'run')}"
    )
    known = [r for r in summary if r["n_with"]]
    if not known:
        return f"{start}: no head looks at any of these places more than chance explains."
    told = ", ".join(f"{r['mask']} in {r['n_with']} of {r['n_runs']}" for r in known[:6])
    more = f" and {len(known) - 6} more" if len(known) > 6 else ""
    return f"{start}: {told}{more}."


def _limits(
    table: pa.Table, found: np.ndarray, adjusted: np.ndarray, selected: Selected, present: Selected
) -> list[str]:
    lines = []
    absent = [r.run for r in selected.runs if r.run_id not in present.by_id]
    if absent:
        lines.append(f"{plural(len(absent), 'run')} have no score of these masks there (first: {absent[0]}).")
    by = np.array(table["z_by"].to_pylist())
    sampled = sorted(set(np.array(table["mask"].to_pylist())[by == SAMPLED]))
    if sampled:
        lines.append(
            f"z of {', '.join(sampled[:6])}{' ...' if len(sampled) > 6 else ''} is against evenly spread attention: a head that "
            "merely looks nearby is above that for most masks."
        )
    untested = int(np.isnan(adjusted).sum())
    if untested:
        lines.append(f"{plural(untested, 'pair')} of head and mask have no z and are not tested.")
    if found.any():
        lines.append(
            "Heads were chosen by their last score: that they rise is partly guaranteed by the choice, and t50 is half of a "
            "rise known from its end."
        )
    if len(set(table["step"].to_pylist())) > 1:
        lines.append(
            "Masks or runs are read at different checkpoints: each from the last one it was measured at."
        )
    lines += [
        "z grows with the eval set: it says that a pattern is there, its score beside chance how strong it is.",
        "The library of masks is pathscope's: patterns outside it are not found, and one head may fit several masks.",
        "Where a head looks is not what it does.",
    ]
    return lines
