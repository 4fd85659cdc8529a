"""The Search page: what was chosen, which checkpoints can be searched, and the tables of what was found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from archive.store import Archive
from queries.reading.checkpoints import find_left_out
from queries.reading.quantities import choose_quantity
from queries.reading.select import RunSelection, select_runs
from queries.reading.text_matches import LONGEST, By
from queries.search_effects import SearchEffects
from queries.search_heads import SearchHeads
from queries.search_neurons import SearchNeurons
from ui.models.address import page_address
from ui.models.component_sets import ComponentSet, which_of
from ui.models.marked_text import with_signs
from ui.models.text import shorten

ALL = "all runs"
KINDS = ("peak token is", "peaks in text", "raises token", "lowers token")
MOST_ROWS = 200  # of a table; nobody reads more, and the CSV has all of them
TOPS, EFFECTS, PATTERNS, LOSSES = "fact_neuron_top", "fact_vector", "fact_attention", "fact_token"

# of the ledger; runs beside steps, to open on a checkpoint that as many runs as possible have
_STEPS_SQL = """\
SELECT c.step, count(DISTINCT c.run_id) AS n_runs
FROM cell l JOIN checkpoint c ON c.id = l.subject_id
WHERE l.subject_kind = 1 AND l.state = 1 AND l.quantity_id = $quantity_id AND c.run_id IN (SELECT unnest($run_ids))
  AND c.id NOT IN (SELECT unnest($left_out))
GROUP BY c.step ORDER BY c.step"""


@dataclass(frozen=True)
class SearchChoices:
    """Everything that was chosen on the page beside the runs; the fields' names are the address's.

    neuron: the row whose examples are shown, as `label_of` names it.
    """

    text: str
    kind: str
    eval_set: str
    variant: str
    focus: str
    step: int
    within: int = 0
    same_case: bool = False
    x_scale: str = "log"
    y_scale: str = "linear"
    neuron: str = ""

    @property
    def of_examples(self) -> bool:
        """Whether top examples are searched, rather than effects on the logits."""
        return self.kind in KINDS[:2]

    @property
    def by(self) -> By:
        """As the query calls it."""
        return "text" if self.kind == KINDS[1] else "token"

    @property
    def direction(self) -> Literal["raises", "lowers"]:
        """As the query of effects calls it."""
        return "lowers" if self.kind == KINDS[3] else "raises"


@dataclass(frozen=True)
class Steps:
    """Checkpoints that can be searched, ascending, and the last of those that most runs have."""

    steps: tuple[int, ...]
    first: int


def cut(text: str) -> str:
    """What is searched for of what stands in the address: no more than the query takes."""
    whole = text.encode(errors="replace").decode()
    return whole[:LONGEST]


def steps_of(
    archive: Archive, *, selection: RunSelection, known: ComponentSet, table: str, suspect: bool
) -> Steps:
    """Steps at which any of the runs has the set; raises what `choose_quantity` does."""
    which = which_of(known, suspect=suspect)
    choice = choose_quantity(
        archive, select_runs(archive, selection), [known.measure], which, tables=(table,)
    )
    parameters = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": choice.selected.ids,
        "left_out": find_left_out(archive, choice, which).ids,
    }
    rows = archive.rows(_STEPS_SQL, parameters)
    most = max((r["n_runs"] for r in rows), default=0)
    first = max((r["step"] for r in rows if r["n_runs"] == most), default=0)
    return Steps(tuple(r["step"] for r in rows), first)


def label_of(row: Mapping[str, Any]) -> str:
    """A neuron of a run, as the page's choice of examples names it."""
    return f"{row['neuron']} of {row['run']}"


def neurons_table(found: SearchNeurons, here: str) -> pa.Table:
    """The first rows with an address of the neuron's page each; here: the address of any page."""
    rows = [
        {
            "neuron": r["neuron"],
            "matches": r["n_matches"],
            "of": r["n_examples"],
            "expected": r["expected"],
            "q": r["q"],
            "found": "yes" if r["found"] else "no",
            "since": r["since"],
            "rank": r["best_rank"],
            "relative": r["relative"],
            "value": r["value"],
            "open": page_address(
                here, "neuron", focus=r["run"], step=r["step"], layer=r["layer"], unit=r["unit"]
            ),
            "run": r["run"],
        }
        for r in found.table.slice(0, MOST_ROWS).to_pylist()
    ]
    whole, real = pa.int64(), pa.float64()
    kinds = {
        **dict.fromkeys(("matches", "of", "since", "rank"), whole),
        **dict.fromkeys(("expected", "q", "relative", "value"), real),
    }
    names = ("neuron", "matches", "of", "expected", "q", "found", "since", "rank", "relative", "value")
    return _table(rows, (*names, "open", "run"), kinds)


def effects_table(found: SearchEffects, here: str) -> pa.Table:
    """The same of neurons that list the token, strongest first."""
    rows = [
        {
            "neuron": r["neuron"],
            "token": with_signs(r["token"]),
            "value": r["value"],
            "rank": r["rank"],
            "open": page_address(
                here, "neuron", focus=r["run"], step=r["step"], layer=r["layer"], unit=r["unit"]
            ),
            "run": r["run"],
        }
        for r in found.table.slice(0, MOST_ROWS).to_pylist()
    ]
    return _table(
        rows,
        ("neuron", "token", "value", "rank", "open", "run"),
        {"value": pa.float64(), "rank": pa.int64()},
    )


def heads_table(found: SearchHeads, here: str) -> pa.Table:
    """Heads with an address of the head's page each."""
    rows = [
        {
            "head": r["head"],
            "attention": r["attention"],
            "chance": r["chance"],
            "excess": r["excess"],
            "q": r["q"],
            "found": "yes" if r["found"] else "no",
            "since": r["since"],
            "open": page_address(here, "heads", focus=r["run"], step=r["step"], head=r["head"]),
            "run": r["run"],
        }
        for r in found.table.slice(0, MOST_ROWS).to_pylist()
    ]
    kinds = dict.fromkeys(("attention", "chance", "excess", "q"), pa.float64()) | {"since": pa.int64()}
    names = ("head", "attention", "chance", "excess", "q", "found", "since", "open", "run")
    return _table(rows, names, kinds)


def hits_table(found: SearchNeurons, here: str, eval_set: str, *, linked: bool) -> pa.Table:
    """Documents with the most places first: name, places, tokens, the first place with the text around it.

    linked: losses of the eval set's tokens are in the archive, so that Compare can show the sequence.
    """
    rows = [
        {
            "document": shorten(r["document"], 60),
            "places": r["n_places"],
            "tokens": r["n_tokens"],
            "text": f"{_line(r['before'])}«{_line(r['text'])}»{_line(r['after'])}",
            "sequence": r["sequence"],
            "open": page_address(here, "compare", eval_set=eval_set, sequence=r["sequence"])
            if linked
            else None,
        }
        for r in found.hits.to_pylist()
    ]
    return _table(
        rows,
        ("document", "places", "tokens", "text", "sequence", "open"),
        dict.fromkeys(("places", "tokens", "sequence"), pa.int64()),
    )


def counts(found: SearchNeurons | SearchEffects, direction: str = "") -> list[dict[str, Any]]:
    """Per run, step and layer how many neurons are found (or list the token): run, step, layer, n, n_neurons."""
    column = "n_found" if isinstance(found, SearchNeurons) else "n_listing"
    return [
        {**{k: r[k] for k in ("run", "group", "step", "layer", "n_neurons")}, "n": r[column]}
        for r in found.history.to_pylist()
        if not direction or r["direction"] == direction
    ]


def course(found: SearchNeurons | SearchEffects, direction: str = "") -> list[dict[str, Any]]:
    """Means over the runs of a condition with their intervals: group, step, n_runs, mean, low, high."""
    return [r for r in found.course.to_pylist() if not direction or r["direction"] == direction]


def _line(text: str) -> str:
    """Text in one line with its line breaks as signs."""
    return "".join(" " if c == " " else with_signs(c) for c in text)


def _table(rows: list[dict[str, Any]], names: tuple[str, ...], kinds: Mapping[str, pa.DataType]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=pa.schema([(n, kinds.get(n, pa.string())) for n in names]))
