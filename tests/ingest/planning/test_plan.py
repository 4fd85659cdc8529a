"""Wanted − present: what a plan holds, and how its work is cut into units."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.ledger import KnownCell
from archive.manifest import Owner
from archive.schema.base import CellState
from ingest.measure import MEASURES
from ingest.planning.plan import MAX_ATTEMPTS, Plan, make_plan
from ingest.planning.wanted import WantedCondition, WantedMeasure
from ingest.run.groups import Group, StoredGroup, UnitWork, assign, batch_size, cut, folder_name
from ingest.studies.training import PlannedRun
from ingest.train.spec import Seeds, TrainSpec

SPEC = TrainSpec(steps=8, task_params={"p": 5, "frac_train": 0.5})
STEPS = (0, 2, 4, 8)
WANTED = WantedCondition(
    steps=8,
    logs=("log-a", "log-b"),
    measured=(WantedMeasure("loss", "q1", STEPS), WantedMeasure("norm", "q2", (0, 8))),
)
DONE = KnownCell(CellState.DONE, 1, 1)


def planned(name: str = "s/a") -> PlannedRun:
    return PlannedRun(name, "", SPEC, Seeds(init=0, data_order=0, split=0))


def checkpoint_cell(step: int, quantity: str, run: str = "s/a") -> tuple[Owner, str]:
    return (Owner("checkpoint", (run, step, "")), quantity)


def log_cells(state: KnownCell = DONE, run: str = "s/a") -> dict[tuple[Owner, str], KnownCell]:
    return {(Owner("run", (run,)), quantity): state for quantity in WANTED.logs}


def reach(step: int, run: str = "s/a") -> dict[tuple[str, str], int]:
    return {(run, quantity): step for quantity in WANTED.logs}


ALL = {
    **{checkpoint_cell(step, "q1"): DONE for step in STEPS},
    **{checkpoint_cell(step, "q2"): DONE for step in (0, 8)},
    **log_cells(),
}


def plan(
    cells: Mapping[tuple[Owner, str], KnownCell],
    logged: int = 7,
    *,
    retry: bool = False,
    only: tuple[str, ...] = (),
) -> Plan:
    return make_plan([planned()], {"": WANTED}, cells, reach(logged), retry_failed=retry, only=only)


def test_an_empty_archive_lacks_everything() -> None:
    found = make_plan([planned()], {"": WANTED}, {}, {})
    assert (found.n_wanted, found.n_present, found.n_given_up, found.n_todo) == (8, 0, 0, 8)
    [task] = found.tasks
    assert task.cells == {0: ("loss", "norm"), 2: ("loss",), 4: ("loss",), 8: ("loss", "norm")}
    assert task.log_after == -1
    assert not task.started


def test_a_full_archive_lacks_nothing() -> None:
    found = plan(ALL)
    assert found.tasks == ()
    assert (found.n_present, found.n_todo) == (8, 0)


def test_one_missing_cell_is_all_that_is_planned() -> None:
    found = plan({key: cell for key, cell in ALL.items() if key != checkpoint_cell(4, "q1")})
    [task] = found.tasks
    assert task.cells == {4: ("loss",)}
    assert task.log_after is None
    assert task.started
    assert found.n_todo == 1


def test_a_log_with_a_gap_is_continued_from_the_gap() -> None:
    [task] = plan(ALL, logged=4).tasks
    assert task.log_after == 4
    assert task.cells == {}


def test_passing_failures_are_tried_again_until_they_have_had_their_chances() -> None:
    for attempts, tried in ((1, True), (MAX_ATTEMPTS - 1, True), (MAX_ATTEMPTS, False)):
        failed = {**ALL, checkpoint_cell(4, "q1"): KnownCell(CellState.FAILED_TRANSIENT, attempts, 0)}
        found = plan(failed)
        assert (len(found.tasks), found.n_retry, found.n_given_up) == ((1, 1, 0) if tried else (0, 0, 1))
        assert len(plan(failed, retry=True).tasks) == 1


def test_lasting_failures_are_tried_again_only_when_asked() -> None:
    failed = {**ALL, checkpoint_cell(4, "q1"): KnownCell(CellState.FAILED_PERMANENT, 1, 0)}
    assert plan(failed).tasks == ()
    assert plan(failed).n_given_up == 1
    assert plan(failed, retry=True).tasks[0].cells == {4: ("loss",)}


def test_training_that_failed_with_other_settings_is_tried() -> None:
    failed = log_cells(KnownCell(CellState.FAILED_PERMANENT, 1, 0))
    assert make_plan([planned()], {"": WANTED}, failed, {}).tasks == ()
    found = make_plan([planned()], {"": WANTED}, failed, {}, outdated={"s/a"})
    assert (found.n_wanted, found.n_todo) == (8, 8)
    [task] = found.tasks
    assert (task.log_after, task.log_replace, task.started) == (-1, True, False)


@pytest.mark.parametrize("state", [CellState.NOT_APPLICABLE, CellState.ABSENT_UPSTREAM, CellState.EXCLUDED])
def test_settled_states_need_no_work(state: CellState) -> None:
    assert plan({**ALL, checkpoint_cell(4, "q1"): KnownCell(state, 1, 0)}).tasks == ()


def test_a_run_that_diverged_is_measured_up_to_its_end_and_no_further() -> None:
    """Its log ends with the failing row at step 3, so checkpoints 0 and 2 exist, 4 and 8 never will."""
    failed = KnownCell(CellState.FAILED_PERMANENT, 1, 0)
    found = plan({checkpoint_cell(0, "q1"): DONE, **log_cells(failed)}, logged=3)
    [task] = found.tasks
    assert task.cells == {0: ("norm",), 2: ("loss",)}
    assert task.log_after is None
    assert (found.n_present, found.n_given_up, found.n_todo) == (1, 5, 2)


def test_back_filling_leaves_training_and_other_measures_alone() -> None:
    found = plan({}, logged=-1, only=("norm",))
    [task] = found.tasks
    assert task.cells == {0: ("norm",), 8: ("norm",)}
    assert task.log_after is None
    assert found.n_wanted == 2


def test_training_on_reopens_a_whole_log() -> None:
    longer = WantedCondition(steps=16, logs=WANTED.logs, measured=WANTED.measured)
    [task] = make_plan([planned()], {"": longer}, ALL, reach(7)).tasks
    assert task.log_after == 7
    assert task.log_replace


states = st.sampled_from([None, *CellState])


@given(st.lists(states, min_size=8, max_size=8), st.integers(-1, 7), st.booleans())
def test_every_wanted_cell_is_present_given_up_or_planned(
    found: list[CellState | None], logged: int, retry: bool
) -> None:
    cells = {key: KnownCell(s, 1, 1) for key, s in zip(ALL, found, strict=True) if s is not None}
    result = plan(cells, logged, retry=retry)
    assert result.n_wanted == 8
    planned_cells = sum(task.n_cells + (0 if task.log_after is None else 2) for task in result.tasks)
    assert result.n_todo == planned_cells
    assert 0 <= result.n_retry <= result.n_todo
    if retry:
        assert result.n_given_up == 0


# --- cutting into units --------------------------------------------------------------------------------------


def works(
    cells: Mapping[tuple[Owner, str], KnownCell], logged: int, reached: int | None, size: int
) -> list[UnitWork]:
    runs = (("s/a", Seeds(init=0, data_order=0, split=0)), ("s/b", Seeds(init=1, data_order=0, split=0)))
    tasks = make_plan(
        [planned("s/a"), planned("s/b")], {"": WANTED}, cells, {**reach(logged), **reach(logged, "s/b")}
    ).tasks
    return list(cut(Group(Path("f"), SPEC, runs, reached), {task.run.name: task for task in tasks}, size))


@given(st.integers(1, 20), st.integers(-1, 7))
def test_units_cover_every_cell_and_every_log_row_once(size: int, logged: int) -> None:
    units = works({}, logged, None, size)
    cells = [key for unit in units for key in unit.cells]
    assert sorted(cells) == sorted((run, step) for run in ("s/a", "s/b") for step in STEPS)
    assert all(step <= unit.until for unit in units for _, step in unit.cells)
    assert [unit.until for unit in units] == sorted({unit.until for unit in units})
    for run in ("s/a", "s/b"):
        rows: list[int] = []
        for unit in units:
            if run in unit.log_after:
                rows += range(unit.log_after[run] + 1, unit.until)
        assert rows == list(range(logged + 1, 8))
        assert run in units[-1].log_after


def test_the_last_unit_goes_to_the_end_even_if_nothing_is_measured_there() -> None:
    there = {
        checkpoint_cell(step, q, run): DONE for run in ("s/a", "s/b") for step, q in ((8, "q1"), (8, "q2"))
    }
    units = works(there, -1, None, 4)
    assert units[-1].until == 8
    assert all(unit.in_turn for unit in units)


def test_back_filling_never_reaches_beyond_what_is_trained() -> None:
    tasks = make_plan([planned()], {"": WANTED}, {}, {}, only=("norm",)).tasks
    group = Group(Path("f"), SPEC, (("s/a", planned().seeds),), 4)
    units = list(cut(group, {task.run.name: task for task in tasks}, 4))
    assert [unit.until for unit in units] == [0]
    assert not units[0].in_turn


def test_what_a_worker_left_is_a_smaller_unit() -> None:
    [unit] = works({}, -1, None, 100)
    rest = unit.rest([("s/a", 4), ("s/a", 8)], 4)
    assert set(rest.cells) == {("s/a", 4), ("s/a", 8)}
    assert rest.log_after == {"s/a": 3, "s/b": 3}
    trained = unit.rest([("s/a", 8)], 8)
    assert trained.log_after == {}
    assert unit.rest([], 8).is_empty
    assert unit.without({"s/a", "s/b"}, {"s/a"}).is_empty


def test_groups_on_disk_are_kept_and_the_rest_is_shared_out() -> None:
    runs = [planned(f"s/{name}") for name in "abcde"]
    tasks = make_plan(runs, {"": WANTED}, {}, {}).tasks
    stored = StoredGroup(
        Path("c/s/old"), (("s/b", runs[1].seeds), ("s/z", Seeds(init=9, data_order=0, split=0))), 4, ""
    )
    groups = assign(tasks, [stored], Path("c"), "s", seeds_per_group=3, n_workers=2)
    assert [[name for name, _ in group.runs] for group, _ in groups.with_tasks] == [
        ["s/b", "s/z"],
        ["s/a", "s/c", "s/d"],
        ["s/e"],
    ]
    assert groups.with_tasks[0][0].reached == 4
    assert len({group.folder for group, _ in groups.with_tasks}) == 3


def test_a_started_run_without_a_folder_is_lost() -> None:
    tasks = make_plan([planned()], {"": WANTED}, {checkpoint_cell(0, "q1"): DONE}, {}).tasks
    groups = assign(tasks, [], Path("c"), "s", seeds_per_group=1, n_workers=1)
    assert [task.run.name for task in groups.lost] == ["s/a"]
    assert groups.with_tasks == []


@pytest.mark.parametrize("state", [CellState.FAILED_TRANSIENT, CellState.FAILED_PERMANENT])
def test_a_run_of_which_only_failures_are_known_has_nothing_to_lose(state: CellState) -> None:
    failed = {key: KnownCell(state, 1, 0) for key in (*log_cells(DONE), checkpoint_cell(0, "q1"))}
    [task] = plan(failed, logged=-1, retry=True).tasks
    groups = assign([task], [], Path("c"), "s", seeds_per_group=1, n_workers=1)
    assert groups.lost == []
    assert [[name for name, _ in group.runs] for group, _ in groups.with_tasks] == [["s/a"]]


def test_batches_are_small_where_the_work_is_large() -> None:
    large = TrainSpec(task_params={"p": 113, "frac_train": 0.3})
    small = TrainSpec(task_params={"p": 17, "frac_train": 0.5})
    assert batch_size(large, 100, 2) == 1
    assert 1 < batch_size(small, 100, 2) <= 50
    assert batch_size(small, 3, 2) == 2


def test_folder_names_are_short_and_differ() -> None:
    assert folder_name("s", ["s/lr=0.1/init0-data0-split0", "s/x"]) == "lr=0.1__init0-data0-split0+1"
    long = [f"s/{'x' * 300}{i}" for i in range(2)]
    names = {folder_name("s", [run]) for run in long}
    assert len(names) == 2
    assert all(len(name) < 200 for name in names)


# --- what compares checkpoints of a run ----------------------------------------------------------------------

LATE = WantedCondition(
    steps=8,
    logs=WANTED.logs,
    measured=(
        WantedMeasure("loss", "q1", STEPS),
        WantedMeasure("excluded:final", "q2", (0, 8), "final"),
        WantedMeasure("products", "q3", STEPS, "history"),
    ),
)


def late_works(reached: int | None, logged: int, size: int, *, only: tuple[str, ...] = ()) -> list[UnitWork]:
    runs = tuple((name, Seeds(init=k, data_order=0, split=0)) for k, name in enumerate(("s/a", "s/b")))
    tasks = make_plan(
        [planned("s/a"), planned("s/b")],
        {"": LATE},
        {},
        {**reach(logged), **reach(logged, "s/b")},
        only=only,
    ).tasks
    return list(cut(Group(Path("f"), SPEC, runs, reached), {task.run.name: task for task in tasks}, size))


def test_comparisons_are_planned_apart_and_counted_with_the_rest() -> None:
    [task] = make_plan([planned()], {"": LATE}, {checkpoint_cell(0, "q3"): DONE}, {}).tasks
    assert task.cells == {step: ("loss",) for step in STEPS}
    assert task.final_cells == {0: ("excluded:final",), 8: ("excluded:final",)}
    assert task.history_cells == {step: ("products",) for step in (2, 4, 8)}
    assert task.all_cells[8] == ("loss", "excluded:final", "products")
    assert task.n_cells == 9


@given(st.integers(1, 20), st.booleans())
def test_comparisons_come_after_training_and_a_history_in_one_piece(size: int, trained: bool) -> None:
    units = late_works(8 if trained else None, 7 if trained else -1, size, only=LATE_NAMES if trained else ())
    late = [unit for unit in units if unit.late]
    assert units[len(units) - len(late) :] == late
    assert not any(unit.trains for unit in late)
    # only the first has to wait for training; then they may run side by side
    assert [unit.in_turn for unit in late] == [not trained] + [False] * (len(late) - 1)
    cells = [key for unit in late for key in unit.cells]
    wanted = {("s/a", s, m) for m, steps in (("excluded:final", (0, 8)), ("products", STEPS)) for s in steps}
    wanted |= {("s/b", *rest) for _, *rest in wanted}
    assert {(*key, m) for unit in late for key, ms in unit.cells.items() for m in ms} == wanted
    assert len(cells) == len(wanted)
    for run in ("s/a", "s/b"):
        [whole] = [unit for unit in late if ("products",) in unit.cells.values() and (run, 2) in unit.cells]
        assert set(whole.cells) == {(run, step) for step in STEPS}


LATE_NAMES = ("excluded:final", "products")


def test_what_a_run_left_is_compared_even_if_it_died() -> None:
    late = [unit for unit in late_works(None, -1, 4) if unit.late]
    assert [unit.without({"s/a", "s/b"}, ()) for unit in late] == late
    assert all(unit.without({"s/a", "s/b"}, {"s/a", "s/b"}).is_empty for unit in late)


def test_training_on_makes_the_comparison_another_quantity_but_keeps_rows_of_the_history() -> None:
    final, products = MEASURES.get("excluded_loss:final"), MEASURES.get("weight_products")
    task = SPEC.make_task()
    assert final.quantity(task, reference_step=8).hash != final.quantity(task, reference_step=16).hash
    assert products.quantity(task, reference_step=8) == products.quantity(task, reference_step=16)
