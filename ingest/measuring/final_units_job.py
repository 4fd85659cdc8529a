"""A measure of neurons at places that the run's final checkpoint chooses, on its way through a checkpoint."""

from collections.abc import Callable
from dataclasses import replace

from ingest.evalsets.next_tokens import NextTokens
from ingest.measuring.model_jobs import UnitsJob
from ingest.measuring.passes import Pass
from ingest.models.hooked import HookedModel
from ingest.readings.final_places import ChoosesPlaces, Choosing, FinalPlaces
from ingest.readings.units import UnitReducer, Units

# of the run measured last, by weights, eval set and parameters: a run's checkpoints come one after the other
_CHOSEN: dict[tuple[str, str, str], list[FinalPlaces]] = {}


class FinalUnitsJob(UnitsJob):
    """One reducer a layer, which is told the places of that layer."""

    places: list[FinalPlaces]

    def choose(self, final: HookedModel, batch: int, say: Callable[[str], None]) -> None:
        """Let the final checkpoint choose, in a pass of its own; once for all checkpoints of a run."""
        with self._guarded():
            assert isinstance(self.task, NextTokens)
            key = (final.weights_hash, self.quantity.encoding.hash, repr(sorted(self.measure.params.items())))
            if key not in _CHOSEN:
                found = self._chosen_by(final, self.task, batch, say)
                _CHOSEN.clear()
                _CHOSEN[key] = found
            self.places = _CHOSEN[key]

    def _chosen_by(
        self, final: HookedModel, task: NextTokens, batch: int, say: Callable[[str], None]
    ) -> list[FinalPlaces]:
        tokens, documents = task.evaluation().tokens, task.frozen.document_numbers
        choosing = Choosing(**self.measure.params)
        made: list[ChoosesPlaces] = []

        def chooser(units: Units) -> ChoosesPlaces:
            made.append(ChoosesPlaces(units, tokens, documents, choosing))
            return made[-1]

        # layers come in order
        choice = replace(self.measure, function=chooser)  # type: ignore[arg-type] # nobody asks it for rows
        job = UnitsJob(choice, self.quantity, task)
        Pass(final, task, [job], say=say).run(batch)
        if job.trouble is not None:
            raise FloatingPointError(f"the final checkpoint chooses nothing: {job.trouble.message}")
        return [one.places() for one in made]

    def _reducer(self, units: Units) -> UnitReducer:
        made: UnitReducer = self._function(units, self.places[units.layer])
        return made
