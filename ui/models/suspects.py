"""Suspect checkpoints: which runs have any, and what to say where their numbers are used all the same."""

from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

import pyarrow as pa

from archive.store import Archive
from ui.models.series import RunNames
from ui.models.text import plural, shorten

Mark = tuple[str, float, str]  # run, step, why

_SQL = """\
SELECT r.name AS run, c.step, trim(replace(c.integrity, '_', ' ') || ' ' || coalesce(c.integrity_note, '')) AS why
FROM checkpoint c JOIN run r ON r.id = c.run_id
WHERE c.integrity <> 'ok' ORDER BY c.run_id, c.step"""


def suspects(archive: Archive) -> list[Mark]:
    """Every suspect checkpoint of the archive."""
    return [(row["run"], float(row["step"]), row["why"]) for row in archive.rows(_SQL)]


def in_use(known: Iterable[Mark], tables: Sequence[pa.Table]) -> set[Mark]:
    """Those of them that curves rest on. tables: what is drawn, with run and step."""
    drawn = {
        place
        for table in tables
        for place in zip(table["run"].to_pylist(), table["step"].to_pylist(), strict=True)
    }
    return {mark for mark in known if mark[:2] in drawn}


def in_use_words(marks: Collection[Mark]) -> list[str]:
    """What to say of a figure that has them; nothing where it has none."""
    if not marks:
        return []
    run, step, why = min(marks)
    first = f"{shorten(run, 60)} step {step:,.0f}, {shorten(why, 80)}"
    return [f"▲ marks {plural(len(marks), 'suspect checkpoint')} in use (first: {first})."]


def at_step(known: Iterable[Mark], runs: Collection[str], step: int) -> list[str]:
    """What to say where numbers of one step rest on suspect checkpoints of these runs."""
    here = [mark for mark in known if mark[1] == step and mark[0] in runs]
    return [f"▲ {run} at step {step:,} is a suspect checkpoint: {why}." for run, _, why in here[:5]] + (
        [f"▲ So are those of {len(here) - 5} more runs."] if len(here) > 5 else []
    )


def badge(runs: Sequence[RunNames], names: Sequence[str], *, used: bool) -> str:
    """Beside the choice of runs: how many suspect checkpoints these have; "" where they have none.

    names: names and patterns that narrow the runs, where there are any. used: whether they count in what is shown.
    """
    odd = [r for r in runs if r.n_suspect and (not names or any(fnmatchcase(r.run, n) for n in names))]
    if not odd:
        return ""
    n = plural(sum(r.n_suspect for r in odd), "suspect checkpoint")
    whose = shorten(odd[0].run, 40) if len(odd) == 1 else plural(len(odd), "run")
    return f"▲ {n} in {whose}: {'in use' if used else 'left out'}."
