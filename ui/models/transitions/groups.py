"""Conditions in few words, in tables and in sentences: what all of them share is left out."""

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa

from archive.store import Archive
from queries.reading.select import RunSelection, select_runs
from queries.reading.tables import shared_words
from ui.models.text import shorten

WIDTH = 44


def short_groups(names: Sequence[str]) -> dict[str, str]:
    """A label per condition that tells it from the others by the words that not all of them have.

    Labels that would be empty or alike are shortened names instead.
    """
    known = list(dict.fromkeys(names))
    words = [name.split() for name in known]
    shared = set(words[0]).intersection(*words[1:]) if len(known) > 1 else set()
    labels = [shorten(" ".join(w for w in own if w not in shared), WIDTH) for own in words]
    if len(set(labels)) < len(known) or not all(labels):
        labels = [shorten(name, WIDTH) for name in known]
    return dict(zip(known, labels, strict=True))


def groups_in_short(archive: Archive, *, selection: RunSelection) -> dict[str, str]:
    """Labels of the conditions of a selection, also for what answers leave of their names after words that all share."""
    selected = select_runs(archive, selection)
    short = short_groups(list(selected.groups.values()))
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
