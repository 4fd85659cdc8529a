"""Which neurons raise or lower the logit of a token most, and since when."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Unpack

import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.checkpoints import Step, find_left_out, pick_checkpoints
from queries.reading.neuron_courses import course_table
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.text_matches import BLANK, SameCase, Text, checked
from queries.reading.units import units_by_group, units_limits
from queries.registry import query
from queries.results import Answer, Provenance, readable_sql

Direction = Literal["raises", "lowers", "both"]

# the words of token ids: an effect needs no eval set, so its tokenizer is that of the eval sets of the same runs
_TOKENIZERS_SQL = """\
SELECT k.id AS tokenizer_id, k.name, min(e.name) AS eval_set, any_value(w.n_words) AS n_words
FROM (SELECT DISTINCT l.quantity_id FROM cell l JOIN checkpoint c ON c.id = l.subject_id
      WHERE l.subject_kind = 1 AND l.state = 1 AND c.run_id IN (SELECT unnest($run_ids))) l
JOIN quantity q ON q.id = l.quantity_id
JOIN encoding e ON e.id = q.encoding_id
JOIN tokenizer k ON k.id = e.tokenizer_id
JOIN (SELECT tokenizer_id, count(*) AS n_words FROM content_vocab GROUP BY tokenizer_id) w ON w.tokenizer_id = k.id
GROUP BY k.id, k.name ORDER BY k.id"""

_LISTS = """\
WITH words AS (
  SELECT token_id, text, special FROM content_vocab WHERE tokenizer_id = $tokenizer_id
), lists AS (
  SELECT f.run_id, f.checkpoint_id, f.layer, f.unit, split_part(p.name, '_', 1) AS side, split_part(p.name, '_', 2) AS what,
         f."values" AS entries
  FROM fact_vector f JOIN part p ON p.id = f.part_id
  WHERE f.quantity_id = $quantity_id AND f.run_id IN (SELECT unnest($run_ids))
    AND f.checkpoint_id NOT IN (SELECT unnest($left_out))
), tokens AS (
  SELECT run_id, checkpoint_id, layer, unit, side, unnest(entries)::BIGINT AS token_id, generate_subscripts(entries, 1) AS rank
  FROM lists WHERE what = 'tokens' AND side IN (SELECT unnest($sides))
)"""

_MOST_SQL = f"""\
{_LISTS}
SELECT w.text FROM tokens t JOIN words w ON w.token_id = t.token_id
WHERE NOT w.special AND length(w.text) > 0
GROUP BY w.token_id, w.text ORDER BY count(*) DESC, w.token_id LIMIT 1"""

_SQL = f"""\
{_LISTS}, wanted AS (
  SELECT token_id, text FROM words
  WHERE CASE WHEN $text = trim($text, $blank) THEN trim(text, $blank) ELSE text END = $text
     OR (NOT $same_case AND lower(CASE WHEN $text = trim($text, $blank) THEN trim(text, $blank) ELSE text END) = lower($text))
), listed AS (
  SELECT t.*, w.text, v.entries[t.rank] AS effect
  FROM tokens t JOIN wanted w ON w.token_id = t.token_id
  LEFT JOIN lists v ON v.what = 'values' AND v.run_id = t.run_id AND v.checkpoint_id = t.checkpoint_id AND v.layer = t.layer
                   AND v.unit = t.unit AND v.side = t.side
), sizes AS (
  SELECT run_id, checkpoint_id, layer, side, count(*) AS n_units, max(len(entries)) AS n_listed
  FROM lists WHERE what = 'tokens' AND side IN (SELECT unnest($sides)) GROUP BY ALL
)
SELECT l.run_id, r.name AS run_name, c.step AS at_step, l.layer AS in_layer, l.unit AS number, l.side, l.rank AS place,
       l.token_id, l.text AS word, l.effect, NULL::BIGINT AS n_units, NULL::BIGINT AS n_listed,
       (SELECT count(*) FROM wanted) AS n_wanted
FROM listed l JOIN checkpoint c ON c.id = l.checkpoint_id JOIN run r ON r.id = l.run_id
UNION ALL
SELECT s.run_id, r.name, c.step, s.layer, -1, s.side, NULL, NULL, NULL, NULL, s.n_units, s.n_listed, (SELECT count(*) FROM wanted)
FROM sizes s JOIN checkpoint c ON c.id = s.checkpoint_id JOIN run r ON r.id = s.run_id
ORDER BY run_id, at_step, in_layer, number, side, place"""

_TABLE = pa.schema(
    [
        ("neuron", pa.string()),
        ("run", pa.string()),
        ("step", pa.int64()),
        ("direction", pa.string()),
        ("token", pa.string()),
        ("value", pa.float64()),
        ("rank", pa.int64()),
        *((name, pa.int64()) for name in ("token_id", "layer", "unit")),
        ("group", pa.string()),
    ]
)
_HISTORY = pa.schema(
    [
        ("run", pa.string()),
        ("group", pa.string()),
        ("step", pa.int64()),
        ("layer", pa.int64()),
        ("direction", pa.string()),
        ("n_neurons", pa.int64()),
        ("n_listing", pa.int64()),
        ("expected", pa.float64()),
    ]
)
_SUMMARY = pa.schema(
    [
        ("run", pa.string()),
        ("group", pa.string()),
        ("step", pa.int64()),
        ("direction", pa.string()),
        ("n_neurons", pa.int64()),
        ("n_listing", pa.int64()),
        ("expected", pa.float64()),
        ("strongest", pa.string()),
        ("value", pa.float64()),
    ]
)
_NAMES = {"top": "raises", "bottom": "lowers"}


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SearchEffects(Answer):
    """Neurons that have the token among those they raise or lower most.

    table: neuron (L0N3), run, step, direction (raises, lowers), token, value (logits per unit of activation), rank (1 = the
    furthest of those stored), token_id, layer, unit, group; the strongest first.
    history: per run, checkpoint, layer and direction n_neurons, n_listing (that have it in their list), expected (how many
    would if lists were random tokens). course: per direction, group and checkpoint mean (neurons of a run that list it) with its
    Student interval over n_runs (95 %). summary: per run and direction the same at the step shown, and the strongest.
    """

    text: str
    history: pa.Table
    course: pa.Table

    def plot(self) -> go.Figure:
        """A line per run: how many neurons list the token at each checkpoint."""
        from queries.figures.search import neurons_listing

        return neurons_listing(self)


@query(title="Which neurons raise or lower a token most?")
def search_effects(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    text: Text = "",
    direction: Annotated[
        Direction, Field(description="neurons that raise its logit, that lower it, or both")
    ] = "both",
    same_case: SameCase = False,
    step: Step = "final",
    **which: Unpack[Which],
) -> SearchEffects:
    """Search the tokens that each neuron's output raises and lowers most for one token.

    Direct effects on the logits, without later layers and the final LayerNorm. A token without white space around it also
    finds itself with some. step: of each run its last checkpoint with effects, or exactly that one.
    """
    selected = select_runs(archive, runs)
    choice = choose_quantity(archive, selected, ["neuron.logit_effect"], which, tables=("fact_vector",))
    left_out = find_left_out(archive, choice, which)
    used = choice.selected
    tokenizer, n_words = _tokenizer(archive, used)
    known: dict[str, object] = {
        "quantity_id": choice.quantity.quantity_id,
        "run_ids": used.ids,
        "left_out": left_out.ids,
        "tokenizer_id": tokenizer,
        "sides": [side for side, name in _NAMES.items() if direction in (name, "both")],
    }
    if not text:
        most = archive.rows(_MOST_SQL, known)
        text, same_case = (str(most[0]["text"]) if most else "\n"), True
    parameters = {**known, "text": checked(text), "same_case": same_case, "blank": BLANK}
    picked = pick_checkpoints(archive, used, choice.quantity, left_out, step)
    rows = archive.query(_SQL, parameters)
    is_size = pc.equal(rows["number"], -1)
    places = {run: at for run, (_, at) in picked.at.items()}
    lists, sizes = rows.filter(pc.invert(is_size)).to_pylist(), rows.filter(is_size).to_pylist()
    table, history, summary = _tables(used, places, lists, sizes, n_words)
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    n_wanted = int(rows["n_wanted"][0].as_py()) if rows.num_rows else 0
    return SearchEffects(
        sentence=_sentence(text, n_wanted, summary),
        table=table,
        summary=summary,
        history=history,
        course=_courses(history, used),
        text=text,
        n_runs=len(places),
        n_items=None,
        unit="logits",
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *units_limits(units_by_group(used, used.only(places).ids), ""),
            *_limits(sizes, n_wanted, text, used, places),
        ),
        provenance=provenance,
        sql=readable_sql(_SQL, parameters),
    )


def _tokenizer(archive: Archive, used: Selected) -> tuple[int, int]:
    """The one tokenizer of the runs and how many words of it are known."""
    rows = archive.rows(_TOKENIZERS_SQL, {"run_ids": used.ids})
    if not rows:
        raise UsageError(
            "the archive does not know what the token ids of these runs read as: no eval set with tokens was measured on them; "
            "`pathscope ingest STUDY.toml --fill neuron.top` brings one in."
        )
    if len(rows) > 1:
        names = ", ".join(r["name"] for r in rows)
        raise NotComparable(
            f"these runs have eval sets of {len(rows)} tokenizers ({names}), in which a token id reads differently; ask for runs "
            "of one of them, such as runs='family:X'."
        )
    return int(rows[0]["tokenizer_id"]), int(rows[0]["n_words"])


def _tables(
    used: Selected,
    places: dict[int, int],
    lists: Sequence[dict[str, Any]],
    sizes: Sequence[dict[str, Any]],
    n_words: int,
) -> tuple[pa.Table, pa.Table, pa.Table]:
    shown = [r for r in lists if places.get(r["run_id"]) == r["at_step"]]
    shown.sort(key=lambda r: (-abs(r["effect"] or 0.0), r["run_id"], r["in_layer"], r["number"]))
    table = [
        {
            "neuron": f"L{r['in_layer']}N{r['number']}",
            "run": r["run_name"],
            "group": used.groups[r["run_id"]],
            "step": r["at_step"],
            "direction": _NAMES[r["side"]],
            "token": r["word"],
            "value": r["effect"],
            "rank": r["place"],
            "token_id": r["token_id"],
            "layer": r["in_layer"],
            "unit": r["number"],
        }
        for r in shown
    ]
    listing: dict[tuple[Any, ...], set[int]] = {}
    for r in lists:
        listing.setdefault((r["run_id"], r["at_step"], r["in_layer"], r["side"]), set()).add(r["number"])
    history = [
        {
            "run": r["run_name"],
            "group": used.groups[r["run_id"]],
            "step": r["at_step"],
            "layer": r["in_layer"],
            "direction": _NAMES[r["side"]],
            "n_neurons": r["n_units"],
            "n_listing": len(listing.get((r["run_id"], r["at_step"], r["in_layer"], r["side"]), ())),
            "expected": r["n_units"] * min(1.0, r["n_wanted"] * r["n_listed"] / max(n_words, 1)),
        }
        for r in sizes
    ]
    names = {used.by_id[run].run: at for run, at in places.items()}
    summary = []
    for run, at in names.items():
        for name in dict.fromkeys(h["direction"] for h in history):
            mine = [h for h in history if (h["run"], h["step"], h["direction"]) == (run, at, name)]
            best = next((t for t in table if (t["run"], t["direction"]) == (run, name)), None)
            summary.append(
                {
                    "run": run,
                    "group": mine[0]["group"] if mine else "",
                    "step": at,
                    "direction": name,
                    **{key: sum(h[key] for h in mine) for key in ("n_neurons", "n_listing", "expected")},
                    "strongest": best["neuron"] if best else None,
                    "value": best["value"] if best else None,
                }
            )
    return (
        pa.Table.from_pylist(table, schema=_TABLE),
        pa.Table.from_pylist(history, schema=_HISTORY),
        pa.Table.from_pylist(summary, schema=_SUMMARY),
    )


def _courses(history: pa.Table, used: Selected) -> pa.Table:
    tables = []
    for name in _NAMES.values():
        rows = [r for r in history.to_pylist() if r["direction"] == name]
        table = course_table(rows, "n_listing", used)
        tables.append(table.add_column(0, "direction", pa.array([name] * table.num_rows, pa.string())))
    return pa.concat_tables(tables)


def _sentence(text: str, n_wanted: int, summary: pa.Table) -> str:
    if not n_wanted:
        return f"{text!r} is no token of the vocabulary, so no neuron can list it."
    rows = summary.to_pylist()
    parts = []
    for name in dict.fromkeys(r["direction"] for r in rows):
        mine = [r for r in rows if r["direction"] == name]
        n, of, chance = (sum(r[k] for r in mine) for k in ("n_listing", "n_neurons", "expected"))
        told = name.removesuffix("s") if n != 1 else name
        parts.append(f"{n:,} of {of:,} neurons {told} it most ({chance:.3g} expected of random lists)")
    return f"{text!r}: {'; '.join(parts)}."


def _limits(
    sizes: Sequence[dict[str, Any]], n_wanted: int, text: str, used: Selected, places: dict[int, int]
) -> list[str]:
    lines = []
    absent = [r.run for r in used.runs if r.run_id not in places]
    if absent:
        lines.append(f"{len(absent)} run(s) have no effects at that step (first: {absent[0]}).")
    depth = max((r["n_listed"] for r in sizes), default=0)
    lines.append(
        f"Only the {depth} tokens that a neuron raises most and the {depth} it lowers most are stored: what it does to others is "
        "not searched."
    )
    if n_wanted > 1:
        lines.append(
            f"{n_wanted} tokens read as {text!r} but for case or white space around; each row names its own."
        )
    lines.append(
        "Expected takes all tokens as equally likely to be listed, which they are not: rare tokens often share a direction and "
        "are listed by many neurons or by none. It is a yardstick and no test."
    )
    lines.append(
        "A direct effect passes through no later layer: a neuron may do the opposite in the whole model."
    )
    return lines
