"""What became of the components of a model between two checkpoints: whether, how much and how each one changed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from queries.stats.bounds import beyond
from queries.stats.multiple import benjamini_hochberg

Floats = NDArray[np.float64]

CATEGORIES = ("reweighted", "rewired", "new", "lost", "changed", "unchanged", "unresolved")


@dataclass(frozen=True)
class Thresholds:
    """Where categories begin; all are conventions.

    least: share of the largest effect, of any component at either checkpoint, that counts as an effect or a change of
    one. gone: an effect at one checkpoint of at most this share of that at the other was not there yet, or is gone.
    same: likeness of signatures (correlation) from which a head is said to do the same. fdr: expected share of wrong ones
    among the components said to have changed, and among those said not to have.
    """

    least: float = 0.1
    gone: float = 0.25
    same: float = 0.9
    fdr: float = 0.05


@dataclass(frozen=True)
class ComponentChanges:
    """Per component: change of its effect, standard error, p and q of no change, q of a change of `bar` or more, category.

    changed, stayed: whether the effect is shown to have changed, to have stayed; neither where that is open. category:
    place in CATEGORIES. bar: size of effect that counts, in the unit of the effects.
    """

    change: Floats
    se: Floats
    p: Floats
    q: Floats
    q_small: Floats
    changed: NDArray[np.bool_]
    stayed: NDArray[np.bool_]
    category: NDArray[np.int64]
    bar: float

    def count(self, name: str) -> int:
        """Components in a category."""
        return int((self.category == CATEGORIES.index(name)).sum())


def component_changes(
    before: Floats,
    after: Floats,
    errors: tuple[Floats, Floats],
    n: Floats,
    similarity: Floats,
    thresholds: Thresholds,
) -> ComponentChanges:
    """Sort components by what became of them. All arrays are (component,).

    before, after: effects. errors: their standard errors, NaN where not known. n: independent groups of items behind
    them, NaN where not known (then normal, else Student's t with n − 1 degrees of freedom). similarity: of the signatures
    before and after, NaN where there is none.
    An effect has changed where q (Benjamini-Hochberg over the components, of the test of no change) is below
    `fdr` and the change is at least the bar; it has not where the test of a change of the bar or more is so rejected (two
    one-sided tests); anything else is unresolved, as not different is not equal. Of effects that changed: new, lost
    (next to nothing before, after), rewired (turned its sign, or signatures are unlike), reweighted (signatures are
    alike), changed (no signature tells which). An effect that stayed is rewired where it counts and signatures are unlike.
    Errors at both checkpoints count as independent: those of the same items mostly go together, and then this errs towards
    unresolved.
    """
    change = after - before
    se = np.hypot(*errors)
    sizes = np.abs(np.concatenate([before, after]))
    bar = thresholds.least * float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))
    p = np.minimum(1.0, 2 * beyond(np.abs(change), 0.0, se, n))
    q = benjamini_hochberg(p)
    q_small = benjamini_hochberg(beyond(-np.abs(change), -bar, se, n))
    with np.errstate(invalid="ignore"):
        changed = (q < thresholds.fdr) & (np.abs(change) >= bar) & (bar > 0)
        # without any effect at all nothing can change
        stayed = ~changed & ((q_small < thresholds.fdr) | ((bar == 0) & (change == 0)))
        new = np.abs(before) <= thresholds.gone * np.abs(after)
        lost = np.abs(after) <= thresholds.gone * np.abs(before)
        unlike = similarity < thresholds.same
        counts = np.maximum(np.abs(before), np.abs(after)) >= bar
        turned = before * after < 0
    known = np.isfinite(similarity)
    rules = {
        "new": changed & new,
        "lost": changed & lost,
        "rewired": (changed & (turned | unlike)) | (stayed & counts & unlike & (bar > 0)),
        "reweighted": changed & known,
        "changed": changed,
        "unchanged": stayed,
    }
    place = np.select(list(rules.values()), [CATEGORIES.index(name) for name in rules], len(CATEGORIES) - 1)
    return ComponentChanges(change, se, p, q, q_small, changed, stayed, place.astype(np.int64), bar)


def kept_share(changes: ComponentChanges, similarity: Floats, same: float) -> float:
    """Share of the squared change of heads with signatures that those hold whose signatures stayed alike, 0 to 1.

    Squared errors are taken off the squared changes, which makes both sums unbiased; NaN where nothing remains, so that a
    share of noise is never told, or where no signature is known.
    """
    own = changes.change**2 - changes.se**2
    known = np.isfinite(similarity) & np.isfinite(own)
    total = float(own[known].sum())
    if total <= 0 or float((changes.change[known] ** 2).sum()) < 2 * float((changes.se[known] ** 2).sum()):
        return float("nan")
    return float(np.clip(own[known & (similarity >= same)].sum() / total, 0.0, 1.0))
