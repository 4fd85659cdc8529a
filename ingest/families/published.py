"""A family whose runs a catalogue file lists, with weights in Hugging Face repositories. Imports no torch."""

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from archive.records import Family as FamilyRecord
from ingest.catalogue import Catalogue, Defect, Schedule, Series, Size, filled, read_catalogue
from ingest.family import CheckpointRef, Family, ModelSpec
from ingest.sources.base import Snapshot, Source

if TYPE_CHECKING:
    from ingest.models.hooked import HookedModel


class PublishedFamily(Family):
    """Base of the families with a catalogue: a subclass only names its file, if it is not called like itself."""

    catalogue_name: ClassVar[str] = ""

    @cached_property
    def catalogue(self) -> Catalogue:
        """The family's facts."""
        return read_catalogue(self.catalogue_name or self.name)

    @property
    def record(self) -> FamilyRecord:
        """The family with every fact and its evidence, as the archive keeps it."""
        known = self.catalogue
        facts = {
            fact.name: {"value": fact.value, "evidence": str(known.evidence_of(fact))} for fact in known.fact
        }
        return FamilyRecord(
            name=known.files_under or known.name,
            summary=known.summary,
            facts={
                **facts,
                "licence": known.licence,
                "tokenizer": known.tokenizer,
                "citation": known.citation,
            },
        )

    def runs(self) -> tuple[ModelSpec, ...]:
        """Every run of the catalogue, series by series."""
        return self._runs

    @cached_property
    def _runs(self) -> tuple[ModelSpec, ...]:
        return tuple(spec for spec, _ in self._described)

    @cached_property
    def _described(self) -> tuple[tuple[ModelSpec, Series], ...]:
        return tuple(
            (self._spec(series, size, member), series)
            for series in self.catalogue.series
            for size in series.sizes
            for member in series.members
        )

    def _spec(self, series: Series, size: str, member: dict[str, str | int]) -> ModelSpec:
        known = self.catalogue
        shape = known.size[size]
        values = {"size": size, "former": shape.former, **member}

        def seed(template: str) -> int | None:
            return int(filled(template, values)) if template else None

        return ModelSpec(
            name=filled(series.name, values),
            family=known.files_under or known.name,
            repository=filled(series.repository, values),
            # a size that was never renamed has no former name to be known by
            aliases=tuple(
                filled(alias, values) for alias in series.aliases if shape.former or "{former}" not in alias
            ),
            architecture=known.architecture,
            size=shape,
            tokenizer=series.tokenizer or known.tokenizer,
            condition=filled(series.condition, values),
            init_seed=seed(series.init_seed),
            data_order_seed=seed(series.data_order_seed),
            same_init=filled(series.same_init, values),
            same_order=filled(series.same_order, values),
            tokens_per_step=series.tokens_per_step,
            parent_run=filled(series.parent_run, values),
            intervention=dict(series.intervention) or None,
            final_step=self._final_step(series),
            notes=(*(filled(note, values) for note in series.notes), *self._doubts(series, size)),
        )

    def _final_step(self, series: Series) -> int | None:
        labels = self.catalogue.schedule[series.schedule].labels
        return labels[-1] // series.labels_per_step or None if labels else series.final_step

    def schedule_of(self, spec: ModelSpec) -> Schedule:
        """When the run was saved."""
        return self.catalogue.schedule[self._series_of(spec).schedule]

    def _series_of(self, spec: ModelSpec) -> Series:
        return next(series for described, series in self._described if described.name == spec.name)

    def evidence(self, spec: ModelSpec) -> dict[str, str]:
        """How it is known what is said of a run: of its name and seeds, checkpoints, and sizes."""
        series = self._series_of(spec)
        assert spec.size is not None
        things: dict[str, Series | Schedule | Size] = {
            "names and seeds": series,
            "checkpoints": self.schedule_of(spec),
            "sizes": spec.size,
        }
        return {what: str(self.catalogue.evidence_of(thing)) for what, thing in things.items()}

    def _doubts(self, series: Series, size: str) -> tuple[str, ...]:
        known = self.catalogue
        things: dict[str, Series | Schedule | Size] = {
            "seeds and schedule": series,
            "checkpoints": known.schedule[series.schedule],
            "sizes": known.size[size],
        }
        found = ((what, known.evidence_of(thing)) for what, thing in things.items())
        return tuple(f"{what} are {evidence}" for what, evidence in found if not evidence.verified)

    def checkpoints(self, spec: ModelSpec) -> tuple[CheckpointRef, ...]:
        """The checkpoints of a run by step; those with a known defect say so. None where they must be listed."""
        series = self._series_of(spec)
        schedule = self.catalogue.schedule[series.schedule]
        return tuple(
            self._ref(spec, series, label, schedule.revision.format(label=label)) for label in schedule.labels
        )

    def _ref(self, spec: ModelSpec, series: Series, label: int, revision: str) -> CheckpointRef:
        step = label // series.labels_per_step
        ref = CheckpointRef(
            run=spec.name,
            repository=spec.repository,
            revision=revision,
            label=revision,
            step=step,
            tokens_seen=step * series.tokens_per_step if series.tokens_per_step else None,
        )
        return self._with_defects(ref, label)

    def _with_defects(self, ref: CheckpointRef, label: int) -> CheckpointRef:
        """The same with what the catalogue knows against it."""
        defects = [d for d in self.catalogue.defect if d.concerns(ref.run, label)]
        worst = next((d for d in defects if d.integrity != "ok"), defects[0] if defects else None)
        if worst is None:
            return ref
        return replace(
            ref,
            integrity=worst.integrity,
            integrity_note=self._in_words(worst),
            integrity_link=worst.link,
        )

    def _in_words(self, defect: Defect) -> str:
        evidence = self.catalogue.evidence_of(defect)
        return defect.what if evidence.verified else f"{defect.what} ({evidence})"

    def source(self, place: str = "hub") -> Source:
        """Where the weights come from: `hub`, `hub:CACHE` or `path:FOLDER`."""
        from ingest.sources import make_source

        return make_source(place)

    def load(self, ref: CheckpointRef, snapshot: Snapshot, *, device: str = "cpu") -> "HookedModel":
        """The model in float32; raises WeightsRefused."""
        from ingest.models.hugging_face import load_hugging_face

        return load_hugging_face(snapshot.folder, run=ref.run, step=ref.step, device=device)
