"""Facts: catalogue/redwood.toml."""

from typing import ClassVar

from ingest.families.step_files import StepFiles
from ingest.family import family


@family("redwood", citation="Conmy et al. 2023, arXiv 2304.14997")
class Redwood(StepFiles):
    """Redwood Research's attention-only model with 2 layers and positions on queries and keys only."""

    # the first upload had no other file of weights
    final_files: ClassVar[tuple[str, ...]] = ("final.pth", "et_model_state_dict.pt")
