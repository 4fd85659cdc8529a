"""Which attention heads look at a token or a text on the stored frozen items, more than evenly spread attention would."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.checkpoints import Step, find_left_out, pick_checkpoints
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.text_matches import By, SameCase, Search, Text, checked, matched_sql
from queries.reading.units import row_limits, units_by_group
from queries.registry import query
from queries.render import number
from queries.results import Answer, Provenance, readable_sql
from queries.stats.multiple import benjamini_hochberg
from queries.stats.token_attention import above_even

Floats = NDArray[np.float64]

_MOST_SQL = """\
WITH eval AS (SELECT id, tokenizer_id FROM encoding WHERE id = $encoding_id),
items AS (
  SELECT item, max(n_key) AS n_key FROM fact_attention
  WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids)) GROUP BY item
), read AS (
  SELECT unnest(s.token_ids[1:i.n_key]) AS token_id
  FROM items i JOIN content_sequence s ON s.sequence = i.item AND s.encoding_id = (SELECT id FROM eval)
)
SELECT w.text FROM read r JOIN content_vocab w ON w.token_id = r.token_id
WHERE w.tokenizer_id = (SELECT tokenizer_id FROM eval) AND NOT w.special AND length(w.text) > 0
GROUP BY w.token_id, w.text ORDER BY count(*) DESC, w.token_id LIMIT 1"""

# Each pattern times 1 where the key matches: no cell of a pattern leaves the database. Evenly spread means over the keys
# that a query sees: itself and those before.
_LOOKS = """
, shapes AS (
  SELECT DISTINCT item, n_query, n_key FROM fact_attention
  WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids))
), keys AS (
  SELECT s.item, s.n_query, s.n_key, k.position, CASE WHEN m.sequence IS NULL THEN 0 ELSE 1 END AS hit
  FROM (SELECT *, unnest(range(n_key)) AS position FROM shapes) s
  JOIN sizes z ON z.sequence = s.item
  CROSS JOIN LATERAL (SELECT s.position) k(position)
  LEFT JOIN matched m ON m.sequence = s.item AND m.position = k.position
), rows_of AS (
  SELECT item, n_query, n_key, list(hit::FLOAT ORDER BY position) AS hits, sum(hit)::BIGINT AS n_hits FROM keys GROUP BY ALL
), weights AS (
  SELECT item, n_query, n_key, n_hits, flatten(list_transform(range(n_query), lambda q: hits)) AS weight,
         list_sum(list_transform(range(n_query), lambda q: list_sum(hits[1:q + 1 + n_key - n_query]) / (q + 1 + n_key - n_query)))
           / n_query AS even,
         len(list_filter(range(n_query), lambda q: list_sum(hits[1:q + 1 + n_key - n_query]) > 0)) / n_query AS able
  FROM rows_of
)
SELECT f.run_id, r.name AS run_name, c.step AS at_step, f.layer AS in_layer, f.head AS number,
       list(list_inner_product(f."values", w.weight) / w.n_query ORDER BY f.item) AS looks, list(w.even ORDER BY f.item) AS evens,
       list(w.able ORDER BY f.item) AS ables, list(w.n_hits ORDER BY f.item) AS hits
FROM fact_attention f
JOIN weights w ON w.item = f.item AND w.n_query = f.n_query AND w.n_key = f.n_key
JOIN checkpoint c ON c.id = f.checkpoint_id
JOIN run r ON r.id = f.run_id
WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids)) AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
GROUP BY ALL
ORDER BY run_id, at_step, in_layer, number"""

_TABLE = pa.schema(
    [
        ("head", pa.string()),
        ("run", pa.string()),
        ("step", pa.int64()),
        *((name, pa.float64()) for name in ("attention", "chance", "excess", "q")),
        ("found", pa.bool_()),
        ("since", pa.int64()),
        ("since_after", pa.int64()),
        ("p", pa.float64()),
        *((name, pa.int64()) for name in ("n_items", "layer", "number")),
        ("group", pa.string()),
    ]
)
_HISTORY = pa.schema(
    [
        ("run", pa.string()),
        ("group", pa.string()),
        ("step", pa.int64()),
        ("head", pa.string()),
        ("attention", pa.float64()),
        ("chance", pa.float64()),
        ("found", pa.bool_()),
    ]
)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SearchHeads(Answer):
    """Every head's attention on the token, on the frozen items whose patterns are stored.

    table: head (L0H1), run, step, attention (mean over queries and items of what goes to keys that match, 0 to 1), chance
    (the same of attention spread evenly over what each query sees), excess, p (one-sided t over items with a match, each as
    a share of the attention that could go there), q (over
    all heads of all runs at that step), found (q below fdr and at least least_excess beyond chance), since and since_after
    as for neurons, n_items with a match, layer, number, group; the largest excess first.
    history: the same over checkpoints.
    """

    text: str
    by: By
    fdr: float
    n_places: int
    history: pa.Table

    def plot(self) -> go.Figure:
        """Every head: attention on the token against evenly spread attention."""
        from queries.figures.search import heads_looking

        return heads_looking(self)


@query(title="Which heads look at a token or a text?")
def search_heads(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    text: Text = "",
    by: Annotated[
        By, Field(description="token: keys that are this token; text: keys within this text")
    ] = "token",
    same_case: SameCase = False,
    step: Step = "final",
    fdr: Annotated[
        float, Field(gt=0, lt=1, description="share of false finds among heads that are found")
    ] = 0.05,
    least_excess: Annotated[
        float, Field(ge=0, lt=1, description="least attention beyond chance of a head that is found")
    ] = 0.05,
    **which: Unpack[Which],
) -> SearchHeads:
    """Attention of every head on one token or text, on the few frozen items whose patterns are stored.

    The item is the unit of the test within a run: with fewer than two items that hold the token nothing is found. Heads are
    counted run by run and never matched between runs.
    """
    selected = select_runs(archive, runs)
    choice = choose_quantity(archive, selected, ["attention_pattern"], which, tables=("fact_attention",))
    left_out = find_left_out(archive, choice, which)
    used, quantity = choice.selected, choice.quantity
    encoding_id = int(
        archive.value("SELECT encoding_id FROM quantity WHERE id = $id", {"id": quantity.quantity_id})
    )
    known: dict[str, object] = {"quantity_id": quantity.quantity_id, "run_ids": used.ids}
    if not text:
        most = archive.rows(_MOST_SQL, {**known, "encoding_id": encoding_id}) if by == "token" else []
        if not most:
            raise UsageError(
                "text='' asks for nothing here: write what to search for, such as text='the' (by='token' takes the token that "
                "the frozen items hold most often, where the archive has their text)."
            )
        text, same_case = str(most[0]["text"]), True
    search = Search(checked(text), by, same_case)
    parameters = search.parameters(encoding_id) | known | {"left_out": left_out.ids}
    sql = matched_sql(by, _LOOKS)
    picked = pick_checkpoints(archive, used, quantity, left_out, step)
    places = {run: at for run, (_, at) in picked.at.items()}
    heads = _judged(archive.rows(sql, parameters), fdr, least_excess)
    table, history = _tables(used, heads, places)
    n_places = max((sum(h["hits"]) for h in heads), default=0)
    # no p or interval is over runs
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    return SearchHeads(
        sentence=_sentence(text, table, n_places),
        table=table,
        history=history,
        text=text,
        by=by,
        fdr=fdr,
        n_places=n_places,
        n_runs=len(places),
        n_items=max((h["n_items"] for h in heads), default=0),
        unit=quantity.shown_unit,
        null_name="attention spread evenly over what each query sees",
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *row_limits(units_by_group(used, used.only(places).ids)),
            *_limits(heads, n_places, used, places),
        ),
        provenance=provenance,
        sql=readable_sql(sql, parameters),
    )


def _judged(rows: list[dict[str, Any]], fdr: float, least_excess: float) -> list[dict[str, Any]]:
    """Each head at each checkpoint with attention, chance, p, and q over the heads of its step."""
    heads: list[dict[str, Any]] = []
    for r in rows:
        hits = np.array(r["hits"]) > 0
        looks, evens, ables = (np.array(r[name], float)[hits] for name in ("looks", "evens", "ables"))
        attention, chance, p = above_even(looks, evens, ables)
        heads.append({**r, "attention": attention, "chance": chance, "p": p, "n_items": int(hits.sum())})
    for step in {h["at_step"] for h in heads}:
        mine = [h for h in heads if h["at_step"] == step]
        q = benjamini_hochberg(np.array([h["p"] for h in mine], float))
        for head, value in zip(mine, q.tolist(), strict=True):
            head["q"] = value
            head["found"] = value < fdr and head["attention"] - head["chance"] >= least_excess
    return heads


def _tables(
    used: Selected, heads: Sequence[dict[str, Any]], places: dict[int, int]
) -> tuple[pa.Table, pa.Table]:
    by_head: dict[tuple[int, int, int], list[dict[str, Any]]] = {}
    for h in heads:
        by_head.setdefault((h["run_id"], h["in_layer"], h["number"]), []).append(h)
    table, history = [], []
    for (run, layer, number_), mine in by_head.items():
        name = f"L{layer}H{number_}"
        about = {"run": mine[0]["run_name"], "group": used.groups[run], "head": name}
        history += [
            {
                **about,
                "step": h["at_step"],
                **{k: _known(h[k]) for k in ("attention", "chance")},
                "found": h["found"],
            }
            for h in mine
        ]
        at = next((k for k, h in enumerate(mine) if h["at_step"] == places.get(run)), None)
        if at is None:
            continue
        h, first = mine[at], at
        while h["found"] and first and mine[first - 1]["found"]:
            first -= 1
        table.append(
            {
                **about,
                "step": h["at_step"],
                **{k: _known(h[k]) for k in ("attention", "chance", "p", "q")},
                "excess": _known(h["attention"] - h["chance"]),
                "found": h["found"],
                "since": mine[first]["at_step"] if h["found"] else None,
                "since_after": mine[first - 1]["at_step"] if h["found"] and first else None,
                "n_items": h["n_items"],
                "layer": layer,
                "number": number_,
            }
        )
    table.sort(key=lambda r: (not r["found"], -(r["excess"] if r["excess"] is not None else -1.0)))
    return pa.Table.from_pylist(table, schema=_TABLE), pa.Table.from_pylist(history, schema=_HISTORY)


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _sentence(text: str, table: pa.Table, n_places: int) -> str:
    if not n_places:
        return f"{text!r} stands in none of the frozen items whose attention is stored, so nothing can be said of heads."
    rows = table.to_pylist()
    found = [r for r in rows if r["found"]]
    start = f"{len(found):,} of {len(rows):,} heads look at {text!r} more than evenly spread attention would"
    best = next((r for r in rows if r["excess"] is not None), None)
    if best is None:
        return f"{start}."
    return (
        f"{start}; most does {best['head']} of {best['run']}: {number(best['attention'], 3)} where evenly spread attention "
        f"gives {number(best['chance'], 3)}."
    )


def _limits(
    heads: Sequence[dict[str, Any]], n_places: int, used: Selected, places: dict[int, int]
) -> list[str]:
    lines = []
    absent = [r.run for r in used.runs if r.run_id not in places]
    if absent:
        lines.append(f"{len(absent)} run(s) have no patterns at that step (first: {absent[0]}).")
    n_items = max((h["n_items"] for h in heads), default=0)
    lines.append(
        f"Patterns are stored of few items: {n_items} of them hold this, at {n_places} places. A head that looks at it elsewhere "
        "is not found."
    )
    if n_items < 2:
        lines.append("Fewer than two items hold it, so no head can be told from chance.")
    lines.append(
        "Chance is attention spread evenly: a head that looks at the token before, or at the first token, gets more or less than "
        "that wherever the token happens to stand."
    )
    lines.append("Where a head looks is not what it does.")
    return lines
