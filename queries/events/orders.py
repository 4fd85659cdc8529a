"""Whether the runs of a group agree on an order of events, each known to a bracket."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from queries.reading.units import Units, among
from queries.render import number
from queries.results import Verdict
from queries.stats.concordance import Concordance, concordance
from queries.stats.intervals import Bracket
from queries.stats.precedence import Precedence, interval_ranks, precedence

Floats = NDArray[np.float64]

FEWEST_RUNS = 3
ALPHA = 0.05
NULL = "independent random orders (Kendall's W, permutations within runs)"

ORDER_SCHEMA = pa.schema(
    [
        ("group", pa.string()),
        ("n_runs", pa.int64()),
        ("n_units", pa.int64()),
        ("unit", pa.string()),
        ("n_events", pa.int64()),
        ("w", pa.float64()),
        ("w_null_q95", pa.float64()),
        ("p", pa.float64()),
        ("order", pa.string()),
        ("modal_order", pa.string()),
        ("n_modal", pa.int64()),
        ("verdict", pa.string()),
    ]
)


@dataclass(frozen=True)
class Order:
    """What the runs of one group say about the order of events.

    agreement: Kendall's W with its null, of the runs that know every event, or as many of them as share no seed; ranks by
    run_id, for all that know every event. mean: events by their mean rank. modal: the commonest full order and in how many runs
    it is; "=" joins events whose order in a run is unclear. pairs: every two events. unit: the seed that runs share, else run.
    """

    names: tuple[str, ...]
    ranks: Mapping[int, Floats]
    agreement: Concordance
    mean: str
    modal: str
    n_modal: int
    pairs: Mapping[tuple[str, str], Precedence]
    unit: str = "run"

    @property
    def verdict(self) -> Verdict:
        """Yes where the runs agree more than random orders do; nothing shows that they do not."""
        enough = self.agreement.n_runs >= FEWEST_RUNS and self.agreement.p < ALPHA
        return "yes" if enough else "unresolved"

    @property
    def sentence(self) -> str:
        """W beside what chance reaches, and the order."""
        runs = among({"n_units": self.agreement.n_runs, "unit": self.unit})
        if self.agreement.n_runs < FEWEST_RUNS:
            return f"{len(self.ranks)} run(s){runs} know every event, too few to say whether they agree on an order"
        if np.isnan(self.agreement.w):
            return "no run shows any order: all brackets overlap"
        return (
            f"the order of {len(self.names)} events agrees over {len(self.ranks)} runs{runs} with W = "
            f"{number(self.agreement.w, 2)} (random orders stay below {number(self.agreement.q95, 2)} in 95 %, "
            f"p = {number(self.agreement.p, 2)}): {self.mean}"
        )

    def row(self, group: str) -> dict[str, object]:
        """A row of ORDER_SCHEMA."""
        known = not np.isnan(self.agreement.w)
        return {
            "group": group,
            "n_runs": len(self.ranks),
            "n_units": self.agreement.n_runs,
            "unit": self.unit,
            "n_events": len(self.names),
            "w": self.agreement.w if known else None,
            "w_null_q95": self.agreement.q95 if known else None,
            "p": self.agreement.p if known else None,
            "order": self.mean,
            "modal_order": self.modal,
            "n_modal": self.n_modal,
            "verdict": self.verdict,
        }


def find_order(
    names: Sequence[str], brackets: Mapping[int, Sequence[Bracket]], level: float, units: Units
) -> Order | None:
    """The order of events over runs; None where fewer than two events or no run is left.

    brackets: per run_id one bracket an event. A run that has no data for some event is in the pairs it
    knows, not in W. units: which of the runs share seeds; W, p and intervals are of runs of which no two share one.
    """
    if len(names) < 2 or not brackets:
        return None
    low = np.array([[b.low if b.n_points else np.nan for b in row] for row in brackets.values()])
    high = np.array([[b.high if b.n_points else np.nan for b in row] for row in brackets.values()])
    runs = np.array(list(brackets))
    pairs = {
        (names[a], names[b]): _precedence(runs, low, high, (a, b), level, units)
        for a, b in combinations(range(len(names)), 2)
    }
    whole = ~np.isnan(low).any(axis=1)
    if not whole.any():
        return None
    ranks = interval_ranks(low[whole], high[whole])
    known = runs[whole].tolist()
    orders = Counter(_written(names, row) for row in ranks)
    modal, n_modal = orders.most_common(1)[0]
    return Order(
        names=tuple(names),
        ranks=dict(zip(known, ranks, strict=True)),
        agreement=concordance(ranks[np.isin(known, units.apart(known))]),
        mean=_written(names, ranks.mean(axis=0)),
        modal=modal,
        n_modal=n_modal,
        pairs=pairs,
        unit=str(units.columns(known)["unit"]),
    )


def _precedence(
    runs: NDArray[np.int64], low: Floats, high: Floats, pair: tuple[int, int], level: float, units: Units
) -> Precedence:
    """Which of two events comes first: counted over runs, judged on those of them that share no seed."""
    found = precedence(low, high, *pair, level)
    known = runs[~np.isnan(low[:, list(pair)]).any(axis=1)].tolist()
    judged = units.apart(known)
    if len(judged) == len(known):
        return found
    kept = np.isin(runs, judged)
    of_units = precedence(low[kept], high[kept], *pair, level)
    return replace(found, n_units=len(judged), low=of_units.low, high=of_units.high, p=of_units.p)


def order_limits(orders: Sequence[Order]) -> list[str]:
    """What every answer about an order has to say."""
    lines = []
    unclear = sum(p.n_unclear for o in orders for p in o.pairs.values())
    pairs = sum(p.n_unclear + p.n_before + p.n_after for o in orders for p in o.pairs.values())
    if unclear:
        lines.append(
            f"In {unclear} of {pairs} pairs of events the brackets overlap, so which came first is unknown: such pairs "
            "count half for either order, in W as in its null, and against either side in the intervals of pairs."
        )
    if any(o.agreement.n_runs <= 5 for o in orders):
        lines.append(
            "An order seen in 5 of 5 runs still allows a chance of 48 % that another run shows it; no pair of events "
            "can be called ordered at 95 % with fewer than 6 runs."
        )
    lines.append(
        "Agreement on an order is no mechanism: only a change of the data or the model can show one."
    )
    return lines


def _written(names: Sequence[str], ranks: Floats) -> str:
    """The events by rank: "a < b = c"."""
    text, before = "", None
    for k in np.argsort(ranks, kind="stable"):
        if before is not None:
            text += " = " if abs(ranks[k] - before) < 1e-9 else " < "
        text += names[int(k)]
        before = float(ranks[k])
    return text
