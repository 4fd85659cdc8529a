"""Published training runs in `.pth` files: loss curves, settings and, in some, the trained model.

The format of mechanistic-interpretability-grokking/progress-measures-paper (saved_runs). Its program logs the
losses before the update of an epoch and trains on the full batch, so value i of a curve of every epoch is the
loss after i updates. Files are read by safe loading only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from archive.records import Checkpoint, Family, Quantity, Run, Source
from ingest.importers.base import Block, Damaged, ImportedModel, Importer, ImportFile, Parsed, importer
from ingest.importers.grokking_logs import LOSS
from ingest.importers.published_models import (
    Setting,
    disagreement,
    load_model,
    measure_model,
    setting_of,
)
from ingest.importers.run_records import RunRecord, plain, run_records
from ingest.importers.safe_torch import load_safely, looks_like_torch
from ingest.task import TRAIN

if TYPE_CHECKING:
    from ingest.models.layout import Layout
    from ingest.models.loaded import LoadedModel

_FOLDER = "saved_runs"  # says nothing of the experiment
_OPTIMIZER = ("lr", "weight_decay", "betas", "eps")
SPLIT_NOTE = (
    "the seed is that of the train/test split (random.Random(seed).shuffle of all pairs); the published program uses "
    "it for nothing else, so the seed of the initial weights is not known; training is full batch, without an order"
)


@dataclass(frozen=True)
class _Trained:
    """A model of a record, what it can be measured on (or why not), and how far it was trained."""

    layout: "Layout"
    setting: Setting | str
    imported: ImportedModel


@importer
class GrokkingRuns(Importer):
    """Curves become log series of one run each; a trained model becomes a checkpoint, measured here where it can be."""

    name = "grokking-runs"
    title = "published grokking runs: loss curves and trained small transformers (one or more runs a file)"
    reads = "torch files: a record with `train_losses`, a list of losses, of losses per token, or [fractions, curves]"
    suffixes = (".pth", ".pt")
    base: ClassVar[Literal[0, 1]] = 0
    units = "losses in nats; step = optimiser updates made before the loss was taken"
    binary = True

    def __init__(self, source: Source) -> None:
        """`source` also names the runs: source/folders/file."""
        super().__init__(source)
        self._loss = Quantity(measure=LOSS, dtype="unknown", source=source)
        self._family = Family(name=source.name, summary=f"training runs published by {source.name}")

    @classmethod
    def recognises(cls, head: str) -> bool:
        """Never: the files are not text."""
        return False

    @classmethod
    def recognises_bytes(cls, head: bytes) -> bool:
        """A file written by `torch.save`; what it holds is known only when it is loaded."""
        return looks_like_torch(head)

    def parse(self, file: ImportFile) -> Parsed:
        """All runs of the file; raises Damaged when it cannot be loaded safely or holds no losses."""
        loaded = load_safely(file)
        runs: list[Run] = []
        blocks: list[Block] = []
        models: list[ImportedModel] = []
        notes: list[str] = []
        for record in run_records(loaded):
            name = self._name(file, record)
            said: list[str] = list(record.notes)
            trained = None
            if isinstance(loaded, Mapping) and "model" in loaded:
                trained = self._trained(name, file, loaded, record, said)
            run = self._run(name, loaded, record, trained, said)
            runs.append(run)
            if trained is not None:
                models.append(trained.imported)
            for curve in record.curves:
                steps = np.arange(len(curve.values), dtype=np.int64) * curve.every
                columns = {"step": steps, "value": curve.values}
                blocks.append(Block("fact_log", run, self._loss, columns, curve.part))
            notes += [note for note in run.notes if note != SPLIT_NOTE]
        if not blocks and not models:
            raise Damaged(f"nothing in it could be read: {'; '.join(notes)}")
        return Parsed(
            runs=runs,
            blocks=blocks,
            families=[self._family],
            models=models,
            notes=notes,
            indivisible=True,
        )

    def _name(self, file: ImportFile, record: RunRecord) -> str:
        path = PurePosixPath(file.relative)
        folders = [folder for folder in path.parent.parts if folder != _FOLDER]
        return "/".join([self.source.name, *folders, path.stem, *([record.label] if record.label else [])])

    def _trained(
        self,
        name: str,
        file: ImportFile,
        loaded: Mapping[Any, Any],
        record: RunRecord,
        said: list[str],
    ) -> _Trained | None:
        """The model of the file, measured; None, with the reason in `said`, when it cannot be read."""
        from ingest.models.published import UnknownLayout

        tensors, step = loaded["model"], _updates(loaded)
        if not isinstance(tensors, Mapping) or step is None:
            said.append(
                "its model was left out: "
                + ("no tensors" if step is not None else "its step is not recorded")
            )
            return None
        try:
            model = load_model(name, step, tensors, record.settings)
        except UnknownLayout as error:
            said.append(f"its model was left out: {error}")
            return None
        setting = setting_of(record.settings, model.layout)
        if isinstance(setting, str):
            said.append(f"its model was not measured: {setting}")
        values = measure_model(model, setting) if isinstance(setting, Setting) else []
        train = next((curve for curve in record.curves if curve.part == TRAIN), None)
        if train is not None and (words := disagreement(values, float(train.values[-1]))):
            said.append(words)
        epoch = loaded.get("epoch")
        checkpoint = Checkpoint(
            run=name,
            step=step,
            # weights that are published again in a changed file are another snapshot
            snapshot=model.weights_hash[:12],
            epoch=float(epoch) if isinstance(epoch, int) else None,
            label="final",
            weights_hash=model.weights_hash,
            location=file.path.as_posix(),
        )
        task = setting.task if isinstance(setting, Setting) else None
        return _Trained(model.layout, setting, ImportedModel(checkpoint, task, values))

    def _run(
        self, name: str, loaded: object, record: RunRecord, trained: _Trained | None, said: Sequence[str]
    ) -> Run:
        layout = trained.layout if trained is not None else None
        settings = dict(record.settings)
        notes = list(said)
        if isinstance(loaded, Mapping):
            settings |= _optimizer(loaded, settings, notes)
        seeds = _seeds(settings)
        if "split_seed" in seeds:
            notes.append(SPLIT_NOTE)
        longest = max((len(c.values) for c in record.curves if c.every == 1), default=None)
        return Run(
            name=name,
            family=self._family.name,
            source=self.source.name,
            architecture=_architecture(layout),
            n_params=layout.n_params if layout else None,
            n_layers=layout.n_layers if layout else None,
            n_heads=layout.n_heads if layout else None,
            d_model=layout.d_model if layout else None,
            d_mlp=layout.d_mlp if layout else None,
            **seeds,
            condition=name,
            config=settings,
            tokens_per_step=_tokens_per_step(settings, trained),
            final_step=trained.imported.checkpoint.step if trained else longest,
            aliases=(name.removeprefix(f"{self.source.name}/"),),
            notes=tuple(notes),
        )


def saved_model(name: str, file: ImportFile) -> "tuple[LoadedModel, Mapping[str, object]] | None":
    """The trained model of a file with the settings it was trained with; None for a file without one.

    Raises Damaged for a file that cannot be loaded safely, and for a model in another layout.
    """
    from ingest.models.published import UnknownLayout

    loaded = load_safely(file)
    if not isinstance(loaded, Mapping) or not isinstance(loaded.get("model"), Mapping):
        return None
    settings = run_records(loaded)[0].settings
    step = _updates(loaded)
    if step is None:
        raise Damaged("the step of its model is not recorded")
    try:
        return load_model(name, step, loaded["model"], settings), settings
    except UnknownLayout as error:
        raise Damaged(str(error)) from None


def _updates(record: Mapping[Any, Any]) -> int | None:
    """Updates the model has behind it: the optimizer's own count, else the number of training losses."""
    optimizer = record.get("optimizer")
    states = optimizer.get("state") if isinstance(optimizer, Mapping) else None
    if isinstance(states, Mapping):
        steps = {int(s["step"]) for s in states.values() if isinstance(s, Mapping) and "step" in s}
        if len(steps) == 1:
            return steps.pop()
    losses = record.get("train_losses")
    if isinstance(losses, list | tuple) and losses:
        return len(losses)
    epoch = record.get("epoch")
    return epoch + 1 if isinstance(epoch, int) and epoch >= 0 else None


def _optimizer(record: Mapping[Any, Any], settings: Mapping[str, Any], notes: list[str]) -> dict[str, object]:
    """What the optimizer was really given, as `optimizer`; a note where the settings say otherwise."""
    optimizer = record.get("optimizer")
    groups = optimizer.get("param_groups") if isinstance(optimizer, Mapping) else None
    if not isinstance(groups, list) or not groups or not isinstance(groups[0], Mapping):
        return {}
    used = {name: plain(groups[0][name]) for name in _OPTIMIZER if name in groups[0]}
    for of in ("config", "optim_config"):
        config = settings.get(of)
        for name in ("lr", "weight_decay"):
            if isinstance(config, Mapping) and name in config and name in used and config[name] != used[name]:
                notes.append(
                    f"{of} says {name} {config[name]}, the optimizer's state {used[name]}: the optimizer's is what was "
                    "used"
                )
    return {"optimizer": used}


def _seeds(settings: Mapping[str, Any]) -> dict[str, int]:
    """By kind. `config.seed` is the split's; endless data have a seed of their own, and so has their model."""
    places = {
        "split_seed": ("config", "seed"),
        "init_seed": ("model_config", "seed"),
        "data_order_seed": ("data_config", "seed"),
    }
    found = {}
    for kind, (of, name) in places.items():
        config = settings.get(of)
        if isinstance(config, Mapping) and isinstance(config.get(name), int):
            found[kind] = int(config[name])
    return found


def _tokens_per_step(settings: Mapping[str, Any], trained: _Trained | None) -> float | None:
    data = settings.get("data_config")
    if (
        isinstance(data, Mapping)
        and isinstance(data.get("batch_size"), int)
        and isinstance(data.get("seq_len"), int)
    ):
        return float(data["batch_size"] * data["seq_len"])
    if trained is None or isinstance(trained.setting, str) or trained.setting.task.n_train is None:
        return None
    return float(trained.setting.task.n_train * trained.setting.task.n_positions)


def _architecture(layout: "Layout | None") -> str:
    if layout is None:
        return ""
    kind = layout.activation if layout.d_mlp else "attention only"
    return f"{layout.n_layers}-layer transformer, no LayerNorm, {kind}"
