"""How many rows the measures of a plan may write: neurons × checkpoints × runs grow fast. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from ingest.planning.plan import Plan, Run
from ingest.planning.wanted import Wanted

# Rows that one measure may still write for a study unless it says otherwise, by scope: 2 to 10 GB before
# compression each, at the sizes of GPT-2 small.
MAX_ROWS: Mapping[str, int] = {
    "head": 50_000_000,
    "head vector": 20_000_000,
    "head pair": 3_000_000,
    "token": 2_000_000,
    "token top": 10_000_000,
    "unit": 400_000,
    "unit top": 40_000_000,
    "unit histogram": 10_000_000,
    "unit vector": 50_000_000,
    "attention": 300_000,
    "item": 50_000_000,
}
# of any other scope: rows are few and short
MAX_OTHER_ROWS = 10_000_000
# what makes a measure write less, by scope; fewer checkpoints do for all of them
_LESS: Mapping[str, str] = {
    "token": "fewer sequences in the eval set (max_documents, n_sequences)",
    "token top": "fewer tokens in the eval set (max_documents, n_sequences, context)",
    "item": "fewer prompts (n_prompts)",
}


@dataclass(frozen=True)
class MeasureRows:
    """What one measure will still write: of how many cells, rows and gigabytes (10^9 bytes, before compression).

    limit: of rows; a plan beyond it is refused. less: what makes it fewer rows, besides fewer checkpoints.
    """

    measure: str
    cells: int
    rows: int
    gigabytes: float
    limit: int
    less: str = ""

    @property
    def is_beyond(self) -> bool:
        """Whether it is refused."""
        return self.rows > self.limit


def rows_of_plan(plan: Plan[Run], wanted: Wanted, limits: Mapping[str, int]) -> tuple[MeasureRows, ...]:
    """What every measure will still write, in the order of the study. limits: of rows, where the study gives one."""
    cells: dict[str, int] = {}
    rows: dict[str, int] = {}
    written: dict[str, int] = {}
    scopes: dict[str, str] = {}
    for condition in wanted.conditions.values():
        scopes |= {one.measure: one.scope for one in condition.measured}
    for task in plan.tasks:
        of_key = {one.key: one for one in wanted.conditions[task.run.label].measured}
        for keys in task.all_cells.values():
            for one in map(of_key.__getitem__, keys):
                cells[one.measure] = cells.get(one.measure, 0) + 1
                rows[one.measure] = rows.get(one.measure, 0) + one.rows
                written[one.measure] = written.get(one.measure, 0) + one.row_bytes
    return tuple(
        MeasureRows(
            measure=name,
            cells=cells[name],
            rows=rows[name],
            gigabytes=written[name] / 1e9,
            limit=limits.get(name, MAX_ROWS.get(scope, MAX_OTHER_ROWS)),
            less=_LESS.get(scope, ""),
        )
        for name, scope in scopes.items()
        if name in cells
    )


def refusal(beyond: MeasureRows) -> str:
    """Why a measure's plan is refused, with the numbers and what to change."""
    changes = [
        f'fewer checkpoints (measures.schedule."{beyond.measure}" = "sparse", "final" or a number)',
        *([beyond.less] if beyond.less else []),
        f'fewer runs, or a larger measures.max_rows."{beyond.measure}"',
    ]
    return (
        f"{beyond.measure} would write an estimated {beyond.rows:,} rows ({beyond.cells:,} cells, "
        f"{beyond.gigabytes:,.3g} GB), allowed {beyond.limit:,}: take {', '.join(changes)}"
    )
