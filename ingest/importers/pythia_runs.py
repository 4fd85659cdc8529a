"""The Pythia models by their published names: one run per trajectory, whatever a source calls it.

Layers, width and heads as in the suite's table; schedules and seeds as in the READMEs of EleutherAI/pythia
and its polypythias folder. What those do not say stays unknown here.
"""

import re
from typing import NamedTuple

from archive.records import Family, Run

TOKENS_PER_STEP = 2**21  # 1024 sequences of 2048 tokens
FINAL_STEP = 143_000
ORIGINAL_SEED = 1234

FAMILY = Family(
    name="pythia",
    summary="EleutherAI's Pythia suite with the PolyPythias seeds: 14M to 12B parameters, checkpoints from step 0",
    facts={
        "schedule": "0, 1, 2, 4, ..., 512, then 1000 to 143000 by 1000; revisions step<N>",
        "tokens_per_step": TOKENS_PER_STEP,
        "batch_size_variants": "names ending in <X>MtokBS train on X * 2^20 tokens a step and count their own steps",
        "seeds": "seed<N> changes initial weights and data order together; weight-seed<N> and data-seed<N> one of "
        "them; the original 14m to 410m runs are seed 1234 (README of PolyPythias)",
        "versions": "v1.1 was the working name of the released models; v0 are other models with other batch sizes",
        "interventions": "training data with gendered pronouns swapped near the end of training, continued from the "
        "deduped model of the same size (Biderman et al. 2023, arXiv 2304.01373, section 4.1)",
    },
)


class Shape(NamedTuple):
    """Layers, width and heads of a size."""

    n_layers: int
    d_model: int
    n_heads: int


SHAPES = {
    "14m": Shape(6, 128, 4),
    "31m": Shape(6, 256, 8),
    "70m": Shape(6, 512, 8),
    "160m": Shape(12, 768, 12),
    "410m": Shape(24, 1024, 16),
    "1b": Shape(16, 2048, 8),
    "1.4b": Shape(24, 2048, 16),
    "2.8b": Shape(32, 2560, 32),
    "6.9b": Shape(32, 4096, 32),
    "12b": Shape(36, 5120, 40),
}
_SEEDED_SIZES = frozenset({"14m", "31m", "70m", "160m", "410m"})
_BATCH = re.compile(r"(\d+(?:\.\d+)?)MtokBS", re.IGNORECASE)
_SEED = re.compile(r"seed(\d+)")


def pythia_run(published: str, *, source: str) -> Run | None:
    """The run a published model name stands for, or None when it is not a Pythia model.

    `EleutherAI/pythia-v1.1-70m` and `EleutherAI/pythia-70m` are one run; `-v0`, `-deduped`, batch-size
    variants and interventions are runs of their own. Words that are not understood stay in the name, so
    what they distinguish stays apart.
    """
    words = published.rsplit("/", 1)[-1].split("-")
    if "pythia" not in words:
        return None
    words.remove("pythia")
    words = [w for w in words if w != "v1.1"]
    intervention = "intervention" in words
    if intervention:
        words.remove("intervention")
    if not words or words[0] not in SHAPES:
        return None
    size = words[0]
    batch = next((m for w in words[1:] if (m := _BATCH.fullmatch(w))), None)
    seed = _SEED.fullmatch(words[-1])
    axis = words[-2] if seed and words[-2] in ("data", "weight") else "both"
    stem = words[: -(1 if axis == "both" else 2)] if seed else words
    shape = SHAPES[size]
    tokens = float(batch.group(1)) * 2**20 if batch else TOKENS_PER_STEP
    name = "-".join(["pythia", *(["intervention"] if intervention else []), *words])
    init, order = _seeds(size, stem, int(seed.group(1)) if seed else None, axis)
    return Run(
        name=name,
        family=FAMILY.name,
        source=source,
        architecture="GPT-NeoX",
        n_layers=shape.n_layers,
        n_heads=shape.n_heads,
        d_model=shape.d_model,
        d_mlp=4 * shape.d_model,
        init_seed=None if intervention else init,
        data_order_seed=None if intervention else order,
        condition="-".join(["pythia", *(["intervention"] if intervention else []), *stem]),
        parent_run="-".join(["pythia", *(w for w in words if w != "long")]) if intervention else "",
        intervention=_swap(long="long" in words) if intervention else None,
        tokens_per_step=tokens,
        final_step=round(FINAL_STEP * TOKENS_PER_STEP / tokens),
        aliases=tuple(sorted({published, f"EleutherAI/{name}"} - {name})),
        notes=_notes(stem, axis),
    )


def _seeds(size: str, stem: list[str], seed: int | None, axis: str) -> tuple[int | None, int | None]:
    """(initial weights, data order) of a run; None where the publications do not say."""
    if seed is None:
        original = stem == [size] and size in _SEEDED_SIZES
        return (ORIGINAL_SEED, ORIGINAL_SEED) if original else (None, None)
    return (None if axis == "data" else seed, None if axis == "weight" else seed)


def _swap(*, long: bool) -> dict[str, str]:
    share = "last 63 billion tokens (21 %)" if long else "last 21 billion tokens (7 %)"
    return {"kind": "data", "change": "masculine pronouns swapped for feminine ones", "during": share}


def _notes(stem: list[str], axis: str) -> tuple[str, ...]:
    if "v0" in stem:
        return (
            "v0 step labels count steps of 2,097,152 tokens; runs trained with larger batches took fewer updates",
        )
    if axis != "both":
        fixed = "data order" if axis == "weight" else "initial weights"
        return (f"the {fixed} is the same in all {axis}-seed runs; its seed is not published",)
    return ()
