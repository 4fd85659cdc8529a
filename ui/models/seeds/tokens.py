"""Tokens on which repeated runs disagree most: the spread of their losses, and how many tokens they think most likely."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.checkpoints import find_left_out, pick_checkpoints
from queries.reading.neuron_examples import read_texts
from queries.reading.quantities import Choice, Which, choose_quantity
from queries.reading.select import RunSelection, Selected, select_runs
from queries.reading.token_deltas import read_sequence
from queries.results import readable_sql
from ui.models.component_sets import ComponentSet, which_of
from ui.models.marked_text import with_signs
from ui.models.seeds.page import seed_order
from ui.models.text import plural, shorten

SORTS = ("spread of loss", "most likely tokens")
TOP = 50
WINDOW = 12  # tokens of text either side
MOST_TOLD = 8  # runs whose losses are on hover one by one

# the loss at a position is that of the token after it, or of the answer that a task reads there. The spread is pooled within
# conditions, so that another size or another setting is no disagreement of seeds; a token counts where all runs have a loss
_SQL = """\
WITH runs AS (
  SELECT unnest($run_ids) AS run_id, unnest($checkpoint_ids) AS checkpoint_id, unnest($groups) AS condition
), losses AS (
  SELECT r.run_id, r.condition, f.sequence, unnest(range(len(f."values"))) AS position, unnest(f."values")::DOUBLE AS loss
  FROM fact_token f JOIN runs r ON r.run_id = f.run_id AND r.checkpoint_id = f.checkpoint_id
  WHERE f.quantity_id = $quantity_id
), by_condition AS (
  SELECT sequence, position, condition, count(*) AS n, sum(loss) AS total, var_pop(loss) * count(*) AS squares,
         min(loss) AS low, max(loss) AS high
  FROM losses WHERE isfinite(loss) GROUP BY ALL
), tops AS (
  SELECT sequence, position, count(DISTINCT token_ids[1]) AS n_tops
  FROM fact_token_top
  WHERE quantity_id = $top_quantity_id AND run_id IN (SELECT run_id FROM runs)
    AND checkpoint_id IN (SELECT checkpoint_id FROM runs)
  GROUP BY ALL HAVING count(*) = $n_runs
), eval AS (
  SELECT encoding_id AS id FROM quantity WHERE id = $quantity_id
), answers AS (
  SELECT sequence, position, any_value(correct_ids[1]) AS token_id FROM content_item
  WHERE encoding_id = (SELECT id FROM eval) GROUP BY ALL
), by_token AS (
  SELECT sequence, position, sum(n) AS n, sqrt(greatest(sum(squares), 0) / (sum(n) - count(*))) AS spread,
         sum(total) / sum(n) AS mean_loss, min(low) AS lowest, max(high) AS highest
  FROM by_condition GROUP BY ALL HAVING sum(n) > count(*)
), whole AS (SELECT * FROM by_token WHERE n = $n_runs)
SELECT t.sequence, t.position, t.spread, t.mean_loss, t.lowest, t.highest, o.n_tops,
       coalesce(a.token_id, s.token_ids[t.position + 2], -1) AS token_id,
       (SELECT count(*) FROM whole) AS n_tokens, (SELECT count(*) FROM by_token) - (SELECT count(*) FROM whole) AS n_partly,
       (SELECT quantile_cont(spread, 0.95) FROM whole) AS spread95, (SELECT median(spread) FROM whole) AS median_spread,
       (SELECT count(*) FROM tops WHERE n_tops > 1) AS n_split, (SELECT count(*) FROM tops) AS n_listed,
       (SELECT list(DISTINCT sequence ORDER BY sequence) FROM whole) AS sequences
FROM whole t
LEFT JOIN tops o ON o.sequence = t.sequence AND o.position = t.position
LEFT JOIN answers a ON a.sequence = t.sequence AND a.position = t.position
LEFT JOIN content_sequence s ON s.encoding_id = (SELECT id FROM eval) AND s.sequence = t.sequence
ORDER BY CASE WHEN $by_top THEN coalesce(o.n_tops, 0) ELSE 0 END DESC, t.spread DESC, t.sequence, t.position
LIMIT $top"""

_TEXT_SQL = """\
WITH runs AS (
  SELECT unnest($run_ids) AS run_id, unnest($checkpoint_ids) AS checkpoint_id
), words AS (
  SELECT e.id, e.tokenizer_id FROM encoding e WHERE e.id = (SELECT encoding_id FROM quantity WHERE id = $quantity_id)
), losses AS (
  SELECT r.run_id, unnest(range(len(f."values"))) AS position, unnest(f."values")::DOUBLE AS loss
  FROM fact_token f JOIN runs r ON r.run_id = f.run_id AND r.checkpoint_id = f.checkpoint_id
  WHERE f.quantity_id = $quantity_id AND f.sequence = $sequence
), tops AS (
  SELECT f.run_id, f.position, f.token_ids[1] AS token_id
  FROM fact_token_top f JOIN runs r ON r.run_id = f.run_id AND r.checkpoint_id = f.checkpoint_id
  WHERE f.quantity_id = $top_quantity_id AND f.sequence = $sequence
), answers AS (
  SELECT position, any_value(correct_ids[1]) AS token_id FROM content_item
  WHERE encoding_id = (SELECT id FROM words) AND sequence = $sequence GROUP BY ALL
)
SELECT l.run_id, l.position, l.loss, t.token_id AS top_id, v.text AS top, a.token_id AS answer_id, w.text AS answer
FROM losses l
LEFT JOIN tops t ON t.run_id = l.run_id AND t.position = l.position
LEFT JOIN content_vocab v ON v.tokenizer_id = (SELECT tokenizer_id FROM words) AND v.token_id = t.token_id
LEFT JOIN answers a ON a.position = l.position
LEFT JOIN content_vocab w ON w.tokenizer_id = (SELECT tokenizer_id FROM words) AND w.token_id = a.token_id
WHERE isfinite(l.loss)
ORDER BY l.position, l.run_id"""

_TABLE = pa.schema(
    [
        ("token", pa.string()),
        *((name, pa.float64()) for name in ("spread", "mean_loss", "lowest", "highest")),
        ("n_tops", pa.int64()),
        *((name, pa.string()) for name in ("text", "document")),
        *((name, pa.int64()) for name in ("sequence", "position")),
    ]
)


@dataclass(frozen=True)
class Disagreement:
    """Tokens with the largest disagreement of an eval set at one step.

    largest: token, spread (standard deviation of its loss over runs of one condition, pooled, nats), mean_loss, lowest, highest,
    n_tops (different most likely tokens; None where lists are not there), text, document, sequence, position.
    spread95, median: of the spread of all n_tokens tokens. n_partly: left out, as some run has no loss there. n_listed,
    n_split: tokens whose most likely token is known of all runs, and those where it is not the same.
    """

    largest: pa.Table
    sequences: tuple[int, ...]
    n_tokens: int
    n_partly: int
    n_runs: int
    n_conditions: int
    alone: tuple[str, ...]
    step: int
    spread95: float
    median: float
    n_listed: int
    n_split: int
    sql: str

    @property
    def scale(self) -> float:
        """The spread with full colour: 95% of tokens have less; 1 where none has any."""
        return self.spread95 or 1.0


def disagreement(
    archive: Archive, *, selection: RunSelection, known: ComponentSet, step: int, suspect: bool, sort: str
) -> Disagreement:
    """The tokens on which repeated runs disagree most; raises UsageError where no run repeats another at that step."""
    at = _read_at(archive, selection, known, step, suspect)
    parameters: dict[str, Any] = {
        **at.parameters,
        "groups": list(at.groups),
        "n_runs": len(at.run_ids),
        "by_top": sort == SORTS[1],
        "top": TOP,
    }
    rows = archive.rows(_SQL, parameters)
    if not rows:
        raise UsageError(
            f"no token has a finite loss in all {len(at.run_ids)} runs at step {step:,}; `pathscope verify` checks the archive."
        )
    places = [(r["sequence"], r["position"] + 1) for r in rows]
    ids = [r["token_id"] for r in rows]
    windows, words = read_texts(archive, at.choice.quantity.quantity_id, places, ids, WINDOW)
    found = []
    for r, place in zip(rows, places, strict=True):
        window = windows.get(place)
        before, _, after = window.parts if window is not None else ("", "", "")
        token = words.get(r["token_id"])
        found.append(
            {
                **{name: r[name] for name in ("spread", "mean_loss", "lowest", "highest", "n_tops")},
                "token": with_signs(token) if token is not None else _unnamed(r),
                "text": _around(before, token or "", after) if window is not None else "",
                "document": shorten(window.document, 40)
                if window is not None
                else f"sequence {r['sequence']}",
                "sequence": r["sequence"],
                "position": r["position"],
            }
        )
    first = rows[0]
    return Disagreement(
        largest=pa.Table.from_pylist(found, schema=_TABLE),
        sequences=tuple(int(s) for s in first["sequences"]),
        n_tokens=first["n_tokens"],
        n_partly=first["n_partly"],
        n_runs=len(at.run_ids),
        n_conditions=len(set(at.groups)),
        alone=at.alone,
        step=step,
        spread95=float(first["spread95"]),
        median=float(first["median_spread"]),
        n_listed=first["n_listed"],
        n_split=first["n_split"],
        sql=readable_sql(_SQL, parameters),
    )


def disagreement_text(
    archive: Archive, *, selection: RunSelection, known: ComponentSet, step: int, suspect: bool, sequence: int
) -> list[dict[str, Any]]:
    """One sequence, token by token: place, token_id, token, document, spread (None without), and runs with losses and tops.

    A token that nothing predicts, such as the first, has no loss; a token that some run has no loss of has no spread.
    """
    at = _read_at(archive, selection, known, step, suspect)
    parameters = {**at.parameters, "sequence": sequence}
    by_place: dict[int, list[dict[str, Any]]] = {}
    for row in archive.rows(_TEXT_SQL, parameters):
        by_place.setdefault(int(row["position"]) + 1, []).append(row)
    tokens = {int(str(t["place"])): t for t in read_sequence(archive, at.choice, sequence)}
    names = dict(zip(at.run_ids, at.names, strict=True))
    groups = dict(zip(at.run_ids, at.groups, strict=True))
    found = []
    for place in range(max([*tokens, *by_place], default=-1) + 1):
        rows = by_place.get(place, [])
        read = tokens.get(place)
        answer = rows[0] if rows and rows[0]["answer_id"] is not None else None
        # a task's answer may be no part of the text, or stand where the text has another token
        token_id, token = (
            (read["token_id"], read["token"])
            if read is not None
            else (answer["answer_id"], answer["answer"])
            if answer is not None
            else (-1, None)
        )
        losses = {row["run_id"]: float(row["loss"]) for row in rows}
        found.append(
            {
                "place": place,
                "token_id": token_id,
                "token": token,
                "document": _document(tokens, sequence),
                "spread": spread_of(losses, groups) if len(losses) == len(names) else None,
                "losses": [(names[run], losses[run]) for run in at.run_ids if run in losses],
                "tops": _tops(rows, names),
            }
        )
    return found


def spread_of(losses: Mapping[int, float], groups: Mapping[int, str]) -> float | None:
    """Standard deviation over runs of one condition, pooled over conditions; None where no run repeats another."""
    by_group: dict[str, list[float]] = {}
    for run, loss in losses.items():
        by_group.setdefault(groups[run], []).append(loss)
    free = len(losses) - len(by_group)
    if free < 1:
        return None
    squares = sum((x - sum(mine) / len(mine)) ** 2 for mine in by_group.values() for x in mine)
    return math.sqrt(squares / free)


def tokens_note(found: Disagreement) -> str:
    """What the numbers rest on, and what disagreement is usual."""
    conditions = f" of {plural(found.n_conditions, 'condition')}" if found.n_conditions > 1 else ""
    lists = ""
    if found.n_listed:
        lists = f" The most likely token is not the same for all runs at {found.n_split / found.n_listed:.0%} of tokens."
    return (
        f"{plural(found.n_tokens, 'token')}, {plural(found.n_runs, 'run')}{conditions}, step {found.step:,}. Half of all tokens "
        f"have a spread below {found.median:.3g} nats, 95% below {found.spread95:.3g}.{lists}"
    )


def tokens_missing(found: Disagreement) -> list[str]:
    """What is not in the numbers."""
    lines = []
    if found.n_partly:
        lines.append(f"{plural(found.n_partly, 'token')} left out, of which some run has no finite loss.")
    if found.alone:
        lines.append(
            f"{plural(len(found.alone), 'run')} left out, as they repeat no other (first: {shorten(found.alone[0], 40)})."
        )
    return lines


def tokens_fine(found: Disagreement) -> list[str]:
    """What the numbers cannot tell."""
    return [
        f"The tokens of the table are the most extreme of {found.n_tokens:,} and chosen for being extreme: with other seeds most "
        "of them would disagree less, and others would stand here.",
        f"A spread from {found.n_runs} runs is itself hardly known: some tokens are here by chance. Those that come back on "
        "other seeds, or at other steps, are worth a look.",
        "The spread is the standard deviation of a token's loss over runs of one condition, pooled over conditions; a run whose "
        "loss is higher everywhere adds to the spread of every token.",
        "Losses of rare tokens are large and move more: a large spread need not mean that seeds think differently. Runs that "
        "agree on the loss may still think other tokens likely.",
    ]


@dataclass(frozen=True)
class _At:
    """What is read: one checkpoint of every run that repeats another."""

    choice: Choice
    run_ids: tuple[int, ...]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    checkpoint_ids: tuple[int, ...]
    alone: tuple[str, ...]
    top_quantity_id: int

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "quantity_id": self.choice.quantity.quantity_id,
            "top_quantity_id": self.top_quantity_id,
            "run_ids": list(self.run_ids),
            "checkpoint_ids": list(self.checkpoint_ids),
        }


def _read_at(archive: Archive, selection: RunSelection, known: ComponentSet, step: int, suspect: bool) -> _At:
    which = which_of(known, suspect=suspect)
    choice = choose_quantity(
        archive, select_runs(archive, selection), [known.measure], which, tables=("fact_token",)
    )
    selected = choice.selected
    left_out = find_left_out(archive, choice, which)
    picked = pick_checkpoints(archive, selected, choice.quantity, left_out, step).at
    groups = {run: selected.groups[run] for run in picked}
    repeated = [run for run in picked if sum(g == groups[run] for g in groups.values()) > 1]
    if not repeated:
        raise UsageError(
            f"none of the {len(picked)} run(s) with {known.measure} at step {step:,} repeats another: disagreement of seeds "
            "takes two runs of one condition. More seeds in the study's [seeds] give them."
        )
    rows = seed_order([r for r in selected.runs if r.run_id in set(repeated)], selected.groups)
    return _At(
        choice,
        tuple(r.run_id for r in rows),
        tuple(r.run for r in rows),
        tuple(groups[r.run_id] for r in rows),
        tuple(picked[r.run_id][0] for r in rows),
        tuple(selected.by_id[run].run for run in picked if run not in set(repeated)),
        _lists(archive, selected.only(repeated), choice, suspect),
    )


def _lists(archive: Archive, selected: Selected, losses: Choice, suspect: bool) -> int:
    """quantity_id of lists of likely tokens on the same texts; -1 where there are none that can be used."""
    which = Which(eval_set=losses.quantity.encoding_hash)
    if suspect:
        which["with_suspect"] = True
    try:
        found = choose_quantity(archive, selected, ["token_top"], which, tables=("fact_token_top",))
    except (NotComparable, UsageError):
        return -1
    return found.quantity.quantity_id


def _document(tokens: Mapping[int, Mapping[str, Any]], sequence: int) -> str:
    first = next(iter(tokens.values()), None)
    if first is None or first["number"] is None or first["number"] < 0:
        return f"sequence {sequence}"
    return str(first["document"] or f"document {first['number']}")


def _tops(rows: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> list[tuple[str, str]]:
    """(run, its most likely token in words), of runs that have a list there."""
    return [
        (names[row["run_id"]], str(row["top"]) if row["top"] is not None else f"token {row['top_id']}")
        for row in rows
        if row["top_id"] is not None
    ]


def _unnamed(row: Mapping[str, Any]) -> str:
    return f"token {row['token_id']}" if row["token_id"] >= 0 else f"position {row['position']}"


def _around(before: str, token: str, after: str) -> str:
    gap = token[: len(token) - len(token.lstrip())]
    shown = token.strip() or with_signs(token)
    return " ".join(f"{before[-40:]}{gap}«{shown}»{after[:40]}".split())
