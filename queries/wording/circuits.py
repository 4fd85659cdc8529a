"""What every answer about circuits has to say, and small things their words share."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from queries.reading.role_scores import Readings
from queries.reading.roles import SCORES, VERSION, Levels, Role, told
from queries.results import Verdict

_BY_SCORE = {
    "ablation": "Effects of single heads understate their importance: others take over what an ablated head did (self-repair, "
    "backup heads), and effects of several heads do not add up to their joint effect.",
    "dla": "Direct effects miss heads that write nothing to the answer until others are gone (backup heads) and those that act "
    "through later heads.",
}
_ALWAYS = (
    "Where a head looks is not what it does: attention is no importance.",
    "Roles are templates from circuits found by hand in one model: heads that do the task in another way have no role here.",
)


def causal_limits(scores: Iterable[str]) -> list[str]:
    """What scores of single heads cannot tell, for those that an answer uses."""
    used = set(scores)
    return [*(line for score, line in _BY_SCORE.items() if score in used), *_ALWAYS]


def rule_limits(roles: Mapping[str, Role], levels: Levels) -> list[str]:
    """The rule that was used, and what it is worth."""
    rules = "; ".join(f"{name}: {told(role, levels)}" for name, role in roles.items())
    return [
        f"Rules for roles, version {VERSION}, with levels that are conventions: {rules}; never short of chance."
    ]


def error_limits(readings: Readings, needed: Sequence[str]) -> list[str]:
    """Scores whose standard errors are missing: heads cannot be tested by them."""
    lines = []
    for score in needed:
        known = np.isfinite(readings.column(f"{score}_value"))
        if known.any() and not np.isfinite(readings.column(f"{score}_error")[known]).any():
            lines.append(f"{SCORES[score].called} has no standard errors, so no head can be tested by it.")
    return lines


def shared_verdict(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The verdict all share; None where they differ."""
    return verdicts[0] if len(set(verdicts)) == 1 else None


def or_nan(value: float | None) -> float:
    """The number, or NaN where a table has none."""
    return math.nan if value is None else value


def plural(n: int, word: str) -> str:
    """3 runs, 1 run."""
    return f"{n} {word}{'' if n == 1 else 's'}"
