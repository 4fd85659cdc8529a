"""Questions registered before the runs that test them. What is registered cannot be changed, only looked at."""

import re
from collections.abc import Sequence

from archive.errors import UsageError
from archive.identity import canonical_json
from archive.layout import Layout
from archive.store import WRITE_PATIENCE
from archive.upkeep.change import audit, changing, who

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def add_hypothesis(
    layout: Layout,
    name: str,
    *,
    statement: str,
    primary_measure: str,
    alpha: float = 0.05,
    runs: Sequence[str] = (),
    patience: float = WRITE_PATIENCE,
) -> None:
    """Register a question: what is claimed, by which measure it is judged, at which level, and of which runs.

    runs: as queries take them, none for all; they need not be there yet. The time is the archive's own, and there is no
    way to change an entry. Raises UsageError for an empty statement or measure, a level outside (0, 0.5], a name that is not
    letters, digits, dots, dashes and underscores, and a name that is taken, telling what it says.
    """
    statement, primary_measure = statement.strip(), primary_measure.strip()
    refuse_unfit(name, statement, primary_measure, alpha)
    values = {
        "name": name,
        "statement": statement,
        "measure": primary_measure,
        "alpha": alpha,
        "runs": canonical_json({"runs": list(runs)} if runs else {}),
        "who": who(),
    }
    with changing(layout, "register a hypothesis", patience=patience) as connection:
        there = connection.execute(
            "SELECT statement, primary_measure, alpha, runs_json, who, strftime(registered_at, '%Y-%m-%d %H:%M') "
            "FROM hypothesis WHERE name = $name",
            {"name": name},
        ).fetchone()
        if there is not None:
            said, measure, level, of_runs, whose, at = there
            raise UsageError(
                f"hypothesis {name!r} is registered and cannot be changed: {said!r}, by {measure} at alpha {level:g}, runs "
                f"{of_runs}, by {whose} on {at}. Register another one under a new name."
            )
        connection.execute(
            """INSERT INTO hypothesis
               SELECT coalesce(max(id), 0) + 1, $name, $statement, $measure, $alpha, $runs, $who, now() FROM hypothesis""",
            values,
        )
        detail = {"primary_measure": primary_measure, "alpha": alpha, "runs": list(runs)}
        audit(connection, "hypothesis", name, {"statement": statement, **detail})


def refuse_unfit(name: str, statement: str, primary_measure: str, alpha: float) -> None:
    """Raise UsageError for what `add_hypothesis` would refuse in any archive."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"hypothesis {name!r}: a name has letters, digits, '.', '-' and '_', at most 100 of them."
        )
    if not statement.strip() or not primary_measure.strip():
        raise UsageError(
            f"hypothesis {name!r} needs a statement that others can judge and a primary measure: "
            "`pathscope hypothesis add NAME --statement 'seeds agree on ...' --primary-measure loss`."
        )
    if not 0 < alpha <= 0.5:
        raise UsageError(
            f"hypothesis {name!r}: alpha = {alpha:g}; expected a level above 0, at most 0.5, such as 0.05."
        )
