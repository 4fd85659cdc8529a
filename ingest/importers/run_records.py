"""What a published `.pth` record says, as plain values: curves with their steps, settings, what was odd."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from archive.records import Part
from ingest.importers.files import Damaged
from ingest.task import TEST, TRAIN

# entries of a record that are read as something else than a curve
_OTHER = frozenset({"model", "optimizer", "scheduler", "epoch", "train_loss", "test_loss"})
_SPLITS = {"train_losses": TRAIN, "test_losses": TEST}


@dataclass(frozen=True)
class Curve:
    """Losses in nats; value i was taken after i · every updates."""

    part: Part
    values: np.ndarray
    every: int = 1


@dataclass(frozen=True)
class RunRecord:
    """One run of a file. label: what tells it from the file's other runs. settings: plain values."""

    curves: Sequence[Curve]
    label: str = ""
    settings: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def run_records(loaded: object) -> list[RunRecord]:
    """The runs of a loaded file.

    Four shapes are known: a record with `train_losses` and more; a list of losses; a list of losses per token;
    `[fractions, curves]`, a sweep with two curves, train and test, for each fraction of the data. Raises
    Damaged for anything else, and for losses that are no numbers.
    """
    if isinstance(loaded, Mapping):
        return [_record(loaded)]
    if _is_sweep(loaded):
        return _sweep(*loaded)  # type: ignore[misc] # _is_sweep has looked
    curve = _numbers(loaded)
    if curve is not None:
        return [RunRecord([Curve(TRAIN, curve)])]
    per_token = _table(loaded)
    if per_token is not None:
        return [_per_token(per_token)]
    raise Damaged(
        f"holds a {_kind(loaded)}; expected losses (a list, a list per token, [fractions, curves]) or a record with "
        "train_losses"
    )


def plain(value: object) -> object:
    """A setting without tensors and other objects: numbers, texts, lists and dicts of them; None for the rest."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    return None


def _record(record: Mapping[object, object]) -> RunRecord:
    curves: list[Curve] = []
    notes: list[str] = []
    settings: dict[str, object] = {}
    n_epochs = _n_epochs(record)
    for key, value in record.items():
        name = str(key)
        if name in _SPLITS:
            numbers = _numbers(value)
            if numbers is None:
                raise Damaged(f"{name} is a {_kind(value)}; expected a list of numbers")
            every = _spacing(n_epochs or len(numbers), len(numbers))
            if every is None:
                notes.append(
                    f"{name} was left out: {len(numbers)} values of {n_epochs} epochs fit no spacing"
                )
                continue
            if every > 1:
                notes.append(f"{name} are taken to be every {every} epochs, from the lengths of the lists")
            curves.append(Curve(_SPLITS[name], numbers, every))
        elif name == "config" or name.endswith("_config"):
            settings[name] = plain(value)
        elif name not in _OTHER:
            notes.append(f"field {name!r} was left out")
    if not curves and "model" not in record:
        raise Damaged(
            f"holds neither train_losses nor a model; its fields are {sorted(map(str, record))[:8]}"
        )
    return RunRecord(curves, settings=settings, notes=tuple(notes))


def _n_epochs(record: Mapping[object, object]) -> int:
    """Updates made: the training losses are one an epoch; 0 when the record does not say."""
    losses = _numbers(record.get("train_losses"))
    if losses is not None:
        return len(losses)
    epoch = record.get("epoch")
    return epoch + 1 if isinstance(epoch, int) else 0


def _spacing(n_epochs: int, n_values: int) -> int | None:
    """The k for which epochs 0, k, 2k, … below n_epochs are n_values.

    Of several the round one (1, 2 or 5 times a power of ten), of which there is never more than one; None
    when no k fits or no round one does.
    """
    if n_values == n_epochs:
        return 1
    if n_values < 2 or n_values > n_epochs:
        return None
    # (n_values − 1) k ≤ n_epochs − 1 < n_values · k
    fitting = range((n_epochs - 1) // n_values + 1, (n_epochs - 1) // (n_values - 1) + 1)
    if len(fitting) == 1:
        return fitting[0]
    return next((k for k in fitting if str(k).rstrip("0") in ("1", "2", "5")), None)


def _is_sweep(loaded: object) -> bool:
    if not isinstance(loaded, list | tuple) or len(loaded) != 2:
        return False
    fractions, curves = _numbers(loaded[0]), loaded[1]
    return (
        fractions is not None
        and isinstance(curves, list | tuple)
        and len(curves) == 2 * len(fractions)
        and all(_numbers(curve) is not None for curve in curves)
    )


def _sweep(fractions: Sequence[float], curves: Sequence[object]) -> list[RunRecord]:
    found = []
    numbers = [_checked(curve, "a curve of the sweep") for curve in curves]
    for i, fraction in enumerate(map(float, fractions)):
        train, test = numbers[2 * i], numbers[2 * i + 1]
        if not 0 < fraction < 1:
            raise Damaged(f"fraction {fraction} of the data; expected a number between 0 and 1")
        every = _spacing(len(train), len(test))
        if every is None:
            raise Damaged(f"fraction {fraction}: {len(train)} train and {len(test)} test losses")
        found.append(
            RunRecord(
                [Curve(TRAIN, train), Curve(TEST, test, every)],
                label=f"frac_train={fraction:g}",
                settings={"frac_train": fraction},
            )
        )
    if len({record.label for record in found}) < len(found):
        raise Damaged("a fraction is given twice")
    return found


def _per_token(table: np.ndarray) -> RunRecord:
    """The longer axis is training: answers have a few tokens, runs thousands of updates."""
    n_rows, n_columns = table.shape
    if n_rows == n_columns:
        raise Damaged(f"{n_rows} lists of {n_rows} losses: which are the tokens cannot be told")
    by_token = table.T if n_rows > n_columns else table
    curves = [Curve(Part(kind="position", name=str(i)), row) for i, row in enumerate(by_token)]
    note = f"{len(curves)} tokens by {by_token.shape[1]} updates, from the lengths of the lists"
    return RunRecord(curves, notes=(f"losses per token: {note}",))


def _numbers(value: object) -> np.ndarray | None:
    """A list of finite numbers (a tensor of one axis too); None when it is something else.

    Raises Damaged for numbers that are not finite.
    """
    if hasattr(value, "detach"):  # a tensor, without importing torch
        value = value.detach().cpu().tolist()
    if not isinstance(value, list | tuple) or not value:
        return None
    items = [
        each.item() if hasattr(each, "item") and not getattr(each, "shape", ()) else each for each in value
    ]
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in items):
        return None
    numbers = np.array(items, dtype=np.float64)
    if not np.isfinite(numbers).all():
        at = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise Damaged(f"a list of losses has {numbers[at]} at index {at}; expected numbers")
    return numbers


def _table(value: object) -> np.ndarray | None:
    if hasattr(value, "detach"):
        value = value.detach().cpu().tolist()
    if not isinstance(value, list | tuple) or not value:
        return None
    rows = [_numbers(each) for each in value]
    lengths = {None if row is None else len(row) for row in rows}
    if None in lengths:
        return None
    if len(lengths) > 1:
        raise Damaged(f"lists of losses of different lengths {sorted(lengths)[:5]}")  # type: ignore[type-var]
    return np.stack([row for row in rows if row is not None])


def _checked(value: object, what: str) -> np.ndarray:
    numbers = _numbers(value)
    if numbers is None:
        raise Damaged(f"{what} is a {_kind(value)}; expected a list of numbers")
    return numbers


def _kind(value: object) -> str:
    return f"{type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else type(value).__name__
