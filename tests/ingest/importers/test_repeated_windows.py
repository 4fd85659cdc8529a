import numpy as np

from ingest.importers.repeated_windows import RepeatedWindows


def test_copies_mark_the_copied_ids_of_each_window():
    task = RepeatedWindows(n_tokens=9, length=13, n_repeats=2, n_copied=3)
    rows, copies = task.evaluation().tokens, task.copies()
    assert copies.shape == rows.shape
    for row, starts, numbers in zip(rows, task.starts, copies, strict=True):
        first, second = (row[start : start + 3].tolist() for start in starts)
        assert row[numbers == 1].tolist() == first == second == row[numbers == 2].tolist()
        assert np.flatnonzero(numbers == 2)[0] == starts[1]
        assert (numbers > 0).sum() == 6  # everything else is filler
