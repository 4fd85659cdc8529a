"""Which measures can be asked for a transition: scalars, logs, positions, heads, pairs of heads, prompts, benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass

from archive.store import Archive
from queries.reading.quantities import Which
from ui.models.benchmarks.page import benchmark_sets
from ui.models.component_sets import component_sets
from ui.models.series import catalogue, first_measure

# what `phase_transitions` reads beside scalars and logs
OF_COMPONENTS = ("fact_position", "fact_head", "fact_head_pair", "fact_item")
_DIRECTIONS_SQL = "SELECT DISTINCT measure, direction FROM v_quantity"
_DIRECTED = ("higher is better", "lower is better")


@dataclass(frozen=True)
class Kind:
    """Series of one measure that may stand side by side: one eval set, one source, one set of parameters.

    label: what the picker has. tasks, shots: of published benchmarks, each task a series. parts: splits, tensors or classes
    of a scalar or a log; empty for everything else. directed: better high or better low.
    """

    label: str
    measure: str
    which: Which
    n_runs: int
    parts: tuple[str, ...] = ()
    is_scalar: bool = False
    directed: bool = False
    tasks: tuple[str, ...] = ()
    shots: int | None = None

    @property
    def can_split(self) -> bool:
        """Whether it has several parts, each of which could be a series."""
        return len(self.parts) > 1


def kinds(archive: Archive) -> list[Kind]:
    """Everything with a number per checkpoint or logged step; scalars first, the usual first one at the very front."""
    directions = {row["measure"]: row["direction"] for row in archive.rows(_DIRECTIONS_SQL)}
    found: list[Kind] = []
    known = catalogue(archive)
    first = first_measure(known) if known else ""
    for series in sorted(known, key=lambda s: s.measure != first):
        several = len(series.variants) > 1
        found += [
            Kind(
                label=f"{series.measure} · {variant.label}" if several else series.measure,
                measure=series.measure,
                which=variant.which,
                n_runs=variant.n_runs,
                parts=tuple(part for part in variant.parts if part),
                is_scalar=True,
                directed=directions.get(series.measure, "") in _DIRECTED,
            )
            for variant in series.variants
        ]
    for table in OF_COMPONENTS:
        sets = component_sets(archive, table=table)
        for known_set in sets:
            n_alike = sum(s.label == known_set.label for s in sets)
            words = (
                (known_set.label, known_set.eval_set, known_set.rest) if n_alike > 1 else (known_set.label,)
            )
            found.append(
                Kind(" · ".join(w for w in words if w), known_set.measure, known_set.which, known_set.n_runs)
            )
    for benchmarks in benchmark_sets(archive):
        if not benchmarks.series_asked:
            words = (f"benchmark.{benchmarks.label}", benchmarks.source, benchmarks.dtype)
            found.append(
                Kind(
                    " · ".join(w for w in words if w and w != "unknown"),
                    f"benchmark.{benchmarks.metric}",
                    benchmarks.which,
                    benchmarks.n_runs,
                    tasks=benchmarks.every_task,
                    shots=benchmarks.n_shots,
                )
            )
    return list({kind.label: kind for kind in found}.values())


def chosen_of(known: Sequence[Kind], labels: Sequence[str]) -> list[Kind]:
    """The kinds of these labels, in the order of the labels; labels that mean nothing are left out."""
    by_label = {kind.label: kind for kind in known}
    return [by_label[label] for label in labels if label in by_label]
