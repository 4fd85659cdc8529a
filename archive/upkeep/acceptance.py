"""A person overrules what is said against a checkpoint: it goes back into curves, with name and reason."""

import json
from dataclasses import dataclass

from archive.errors import UsageError
from archive.layout import Layout
from archive.records import ACCEPTED
from archive.store import WRITE_PATIENCE
from archive.upkeep.change import audit, changing, find_run, who


@dataclass(frozen=True)
class Accepted:
    """What an acceptance did. integrity, note: of the checkpoint now; changed: false when it was so already."""

    run: str
    step: int
    integrity: str
    note: str
    changed: bool


def accept(
    layout: Layout,
    run: str,
    step: int,
    reason: str,
    *,
    undo: bool = False,
    patience: float = WRITE_PATIENCE,
) -> Accepted:
    """Take a suspect checkpoint back into curves; no later `verify` or ingest marks it again.

    Of several snapshots of the step the newest is meant, the one that answers use. undo: put back what was said
    against it. Raises UsageError without a reason, for a step the run does not have, and for one that nothing is
    said against.
    """
    reason = reason.strip()
    if not undo and not reason:
        raise UsageError(
            "an acceptance needs a reason that others can judge: `--reason 'loss spike, not a swap'`."
        )
    action = "suspect" if undo else "accept"
    with changing(layout, action, patience=patience) as connection:
        run_id, run = find_run(connection, run)
        row = connection.execute(
            """SELECT id, snapshot, integrity, integrity_note, integrity_link FROM checkpoint
               WHERE run_id = $run AND step = $step ORDER BY id DESC LIMIT 1""",
            {"run": run_id, "step": step},
        ).fetchone()
        if row is None:
            raise UsageError(
                f"{run} has no checkpoint at step {step}; `pathscope verify --checkpoints {run}` lists them."
            )
        checkpoint, snapshot, integrity, note, link = row
        target = f"{run} step {step}" + (f" snapshot {snapshot}" if snapshot else "")
        accepted = integrity == "ok" and note.startswith(ACCEPTED)
        if integrity == "ok" and not accepted:
            raise UsageError(f"{target} is not suspect; there is nothing to accept or to take back.")
        if accepted is not undo:
            return Accepted(run, step, integrity, note, changed=False)
        detail = {"integrity": integrity, "note": note, "link": link, "reason": reason}
        if undo:
            said = connection.execute(
                "SELECT detail_json FROM audit WHERE action = 'accept' AND target = $target ORDER BY id DESC LIMIT 1",
                {"target": target},
            ).fetchone()
            before = json.loads(said[0]) if said else {}
            integrity, note = before.get("integrity", "ok"), before.get("note", "")
        else:
            integrity, note = "ok", f"{ACCEPTED}{who()}: {reason} (was {integrity}: {note})"
        connection.execute(
            "UPDATE checkpoint SET integrity = $integrity, integrity_note = $note WHERE id = $id",
            {"integrity": integrity, "note": note, "id": checkpoint},
        )
        audit(connection, action, target, detail)
    return Accepted(run, step, integrity, note, changed=True)
