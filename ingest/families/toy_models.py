"""Facts: catalogue/toy_models.toml."""

from ingest.families.step_files import StepFiles
from ingest.family import family


@family("toy_models", citation="Nanda 2022, in TransformerLens")
class ToyModels(StepFiles):
    """Neel Nanda's small models: attention-only, GELU and SoLU, 1 to 12 layers on C4 and code, two fine-tuned since."""
