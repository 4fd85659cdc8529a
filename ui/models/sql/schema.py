"""What a statement may be about: the public views and the table macros, with their columns."""

from dataclasses import dataclass

from archive.macros import MACROS
from archive.store import Archive

_VIEWS_SQL = """\
SELECT v.view_name AS name, coalesce(v.comment, '') AS about,
       list({'column': c.column_name, 'type': c.data_type} ORDER BY c.column_index) AS columns
FROM duckdb_views() v
JOIN duckdb_columns() c ON c.table_oid = v.view_oid AND c.schema_oid = v.schema_oid
WHERE NOT v.internal
GROUP BY ALL ORDER BY name"""


@dataclass(frozen=True)
class PublicView:
    """A view or macro with its sentence and its columns as (name, type).

    call: how it stands in a FROM: its name, or of a macro a call with arguments that always runs. signature: of a macro,
    the name with its parameters.
    """

    name: str
    about: str
    columns: tuple[tuple[str, str], ...]
    call: str = ""
    signature: str = ""

    @property
    def sample(self) -> str:
        """A statement that shows what is in it."""
        return f"SELECT *\nFROM {self.call or self.name}\nLIMIT 20"


def public_views(archive: Archive) -> list[PublicView]:
    """Every view with its comment: the part of the schema that stays."""
    return [
        PublicView(row["name"], row["about"], tuple((c["column"], c["type"]) for c in row["columns"]))
        for row in archive.rows(_VIEWS_SQL)
    ]


def macro_names() -> list[str]:
    """Every table macro by name, in the order of docs/sql.md."""
    return [macro.name for macro in MACROS]


def table_macro(archive: Archive, *, name: str) -> PublicView:
    """A macro with its sentence and the columns that a call of it has here."""
    macro = next(one for one in MACROS if one.name == name)
    described = archive.rows(f"DESCRIBE SELECT * FROM {macro.example}")
    columns = tuple((row["column_name"], row["column_type"]) for row in described)
    return PublicView(name, macro.about, columns, macro.example, f"{name}({macro.parameters})")
