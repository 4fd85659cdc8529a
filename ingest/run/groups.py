"""Which runs are trained together, where, and how the work on them is cut into units. Imports no torch."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ingest.planning.plan import RunTask
from ingest.studies.training import PlannedRun
from ingest.train.cost import activation_bytes, widest_activation
from ingest.train.spec import Seeds, TrainSpec

RESUME = "resume.safetensors"
LONGEST_NAME = 120
# the widest activation of a batch on a CPU: up to here a run costs less in company (0.5 MB each: 4.6 ms an update alone,
# 3.4 ms among four; 1.5 MB each: 10.5 and 10.1), beyond it a batch only makes units longer
CACHE_BYTES = 2**22
# activations of one batch on a GPU: any that is used for this has so much to spare
GPU_BYTES = 12e9
MOST_SEEDS = 128

NamedSeeds = tuple[str, Seeds]


@dataclass(frozen=True)
class StoredGroup:
    """What a training folder on disk says of itself. reached: updates done."""

    folder: Path
    runs: tuple[NamedSeeds, ...]
    reached: int
    spec_hash: str


@dataclass(frozen=True)
class Group:
    """Runs of one condition that train side by side in one folder.

    reached: updates done; None: not begun. apart: as `ingest.studies.conditions.Condition` has it.
    """

    folder: Path
    spec: TrainSpec
    runs: tuple[NamedSeeds, ...]
    reached: int | None
    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class UnitWork:
    """A piece of a group's work: train to `until` updates, measure these cells, hand in this part of the log.

    cells: (run, step) -> measures. log_after: run -> last step whose log the archive will have by then.
    in_turn: must wait for the group's units before it, because it trains on from there, continues a log or is
    late; otherwise all its checkpoints are stored. late: its cells compare checkpoints of a run and are filled
    from stored ones when training is over, or has ended early.
    n_lost: workers that were lost over it.
    """

    group: Group
    until: int
    cells: Mapping[tuple[str, int], tuple[str, ...]]
    log_after: Mapping[str, int]
    log_replace: frozenset[str] = frozenset()
    in_turn: bool = False
    late: bool = False
    n_lost: int = 0

    @property
    def title(self) -> str:
        """What the log calls it."""
        more = f" +{len(self.group.runs) - 1}" if len(self.group.runs) > 1 else ""
        return self.group.runs[0][0] + more

    @property
    def trains(self) -> bool:
        """True when it goes on with the training or its log; otherwise it only reads what is stored."""
        return self.in_turn and not self.late

    @property
    def is_empty(self) -> bool:
        """True when there is nothing left in it."""
        return not (self.cells or self.log_after)

    def without(self, dead: Collection[str], again: Collection[str]) -> "UnitWork":
        """The same work, less what belongs to runs whose training has ended.

        dead: those that will not get there now. again: of them, those that the next call trains on. Late work is about
        what runs that ended for good have left.
        """
        gone = again if self.late else dead
        return replace(
            self,
            cells={key: measures for key, measures in self.cells.items() if key[0] not in gone},
            log_after={run: after for run, after in self.log_after.items() if run not in gone},
        )

    def rest(self, left: Collection[tuple[str, int]], reached: int) -> "UnitWork":
        """What remains after a worker trained to `reached` and left these cells."""
        unfinished = reached < self.until
        return replace(
            self,
            cells={key: measures for key, measures in self.cells.items() if key in left},
            log_after={r: max(a, reached - 1) for r, a in self.log_after.items()} if unfinished else {},
        )


@dataclass
class Groups:
    """Groups with the tasks of their runs, and the tasks whose weights are lost."""

    with_tasks: list[tuple[Group, dict[str, RunTask[PlannedRun]]]] = field(default_factory=list)
    lost: list[RunTask[PlannedRun]] = field(default_factory=list)


def stored_groups(checkpoints: Path, study: str) -> list[StoredGroup]:
    """Groups of a study that are on disk, read from the headers of their files."""
    found = []
    for folder in sorted(p for p in (checkpoints / study).glob("*") if p.is_dir()):
        header = _header(folder / RESUME)
        if header is not None:
            runs = tuple((name, Seeds(**seeds)) for name, seeds in json.loads(header["runs"]))
        else:
            # without its resume state a folder cannot be trained on, but its checkpoints can be measured
            last = max(folder.glob("step-*.safetensors"), default=None)
            header = _header(last) if last is not None else None
            if header is None:
                continue
            seeds = [Seeds(**each) for each in json.loads(header["seeds"])]
            runs = tuple(zip(json.loads(header["runs"]), seeds, strict=True))
        found.append(StoredGroup(folder, runs, int(header["step"]), header["spec_hash"]))
    return found


def _header(path: Path) -> Mapping[str, str] | None:
    try:
        with safe_open(path, framework="numpy") as stored:
            header: dict[str, str] | None = stored.metadata()
            return header
    except (SafetensorError, OSError):
        return None


def assign(
    tasks: Sequence[RunTask[PlannedRun]],
    on_disk: Sequence[StoredGroup],
    checkpoints: Path,
    study: str,
    *,
    seeds_per_group: int | None,
    n_workers: int,
    device: str = "cpu",
) -> Groups:
    """Give every task's run its group: the one on disk, or a new one if nothing of the run is stored.

    A run that the archive has results of but whose folder is gone is lost; training it again would give its
    checkpoints a second set of numbers.
    """
    groups = Groups()
    home = {name: stored for stored in on_disk for name, _ in stored.runs}
    by_folder: dict[Path, dict[str, RunTask[PlannedRun]]] = {}
    fresh: dict[str, list[RunTask[PlannedRun]]] = {}
    for task in tasks:
        stored = home.get(task.run.name)
        if stored is not None:
            by_folder.setdefault(stored.folder, {})[task.run.name] = task
        elif task.started:
            groups.lost.append(task)
        elif task.log_after is not None:  # otherwise only back-filling, and there is nothing to fill yet
            fresh.setdefault(task.run.label, []).append(task)
    for stored in on_disk:
        if mine := by_folder.get(stored.folder):
            run = next(iter(mine.values())).run
            group = Group(stored.folder, run.spec, stored.runs, stored.reached, run.apart)
            groups.with_tasks.append((group, mine))
    for alike in fresh.values():
        size = seeds_per_group or batch_size(alike[0].run.spec, len(tasks), n_workers, device)
        for start in range(0, len(alike), size):
            members = alike[start : start + size]
            first = members[0].run
            runs = tuple((t.run.name, t.run.seeds) for t in members)
            folder = checkpoints / study / folder_name(study, [name for name, _ in runs])
            mine = {task.run.name: task for task in members}
            groups.with_tasks.append((Group(folder, first.spec, runs, None, first.apart), mine))
    return groups


def batch_size(spec: TrainSpec, n_runs: int, n_workers: int, device: str = "cpu") -> int:
    """Seeds to train as one batch, at most a worker's share: as many as fit a CPU's cache or a GPU's memory."""
    share = -(-n_runs // n_workers)
    on_cpu = device == "cpu"
    fitting = CACHE_BYTES / (4 * widest_activation(spec)) if on_cpu else GPU_BYTES / activation_bytes(spec)
    return max(1, min(int(fitting), share, MOST_SEEDS))


def folder_name(study: str, runs: Sequence[str]) -> str:
    """A folder for a group, named after its first run: `init0-data0-split0`, with `+4` for four more."""
    name = runs[0].removeprefix(f"{study}/").replace("/", "__")
    more = f"+{len(runs) - 1}" if len(runs) > 1 else ""
    if len(name) > LONGEST_NAME:
        name = f"{name[:LONGEST_NAME]}~{hashlib.sha256(runs[0].encode()).hexdigest()[:8]}"
    return name + more


def cut(
    group: Group, tasks: Mapping[str, RunTask[PlannedRun]], checkpoints_per_unit: int
) -> Iterator[UnitWork]:
    """The group's work in pieces of at most so many checkpoints (of all its runs together), in step order.

    Pieces with logs or training are in turn; back-filling pieces of stored checkpoints are independent. What
    compares the checkpoints of a run comes after them, one piece for all of a run's history.
    """
    training = any(task.log_after is not None for task in tasks.values())
    logs = {name: task.log_after for name, task in tasks.items() if task.log_after is not None}
    steps = {step for task in tasks.values() for step in task.cells}
    if logs:
        steps.add(group.spec.steps)  # the log reaches to the end, whatever is measured
    elif group.reached is not None:
        steps = {step for step in steps if step <= group.reached}  # only back-filling: no training for it
    size = max(1, checkpoints_per_unit // len(group.runs))
    ordered = sorted(steps)
    for start in range(0, len(ordered), size):
        piece = ordered[start : start + size]
        until = piece[-1]
        yield UnitWork(
            group=group,
            until=until,
            cells={
                (name, step): task.cells[step]
                for step in piece
                for name, task in tasks.items()
                if step in task.cells
            },
            log_after={
                name: after for name, after in logs.items() if until - 1 > after or until == group.spec.steps
            },
            log_replace=frozenset(name for name in logs if tasks[name].log_replace),
            in_turn=bool(logs),
        )
        logs = {name: max(after, until - 1) for name, after in logs.items()}
    yield from _late(group, tasks, size, training)


def _late(
    group: Group, tasks: Mapping[str, RunTask[PlannedRun]], size: int, training: bool
) -> Iterator[UnitWork]:
    """Pieces for cells that take a run's final checkpoint (of at most so many steps) or its whole history."""
    steps = sorted({step for task in tasks.values() for step in task.final_cells})
    pieces = [
        {
            (name, step): task.final_cells[step]
            for step in steps[start : start + size]
            for name, task in tasks.items()
            if step in task.final_cells
        }
        for start in range(0, len(steps), size)
    ]
    for name, task in tasks.items():
        if task.history_cells:
            pieces.append({(name, step): measures for step, measures in task.history_cells.items()})
    for number, cells in enumerate(pieces):
        # the first waits for training, and the others come after the first has been handed out
        in_turn = training and number == 0
        yield UnitWork(group, group.spec.steps, cells, {}, in_turn=in_turn, late=True)
