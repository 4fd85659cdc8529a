import numpy as np
import pytest

from queries.reading.init_groups import init_groups, shared_note
from queries.reading.select import RunRow, Selected


def selected(**runs: dict[str, object]) -> Selected:
    rows = []
    for k, (name, fields) in enumerate(runs.items()):
        row = {"condition": "c", "init_seed": None, "init_hash": "", "parent_run": "", **fields}
        base = dict(run_id=k, run=name, family="f", source="s", data_order_seed=None, split_seed=None)
        base |= dict(tags=(), excluded=False, exclusion_reason=None, excluded_by=None, names=(name,))
        rows.append(RunRow(**base, **row))  # type: ignore[arg-type]
    return Selected(tuple(rows), ())


NUMBERS = np.random.default_rng(0).random((4, 1))


@pytest.mark.parametrize(
    ("a", "b", "numbers", "one"),
    [
        pytest.param({"init_hash": "x"}, {"init_hash": "x", "condition": "d"}, {}, True, id="one hash"),
        pytest.param(
            {"init_hash": "x", "init_seed": 1},
            {"init_hash": "y", "init_seed": 1},
            {},
            False,
            id="hashes differ",
        ),
        pytest.param({"init_seed": 1}, {"init_seed": 1}, {}, True, id="repeats with one seed"),
        pytest.param(
            {"init_seed": 1}, {"init_seed": 1, "condition": "d"}, {}, False, id="one seed, other conditions"
        ),
        pytest.param({}, {"parent_run": "a"}, {}, True, id="goes on from"),
        pytest.param({}, {}, {}, False, id="nothing known"),
        pytest.param(
            {"init_hash": "x"},
            {"init_hash": "y"},
            {0: {1: NUMBERS}, 1: {1: NUMBERS}},
            True,
            id="same numbers",
        ),
        pytest.param({}, {}, {0: {1: NUMBERS}, 1: {1: NUMBERS[::-1]}}, False, id="other numbers"),
    ],
)
def test_what_makes_two_runs_one_init(a: dict, b: dict, numbers: dict, one: bool) -> None:
    groups = init_groups(selected(a=a, b=b), [0, 1], numbers)

    assert groups == ({0: 0, 1: 0} if one else {0: 0, 1: 1})
    assert bool(shared_note(groups)) == one


def test_sharing_goes_on_from_run_to_run() -> None:
    runs = selected(a={"init_hash": "x"}, b={"init_hash": "y"}, c={"init_hash": "x"}, d={"init_hash": "z"})
    numbers = {1: {0: NUMBERS}, 2: {0: NUMBERS}}

    assert init_groups(runs, [0, 1, 2, 3], numbers) == {0: 0, 1: 0, 2: 0, 3: 1}
    assert shared_note({0: 0, 1: 0, 2: 0, 3: 1})[0].startswith("4 runs have only 2 different inits:")
