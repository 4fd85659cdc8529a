"""Archives for the Compare page: two seeds and a tuned model with losses of tokens, and what may be wrong with such."""

from pathlib import Path

from tests.ui.archives import HOSTILE
from tests.ui.components.archive import SPARSE, STEPS, Model, write_models

BASE, OTHER, TUNED = "lm-seed0", "lm-seed1", "lm-tuned"


def compare(path: Path) -> Path:
    """Two seeds of different inits, and one that goes on from the first."""
    models = [
        Model(BASE, 0, 500.0, token_losses=True),
        Model(OTHER, 1, 900.0, token_losses=True),
        Model(TUNED, 0, 200.0, condition="tuned", parent=BASE, token_losses=True),
    ]
    return write_models(path, models)


def compare_odd(path: Path) -> Path:
    """NaN and missing checkpoints, a suspect one with losses, runs without losses or neurons, and no texts."""
    models = [
        Model(BASE, 0, gaps=True, token_losses=True),
        Model(OTHER, 1, suspect_steps=STEPS[-1:], token_losses=True, neurons=False),
        Model(TUNED, 2),
    ]
    return write_models(path, models, texts=False)


def compare_one(path: Path) -> Path:
    """A single checkpoint of a single run: nothing to compare it with."""
    return write_models(path, [Model(BASE, 0, token_losses=True, steps=STEPS[:1])])


def compare_hostile(path: Path) -> Path:
    """Names of 300 characters with HTML, Markdown and LaTeX in them."""
    condition, family = f"condition {HOSTILE}"[:310], f"family {HOSTILE}"[:310]
    names = [f"{k} {HOSTILE}"[:320] for k in range(2)]
    shared = {"condition": condition, "family": family, "token_losses": True, "steps": SPARSE[-2:]}
    return write_models(path, [Model(n, k, **shared) for k, n in enumerate(names)])


COMPARE_ARCHIVES = {
    "compare": compare,
    "compare odd": compare_odd,
    "compare one": compare_one,
    "compare hostile": compare_hostile,
}
