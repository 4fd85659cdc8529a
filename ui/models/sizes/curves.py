"""One scalar over training by size: a bundle a size, against steps, tokens or training compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from archive.store import Archive
from queries.loss_curves import LossCurves
from queries.reading.select import RunSelection, Selected, select_runs
from queries.reading.tables import floats
from ui.models.bundles import Bundle, bundles
from ui.models.palette import STROKES
from ui.models.series import Series, Variant, runs_with
from ui.models.sizes.page import Size, group_names, selection_of
from ui.models.text import plural, shorten

Floats = NDArray[np.float64]

STEP, TOKENS, COMPUTE = "step", "tokens", "compute"
FLOPS_PER_PARAMETER_AND_TOKEN = 6  # forward and backward pass of a dense transformer (Kaplan et al. 2020)
MOST_RUNS_DRAWN = 240


@dataclass(frozen=True)
class Drawn:
    """Which runs are drawn, of which sizes. n_sizes: before any was cut. n_runs_there: of the sizes that are drawn.

    groups: which size each condition is.
    """

    selection: RunSelection
    sizes: tuple[Size, ...]
    groups: Mapping[str, int]
    n_sizes: int
    n_runs: int
    n_runs_there: int


def axes(sizes: Sequence[Size], *, has_tokens: bool) -> list[str]:
    """What curves may be drawn against: compute needs the tokens seen."""
    return [STEP, TOKENS, COMPUTE] if has_tokens and sizes else [STEP]


def drawn_sizes(
    archive: Archive,
    *,
    sizes: tuple[Size, ...],
    quantity_ids: tuple[int, ...],
    ends: tuple[Size, Size],
    excluded: bool,
) -> Drawn | None:
    """Sizes that have a scalar, at most as many as can be told apart, the two ends among them; None where none has it."""
    having = runs_with(archive, quantity_ids=quantity_ids)
    there = [size for size in (_only(size, having) for size in sizes) if size.runs]
    if not there:
        return None
    kept = list(there)
    if len(kept) > len(STROKES):
        places = np.linspace(0, len(there) - 1, len(STROKES)).round().astype(int).tolist()
        kept = [there[k] for k in places]
        for k, end in ((0, ends[0]), (-1, ends[1])):
            same = next((size for size in there if size.label == end.label), None)
            if same and same not in kept:
                kept[k] = same
        kept.sort(key=lambda size: size.n_params)
    each = max(1, MOST_RUNS_DRAWN // len(kept))
    cut = [replace(s, runs=s.runs[:each], run_ids=s.run_ids[:each]) for s in kept]
    selection = selection_of(cut, excluded=excluded)
    selected: Selected = select_runs(archive, selection)
    return Drawn(
        selection,
        tuple(cut),
        group_names(selected, cut),
        len(there),
        sum(len(size.runs) for size in cut),
        sum(len(size.runs) for size in kept),
    )


def size_bundles(answer: LossCurves, drawn: Drawn, axis: str) -> list[Bundle]:
    """A bundle a size, from small to large, each in its own stroke. axis: "compute" turns tokens into operations."""
    found: list[tuple[int, Bundle]] = []
    for bundle in bundles([answer], colour_by="condition"):
        k = drawn.groups[bundle.name]
        size = drawn.sizes[k]
        n_params, _, rest = size.label.partition(" · ")
        # of long names the end tells conditions of one size apart
        short = f"{n_params} · {shorten(rest.rpartition('/')[2], 18)}" if rest else n_params
        label = f"{short} ({plural(len(bundle.lines), 'run')})"
        bundle = replace(bundle, name=size.label, label=label, stroke=STROKES[k % len(STROKES)])
        if axis == COMPUTE:
            bundle = _in_compute(bundle, size.n_params)
        found.append((k, bundle))
    return [bundle for _, bundle in sorted(found, key=lambda pair: pair[0])]


def ends_table(answer: LossCurves, drawn: Drawn) -> pa.Table:
    """Where each size ends: its mean and interval at the last point that all of its runs have, small to large."""
    rows = answer.summary.to_pylist() if answer.summary is not None else []
    at = "step" if "step" in (rows[0] if rows else {}) else "tokens_seen"
    known = sorted(
        ((drawn.groups[r["group"]], r) for r in rows if r["group"] in drawn.groups), key=lambda p: p[0]
    )
    names = ("n_runs", at, "mean", "low", "high", "sd")
    whole = {"n_runs": pa.int64(), at: pa.int64()}
    return pa.Table.from_pylist(
        [
            {
                "size": drawn.sizes[k].label,
                "n_params": int(drawn.sizes[k].n_params),
                **{name: _whole(r[name]) if name in whole else r[name] for name in names},
            }
            for k, r in known
        ],
        schema=pa.schema(
            [
                ("size", pa.string()),
                ("n_params", pa.int64()),
                *((name, whole.get(name, pa.float64())) for name in names),
            ]
        ),
    )


def curve_notes(answer: LossCurves, drawn: Drawn, n_points: int) -> list[str]:
    """What is not in the picture."""
    notes = []
    if len(drawn.sizes) < drawn.n_sizes:
        notes.append(
            f"{len(drawn.sizes)} of {drawn.n_sizes} sizes are drawn, the chosen two among them; choose others in the sidebar."
        )
    if drawn.n_runs < drawn.n_runs_there:
        notes.append(f"{drawn.n_runs} of {drawn.n_runs_there} runs of these sizes are drawn and averaged.")
    if n_points < answer.n_steps:
        notes.append(
            f"1 of {answer.n_steps / n_points:.2g} points drawn: {n_points:,} of {answer.n_steps:,} steps, thinned in the "
            "database. The CSV has all of them."
        )
    return notes


def of_several_sizes(known: Sequence[Series], there: Mapping[int, frozenset[int]]) -> list[Series]:
    """Series that at least two sizes have, with only such variants. there: which sizes have each quantity."""

    def is_shared(variant: Variant) -> bool:
        return len(frozenset[int]().union(*(there.get(i, ()) for i in variant.quantity_ids))) > 1

    kept = [replace(s, variants=tuple(v for v in s.variants if is_shared(v))) for s in known]
    return [series for series in kept if series.variants]


def first_part(variant: Variant) -> str:
    """What to open with: the test split where there are splits, else the whole, else the first part."""
    parts = list(variant.parts)
    if variant.part_kind == "split" and "test" in parts:
        return "test"
    return "" if "" in parts else parts[0]


def _only(size: Size, having: frozenset[int]) -> Size:
    kept = [k for k, run in enumerate(size.run_ids) if run in having]
    return replace(size, runs=tuple(size.runs[k] for k in kept), run_ids=tuple(size.run_ids[k] for k in kept))


def _in_compute(bundle: Bundle, n_params: float) -> Bundle:
    each = FLOPS_PER_PARAMETER_AND_TOKEN * n_params
    lines = tuple(replace(line, times=line.times * each) for line in bundle.lines)
    band = bundle.band
    if band.num_rows:
        column = band.column_names.index(bundle.at)
        band = band.set_column(column, COMPUTE, pa.array(floats(band, bundle.at) * each))
    else:
        band = band.rename_columns([COMPUTE if name == bundle.at else name for name in band.column_names])
    return replace(bundle, lines=lines, band=band, at=COMPUTE)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
