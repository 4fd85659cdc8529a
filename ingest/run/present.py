"""What the archive already has of a study: cells, logs, settings of its runs, how fast earlier units went."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archive.ledger import known_cells
from archive.store import Archive
from ingest.planning.plan import Cells, LogReach
from ingest.studies.conditions import ImpossibleSettings


@dataclass(frozen=True)
class Pace:
    """Seconds of one worker per run and step trained, and per checkpoint measured; None where never timed.

    train_of: as train, by the label of each condition that was timed.
    """

    train: float | None = None
    measure: float | None = None
    train_of: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Present:
    """One look into the archive; empty for an archive that does not exist yet.

    spec_hashes: run -> hash of the training settings it was made with; origins: run -> where it was loaded from.
    impossible: run -> why its settings were found impossible, as the ledger has it. study: the stored resolved study.
    eval_sets: hashes of the eval sets whose tokens are stored.
    """

    cells: Cells = field(default_factory=dict)
    log_reach: LogReach = field(default_factory=dict)
    spec_hashes: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    impossible: dict[str, str] = field(default_factory=dict)
    study: dict[str, Any] | None = None
    study_toml: str = ""
    eval_sets: frozenset[str] = frozenset()
    pace: Pace = Pace()


def look(archive: Archive, study: str, runs: Sequence[str]) -> Present:
    """Read everything a plan needs in one session."""
    with archive.session():
        stored = archive.rows(
            "SELECT resolved_json, toml FROM v_study WHERE study = $study", {"study": study}
        )
        configs = archive.rows(
            "SELECT name, config_json FROM run WHERE list_contains($runs, name)", {"runs": list(runs)}
        )
        impossible = archive.rows(
            """SELECT DISTINCT r.name, f.message FROM failure f JOIN run r ON r.id = f.subject_id
               WHERE f.subject_kind = 0 AND f.error_class = $error AND list_contains($runs, r.name)""",
            {"error": ImpossibleSettings.__name__, "runs": list(runs)},
        )
        eval_sets = archive.rows(
            "SELECT DISTINCT e.hash FROM encoding e JOIN content_sequence s ON s.encoding_id = e.id"
        )
        return Present(
            cells=known_cells(archive, runs),
            log_reach=_log_reach(archive, runs),
            spec_hashes={r["name"]: json.loads(r["config_json"]).get("spec_hash", "") for r in configs},
            origins={r["name"]: json.loads(r["config_json"]).get("loaded_from", "") for r in configs},
            impossible={r["name"]: r["message"] for r in impossible},
            study=json.loads(stored[0]["resolved_json"]) if stored else None,
            study_toml=stored[0]["toml"] if stored else "",
            eval_sets=frozenset(r["hash"] for r in eval_sets),
            pace=_pace(archive, study, runs),
        )


def _log_reach(archive: Archive, runs: Sequence[str]) -> dict[tuple[str, str], int]:
    segments = archive.rows(
        """SELECT r.name AS run, q.hash AS quantity, s.after_step, s.last_step
           FROM log_segment s JOIN run r ON r.id = s.run_id JOIN quantity q ON q.id = s.quantity_id
           WHERE list_contains($runs, r.name) ORDER BY s.after_step""",
        {"runs": list(runs)},
    )
    reach: dict[tuple[str, str], int] = {}
    for s in segments:
        key = (s["run"], s["quantity"])
        if s["after_step"] <= reach.get(key, -1):
            reach[key] = max(reach.get(key, -1), s["last_step"])
    return reach


def _pace(archive: Archive, study: str, runs: Sequence[str]) -> Pace:
    """Medians over the ten largest units: small ones are mostly start-up."""

    def seconds_per(count: str, seconds: str) -> float | None:
        value: float | None = archive.value(
            f"""SELECT median(seconds / n) FROM (
                  SELECT try_cast(provenance_json->'facts'->>'{count}' AS DOUBLE) AS n,
                         try_cast(provenance_json->'facts'->>'{seconds}' AS DOUBLE) AS seconds
                  FROM v_shard WHERE study = $study AND n > 0 ORDER BY n DESC LIMIT 10)""",
            {"study": study},
        )
        return value

    return Pace(
        train=seconds_per("run_steps", "train_seconds"),
        measure=seconds_per("n_checkpoints", "measure_seconds"),
        train_of=_train_pace(archive, study, runs),
    )


def _train_pace(archive: Archive, study: str, runs: Sequence[str]) -> dict[str, float]:
    """The same for every condition, whose label is in the names of its runs between the study and the seeds."""
    rows = archive.rows(
        """WITH unit AS (
             SELECT s.shard_id, any_value(r.name) AS run FROM log_segment s JOIN run r ON r.id = s.run_id
             WHERE list_contains($runs, r.name) GROUP BY s.shard_id),
           timed AS (
             SELECT regexp_replace(u.run, '/?[^/]*$', '') AS condition,
                    try_cast(h.provenance_json->'facts'->>'run_steps' AS DOUBLE) AS n,
                    try_cast(h.provenance_json->'facts'->>'train_seconds' AS DOUBLE) AS seconds
             FROM unit u JOIN v_shard h ON h.shard_id = u.shard_id WHERE h.study = $study AND n > 0
             QUALIFY row_number() OVER (PARTITION BY condition ORDER BY n DESC) <= 10)
           SELECT condition, median(seconds / n) AS pace FROM timed GROUP BY condition""",
        {"runs": list(runs), "study": study},
    )
    return {row["condition"].removeprefix(study).removeprefix("/"): row["pace"] for row in rows}
