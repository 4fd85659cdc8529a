"""Settings that runs differ in, and never what came of them: all that may be known of a run before it starts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from archive.errors import UnknownName
from archive.store import Archive
from queries.reading.select import Selected

Floats = NDArray[np.float64]

_SQL = "SELECT run_id, config_json FROM v_run WHERE run_id IN (SELECT unnest($run_ids)) ORDER BY run_id"

# how long a run was to go on and what was kept of it: no cause of anything that comes before its end
_OF_LENGTH = ("steps", "checkpoints")


@dataclass(frozen=True)
class RunSettings:
    """names: settings in which the runs differ. values: by run_id, in that order. unclear: names that may be outcomes."""

    names: tuple[str, ...]
    values: Mapping[int, tuple[object, ...]]
    unclear: tuple[str, ...]

    @property
    def limits(self) -> tuple[str, ...]:
        """What to say of values that may be settings or results."""
        if not self.unclear:
            return ()
        return (
            f"{len(self.unclear)} value(s) kept with the runs (first: {self.unclear[0]}) may be results as well as settings: no "
            "condition has two runs that would tell. Those named in settings=(...) are used.",
        )


def read_settings(archive: Archive, selected: Selected, asked: Sequence[str] = ()) -> RunSettings:
    """Settings that differ over the runs; of what was trained here all, else those that every condition has one value of.

    What a publication keeps with its runs includes results; these differ within a condition, settings do not. asked: take these,
    by their whole name or its last part. Raises UnknownName for one that no run has.
    """
    rows = archive.rows(_SQL, {"run_ids": selected.ids})
    own: dict[int, bool] = {}
    flat: dict[int, dict[str, object]] = {}
    for row in rows:
        config = json.loads(row["config_json"])
        own[row["run_id"]] = "spec_hash" in config and isinstance(config.get("train"), dict)
        flat[row["run_id"]] = _leaves(config["train"] if own[row["run_id"]] else config)
    known = sorted({name for values in flat.values() for name in values})
    kept = [name for name in known if not _of_seed_or_length(name)]
    varying = [name for name in kept if len({_text(values.get(name)) for values in flat.values()}) > 1]
    if asked:
        names, unclear = [_named(name, known) for name in asked], list[str]()
    else:
        fixed = [name for name in varying if _fixed(name, flat, selected)]
        repeated = len(set(selected.groups.values())) < len(flat)
        ours = all(own.values())
        names = varying if ours else fixed if repeated else []
        unclear = varying if not ours and not repeated else []
    return RunSettings(
        tuple(names),
        {run: tuple(values.get(name) for name in names) for run, values in flat.items()},
        tuple(unclear),
    )


def settings_columns(values: Sequence[tuple[object, ...]], groups: Sequence[str]) -> Floats:
    """Settings of runs as numbers, (run, column): what a prediction from them may use.

    values: of each run. groups: its condition. A setting of numbers becomes the order of its levels, standardised, so that 0 has
    a place beside powers of two; any other a column of 0 and 1 per level. Conditions with two runs or more have a column as well,
    so that settings may work in any way: the penalty of the fit draws them towards the line of the numbers.
    """
    columns: list[Floats] = []
    for k in range(len(values[0]) if values else 0):
        mine = [row[k] for row in values]
        numbers = [float(v) for v in mine if isinstance(v, int | float) and not isinstance(v, bool)]
        if len(numbers) == len(mine):
            columns.append(_scaled(np.unique(np.array(numbers), return_inverse=True)[1].astype(np.float64)))
        else:
            columns += _indicators([_text(v) for v in mine], least=1)
    columns += _indicators(list(groups), least=2)
    different: list[Floats] = []
    for column in columns:
        # settings that always change together are one; a column and its complement say the same
        if np.ptp(column) > 0 and not any(abs(np.corrcoef(column, c)[0, 1]) > 1 - 1e-9 for c in different):
            different.append(column)
    return np.array(different).T if different else np.empty((len(values), 0))


def _indicators(names: Sequence[str], least: int) -> list[Floats]:
    found = np.array(names)
    return [
        (found == name).astype(np.float64)
        for name in dict.fromkeys(names)
        if least <= int((found == name).sum()) < len(found)
    ]


def _scaled(levels: Floats) -> Floats:
    spread = levels.std()
    scaled: Floats = (levels - levels.mean()) / (spread if spread > 0 else 1.0)
    return scaled


def _fixed(name: str, flat: Mapping[int, Mapping[str, object]], selected: Selected) -> bool:
    """Whether all runs of each condition have one value."""
    seen: dict[str, set[str]] = {}
    for run, values in flat.items():
        seen.setdefault(selected.groups[run], set()).add(_text(values.get(name)))
    return all(len(texts) == 1 for texts in seen.values())


def _named(name: str, known: Sequence[str]) -> str:
    found = [k for k in known if k == name] or [k for k in known if k.rsplit(".", 1)[-1] == name]
    if len(found) != 1:
        raise UnknownName.of(
            "setting", name, known, listing="`pathscope sql 'SELECT run, config_json FROM v_run'`"
        )
    return found[0]


def _of_seed_or_length(name: str) -> bool:
    first, last = name.split(".", 1)[0], name.rsplit(".", 1)[-1]
    return first in _OF_LENGTH or "seed" in last


def _leaves(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings by dotted name."""
    found: dict[str, object] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
