"""Random tokens, repeated: what induction heads can predict and nothing else can."""

import numpy as np
from jaxtyping import Int
from pydantic import Field, model_validator

from ingest.evalset import EvalSetSettings, Given, eval_set
from ingest.evalsets.frozen import FrozenEvalSet, Repeats
from ingest.evalsets.refusals import EvalSetRefused
from ingest.evalsets.sequences import Sequences
from ingest.evalsets.tokenizing import BosPolicy
from ingest.streams import stream


@eval_set(
    "repeated_tokens",
    citation="Olsson et al. 2022, In-context learning and induction heads (25 tokens, 4 copies)",
)
class RepeatedTokens(EvalSetSettings):
    """A block of different random tokens, several times in a row; another block in every sequence.

    The default is the protocol of Olsson et al., 25 tokens 4 times after a start token, on 50 sequences instead of
    their 10, which are too noisy to follow over training; `block = 50, copies = 2` is the usual other one. The most and
    least common tokens are left out by their ids: tokenizers number tokens roughly from common to rare.
    """

    bos: BosPolicy = Field("prepend", description="whether every sequence begins with the start token")
    block: int = Field(25, ge=2, description="different random tokens in a block")
    copies: int = Field(4, ge=2, description="how often the block comes, the first time included")
    n_sequences: int = Field(50, ge=1, description="sequences, each with a block of its own")
    most_common: float = Field(0.01, ge=0, lt=1, description="share of the tokens left out for being common")
    least_common: float = Field(0.5, ge=0, lt=1, description="share of the tokens left out for being rare")
    seed: int = Field(0, ge=0, description="of the random tokens")

    @model_validator(mode="after")
    def _something_left(self) -> "RepeatedTokens":
        if self.most_common + self.least_common >= 1:
            raise ValueError(
                f"most_common + least_common = {self.most_common + self.least_common:g} leaves no token; their sum must be "
                "below 1"
            )
        return self

    def freeze(self, given: Given) -> FrozenEvalSet:
        """Draw the blocks: within one no token comes twice; sequence k is a function of the seed and k."""
        tokenizer = given.tokenizer
        start_ids, bos_policy = tokenizer.start(self.bos)
        candidates = self._candidates(given)
        if len(candidates) < self.block:
            raise EvalSetRefused(
                f"{len(candidates)} of the {tokenizer.n_vocab} tokens of {tokenizer.name} are neither special nor too common "
                f"nor too rare; a block of {self.block} different ones needs as many. Lower block, most_common or "
                "least_common."
            )
        rows = []
        for k in range(self.n_sequences):
            order = stream(self.seed, "eval.repeated_tokens", k).permutation(len(candidates))
            rows.append(np.concatenate([start_ids, *[candidates[order[: self.block]]] * self.copies]))
        repeats = Repeats(start=len(start_ids), block=self.block, copies=self.copies)
        return FrozenEvalSet.of(
            Sequences.of(rows),
            name=self.name or f"{self.kind}, {self.block} × {self.copies}",
            settings=self.as_written(),
            tokenizer=tokenizer,
            bos_policy=bos_policy,
            context=len(start_ids) + self.block * self.copies,
            repeats=repeats,
            facts={"n_candidates": len(candidates), "ranked_by": "id"},
        )

    def _candidates(self, given: Given) -> Int[np.ndarray, " token_id"]:
        """Token ids to draw from, increasing."""
        vocabulary = given.tokenizer.vocabulary
        ids = np.array(sorted(set(vocabulary.ids) - vocabulary.special), dtype=np.int64)
        first, last = round(self.most_common * len(ids)), round(self.least_common * len(ids))
        return ids[first : len(ids) - last]
