"""A training loop of yours, written down: its log goes to an archive, its checkpoints into a folder to measure.

    with Recorder("pathscope.duckdb", "runs/mine-0", run="mine-0", init_seed=0, tokens_per_step=4096) as recorder:
        for step, batch in enumerate(batches):
            loss = train_on(batch)
            recorder.log(step, {"loss": loss, "learning_rate": rate})
            if step % 500 == 0:
                recorder.log(step, {"loss/test": test_loss})
                recorder.checkpoint(step, model)

The log waits in the archive's inbox as units of results; `pathscope commit` or the next `ingest` enters it. Nobody
opens the archive meanwhile, so any number of runs may record into one at once. Imports torch only to save weights.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from archive.create import ensure_archive
from archive.errors import UsageError
from archive.records import WHOLE, Family, Measure, Part, Quantity, Run
from archive.shard import ShardBuilder
from ingest.provenance import provenance
from ingest.recording.study_text import study_text
from ingest.train.files import write_durably
from ingest.train.log import LOG_METRICS

if TYPE_CHECKING:
    from torch import Tensor, nn

# what a crash may cost, and what a unit of results may hold
SECONDS = 30.0
ROWS = 10_000
KNOWN = {metric.name.removeprefix("log."): metric for metric in LOG_METRICS}


class Recorder:
    """Records one run. A second Recorder of the same run goes on with it, and replaces the steps that it logs again."""

    def __init__(
        self,
        archive: str | Path,
        folder: str | Path,
        *,
        run: str,
        family: str = "module",
        init_seed: int | None = None,
        data_order_seed: int | None = None,
        tokens_per_step: float | None = None,
        condition: str = "",
        parent_run: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin a run, or go on with one; an archive is made where there is none.

        folder: of the checkpoints. family: what the run is filed under, and what a study loads its checkpoints
        with: `module` or `hugging_face`. condition: everything but the seeds, in a few words: runs with one
        condition are repeats. parent_run: the run whose weights this one goes on from; a tuned run counts its own steps, from
        0 for the weights that it began with. config: settings to keep with the run, plain values.
        """
        self.layout = ensure_archive(Path(archive))
        self.folder = Path(folder)
        self.record = Run(
            name=run,
            family=family,
            init_seed=init_seed,
            data_order_seed=data_order_seed,
            tokens_per_step=tokens_per_step,
            condition=condition,
            parent_run=parent_run,
            config=dict(config or {}),
        )
        self._rows: dict[str, dict[tuple[int, str], float]] = {}  # metric -> (step, part) -> value
        self._handed_in: dict[str, int] = {}  # metric -> its last step that is in a unit of results
        self._step = 0
        self._since = time.monotonic()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write down metrics of one step: `loss`, `accuracy`, `learning_rate`, `grad_norm`, `weight_norm` or your own.

        A name may say which part of the data it is about: `loss/test`; `loss` alone is the training batch's. Losses
        in nats. Raises UsageError for a value that is no number and for a step before the last one: a loop that went
        back to an earlier checkpoint makes a new Recorder.
        """
        if step < self._step:
            raise UsageError(
                f"step {step} of run {self.record.name!r} after step {self._step}: steps count updates from 0 and do not go "
                "back; a loop that was resumed makes a new Recorder, which replaces the steps that it logs again."
            )
        for name, value in values.items():
            metric, _, part = name.partition("/")
            try:
                self._rows.setdefault(metric, {})[step, part] = float(value)
            except (TypeError, ValueError):
                raise UsageError(
                    f"{name} at step {step} of run {self.record.name!r} is {value!r}; a metric is one number."
                ) from None
        self._step = step
        if sum(map(len, self._rows.values())) >= ROWS or time.monotonic() - self._since > SECONDS:
            self.flush()

    def checkpoint(self, step: int, model: "nn.Module | Mapping[str, Tensor]") -> Path:
        """Save weights durably; returns the file, or for a model of transformers the folder, as its Trainer names it."""
        if (save_pretrained := getattr(model, "save_pretrained", None)) is not None:
            target = self.folder / f"checkpoint-{step}"
            save_pretrained(target)
            return target
        from safetensors.torch import save

        state = model if isinstance(model, Mapping) else model.state_dict()
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"step-{step:09d}.safetensors"
        # cloned: safetensors refuses tensors that share memory, as tied weights do
        write_durably(target, save({k: v.detach().cpu().contiguous().clone() for k, v in state.items()}))
        return target

    def flush(self) -> None:
        """Hand in what was logged before the current step, to which more may come, as one unit of results."""
        self._hand_in(before=self._step)

    def close(self) -> None:
        """Hand in the rest, and say that the run has come to its end."""
        self._hand_in(before=self._step + 1, ends=True)

    def study(self, text: str, *, adapter: str = "", tokenizer: str = "") -> Path:
        """Write a study of this run's checkpoints beside them, ready for `pathscope ingest`; returns its file.

        text: its eval sets and measures in TOML, as in docs/studies.md. adapter: `package.module:Class`, needed for
        family `module` (docs/families.md). Raises UsageError, as reading the study would.
        """
        path = self.folder.absolute() / "study.toml"
        toml = study_text(self.record, path, text, adapter=adapter, tokenizer=tokenizer)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, toml.encode())
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A run that an error ended keeps its log, and is not called finished."""
        self._hand_in(before=self._step + 1, ends=kind is None)

    def _hand_in(self, *, before: int, ends: bool = False) -> None:
        """One unit of all rows before a step; the log is called whole when the run ends."""
        self._since = time.monotonic()
        handed_in = dict(self._handed_in)
        builder = ShardBuilder(kind="train", replace=True)
        builder.family(Family(name=self.record.family))
        owner = builder.run(self.record.model_copy(update={"final_step": self._step} if ends else {}))
        for metric, rows in self._rows.items():
            ready = sorted(row for row in rows if row[0] < before)
            if not ready and not ends:
                continue
            quantity = builder.quantity(_quantity(metric))
            for part in {part for _, part in ready}:
                steps = [step for step, of in ready if of == part]
                values = [rows[step, part] for step in steps]
                where = builder.part(_part(metric, part))
                builder.add("fact_log", owner, quantity, part=where, step=steps, value=values)
            if ready:
                last = ready[-1][0]
                builder.segment(owner, quantity, handed_in.get(metric, ready[0][0] - 1), last)
                handed_in[metric] = last
            if ends and metric in handed_in:
                builder.cell(owner, quantity)
        builder.provenance = provenance(0.0, recorder="pathscope.Recorder")
        builder.write(self.layout.inbox)
        # now, not before: a disk that was full may have room the next time
        self._handed_in = handed_in
        self._rows = {
            m: {row: v for row, v in rows.items() if row[0] >= before} for m, rows in self._rows.items()
        }


def _quantity(metric: str) -> Quantity:
    known = KNOWN.get(metric)
    if known is not None:
        return Quantity(measure=known.measure)
    measure = Measure(
        name=f"log.{metric}",
        scope="run",
        table="fact_log",
        unit="",
        summary=f"{metric}, as a training loop wrote it down.",
    )
    return Quantity(measure=measure)


def _part(metric: str, part: str) -> Part:
    if part:
        return Part(kind="split", name=part)
    return KNOWN[metric].part if metric in KNOWN else WHOLE
