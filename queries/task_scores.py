"""How well each run does tasks of prompts with a right and a wrong answer, at a checkpoint or over training."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Literal, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UnknownName, UsageError
from archive.store import Archive
from queries.parameters import IntervalLevel
from queries.reading.checkpoints import find_left_outs
from queries.reading.quantities import Choice, Quantity, Want, Which, choose_quantities
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import only_value, stretches, with_groups
from queries.reading.units import Units, among, units_by_group, units_limits
from queries.registry import query
from queries.render import interval, number
from queries.results import Answer, Provenance, Verdict, readable_sql
from queries.stats.distributions import t_quantile
from queries.stats.over_units import detectable_between, mean_over_units, method_over

Metric = Literal["logit_diff", "accuracy", "top_accuracy", "target_prob"]

# column of the answer -> measure, what guessing between the two answers gives, least and most
METRICS: dict[Metric, tuple[str, float | None, tuple[float | None, float | None]]] = {
    "logit_diff": ("logit_difference", 0.0, (None, None)),
    "accuracy": ("task_accuracy", 0.5, (0.0, 1.0)),
    "top_accuracy": ("top_accuracy", None, (0.0, 1.0)),
    "target_prob": ("target_prob", None, (0.0, 1.0)),
}
# below so many templates their spread is hardly known
FEW_TEMPLATES = 10
_TABLE = "fact_item"

_TASKS_SQL = """\
SELECT DISTINCT q.eval_set AS task, e.tokenizer, q.encoding_id, q.encoding_hash
FROM v_quantity q JOIN v_encoding e ON e.encoding_id = q.encoding_id
WHERE q.measure IN (SELECT unnest($measures)) AND q.table_name = 'fact_item'
ORDER BY task, tokenizer, q.encoding_id"""

# prompts of one template share their words: they are one cluster wherever there are two templates or more
_SQL = """\
WITH wanted AS (
  SELECT unnest($names) AS name, unnest($quantities) AS quantity_id, unnest($tasks) AS task,
         unnest($tokenizers) AS tokenizer, unnest($encodings) AS encoding_id
), by_template AS (
  SELECT f.run_id, f.checkpoint_id, w.name, w.task, w.tokenizer, coalesce(i.template, '') AS template,
         sum(f.value) AS total, count(*) AS n, var_samp(f.value) / count(*) AS squared_error
  FROM fact_item f
  JOIN wanted w ON w.quantity_id = f.quantity_id
  LEFT JOIN content_item i ON i.encoding_id = w.encoding_id AND i.item = f.item
  WHERE f.quantity_id IN (SELECT unnest($quantities)) AND f.run_id IN (SELECT unnest($run_ids))
    AND f.checkpoint_id NOT IN (SELECT unnest($left_out)) AND isfinite(f.value)
  GROUP BY ALL
), centred AS (
  SELECT *, total - n * sum(total) OVER w / sum(n) OVER w AS deviation
  FROM by_template
  WINDOW w AS (PARTITION BY run_id, checkpoint_id, task, tokenizer, name)
), scores AS (
  SELECT run_id, checkpoint_id, task, tokenizer, name, sum(total) / sum(n) AS value,
         CASE WHEN count(*) = 1 THEN sqrt(any_value(squared_error))
              ELSE sqrt(count(*) / (count(*) - 1) * sum(deviation ** 2)) / sum(n) END AS se,
         sum(n)::BIGINT AS n_prompts, count(*) AS n_templates
  FROM centred GROUP BY ALL
)
SELECT s.run_id, r.name AS run, s.task, s.tokenizer, c.step,
       max(value) FILTER (s.name = 'logit_diff') AS logit_diff, max(se) FILTER (s.name = 'logit_diff') AS logit_diff_se,
       max(value) FILTER (s.name = 'accuracy') AS accuracy, max(se) FILTER (s.name = 'accuracy') AS accuracy_se,
       max(value) FILTER (s.name = 'top_accuracy') AS top_accuracy,
       max(se) FILTER (s.name = 'top_accuracy') AS top_accuracy_se,
       max(value) FILTER (s.name = 'target_prob') AS target_prob, max(se) FILTER (s.name = 'target_prob') AS target_prob_se,
       max(n_prompts) AS n_prompts, max(n_templates) AS n_templates
FROM scores s JOIN checkpoint c ON c.id = s.checkpoint_id JOIN run r ON r.id = s.run_id
WHERE $step IS NULL OR c.step = $step
GROUP BY s.run_id, r.name, s.task, s.tokenizer, c.step
QUALIFY NOT $last OR c.step = max(c.step) OVER (PARTITION BY s.run_id, s.task, s.tokenizer)
ORDER BY s.run_id, s.task, s.tokenizer, c.step"""

_SUMMARY = pa.schema(
    [
        *((name, pa.string()) for name in ("task", "tokenizer", "group", "metric")),
        *((name, pa.int64()) for name in ("n_runs", "n_units")),
        ("unit", pa.string()),
        *((name, pa.float64()) for name in ("mean", "low", "high")),
        ("method", pa.string()),
        *((name, pa.float64()) for name in ("chance", "mde")),
        ("verdict", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class TaskScores(Answer):
    """Scores of tasks: means over prompts, with standard errors over templates.

    table: run, group, task, tokenizer, step, logit_diff (logit of the right minus that of the wrong answer),
    accuracy (right over wrong), top_accuracy (nothing more likely than the right answer), target_prob
    (probability of the right answer), each with its _se, n_prompts, n_templates.
    summary: per task, condition and metric at the last of the asked checkpoints the mean over runs with its interval over
    n_units of them that share no seed (one run: over its templates), what guessing gives, the smallest detectable difference,
    and whether it is above guessing.
    """

    metric: Metric

    def overview(self) -> pa.Table | None:
        """The summary of the metric asked for, with the interval beside the mean."""
        rows = self.summary.to_pylist() if self.summary is not None else []
        return pa.Table.from_pylist(
            [
                {
                    "task": r["task"],
                    "tokenizer": r["tokenizer"],
                    "group": r["group"],
                    "runs": r["n_runs"],
                    self.metric: number(r["mean"]),
                    f"{self.ci_level:.0%} interval": interval(r["low"], r["high"]),
                    "guessing": number(r["chance"]),
                    "above it": r["verdict"] or "",
                }
                for r in rows
                if r["metric"] == self.metric
            ]
        )

    def plot(self, *, metric: Metric | None = None, x_scale: Literal["log", "linear"] = "log") -> go.Figure:
        """A line per run and task over training, with the level of guessing."""
        from queries.figures.language import task_curves

        return task_curves(self, metric or self.metric, x_scale=x_scale)


@query(title="How well does each run do each task of prompts?")
def task_scores(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    tasks: Annotated[
        tuple[str, ...],
        Field(description="names of eval sets of prompts, such as ioi; default: all there are"),
    ] = (),
    steps: Annotated[
        int | Literal["all", "final"],
        Field(
            union_mode="left_to_right",
            description="all = over training, final = each run's last checkpoint, or a step",
        ),
    ] = "all",
    metric: Annotated[Metric, Field(description="what the headline and the figure show")] = "logit_diff",
    confidence: IntervalLevel = 0.95,
    **which: Unpack[Which],
) -> TaskScores:
    """Logit difference, accuracies and probability of the right answer per run and checkpoint.

    Standard errors are over templates where a task has several, else over prompts: prompts of one template are
    not independent. Over runs, the run is the unit. One task in two tokenizations is two rows, never averaged.
    """
    selected = select_runs(archive, runs)
    chosen, missing = _choices(archive, selected, tasks, which)
    left_out = find_left_outs(archive, [c for _, _, c in chosen], which)
    parameters: dict[str, object] = {
        "names": [name for name, _, _ in chosen],
        "quantities": [c.quantity.quantity_id for _, _, c in chosen],
        "tasks": [str(task["task"]) for _, task, _ in chosen],
        "tokenizers": [str(task["tokenizer"]) for _, task, _ in chosen],
        "encodings": [task["encoding_id"] for _, task, _ in chosen],
        "run_ids": sorted({i for _, _, c in chosen for i in c.selected.ids}),
        "left_out": left_out.ids,
        "step": steps if isinstance(steps, int) else None,
        "last": steps == "final",
    }
    rows = archive.query(_SQL, parameters)
    if not rows.num_rows:
        what = f"at step {steps}" if isinstance(steps, int) else "outside the checkpoints that are left out"
        raise UsageError(
            f"no run has task scores {what}; steps='all' shows every checkpoint there is (with_suspect=True also "
            "suspect ones)."
        )
    table = with_groups(rows, selected)
    units = units_by_group(selected, dict.fromkeys(table["run_id"].to_pylist()))
    summary = _summary(table, units, confidence)
    shown = [r for r in summary.to_pylist() if r["metric"] == metric]
    only = shown[0] if len(shown) == 1 else None
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [c for _, _, c in chosen], left_out), shared_seeds=())
    return TaskScores(
        sentence=_sentence(shown, metric, confidence),
        table=table.drop_columns(["run_id"]),
        summary=summary,
        metric=metric,
        n_runs=len(set(table["run"].to_pylist())),
        n_items=only_value(table, "n_prompts"),
        unit=next((c.quantity.shown_unit for m, _, c in chosen if m == metric), ""),
        estimate=only["mean"] if only else math.nan,
        ci_low=only["low"] if only else math.nan,
        ci_high=only["high"] if only else math.nan,
        ci_level=confidence,
        ci_method=only["method"] if only and math.isfinite(only["low"]) else "",
        null_name="guessing between the two answers" if only and only["chance"] is not None else "",
        null_mean=only["chance"] if only and only["chance"] is not None else math.nan,
        mde=only["mde"] if only and only["mde"] is not None else math.nan,
        verdict=_overall([r["verdict"] for r in shown]),
        limits=(
            *provenance.limits,
            *dict.fromkeys(note for _, _, c in chosen for note in c.notes),
            *left_out.limits,
            *units_limits(units, ""),
            *_limits(table, shown, missing),
        ),
        provenance=provenance,
        sql=readable_sql(_SQL, parameters),
    )


def _choices(
    archive: Archive, selected: Selected, tasks: Sequence[str], which: Which
) -> tuple[list[tuple[Metric, Mapping[str, object], Choice]], list[str]]:
    """(metric, task, quantity) of all that is there, and what is not; four statements at most.

    Raises UnknownName for a task the archive lacks, or why nothing can be read.
    """
    known = archive.rows(_TASKS_SQL, {"measures": [name for name, _, _ in METRICS.values()]})
    if not known:
        raise UsageError(
            f"{archive.layout.database} holds no scores of prompts; a load study with an eval set of prompts measures them "
            "(`pathscope ingest STUDY.toml --fill logit_difference`)."
        )
    twice = Counter((task["task"], task["tokenizer"]) for task in known)
    for task in known:
        if twice[task["task"], task["tokenizer"]] > 1:  # such as with and without a start token
            task["tokenizer"] = f"{task['tokenizer']} ({task['encoding_hash'][:8]})"
    names = sorted({str(task["task"]) for task in known})
    for name in tasks:
        if name not in names:
            raise UnknownName.of("task", name, names, listing="`pathscope sql 'FROM v_encoding'`")
    asked = [task for task in known if not tasks or task["task"] in tasks]
    pairs: list[tuple[Metric, Mapping[str, object]]] = [(m, task) for task in asked for m in METRICS]
    wants = [
        Want(
            (METRICS[m][0],),
            (_TABLE,),
            fits=partial(_in_encoding, task["encoding_hash"]),
        )
        for m, task in pairs
    ]
    found = choose_quantities(archive, selected, wants, which)
    chosen = [(m, task, c) for (m, task), c in zip(pairs, found, strict=True) if isinstance(c, Choice)]
    errors = [c for c in found if not isinstance(c, Choice)]
    if not chosen:
        raise errors[0]
    several = Counter(str(task["task"]) for task in asked)
    there = {(m, _told(task, several)) for m, task, _ in chosen}
    any_metric = {task for _, task in there}
    lacking = [
        f"{METRICS[m][0]} of {task}" for task in sorted(any_metric) for m in METRICS if (m, task) not in there
    ]
    read = {str(task["task"]) for _, task, _ in chosen}
    unread = sorted({str(task["task"]) for task in asked if task["task"] in tasks} - read)
    return chosen, [*lacking, *unread]


def _told(task: Mapping[str, object], several: Mapping[str, int]) -> str:
    """The name of a task, with its tokenizer where it is there in several tokenizations."""
    name = str(task["task"])
    return f"{name} ({task['tokenizer']})" if several[name] > 1 else name


def _summary(table: pa.Table, units: Mapping[str, Units], level: float) -> pa.Table:
    """One row per task, condition and metric, from each run's last row of the task."""
    _, ends = stretches(table, ["run_id", "task", "tokenizer"])
    last = table.take(pa.array(ends - 1)).to_pylist()
    rows = []
    for task, tokenizer in sorted({(r["task"], r["tokenizer"]) for r in last}):
        here = [r for r in last if (r["task"], r["tokenizer"]) == (task, tokenizer)]
        for group in dict.fromkeys(r["group"] for r in here):
            mine = [r for r in here if r["group"] == group]
            for metric in METRICS:
                known = [r for r in mine if r[metric] is not None]
                if known:
                    row = _row(metric, known, units[group], level)
                    rows.append({"task": task, "tokenizer": tokenizer, "group": group, **row})
    return pa.Table.from_pylist(rows, schema=_SUMMARY)


def _row(metric: Metric, runs: Sequence[Mapping[str, Any]], units: Units, level: float) -> dict[str, object]:
    _, chance, bounds = METRICS[metric]
    members = [r["run_id"] for r in runs]
    values = np.array([r[metric] for r in runs])
    n = len(values)
    if n > 1:
        shared = units.of(members)
        mean, low, high = mean_over_units(values, shared, level, bounds)
        method, mde = method_over(shared), detectable_between(values, shared)
    else:
        mean, method, mde = float(values[0]), "", math.nan
        low, high = math.nan, math.nan
        n_clusters = runs[0]["n_templates"] if runs[0]["n_templates"] > 1 else runs[0]["n_prompts"]
        se = runs[0][f"{metric}_se"]
        if se is not None and n_clusters > 1:
            half = t_quantile((1 + level) / 2, n_clusters - 1) * se
            low, high = (float(v) for v in np.clip([mean - half, mean + half], *bounds))
            method = (
                f"Student t over {'templates' if runs[0]['n_templates'] > 1 else 'prompts'} of the one run"
            )
    return {
        "metric": metric,
        "n_runs": n,
        **units.columns(members),
        "mean": mean,
        "low": low,
        "high": high,
        "method": method,
        "chance": chance,
        "mde": mde if math.isfinite(mde) else None,
        "verdict": None if chance is None else _verdict(low, high, chance),
    }


def _verdict(low: float, high: float, chance: float) -> Verdict:
    """Whether the interval lies above what guessing gives; no only where it lies below."""
    if low > chance:
        return "yes"
    return "no" if high < chance else "unresolved"


def _overall(verdicts: Sequence[Verdict | None]) -> Verdict | None:
    """The verdict all rows share; None where they differ or the metric has no level of guessing."""
    return verdicts[0] if verdicts and len(set(verdicts)) == 1 else None


def _sentence(shown: Sequence[Mapping[str, object]], metric: Metric, level: float) -> str:
    words = metric.replace("_", " ")
    if not shown:
        return f"No run has {words} on these tasks; the table has what there is."
    if len(shown) == 1:
        (r,) = shown
        band = interval(float(str(r["low"])), float(str(r["high"])))
        runs = f"{r['n_runs']} run{'s' if r['n_runs'] != 1 else ''}{among(r)}"
        return (
            f"At the last checkpoint the {words} on {r['task']} is {number(r['mean'])}"
            f"{f', {level:.0%} interval {band},' if band else ''} over {runs} of {r['group']}."
        )
    tasks = {r["task"] for r in shown}
    above = sum(r["verdict"] == "yes" for r in shown)
    told = f"above guessing in {above}" if METRICS[metric][1] is not None else "known"
    return f"At the last checkpoint the {words} is {told} of {len(shown)} rows of {len(tasks)} task(s) and conditions."


def _limits(table: pa.Table, shown: Sequence[Mapping[str, object]], missing: Sequence[str]) -> list[str]:
    lines = []
    rows = table.to_pylist()
    if missing:
        lines.append(
            f"Not there for these runs: {', '.join(missing[:4])}{' ...' if len(missing) > 4 else ''}; `pathscope ingest "
            "STUDY.toml --fill MEASURE` measures it."
        )
    few = sorted({r["task"] for r in rows if 1 < r["n_templates"] < FEW_TEMPLATES})
    if few:
        lines.append(
            f"{few[0]} has {min(r['n_templates'] for r in rows if r['task'] == few[0])} templates: standard errors over so few "
            "are themselves hardly known."
        )
    alone = sorted({r["task"] for r in rows if r["n_templates"] == 1})
    if alone:
        lines.append(
            f"{alone[0]} has one template or none is named, so errors are over prompts; another wording may score otherwise."
        )
    tokenizers = {
        task: {r["tokenizer"] for r in rows if r["task"] == task} for task in {r["task"] for r in rows}
    }
    mixed = sorted(task for task, names in tokenizers.items() if len(names) > 1)
    if mixed:
        lines.append(f"{mixed[0]} is asked in several tokenizations: its prompts differ between those rows.")
    lone = [r for r in shown if r["n_runs"] == 1]
    if lone:
        lines.append(
            f"{len(lone)} row(s) rest on a single run: their intervals are over its prompts and say nothing of other seeds."
        )
    steps = {max(r["step"] for r in rows if r["run"] == run) for run in {r["run"] for r in rows}}
    if len(steps) > 1:
        lines.append(
            "Runs end at different steps: the summary compares runs of different lengths of training."
        )
    lines.append(
        "Accuracy counts only which of two answers is more likely: it turns sharply where prompts are alike even if the logit "
        "difference rises smoothly, so judge sharpness by the logit difference."
    )
    return lines


def _in_encoding(encoding_hash: object, quantity: Quantity) -> bool:
    return quantity.encoding_hash == encoding_hash
