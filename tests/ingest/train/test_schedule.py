import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.errors import UsageError
from ingest.train.schedule import checkpoint_steps, sparse_steps


def test_four_per_octave_then_every_fifty():
    # 2^(i/4) rounded, until the next one is more than 50 away from the last (256 -> 304 is 48, 304 -> 362 is 58)
    assert checkpoint_steps(600, per_octave=4, every=50) == (
        0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 13, 16, 19, 23, 27, 32, 38, 45, 54, 64, 76, 91, 108, 128, 152, 181,
        215, 256, 304, 350, 400, 450, 500, 550, 600,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("last", "options", "expected"),
    [
        (1, {"per_octave": 4, "every": 50}, (0, 1)),
        (100, {"per_octave": 0, "every": 40}, (0, 40, 80, 100)),
        (100, {"per_octave": 1, "every": None}, (0, 1, 2, 4, 8, 16, 32, 64, 100)),
        (100, {"per_octave": 0, "every": None}, (0, 100)),
        (100, {"per_octave": 0, "every": None, "at": (7, 100)}, (0, 7, 100)),
        (3, {"per_octave": 4, "every": 1}, (0, 1, 2, 3)),
    ],
)
def test_schedules(last, options, expected):
    assert checkpoint_steps(last, **options) == expected


@pytest.mark.parametrize("step", [-1, 101])
def test_a_step_outside_training_is_refused_with_the_range(step):
    with pytest.raises(UsageError, match=f"step {step}, but training runs from 0 to 100"):
        checkpoint_steps(100, per_octave=4, every=50, at=(3, step))


@given(last=st.integers(1, 5000), per_octave=st.integers(0, 8), every=st.none() | st.integers(1, 500))
def test_increasing_from_zero_to_the_last_and_no_gap_wider_than_every(last, per_octave, every):
    steps = checkpoint_steps(last, per_octave=per_octave, every=every)
    assert steps[0] == 0
    assert steps[-1] == last
    assert all(a < b for a, b in itertools.pairwise(steps))
    if every is not None:
        assert max(b - a for a, b in itertools.pairwise(steps)) <= every


@given(last=st.integers(1, 5000), longer=st.integers(0, 3000))
def test_training_on_keeps_the_steps_kept_before(last, longer):
    before = checkpoint_steps(last, per_octave=4, every=25)
    after = checkpoint_steps(last + longer, per_octave=4, every=25)
    assert set(before) - {last} <= set(after)


def test_sparse_takes_a_dozen_log_spaced_with_both_ends():
    # 12 targets 2^(i * 12 / 11): every power of two but the one that two neighbours skip
    powers = (0, *(2**i for i in range(13)))
    chosen = sparse_steps(range(4097), 13)
    assert chosen == powers
    assert sparse_steps((0, 1, 2), 12) == (0, 1, 2)
    assert sparse_steps((), 12) == ()


@given(steps=st.sets(st.integers(0, 10_000), min_size=1, max_size=200), n=st.integers(2, 20))
def test_sparse_is_a_subset_with_the_ends_and_not_much_longer_than_asked(steps, n):
    chosen = sparse_steps(sorted(steps), n)
    assert set(chosen) <= steps
    assert {min(steps), max(steps)} <= set(chosen)
    assert len(chosen) <= n + 1
