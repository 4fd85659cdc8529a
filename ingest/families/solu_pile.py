"""Facts: catalogue/solu_pile.toml."""

from ingest.families.step_files import StepFiles
from ingest.family import family


@family("solu_pile", citation="Nanda 2022, in TransformerLens; Elhage et al. 2022, Softmax linear units")
class SoluPile(StepFiles):
    """Neel Nanda's first scan of SoLU models on the Pile, 1 to 12 layers."""
