"""What the sections of the Sizes page share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archive.store import Archive
from queries.reading.quantities import Which
from queries.reading.select import RunSelection
from ui.models.address import permalink
from ui.models.component_sets import ComponentSet, which_of
from ui.models.series import RunChoice
from ui.models.sizes.difference import At
from ui.models.sizes.page import Losses, Size, SizesChoices, in_step
from ui.widgets import here, with_later


@dataclass(frozen=True)
class SizesPage:
    """The archive, the sizes there are, which two are compared, and everything that was chosen.

    known: the losses of tokens that are compared; None where there are none of both sizes.
    """

    archive: Archive
    runs: RunChoice
    sizes: tuple[Size, ...]
    small: Size
    large: Size
    losses: Losses
    choices: SizesChoices
    known: ComponentSet | None = field(default=None)

    @property
    def link(self) -> str:
        """The address that brings every choice back, also those of sections that are drawn further down."""
        return permalink(here(), self.runs, with_later(self.choices))

    @property
    def which(self) -> Which:
        """How to ask for the losses."""
        return which_of(self.known, suspect=self.runs.suspect) if self.known else Which()

    @property
    def step(self) -> At:
        """The step as queries take it."""
        found: At = in_step(self.choices.step)
        return found

    @property
    def asked(self) -> Mapping[str, Any]:
        """The two sizes and the checkpoint as queries take them."""
        return {
            "runs": RunSelection(with_excluded=self.runs.excluded),
            "small": self.small.asked,
            "large": self.large.asked,
            "step": self.step,
            **self.which,
        }

    @property
    def alike(self) -> tuple[Size, ...]:
        """Sizes of the families of the two: what may be a row of columns."""
        families = {self.small.family, self.large.family}
        return tuple(size for size in self.sizes if size.family in families)

    def n_losses(self, *sizes: Size) -> int:
        """How many losses of tokens are read for some sizes."""
        n_tokens = self.losses.n_tokens.get(self.choices.eval_set, 0)
        return n_tokens * sum(len(size.asked) for size in sizes)
