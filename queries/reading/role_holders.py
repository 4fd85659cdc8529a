"""Which heads of which runs have a role, and which layers of the runs may be compared by number."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.quantities import Which
from queries.reading.role_scores import Judged, Readings, RoleChoices, adjusted_by_run, read_scores
from queries.reading.same_start import Start, same_start
from queries.reading.select import Selected
from queries.reading.tables import in_order
from queries.stats.shared_heads import Layer

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Holders:
    """One run. n_heads: of every layer. having, undecided: per layer the heads with the role, and those that are unresolved."""

    run_id: int
    step: int
    n_heads: tuple[int, ...]
    having: tuple[frozenset[int], ...]
    undecided: tuple[frozenset[int], ...]

    @property
    def sizes(self) -> list[int]:
        """Heads with the role in each layer."""
        return [len(layer) for layer in self.having]

    @property
    def n_open(self) -> int:
        """Heads that are unresolved."""
        return sum(len(layer) for layer in self.undecided)


@dataclass(frozen=True)
class SharedLayer:
    """A layer whose heads have the same numbers in several runs (`run_ids`)."""

    number: int
    run_ids: tuple[int, ...]
    layer: Layer


def find_holders(
    readings: Readings, judged: Mapping[str, Judged], having: Mapping[str, set[int]], alpha: float
) -> dict[str, dict[int, Holders]]:
    """Role -> run_id -> its heads with the role: shown beyond every bound, corrected over all that is tested in the run."""
    ids, steps, layers, heads = (readings.rows[c].to_numpy() for c in ("run_id", "step", "layer", "head"))
    adjusted = dict(zip(judged, adjusted_by_run(ids, [j.p for j in judged.values()]), strict=True))
    found: dict[str, dict[int, Holders]] = {}
    for role, j in judged.items():
        found[role] = {}
        for run in sorted(having[role] & set(ids.tolist())):
            mine = ids == run
            has = adjusted[role][mine] < alpha
            # an open head is neither shown to have the role nor to lack it
            is_open = ~has & ~(j.p_short[mine] < alpha)
            own, number = layers[mine], heads[mine]
            n_layers = int(own.max()) + 1
            found[role][run] = Holders(
                run,
                int(steps[mine][0]),
                tuple(int((own == layer).sum()) for layer in range(n_layers)),
                tuple(frozenset(number[has & (own == layer)].tolist()) for layer in range(n_layers)),
                tuple(frozenset(number[is_open & (own == layer)].tolist()) for layer in range(n_layers)),
            )
    return found


def scores_at_zero(archive: Archive, choices: RoleChoices, which: Which) -> Readings | None:
    """Scores at step 0, by which runs that share an init can be told; None where there are none."""
    try:
        return read_scores(archive, choices, 0, which)
    except UsageError:
        return None


def find_starts(
    selected: Selected, choices: RoleChoices, readings: Readings, at_zero: Readings | None
) -> dict[tuple[int, int], Start]:
    """Which layers each pair of runs may compare by number; runs in the order people count."""
    now = _by_layer(readings, choices.needed)
    before = _by_layer(at_zero, choices.needed) if at_zero is not None else {}
    return {
        (a, b): same_start(selected.by_id[a], selected.by_id[b], now, before)
        for a, b in combinations(in_order(selected, now), 2)
    }


def shared_layers(
    holders: Mapping[int, Holders], starts: Mapping[tuple[int, int], Start]
) -> list[SharedLayer]:
    """Every layer that two or more runs have in common by number, once for each set of runs that began alike."""
    found = []
    for layer in sorted({layer for start in starts.values() for layer in start.layers}):
        alike = [
            pair for pair, start in starts.items() if layer in start.layers and set(pair) <= set(holders)
        ]
        for runs in _connected(alike):
            own = Layer(holders[runs[0]].n_heads[layer], tuple(holders[run].having[layer] for run in runs))
            found.append(SharedLayer(layer, tuple(runs), own))
    return found


def role_grid(
    selected: Selected, holders: Mapping[str, Mapping[int, Holders]], runs: Sequence[int]
) -> list[dict[str, object]]:
    """Of heads with a role in any run (without any, of L0H0), whether each run that has the layer gives it to them."""
    rows: list[dict[str, object]] = []
    for role, mine in holders.items():
        heads = sorted({(k, h) for m in mine.values() for k, layer in enumerate(m.having) for h in layer})
        rows += [
            {
                "run": selected.by_id[run].run,
                "role": role,
                "head": f"L{layer}H{head}",
                "has": head in mine[run].having[layer],
            }
            for run in runs
            for layer, head in heads or [(0, 0)]
            if run in mine and layer < len(mine[run].n_heads)
        ]
    return rows


def _connected(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Runs that pairs join, in the order they come in."""
    groups: list[list[int]] = []
    for a, b in pairs:
        mine = [g for g in groups if a in g or b in g]
        joined = list(dict.fromkeys([*(run for g in mine for run in g), a, b]))
        groups = [g for g in groups if g not in mine] + [joined]
    return groups


def _by_layer(readings: Readings, needed: Sequence[str]) -> dict[int, dict[int, Floats]]:
    """run_id -> layer -> (head, score) of the scores that decide, those without any value left out."""
    ids, layers = (readings.rows[c].to_numpy() for c in ("run_id", "layer"))
    columns = [readings.column(f"{score}_value") for score in needed]
    found: dict[int, dict[int, Floats]] = {}
    for run in np.unique(ids):
        found[int(run)] = {}
        for layer in np.unique(layers[ids == run]):
            mine = (ids == run) & (layers == layer)
            known = [c[mine] for c in columns if np.isfinite(c[mine]).all()]
            if known:
                found[int(run)][int(layer)] = np.stack(known, axis=1)
    return found


def common_by_init(selected: Selected, shared: Sequence[SharedLayer]) -> str:
    """Heads that all runs of an init give the role to; with the init where there are several: numbers mean other heads."""
    of_runs: dict[tuple[int, ...], list[str]] = {}
    for s in shared:
        of_runs.setdefault(s.run_ids, []).extend(f"L{s.number}H{h}" for h in sorted(s.layer.common))
    if len(of_runs) < 2:
        return " ".join(head for heads in of_runs.values() for head in heads)
    firsts = [(selected.by_id[runs[0]], heads) for runs, heads in of_runs.items()]
    known = len({run.init_seed for run, _ in firsts if run.init_seed is not None}) == len(firsts)
    return "; ".join(
        f"{f'init {run.init_seed}' if known else run.run}: {' '.join(heads)}"
        for run, heads in firsts
        if heads
    )
