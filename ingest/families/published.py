"""A family whose runs a catalogue file lists, with weights in Hugging Face repositories. Imports no torch."""

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from archive.records import Family as FamilyRecord
from ingest.catalogue import Catalogue, Defect, Series, filled, read_catalogue
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
            final_step=known.schedule[series.schedule].labels[-1] // series.labels_per_step or None,
            notes=(*(filled(note, values) for note in series.notes), *self._doubts(series)),
        )

    def _doubts(self, series: Series) -> tuple[str, ...]:
        evidence = self.catalogue.evidence_of(series)
        return () if evidence.verified else (f"seeds and schedule are {evidence}",)

    def checkpoints(self, spec: ModelSpec) -> tuple[CheckpointRef, ...]:
        """The checkpoints of a run by step; those with a known defect say so."""
        series = next(series for described, series in self._described if described.name == spec.name)
        schedule = self.catalogue.schedule[series.schedule]
        return tuple(
            self._ref(spec, series, label, schedule.revision.format(label=label)) for label in schedule.labels
        )

    def _ref(self, spec: ModelSpec, series: Series, label: int, revision: str) -> CheckpointRef:
        defects = [d for d in self.catalogue.defect if d.concerns(spec.name, label)]
        worst = next((d for d in defects if d.integrity != "ok"), defects[0] if defects else None)
        step = label // series.labels_per_step
        return CheckpointRef(
            run=spec.name,
            repository=spec.repository,
            revision=revision,
            label=revision,
            step=step,
            tokens_seen=step * series.tokens_per_step if series.tokens_per_step else None,
            integrity=worst.integrity if worst else "ok",
            integrity_note=self._in_words(worst) if worst else "",
            integrity_link=worst.link if worst else "",
        )

    def _in_words(self, defect: Defect) -> str:
        evidence = self.catalogue.evidence_of(defect)
        return defect.what if evidence.verified else f"{defect.what} ({evidence})"

    def source(self, place: str = "hub") -> Source:
        """Where the weights come from: `hub`, `hub:CACHE` or `path:FOLDER`."""
        from ingest.sources import make_source

        return make_source(place)

    def load(self, ref: CheckpointRef, snapshot: Snapshot, *, device: str = "cpu") -> "HookedModel":
        """The model in float32 with eager attention; raises WeightsRefused."""
        from ingest.models.hugging_face import load_hugging_face

        return load_hugging_face(snapshot.folder, run=ref.run, step=ref.step, device=device)
