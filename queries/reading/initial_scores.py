"""What was measured of every head before training: all quantities of heads and pairs of heads at step 0."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.errors import UnknownName, UsageError
from archive.store import Archive
from queries.reading.quantities import Choice, Quantity
from queries.reading.select import Selected
from queries.reading.variants import variant_label
from queries.results import readable_sql

Floats = NDArray[np.float64]
# run_id -> layer -> head -> score
ByHead = Mapping[int, Mapping[int, Mapping[int, float]]]

# as the earlier or the later head of a pair; the best partner counts
WAYS = {"": "", "early": " as earlier head", "late": " as later head"}

MOST_LAYERS = 10_000

# the newest usable checkpoint at step 0 of every run, and all that is measured of heads there; z of pairs is not defined
# where it is not finite
_SQL = """\
WITH starts AS (
  SELECT run_id, checkpoint_id, suspect FROM v_checkpoint
  WHERE step = 0 AND run_id IN (SELECT unnest($run_ids))
  QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY suspect, checkpoint_id DESC) = 1
), there AS (
  SELECT l.quantity_id, s.checkpoint_id
  FROM cell l JOIN starts s ON s.checkpoint_id = l.subject_id
  WHERE l.subject_kind = 1 AND l.state = 1 AND ($with_suspect OR NOT s.suspect)
), cells AS (
  SELECT f.run_id, f.quantity_id, f.src_layer, f.dst_layer, unnest(f.z) AS z, generate_subscripts(f.z, 1) - 1 AS cell,
         coalesce(r.n_heads, round(sqrt(len(f.z)))::INTEGER) AS n
  FROM fact_head_pair f
  JOIN there t ON t.quantity_id = f.quantity_id AND t.checkpoint_id = f.checkpoint_id
  JOIN run r ON r.id = f.run_id
  WHERE f.run_id IN (SELECT unnest($run_ids))
), scores AS (
  SELECT f.quantity_id, '' AS way, f.run_id, f.layer, f.head, f.value
  FROM fact_head f JOIN there t ON t.quantity_id = f.quantity_id AND t.checkpoint_id = f.checkpoint_id
  WHERE f.run_id IN (SELECT unnest($run_ids))
  UNION ALL
  SELECT quantity_id, 'early', run_id, src_layer, (cell // n)::INTEGER, max(z) FROM cells WHERE isfinite(z) GROUP BY ALL
  UNION ALL
  SELECT quantity_id, 'late', run_id, dst_layer, (cell % n)::INTEGER, max(z) FROM cells WHERE isfinite(z) GROUP BY ALL
), by_run AS (
  SELECT quantity_id, way, run_id, list(layer ORDER BY layer, head) AS layers, list(head ORDER BY layer, head) AS heads,
         list(value ORDER BY layer, head) AS scores
  FROM scores GROUP BY quantity_id, way, run_id
)
SELECT q.*, s.licence, s.citation, m.summary, e.tokenizer, b.run_id, b.way, b.layers, b.heads, b.scores,
       (SELECT count(*) FROM starts WHERE suspect) AS n_suspect
FROM by_run b
JOIN v_quantity q ON q.quantity_id = b.quantity_id
JOIN v_encoding e ON e.encoding_id = q.encoding_id
JOIN v_source s ON s.source_id = q.source_id
JOIN v_measure m ON m.measure = q.measure AND m.version = q.version
WHERE q.source = $source
ORDER BY q.measure, q.version, q.quantity_id, b.way, b.run_id"""


@dataclass(frozen=True)
class InitialScores:
    """Scores at step 0 by name, and where they come from. n_suspect: runs whose step 0 is suspect."""

    by_name: Mapping[str, ByHead]
    choices: tuple[Choice, ...]
    n_suspect: int
    sql: str

    @property
    def run_ids(self) -> list[int]:
        """Runs that have any score."""
        return sorted({run for scores in self.by_name.values() for run in scores})

    def by_layer(self) -> dict[int, dict[int, Floats]]:
        """run_id -> (score, layer) as one number -> (head, 1): what shows that two runs began alike."""
        found: dict[int, dict[int, Floats]] = {}
        for k, scores in enumerate(self.by_name.values()):
            for run, layers in scores.items():
                for layer, heads in layers.items():
                    column = np.array([[heads[head]] for head in sorted(heads)], dtype=np.float64)
                    if np.isfinite(column).all():
                        found.setdefault(run, {})[k * MOST_LAYERS + layer] = column
        return found


def read_initial_scores(
    archive: Archive, selected: Selected, source: str, asked: Sequence[str], *, with_suspect: bool
) -> InitialScores:
    """Every score of single heads at step 0, and of pairs the best of each head, either way. One statement.

    asked: names or patterns of scores or measures; empty: all. Of several versions the newest that most runs have is
    taken; other variants are scores of their own. Raises UsageError where no run has any at step 0, UnknownName for
    a name that no score has.
    """
    parameters: dict[str, object] = {"run_ids": selected.ids, "source": source, "with_suspect": with_suspect}
    rows = archive.rows(_SQL, parameters)
    if not rows:
        first = selected.runs[0].run
        raise UsageError(
            f"no run has a score of heads at step 0 (first: {first}): what the initial weights tell needs a checkpoint of "
            "them. `pathscope status` shows which checkpoints there are; `pathscope ingest STUDY.toml --fill "
            "head.prefix_matching` measures kept ones."
        )
    newest = _newest(rows)
    names = dict(zip(newest, _names([q for q, _ in newest.values()]), strict=True))
    every = {names[key] + way for key, (q, _) in newest.items() for way in _ways(q)}
    for term in asked:
        if not any(_is_asked(names[key], q, [term]) for key, (q, _) in newest.items()):
            listing = "`pathscope query lottery_predictors`"
            raise UnknownName.of("score of heads at step 0", term, sorted(every), listing=listing)
    kept = {key: found for key, found in newest.items() if _is_asked(names[key], found[0], asked)}
    scores: dict[str, dict[int, dict[int, dict[int, float]]]] = {}
    for row in rows:
        name = names.get(row["quantity_id"], "") + WAYS[row["way"]]
        if row["quantity_id"] in kept and _matches([name, row["measure"]], asked):
            layers = scores.setdefault(name, {}).setdefault(row["run_id"], {})
            for layer, head, score in zip(row["layers"], row["heads"], row["scores"], strict=True):
                layers.setdefault(layer, {})[head] = score
    choices = [
        Choice(
            q,
            selected.only(runs),
            tuple(r.run for r in selected.runs if r.run_id not in runs),
            (),
            0,
        )
        for q, runs in kept.values()
    ]
    return InitialScores(scores, tuple(choices), rows[0]["n_suspect"], readable_sql(_SQL, parameters))


def _newest(rows: Sequence[Mapping[str, Any]]) -> dict[int, tuple[Quantity, set[int]]]:
    """Of every variant the newest version that most runs have, by quantity_id, with these runs."""
    runs: dict[int, set[int]] = {}
    for row in rows:
        runs.setdefault(row["quantity_id"], set()).add(row["run_id"])
    best: dict[tuple[str, ...], tuple[Quantity, set[int]]] = {}
    for row in rows:
        quantity = Quantity(**{f.name: row[f.name] for f in fields(Quantity)})
        mine, before = runs[quantity.quantity_id], best.get(quantity.variant)
        if before is None or len(mine) >= len(before[1]):
            best[quantity.variant] = quantity, mine
    return {q.quantity_id: (q, mine) for q, mine in best.values()}


def _names(quantities: Sequence[Quantity]) -> list[str]:
    """A name for each: the measure with its variant, and as much more as tells it from the others."""
    names = [variant_label(q) for q in quantities]
    for more in ("eval_set", "tokenizer", "weight_processing", "dtype", "site", "params_json"):
        told = [str(getattr(q, more)) for q in quantities]
        clashing = {
            name for name in names if len({t for n, t in zip(names, told, strict=True) if n == name}) > 1
        }
        names = [f"{n} ({t})" if n in clashing else n for n, t in zip(names, told, strict=True)]
    return names


def _ways(quantity: Quantity) -> list[str]:
    """Endings of the names of its scores."""
    pairs = quantity.table_name == "fact_head_pair"
    return [said for way, said in WAYS.items() if bool(way) == pairs]


def _is_asked(name: str, quantity: Quantity, asked: Sequence[str]) -> bool:
    """Whether any score of a quantity is asked for."""
    return _matches([quantity.measure, *(name + way for way in _ways(quantity))], asked)


def _matches(names: Sequence[str], asked: Sequence[str]) -> bool:
    return not asked or any(fnmatchcase(name, term) for name in names for term in asked)
