"""Where two archives contradict each other. What was there first stays; every contradiction is told."""

from collections.abc import Iterator
from dataclasses import dataclass

from archive.manifest import SUBJECT_OF_OWNER
from archive.mapping import DEFINING, RUN_FIELDS
from archive.schema.facts import FACTS, OWNER_COLUMNS, FactTable
from archive.upkeep.findings import MAX_EXAMPLES
from archive.upkeep.two import TwoArchives, blank

TOLD: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("run", tuple(f for f in RUN_FIELDS if f != "final_step")),  # of two last steps the later one holds
    ("source", ("repository", "commit_hash", "licence", "citation", "url")),
    ("study", ("hash",)),
    ("hypothesis", ("statement", "primary_measure", "alpha", "runs_json")),
)


@dataclass(frozen=True)
class Conflict:
    """Something the two archives say differently; `count` is how many such things the sentence covers."""

    what: str
    name: str
    ours: str
    theirs: str
    count: int = 1


def find_conflicts(two: TwoArchives) -> list[Conflict]:
    """All contradictions; also fills the tables blocked_* with ids of theirs that cannot go in beside ours."""
    return [
        *_measures(two),
        *_checkpoints(two),
        *_files(two),
        *_aliases(two),
        *_descriptions(two),
        *_values(two),
    ]


def _measures(two: TwoArchives) -> Iterator[Conflict]:
    """Measures whose definition changed without a new version: none of their numbers is taken."""
    o, t = two.ours, two.theirs
    differ = " OR ".join(f"t.{c} IS DISTINCT FROM o.{c}" for c in DEFINING)
    both = f"{t}measure t JOIN {o}measure o ON o.name = t.name AND o.version = t.version"
    two.make(
        "blocked_quantity",
        f"SELECT id FROM {t}quantity WHERE measure_id IN (SELECT t.id FROM {both} WHERE {differ})",
    )
    for field in DEFINING:
        sql = f"""SELECT t.name || '@' || t.version, o.{field}::VARCHAR, t.{field}::VARCHAR FROM {both}
                  WHERE t.{field} IS DISTINCT FROM o.{field} ORDER BY ALL"""
        for name, mine, yours in two.rows(sql):
            yield Conflict("measure", f"{name}: {field}", str(mine), str(yours))


def _checkpoints(two: TwoArchives) -> Iterator[Conflict]:
    """Checkpoints that have other weights under the same name: nothing measured on them is taken."""
    o, t = two.ours, two.theirs
    two.make(
        "blocked_checkpoint",
        f"""SELECT t.id, t.run_id, t.step, t.weights_hash AS theirs, o.weights_hash AS ours FROM {t}checkpoint t
            JOIN map_checkpoint m ON m.theirs = t.id JOIN {o}checkpoint o ON o.id = m.ours
            WHERE t.weights_hash <> o.weights_hash AND t.weights_hash <> '' AND o.weights_hash <> ''""",
    )
    sql = f"""SELECT r.name || ' step ' || b.step, b.ours[:12], b.theirs[:12] FROM blocked_checkpoint b
              JOIN {t}run r ON r.id = b.run_id ORDER BY ALL"""
    for name, mine, yours in two.rows(sql):
        yield Conflict("checkpoint", name, f"weights {mine}…", f"weights {yours}…")


def _files(two: TwoArchives) -> Iterator[Conflict]:
    """Imported files with other bytes: what they gave is taken neither beside ours nor instead."""
    o, t = two.ours, two.theirs
    two.make(
        "blocked_file",
        f"""SELECT t.id, s.name AS source, t.path, o.sha256 AS ours, t.sha256 AS theirs FROM {t}source_file t
            JOIN {t}source s ON s.id = t.source_id JOIN {o}source os ON os.name = s.name
            JOIN {o}source_file o ON o.source_id = os.id AND o.path = t.path WHERE o.sha256 <> t.sha256""",
    )
    for source, path, mine, yours in two.rows(
        "SELECT source, path, ours[:12], theirs[:12] FROM blocked_file ORDER BY ALL"
    ):
        yield Conflict("file", f"{source}: {path}", f"sha256 {mine}…", f"sha256 {yours}…")


def _aliases(two: TwoArchives) -> Iterator[Conflict]:
    """Names that one source uses for two different runs."""
    o, t = two.ours, two.theirs
    two.make(
        "blocked_alias",
        f"""SELECT t.alias, t.source_id, t.run_id, rt.name AS theirs, ro.name AS ours FROM {t}run_alias t
            JOIN {t}source s ON s.id = t.source_id JOIN {t}run rt ON rt.id = t.run_id JOIN {o}source os ON os.name = s.name
            JOIN {o}run_alias o ON o.alias = t.alias AND o.source_id = os.id JOIN {o}run ro ON ro.id = o.run_id
            WHERE ro.name <> rt.name""",
    )
    for alias, mine, yours in two.rows("SELECT alias, ours, theirs FROM blocked_alias ORDER BY ALL"):
        yield Conflict("alias", alias, f"run {mine}", f"run {yours}")


def _descriptions(two: TwoArchives) -> Iterator[Conflict]:
    """Fields that both fill, differently."""
    for table, fields in TOLD:
        for field in fields:
            sql = f"""SELECT t.name, o.{field}::VARCHAR, t.{field}::VARCHAR
                      FROM {two.theirs}{table} t JOIN {two.ours}{table} o USING (name)
                      WHERE o.{field} <> t.{field} AND NOT {blank(f"t.{field}")} AND NOT {blank(f"o.{field}")} ORDER BY ALL"""
            for name, mine, yours in two.rows(sql):
                yield Conflict(table, f"{name}: {field}", mine, yours)


def _values(two: TwoArchives) -> Iterator[Conflict]:
    """Cells that both have finished, in different units, with rows that are not bit for bit the same."""
    for spec in FACTS:
        groups = two.rows(_differing(two, spec))
        if groups:
            n = sum(int(count) for _, _, count in groups)
            some = "; ".join(f"{measure} of {run} ({count})" for run, measure, count in groups[:MAX_EXAMPLES])
            yield Conflict("values", f"{n} cell(s) of {spec.name}: {some}", "kept", "other rows, left out", n)


def _differing(two: TwoArchives, spec: FactTable) -> str:
    """SQL for (run, measure, number of cells) of one table that both have with different rows."""
    o, t, kind = two.ours, two.theirs, int(SUBJECT_OF_OWNER[spec.owner])
    two.make(
        "in_both",
        f"""SELECT l.subject_id AS their_subject, s.ours AS our_subject, l.quantity_id AS their_quantity,
                   q.ours AS our_quantity, m.name AS measure
            FROM {t}cell l JOIN {t}quantity tq ON tq.id = l.quantity_id JOIN {t}measure m ON m.id = tq.measure_id
            JOIN map_subject s ON s.kind = l.subject_kind AND s.theirs = l.subject_id
            JOIN map_quantity q ON q.theirs = l.quantity_id
            JOIN {o}cell c ON c.subject_kind = l.subject_kind AND c.subject_id = s.ours AND c.quantity_id = q.ours
            JOIN {t}shard ts ON ts.id = l.shard_id JOIN {o}shard os ON os.id = c.shard_id
            WHERE l.subject_kind = {kind} AND l.state = 1 AND c.state = 1 AND m.table_name = '{spec.name}'
              AND ts.name <> os.name AND l.quantity_id NOT IN (SELECT id FROM blocked_quantity)""",
    )
    run = {
        0: "x.their_subject",
        1: f"(SELECT run_id FROM {t}checkpoint WHERE id = x.their_subject)",
        2: f"(SELECT c.run_id FROM {t}checkpoint_pair k JOIN {t}checkpoint c ON c.id = k.checkpoint_a "
        "WHERE k.id = x.their_subject)",
    }[kind]
    return f"""SELECT r.name, x.measure, count(*)
               FROM ({_content(spec, t, "their")}) x JOIN ({_content(spec, o, "our")}) y
                 USING (their_subject, their_quantity)
               JOIN {t}run r ON r.id = {run}
               WHERE x.n <> y.n OR x.content <> y.content GROUP BY ALL ORDER BY ALL"""


def _content(spec: FactTable, archive: str, whose: str) -> str:
    """SQL for a number per cell in `in_both` that changes when any of its rows does, whatever their order."""
    join = f"JOIN {archive}part p ON p.id = f.part_id" if spec.has_part else ""
    part = "p.kind, p.name, " if spec.has_part else ""
    body = part + ", ".join(f'f."{c.name}"' for c in spec.body)
    return f"""SELECT b.their_subject, b.their_quantity, b.measure, count(*) AS n, sum(hash({body})) AS content
               FROM {archive}{spec.name} f JOIN in_both b
                 ON b.{whose}_subject = f.{OWNER_COLUMNS[spec.owner][-1]} AND b.{whose}_quantity = f.quantity_id
               {join} GROUP BY ALL"""
