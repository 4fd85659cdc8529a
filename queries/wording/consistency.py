"""What displacements and cosines of trajectories say and cannot say, in words."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from queries.reading.units import among
from queries.render import interval, number
from queries.stats.shared_direction import SMALLEST_P

if TYPE_CHECKING:
    from queries.reading.sketches import Cosines
    from queries.reading.trajectories import Of, Trajectories


def consistency_sentence(of: "Of", summary: Sequence[Mapping[str, Any]], n_runs: int) -> str:
    """The exponent of the whole between its references, what thirds do, and whether runs go the same way."""
    whole = [r for r in summary if r["phase"] == "all"]
    if len(whole) > 1:
        directed = sum(r["verdict"] == "directed" for r in whole)
        return f"In {directed} of {len(whole)} groups the {of} are more directed than random walks; each is in the summary."
    r = whole[0]
    if r["exponent"] is None:
        return f"No run has enough checkpoints to tell how far its {of} get in how many steps."
    runs = f"{n_runs} run{'s' if n_runs != 1 else ''}{among(r)}"
    ends = "" if r["low"] is None else f" {interval(r['low'], r['high'], 2)}"
    text = (
        f"The {of} of {runs} move as time to the power of {number(r['exponent'], 2)}{ends}, where random walks of the same step "
        f"lengths have {number(r['walk'], 2)} and a straight line {number(r['straight'], 2)}: {_found(r)}"
    )
    parts = [
        f"{p['phase']} {_found(p)}" for p in summary if p["phase"] != "all" and p["directedness"] is not None
    ]
    thirds = f" ({', '.join(parts)})" if parts else ""
    return f"{text}{thirds}; {_same_way(r)}."


def _found(r: Mapping[str, Any]) -> str:
    return "a walk" if r["verdict"] == "walk" else str(r["verdict"])


def _same_way(r: Mapping[str, Any]) -> str:
    if not r["n_pairs"]:
        return "whether runs go the same way cannot be compared"
    ends = "" if r["cosine_low"] is None else f" {interval(r['cosine_low'], r['cosine_high'], 2)}"
    word = {"yes": "runs go the same way", "unresolved": "whether runs go the same way is unresolved"}[
        r["same_way"]
    ]
    return f"{word} (mean cosine {number(r['cosine'], 2)}{ends} over {r['n_pairs']} pairs, {p_words(r['p_random'])})"


def p_words(p: float) -> str:
    """`p = 0.01`, or `p < 1e-12` where it is too small to be known."""
    return f"p < {SMALLEST_P:g}" if p <= SMALLEST_P else f"p = {number(p, 2)}"


def consistency_limits(
    of: "Of",
    summary: Sequence[Mapping[str, Any]],
    cosines: "Cosines | None",
    trajectories: "Trajectories",
    most: int,
    dimensions: int,
) -> list[str]:
    """What every answer about displacements has to say."""
    lines = [
        f"The walks draw every step anew and in any of {dimensions:,} dimensions: momentum, and noise in few directions, get "
        "further than they do without going anywhere. Directed rules out this null only.",
        "An exponent mixes direction with changes of speed: read it between its two references, which have the same speed.",
    ]
    if any(r["n_units"] < 3 for r in summary):
        lines.append(
            "Fewer than 3 independent runs have the checkpoints some phase needs: nothing is said of it beyond these runs."
        )
    dropped = max((r["n_pairs_dropped"] for r in summary), default=0)
    if dropped:
        lines.append(
            f"{dropped} pair(s) of runs that share a seed are not in the mean cosine: what they do alike may be the seed's."
        )
    measure = trajectories.choice.quantity.measure
    if cosines is None:
        lines.append(
            f"No run has {measure}:sketch, without which runs cannot be compared: `pathscope ingest STUDY --fill "
            f"{measure}:sketch`."
        )
    elif cosines.refused:
        a, b, why = cosines.refused
        lines.append(
            f"{cosines.n_refused} pair(s) of runs are not compared (first: {a} and {b}: {why}): their weights have no common "
            "coordinates until they are aligned; of='logits' compares what they compute."
        )
    if cosines and cosines.pairs:
        lines.append(
            "Cosines are those of random projections, right to about 0.02."
            + (
                " Runs that learn one task end near one function, so a shared way from first to last says little of how they "
                "get there: thirds say more."
                if of == "logits"
                else ""
            )
        )
        fewest = min((r["p_signs"] for r in summary if r["p_signs"] is not None), default=None)
        if fewest is not None and fewest >= 0.05:
            lines.append(
                f"The test that turns runs round has p = {number(fewest, 2)} or more in every phase: same_way rests on the "
                "interval over runs and on directions that are uniform in that many dimensions."
            )
    lines += _about(trajectories, most)
    return lines


def _about(trajectories: "Trajectories", most: int) -> list[str]:
    lines = []
    ends = {float(t.steps[-1]) for t in trajectories.runs.values() if len(t.steps)}
    if len(ends) > 1:
        lines.append(
            "Runs end at different steps: thirds are of each run's own time, and pairs are compared over the steps all have."
        )
    thinned = sum(len(t.steps) > most for t in trajectories.runs.values())
    if thinned:
        lines.append(f"{thinned} run(s) have more checkpoints than the {most} used (max_checkpoints).")
    if trajectories.n_dropped:
        lines.append(
            f"{trajectories.n_dropped} checkpoint(s) lack inner products with some others and are left out; "
            f"`pathscope ingest STUDY --fill {trajectories.choice.quantity.measure}` after a drop measures all."
        )
    if trajectories.sketched:
        lines.append("Inner products are those of random projections: distances are right to about 2 %.")
    return lines
