"""Which runs began from the same weights, in whole or in some layers: together they are one observation of an init."""

from collections.abc import Iterable, Mapping

from queries.reading.checkpoint_pairs import numbering
from queries.reading.same_start import ByLayer, same_start
from queries.reading.select import Selected


def init_groups(selected: Selected, runs: Iterable[int], at_zero: ByLayer) -> dict[int, int]:
    """run_id -> number of its init, counted from 0 in the order of the runs.

    Two runs are of one init where a record says so, where they are repeats of one condition with one init seed, or where
    all heads (or whatever at_zero numbers) of some layer measure the same at step 0: models of other depths may share
    their first layers. Whoever shares with one of several shares with all: that errs towards fewer observations.
    """
    known = list(runs)
    leader = {run: run for run in known}
    for k, a in enumerate(known):
        for b in known[k + 1 :]:
            if leader[a] != leader[b] and _alike(selected, a, b, at_zero):
                old = leader[b]
                leader = {run: leader[a] if one == old else one for run, one in leader.items()}
    number = {one: k for k, one in enumerate(dict.fromkeys(leader[run] for run in known))}
    return {run: number[leader[run]] for run in known}


def shared_note(groups: Mapping[int, int]) -> list[str]:
    """What to say where runs share inits."""
    n, n_inits = len(groups), len(set(groups.values()))
    if n == n_inits:
        return []
    return [
        f"{n} runs have only {n_inits} different init{'' if n_inits == 1 else 's'}: runs of one init are one observation, so "
        "intervals are over inits, and permutations move the runs of one init together."
    ]


def children(selected: Selected, runs: Iterable[int]) -> list[str]:
    """Names of runs that go on from another run: what they begin with is no random init."""
    return [selected.by_id[run].run for run in runs if selected.by_id[run].parent_run]


def _alike(selected: Selected, a: int, b: int, at_zero: ByLayer) -> bool:
    one, other = selected.by_id[a], selected.by_id[b]
    if numbering(one, other)[0]:
        return True
    # a seed of another condition may mean other weights, and a hash knows better
    repeats = selected.groups[a] == selected.groups[b] and not (one.init_hash and other.init_hash)
    if repeats and one.init_seed is not None and one.init_seed == other.init_seed:
        return True
    numbers = {run: at_zero.get(run, {}) for run in (a, b)}
    return bool(same_start(one, other, numbers, numbers).layers)
