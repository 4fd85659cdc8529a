"""The tables of `neuron`: examples with their text, what changed over training, statistics, what it writes."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from queries.reading.neuron_examples import Example, Tops, Window, chance_overlap
from queries.reading.select import Selected

STATISTICS = ("mean", "variance", "skew", "kurtosis", "firing_rate")

_EXAMPLES = pa.schema(
    [
        ("run", pa.string()),
        ("group", pa.string()),
        ("step", pa.int64()),
        ("rank", pa.int64()),
        ("value", pa.float64()),
        *((name, pa.string()) for name in ("document", "before", "token", "after")),
        *((name, pa.int64()) for name in ("born_after", "born", "sequence", "position")),
        ("tokens", pa.list_(pa.string())),
        ("at", pa.int64()),
    ]
)
_HISTORY = pa.schema(
    [
        ("run", pa.string()),
        ("group", pa.string()),
        ("step", pa.int64()),
        *((name, pa.float64()) for name in ("maximum", "last_of_top", "turnover", *STATISTICS)),
    ]
)
_SUMMARY = pa.schema(
    [
        ("run", pa.string()),
        ("group", pa.string()),
        ("step", pa.int64()),
        ("n_examples", pa.int64()),
        *((name, pa.float64()) for name in ("maximum", "firing_rate", "skew", "kurtosis")),
        *((name, pa.float64()) for name in ("last_turnover", "mean_turnover", "chance_overlap")),
        *((name, pa.int64()) for name in ("median_birth", "latest_birth", "n_checkpoints")),
    ]
)
_HISTOGRAM = pa.schema(
    [
        ("run", pa.string()),
        ("step", pa.int64()),
        ("lower", pa.float64()),
        ("upper", pa.float64()),
        ("counts", pa.list_(pa.int64())),
    ]
)
_EFFECT = pa.schema(
    [
        ("run", pa.string()),
        ("step", pa.int64()),
        ("direction", pa.string()),
        ("rank", pa.int64()),
        ("token_id", pa.int64()),
        ("token", pa.string()),
        ("value", pa.float64()),
    ]
)


def example_table(
    selected: Selected,
    tops: Sequence[Tops],
    places: Mapping[int, int],
    windows: Mapping[Example, Window],
) -> pa.Table:
    """The examples shown, best first, with their text where it is there and since when they stay."""
    rows = []
    for t in tops:
        at = places[t.run_id]
        for rank, (example, value, (before, born)) in enumerate(
            zip(t.examples[at], t.values[at], t.births(at), strict=True), start=1
        ):
            row = {
                "run": t.run,
                "group": selected.groups[t.run_id],
                "step": t.steps[at],
                "rank": rank,
                "value": value,
                "born_after": before,
                "born": born,
                "sequence": example[0],
                "position": example[1],
            }
            window = windows.get(example)
            if window:
                parts = dict(zip(("before", "token", "after"), window.parts, strict=True))
                row |= {"document": window.document, "tokens": window.tokens, "at": window.at, **parts}
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=_EXAMPLES)


def history_table(selected: Selected, tops: Sequence[Tops], found: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Every checkpoint of every run that has examples or statistics."""
    statistics: dict[tuple[int, int], dict[str, float | None]] = {}
    for row in found:
        if row["kind"] == "statistic":
            statistics.setdefault((row["run_id"], row["step"]), {})[row["part"]] = row["values"][0]
    rows = []
    for t in tops:
        by_step = dict(zip(t.steps, zip(t.values, t.turnover(), strict=True), strict=True))
        for step in sorted({*t.steps, *(s for run, s in statistics if run == t.run_id)}):
            values, turnover = by_step.get(step, ([], None))
            rows.append(
                {
                    "run": t.run,
                    "group": selected.groups[t.run_id],
                    "step": step,
                    "maximum": values[0] if values else None,
                    "last_of_top": values[-1] if values else None,
                    "turnover": turnover,
                    **statistics.get((t.run_id, step), {}),
                }
            )
    return pa.Table.from_pylist(rows, schema=_HISTORY)


def summary_table(
    selected: Selected, tops: Sequence[Tops], places: Mapping[int, int], history: pa.Table, n_tokens: int
) -> pa.Table:
    """One row per run about the checkpoint shown."""
    at_step = {(r["run"], r["step"]): r for r in history.to_pylist()}
    rows = []
    for t in tops:
        at = places[t.run_id]
        births = sorted(born for _, born in t.births(at))
        turnovers = [v for v in t.turnover()[: at + 1] if v is not None]
        here = at_step[t.run, t.steps[at]]
        rows.append(
            {
                "run": t.run,
                "group": selected.groups[t.run_id],
                "step": t.steps[at],
                "n_examples": len(t.examples[at]),
                **{name: here[name] for name in ("maximum", "firing_rate", "skew", "kurtosis")},
                "last_turnover": turnovers[-1] if turnovers else None,
                "mean_turnover": sum(turnovers) / len(turnovers) if turnovers else None,
                "chance_overlap": chance_overlap(len(t.examples[at]), n_tokens),
                "median_birth": births[(len(births) - 1) // 2] if births else None,
                "latest_birth": births[-1] if births else None,
                "n_checkpoints": at + 1,
            }
        )
    return pa.Table.from_pylist(rows, schema=_SUMMARY)


def histogram_table(found: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Counts of activations in equal bins."""
    rows = [{**row, "counts": [int(v) for v in row["values"]]} for row in found if row["kind"] == "histogram"]
    return pa.Table.from_pylist(rows, schema=_HISTOGRAM)


def effect_table(found: Sequence[Mapping[str, Any]], words: Mapping[int, str]) -> pa.Table:
    """Tokens and values lie in two vectors each; they come together by run and side."""
    parts = {(r["run"], r["step"], r["part"]): r["values"] for r in found if r["kind"] == "effect"}
    rows = []
    for (run, step, part), tokens in parts.items():
        side, _, what = part.partition("_")
        if what != "tokens":
            continue
        values = parts.get((run, step, f"{side}_values"), [])
        for rank, (token, value) in enumerate(zip(tokens, values, strict=False), start=1):
            rows.append(
                {
                    "run": run,
                    "step": step,
                    "direction": "raises" if side == "top" else "lowers",
                    "rank": rank,
                    "token_id": int(token),
                    "token": words.get(int(token)),
                    "value": value,
                }
            )
    return pa.Table.from_pylist(rows, schema=_EFFECT)
