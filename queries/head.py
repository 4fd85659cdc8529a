"""All that is known of one attention head: its scores over training, its partners, where it looks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.checkpoints import LeftOuts, Step, find_left_outs
from queries.reading.heads import index_limits
from queries.reading.quantities import Choice, Which
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import floats, stretches, with_groups
from queries.reading.units import row_limits, units_by_group
from queries.reading.variants import choose_variants, variant_label
from queries.registry import query
from queries.render import number
from queries.results import Answer, Provenance, readable_sql

# kind of profile, and the parameter that says what its numbers belong to
PROFILES = {
    "head.distance_profile": ("distance", "distances"),
    "head.class_profile": ("class", "classes"),
}
MODES = {"q_composition": "q", "k_composition": "k", "v_composition": "v"}

_SQL = """\
WITH wanted AS (SELECT unnest($quantity_ids) AS quantity_id, unnest($labels) AS score, unnest($eval_sets) AS eval_set)
SELECT f.run_id, r.name AS run, w.score, w.eval_set, f.quantity_id, c.step, f.value, f.chance,
       (f.value - f.chance) / nullif(f.se, 0) AS z, f.se, f.n_items
FROM fact_head f
JOIN wanted w ON w.quantity_id = f.quantity_id
JOIN checkpoint c ON c.id = f.checkpoint_id
JOIN run r ON r.id = f.run_id
WHERE f.quantity_id IN (SELECT unnest($quantity_ids)) AND f.run_id IN (SELECT unnest($run_ids))
  AND f.layer = $layer AND f.head = $head AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
ORDER BY f.run_id, w.score, w.eval_set, f.quantity_id, c.step"""

# three tables in one statement; each quantity from its own last checkpoint, because their schedules differ
_BESIDE_SQL = """\
WITH picked AS (
  SELECT c.run_id, l.quantity_id, c.id AS checkpoint_id, c.step
  FROM cell l JOIN checkpoint c ON c.id = l.subject_id
  WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id IN (SELECT unnest($quantity_ids))
    AND c.run_id IN (SELECT unnest($run_ids)) AND c.id NOT IN (SELECT unnest($left_out))
    AND ($step IS NULL OR c.step <= $step)
  QUALIFY row_number() OVER (PARTITION BY c.run_id, l.quantity_id ORDER BY c.step DESC) = 1
), found AS (
  SELECT 'pair' AS kind, run_id, quantity_id, checkpoint_id, src_layer AS a, dst_layer AS b, "values"::DOUBLE[] AS "values",
         baselines::DOUBLE[] AS baselines, z::DOUBLE[] AS z
  FROM fact_head_pair
  WHERE quantity_id IN (SELECT unnest($quantity_ids)) AND run_id IN (SELECT unnest($run_ids))
    AND $layer IN (src_layer, dst_layer)
  UNION ALL
  SELECT 'profile', run_id, quantity_id, checkpoint_id, 0, 0, "values", NULL, NULL FROM fact_vector
  WHERE quantity_id IN (SELECT unnest($quantity_ids)) AND run_id IN (SELECT unnest($run_ids))
    AND layer = $layer AND unit = $head
  UNION ALL
  SELECT 'pattern', run_id, quantity_id, checkpoint_id, item, n_query, "values"::DOUBLE[], NULL, NULL FROM fact_attention
  WHERE quantity_id IN (SELECT unnest($quantity_ids)) AND run_id IN (SELECT unnest($run_ids))
    AND layer = $layer AND head = $head
)
SELECT f.kind, r.name AS run, r.n_heads, f.quantity_id, p.step, f.a, f.b, f."values", f.baselines, f.z
FROM found f
JOIN picked p ON p.run_id = f.run_id AND p.quantity_id = f.quantity_id AND p.checkpoint_id = f.checkpoint_id
JOIN run r ON r.id = f.run_id
ORDER BY f.kind, f.run_id, f.quantity_id, f.a, f.b"""

# on a narrow terminal the first ones are shown
_COLUMNS = [
    "run",
    "score",
    "step",
    "value",
    "chance",
    "eval_set",
    "z",
    "se",
    "n_items",
    "group",
    "quantity_id",
]
_SUMMARY = [
    "run",
    "score",
    "last",
    "chance",
    "eval_set",
    "last_z",
    "first",
    "largest",
    "largest_at",
    "n_checkpoints",
    "group",
]
_PARTNERS = pa.schema(
    [
        *((name, pa.string()) for name in ("run", "mode", "direction", "partner")),
        ("step", pa.int64()),
        *((name, pa.float64()) for name in ("score", "baseline", "z")),
    ]
)
_PROFILE_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("run", "profile", "eval_set")),
        ("step", pa.int64()),
        ("labels", pa.list_(pa.string())),
        ("values", pa.list_(pa.float64())),
    ]
)
_PATTERNS = pa.schema(
    [
        *((name, pa.string()) for name in ("run", "eval_set")),
        *((name, pa.int64()) for name in ("step", "item", "n_query", "n_key")),
        ("values", pa.list_(pa.float64())),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Head(Answer):
    """One attention head.

    table: run, score (measure with its variant), step, value, chance, eval_set, z = (value − chance) / se, se, n_items,
    group, quantity_id: every score that is there, over training.
    summary: per run and score the last value, chance, eval_set, the last z, the first and largest value and where.
    partners: run, mode (q, k, v), direction ("reads from" an earlier, "writes to" a later head), partner, step, score,
    baseline, z; the largest z first. profiles: run, profile (distance, class), eval_set, step,
    labels (first distance of each bin, kinds of token), values.
    patterns: run, eval_set, step, item (sequence), n_query, n_key, values (query-major): what is stored.
    """

    label: str
    partners: pa.Table
    profiles: pa.Table
    patterns: pa.Table

    def plot(self, *, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """A line per run and score, with the level of chance dotted."""
        from queries.figures.language import head_curves

        return head_curves(self, x_scale=x_scale)


@query(title="What is known of one attention head?")
def head(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    layer: Annotated[int, Field(ge=0, description="layer, from 0")] = 0,
    head: Annotated[int, Field(ge=0, description="head in the layer, from 0")] = 0,
    step: Step = "final",
    top: Annotated[int, Field(ge=1, le=1000, description="how many partners per mode and direction")] = 10,
    **which: Unpack[Which],
) -> Head:
    """Every score of one head over training, and its partners, profiles and stored patterns at one checkpoint.

    Partners, profiles and patterns are measured on fewer checkpoints than scores: those of the last one not
    after `step` are given, with its step. Scores of different eval sets or variants are separate rows.
    """
    selected = select_runs(archive, runs)
    choices = choose_variants(
        archive,
        selected,
        which,
        tables=("fact_head", "fact_head_pair", "fact_attention"),
        measures=tuple(PROFILES),
    )
    left_out = find_left_outs(archive, choices, which)
    scores = [c for c in choices if c.quantity.table_name == "fact_head"]
    parameters: dict[str, object] = {
        "quantity_ids": [c.quantity.quantity_id for c in scores],
        "labels": [variant_label(c.quantity) for c in scores],
        "eval_sets": [c.quantity.eval_set for c in scores],
        "run_ids": sorted({i for c in choices for i in c.selected.ids}),
        "layer": layer,
        "head": head,
        "left_out": left_out.ids,
    }
    name = f"L{layer}H{head}"
    rows = archive.query(_SQL, parameters) if scores else None
    if rows is None or not rows.num_rows:
        raise UsageError(
            f"no run asked for has a score of {name}; `pathscope query head_scores` lists the heads there are (layers and "
            "heads count from 0)."
        )
    table = with_groups(rows, selected)
    summary = _summary(table)
    partners, profiles, patterns = _beside(archive, choices, left_out, layer, head, step, top)
    present = set(table["run_id"].unique().to_pylist())
    # no p or interval is over runs
    provenance = replace(Provenance.of(archive, choices, left_out), shared_seeds=())
    return Head(
        sentence=_sentence(name, summary, partners, len(present)),
        table=table.select(_COLUMNS),
        summary=summary,
        label=name,
        partners=partners,
        profiles=profiles,
        patterns=patterns,
        n_runs=len(present),
        limits=(
            *provenance.limits,
            *dict.fromkeys(note for c in choices for note in c.notes),
            *left_out.limits,
            *row_limits(units_by_group(selected, selected.only(present).ids)),
            *_limits(selected, present, name, partners, summary),
        ),
        provenance=provenance,
        sql=readable_sql(_SQL, parameters),
    )


def _beside(
    archive: Archive,
    choices: Sequence[Choice],
    left_out: LeftOuts,
    layer: int,
    head: int,
    step: int | Literal["final"],
    top: int,
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Partners, profiles and patterns, read with one statement."""
    wanted = {c.quantity.quantity_id: c.quantity for c in choices if c.quantity.table_name != "fact_head"}
    parameters = {
        "quantity_ids": sorted(wanted),
        "run_ids": sorted({i for c in choices for i in c.selected.ids}),
        "layer": layer,
        "head": head,
        "step": None if step == "final" else step,
        "left_out": left_out.ids,
    }
    partners: list[dict[str, object]] = []
    profiles: list[dict[str, object]] = []
    patterns: list[dict[str, object]] = []
    for row in archive.rows(_BESIDE_SQL, parameters):
        quantity = wanted[row["quantity_id"]]
        place = {"run": row["run"], "step": row["step"], "eval_set": quantity.eval_set}
        if row["kind"] == "pair" and quantity.measure in MODES:
            partners += _partners_of(row, MODES[quantity.measure], layer, head)
        elif row["kind"] == "profile":
            kind, key = PROFILES[quantity.measure]
            labels = quantity.params.get(key)
            named = [str(label) for label in labels] if isinstance(labels, list) else None
            profiles.append({**place, "profile": kind, "labels": named, "values": row["values"]})
        elif row["kind"] == "pattern":
            n_query = row["b"]
            n_key = len(row["values"]) // n_query if n_query else 0
            patterns.append(
                {**place, "item": row["a"], "n_query": n_query, "n_key": n_key, "values": row["values"]}
            )
    return (
        pa.Table.from_pylist(_largest(partners, top), schema=_PARTNERS),
        pa.Table.from_pylist(profiles, schema=_PROFILE_SCHEMA),
        pa.Table.from_pylist(patterns, schema=_PATTERNS),
    )


def _partners_of(row: Mapping[str, Any], mode: str, layer: int, head: int) -> list[dict[str, object]]:
    """One row per head of the other layer: our column of the matrix where we read, our row where we write."""
    n = row["n_heads"] or math.isqrt(len(row["values"]))
    if head >= int(n):
        return []
    reading = row["b"] == layer
    other = row["a"] if reading else row["b"]
    grids = {key: np.array(row[key], float).reshape(-1, int(n)) for key in ("values", "baselines", "z")}
    ours = {key: grid[:, head] if reading else grid[head] for key, grid in grids.items()}
    return [
        {
            "run": row["run"],
            "mode": mode,
            "direction": "reads from" if reading else "writes to",
            "partner": f"L{other}H{k}",
            "step": row["step"],
            "score": float(ours["values"][k]),
            "baseline": float(ours["baselines"][k]),
            "z": float(ours["z"][k]),
        }
        for k in range(len(ours["values"]))
    ]


def _largest(partners: Sequence[Mapping[str, object]], top: int) -> list[Mapping[str, object]]:
    """The partners with the largest z of each run, mode and direction; without a z, none."""
    groups: dict[tuple[object, ...], list[Mapping[str, object]]] = {}
    for row in partners:
        if math.isfinite(float(str(row["z"]))):
            groups.setdefault((row["run"], row["mode"], row["direction"]), []).append(row)
    return [row for rows in groups.values() for row in sorted(rows, key=lambda r: -float(str(r["z"])))[:top]]


def _summary(table: pa.Table) -> pa.Table:
    """One row per run and score; rows of one score lie together, sorted by step."""
    starts, ends = stretches(table, ["run_id", "score", "eval_set", "quantity_id"])
    values, steps = floats(table, "value"), table["step"].to_numpy()
    peaks = [
        a + int(np.argmax(np.nan_to_num(values[a:b], nan=-math.inf)))
        for a, b in zip(starts, ends, strict=True)
    ]
    named = table.take(pa.array(starts)).select(["run", "group", "score", "eval_set"])
    columns = {
        "first": values[starts],
        "last": values[ends - 1],
        "largest": values[peaks],
        "largest_at": steps[peaks],
        "chance": floats(table, "chance")[ends - 1],
        "last_z": floats(table, "z")[ends - 1],
    }
    for name, column in columns.items():
        named = named.append_column(name, pa.array(column))
    found = named.append_column("n_checkpoints", pa.array((ends - starts).tolist(), pa.int64()))
    return found.select(_SUMMARY)


def _sentence(name: str, summary: pa.Table, partners: pa.Table, n_runs: int) -> str:
    rows = summary.to_pylist()
    known = [r for r in rows if math.isfinite(r["last_z"])]
    start = f"{name} in {n_runs} run{'s' if n_runs != 1 else ''}"
    if known:
        best = max(known, key=lambda r: r["last_z"])
        start += (
            f": furthest above chance is {best['score']} = {number(best['last'])} in {best['run']} (chance "
            f"{number(best['chance'])}, z {number(best['last_z'], 3)})"
        )
    else:
        best = max(rows, key=lambda r: -math.inf if math.isnan(r["last"]) else r["last"])
        start += f": the largest score is {best['score']} = {number(best['last'])} in {best['run']}"
    if partners.num_rows:
        r = max(partners.to_pylist(), key=lambda r: r["z"])
        start += f"; it {r['direction']} {r['partner']} the most ({r['mode'].upper()}, z {number(r['z'], 3)} in {r['run']})"
    return start + "."


def _limits(
    selected: Selected, present: set[int], name: str, partners: pa.Table, summary: pa.Table
) -> list[str]:
    lines = []
    absent = [r.run for r in selected.runs if r.run_id not in present]
    if absent:
        lines.append(f"{len(absent)} run(s) have no score of {name} (first: {absent[0]}).")
    if not partners.num_rows:
        lines.append(
            "No composition scores with a z are there: `pathscope ingest STUDY.toml --fill k_composition` measures them."
        )
    else:
        lines.append(
            "Partners are chosen among many heads by their z, which biases it upward; weights alone decide it."
        )
    if not np.isfinite(floats(summary, "chance")).all():
        lines.append("Some scores have no level of chance stored, and so no z.")
    lines.append("Where a head looks is not what it does: a score of attention is no causal effect.")
    return [*lines, *index_limits(selected.only(present))]
