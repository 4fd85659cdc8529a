"""The Neuron page: what was chosen, which neurons there are, and what is known of one at a step."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from archive.store import Archive
from queries.neuron import Neuron
from queries.reading.quantities import choose_quantity
from queries.reading.select import select_runs
from ui.models.component_sets import ComponentSet, named

TABLE = "fact_neuron_top"
CONTEXTS = {"short": 12, "full": 200}  # tokens either side; the query gives no more
# least activation of the examples shown, as a share of the largest of the run's training
LEAST = {"all": -math.inf, "25%": 0.25, "50%": 0.5, "75%": 0.75}
STATISTICS = {
    "maximum": ("Largest", "Largest activation of this eval set: a larger one has larger maxima."),
    "firing_rate": ("Fires on", "Share of tokens with an activation above 0."),
    "mean": ("Mean", "Over all tokens of the eval set."),
    "variance": ("Variance", "Over all tokens of the eval set."),
    "skew": ("Skew", "0 for a Gaussian; large where few tokens excite it."),
    "kurtosis": ("Kurtosis", "3 for a Gaussian; large where it is mostly silent and sometimes loud."),
}

# one checkpoint of one run: as many rows as there are neurons
_LAYERS_SQL = """\
SELECT layer, max(unit) + 1 AS n_units
FROM fact_neuron_top
WHERE quantity_id = $quantity_id AND run_id = $run_id
  AND checkpoint_id = (
    SELECT max(l.subject_id) FROM cell l JOIN checkpoint c ON c.id = l.subject_id
    WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id = $quantity_id AND c.run_id = $run_id)
GROUP BY layer
ORDER BY layer"""


@dataclass(frozen=True)
class NeuronChoices:
    """Everything that was chosen on the page beside the runs; the fields' names are the address's."""

    eval_set: str
    variant: str
    focus: str
    layer: int
    unit: int
    step: int
    context: str = "short"
    white: bool = False
    least: str = "all"
    x_scale: str = "log"
    y_scale: str = "linear"
    beside: str = ""
    alike: bool = False

    @property
    def name(self) -> str:
        """Such as L2N1034."""
        return f"L{self.layer}N{self.unit}"


@dataclass(frozen=True)
class Layers:
    """How many neurons each layer of a run has examples of: layer -> number."""

    sizes: dict[int, int]

    @property
    def n_units(self) -> int:
        """In all layers."""
        return sum(self.sizes.values())

    def place(self, layer: int, unit: int) -> int:
        """Number of a neuron, counted through all layers; a unit beyond its layer counts as its last."""
        before = sum(n for known, n in self.sizes.items() if known < layer)
        return before + min(max(unit, 0), self.sizes[layer] - 1)

    def at(self, place: int) -> tuple[int, int]:
        """(layer, unit) of a number; beyond the last neuron comes the first."""
        place %= self.n_units
        for layer, n in self.sizes.items():
            if place < n:
                return layer, place
            place -= n
        raise AssertionError("a number below the sum lies in one of the layers")

    def next_to(self, layer: int, unit: int, by: int) -> tuple[int, int]:
        """The neuron `by` further on (or back), through the ends of layers."""
        return self.at(self.place(layer, unit) + by)


def layers_of(archive: Archive, *, run: str, known: ComponentSet) -> Layers:
    """The layers of a run that have examples, and how many neurons each."""
    selected = select_runs(archive, named(run, excluded=True))
    selected = selected.only(r.run_id for r in selected.runs if run in r.names)
    choice = choose_quantity(archive, selected, [known.measure], known.which, tables=(TABLE,))
    parameters = {"quantity_id": choice.quantity.quantity_id, "run_id": choice.selected.ids[0]}
    return Layers({int(r["layer"]): int(r["n_units"]) for r in archive.rows(_LAYERS_SQL, parameters)})


def statistics(found: Neuron, run: str, step: int) -> list[tuple[str, str, str]]:
    """(what, number in words, what it means) at a step, those that are there."""
    rows = [r for r in found.history.to_pylist() if r["run"] == run and r["step"] == step]
    if not rows:
        return []
    return [
        (words, _number(name, rows[0][name]), meaning)
        for name, (words, meaning) in STATISTICS.items()
        if rows[0][name] is not None
    ]


def peak(found: Neuron, run: str) -> float:
    """The largest activation of the run over all of training; NaN where there is none."""
    values = [r["maximum"] for r in found.history.to_pylist() if r["run"] == run]
    finite = [v for v in values if v is not None and math.isfinite(v)]
    return max(finite, default=math.nan)


def threshold(least: str, largest: float) -> float:
    """The least activation of examples shown; −∞ for all of them, and where no largest activation is above 0."""
    share = LEAST[least]
    return share * largest if math.isfinite(share) and math.isfinite(largest) and largest > 0 else -math.inf


def share_of_tokens(found: Neuron, run: str, least: float) -> tuple[float, float] | None:
    """(lowest, highest possible) share of sampled tokens with at least this activation, from the histogram's bins.

    None where no histogram is stored, and beyond its last full edge, where bins do not tell.
    """
    row = next((r for r in found.histogram.to_pylist() if r["run"] == run), None)
    if row is None or not math.isfinite(least) or not row["lower"] < least < row["upper"]:
        return None
    counts = np.asarray(row["counts"], float)
    edges = np.linspace(row["lower"], row["upper"], len(counts) + 1)
    total = counts.sum()
    if not total:
        return None
    return float(counts[edges[:-1] >= least].sum() / total), float(counts[edges[1:] > least].sum() / total)


def missing_command(found: Neuron) -> str:
    """The command that measures what the page lacks; "" where nothing is missing."""
    lacking = []
    rows = found.history.to_pylist()
    if not any(r["mean"] is not None for r in rows):
        lacking.append("neuron.statistics")
    if not found.histogram.num_rows:
        lacking.append("neuron.histogram")
    if not found.effect.num_rows:
        lacking.append("neuron.logit_effect")
    return "pathscope ingest STUDY.toml " + " ".join(f"--fill {m}" for m in lacking) if lacking else ""


def _number(name: str, value: Any) -> str:
    if not math.isfinite(value):
        return "—"
    return f"{100 * value:.3g} %" if name == "firing_rate" else f"{value:.4g}".replace("-", "−")
