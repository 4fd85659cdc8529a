"""What a worker of a load study does: fetch, load, scan, hand in one shard. Never opens the archive."""

import time
import traceback
from collections.abc import Iterable, Mapping, Sequence

import torch

from archive.errors import PathscopeError
from archive.records import Checkpoint, Provenance
from archive.schema.base import CellState
from archive.shard import ShardBuilder
from ingest.evalsets.next_tokens import NextTokens
from ingest.evalsets.nothing import NOTHING
from ingest.family import CheckpointRef, Family
from ingest.measure import MEASURES, RegisteredMeasure
from ingest.measuring.measured import MeasuredValue
from ingest.measuring.scanning import scan
from ingest.models.hooked import HookedModel
from ingest.provenance import provenance
from ingest.run.scans import ScanWork
from ingest.run.stopping import StopCheck
from ingest.run.unit import CellFailure, Unit, UnitReport, is_permanent
from ingest.sources.base import CheckpointNotAvailable
from ingest.sources.fetcher import Fetcher

# a unit that takes longer ends at its next checkpoint, so that results and progress keep coming
UNIT_SECONDS = 60.0


class WeightsChanged(PathscopeError):
    """A checkpoint is not what it was when it was measured before."""


def carry_out_scan(unit: Unit, work: ScanWork) -> UnitReport:
    """Carry out a unit; an error that ends it is entered as its failure."""
    started = time.monotonic()
    if work.threads is not None:
        torch.set_num_threads(work.threads)
    try:
        return _Scanner(unit, work).run()
    except Exception as error:
        return enter_scan_failure(unit, work, error, seconds=time.monotonic() - started)


def enter_scan_failure(unit: Unit, work: ScanWork, error: BaseException, *, seconds: float) -> UnitReport:
    """Hand in a shard that says that every cell of this unit failed, and why."""
    entry = _Entry(unit, work)
    for ref in work.refs:
        entry.fail(ref, work.cells.get((ref.run, ref.step), ()), error)
    # one line is enough for people
    entry.failures = [
        CellFailure(work.run.name, None, None, type(error).__name__, str(error), is_permanent(error))
    ]
    return entry.report(provenance(seconds), left=(), stopped=False, seconds=seconds)


class _Entry:
    """A shard in the making, with the records every unit needs."""

    def __init__(self, unit: Unit, work: ScanWork) -> None:
        self.unit = unit
        self.work = work
        self.family: Family = work.load.make_family()
        self.tasks = {label: NextTokens(frozen=frozen) for label, frozen in work.eval_sets.items()}
        self.builder = ShardBuilder(kind="measure", study=unit.study)
        self.builder.family(self.family.record_of(work.run.spec))
        run = self.family.run_record(work.run.spec)
        origin = {"loaded_from": work.origin} if not run.config else {}
        self.builder.run(run.model_copy(update={"config": {**run.config, **origin}}))
        self.failures: list[CellFailure] = []
        self.notes: list[str] = []
        self.n_cells = 0

    def fail(
        self, ref: CheckpointRef, keys: Sequence[str], error: BaseException, record: Checkpoint | None = None
    ) -> None:
        """Enter that all these cells of a checkpoint failed alike; one that does not exist upstream is absent."""
        absent = isinstance(error, CheckpointNotAvailable) and error.permanent
        record = record or ref.record()
        if absent:
            record = record.model_copy(update={"integrity": "absent", "integrity_note": str(error)})
        owner = self.builder.checkpoint(record)
        permanent = is_permanent(error) and not (
            isinstance(error, CheckpointNotAvailable) and not error.permanent
        )
        state = CellState.FAILED_PERMANENT if permanent else CellState.FAILED_TRANSIENT
        for key in keys:
            one, label = self.wish(key)
            quantity = one.quantity(self.tasks[label]) if label else one.quantity_of_weights()
            self.builder.failed_cell(
                owner,
                self.builder.quantity(quantity),
                CellState.ABSENT_UPSTREAM if absent else state,
                error_class=type(error).__name__,
                message=str(error),
                trace="".join(traceback.format_exception(error)),
            )
        self.failures.append(
            CellFailure(ref.run, ref.step, None, type(error).__name__, str(error), permanent or absent)
        )

    def enter(self, checkpoint: Checkpoint, values: Iterable[MeasuredValue]) -> None:
        """Enter what was measured of a checkpoint."""
        owner = self.builder.checkpoint(checkpoint)
        for value in values:
            value.add_to(self.builder, owner)
            if value.state is CellState.FAILED_PERMANENT:
                name = value.quantity.measure.name
                self.failures.append(
                    CellFailure(checkpoint.run, checkpoint.step, name, value.error_class, value.message, True)
                )
            else:
                self.n_cells += 1
            if value.state is CellState.DONE and value.message:
                name = value.quantity.measure.name
                self.notes.append(f"{checkpoint.run} step {checkpoint.step}: {name} is {value.message}")

    def wish(self, key: str) -> tuple[RegisteredMeasure, str]:
        """The measure and the eval set's label of a cell's key."""
        name, _, label = key.partition("@")
        return MEASURES.get(name), label

    def report(
        self, how: Provenance, *, left: tuple[tuple[str, int], ...], stopped: bool, seconds: float
    ) -> UnitReport:
        """Hand the shard in."""
        self.builder.provenance = how
        return UnitReport(
            reached=self.work.until,
            n_cells=self.n_cells,
            failures=tuple(self.failures),
            dead=frozenset(),
            left=left,
            stopped=stopped,
            seconds=seconds,
            shard=self.builder.write(self.unit.inbox).name,
            notes=tuple(dict.fromkeys(self.notes)),
        )


class _Scanner(_Entry):
    """One unit under way."""

    def __init__(self, unit: Unit, work: ScanWork) -> None:
        super().__init__(unit, work)
        self.stop = StopCheck(unit.stop_file, unit.deadline)
        self.batch = work.load.batch
        self.started = time.monotonic()

    def run(self) -> UnitReport:
        """Every checkpoint in turn: the next one is fetched while this one is measured."""
        n = 0
        with Fetcher(self.work.load.make_source(), self.work.refs) as fetcher:
            for fetched in fetcher:
                ref = fetched.ref
                if n and (self.stop() or time.monotonic() - self.started > UNIT_SECONDS):
                    break
                n += 1
                keys = self.work.cells.get((ref.run, ref.step), ())
                if fetched.snapshot is None:
                    assert fetched.error is not None
                    self.fail(ref, keys, fetched.error)
                    continue
                try:
                    model = self.family.load(ref, fetched.snapshot, device=self.unit.device)
                    self._measure(model, ref, fetched.snapshot.commit, keys)
                except Exception as error:
                    self.fail(ref, keys, error)
        left = [(ref.run, ref.step) for ref in self.work.refs[n:]]
        seconds = time.monotonic() - self.started
        how = provenance(
            seconds,
            device=self.unit.device,
            measure_seconds=seconds,
            n_checkpoints=n,
            **({"notes": self.notes} if self.notes else {}),
        )
        return self.report(how, left=tuple(left), stopped=self.stop(), seconds=seconds)

    def _measure(self, model: HookedModel, ref: CheckpointRef, commit: str, keys: Sequence[str]) -> None:
        weights_hash = model.weights_hash
        if (known := self.work.known_hashes.get(ref.step)) not in (None, weights_hash):
            raise WeightsChanged(
                f"the weights of {ref.run} at step {ref.step} ({ref.repository}, {ref.revision}) are not those that were "
                f"measured before (SHA-256 {weights_hash[:12]}…, the archive has {str(known)[:12]}…): they were replaced "
                f"where they come from. `pathscope drop --run {ref.run}` lets the study measure the run again."
            )
        by_set: dict[str, list[RegisteredMeasure]] = {}
        for key in keys:
            one, label = self.wish(key)
            by_set.setdefault(label, []).append(one)
        # what is asked of the weights rides along with any eval set
        of_weights = by_set.pop("", [])
        asked: Mapping[str, list[RegisteredMeasure]] = by_set or {"": []}
        values: list[MeasuredValue] = []
        lost: list[tuple[list[str], Exception]] = []
        for label, measures in asked.items():
            task = self.tasks[label] if label else NextTokens(frozen=NOTHING)
            try:
                values += scan(model, task, [*measures, *of_weights], batch=self.batch, say=self._note)
                of_weights = []
            except Exception as error:  # an eval set that does not fit must not cost the others
                lost.append(([key for key in keys if self.wish(key)[1] == label], error))
        if of_weights and label:
            values += scan(model, NextTokens(frozen=NOTHING), of_weights)
        record = ref.record(commit=commit, weights_hash=weights_hash)
        self.enter(record, values)
        for keys_of_set, reason in lost:
            self.fail(ref, keys_of_set, reason, record)

    def _note(self, note: str) -> None:
        """Remember that memory was short, for this checkpoint and the next."""
        self.notes.append(note)
        self.batch = max(1, self.batch // 2)
