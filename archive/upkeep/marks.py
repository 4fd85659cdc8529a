"""Marks on runs: tags, and exclusion from answers with a reason. Both can be taken back."""

from dataclasses import dataclass

from archive.errors import UsageError
from archive.layout import Layout
from archive.store import WRITE_PATIENCE
from archive.upkeep.change import audit, changing, find_run, who


@dataclass(frozen=True)
class Marked:
    """What a mark did: `changed` is false when it was there, or gone, already."""

    run: str
    action: str
    changed: bool


def tag(
    layout: Layout, run: str, name: str, *, remove: bool = False, patience: float = WRITE_PATIENCE
) -> Marked:
    """Put a tag on a run, or take it off; shown in `v_run.tags`."""
    name = name.strip()
    if not name:
        raise UsageError("a tag needs at least one letter: `pathscope tag RUN TAG`.")
    action = "untag" if remove else "tag"
    with changing(layout, action, patience=patience) as connection:
        run_id, run = find_run(connection, run)
        values = {"run": run_id, "tag": name}
        there = connection.execute(
            "SELECT count(*) FROM run_tag WHERE run_id = $run AND tag = $tag", values
        ).fetchone() != (0,)
        changed = there is remove
        if changed:
            connection.execute(
                "DELETE FROM run_tag WHERE run_id = $run AND tag = $tag"
                if remove
                else "INSERT INTO run_tag VALUES ($run, $tag)",
                values,
            )
            audit(connection, action, run, {"tag": name})
    return Marked(run, action, changed)


def exclude(layout: Layout, run: str, reason: str, *, patience: float = WRITE_PATIENCE) -> Marked:
    """Leave a run out of answers; who, when and why are kept and shown in every answer that leaves it out.

    A new reason for an excluded run is added to the old one, not put in its place.
    """
    reason = reason.strip()
    if not reason:
        raise UsageError("an exclusion needs a reason that others can judge: `--reason 'loss spike at 4k'`.")
    with changing(layout, "exclude", patience=patience) as connection:
        run_id, run = find_run(connection, run)
        values = {"run": run_id, "reason": reason}
        changed = connection.execute(
            "SELECT count(*) FROM exclusion WHERE run_id = $run AND reason = $reason AND NOT lifted", values
        ).fetchone() == (0,)
        if changed:
            connection.execute(
                """INSERT INTO exclusion
                   SELECT coalesce(max(id), 0) + 1, $run, $reason, $who, now(), false FROM exclusion""",
                {**values, "who": who()},
            )
            audit(connection, "exclude", run, {"reason": reason})
    return Marked(run, "exclude", changed)


def include(layout: Layout, run: str, *, patience: float = WRITE_PATIENCE) -> Marked:
    """Take a run back into answers; its exclusions stay in the table, marked as lifted."""
    with changing(layout, "include", patience=patience) as connection:
        run_id, run = find_run(connection, run)
        lifted = connection.execute(
            "UPDATE exclusion SET lifted = true WHERE run_id = $run AND NOT lifted RETURNING reason",
            {"run": run_id},
        ).fetchall()
        if lifted:
            audit(connection, "include", run, {"reasons": [reason for (reason,) in lifted]})
    return Marked(run, "include", bool(lifted))
