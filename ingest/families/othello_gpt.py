"""Facts: catalogue/othello_gpt.toml."""

from typing import TYPE_CHECKING

from ingest.families.step_files import StepFiles
from ingest.family import ModelSpec, family

if TYPE_CHECKING:
    from ingest.evalsets.tokenizing import TextTokenizer

ROWS = "ABCDEFGH"
MIDDLE = (27, 28, 35, 36)  # occupied from the start
# padding, then the squares by row; a game is a text of such words
SQUARES = ("pad", *(f"{ROWS[i // 8]}{i % 8}" for i in range(64) if i not in MIDDLE))


@family("othello_gpt", citation="Li et al. 2023, arXiv 2210.13382")
class OthelloGpt(StepFiles):
    """Othello-GPT: 8 layers that predict legal moves of Othello from the moves before."""

    def tokenizer(self, spec: ModelSpec, place: str = "hub", named: str = "") -> "TextTokenizer | None":
        """Squares as words, A0 to H7 by row; no start token."""
        if named:
            return super().tokenizer(spec, place, named)
        from archive.identity import content_hash
        from archive.records import Tokenizer
        from ingest.evalsets.tokenizing import TaskTokenizer, Vocabulary

        record = Tokenizer(
            hash=content_hash({"words": SQUARES}), name="Othello squares", kind="words", n_vocab=len(SQUARES)
        )
        return TaskTokenizer(record, Vocabulary(tuple(range(len(SQUARES))), SQUARES, frozenset((0,))), None)
