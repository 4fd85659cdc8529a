"""Which neurons fire on a token or a text, whether more than its frequency explains, and since when."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Unpack

import plotly.graph_objects as go
import pyarrow as pa
from pydantic import Field

from archive.errors import UsageError
from archive.store import Archive
from queries.reading.checkpoints import Step, find_left_out
from queries.reading.neuron_courses import course_table
from queries.reading.neuron_matches import Matched, Shown, matches_from, shown_steps, since_table
from queries.reading.quantities import Which, choose_quantity
from queries.reading.select import ALL_RUNS, Runs, Selected, select_runs
from queries.reading.tables import only_value
from queries.reading.text_matches import (
    By,
    Hits,
    SameCase,
    Search,
    Text,
    checked,
    find_hits,
    matched_sql,
    suggest,
    told_nothing,
)
from queries.reading.units import units_by_group, units_limits
from queries.registry import query
from queries.results import Answer, Provenance, readable_sql

# Of all stored examples, so that an empty search opens on what neurons fire on most. Places are counted before their
# tokens are looked up: many neurons peak at one place.
_MOST_SQL = """\
WITH eval AS (SELECT id, tokenizer_id FROM encoding WHERE id = $encoding_id),
places AS (
  SELECT unnest(sequences) AS sequence, unnest(positions) AS position FROM fact_neuron_top
  WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids))
), peaks AS (
  SELECT sequence, position, count(*) AS n FROM places GROUP BY ALL
), tokens AS (
  SELECT sequence, unnest(token_ids) AS token_id, generate_subscripts(token_ids, 1) - 1 AS position
  FROM content_sequence WHERE encoding_id = (SELECT id FROM eval)
), read AS (
  SELECT t.token_id, sum(p.n) AS n
  FROM peaks p JOIN tokens t ON t.sequence = p.sequence AND t.position = p.position
  GROUP BY ALL
)
SELECT w.text FROM read r JOIN content_vocab w ON w.token_id = r.token_id
WHERE w.tokenizer_id = (SELECT tokenizer_id FROM eval) AND NOT w.special AND length(w.text) > 0
ORDER BY r.n DESC, w.token_id LIMIT 1"""

# neurons with a match, and per layer of a checkpoint how many there are: no row for the neurons without. Only the neurons
# with a match are grouped one by one, since grouping all of them would take most of the time
_TOPS = """
, shares AS (
  SELECT z.sequence, c.n_places / c.n_tokens AS share FROM sizes z JOIN counted c ON c.document = z.document
), tops AS (
  SELECT run_id, checkpoint_id, layer, unit, sequences, positions, "values" AS heights FROM fact_neuron_top
  WHERE quantity_id = $quantity_id AND run_id IN (SELECT unnest($run_ids)) AND checkpoint_id NOT IN (SELECT unnest($left_out))
), places AS (
  SELECT run_id, checkpoint_id, layer, unit, unnest(sequences) AS sequence, unnest(positions) AS position,
         unnest(heights) AS value, generate_subscripts(sequences, 1) AS rank
  FROM tops
), hits AS (
  SELECT p.checkpoint_id, p.layer, p.unit, count(*) AS n_matches, max(p.value) AS highest, min(p.rank) AS best_rank
  FROM places p JOIN matched m ON m.sequence = p.sequence AND m.position = p.position
  GROUP BY ALL
), with_match AS (
  SELECT t.run_id, t.checkpoint_id, t.layer, t.unit, h.n_matches, h.highest, h.best_rank, unnest(t.sequences) AS sequence,
         unnest(t.heights) AS value
  FROM tops t JOIN hits h ON h.checkpoint_id = t.checkpoint_id AND h.layer = t.layer AND h.unit = t.unit
), by_unit AS (
  SELECT w.run_id, w.checkpoint_id, w.layer, w.unit, w.n_matches, w.highest, w.best_rank, count(*) AS n_examples,
         max(w.value) AS peak, list(s.share) AS shares
  FROM with_match w JOIN shares s ON s.sequence = w.sequence
  GROUP BY ALL
), layers AS (
  SELECT p.run_id, p.checkpoint_id, p.layer, count(*) FILTER (p.rank = 1) AS n_units, count(*) AS n_examples,
         sum(s.share) AS expected
  FROM places p JOIN shares s ON s.sequence = p.sequence
  GROUP BY ALL
), matches_of AS (
  SELECT checkpoint_id, layer, sum(n_matches)::BIGINT AS n_matches FROM hits GROUP BY ALL
)
SELECT u.run_id, r.name AS run_name, c.step AS at_step, u.layer AS in_layer, u.unit AS number, u.n_examples AS examples,
       u.n_matches AS matches, u.peak AS largest, u.highest, u.best_rank, u.shares, NULL::BIGINT AS n_units, NULL AS all_expected
FROM by_unit u JOIN checkpoint c ON c.id = u.checkpoint_id JOIN run r ON r.id = u.run_id
UNION ALL
SELECT l.run_id, r.name, c.step, l.layer, -1, l.n_examples, coalesce(m.n_matches, 0), NULL, NULL, NULL, NULL, l.n_units,
       l.expected
FROM layers l LEFT JOIN matches_of m ON m.checkpoint_id = l.checkpoint_id AND m.layer = l.layer
JOIN checkpoint c ON c.id = l.checkpoint_id JOIN run r ON r.id = l.run_id
ORDER BY run_id, at_step, in_layer, number"""


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class SearchNeurons(Answer):
    """Neurons with a top example that peaks at the token, or in the text.

    table: per neuron with a match neuron (L0N3), run, step, n_matches of its n_examples stored ones, expected (how many
    would match if each were a random token of its document), p of at least so many, q over all neurons of all runs
    searched at that step, found (q below fdr), best_rank (1 = highest example), value (largest activation of a match),
    relative (that as a share of the neuron's largest), since (first checkpoint from which on it is found up to this one),
    since_after (the last one before; empty: found from the first), layer, unit, group. What is found comes first.
    history: per run, checkpoint and layer n_neurons, n_matching (with a match), n_found, share of all examples that
    match, expected share. course: per group and checkpoint mean (neurons found in a run) with its Student interval over n_runs
    (95 %). summary: per run the same at the step shown, first (checkpoint from which on some neuron is
    found at every one), largest (the neuron with the most matches among those found, or of all).
    hits: where it stands in the eval set, by document. nearest, spelling: what to search for where it stands nowhere.
    """

    text: str
    by: By
    fdr: float
    eval_set: str
    encoding_hash: str
    n_searched: int
    share: float
    history: pa.Table
    course: pa.Table
    hits: pa.Table
    nearest: tuple[str, ...] = ()
    spelling: tuple[str, ...] = ()

    def plot(self) -> go.Figure:
        """A line per run: how many neurons are found at each checkpoint."""
        from queries.figures.search import neurons_found

        return neurons_found(self)


@query(title="Which neurons fire on a token or a text, and since when?")
def search_neurons(
    archive: Archive,
    *,
    runs: Runs = ALL_RUNS,
    text: Text = "",
    by: Annotated[
        By,
        Field(
            description="token: the example peaks at this token; text: it peaks in this text, which may be part of a token or "
            "span several"
        ),
    ] = "token",
    within: Annotated[
        int, Field(ge=0, le=200, description="the peak may also come up to so many tokens later")
    ] = 0,
    same_case: SameCase = False,
    step: Step = "final",
    fdr: Annotated[
        float, Field(gt=0, lt=1, description="share of false finds among neurons that are found")
    ] = 0.05,
    **which: Unpack[Which],
) -> SearchNeurons:
    """Search the stored top examples of every neuron at every checkpoint for a token or a text.

    A match is told from chance: each example is held against a random token of its own document, so a frequent token needs
    more matches than a rare one. A token without white space around it also finds itself with some. Neurons are counted
    run by run and never matched between runs.
    """
    selected = select_runs(archive, runs)
    choice = choose_quantity(archive, selected, ["neuron.top"], which, tables=("fact_neuron_top",))
    quantity, used = choice.quantity, choice.selected
    left_out = find_left_out(archive, choice, which)
    encoding_id = _encoding(archive, quantity.quantity_id)
    known = {"quantity_id": quantity.quantity_id, "run_ids": used.ids}
    if not text:
        text, by, same_case = _most(archive, by, known | {"encoding_id": encoding_id}), "token", True
    search = Search(checked(text), by, same_case, within)
    hits = find_hits(archive, search, encoding_id)
    parameters = search.parameters(encoding_id) | known | {"left_out": left_out.ids}
    sql = matched_sql(by, _TOPS)
    matched = matches_from(archive.query(sql, parameters), fdr)
    places = shown_steps(matched, step)
    shown = since_table(used, matched, places, step, fdr)
    nearest, spelling = ((), ()) if hits.n_places else suggest(archive, text, encoding_id)
    nothing = () if hits.n_places else told_nothing(search, quantity.eval_set, nearest, spelling)
    # shared seeds are taken into account here
    provenance = replace(Provenance.of(archive, [choice], left_out), shared_seeds=())
    return SearchNeurons(
        sentence=_sentence(search, shown, hits),
        table=shown.table,
        summary=shown.summary,
        history=shown.history,
        course=course_table(shown.history.to_pylist(), "n_found", used),
        hits=hits.table,
        text=text,
        by=by,
        fdr=fdr,
        eval_set=quantity.eval_set,
        encoding_hash=quantity.encoding_hash,
        n_searched=shown.n_searched,
        share=hits.share,
        nearest=nearest,
        spelling=spelling,
        n_runs=len(places),
        n_items=only_value(shown.summary, "n_neurons") if len(places) > 1 else shown.n_searched,
        unit=quantity.shown_unit,
        null_name="a random token of each example's document",
        null_mean=hits.share,
        limits=(
            *provenance.limits,
            *choice.notes,
            *left_out.limits,
            *nothing,
            *units_limits(units_by_group(used, used.only(places).ids), ""),
            *_limits(search, used, matched, shown, hits),
        ),
        provenance=provenance,
        sql=readable_sql(sql, parameters),
    )


def _encoding(archive: Archive, quantity_id: int) -> int:
    found = archive.value("SELECT encoding_id FROM quantity WHERE id = $id", {"id": quantity_id})
    return int(found)


def _most(archive: Archive, by: By, parameters: dict[str, object]) -> str:
    """The token that most stored examples peak at."""
    if by == "text":
        raise UsageError(
            "text='' asks for no text: write what to search for, such as text='the'; by='token' takes the token found most often."
        )
    rows = archive.rows(_MOST_SQL, parameters)
    if not rows:
        raise UsageError(
            "the archive holds no tokens of this eval set (published numbers come without texts), so they cannot be searched; "
            "eval_set=... asks for another."
        )
    return str(rows[0]["text"])


def _sentence(search: Search, shown: Shown, hits: Hits) -> str:
    what = repr(search.text)
    if not hits.n_places:
        nowhere = "is no token of" if search.by == "token" else "stands nowhere in"
        return f"{what} {nowhere} the eval set, so none of {shown.n_searched:,} neurons can be said to fire on it."
    at = "peak at" if search.by == "token" else "peak in"
    start = (
        f"{shown.n_found:,} of {shown.n_searched:,} neurons {at} {what} more often than its frequency in their documents "
        f"explains ({hits.share:.2%} of the eval set)"
    )
    firsts = [r["first"] for r in shown.summary.to_pylist() if r["first"] is not None]
    if not firsts:
        return f"{start}; {shown.table.num_rows:,} have at least one such example."
    first = f"{min(firsts):,}" if min(firsts) == max(firsts) else f"{min(firsts):,} to {max(firsts):,}"
    runs = f" in {len(firsts)} of {shown.summary.num_rows} runs" if shown.summary.num_rows > 1 else ""
    return f"{start}; there are some from step {first} on{runs}."


def _limits(search: Search, used: Selected, matched: Matched, shown: Shown, hits: Hits) -> Sequence[str]:
    lines = []
    absent = [r.run for r in used.runs if r.run not in shown.summary["run"].to_pylist()]
    if absent:
        lines.append(f"{len(absent)} run(s) have no examples at that step (first: {absent[0]}).")
    lines.append(
        f"Only the stored examples are searched, at most {matched.depth} a neuron: a neuron that also fires on this below them "
        "is not found, and no match is no proof of silence."
    )
    if 0 < hits.n_with < matched.depth:
        lines.append(
            f"It stands in {hits.n_with} of {hits.n_documents} documents: with one example a document there can be no "
            "more matches."
        )
    if shown.n_searched and hits.n_places and shown.least_p * shown.n_searched > shown.fdr:
        lines.append(
            f"Even a neuron with every example matching could hardly be told from chance among {shown.n_searched:,} neurons."
        )
    lines.append(
        "Found means more than the token's frequency in the same documents explains: a neuron that fires on a class of tokens, "
        "on their place or on what precedes them is found with each of them. Compare share with expected in the history: where "
        "all of a layer's examples prefer this token, one neuron that does is nothing special."
    )
    if search.by == "text":
        lines.append(
            "Texts are put together from what each token reads as, without special tokens; letters that a tokenizer splits into "
            "bytes cannot be found."
        )
    if len(shown.summary) > 1:
        lines.append(
            "A neuron's number means the same only in runs that share their init: runs are counted, not matched."
        )
    return lines
