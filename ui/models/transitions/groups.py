"""Conditions in few words, in tables and in sentences: what all of them share is left out."""

import re
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from archive.store import Archive
from queries.reading.select import RunSelection, select_runs
from queries.reading.tables import shared_words
from ui.models.conditions import condition_labels

WIDTH = 44


def groups_in_short(archive: Archive, *, selection: RunSelection) -> dict[str, str]:
    """Labels of the conditions of a selection, as `in_few_words` gives them."""
    return in_few_words(select_runs(archive, selection).groups.values())


def in_few_words(names: Iterable[str]) -> dict[str, str]:
    """Labels of conditions by name, also by what answers leave of a name after words that all share."""
    short = condition_labels(list(names), WIDTH)
    cut = len(shared_words(short))
    return short | {name[cut:]: label for name, label in short.items() if cut and name[cut:]}


def with_short(table: pa.Table, columns: Sequence[str], short: Mapping[str, str]) -> pa.Table:
    """The table with the conditions in these columns in few words, also where a number of runs follows them."""
    for name in columns:
        values = [in_short(str(value), short) for value in table[name].to_pylist()]
        table = table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))
    return table


def in_short(text: str, short: Mapping[str, str]) -> str:
    """A sentence with every condition in few words; the longer of two names counts where one begins like the other."""
    if not short:
        return text
    names = "|".join(re.escape(name) for name in sorted(short, key=len, reverse=True))
    return re.sub(names, lambda found: short[found.group()], text)
