"""The pass over a model in a published on-disk format gives what its own logits and patterns say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from archive.schema.base import CellState
from ingest.evalset import Given
from ingest.evalsets.next_tokens import NextTokens
from ingest.evalsets.repeated_tokens import RepeatedTokens
from ingest.evalsets.tokenizing import TaskTokenizer
from ingest.measure import MEASURES
from ingest.measuring.scanning import scan
from ingest.tasks.repeated_tokens import RepeatedTokens as Words
from tests.ingest.families.fixtures import VOCAB
from tests.ingest.families.test_loading import FINAL, loaded

NAMES = (
    "loss",
    "accuracy",
    "token_loss",
    "induction_loss",
    "head.previous_token",
    "head.prefix_matching",
    "weight_norm",
)


@pytest.mark.parametrize(("family", "run", "revision"), FINAL)
def test_numbers_are_those_of_the_model(cache: Path, family: str, run: str, revision: str) -> None:
    model = loaded(cache, family, run, revision)
    settings = RepeatedTokens(block=3, copies=2, n_sequences=5, bos="none")
    task = NextTokens(frozen=settings.freeze(Given(tokenizer=TaskTokenizer.of(Words(n_tokens=VOCAB - 1)))))
    values = dict(zip(NAMES, scan(model, task, [MEASURES.get(name) for name in NAMES], batch=2), strict=True))
    assert {value.state for value in values.values()} == {CellState.DONE}
    tokens = torch.from_numpy(task.evaluation().tokens.astype(np.int64))
    logits = model.logits(tokens)[:, :-1].double()
    losses = functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
    assert values["loss"].columns["value"][0] == pytest.approx(losses.mean().item(), rel=1e-5)
    np.testing.assert_allclose(values["token_loss"].columns["values"][:, :-1], losses, rtol=1e-4, atol=1e-5)
    scores: list[torch.Tensor] = []
    model.trunk(tokens, attention=lambda _, pattern: scores.append(pattern.diagonal(-1, -2, -1).mean((0, 2))))
    expected = torch.stack(scores).flatten()
    np.testing.assert_allclose(values["head.previous_token"].columns["value"], expected, rtol=1e-4, atol=1e-6)
    squares = sum(float(tensor.double().square().sum()) for _, tensor in model.parameters())
    assert values["weight_norm"].columns["value"][0] == pytest.approx(squares**0.5)
