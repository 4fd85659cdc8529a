"""Two archives side by side in one connection, their rows matched by natural key."""

from typing import Any

import duckdb


class TwoArchives:
    """`ours` and `theirs` are what to write before a table's name to mean one of them ("" for the main file).

    The temporary tables map_run, map_checkpoint, map_pair, map_quantity (theirs, ours) and map_subject (kind,
    theirs, ours) say which ids mean the same thing; everything else is a join with them, whatever its size.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, ours: str, theirs: str) -> None:
        """Match what both archives name."""
        self.connection, self.ours, self.theirs = connection, ours, theirs
        o, t = ours, theirs
        self.make("map_run", f"SELECT t.id AS theirs, o.id AS ours FROM {t}run t JOIN {o}run o USING (name)")
        self.make(
            "map_checkpoint",
            f"""SELECT t.id AS theirs, o.id AS ours FROM {t}checkpoint t JOIN map_run r ON r.theirs = t.run_id
                JOIN {o}checkpoint o ON o.run_id = r.ours AND o.step = t.step AND o.snapshot = t.snapshot""",
        )
        self.make(
            "map_pair",
            f"""SELECT t.id AS theirs, o.id AS ours FROM {t}checkpoint_pair t
                JOIN map_checkpoint a ON a.theirs = t.checkpoint_a JOIN map_checkpoint b ON b.theirs = t.checkpoint_b
                JOIN {o}checkpoint_pair o ON o.checkpoint_a = a.ours AND o.checkpoint_b = b.ours""",
        )
        self.make(
            "map_quantity",
            f"SELECT t.id AS theirs, o.id AS ours FROM {t}quantity t JOIN {o}quantity o USING (hash)",
        )
        self.make(
            "map_subject",
            """SELECT 0 AS kind, theirs, ours FROM map_run UNION ALL SELECT 1, theirs, ours FROM map_checkpoint
               UNION ALL SELECT 2, theirs, ours FROM map_pair""",
        )

    def make(self, table: str, sql: str) -> None:
        """Keep the result of a statement as a temporary table."""
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {sql}")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a statement with a small result."""
        return self.connection.execute(sql).fetchall()

    def number(self, sql: str) -> int:
        """The one integer that a statement gives."""
        return int(self.rows(sql)[0][0])


def blank(expression: str) -> str:
    """SQL that is true for a value that says nothing: NULL, "", {} or []."""
    return f"coalesce({expression}::VARCHAR, '') IN ('', '{{}}', '[]')"
