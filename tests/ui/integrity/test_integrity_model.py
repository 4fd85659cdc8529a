from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from archive.store import Archive
from archive.upkeep.integrity import find_runs
from tests.ui.archives import HOSTILE
from tests.ui.integrity.archive import ABSENT, DEFECT, DOUBLED, STEPS, SWAPPED, N
from ui.models.integrity.chain import (
    MOST_LABELS,
    Chain,
    chain_figure,
    chain_in_words,
    chain_notes,
    chain_table,
    distances,
    ledger,
    state,
)
from ui.models.integrity.page import (
    EQUAL_SQL,
    EXCLUSIONS_SQL,
    SUSPECTS_SQL,
    checked,
    kept,
    of_runs,
    opening,
    runs_table,
    verdict,
)
from ui.models.series import RunChoice

Made = Callable[[str], Path]
ALL = RunChoice().selection


@pytest.fixture
def archive(made: Made) -> Archive:
    return Archive(made("integrity"))


def ids(archive: Archive) -> dict[str, int]:
    return {run: run_id for run_id, run in find_runs(archive, "all")}


def chain(archive: Archive, run: str, *others: str) -> Chain:
    known = ids(archive)
    beside = distances(archive, run_ids=tuple(known[o] for o in others))
    return Chain(ledger(archive, run_id=known[run], run=run), beside, len(others))


def test_what_every_run_can_be_checked_by(archive: Archive) -> None:
    found = {
        r.run: (r.n_checkpoints, r.n_suspect, r.n_hashed, r.n_sketched, r.n_measured)
        for r in checked(archive, selection=ALL)
    }
    assert found == {
        "clean": (N, 0, N, N, N),
        "swapped": (N, 1, N, N, N),  # the other one was accepted
        "doubled": (N, 0, N, N, N),  # found by nobody yet
        "declared": (N, 2, N - 1, N - 1, N - 1),
        "bare": (N, 0, N, 0, 0),  # excluded, and there all the same
    }


def test_the_verdict_says_what_it_rests_on(archive: Archive, made: Made) -> None:
    runs = checked(archive, selection=ALL)
    said, rests = verdict(runs)
    assert said == "3 of 120 checkpoints of 5 runs are recorded as suspect."
    assert "119 of 120 can be compared, 1 cannot" in rests[2]
    assert "95 of 120 can be compared, 25 cannot" in rests[3]
    assert "95 checkpoints of 4 of 5 runs; 1 run cannot be judged" in rests[4]
    assert runs[opening(runs)].run == "declared"
    said, rests = verdict([r for r in runs if r.run == "clean"])
    assert said == "Nothing suspect is recorded among 24 checkpoints of 1 run."
    said, rests = verdict(checked(Archive(made("demo")), selection=ALL))
    assert said.startswith("Nothing suspect is recorded among")
    assert "0 of 325 can be compared, 325 cannot" in rests[2]
    assert runs_table(runs)["run"].to_pylist()[:2] == ["declared", "swapped"]
    assert verdict([])[0] == "0 runs without a checkpoint: there is nothing to check."


def test_everything_said_of_checkpoints_is_in_the_table(archive: Archive) -> None:
    rows = of_runs(archive, sql=SUSPECTS_SQL, run_ids=tuple(ids(archive).values())).to_pylist()
    assert [(r["run"], r["step"], r["state"]) for r in rows] == [
        ("declared", STEPS[ABSENT], "absent"),
        ("declared", STEPS[DEFECT], "defect"),
        ("swapped", STEPS[SWAPPED[0]], "out of order"),
        ("swapped", STEPS[SWAPPED[1]], "accepted"),
    ]
    assert rows[0]["link"].startswith("https://")
    assert rows[2]["reason"] == f"looks exchanged with step {STEPS[SWAPPED[1]]}"
    assert rows[2]["who"] is None
    assert rows[3]["who"]
    assert rows[3]["happened_at"] is not None
    assert of_runs(archive, sql=SUSPECTS_SQL, run_ids=(ids(archive)["clean"],)).num_rows == 0


def test_equal_weights_are_told_apart_by_whether_something_explains_them(archive: Archive) -> None:
    rows = of_runs(archive, sql=EQUAL_SQL, run_ids=tuple(ids(archive).values())).to_pylist()
    assert sorted((r["kind"], r["members"]) for r in rows) == [
        ("across runs", "clean step 200; declared step 200"),
        ("same initial weights", "clean step 0; swapped step 0"),
        ("within one run", f"doubled step {STEPS[DOUBLED - 1]}; doubled step {STEPS[DOUBLED]}"),
    ]
    assert rows[-1]["kind"] == "same initial weights", "what should be so comes last"
    [mine] = of_runs(archive, sql=EQUAL_SQL, run_ids=(ids(archive)["declared"],)).to_pylist()
    assert mine["kind"] == "across runs"


def test_exclusions_have_reason_and_who(archive: Archive) -> None:
    [row] = of_runs(archive, sql=EXCLUSIONS_SQL, run_ids=tuple(ids(archive).values())).to_pylist()
    assert (row["run"], row["reason"], row["who"], row["lifted"]) == (
        "bare",
        "no weights were kept",
        "tester",
        False,
    )


def test_what_is_kept_of_checks(archive: Archive, made: Made) -> None:
    assert kept(archive).verified_at is None
    assert kept(archive).found_at is not None
    assert kept(Archive(made("demo"))).found_at is None


@pytest.mark.parametrize("run", ["clean", "swapped", "doubled", "declared"])
def test_the_thin_lines_are_the_ledgers_own_distances(archive: Archive, run: str) -> None:
    table = distances(archive, run_ids=(ids(archive)[run],))
    rows = {r.step: r.to_previous for r in ledger(archive, run_id=ids(archive)[run], run=run).rows}
    for step, found in zip(table["step"].to_pylist(), table["to_previous"].to_pylist(), strict=True):
        expected = rows[step]
        assert (found is None) == (expected is None)
        if expected is not None:
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_a_recorded_exchange_is_marked_with_its_reason(archive: Archive) -> None:
    found = chain(archive, "swapped", "clean", "doubled")
    assert [(row.step, state(row)) for row in found.odd] == [(50, "out of order"), (160, "accepted")]
    figure = chain_figure(found, x_scale="log")
    names = [trace.name for trace in figure.data]
    assert names == ["2 other runs of its condition"] * 2 + ["swapped", "out of order (1)", "accepted (1)"]
    assert figure.layout.yaxis.type == "log"
    labels = [a.text for a in figure.layout.annotations if a.text != "//"]
    assert labels[0] == "50: looks exchanged with step 160"
    assert len({trace.marker.symbol for trace in figure.data[-2:]}) == 2, "colour is not alone"
    assert "step 50 out of order, looks exchanged with step 160" in chain_in_words(found)
    assert chain_notes(found, 9)[-1] == "2 of 9 other runs of the condition are drawn."


def test_on_a_linear_axis_distances_start_at_nothing(archive: Archive) -> None:
    found = chain(archive, "doubled")
    figure = chain_figure(found, x_scale="log", y_scale="linear")
    assert figure.layout.yaxis.type == "linear"
    rows = [r for r in found.ledger.rows if r.to_previous is not None]
    line = next(t for t in figure.data if t.name == "doubled")
    assert list(line.y) == [r.to_previous for r in rows], "a distance of 0 stands where it is"
    low, high = figure.layout.yaxis.range
    assert low < min(line.y) < max(line.y) < high
    assert not any("exactly 0" in note for note in chain_notes(found, 0, "linear"))
    told = [a.y for a in figure.layout.annotations if a.text != "//"]
    assert all(low <= y <= high for y in told)


def test_what_nobody_recorded_is_found_now_and_said_to_be_new(archive: Archive) -> None:
    found = chain(archive, "doubled")
    assert found.ledger.new
    new = {row.step: state(row) for row in found.ledger.new}
    assert set(new) <= {STEPS[DOUBLED - 1], STEPS[DOUBLED]}
    assert set(new.values()) == {"new: duplicate"}
    figure = chain_figure(found, x_scale="linear")
    line = next(t for t in figure.data if t.name == "doubled")
    assert f"{STEPS[DOUBLED]}: has the weights of step {STEPS[DOUBLED - 1]}" in [
        a.text for a in figure.layout.annotations
    ]
    assert min(line.y) > 0, "a distance of 0 has a place on a log axis"
    assert any("exactly 0" in note for note in chain_notes(found, 0))
    assert "new: duplicate" in chain_table(found.ledger)["state"].to_pylist()


def test_a_clean_run_has_nothing_odd(archive: Archive) -> None:
    found = chain(archive, "clean")
    assert found.odd == ()
    assert "none is odd" in chain_in_words(found)
    assert chain_figure(found, x_scale="log").data[-1].name == "clean"


def test_a_checkpoint_without_a_distance_stands_at_the_bottom(archive: Archive) -> None:
    found = chain(archive, "declared")
    figure = chain_figure(found, x_scale="linear")
    absent = next(t for t in figure.data if t.name == "absent (1)")
    line = next(t for t in figure.data if t.name == "declared")
    assert absent.y[0] < min(line.y)
    assert any("stand at the bottom" in note for note in chain_notes(found, 0))
    # places that fit nowhere are remarks, not accusations
    assert any(f"step {STEPS[20]}" in note for note in chain_notes(found, 0))


def test_without_sketches_there_is_nothing_to_draw(archive: Archive) -> None:
    found = chain(archive, "bare")
    assert not found.has_distances
    assert any("have no sketch" in note for note in chain_notes(found, 0))
    assert np.isnan(
        [np.nan if v is None else v for v in chain_table(found.ledger)["to_previous"].to_pylist()]
    ).all()


def test_strangers_words_stay_words_in_the_figure(made: Made) -> None:
    archive = Archive(made("integrity hostile"))
    [name] = ids(archive)
    found = chain(archive, name)
    figure = chain_figure(found, x_scale="log")
    drawn = [t.name for t in figure.data] + [a.text for a in figure.layout.annotations]
    assert not any("<img" in words for words in drawn)
    assert found.odd[0].note == HOSTILE
    assert len([a for a in figure.layout.annotations if a.text != "//"]) <= MOST_LABELS
