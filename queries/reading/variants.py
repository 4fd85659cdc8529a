"""Everything there is of one kind: each variant of each measure by itself, shown side by side, never mixed."""

from collections.abc import Sequence
from functools import partial

from archive.errors import NotComparable, UsageError
from archive.store import Archive
from queries.reading.quantities import VARIANT_FIELDS, Choice, Quantity, Want, Which, choose_quantities
from queries.reading.select import Selected

_VARIANTS_SQL = f"""\
SELECT DISTINCT measure, table_name, {", ".join(VARIANT_FIELDS)}
FROM v_quantity
WHERE table_name IN (SELECT unnest($tables)) OR measure IN (SELECT unnest($measures))
ORDER BY ALL"""


def choose_variants(
    archive: Archive,
    selected: Selected,
    which: Which,
    *,
    tables: Sequence[str],
    measures: Sequence[str] = (),
) -> list[Choice]:
    """A choice per variant that any of the runs has: all measures kept in `tables`, and those named in `measures`.

    Versions are chosen as ever: the newest that is complete. Three statements. Raises UsageError where nothing
    is left, with the reason for one of them.
    """
    known = archive.rows(_VARIANTS_SQL, {"tables": list(tables), "measures": list(measures)})
    if not known:
        raise UsageError(
            f"{archive.layout.database} holds none of {', '.join([*tables, *measures])}; `pathscope measures` lists what can be "
            "measured, `pathscope ingest STUDY.toml --fill MEASURE` measures it."
        )
    wants = [
        Want(
            (row["measure"],),
            (row["table_name"],),
            fits=partial(_is, tuple(str(row[field]) for field in VARIANT_FIELDS)),
        )
        for row in known
    ]
    found = choose_quantities(archive, selected, wants, which)
    chosen = [choice for choice in found if isinstance(choice, Choice)]
    if not chosen:
        errors = [error for error in found if isinstance(error, UsageError | NotComparable)]
        raise errors[0]
    return chosen


def variant_label(quantity: Quantity) -> str:
    """The measure with its variant, where its parameters name one other than the usual: head.mask:punctuation."""
    named = [quantity.params.get(key) for key in ("variant", "mask")]
    found = [name for name in named if isinstance(name, str) and name not in ("", "sum_targets")]
    return ":".join([quantity.measure, *found])


def _is(variant: tuple[str, ...], quantity: Quantity) -> bool:
    return quantity.variant[1:] == variant
