"""Archives of invented grokking: runs that memorise, form circuits and clean up, at times and by frequencies that are planted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from archive.committer import commit_inbox
from archive.records import Checkpoint, Encoding, Family, Measure, Part, Quantity, Run
from archive.shard import ShardBuilder
from tests.ui.archives import ACCURACY, HOSTILE, LOSS, exclude, new_archive, schedule

Floats = NDArray[np.float64]

P = 23
N_FREQUENCIES = (P - 1) // 2
CHANCE = float(np.log(P))
LAST = 1200
STEPS = tuple(schedule(32, LAST))
MEMORISED_AT = 60.0
GRID = Encoding(
    hash="a" * 64, name=f"all pairs mod {P}", context_length=3, n_sequences=P * P, n_tokens=3 * P * P
)
MATRICES = ("W_E", "W_L", "logits")
RULES = (*MATRICES, "neurons")
SPLITS = ("train", "test")
BY_FREQUENCY = ("restricted_loss", "excluded_loss", "fve")

# what each seed of the initial weights computes with, and when it generalises on split 0
KEYS = {0: (3, 7), 1: (2, 5, 9), 2: (3, 10)}
GROKS = {0: 500.0, 1: 640.0, 2: 800.0}
LATER_BY_SPLIT = {0: 1.0, 1: 1.25}


def _measure(
    name: str, scope: str, table: str, summary: str, unit: str = "1", **given: float | str
) -> Measure:
    return Measure(name=name, scope=scope, table=table, unit=unit, summary=summary, **given)  # type: ignore[arg-type]


RESTRICTED = _measure(
    "restricted_loss",
    "split",
    "fact_scalar",
    "Loss of the key frequencies' part of the logits.",
    "nats",
    lower_bound=0,
    direction="lower is better",
)
EXCLUDED = _measure(
    "excluded_loss",
    "split",
    "fact_scalar",
    "Loss without the key frequencies' part.",
    "nats",
    lower_bound=0,
)
SQUARES = _measure("sum_of_squared_weights", "tensor", "fact_scalar", "Sum of the squares of all weights.")
GINI = _measure("fourier_gini", "part", "fact_scalar", "How few frequencies carry a matrix.")
FVE = _measure("fve", "part", "fact_scalar", "Share of variance explained.", "share", upper_bound=1)
COUNT = _measure("key_frequency_count", "part", "fact_scalar", "Number of key frequencies.", "frequencies")
NORM = _measure("fourier_norm", "vector", "fact_vector", "Strength of each frequency.")
FLAGS = _measure("key_frequencies", "vector", "fact_vector", "1 for a key frequency.")
WEIGHTS = _measure("weight_products", "vector", "fact_vector", "Inner products of checkpoints as weights.")
LOGITS = _measure("logit_products", "vector", "fact_vector", "Inner products of checkpoints as logits.")


@dataclass(frozen=True)
class Grokked:
    """One invented run. keys: frequencies it ends with; groks_at: step at which test accuracy passes a half."""

    name: str
    init_seed: int
    split_seed: int
    keys: tuple[int, ...]
    groks_at: float
    condition: str = f"modular addition p={P}"
    family: str = "modular-arithmetic"
    steps: tuple[int, ...] = STEPS
    gaps: bool = False
    suspect_steps: tuple[int, ...] = ()
    products: bool = True
    diverges_at: float = np.inf
    tokens_per_step: float | None = None


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))))


def curves(run: Grokked) -> dict[tuple[str, str], Floats]:
    """Invented scalars by measure and part, one value per checkpoint."""
    steps = np.array(run.steps, dtype=float)
    rng = np.random.default_rng(run.init_seed + 10 * run.split_seed)
    fit = _sigmoid((steps - MEMORISED_AT) / 8)
    circuit = _sigmoid((steps - 0.75 * run.groks_at) / (0.07 * run.groks_at))
    grok = _sigmoid((steps - run.groks_at) / (0.03 * run.groks_at))
    cleanup = _sigmoid((steps - 1.15 * run.groks_at) / (0.04 * run.groks_at))
    wiggle = np.exp(rng.normal(0, 0.03, len(steps)))
    train = CHANCE * (1 - fit) * wiggle + 1e-4
    found = {
        ("loss", "train"): train,
        ("loss", "test"): (CHANCE + 3 * fit) * (1 - grok) * wiggle + 1e-3,
        ("accuracy", "train"): 0.04 + 0.96 * fit,
        ("accuracy", "test"): 0.04 + 0.1 * fit + 0.86 * grok,
        ("restricted_loss", "train"): CHANCE * 10 ** (-4 * circuit) * wiggle,
        ("restricted_loss", "test"): CHANCE * 10 ** (-4 * circuit) * wiggle,
        ("excluded_loss", "train"): train + CHANCE * cleanup,
        ("excluded_loss", "test"): CHANCE + 3 * fit * (1 - cleanup),
        ("sum_of_squared_weights", ""): 900 + 500 * fit - 700 * cleanup,
        ("fourier_gini", "W_E"): 0.05 + 0.7 * circuit,
        ("fourier_gini", "W_L"): 0.05 + 0.8 * circuit,
        ("fve", "logits"): 0.05 + 0.9 * grok,
    }
    if run.gaps:
        for name in ("loss", "restricted_loss"):
            found[(name, "test")][[5, 6, 15]] = np.nan
    return found


def spectrum(run: Grokked, matrix: str) -> Floats:
    """(checkpoint, frequency): even at first; the run's keys grow with its circuit and the rest shrinks at clean-up."""
    steps = np.array(run.steps, dtype=float)[:, None]
    rng = np.random.default_rng(run.init_seed + 31 * MATRICES.index(matrix))
    start = 1 + 0.1 * rng.random((1, N_FREQUENCIES))
    is_key = np.isin(np.arange(1, N_FREQUENCIES + 1), run.keys)
    circuit = _sigmoid((steps - 0.75 * run.groks_at) / (0.07 * run.groks_at))
    cleanup = _sigmoid((steps - 1.15 * run.groks_at) / (0.04 * run.groks_at))
    values = start + np.where(is_key, 8 * circuit, -0.8 * start * cleanup)
    if run.gaps and matrix == "W_L":
        values[15] = np.nan
    return np.asarray(values)


def flags(run: Grokked) -> NDArray[np.bool_]:
    """(checkpoint, frequency): above a quarter of the largest, as the rules do."""
    values = np.nan_to_num(spectrum(run, "W_L"))
    return np.asarray(values > values.max(axis=1, keepdims=True) / 4)


def path(run: Grokked, seed: int = 0) -> Floats:
    """(checkpoint, coordinate): along one direction while memorising, then a sharp turn into another, with jitter."""
    steps = np.array(run.steps, dtype=float)
    rng = np.random.default_rng(100 * seed + run.init_seed + 10 * run.split_seed)
    straight = np.zeros((len(steps), 60))
    straight[:, 0] = 10 * np.log1p(np.minimum(steps, 0.75 * run.groks_at))
    straight[:, 1] = 60 * _sigmoid((steps - run.groks_at) / (0.15 * run.groks_at))
    straight[steps >= run.diverges_at, 0] = np.inf
    return np.asarray(straight + rng.normal(0, 0.3, straight.shape))


def _quantity(measure: Measure, encoding: Encoding | None, **params: object) -> Quantity:
    given = {"encoding": encoding} if encoding else {}
    return Quantity(measure=measure, params=params, **given)  # type: ignore[arg-type]


def _quantities(run: Grokked) -> Mapping[str, Quantity]:
    current = {"frequencies": "current", "rule": "W_L", "variant": "sum_directions"}
    final = {**current, "frequencies": "final", "reference_step": run.steps[-1]}
    rules = {"frequencies": "current", "neuron_level": 0.85, "strength": "max/4"}
    here = {
        "loss": _quantity(LOSS, GRID),
        "accuracy": _quantity(ACCURACY, GRID),
        "sum_of_squared_weights": _quantity(SQUARES, None),
        "fourier_gini": _quantity(GINI, GRID),
    }
    for name, params in {"fve": current, "fve:final": final}.items():
        here[name] = _quantity(FVE, GRID, adjusted=False, **{k: params[k] for k in params if k != "variant"})
    for measure in (RESTRICTED, EXCLUDED):
        here[measure.name] = _quantity(measure, GRID, **current)
        here[f"{measure.name}:final"] = _quantity(measure, GRID, **final)
    return {
        **here,
        "key_frequency_count": _quantity(COUNT, GRID, **rules),
        "fourier_norm": _quantity(NORM, GRID),
        "key_frequencies": _quantity(FLAGS, GRID, **rules),
        "weight_products": _quantity(WEIGHTS, None, projection="none"),
        "logit_products": _quantity(LOGITS, GRID, projection="none"),
    }


def _part_kind(measure: str) -> str:
    kinds = {"sum_of_squared_weights": "none", "fourier_gini": "matrix", "fve": "matrix"}
    return kinds.get(measure.split(":")[0], "split")


def add_run(shard: ShardBuilder, run: Grokked) -> None:
    """Enter one invented run with everything that the Grokking and Trajectory pages read."""
    shard.run(
        Run(
            name=run.name,
            family=run.family,
            condition=run.condition,
            init_seed=run.init_seed,
            data_order_seed=0,
            split_seed=run.split_seed,
            architecture="transformer",
            n_layers=1,
            n_heads=4,
            n_params=12_000,
            tokens_per_step=run.tokens_per_step,
            final_step=run.steps[-1],
        )
    )
    quantities = {name: shard.quantity(q) for name, q in _quantities(run).items()}
    scalars = curves(run)
    scalars |= {(f"{m}:final", s): y for (m, s), y in scalars.items() if m in BY_FREQUENCY}
    spectra = {name: spectrum(run, name) for name in MATRICES}
    keys = flags(run)
    grams = {
        name: path(run, k) @ path(run, k).T for k, name in enumerate(("weight_products", "logit_products"))
    }
    for i, step in enumerate(run.steps):
        if run.gaps and i % 9 == 4:
            continue
        suspect = step in run.suspect_steps
        point = shard.checkpoint(
            Checkpoint(
                run=run.name,
                step=step,
                label=f"step{step}",
                integrity="defect" if suspect else "ok",
                integrity_note="weights equal those of another step" if suspect else "",
            )
        )
        for (measure, part), values in scalars.items():
            named = Part(kind=_part_kind(measure), name=part) if part else Part()
            shard.add(
                "fact_scalar",
                point,
                quantities[measure],
                part=shard.part(named),
                value=float(values[i]) + (3.0 if suspect else 0.0),
            )
        for rule in RULES:
            part = shard.part(Part(kind="rule", name=rule))
            n = float(keys[i].sum())
            shard.add("fact_scalar", point, quantities["key_frequency_count"], part=part, value=n)
            _vector(shard, point, quantities["key_frequencies"], Part(kind="rule", name=rule), keys[i])
        for name, values in spectra.items():
            _vector(shard, point, quantities["fourier_norm"], Part(kind="matrix", name=name), values[i])
        for name, gram in grams.items() if run.products else ():
            seen = list(run.steps[: i + 1])
            _vector(shard, point, quantities[name], Part(kind="gram", name="steps"), np.array(seen))
            _vector(shard, point, quantities[name], Part(kind="gram", name="products"), gram[i, : i + 1])
        for name, quantity in quantities.items():
            if run.products or not name.endswith("_products"):
                shard.cell(point, quantity)


def _vector(shard: ShardBuilder, point: int, quantity: int, part: Part, values: NDArray[np.generic]) -> None:
    whole = [values.astype(float).tolist()]
    shard.add("fact_vector", point, quantity, part=shard.part(part), layer=-1, unit=-1, values=whole)


def write_runs(path: Path, runs: Sequence[Grokked]) -> Path:
    """Commit the invented runs into the archive at `path` (made if missing)."""
    layout = new_archive(path)
    shard = ShardBuilder(kind="train")
    for run in runs:
        shard.family(Family(name=run.family, summary="a toy task"))
        add_run(shard, run)
    shard.write(layout.inbox)
    report = commit_inbox(layout)
    assert not report.refused, report.refused
    return path


def crossed(n_inits: int = 3, **given: object) -> list[Grokked]:
    """Inits × splits: the init chooses the frequencies, init and split the time."""
    return [
        Grokked(
            f"i{i}-p{s}",
            i,
            s,
            KEYS[i],
            GROKS[i] * later,
            **given,  # type: ignore[arg-type]
        )
        for i in range(n_inits)
        for s, later in LATER_BY_SPLIT.items()
    ]


def grokking(path: Path) -> Path:
    """Three inits × two splits, 30 checkpoints each, with everything measured; the latest is still cleaning up."""
    return write_runs(path, crossed())


def grokking_odd(path: Path) -> Path:
    """NaN values, missing and suspect checkpoints, an excluded run, one without inner products, one that diverges."""
    a, b, c, d, *rest = crossed()
    runs = [
        replace(a, gaps=True),
        replace(b, suspect_steps=STEPS[20:22]),
        replace(c, products=False),
        replace(d, diverges_at=STEPS[-3]),
        *rest,
    ]
    write_runs(path, runs)
    exclude(path, "i2-p1", "trained on the wrong split <b>by mistake</b>")
    return path


def grokking_one(path: Path) -> Path:
    """A single run with everything measured."""
    return write_runs(path, crossed()[:1])


def grokking_hostile(path: Path) -> Path:
    """Names of 300 characters with HTML, Markdown and LaTeX in them."""
    runs = [
        Grokked(
            f"{k} {HOSTILE}"[:320],
            k,
            0,
            KEYS[k],
            GROKS[k],
            condition=f"condition {HOSTILE}"[:310],
            family=f"family {HOSTILE}"[:310],
            steps=tuple(schedule(20, LAST)),
        )
        for k in range(2)
    ]
    return write_runs(path, runs)


GROKKING_ARCHIVES = {
    "grokking": grokking,
    "grokking odd": grokking_odd,
    "grokking one": grokking_one,
    "grokking hostile": grokking_hostile,
}
