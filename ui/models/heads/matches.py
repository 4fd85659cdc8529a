"""The partner of one head in every other run: what `match_heads` says of it, put so that the head comes first."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from archive.store import Archive
from queries.head_scores import HeadScores
from queries.match_heads import MOST_RUNS, MatchHeads
from queries.reading.signatures import MEASURE
from ui.models.address import page_address
from ui.models.text import number, plural, shorten

# checkpoints of a run whose heads have signatures
_STEPS_SQL = """\
SELECT DISTINCT c.step
FROM cell l
JOIN v_checkpoint c ON c.checkpoint_id = l.subject_id
WHERE l.subject_kind = 1 AND l.state = 1 AND c.run = $run AND ($with_suspect OR NOT c.suspect)
  AND l.quantity_id IN (SELECT quantity_id FROM v_quantity WHERE measure = $measure)
ORDER BY c.step"""

# of the runs asked for those that have signatures at a step
_RUNS_SQL = """\
SELECT DISTINCT c.run_id, c.run
FROM cell l
JOIN v_checkpoint c ON c.checkpoint_id = l.subject_id
WHERE l.subject_kind = 1 AND l.state = 1 AND c.step = $step AND c.run IN (SELECT unnest($runs))
  AND ($with_suspect OR NOT c.suspect)
  AND l.quantity_id IN (SELECT quantity_id FROM v_quantity WHERE measure = $measure)
ORDER BY c.run_id"""


@dataclass(frozen=True)
class HeadMatch:
    """One other run's partner of the head; head "" where it has none there.

    similarity: correlation of what both do, −1 to 1; null_mean: that of partners under the null; excess: their
    difference; beyond: above the 99th percentile of the null. align: matched, or index where heads of one number are
    compared because both runs share them. identity_gap, gap_p: of the whole pair of runs, NaN where numbers mean nothing.
    """

    run: str
    head: str
    similarity: float | None
    null_mean: float | None
    excess: float | None
    beyond: bool | None
    align: str
    identity_gap: float | None
    gap_p: float | None
    why: str


def signature_steps(archive: Archive, *, run: str, suspect: bool) -> tuple[int, ...]:
    """Checkpoints of a run at which its heads can be matched, ascending."""
    rows = archive.rows(_STEPS_SQL, {"run": run, "with_suspect": suspect, "measure": MEASURE})
    return tuple(int(r["step"]) for r in rows)


def runs_to_match(
    archive: Archive, *, runs: tuple[str, ...], focus: str, step: int, suspect: bool
) -> tuple[tuple[str, ...], int]:
    """(the focus and the first others that have signatures at a step, how many there are in all)."""
    parameters = {"runs": list(runs), "step": step, "with_suspect": suspect, "measure": MEASURE}
    others = [r["run"] for r in archive.rows(_RUNS_SQL, parameters) if r["run"] != focus]
    return (focus, *others[: MOST_RUNS - 1]), len(others) + 1


def head_matches(found: MatchHeads, focus: str, head: str) -> list[HeadMatch]:
    """The head's partner in every run that the focus was matched with, the largest excess first."""
    partners: dict[str, tuple[str, dict[str, Any]]] = {}
    for r in found.table.to_pylist():
        if (r["run_a"], r["a"]) == (focus, head):
            partners[r["run_b"]] = r["b"], r
        elif (r["run_b"], r["b"]) == (focus, head):
            partners[r["run_a"]] = r["a"], r
    rows = []
    for pair in found.pairs.to_pylist():
        if focus not in (pair["run_a"], pair["run_b"]):
            continue
        other = pair["run_b"] if pair["run_a"] == focus else pair["run_a"]
        name, r = partners.get(other, ("", {}))
        rows.append(
            HeadMatch(
                run=other,
                head=name,
                **{key: r.get(key) for key in ("similarity", "null_mean", "excess", "beyond")},
                align=pair["align"],
                identity_gap=pair["identity_gap"],
                gap_p=pair["gap_p"],
                why=pair["why"],
            )
        )
    return sorted(rows, key=lambda m: -(m.excess if m.excess is not None else float("-inf")))


def matches_table(
    rows: list[HeadMatch], scores: HeadScores | None, here: str, step: int, words: dict[str, str]
) -> pa.Table:
    """A row a run: run, match, similarity, null_mean, excess, beyond, how, score, identity_gap, page.

    scores: of the page's own measure, at its step, for `score`. words: the page's other choices for the link.
    """
    known = scores.table.to_pylist() if scores is not None else []
    value = {(r["run"], r["name"]): r["value"] for r in known}
    told = [
        {
            "run": m.run,
            "match": m.head or "no partner",
            "similarity": m.similarity,
            "null_mean": m.null_mean,
            "excess": m.excess,
            "beyond": "" if m.beyond is None else "yes" if m.beyond else "no",
            "how": "by number" if m.align == "index" else "by profile",
            "score": value.get((m.run, m.head)),
            "identity_gap": m.identity_gap,
            "page": page_address(here, "heads", **words, focus=m.run, step=step, head=m.head)
            if m.head
            else None,
        }
        for m in rows
    ]
    reals = ("similarity", "null_mean", "excess", "score", "identity_gap")
    names = (
        *("run", "match", "page", "excess", "similarity", "null_mean", "beyond"),
        *("score", "how", "identity_gap"),
    )
    return pa.Table.from_pylist(
        told, schema=pa.schema([(n, pa.float64() if n in reals else pa.string()) for n in names])
    )


def matches_in_words(rows: list[HeadMatch], head: str, step: int) -> str:
    """What the partners say of the head."""
    others = [m for m in rows if m.head and m.align == "matched"]
    if not others:
        if any(m.head for m in rows):
            return f"All runs {head} is compared with share their init, so heads are compared by number."
        return f"{head} has no partner in another run at step {step:,}."
    beyond = sum(bool(m.beyond) for m in others)
    best = others[0]
    return (
        f"At step {step:,} the partner most like {head} is {best.head} of {shorten(best.run, 40)} (correlation "
        f"{number(best.similarity or 0.0)}, {number(best.excess or 0.0)} beyond the null); in {beyond} of "
        f"{plural(len(others), 'run')} of other inits the partner is beyond the 99th percentile of the null."
    )
