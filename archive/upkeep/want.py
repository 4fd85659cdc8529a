"""What another archive has and ours lacks: temporary tables want_* with ids of theirs, which `unload` reads."""

from archive.mapping import RUN_FIELDS
from archive.records import ACCEPTED
from archive.schema.facts import CONTENT, OWNER_COLUMNS
from archive.upkeep.two import TwoArchives, blank

# small tables with their natural key, and the columns whose blanks the committer fills from a second source
NAMED: dict[str, tuple[str, tuple[str, ...]]] = {
    "source": ("name", ("kind", "repository", "commit_hash", "licence", "citation", "url", "note")),
    "family": ("name", ("summary", "facts_json")),
    "tokenizer": ("hash", ("name", "kind")),
    "text_set": ("hash", ("name", "kind", "licence", "facts_json")),
    "encoding": ("hash", ("name", "facts_json")),
    "quantity": ("hash", ()),
}
RUN_COLUMNS = (*RUN_FIELDS, "intervention_json", "config_json")
CHECKPOINT_COLUMNS = ("label", "tokens_seen", "epoch", "revision", "weights_hash", "location")


def find_wanted(two: TwoArchives) -> dict[str, int]:
    """Fill the tables want_*; returns how many rows each has. Needs the tables blocked_* of `find_conflicts`."""
    for table, (key, columns) in NAMED.items():
        blocked = "AND t.id NOT IN (SELECT id FROM blocked_quantity)" if table == "quantity" else ""
        two.make(
            f"want_{table}",
            f"""SELECT t.id FROM {two.theirs}{table} t LEFT JOIN {two.ours}{table} o USING ({key})
                WHERE (o.id IS NULL OR {_fills(columns)}) {blocked}""",
        )
    _runs(two)
    _checkpoints(two)
    _studies(two)
    _cells(two)
    _logs(two)
    _content(two)
    two.make(
        "want_source_file",
        f"""SELECT t.id FROM {two.theirs}source_file t JOIN {two.theirs}source s ON s.id = t.source_id
            LEFT JOIN {two.ours}source os ON os.name = s.name
            LEFT JOIN {two.ours}source_file o ON o.source_id = os.id AND o.path = t.path WHERE o.id IS NULL""",
    )
    names = (*NAMED, "run", "told", "checkpoint", "study", "source_file", "cell", "log", "content")
    return {name: two.number(f"SELECT count(*) FROM want_{name}") for name in names}


def _fills(columns: tuple[str, ...]) -> str:
    """SQL that is true where theirs fills a blank of ours."""
    return " OR ".join(["false", *(f"{blank(f'o.{c}')} AND NOT {blank(f't.{c}')}" for c in columns)])


def _runs(two: TwoArchives) -> None:
    """Runs that are new, or of which theirs knows more: a field, a tag, a last step; want_told: names and notes."""
    o, t = two.ours, two.theirs
    # the committer writes a contradiction down as a note beginning with the field's name
    contradicts = " OR ".join(
        f"""o.{c} <> t.{c} AND NOT {blank(f"o.{c}")} AND NOT {blank(f"t.{c}")} AND NOT EXISTS
            (SELECT 1 FROM {o}run_note n WHERE n.run_id = o.id AND starts_with(n.note, '{c} is '))"""
        for c in RUN_FIELDS
        if c != "final_step"
    )
    two.make(
        "want_run",
        f"""SELECT t.id FROM {t}run t LEFT JOIN {o}run o USING (name)
            WHERE o.id IS NULL OR t.final_step > o.final_step OR (o.family_id = 0 AND t.family_id <> 0)
              OR {_fills(RUN_COLUMNS)} OR {contradicts}
            UNION SELECT g.run_id FROM {t}run_tag g LEFT JOIN map_run m ON m.theirs = g.run_id
            LEFT JOIN {o}run_tag og ON og.run_id = m.ours AND og.tag = g.tag WHERE og.tag IS NULL""",
    )
    two.make(
        "want_told",
        " UNION ".join(
            f"""SELECT x.run_id AS id FROM {t}{table} x JOIN {t}source s ON s.id = x.source_id
                LEFT JOIN map_run m ON m.theirs = x.run_id LEFT JOIN {o}source os ON os.name = s.name
                LEFT JOIN {o}{table} y ON y.run_id = m.ours AND y.source_id = os.id AND y.{column} = x.{column}
                WHERE y.run_id IS NULL {besides}"""
            for table, column, besides in (
                (
                    "run_alias",
                    "alias",
                    "AND (x.alias, x.source_id) NOT IN (SELECT (alias, source_id) FROM blocked_alias)",
                ),
                ("run_note", "note", ""),
            )
        ),
    )


def _checkpoints(two: TwoArchives) -> None:
    o, t = two.ours, two.theirs
    two.make(
        "want_checkpoint",
        f"""SELECT t.id FROM {t}checkpoint t LEFT JOIN map_checkpoint m ON m.theirs = t.id
            LEFT JOIN {o}checkpoint o ON o.id = m.ours
            WHERE (o.id IS NULL OR {_fills(CHECKPOINT_COLUMNS)} OR (o.integrity = 'ok' AND t.integrity <> 'ok'
                     AND NOT starts_with(o.integrity_note, '{ACCEPTED}')))
              AND t.id NOT IN (SELECT id FROM blocked_checkpoint)""",
    )


def _studies(two: TwoArchives) -> None:
    """Studies that are new, or have runs in theirs that they do not have in ours."""
    o, t = two.ours, two.theirs
    two.make(
        "want_study",
        f"""SELECT t.id FROM {t}study t LEFT JOIN {o}study o USING (name) WHERE o.id IS NULL
            UNION SELECT x.study_id FROM {t}study_run x JOIN {t}study s ON s.id = x.study_id
            LEFT JOIN map_run m ON m.theirs = x.run_id LEFT JOIN {o}study os ON os.name = s.name
            LEFT JOIN {o}study_run y ON y.study_id = os.id AND y.run_id = m.ours WHERE y.run_id IS NULL""",
    )


def _cells(two: TwoArchives) -> None:
    """Cells that ours does not have, or has failed at where theirs is done."""
    o, t = two.ours, two.theirs
    two.make(
        "want_cell",
        f"""SELECT l.subject_kind::INTEGER AS subject_kind, l.subject_id, l.quantity_id FROM {t}cell l
            LEFT JOIN map_subject s ON s.kind = l.subject_kind AND s.theirs = l.subject_id
            LEFT JOIN map_quantity q ON q.theirs = l.quantity_id
            LEFT JOIN {o}cell c ON c.subject_kind = l.subject_kind AND c.subject_id = s.ours AND c.quantity_id = q.ours
            LEFT JOIN {t}checkpoint_pair k ON l.subject_kind = 2 AND k.id = l.subject_id
            WHERE (c.state IS NULL OR (c.state <> 1 AND l.state = 1))
              AND l.quantity_id NOT IN (SELECT id FROM blocked_quantity)
              AND l.file_id NOT IN (SELECT id FROM blocked_file)
              AND NOT EXISTS (SELECT 1 FROM blocked_checkpoint b
                              WHERE b.id = CASE l.subject_kind WHEN 1 THEN l.subject_id ELSE k.checkpoint_a END
                                 OR b.id = k.checkpoint_b)""",
    )


def _logs(two: TwoArchives) -> None:
    """Logs that are still growing in theirs (segments, no cell) and reach further than ours."""
    o, t = two.ours, two.theirs
    two.make(
        "want_log",
        f"""SELECT g.run_id, g.quantity_id FROM
              (SELECT run_id, quantity_id, max(last_step) AS reached FROM {t}log_segment GROUP BY ALL) g
            LEFT JOIN map_run r ON r.theirs = g.run_id LEFT JOIN map_quantity q ON q.theirs = g.quantity_id
            LEFT JOIN (SELECT run_id, quantity_id, max(last_step) AS reached FROM {o}log_segment GROUP BY ALL) h
              ON h.run_id = r.ours AND h.quantity_id = q.ours
            WHERE coalesce(h.reached < g.reached, true)
              AND NOT EXISTS (SELECT 1 FROM {t}cell c WHERE c.subject_kind = 0 AND c.subject_id = g.run_id
                              AND c.quantity_id = g.quantity_id)
              AND NOT EXISTS (SELECT 1 FROM {o}cell c WHERE c.subject_kind = 0 AND c.subject_id = r.ours
                              AND c.quantity_id = q.ours)
              AND g.quantity_id NOT IN (SELECT id FROM blocked_quantity)""",
    )


def _content(two: TwoArchives) -> None:
    """Documents, tokens, prompts and vocabularies whose owner has none of them in ours."""
    wanted = []
    for spec in CONTENT:
        column = OWNER_COLUMNS[spec.owner][0]
        wanted.append(
            f"""SELECT '{spec.name}' AS name, x.id FROM (SELECT DISTINCT {column} AS id FROM {two.theirs}{spec.name}) x
                JOIN {two.theirs}{spec.owner} t ON t.id = x.id LEFT JOIN {two.ours}{spec.owner} o USING (hash)
                WHERE o.id IS NULL OR o.id NOT IN (SELECT {column} FROM {two.ours}{spec.name})"""
        )
    two.make("want_content", " UNION ALL ".join(wanted))
